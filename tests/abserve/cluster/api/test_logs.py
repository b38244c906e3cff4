from datetime import UTC, datetime, timedelta

import pytest

from abserve.cluster.api.logs import LogOptions, log_options
from abserve.cluster.api.status import ApiError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def options(**query: str) -> LogOptions:
    return log_options("iris-0", query, NOW)


def refusal(**query: str) -> ApiError:
    with pytest.raises(ApiError) as refused:
        options(**query)
    return refused.value


def test_by_default_all_of_the_newest_run_is_asked_for() -> None:
    assert options() == LogOptions()


def test_what_kubectl_sends_is_read() -> None:
    assert options(
        container="iris",
        follow="true",
        previous="true",
        timestamps="true",
        tailLines="10",
        limitBytes="100",
        sinceTime="2026-01-02T03:00:00Z",
    ) == LogOptions(
        container="iris",
        follow=True,
        previous=True,
        timestamps=True,
        since=datetime(2026, 1, 2, 3, tzinfo=UTC),
        tail_lines=10,
        limit_bytes=100,
    )


def test_seconds_are_counted_back_from_now() -> None:
    assert options(sinceSeconds="90").since == NOW - timedelta(seconds=90)


def test_seconds_from_before_time_began_leave_out_nothing() -> None:
    assert options(sinceSeconds="9" * 18).since is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tailLines", "ten"),
        ("tailLines", "1.5"),
        ("tailLines", ""),
        ("tailLines", "9" * 19),
        ("limitBytes", "²"),
        ("follow", "maybe"),
        ("sinceTime", "yesterday"),
        ("sinceTime", "2026-01-02T03:00:00"),
    ],
)
def test_a_value_that_cannot_be_read_is_a_bad_request(name: str, value: str) -> None:
    refused = refusal(**{name: value})
    assert refused.code == 400
    assert name in str(refused)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("tailLines", "-1", 0), ("limitBytes", "0", 1), ("sinceSeconds", "0", 1)],
)
def test_a_number_that_is_too_small_is_invalid(name: str, value: str, least: int) -> None:
    refused = refusal(**{name: value})
    assert refused.code == 422
    assert str(refused) == (
        f'PodLogOptions "iris-0" is invalid: {name}: Invalid value: {value}: '
        f"must be greater than or equal to {least}"
    )


def test_two_beginnings_are_invalid() -> None:
    refused = refusal(sinceSeconds="1", sinceTime="2026-01-02T03:00:00Z")
    assert refused.code == 422
    assert "at most one of sinceTime or sinceSeconds" in str(refused)
