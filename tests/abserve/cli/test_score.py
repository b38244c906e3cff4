"""``abserve score``: whom it asks, and what it says."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.scoring.v2_server import V2Server, running


@pytest.fixture
def model() -> Iterator[V2Server]:
    with running(V2Server()) as started:
        yield started


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": ["red", "green"]}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def test_a_file_is_scored(abserve: Run, model: V2Server, source: Path, tmp_path: Path) -> None:
    ended = abserve("score", source, tmp_path / "out.parquet", "--url", model.url, "--keep", "a")
    assert ended.code == 0
    assert ended.out == f"2 rows scored by sums v1: {tmp_path / 'out.parquet'}\n"
    assert pq.read_table(tmp_path / "out.parquet")["a"].to_pylist() == [1, 2]


def test_json_says_the_same(abserve: Run, model: V2Server, source: Path, tmp_path: Path) -> None:
    model.refused = 2.0
    target = tmp_path / "out.parquet"
    ended = abserve("score", source, target, "--url", model.url, "--null-refused", "--json")
    answer = json.loads(ended.out)
    assert answer.pop("seconds") >= 0
    assert answer == {
        "target": str(target),
        "model": "sums",
        "n_rows": 2,
        "n_resumed": 0,
        "n_refused": 1,
        "versions": ["v1"],
    }


def test_a_row_that_is_refused_is_the_message(
    abserve: Run, model: V2Server, source: Path, tmp_path: Path
) -> None:
    model.refused = 2.0
    ended = abserve("score", source, tmp_path / "out.parquet", "--url", model.url)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("abserve: row 1 (from 0) is refused: a is 2.0.")


def test_files_of_a_store_are_copied_and_the_answers_placed_there(
    abserve: Run, model: V2Server, source: Path, tmp_path: Path
) -> None:
    store = fsspec.filesystem("memory")
    store.put_file(str(source), "/bucket/in.parquet")
    ask = (
        *("score", "memory://bucket/in.parquet", "memory://bucket/out.parquet"),
        *("--work-folder", tmp_path / "work", "--url", model.url, "--keep", "a"),
    )
    ended = abserve(*ask)
    assert (ended.code, ended.out) == (0, "2 rows scored by sums v1: memory://bucket/out.parquet\n")
    with store.open("/bucket/out.parquet") as file:
        assert pq.read_table(file)["a"].to_pylist() == [1, 2]

    model.asked.clear()
    shutil.rmtree(tmp_path / "work")
    again = abserve(*ask, "--json")
    assert json.loads(again.out)["target"] == "memory://bucket/out.parquet"
    assert model.asked == []

    store.pipe_file("/bucket/out.parquet", b"somebody else's")
    shutil.rmtree(tmp_path / "work")
    refused = abserve(*ask)
    assert refused.code == 1
    assert "is there already, and not of the same input" in refused.err
    assert store.cat_file("/bucket/out.parquet") == b"somebody else's"


def test_a_file_that_was_changed_in_the_store_is_copied_anew(
    abserve: Run, model: V2Server, source: Path, tmp_path: Path
) -> None:
    store = fsspec.filesystem("memory")
    store.put_file(str(source), "/changing/in.parquet")
    ask = ("--work-folder", tmp_path / "work", "--url", model.url)
    first = abserve("score", "memory://changing/in.parquet", tmp_path / "first.parquet", *ask)
    assert first.code == 0
    pq.write_table(pa.table({"a": [3.0], "b": ["red"]}), source)
    store.put_file(str(source), "/changing/in.parquet")
    second = abserve("score", "memory://changing/in.parquet", tmp_path / "second.parquet", *ask)
    assert second.out.startswith("1 rows scored")


def test_a_file_that_the_store_does_not_have_is_told(
    abserve: Run, model: V2Server, tmp_path: Path
) -> None:
    ask = ("--work-folder", tmp_path / "work", "--url", model.url)
    ended = abserve("score", "memory://nothing/in.parquet", tmp_path / "out.parquet", *ask)
    assert ended.code == 1
    assert "memory://nothing/in.parquet" in ended.err


def test_a_store_needs_a_folder_to_work_in(abserve: Run, model: V2Server, tmp_path: Path) -> None:
    ended = abserve("score", "s3://b/in.parquet", tmp_path / "out.parquet", "--url", model.url)
    assert ended.code == 2
    assert "--work-folder" in ended.err


def test_somebody_has_to_be_asked(abserve: Run, source: Path, tmp_path: Path) -> None:
    ended = abserve("score", source, tmp_path / "out.parquet")
    assert ended.code == 2
    assert "--name, or an address with --url" in ended.err


def test_rows_do_not_count_in_an_experiment_unasked(
    on_cluster: Run, api: LocalApi, source: Path, tmp_path: Path
) -> None:
    api.apply()
    ended = on_cluster("score", source, tmp_path / "out.parquet", "--name", "iris")
    assert ended.code == 1
    assert "an experiment is going on in iris (baseline 90 %, candidate 10 %)" in ended.err


def test_a_gateway_that_nobody_knows_is_asked_for(
    on_cluster: Run, api: LocalApi, source: Path, tmp_path: Path
) -> None:
    api.apply()
    target = tmp_path / "out.parquet"
    ended = on_cluster("score", source, target, "--name", "iris", "--mixed-versions")
    assert ended.code == 1
    assert "name the model's address with --url" in ended.err
