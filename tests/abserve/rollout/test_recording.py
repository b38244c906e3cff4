import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abserve.errors import LostCountsError, TelemetryError
from abserve.rollout.history import History
from abserve.rollout.recording import STALE_AFTER, Recording, Setting
from abserve.rollout.recording_file import SNAPSHOT_SECONDS
from abserve.rollout.recording_writer import KEPT_SECONDS, RecordingWriter
from abserve.telemetry import Reading, ReplicaReading, Series

EVERY = 5
NOON = 1_800_000_000.0
OK = Series.of("abserve_requests_total", {"version": "v1", "outcome": "ok"})
FAILED = Series.of("abserve_requests_total", {"version": "v1", "outcome": "failed"})


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.db"


@pytest.fixture
def writer(path: Path, said: list[str]) -> Iterator[RecordingWriter]:
    writer = RecordingWriter(path, EVERY, said.append)
    yield writer
    writer.close()


@pytest.fixture
def recording(path: Path) -> Iterator[Recording]:
    recording = Recording(path)
    yield recording
    recording.close()


def counted(n_ok: float, started_at: float = 1.5) -> ReplicaReading:
    return ReplicaReading(started_at, {OK: n_ok, FAILED: 2.0})


def add(writer: RecordingWriter, at: float, **replicas: ReplicaReading) -> None:
    writer.add("shop", "iris", at, replicas)


def add_setting(writer: RecordingWriter, at: float, candidate: int, **changes: bool) -> None:
    writer.add_setting(
        "shop",
        "iris",
        at,
        generation=candidate,
        weights={"baseline": 100 - candidate, "candidate": candidate},
        versions={"baseline": "v1", "candidate": "v2"},
        available=changes.get("available", True),
    )


def test_what_was_read_is_there_again(writer: RecordingWriter, recording: Recording) -> None:
    add(writer, NOON, a=counted(1), b=counted(0.1))
    add(writer, NOON + 5, a=counted(3), b=counted(0.1))
    history: History = recording.history("shop", "iris")
    assert history.reading(NOON + 4.9) == Reading(NOON + 4.9, {"a": counted(1), "b": counted(0.1)})
    assert history.reading(NOON + 5) == Reading(NOON + 5, {"a": counted(3), "b": counted(0.1)})


def test_deployments_are_kept_apart(writer: RecordingWriter, recording: Recording) -> None:
    for n, (namespace, name) in enumerate((("shop", "iris"), ("shop", "wine"), ("lab", "iris"))):
        writer.add(namespace, name, NOON, {"a": counted(n)})
    found = recording.history("shop", "wine").reading(NOON)
    assert found.replicas == {"a": counted(1)}


def test_a_series_that_vanished_is_gone(writer: RecordingWriter, recording: Recording) -> None:
    add(writer, NOON, a=counted(1))
    add(writer, NOON + 5, a=ReplicaReading(1.5, {OK: 2.0}))
    assert recording.reading("shop", "iris", NOON + 5).replicas["a"].samples == {OK: 2.0}


def test_a_replica_that_was_started_again_begins_anew(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(9))
    add(writer, NOON + 5, a=ReplicaReading(NOON + 1, {OK: 2.0}))
    found = recording.reading("shop", "iris", NOON + 5).replicas
    assert found == {"a": ReplicaReading(NOON + 1, {OK: 2.0})}


def test_a_replica_that_is_not_read_any_more_is_gone_after_three_intervals(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1), b=counted(1))
    for seconds in (5, 10, 15, 20):
        add(writer, NOON + seconds, a=counted(1))
    assert recording.reading("shop", "iris", NOON + 15).replicas.keys() == {"a", "b"}
    assert recording.reading("shop", "iris", NOON + 15.1).replicas.keys() == {"a"}


def test_a_replica_that_was_not_read_since_is_absent(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1), b=counted(1))
    add(writer, NOON + 5, a=counted(2))
    found = recording.reading("shop", "iris", NOON + 6, since=NOON)
    assert found.replicas == {"a": counted(2), "b": counted(1)}
    found = recording.reading("shop", "iris", NOON + 6, since=NOON + 1)
    assert found.replicas == {"a": counted(2)}


def test_what_nobody_has_looked_at_since_may_still_come(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1))
    with pytest.raises(TelemetryError, match="last look before was at 2027-01-15 08:00:00") as soon:
        recording.reading("shop", "iris", NOON + 6, since=NOON + 1)
    assert not isinstance(soon.value, LostCountsError)
    add(writer, NOON + 10, a=counted(1))
    with pytest.raises(LostCountsError, match="last look before was at 2027-01-15 08:00:00"):
        recording.reading("shop", "iris", NOON + 6, since=NOON + 1)


def test_without_replicas_there_is_a_reading_of_none(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON)
    assert recording.reading("shop", "iris", NOON) == Reading(NOON, {})


