"""What a client sent, as text that is safe in a message, a log and a header."""

from collections.abc import Sequence
from typing import Any


def shorten(value: Any, limit: int = 60) -> str:
    """Return `value` as printable ASCII, cut to about `limit` characters."""
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def enumerate_names(names: Sequence[str], limit: int = 10) -> str:
    """Return `names` as text, cut to the first `limit`."""
    listed = ", ".join(names[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"
