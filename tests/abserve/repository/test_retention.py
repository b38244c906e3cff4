from datetime import UTC, datetime, timedelta

import pytest

from abserve.repository import Published, expired

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def trained(**days_ago: int) -> list[Published]:
    return [Published(version, NOW - timedelta(days=days)) for version, days in days_ago.items()]


def test_the_newest_stay_by_number_and_not_by_age() -> None:
    versions = trained(v10=200, v9=300, v2=100)
    going = expired(versions, keep_last=2, keep_days=0, used=(), now=NOW)
    assert going == ("v2",)


def test_the_young_stay() -> None:
    versions = trained(v1=90, v2=89, v3=1)
    assert expired(versions, keep_last=1, keep_days=90, used=(), now=NOW) == ("v1",)


def test_what_is_used_stays() -> None:
    versions = trained(v1=300, v2=200, v3=1)
    assert expired(versions, keep_last=1, keep_days=90, used={"v1"}, now=NOW) == ("v2",)


def test_the_oldest_go_first_in_any_order() -> None:
    versions = trained(v10=100, v2=200, v1=300, v11=1)
    going = expired(versions, keep_last=1, keep_days=90, used=(), now=NOW)
    assert going == ("v1", "v2", "v10")


def test_fewer_versions_than_are_kept_all_stay() -> None:
    assert expired(trained(v1=300), keep_last=5, keep_days=0, used=(), now=NOW) == ()
    assert expired([], keep_last=1, keep_days=0, used=(), now=NOW) == ()


@pytest.mark.parametrize(("keep_last", "keep_days"), [(0, 90), (1, -1)])
def test_the_newest_always_stays(keep_last: int, keep_days: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1 and 0"):
        expired(trained(v1=300), keep_last=keep_last, keep_days=keep_days, used=(), now=NOW)
