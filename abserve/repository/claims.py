"""Who may write a version: a claim, for stores that have neither rename nor locks.

::

    iris/.publishing/v4.<token>            somebody wants to write v4
                     v4.<token>.held       ... and was alone in wanting it
                     v4.<token>.closing    ... and is about to complete it
                     v4.<token>.files/     on a disk: what will be renamed

Write one's own, then list: a store lists at once what was written, so of two that want the same
version the later one to look sees both, and never do two see themselves alone. All times are the
store's own, so clocks need not agree. Why this is safe and what a crash leaves behind is in
``docs/decisions/0015-claims-in-the-model-repository.md``.
"""

import random
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Event

from abserve.errors import RepositoryError
from abserve.repository.stores import Store

CLAIMS = ".publishing"

# Whoever died leaves a claim behind. It counts for nothing when it is that old ...
_FORGOTTEN = timedelta(hours=1)
# ... and whoever is alive gives up long before.
_LONGEST = timedelta(minutes=30)

# Whoever is alive holds a version, withdraws, or says again that it wants it.
_PATIENCE = timedelta(seconds=30)

_TRIES = 60
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0

_WANTED, _HELD, _CLOSING, _FILES = "", "held", "closing", "files"


class Claim:
    """The wish to write or remove a version, and with luck the right to.

    Parameters
    ----------
    store : Store
        Where the repository is kept.
    model, version : str
        What is wanted.
    """

    def __init__(self, store: Store, model: str, version: str) -> None:
        self._store = store
        self._folder = f"{model}/{CLAIMS}"
        self._version = version
        self._name = f"{version}.{secrets.token_hex(8)}"

    @property
    def aside(self) -> str:
        """A path beside the versions that nobody else uses."""
        return self._path(_FILES)

    def take(self) -> bool:
        """Return whether the version is ours; if not, it is somebody else's.

        Of those who want it at the same moment, the one whose token is the smallest waits until
        it is alone; the others withdraw and come back a random moment later. Either way the claim
        is to be withdrawn at the end.

        Raises
        ------
        RepositoryError
            If the store cannot be read or written, or does not list what was written.
        """
        for n_tries in range(_TRIES):
            # Written anew every time: its own time is the present, and shows others we are alive.
            self._store.write(self._path(_WANTED), b"")
            now, others = self._look()
            if not others:
                self._store.write(self._path(_HELD), b"")
                return True
            if any(
                _is_held(parts) or now - parts[_WANTED] > _PATIENCE for parts in others.values()
            ):
                return False
            if self._name > min(others):
                self._store.remove(self._path(_WANTED))
            _pause(n_tries)
        return False

    def confirm(self) -> None:
        """Make sure that the version is still ours, right before it is completed.

        Raises
        ------
        RepositoryError
            If it took so long that others may soon take us for dead.
        """
        self._store.write(self._path(_CLOSING), b"")
        parts = self._claims().get(self._name, {})
        if _WANTED not in parts or parts[_CLOSING] - parts[_WANTED] > _LONGEST:
            raise RepositoryError(
                f"{self._version} was not written within {_LONGEST.seconds // 60} minutes of being "
                "claimed, so somebody else may be writing it by now; publish again, over a faster "
                "connection"
            )

    def withdraw(self) -> None:
        """Let others have the version."""
        self._remove(self._name, self._claims().get(self._name, {}))

    def _look(self) -> tuple[datetime, dict[str, dict[str, datetime]]]:
        """Return the time and the others' claims; remove all that the dead left behind."""
        claims = self._claims()
        own = claims.pop(self._name, {})
        if _WANTED not in own:
            raise RepositoryError(
                f"a claim of {self._version} was written and is not listed; expected a store that "
                "lists at once what was written, as S3 and Google Cloud Storage do"
            )
        now = own[_WANTED]
        for name, parts in list(claims.items()):
            # What is moved aside to be deleted keeps its own time.
            since = parts.get(_WANTED) or max(parts.values())
            if now - since > _FORGOTTEN:
                self._remove(name, claims.pop(name))
        prefix = f"{self._version}."
        return now, {name: parts for name, parts in claims.items() if name.startswith(prefix)}

    def _claims(self) -> dict[str, dict[str, datetime]]:
        """Return when each part of each claim of any version was written, by the claim's name."""
        claims: dict[str, dict[str, datetime]] = {}
        for path, entry in self._store.under(self._folder).items():
            version, token, part = f"{path.partition('/')[0]}..".split(".")[:3]
            claims.setdefault(f"{version}.{token}", {})[part] = entry.written_at
        return claims

    def _remove(self, name: str, parts: Mapping[str, datetime]) -> None:
        # What makes it count goes last: a removal that is cut short leaves a claim that expires.
        for part in sorted(parts, reverse=True):
            if part == _FILES:
                self._store.remove_folder(self._path(part, name))
            else:
                self._store.remove(self._path(part, name))

    def _path(self, part: str, name: str | None = None) -> str:
        path = f"{self._folder}/{name or self._name}"
        return f"{path}.{part}" if part else path


def _is_held(parts: Mapping[str, datetime]) -> bool:
    return parts.keys() != {_WANTED}


def _pause(n_tries: int) -> None:
    longest = min(_FIRST_PAUSE_SECONDS * 2**n_tries, _LONGEST_PAUSE_SECONDS)
    Event().wait(random.uniform(0, longest))  # noqa: S311  # not a secret
