from pathlib import Path
from typing import Any

import pytest

from abserve.errors import AuditError
from abserve.rollout.audit import AuditWriter
from abserve.rollout.records import Begin, Decided, Record
from abserve.rollout.replay import replay
from tests.abserve.rollout.scene import Scene


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, ...]:
    scene = Scene(tmp_path_factory.mktemp("rollout"), 0.80, 0.90)
    scene.run()
    return scene.records()


def written(folder: Path, records: tuple[Record, ...]) -> Path:
    begin, *others = records
    assert isinstance(begin, Begin)
    writer = AuditWriter.create(folder, begin)
    for record in others:
        writer.append(record)
    return writer.path


def altered(records: tuple[Record, ...], conclusion: dict[str, Any]) -> tuple[Record, ...]:
    """Return records whose last decision says something else, with hashes that are right."""
    last = max(i for i, record in enumerate(records) if isinstance(record, Decided))
    decided = records[last]
    assert isinstance(decided, Decided)
    changed = decided.model_copy(update={"conclusion": {**decided.conclusion, **conclusion}})
    return (*records[:last], changed, *records[last + 1 :])


def test_a_log_that_was_not_touched_is_the_same(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    found = replay(written(tmp_path, records))
    assert (found.difference, found.to_json()["same"]) == ("", True)
    assert found.n_blocks > 1
    assert found.n_decisions > 1


def test_a_decision_that_does_not_follow_is_told_with_its_line(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    found = replay(written(tmp_path, altered(records, {"action": "ROLLBACK"})))
    line = 1 + max(i for i, record in enumerate(records) if isinstance(record, Decided))
    assert found.difference == f'line {line}: action was "ROLLBACK", and is "PROMOTE" now'


def test_a_number_that_differs_in_its_last_bit_is_told(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    begin = records[0].model_copy(update={"software": {"numpy": "1.0"}})
    decided = [each for each in records if isinstance(each, Decided)][-1]
    analysis = dict(decided.conclusion["analysis"])
    changed = altered(
        (begin, *records[1:]),
        {"analysis": {**analysis, "effect": analysis["effect"] * (1 + 2e-16)}},
    )
    difference = replay(written(tmp_path, changed)).difference
    assert "analysis.effect was 0." in difference
    assert "it was written with numpy 1.0, which may round another way" in difference


def test_a_changed_line_is_told_before_anything_is_computed(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    path = written(tmp_path, records)
    path.write_bytes(path.read_bytes().replace(b'"n_baseline": 540', b'"n_baseline": 541', 1))
    with pytest.raises(AuditError, match="its hash is not that of what stands there"):
        replay(path)


def test_a_last_line_without_its_end_is_a_difference(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    path = written(tmp_path, records)
    path.write_bytes(path.read_bytes()[:-5])
    assert "lacks its end" in replay(path).difference
