import json
import math
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from abserve.analysis import Counts, ObservedBlock
from abserve.errors import AuditError
from abserve.rollout.audit import AuditWriter, json_line, latest_log, log_folder, read_log
from abserve.rollout.records import Begin, Counted, Labelled, Note, Record
from tests.abserve.rollout.scene import experiment

BEGIN = Begin(
    at=1.8e9,
    namespace="shop",
    uid="u-1",
    model="iris",
    experiment=experiment(),
    model_uris={"baseline": "s3://models/iris/v1", "candidate": "s3://models/iris/v2"},
    weights={"baseline": 100, "candidate": 0},
    classes=("setosa",),
    software={"numpy": "2"},
)
RECORDS: tuple[Record, ...] = (
    Counted(
        at=1.8e9 + 61.3,
        block=ObservedBlock(1, 1.8e9, 1.8e9 + 60, 10.0, Counts(9, 0, 1, 0), {}, ("é\u2028\n",)),
    ),
    Labelled(at=1.8e9 + 62, number=1, counts=Counts(9, 0.1 + 0.2, 1, math.nextafter(1, 0))),
    Note(at=1.8e9 + 63, text="a note"),
)


@dataclass(frozen=True, slots=True)
class Written:
    path: Path
    writer: AuditWriter


@pytest.fixture
def written(tmp_path: Path) -> Written:
    writer = AuditWriter.create(tmp_path, BEGIN)
    for record in RECORDS:
        writer.append(record)
    return Written(writer.path, writer)


def test_what_is_read_back_is_what_was_written_bit_for_bit(written: Written) -> None:
    assert read_log(written.path).records == (BEGIN, *RECORDS)
    assert read_log(written.path).observed.blocks[0].by_metric["accuracy"].k_baseline == 0.1 + 0.2


def test_each_line_is_json_with_the_hash_of_the_line_before(written: Written) -> None:
    lines = [json.loads(line) for line in written.path.read_text().splitlines()]
    assert [line["before"] for line in lines] == ["0" * 64, *(line["hash"] for line in lines[:-1])]
    assert {**json.loads(json_line(RECORDS[2])), "before": lines[2]["hash"]}.items() <= lines[
        3
    ].items()


def test_only_its_owner_may_read_it(written: Written) -> None:
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600


def test_a_change_of_any_byte_is_noticed(written: Written) -> None:
    content = written.path.read_bytes()
    whole = read_log(written.path).records
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        written.path.write_bytes(changed)
        try:
            found = read_log(written.path)
        except AuditError:
            continue
        # The end of the last line is all that can look as if it was not written yet.
        assert (place, found.records) == (len(content) - 1, whole[:-1])
        assert found.torn_bytes > 0


@pytest.mark.parametrize(
    ("number", "lines", "said"),
    [
        (2, [0, 2, 3], "line 2: it follows another line"),
        (3, [0, 1, 3], "line 3: it follows another line"),
        (2, [0, 2, 1, 3], "line 2: it follows another line"),
        (1, [1, 2, 3], "line 1: found .* expected the first line of an audit log"),
    ],
)
def test_lines_that_are_gone_or_exchanged_are_noticed(
    written: Written, number: int, lines: list[int], said: str
) -> None:
    found = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(found[line] for line in lines))
    with pytest.raises(AuditError, match=said):
        read_log(written.path)


@pytest.mark.parametrize("n_bytes", [1, 20, 90])
def test_a_last_line_without_its_end_is_told_and_cut_off_by_who_goes_on(
    written: Written, n_bytes: int
) -> None:
    content = written.path.read_bytes()
    os.truncate(written.path, len(content) - n_bytes)
    assert read_log(written.path).records == (BEGIN, *RECORDS[:-1])
    writer, log = AuditWriter.going_on(written.path)
    assert log.torn_bytes > 0
    writer.append(RECORDS[-1])
    assert written.path.read_bytes() == content


def test_nothing_is_written_after_what_somebody_else_wrote(written: Written) -> None:
    other, _ = AuditWriter.going_on(written.path)
    other.append(Note(at=1.8e9 + 64, text="another"))
    with pytest.raises(AuditError, match="another process writes to it"):
        written.writer.append(Note(at=1.8e9 + 65, text="mine"))
    assert len(read_log(written.path).records) == 5


def test_a_log_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    first = AuditWriter.create(tmp_path, BEGIN).path
    with pytest.raises(AuditError, match="cannot be written"):
        AuditWriter.create(tmp_path, BEGIN)
    assert read_log(first).records == (BEGIN,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no whole line"),
        (b"weight_candidate,n_baseline\n", "expected the first line of an audit log"),
        (b'{"kind": "begin"}\n', "expected the first line of an audit log"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(AuditError, match=said):
        read_log(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")


def test_a_number_that_json_has_not_is_refused(written: Written) -> None:
    counts = Counts(1, math.nan, 1, 0)
    with pytest.raises(ValueError, match="not JSON compliant"):
        written.writer.append(Labelled(at=1.8e9, number=1, counts=counts))


def test_blocks_come_in_their_order(written: Written) -> None:
    written.writer.append(Labelled(at=1.8e9, number=3, counts=None))
    with pytest.raises(AuditError, match="line 5: found block 3; expected block 2"):
        read_log(written.path)


def test_the_latest_log_is_the_one_that_was_begun_last(tmp_path: Path) -> None:
    folder = log_folder(tmp_path, "shop", "iris")
    assert latest_log(folder) is None
    later = AuditWriter.create(folder, BEGIN.model_copy(update={"at": 1.9e9})).path
    AuditWriter.create(folder, BEGIN)
    assert latest_log(folder) == later


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, which ends a write as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_more_bytes", [0, 40])
def test_a_disk_that_is_full_costs_no_record(written: Written, n_more_bytes: int) -> None:
    n_bytes = written.path.stat().st_size
    with (
        room_for(n_bytes + n_more_bytes),
        pytest.raises(AuditError, match=r"full|cannot be written"),
    ):
        written.writer.append(Note(at=1.8e9 + 64, text="one more"))
    assert written.path.stat().st_size == n_bytes
    kept = written.writer.append(Note(at=1.8e9 + 65, text="with room again"))
    assert read_log(written.path).records == (BEGIN, *RECORDS, kept)
