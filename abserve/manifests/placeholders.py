"""Values that stand for what somebody has yet to fill in: names, numbers and addresses of nobody.

They are those that documentation is allowed to use, so none of them is a real one.
"""

import re
from collections.abc import Iterator
from typing import Any

from abserve.manifests.documents import Document
from abserve.manifests.findings import Severity
from abserve.manifests.images import BY_DIGEST

_NOBODYS = re.compile(
    r"""
    (?<![\w-])(?:[\w-]+\.)*(?:example\.(?:com|net|org)|[\w-]+\.example)(?![\w.-]*\w)  # RFC 2606
    | (?<![\d.])(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}(?!\d)                 # RFC 5737
    | (?<!\d)1{4}2{4}3{4}(?!\d)                         # the account of AWS' own documentation
    | \bZ0+EXAMPLE\b
    """,
    re.VERBOSE,
)


def placeholder_faults(
    document: Document, environment: str | None, *, published: bool
) -> Iterator[tuple[str, Severity]]:
    """Yield the values of a document that an environment cannot run with."""
    if environment not in BY_DIGEST:
        return
    fields: dict[str, list[str]] = {}
    for field, text in _texts(document, ""):
        for found in _NOBODYS.finditer(text):
            fields.setdefault(found[0], []).append(field)
    for value, named_at in fields.items():
        yield (
            f"{', '.join(dict.fromkeys(named_at))}: found {value!r}, which is nobody's; put "
            f"{environment}'s own in its place",
            Severity.ERROR if published else Severity.NOTE,
        )


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _texts(below, f"{field}[{index}]")
