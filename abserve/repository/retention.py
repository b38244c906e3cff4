"""Which versions nobody needs any more."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from abserve.names import version_number


@dataclass(frozen=True, slots=True)
class Published:
    """A published version, and when it was trained."""

    version: str
    trained_at: datetime


def expired(
    versions: Sequence[Published],
    *,
    keep_last: int,
    keep_days: int,
    used: Collection[str],
    now: datetime,
) -> tuple[str, ...]:
    """Return the versions to delete, oldest first.

    Parameters
    ----------
    versions : sequence of Published
        All versions of one model, in any order.
    keep_last : int
        How many of the newest, by number, are kept; 1 or more, so that a number is never given
        away twice.
    keep_days : int
        Versions trained less than so many days ago are kept.
    used : collection of str
        Versions that something serves or will serve: they are kept.
    now : datetime
        The time, with its time zone.

    Raises
    ------
    ValueError
        If `keep_last` is below 1 or `keep_days` below 0.

    Examples
    --------
    >>> from datetime import UTC
    >>> trained = datetime(2026, 1, 1, tzinfo=UTC)
    >>> four = [Published(f"v{number}", trained) for number in (1, 2, 3, 4)]
    >>> now = datetime(2026, 6, 1, tzinfo=UTC)
    >>> expired(four, keep_last=2, keep_days=90, used={"v1"}, now=now)
    ('v2',)
    """
    if keep_last < 1 or keep_days < 0:
        raise ValueError(
            f"keep_last is {keep_last} and keep_days {keep_days}; expected at least 1 and 0"
        )
    oldest_first = sorted(versions, key=lambda each: version_number(each.version))
    return tuple(
        each.version
        for each in oldest_first[:-keep_last]
        if each.version not in used and now - each.trained_at >= timedelta(days=keep_days)
    )