def test_what_nobody_looked_at_is_lost_once_somebody_looks_again(
    writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1))
    with pytest.raises(LostCountsError, match="begins later"):
        recording.reading("shop", "iris", NOON - 1)
    with pytest.raises(TelemetryError, match="last look before was at 2027-01-15 08:00:00") as soon:
        recording.reading("shop", "iris", NOON + 60)
    assert not isinstance(soon.value, LostCountsError)
    add(writer, NOON + 600, a=counted(1))
    with pytest.raises(LostCountsError, match="There was no recorder then"):
        recording.reading("shop", "iris", NOON + 60)


def test_what_was_never_recorded_is_said_to_be(path: Path, recording: Recording) -> None:
    with pytest.raises(TelemetryError, match="nothing is recorded: there is no "):
        recording.reading("shop", "iris", NOON)
    path.touch()
    with pytest.raises(TelemetryError, match="yet; wait for the first look"):
        recording.reading("shop", "iris", NOON)
    RecordingWriter(path, EVERY, print).close()
    with pytest.raises(TelemetryError, match="has nothing of SeldonDeployment 'iris'"):
        recording.settings("shop", "iris")


def test_looks_come_in_order(writer: RecordingWriter, recording: Recording) -> None:
    add(writer, NOON, a=counted(1))
    with pytest.raises(TelemetryError, match="expected looks in order"):
        add(writer, NOON, a=counted(2))
    add(writer, NOON + 5, a=counted(3))
    assert recording.reading("shop", "iris", NOON + 5).replicas == {"a": counted(3)}


def test_a_setting_is_kept_when_it_changes(writer: RecordingWriter, recording: Recording) -> None:
    for seconds, candidate in ((0, 10), (5, 10), (10, 25), (15, 25)):
        add(writer, NOON + seconds)
        add_setting(writer, NOON + seconds, candidate)
    add_setting(writer, NOON + 20, 25, available=False)
    versions = {"baseline": "v1", "candidate": "v2"}
    weights = [{"baseline": 100 - each, "candidate": each} for each in (10, 25)]
    assert recording.settings("shop", "iris") == [
        Setting(NOON, 10, weights[0], versions, available=True, until=NOON + 5),
        Setting(NOON + 10, 25, weights[1], versions, available=True, until=NOON + 15),
        Setting(NOON + 20, 25, weights[1], versions, available=False, until=NOON + 20),
    ]


def test_what_is_too_old_is_removed_little_by_little(
    writer: RecordingWriter, recording: Recording
) -> None:
    begin = NOON // SNAPSHOT_SECONDS * SNAPSHOT_SECONDS
    for hour in range(4):
        add(writer, begin + 3600 * hour, a=counted(hour))
        add_setting(writer, begin + 3600 * hour, candidate=10 + hour)
    now = begin + 2 * 3600 + KEPT_SECONDS
    writer.prune(now)
    with pytest.raises(LostCountsError):
        recording.reading("shop", "iris", begin)
    assert recording.reading("shop", "iris", begin + 3600).replicas == {"a": counted(1)}
    for _ in range(9):
        writer.prune(now)
    with pytest.raises(LostCountsError):
        recording.reading("shop", "iris", begin + 3600)
    assert recording.reading("shop", "iris", begin + 2 * 3600).replicas == {"a": counted(2)}
    # The setting that was in force when what is kept begins is known.
    assert [each.generation for each in recording.settings("shop", "iris")] == [11, 12, 13]


def test_a_file_that_is_no_database_is_set_aside(path: Path, said: list[str]) -> None:
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(TelemetryError, match="no recording, or a damaged one"):
        Recording(path).reading("shop", "iris", NOON)
    writer = RecordingWriter(path, EVERY, said.append)
    add(writer, NOON, a=counted(1))
    assert Recording(path).reading("shop", "iris", NOON).replicas == {"a": counted(1)}
    (aside,) = path.parent.glob("recording.db.*[0-9]")
    assert aside.read_bytes() == b"something else entirely" * 100
    assert f"recording.db is kept as {aside.name}" in said[0]
    writer.close()


def test_a_database_of_something_else_is_set_aside(path: Path, said: list[str]) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE objects (name TEXT)")
    other.close()
    RecordingWriter(path, EVERY, said.append).close()
    assert "a database of something else" in said[0]


def test_a_recording_that_is_damaged_while_it_is_written_is_set_aside(
    path: Path, writer: RecordingWriter, said: list[str]
) -> None:
    for n in range(200):
        add(writer, NOON + EVERY * n, a=counted(n))
    writer.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(TelemetryError, match="damaged"):
        add(writer, NOON + 1000, a=counted(1))
    add(writer, NOON + 1005, a=counted(2))
    assert Recording(path).reading("shop", "iris", NOON + 1005).replicas == {"a": counted(2)}
    assert len(said) == 1


