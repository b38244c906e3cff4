"""What a check found: values, so that a terminal, a pipeline and a test read the same."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is: an error must not be applied, a note is to be known."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault, or one thing that was not checked.

    `file` is where the object is written, `subject` the object as ``Kind/name`` (empty where a
    file as a whole is meant), `rule` one of those in ``docs/checks.md``. `folders` are the
    kustomizations in which it shows: a fault of a base shows in every overlay.
    """

    file: str
    subject: str
    rule: str
    message: str
    severity: Severity = Severity.ERROR
    folders: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity.value,
            "rule": self.rule,
            "file": self.file,
            "subject": self.subject,
            "message": self.message,
            "folders": list(self.folders),
        }


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each fault once, with all folders in which it shows; errors first, then by file."""
    folders: dict[Finding, set[str]] = {}
    for each in findings:
        folders.setdefault(replace(each, folders=()), set()).update(each.folders)
    once = [replace(each, folders=tuple(sorted(of))) for each, of in folders.items()]
    return tuple(sorted(once, key=lambda each: (each.severity is not Severity.ERROR, each)))
