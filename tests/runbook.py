"""The pages of the runbook, as whoever is on call reads them: blocks of commands, and the rest.

A fence says where its block was tried: ``sh local`` on the cluster that serves, ``sh laptop`` in a
terminal of its own, ``sh`` nowhere. The first two are run, word for word, in the order of the page.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs/runbook"
TRIED = {"sh local", "sh laptop"}
PAGES = sorted(each.stem for each in FOLDER.glob("*.md"))

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<says>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences; `says` is what the first one says of it."""

    says: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return all blocks of a page, in their order."""
    return [
        Block(found["says"], textwrap.dedent(found["text"]))
        for found in _FENCE.finditer(_text(page))
    ]


def inline(page: str) -> list[str]:
    """Return what a page quotes in its sentences and tables."""
    prose = _FENCE.sub("", _text(page))
    return [" ".join(found.replace("\\|", "|").split()) for found in _INLINE.findall(prose)]


def _text(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text()
