"""Units: whoever an experiment gives to one variant, counted at their first request.

Without ``$ABSERVE_UNIT_HEADER`` every request is a unit. With it, units are the distinct values of
that header, of REST or of gRPC's metadata; a request without it is a unit of its own::

    x-unit-id: user-7 ──> BLAKE2b, keyed ──> 7 places in 2**27 bits ──> all taken? known
                          by the process                                 else new: take them

That is a Bloom filter: it never takes a known unit for a new one. It takes a new unit for a known
one, by chance and whoever it is, the more often the more it knows: at a million units once in a
billion, at ten million twice in a thousand. Such a unit is left out of the units and of the
outcomes alike. The values themselves are not kept, and cannot be learned from the filter.

Units are counted by the time they arrived, in rings of slots (`abserve.slots`), so that whoever
reads them later knows to the second when that was.
"""

import os
import re
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from time import time

from abserve.errors import AbserveError
from abserve.slots import N_SLOTS, PERIODS_SECONDS, slot_of

HEADER_VARIABLE = "ABSERVE_UNIT_HEADER"
FILTER_BYTES = 1 << 24

_HEADER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_WORDS = struct.Struct("<7I")
_IN_FILTER = 8 * FILTER_BYTES - 1
_NEVER = -1  # of a slot whose time has not come yet


def unit_header_from_environment() -> str:
    """Return the header that names the unit of a request; empty if requests are the units.

    Raises
    ------
    AbserveError
        If the environment holds something that is no name of a header.
    """
    given = os.environ.get(HEADER_VARIABLE, "")
    if given and not _HEADER.fullmatch(given):
        raise AbserveError(
            f"{HEADER_VARIABLE} is {given!r}; expected a header's name in lower case, such as "
            "x-unit-id, or nothing if every request is a unit"
        )
    return given


def unit_of(values: Iterable[bytes | str]) -> bytes | None:
    """Return the unit that a request's headers name, as the gateway reads them.

    Several are one unit in whichever order; what is empty, or nothing but commas, is none. Texts
    are the same unit as the bytes that they were made of, by HTTP's rules.

    Examples
    --------
    >>> unit_of([b"user-2", b"user-1"])
    b'user-1,user-2'
    """
    unit = b",".join(
        sorted(
            value if isinstance(value, bytes) else value.encode("latin-1", "backslashreplace")
            for value in values
        )
    )
    return unit if unit.strip(b",") else None


class Units:
    """Counts the units of one version, by the time they arrived. For the event loop only.

    Parameters
    ----------
    header : str
        Names the unit of a request; empty if requests are the units.
    clock : callable, optional
        Returns the time in seconds since 1970.
    """

    def __init__(self, header: str, clock: Callable[[], float] = time) -> None:
        self.header = header
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._taken = bytearray(FILTER_BYTES if header else 0)
        self._rings = {period: [_NEVER] * N_SLOTS for period in PERIODS_SECONDS}
        self._turn_to(int(clock()))

    def add(self, unit: bytes | None) -> bool:
        """Count the unit of a request that has arrived; return whether this is its first one.

        Parameters
        ----------
        unit : bytes or None
            None if the request is a unit of its own.
        """
        is_new = not self.header or unit is None or self._take(unit)
        if is_new:
            now = int(self._clock())
            if now != self._second:
                self._turn_to(now)
            for ring, slot in self._present:
                # Nothing else writes here, so a scrape in another thread finds it whole.
                ring[slot] += 1
        return is_new

    def slots(self) -> Iterator[tuple[int, int, int]]:
        """Yield period, number and content of each slot whose time has come here.

        There is one of each period at least, from the beginning on.
        """
        for period, ring in self._rings.items():
            for number, n in enumerate(ring):
                if n != _NEVER:
                    yield period, number, n

    def _turn_to(self, second: int) -> None:
        self._second = second
        self._present: list[tuple[list[int], int]] = []
        for period, ring in self._rings.items():
            slot = slot_of(second, period)
            if ring[slot] == _NEVER:
                ring[slot] = 0
            self._present.append((ring, slot))

    def _take(self, unit: bytes) -> bool:
        digest = blake2b(unit, digest_size=_WORDS.size, key=self._key).digest()
        is_new = False
        for word in _WORDS.unpack(digest):
            place = word & _IN_FILTER
            bit = 1 << (place & 7)
            if not self._taken[place >> 3] & bit:
                self._taken[place >> 3] |= bit
                is_new = True
        return is_new
