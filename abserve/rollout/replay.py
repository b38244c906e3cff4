"""Draw every conclusion of an audit log again, and compare it with what was concluded then."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abserve.rollout.audit import read_log
from abserve.rollout.deciding import conclude
from abserve.rollout.preparing import software
from abserve.rollout.records import Begin, Decided
from abserve.rollout.state import State


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it: `difference` is a sentence about the first one; empty if all is the same."""

    path: Path
    n_blocks: int
    n_decisions: int
    difference: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "log": str(self.path),
            "n_blocks": self.n_blocks,
            "n_decisions": self.n_decisions,
            "same": not self.difference,
            "difference": self.difference or None,
        }


def replay(path: Path) -> Replay:
    """Verify a log's chain and draw each conclusion again, from the records before it alone.

    Raises
    ------
    AuditError
        If it is no audit log, or was changed.
    """
    log = read_log(path)
    state = State.of(log.state.begin)
    n_decisions = 0
    for line, record in enumerate(log.records[1:], start=2):
        if isinstance(record, Decided):
            n_decisions += 1
            found = conclude(state, record.at, record.missing).to_json()
            difference = _difference(dict(record.conclusion), found)
            if difference:
                told = f"line {line}: {difference}{_other_software(log.state.begin)}"
                return Replay(path, len(state.blocks), n_decisions, told)
        state = state.after(record)
    torn = (
        f"line {len(log.records) + 1} lacks its end: whoever wrote it was killed, or is writing it "
        "now; 'abserve rollout' cuts it off and goes on"
    )
    return Replay(path, len(state.blocks), n_decisions, torn if log.torn_bytes else "")


def _difference(then: Any, now: Any, where: str = "") -> str:
    """Say where two JSON values differ first, if they do; numbers are compared bit for bit."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in (*then, *(key for key in now if key not in then)):
            found = _difference(then.get(key), now.get(key), f"{where}.{key}" if where else key)
            if found:
                return found
        return ""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (old, new) in enumerate(zip(then, now, strict=True)):
            found = _difference(old, new, f"{where}[{index}]")
            if found:
                return found
        return ""
    old_text, new_text = json.dumps(then), json.dumps(now)
    return "" if old_text == new_text else f"{where} was {old_text}, and is {new_text} now"


def _other_software(begin: Begin) -> str:
    here = software()
    other: Mapping[str, str] = {
        name: version for name, version in begin.software.items() if here.get(name) != version
    }
    if not other:
        return ""
    then = ", ".join(f"{name} {version}" for name, version in other.items())
    now = ", ".join(f"{name} {here.get(name)}" for name in other)
    return f" (with {now}; it was written with {then}, which may round another way)"