def test_a_reading_that_is_damaged_is_not_taken_for_counts(
    path: Path, writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE readings SET samples = x'00'")
    other.close()
    with pytest.raises(TelemetryError, match="a reading in the recording is damaged"):
        recording.reading("shop", "iris", NOON)


def test_a_recording_that_is_moved_away_is_begun_anew(
    path: Path, writer: RecordingWriter, recording: Recording
) -> None:
    add(writer, NOON, a=counted(1))
    assert recording.reading("shop", "iris", NOON)
    for file in list(path.parent.iterdir()):
        file.rename(path.with_name(file.name.replace("recording", "old")))
    add(writer, NOON + 5, a=counted(2))
    assert recording.reading("shop", "iris", NOON + 5).replicas == {"a": counted(2)}
    with pytest.raises(LostCountsError):
        recording.reading("shop", "iris", NOON)


def test_a_recording_of_a_later_abserve_is_refused(path: Path, writer: RecordingWriter) -> None:
    writer.close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(TelemetryError, match="written by a later abserve"):
        RecordingWriter(path, EVERY, print)
    with pytest.raises(TelemetryError, match="written by a later abserve"):
        Recording(path).settings("shop", "iris")


def test_only_the_owner_may_read_the_files(path: Path, writer: RecordingWriter) -> None:
    add(writer, NOON, a=counted(1))
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


# Adds looks until it is killed, and says when each of them is in the file.
_WRITE = f"""
import itertools, pathlib, sys
from abserve.rollout.recording_writer import RecordingWriter
from abserve.telemetry import ReplicaReading, Series
writer = RecordingWriter(pathlib.Path(sys.argv[1]), {EVERY}, print)
series = [Series.of("abserve_outcomes_total", {{"slot": str(slot)}}) for slot in range(100)]
for n in itertools.count(1):
    samples = {{each: float(n * i) for i, each in enumerate(series)}}
    writer.add("shop", "iris", {NOON} + {EVERY} * n, {{"a": ReplicaReading(1.5, samples)}})
    print(n, flush=True)
"""


def test_readers_see_whole_looks_while_another_process_writes_and_is_killed(
    path: Path, recording: Recording
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in itertools.islice(process.stdout, 300):
            assert_whole(recording, int(line))
        process.kill()
        written = [300, *map(int, process.stdout)]
    assert_whole(recording, written[-1])
    with_next = RecordingWriter(path, EVERY, print)
    last = with_next.last_look()
    assert last
    assert last - NOON - EVERY * written[-1] in {0, EVERY}
    add(with_next, last + EVERY, a=counted(1))
    assert_whole(recording, written[-1])
    assert recording.reading("shop", "iris", last + EVERY).replicas == {"a": counted(1)}
    with_next.close()


def assert_whole(recording: Recording, n: int) -> None:
    found = recording.reading("shop", "iris", NOON + EVERY * n).replicas["a"].samples
    assert sorted(found.values()) == [float(n * i) for i in range(100)]


SERIES = [Series.of("abserve_outcomes_total", {"slot": str(slot)}) for slot in range(4)]
_VALUES = st.floats(allow_nan=False)
_REPLICAS = st.dictionaries(
    st.sampled_from("abc"),
    st.builds(
        ReplicaReading,
        st.sampled_from([1.5, 2.5]),
        st.dictionaries(st.sampled_from(SERIES), _VALUES),
    ),
)
_STEPS = st.sampled_from([1, EVERY, EVERY, 2 * EVERY, 4 * EVERY, SNAPSHOT_SECONDS])


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(_STEPS, _REPLICAS, st.booleans()), min_size=1, max_size=20),
    asked=st.lists(st.floats(-2 * EVERY, 30 * EVERY), min_size=1, max_size=20),
)
def test_readings_are_those_of_a_store_that_keeps_everything(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, Mapping[str, ReplicaReading], bool]],
    asked: list[float],
) -> None:
    path = tmp_path_factory.mktemp("recording") / "recording.db"
    recording, writer = Recording(path), RecordingWriter(path, EVERY, print)
    looks: dict[float, Mapping[str, ReplicaReading]] = {}
    at = NOON
    for seconds, replicas, restarted in steps:
        if restarted:
            writer.close()
            writer = RecordingWriter(path, EVERY, print)
        at += seconds
        writer.add("shop", "iris", at, replicas)
        looks[at] = replicas
    for moment in (*looks, *(NOON + seconds for seconds in asked)):
        recent = [each for each in looks if moment - STALE_AFTER * EVERY <= each <= moment]
        if recent:
            expected = {name: found for each in recent for name, found in looks[each].items()}
            assert recording.reading("shop", "iris", moment) == Reading(moment, expected)
        else:
            with pytest.raises(TelemetryError):
                recording.reading("shop", "iris", moment)
    writer.close()
    recording.close()
