"""Files through a real server: complete, in order, once, whatever happens on the way."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from abserve.errors import ScoringError
from abserve.scoring import Endpoint, Order, Progress, Scored, score
from abserve.scoring.parts import Parts
from tests.abserve.scoring.v2_server import V2Server, running

N_ROWS = 1000


@pytest.fixture
def server() -> Iterator[V2Server]:
    with running(V2Server()) as started:
        yield started


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", N_ROWS)


def table(n_rows: int) -> pa.Table:
    colours = ["red", "green"]
    return pa.table(
        {
            "id": [f"{index:04}" for index in range(n_rows)],
            "b": [colours[index % 2] for index in range(n_rows)],
            "a": [float(index) for index in range(n_rows)],
            "other": ["x"] * n_rows,
        }
    )


def write(path: Path, n_rows: int) -> Path:
    pq.write_table(table(n_rows), path, row_group_size=130)
    return path


def run(server: V2Server, source: Path, **order: Any) -> Scored:
    wanted = Order(source, source.with_name("out.parquet"), **{"rows_per_request": 100, **order})
    return score(wanted, Endpoint(server.url, 10), lambda _progress: None)


def interrupt(server: V2Server, source: Path, after_rows: int, **order: Any) -> None:
    """Begin as `run` does, and be ended as by ctrl-C."""

    def report(progress: Progress) -> None:
        if progress.n_rows >= after_rows:
            raise KeyboardInterrupt

    wanted = Order(source, source.with_name("out.parquet"), **{"rows_per_request": 100, **order})
    with pytest.raises(KeyboardInterrupt):
        score(wanted, Endpoint(server.url, 10), report)


def test_every_row_is_answered_in_its_place(server: V2Server, source: Path) -> None:
    scored = run(server, source, keep=("id",))
    out = pq.read_table(scored.target)
    assert out.column_names == [
        "id",
        "prediction",
        "label",
        "probability_no",
        "probability_yes",
        "model_version",
        "request_id",
    ]
    assert out["id"].to_pylist() == [f"{index:04}" for index in range(N_ROWS)]
    assert out["prediction"].to_pylist() == [index + index % 2 for index in range(N_ROWS)]
    assert out["label"].to_pylist()[:2] == ["0.0", "1.0"]
    assert out["probability_yes"].to_pylist()[3] == -4
    assert (scored.n_rows, scored.n_resumed, scored.versions) == (N_ROWS, 0, ("v1",))
    assert {len(rows) for rows in server.asked} == {100}
    assert not source.with_name("out.parquet.parts").exists()


def test_the_id_of_the_request_says_which_rows_it_had(server: V2Server, source: Path) -> None:
    ids = pq.read_table(run(server, source).target)["request_id"].to_pylist()
    assert ids[0].endswith("-0")
    assert ids[999].endswith("-900")
    assert len(set(ids)) == 10


def test_answers_in_json_are_read_too(server: V2Server, source: Path) -> None:
    server.in_binary = False
    out = pq.read_table(run(server, source).target)
    assert out["probability_no"].to_pylist()[:3] == [0, 2, 2]
    assert out["label"].to_pylist()[:2] == ["0.0", "1.0"]


def test_csv_is_read_and_what_is_kept_stays_text(server: V2Server, tmp_path: Path) -> None:
    pv.write_csv(table(250), tmp_path / "in.csv")
    out = pq.read_table(run(server, tmp_path / "in.csv", keep=("id", "a")).target)
    assert out["id"].to_pylist() == [f"{index:04}" for index in range(250)]
    assert out["a"].to_pylist()[:2] == [0, 1]
    assert out["prediction"].to_pylist() == [index + index % 2 for index in range(250)]


def test_a_file_without_rows_has_answers_without_rows(server: V2Server, tmp_path: Path) -> None:
    scored = run(server, write(tmp_path / "in.parquet", 0))
    assert pq.read_table(scored.target).num_rows == scored.n_rows == 0


# A run that was ended.


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_next_run_goes_on_where_one_was_ended(
    server: V2Server, tmp_path: Path, suffix: str
) -> None:
    source = tmp_path / f"in.{suffix}"
    pv.write_csv(table(N_ROWS), source) if suffix == "csv" else write(source, N_ROWS)
    interrupt(server, source, 450, most_in_flight=1)
    assert not (tmp_path / "out.parquet").exists()
    server.asked.clear()
    scored = run(server, source)
    assert scored.n_resumed == 500
    assert min(min(rows) for rows in server.asked) == 500
    found = pq.read_table(scored.target)["prediction"].to_pylist()
    assert found == [index + index % 2 for index in range(N_ROWS)]


def test_the_next_run_may_send_other_numbers_of_rows(server: V2Server, source: Path) -> None:
    interrupt(server, source, 450, most_in_flight=1)
    scored = run(server, source, rows_per_request=333, most_in_flight=2)
    found = pq.read_table(scored.target)["prediction"].to_pylist()
    assert found == [index + index % 2 for index in range(N_ROWS)]


def test_what_is_done_is_not_done_again(server: V2Server, source: Path) -> None:
    first = run(server, source)
    server.asked.clear()
    again = run(server, source)
    assert server.asked == []
    assert (again.n_rows, again.n_resumed) == (first.n_rows, N_ROWS)
    assert not source.with_name("out.parquet.parts").exists()


def test_an_input_that_was_changed_is_refused(server: V2Server, source: Path) -> None:
    interrupt(server, source, 450)
    write(source, N_ROWS - 1)
    with pytest.raises(ScoringError, match="begun with an input that had other bytes"):
        run(server, source)


def test_an_input_that_changes_under_way_is_noticed(server: V2Server, source: Path) -> None:
    def report(_progress: Progress) -> None:
        write(source, N_ROWS - 1)

    wanted = Order(source, source.with_name("out.parquet"), rows_per_request=500)
    with pytest.raises(ScoringError, match="was changed while it was scored"):
        score(wanted, Endpoint(server.url, 10), report)
    assert not wanted.target.exists()


def test_other_columns_are_refused(server: V2Server, source: Path) -> None:
    interrupt(server, source, 450)
    with pytest.raises(ScoringError, match=r"begun with output \["):
        run(server, source, keep=("id",))


def test_the_output_of_something_else_is_not_overwritten(server: V2Server, source: Path) -> None:
    pq.write_table(table(1), source.with_name("out.parquet"))
    with pytest.raises(ScoringError, match="is there already, and not of the same input"):
        run(server, source)
    assert not source.with_name("out.parquet.parts").exists()


def test_two_runs_do_not_write_the_same_file(server: V2Server, source: Path) -> None:
    with (
        Parts(source.with_name("out.parquet"), {}),
        pytest.raises(ScoringError, match="another run is writing"),
    ):
        run(server, source)


def test_a_part_that_is_missing_is_noticed(server: V2Server, source: Path) -> None:
    interrupt(server, source, 300, most_in_flight=1)
    interrupt(server, source, 600, most_in_flight=1)
    first, _ = sorted(source.with_name("out.parquet.parts").glob("*.parquet"))
    first.unlink()
    with pytest.raises(ScoringError, match="does not follow the part before it"):
        run(server, source)


# A server that is busy.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_waited_for(server: V2Server, source: Path, status: int) -> None:
    server.next_statuses = [status] * 5
    scored = run(server, source)
    found = pq.read_table(scored.target)["prediction"].to_pylist()
    assert found == [index + index % 2 for index in range(N_ROWS)]


def test_a_server_that_is_not_there_is_waited_for_as_long_as_one_has_patience(
    server: V2Server, source: Path
) -> None:
    order = Order(source, source.with_name("out.parquet"), patience_seconds=0.2)
    with pytest.raises(ScoringError, match=r"does not answer .* the same command goes on"):
        score(order, Endpoint("http://127.0.0.1:9/v2/models/sums", 1), lambda _progress: None)


def test_a_server_that_fails_at_the_same_rows_is_not_asked_for_ever(
    server: V2Server, source: Path
) -> None:
    server.next_statuses = [500] * 100
    with pytest.raises(ScoringError, match="answers 500: as told, for the 5th time"):
        run(server, source, most_in_flight=1)


def test_no_more_requests_are_in_flight_than_may_be(server: V2Server, source: Path) -> None:
    server.seconds = 0.01
    run(server, source, rows_per_request=20, most_in_flight=3)
    assert 2 <= server.most_at_once <= 3


def test_whatever_a_server_is_busy_with_every_row_is_answered_once_and_in_place(
    server: V2Server, source: Path
) -> None:
    chance = random.Random(7)
    server.next_statuses = [chance.choice([200, 200, 429, 502, 503, 504]) for _ in range(60)]
    seen: list[int] = []
    order = Order(source, source.with_name("out.parquet"), ("id",), 20, 8)
    score(order, Endpoint(server.url, 10), lambda now: seen.append(now.n_in_flight))
    out = pq.read_table(order.target)
    assert out["id"].to_pylist() == [f"{index:04}" for index in range(N_ROWS)]
    assert out["prediction"].to_pylist() == [index + index % 2 for index in range(N_ROWS)]
    assert min(seen) < 4 < max(seen) <= 8


# Rows that are refused.


def test_the_row_that_is_refused_is_named(server: V2Server, source: Path) -> None:
    server.refused = 437.0
    with pytest.raises(ScoringError, match=r"row 437 \(from 0\) is refused: a is 437.0"):
        run(server, source)


def test_what_was_answered_before_a_refused_row_is_kept(server: V2Server, source: Path) -> None:
    server.refused = 437.0
    with pytest.raises(ScoringError, match="437"):
        run(server, source, most_in_flight=1)
    server.refused = None
    assert run(server, source).n_resumed == 400


def test_refused_rows_may_have_no_answer(server: V2Server, source: Path) -> None:
    server.refused = 437.0
    scored = run(server, source, null_refused=True)
    out = pq.read_table(scored.target)
    assert scored.n_refused == 1
    assert out["refused"].to_pylist()[436:439] == [None, "a is 437.0", None]
    assert out["prediction"].to_pylist()[436:439] == [436, None, 438 + 0]
    assert out["model_version"].to_pylist()[437] is None


def test_a_text_that_is_no_category_is_refused(server: V2Server, tmp_path: Path) -> None:
    rows = pa.table({"a": [1.0, 2.0], "b": ["red", "blue"]})
    pq.write_table(rows, tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match=r"row 1 .*'blue'; expected one of 'red', 'green'"):
        run(server, tmp_path / "in.parquet")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"b": ["red"]}, "has no column 'a'"),
        ({"b": ["red"], "a": ["1"]}, "column 'a' holds text; expected numbers"),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    server: V2Server, tmp_path: Path, column: dict[str, Any], said: str
) -> None:
    pq.write_table(pa.table(column), tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match=said):
        run(server, tmp_path / "in.parquet")


# Versions.


def test_another_version_in_the_middle_ends_the_run(server: V2Server, source: Path) -> None:
    server.version_from = 500.0
    with pytest.raises(ScoringError, match=r"rows from 500 .* by v2, those before them by v1"):
        run(server, source)


def test_another_version_than_that_of_the_run_before_ends_it(
    server: V2Server, source: Path
) -> None:
    interrupt(server, source, 450)
    server.version_from = 0.0
    with pytest.raises(ScoringError, match="by v2, those before them by v1"):
        run(server, source)


def test_refused_rows_do_not_hide_the_version_before_them(server: V2Server, source: Path) -> None:
    server.refused = 499.0
    interrupt(server, source, 450, most_in_flight=1, null_refused=True)
    server.version_from = 500.0
    with pytest.raises(ScoringError, match="by v2, those before them by v1"):
        run(server, source, null_refused=True)


def test_several_versions_may_be_allowed(server: V2Server, source: Path) -> None:
    server.version_from = 500.0
    assert run(server, source, mixed_versions=True).versions == ("v1", "v2")


# What cannot be begun.


def test_a_model_that_takes_no_named_columns_is_refused(server: V2Server, source: Path) -> None:
    server.metadata = {"name": "sums", "inputs": [{"name": "image"}], "outputs": []}
    with pytest.raises(ScoringError, match="do not say what its columns are"):
        run(server, source)


def test_a_column_that_is_called_as_an_output_is_refused(server: V2Server, tmp_path: Path) -> None:
    rows = pa.table({"a": [1.0], "b": ["red"], "label": ["x"]})
    pq.write_table(rows, tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match="two columns 'label'"):
        run(server, tmp_path / "in.parquet", keep=("label",))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_file_that_is_no_parquet_is_refused(
    server: V2Server, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(ScoringError, match=r"in\.parquet cannot be read"):
        run(server, tmp_path / "in.parquet")


@pytest.mark.parametrize(("status", "advice"), [(401, "--token-file"), (413, "--rows")])
def test_a_refusal_that_has_a_remedy_says_it(
    server: V2Server, source: Path, status: int, advice: str
) -> None:
    server.next_statuses = [status] * 100
    with pytest.raises(ScoringError, match=f"answers {status}: as told; .*{advice}"):
        run(server, source)


def test_the_token_is_sent(server: V2Server, source: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    order = Order(source, tmp_path / "out.parquet")
    score(order, Endpoint(server.url, 10, tmp_path / "token"), lambda _progress: None)
    assert set(server.tokens) == {"Bearer abc"}


def test_a_token_that_is_replaced_while_it_runs_out_is_sent_anew(
    server: V2Server, source: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    server.accepted = "Bearer new"
    server.meanwhile = lambda: token.write_text("new")
    order = Order(source, tmp_path / "out.parquet", most_in_flight=1)
    score(order, Endpoint(server.url, 10, token), lambda _progress: None)
    assert server.tokens == ["Bearer old", "Bearer new"]


def test_a_token_that_has_run_out_ends_the_run_with_what_was_answered_kept(
    server: V2Server, source: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    server.accepted = "Bearer old"
    server.meanwhile = lambda: len(server.tokens) > 3 and setattr(server, "accepted", "Bearer new")
    order = Order(source, tmp_path / "out.parquet", rows_per_request=100, most_in_flight=1)
    with pytest.raises(
        ScoringError, match=r"Jwt is expired; .*renew the one in it; what was answer"
    ):
        score(order, Endpoint(server.url, 10, token), lambda _progress: None)
    token.write_text("new")
    scored = score(order, Endpoint(server.url, 10, token), lambda _progress: None)
    assert (scored.n_rows, scored.n_resumed) == (N_ROWS, 300)


@pytest.mark.parametrize("url", ["ftp://a/v2/models/iris", "http://a/iris", "iris"])
def test_an_address_of_no_model_is_refused(url: str) -> None:
    with pytest.raises(ScoringError, match="is no model's address"):
        Endpoint(url, 1)
