import asyncio
import threading
from typing import Any

import pytest

from abserve.console.changes import Changes
from abserve.console.cluster import Report
from abserve.errors import KubernetesError


class News:
    """Counts how often it was told, and lets one wait for the end of a change."""

    def __init__(self) -> None:
        self.told = asyncio.Condition()

    async def __call__(self) -> None:
        async with self.told:
            self.told.notify_all()

    async def until_over(self, changes: Changes) -> dict[str, Any]:
        async with self.told:
            await asyncio.wait_for(self.told.wait_for(lambda: not changes.running("iris")), 5)
        latest = changes.of("iris")
        assert latest
        return latest


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def changes(news: News) -> Changes:
    return Changes(news)


async def test_a_change_reports_its_steps_and_its_end(changes: Changes, news: News) -> None:
    def work(report: Report) -> None:
        report("first")
        report("second")

    number = await changes.begin("iris", "iris: 10 % → 50 %", work)
    latest = await news.until_over(changes)
    assert latest == {
        "number": number,
        "summary": "iris: 10 % → 50 %",
        "state": "done",
        "steps": ["first", "second"],
        "error": "",
    }


async def test_a_refusal_is_told_in_the_clusters_own_words(changes: Changes, news: News) -> None:
    def work(_: Report) -> None:
        raise KubernetesError("refused (422): weights must sum to 100")

    await changes.begin("iris", "iris: 10 % → 50 %", work)
    latest = await news.until_over(changes)
    assert (latest["state"], latest["error"]) == (
        "failed",
        "refused (422): weights must sum to 100",
    )


async def test_a_change_is_running_until_it_is_over(changes: Changes, news: News) -> None:
    go_on = threading.Event()
    await changes.begin("iris", "iris: 10 % → 50 %", lambda _: go_on.wait(5) and None)
    running = changes.running("iris")
    assert running
    assert running.state == "running"
    go_on.set()
    await news.until_over(changes)


def test_a_deployment_that_was_not_changed_has_no_change(changes: Changes) -> None:
    assert (changes.of("iris"), changes.running("iris")) == (None, None)
