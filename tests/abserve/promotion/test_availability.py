import pytest

from abserve.promotion.availability import has_failed, is_available


@pytest.mark.parametrize(
    ("status", "available"),
    [
        ({"state": "Available", "observedGeneration": 2}, True),
        ({"state": "Available", "observedGeneration": 3}, True),
        ({"state": "Available", "observedGeneration": 1}, False),
        ({"state": "Available"}, True),
        ({"state": "Creating", "observedGeneration": 2}, False),
        ({"state": "Failed", "observedGeneration": 2}, False),
        ({}, False),
        (None, False),
    ],
)
def test_available_is_what_serves_the_generation_asked_for(
    status: dict | None, available: bool
) -> None:
    assert is_available({"status": status}, 2) is available


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ({"state": "Failed", "observedGeneration": 2}, True),
        ({"state": "Failed"}, True),
        ({"state": "Failed", "observedGeneration": 1}, False),
        ({"state": "Available", "observedGeneration": 2}, False),
        ({}, False),
    ],
)
def test_failed_is_what_failed_at_the_generation_asked_for(status: dict, failed: bool) -> None:
    assert has_failed({"status": status}, 2) is failed
