import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from abserve.console.changes import Changes
from abserve.console.observer import Observer
from abserve.console.stream import event, stream
from tests.abserve.console.shop import Shop

ALL = ["tick", "namespace", "deployment", "change", "charts", "experiment"]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def observer(shop: Shop) -> Observer:
    return Observer(shop, lambda: 1000.0)


class Page:
    """What a page receives, event by event."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        self._events = events

    async def raw(self) -> str:
        return (await asyncio.wait_for(anext(self._events), 5)).decode()

    async def next(self) -> tuple[str, Any]:
        kind, data, *rest = (await self.raw()).split("\n")
        assert rest == ["", ""]
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def kinds(self, n_events: int) -> list[str]:
        return [(await self.next())[0] for _ in range(n_events)]


@asynccontextmanager
async def opened(observer: Observer, shop: Shop, name: str) -> AsyncIterator[Page]:
    async with aclosing(stream(observer, Changes(observer.hurry), shop, name)) as events:
        page = Page(events)
        assert await page.raw() == "retry: 2000\n\n"
        yield page


def test_an_event_is_one_line_of_data_whatever_it_holds() -> None:
    assert event("tick", {"away": "one\ntwo\r\u2028"}) == (
        b'event: tick\ndata: {"away":"one\\ntwo\\r\\u2028"}\n\n'
    )


async def test_a_page_is_told_everything_first(observer: Observer, shop: Shop) -> None:
    await observer.look(ends_block=True)
    async with opened(observer, shop, "iris") as page:
        assert await page.kinds(6) == ALL


async def test_only_what_differs_is_sent_again(observer: Observer, shop: Shop) -> None:
    await observer.look(ends_block=True)
    async with opened(observer, shop, "iris") as page:
        await page.kinds(6)
        await observer.look(ends_block=False)
        shop.documents[0]["status"] = {"state": "Failed", "description": "no such bucket"}
        await observer.look(ends_block=False)
        kinds = await page.kinds(2)
        assert kinds == ["namespace", "deployment"]


async def test_a_page_without_a_deployment_is_told_of_the_list(
    observer: Observer, shop: Shop
) -> None:
    await observer.look(ends_block=True)
    async with opened(observer, shop, "") as page:
        assert await page.kinds(4) == ["tick", "namespace", "deployment", "change"]


async def test_a_cluster_that_is_away_is_told(observer: Observer, shop: Shop) -> None:
    shop.trouble = "https://127.0.0.1:6443 does not answer"
    await observer.look(ends_block=True)
    async with opened(observer, shop, "") as page:
        assert await page.next() == ("tick", {"at": None, "away": shop.trouble})


async def test_a_stream_ends_with_the_console(observer: Observer, shop: Shop) -> None:
    async with opened(observer, shop, "") as page:
        waiting = asyncio.create_task(page.raw())
        await observer.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
