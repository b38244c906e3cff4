"""Which versions of a model stay, and why; the others go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from abserve.cli.described import Described
from abserve.cli.training import training_package

if TYPE_CHECKING:
    from abserve.promotion import Use

DEFAULT_KEEP_LAST, DEFAULT_KEEP_DAYS = 5, 90


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a version: `kept` says why it stays, None that it goes."""

    version: Described
    kept: str | None


@dataclass(frozen=True, slots=True)
class Keeping:
    """How many of the newest versions stay, and for how long all others do."""

    last: int
    days: int


def keeping(models: Path, model: str, last: int | None, days: int | None) -> Keeping:
    """Return what was asked for, else what the model's definition says, else the defaults.

    Raises
    ------
    DefinitionError
        If there is a definition that cannot be read.
    """
    if last is not None and days is not None:
        return Keeping(last, days)
    defined = Keeping(DEFAULT_KEEP_LAST, DEFAULT_KEEP_DAYS)
    if (models / f"{model}.yaml").exists():
        retention = training_package().read_definition(models, model).retention
        defined = Keeping(retention.keep_last, retention.keep_days)
    return Keeping(
        defined.last if last is None else last,
        defined.days if days is None else days,
    )


def fates(
    versions: Sequence[Described], keep: Keeping, uses: "Sequence[Use]", now: datetime
) -> list[Fate]:
    """Return what becomes of each version of one model, oldest first."""
    from abserve.repository import Published, expired

    users = {
        each.stored.version: [
            use for use in uses if use.is_of(each.stored.model, each.stored.version)
        ]
        for each in versions
    }
    going = expired(
        [Published(each.stored.version, each.trained_at) for each in versions],
        keep_last=keep.last,
        keep_days=keep.days,
        used=[version for version, of_version in users.items() if of_version],
        now=now,
    )
    newest = {each.stored.version for each in versions[-keep.last :]}

    def why(each: Described) -> str:
        if of_version := users[each.stored.version]:
            return f"used by {', '.join(map(str, of_version))}"
        if each.stored.version in newest:
            return f"one of the newest {keep.last}"
        age = (now - each.trained_at) // timedelta(days=1)
        return f"trained {age} days ago, less than {keep.days}"

    return [Fate(each, None if each.stored.version in going else why(each)) for each in versions]
