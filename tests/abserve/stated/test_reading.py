"""Sentences about a file follow from the values it states, whatever these are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, JsonValue

from abserve.errors import ManifestError
from abserve.stated.base import Fault, Stated, expects
from abserve.stated.document import Kind, read_text
from abserve.stated.reading import read_stated

MENU = Kind("a menu", ManifestError, most_bytes=1000)


class Soup(Stated):
    dish: Literal["soup"]
    spoons: int = Field(ge=1, examples=[2])


class Cake(Stated):
    dish: Literal["cake"]
    layers: tuple[str, ...] = Field(strict=False, min_length=2)

    def _faults(self) -> Iterator[Fault]:
        if "{salt}" in self.layers:
            yield ("layers", self.layers.index("{salt}")), "is {salt}; expected something sweet"


class Menu(Stated):
    guests: Mapping[str, int] = {}
    course: Annotated[Soup | Cake, Field(discriminator="dish")]
    name: str = Field(pattern="^[a-z]+$", json_schema_extra=expects("letters"), examples=["noon"])
    tip: float | None = Field(default=None, gt=0)
    extra: Mapping[str, JsonValue] = {}


TEXT = """\
name: noon
course:
  dish: soup
  spoons: 1
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_stated(text, "menu", Menu, MENU)
    return str(caught.value).splitlines()


def test_what_a_file_states_is_a_value() -> None:
    menu = read_stated(TEXT + "tip: 3\nextra: {a: [1, null]}\n", "menu", Menu, MENU)
    assert menu.course == Soup(dish="soup", spoons=1)
    assert (menu.tip, menu.extra) == (3.0, {"a": [1, None]})


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("noon", "12", ["menu, line 1: name is 12; expected letters; write for example "
                        "`name: noon`"]),
        ("noon", "Noon!", ["menu, line 1: name is 'Noon!'; expected letters; write for example "
                           "`name: noon`"]),
        ("soup", "tea", ["menu, line 3: course.dish is 'tea'; expected cake or soup"]),
        ("  dish: soup\n", "", ["menu, line 2: course.dish is missing; expected cake or soup"]),
        ("spoons: 1", "spoons: 0", ["menu, line 4: course.spoons is 0; expected a whole number of "
                                    "at least 1; write for example `spoons: 2`"]),
        ("spoons: 1", "spoon: 1", ["menu, line 4: course.spoon is no field here; did you mean "
                                   "spoons?"]),
        ("name: noon", "guests: {a: many}\nname: noon", ["menu, line 1: guests.a is 'many'; "
                                                         "expected a whole number"]),
        ("name: noon", "guests: {3: 1}\nname: noon", ["menu, line 1: guests.3 is no name here; "
                                                      "expected a text: rename it"]),
        ("name: noon", "tip: 0\nname: noon", ["menu, line 1: tip is 0; expected a number above 0"]),
        ("name: noon", "extra: {a: [[2024-01-01]]}\nname: noon",
         ["menu, line 1: extra.a is 2024-01-01; expected a number, a text, true, false, null, or a "
          "list or mapping of them"]),
        ("soup\n  spoons: 1", "cake\n  layers: [jam]", ["menu, line 4: course.layers has 1; "
                                                       "expected a list of at least 2"]),
        ("soup\n  spoons: 1", "cake\n  layers: [jam, 2]", ["menu, line 4: course.layers[1] is 2; "
                                                          "expected a text"]),
        ("soup\n  spoons: 1", "cake\n  layers: [jam, '{salt}']",
         ["menu, line 4: course.layers[1] is {salt}; expected something sweet"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(right: str, wrong: str, said: list[str]) -> None:
    assert right in TEXT
    assert mistakes(TEXT.replace(right, wrong, 1)) == said


def test_what_is_wrong_in_its_place_is_told_too() -> None:
    def faults(menu: Menu) -> Iterator[Fault]:
        yield ("course", "spoons"), f"is {menu.name}"

    with pytest.raises(ManifestError, match=r"menu, line 4: course\.spoons is noon"):
        read_stated(TEXT, "menu", Menu, MENU, faults)


def test_a_text_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "menu").write_bytes(b"\xef\xbb\xbfname: noon")
    assert read_text(tmp_path / "menu", MENU) == "name: noon"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 1001, "is longer than 1000 bytes; expected a menu"),
        (b"a\n\xff", "line 2: this is no text in UTF-8; expected a menu: save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "menu").write_bytes(content)
    with pytest.raises(ManifestError, match=said):
        read_text(tmp_path / "menu", MENU)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot be read \(.*\); expected a menu"):
        read_text(tmp_path / "missing", MENU)
