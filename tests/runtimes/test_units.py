from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abserve.errors import AbserveError
from abserve.slots import N_SLOTS, PERIODS_SECONDS, slot_of
from runtimes.units import HEADER_VARIABLE, Units, unit_header_from_environment, unit_of

HEADER = "x-unit-id"
NOON = 1_800_000_000


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def counted(units: Units, period: int = 3600) -> int:
    return sum(n for each, _, n in units.slots() if each == period)


def in_slots(units: Units, period: int) -> dict[int, int]:
    return {number: n for each, number, n in units.slots() if each == period}


def test_without_a_header_every_request_is_the_first_of_its_unit() -> None:
    units = Units("")
    assert [units.add(b"user-1"), units.add(b"user-1"), units.add(None)] == [True] * 3


def test_a_unit_is_counted_at_its_first_request() -> None:
    units = Units(HEADER)
    assert [units.add(unit) for unit in (b"a", b"b", b"a", b"b")] == [True, True, False, False]
    assert counted(units) == 2


def test_a_request_without_a_unit_is_its_own() -> None:
    units = Units(HEADER)
    assert [units.add(None), units.add(None)] == [True, True]
    assert counted(units) == 2


def test_units_are_counted_in_a_slot_of_every_ring_by_the_time_they_arrive() -> None:
    clock = Clock(NOON + 0.9)
    units = Units("", clock)
    units.add(None)
    clock.now = NOON + 1.0
    units.add(None)
    units.add(None)
    clock.now = NOON + 61.5
    units.add(None)
    assert in_slots(units, 1) == {
        slot_of(NOON, 1): 1,
        slot_of(NOON + 1, 1): 2,
        slot_of(NOON + 61, 1): 1,
    }
    assert in_slots(units, 60) == {slot_of(NOON, 60): 3, slot_of(NOON + 60, 60): 1}
    assert [counted(units, period) for period in PERIODS_SECONDS] == [4] * 4


def test_a_slot_goes_on_after_a_turn_of_the_ring() -> None:
    clock = Clock()
    units = Units("", clock)
    for _ in range(3):
        units.add(None)
        clock.now += N_SLOTS
    assert in_slots(units, 1) == {slot_of(NOON, 1): 3}


def test_each_period_has_a_slot_from_the_beginning_on() -> None:
    assert list(Units("", Clock()).slots()) == [
        (period, slot_of(NOON, period), 0) for period in PERIODS_SECONDS
    ]


def test_only_the_first_exposure_of_a_named_unit_is_in_a_slot() -> None:
    clock = Clock()
    units = Units(HEADER, clock)
    units.add(b"a")
    clock.now += 1
    units.add(b"a")
    units.add(b"b")
    assert in_slots(units, 1) == {slot_of(NOON, 1): 1, slot_of(NOON + 1, 1): 1}


@given(st.lists(st.floats(-200, 200), max_size=50))
def test_no_clock_makes_a_unit_uncounted_or_a_slot_fall(steps: list[float]) -> None:
    clock = Clock()
    units = Units("", clock)
    for number, step in enumerate(steps, start=1):
        before = {each[:2]: each[2] for each in units.slots()}
        clock.now += step
        units.add(None)
        after = {each[:2]: each[2] for each in units.slots()}
        assert all(after[slot] >= n for slot, n in before.items())
        assert [counted(units, period) for period in PERIODS_SECONDS] == [number] * 4


def test_versions_know_their_own_units() -> None:
    one, two = Units(HEADER), Units(HEADER)
    assert [one.add(b"a"), two.add(b"a")] == [True, True]


def test_a_known_unit_is_never_taken_for_a_new_one_nor_often_a_new_one_for_known() -> None:
    units = Units(HEADER)
    names = [f"user-{number}".encode() for number in range(50_000)]
    assert sum(units.add(name) for name in names) >= len(names) - 1
    assert not any(units.add(name) for name in names)


def test_units_are_not_kept_and_two_processes_keep_other_marks_of_them() -> None:
    one, two = Units(HEADER), Units(HEADER)
    for each in (one, two):
        each.add(b"a name that one could search for")
    assert b"name" not in one._taken
    assert one._taken != two._taken


def test_a_unit_may_be_any_bytes_of_any_length() -> None:
    units = Units(HEADER)
    for unit in (b"\xff\x00", b"u" * 60_000, "käse".encode()):
        assert [units.add(unit), units.add(unit)] == [True, False]


@pytest.mark.parametrize("values", [[], [b""], [b","], [b",,", b""], [""]])
def test_what_says_nothing_is_no_unit(values: list[bytes | str]) -> None:
    assert unit_of(values) is None


def test_several_values_are_one_unit_in_any_order() -> None:
    assert unit_of([b"b", b"a"]) == unit_of([b"a", b"b"]) == unit_of(["b", "a"])


def test_a_text_is_the_bytes_it_was_read_from() -> None:
    assert unit_of(["käse".encode().decode("latin-1")]) == "käse".encode()


def test_requests_are_the_units_where_no_header_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HEADER_VARIABLE, raising=False)
    assert unit_header_from_environment() == ""
    monkeypatch.setenv(HEADER_VARIABLE, "")
    assert unit_header_from_environment() == ""


def test_the_environment_names_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HEADER_VARIABLE, "x-customer.id_1")
    assert unit_header_from_environment() == "x-customer.id_1"


@pytest.mark.parametrize("name", ["X-Unit-Id", "x unit", "-x", "x-é", "x:", "x" * 65, "x\n"])
def test_what_is_no_name_of_a_header_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(HEADER_VARIABLE, name)
    with pytest.raises(AbserveError, match=r"expected a header's name in lower case, such as x-un"):
        unit_header_from_environment()
