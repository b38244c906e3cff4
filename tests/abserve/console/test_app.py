import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from starlette.applications import Starlette

from abserve.console import Console
from tests.abserve.cluster.asgi import Answer, Client
from tests.abserve.console.shop import Shop
from tests.abserve.seldon.documents import document, predictor

TOKEN = "the-token-of-this-test"
HOST = "localhost:8100"
COOKIE = f"abserve-console-8100={TOKEN}"
CHANGE = {"generation": 3, "weights": {"baseline": 70, "candidate": 30}}


@dataclass
class Browser:
    """A browser on this machine that was let in; `headers` are what it sends each time."""

    console: Console
    headers: dict[str, str]

    async def get(self, path: str, **changed: str | None) -> Answer:
        return await self._send("GET", path, b"", changed)

    async def post(self, path: str, value: Any, **changed: str | None) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        origin = {"origin": f"http://{HOST}", "content-type": "application/json"}
        return await self._send("POST", path, body, {**origin, **changed})

    async def _send(
        self, method: str, path: str, body: bytes, changed: Mapping[str, str | None]
    ) -> Answer:
        given = {**self.headers, **{key.replace("_", "-"): each for key, each in changed.items()}}
        headers = {key: each for key, each in given.items() if each is not None}
        bare, _, query = path.partition("?")
        pairs = dict(pair.split("=") for pair in query.split("&") if pair)
        client = Client(cast("Starlette", self.console.app))
        return await client.send_chunks(method, bare, [body], headers, pairs)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def browser(shop: Shop) -> Browser:
    console = Console(shop, TOKEN, 8100)
    await console.observer.look(ends_block=True)
    return Browser(console, {"host": HOST, "cookie": COOKIE})


async def until_over(browser: Browser) -> dict[str, Any]:
    """Wait for the end of the latest change of iris."""
    changes, observer = browser.console.changes, browser.console.observer
    seen = 0
    async with asyncio.timeout(5):
        while changes.running("iris"):
            seen = await observer.news(seen)
    latest = changes.of("iris")
    assert latest
    return latest


# Who may ask


async def test_the_url_that_was_printed_lets_a_browser_in(browser: Browser) -> None:
    answer = await browser.get(f"/?token={TOKEN}", cookie=None)
    assert (answer.code, answer.headers["location"]) == (303, "/")
    assert answer.headers["set-cookie"] == f"{COOKIE}; HttpOnly; Path=/; SameSite=strict"


@pytest.mark.parametrize("path", ["/", "/api/stream", "/static/main.js", "/api/pods/b-1/log"])
@pytest.mark.parametrize("cookie", [None, "abserve-console-8100=guessed", "a=b;;=", "\xe9="])
async def test_without_the_token_there_is_nothing_to_see(
    browser: Browser, path: str, cookie: str | None
) -> None:
    answer = await browser.get(path, cookie=cookie)
    assert answer.code == 401
    assert "Open the whole URL" in answer.text
    assert TOKEN not in answer.text


async def test_a_wrong_token_is_not_let_in(browser: Browser) -> None:
    assert (await browser.get("/?token=guessed", cookie=None)).code == 401


async def test_consoles_on_other_ports_keep_their_own_cookies(shop: Shop) -> None:
    other = Browser(Console(shop, TOKEN, 9999), {"host": "localhost:9999", "cookie": COOKIE})
    assert (await other.get("/")).code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8100", "localhost.evil.example", ""]
)
async def test_a_foreign_host_is_refused(browser: Browser, host: str) -> None:
    assert (await browser.get("/", host=host)).code == 421


async def test_the_loopback_address_is_us_as_well(browser: Browser) -> None:
    assert (await browser.get("/", host="127.0.0.1:8100")).code == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://localhost:1", f"https://{HOST}"]
)
async def test_a_change_from_another_page_is_refused(
    browser: Browser, shop: Shop, origin: str | None
) -> None:
    answer = await browser.post("/api/deployments/iris/weights", CHANGE, origin=origin)
    assert (answer.code, shop.changes) == (403, [])


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_change_that_a_form_could_send_is_refused(
    browser: Browser, shop: Shop, kind: str | None
) -> None:
    answer = await browser.post("/api/deployments/iris/weights", CHANGE, content_type=kind)
    assert (answer.code, shop.changes) == (415, [])


async def test_a_change_is_never_made_by_reading(browser: Browser, shop: Shop) -> None:
    for verb in ("weights", "promote", "rollback"):
        assert (await browser.get(f"/api/deployments/iris/{verb}")).code == 405
    assert shop.changes == []


@pytest.mark.parametrize("cookie", [COOKIE, None])
@pytest.mark.parametrize("path", ["/", "/static/console.css", "/nothing", f"/?token={TOKEN}"])
async def test_every_answer_is_hardened(browser: Browser, path: str, cookie: str | None) -> None:
    headers = (await browser.get(path, cookie=cookie)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


# The page


async def test_the_page_holds_no_script_and_no_style_of_its_own(browser: Browser) -> None:
    page = (await browser.get("/")).text
    assert "<style" not in page
    assert " style=" not in page
    assert "<script type=" in page
    assert page.count("<script") == page.count('src="/static/')


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/main.js", "text/javascript"),
        ("/static/console.css", "text/css"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
async def test_its_parts_are_served(browser: Browser, path: str, kind: str) -> None:
    answer = await browser.get(path)
    assert (answer.code, answer.headers["content-type"].partition(";")[0]) == (200, kind)


async def test_a_log_is_plain_text(browser: Browser) -> None:
    answer = await browser.get("/api/pods/b-1/log?lines=50")
    assert (answer.code, answer.text) == (200, "last 50 lines of iris in b-1")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("lines", ["0", "1001", "-1", "many"])
async def test_only_so_many_lines_are_read(browser: Browser, lines: str) -> None:
    assert (await browser.get(f"/api/pods/b-1/log?lines={lines}")).code == 400


async def test_a_log_that_cannot_be_read_says_why(browser: Browser, shop: Shop) -> None:
    shop.trouble = "refused (404): pods 'b-1' not found"
    answer = await browser.get("/api/pods/b-1/log")
    assert (answer.code, answer.json) == (502, {"message": shop.trouble})


async def test_no_other_pods_log_is_shown(browser: Browser) -> None:
    assert (await browser.get("/api/pods/database/log")).code == 404


# Changes


async def test_weights_are_set(browser: Browser, shop: Shop) -> None:
    answer = await browser.post("/api/deployments/iris/weights", CHANGE)
    assert answer.code == 202
    latest = await until_over(browser)
    assert shop.changes == [("weights", "iris", 3, {"baseline": 70, "candidate": 30})]
    assert (latest["number"], latest["state"]) == (answer.json["number"], "done")
    assert latest["summary"] == "iris: baseline 90 % → 70 %, candidate 10 % → 30 %"


async def test_a_rollback_gives_the_baseline_everything(browser: Browser, shop: Shop) -> None:
    await browser.post("/api/deployments/iris/rollback", {"generation": 3})
    latest = await until_over(browser)
    assert shop.changes == [("roll back", "iris", 3)]
    assert latest["summary"] == "iris: all requests to baseline"
    assert latest["steps"] == ["sending all requests to baseline"]


async def test_a_candidate_is_promoted(browser: Browser, shop: Shop) -> None:
    await browser.post("/api/deployments/iris/promote", {"generation": 3})
    latest = await until_over(browser)
    assert shop.changes == [("promote", "iris", 3)]
    assert latest["steps"] == ["sending all requests to candidate"]


async def test_without_a_candidate_nothing_is_promoted_or_rolled_back(
    browser: Browser, shop: Shop
) -> None:
    names = ("a", "b", "c")
    shop.documents = [document(*(predictor(each, "v1", traffic=33) for each in names))]
    shop.documents[0]["metadata"]["generation"] = 4
    await browser.console.observer.look(ends_block=True)
    for verb in ("promote", "rollback"):
        answer = await browser.post(f"/api/deployments/iris/{verb}", {"generation": 4})
        assert answer.code == 409
    assert shop.changes == []


async def test_the_cluster_refuses_in_its_own_words(browser: Browser, shop: Shop) -> None:
    shop.trouble = "refused (422): the sum of traffic is not 100"
    await browser.post("/api/deployments/iris/weights", CHANGE)
    latest = await until_over(browser)
    assert (latest["state"], latest["error"]) == ("failed", shop.trouble)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"{", "no JSON"),
        ([], "a change is a JSON object"),
        ({"weights": {"baseline": 100}}, "names the generation"),
        ({"generation": True, "weights": {"baseline": 100}}, "names the generation"),
        ({"generation": 3}, "whole percents by variant"),
        ({"generation": 3, "weights": {"baseline": 99.5}}, "whole percents by variant"),
        ({"generation": 3, "weights": {"baseline": True}}, "whole percents by variant"),
        ({"generation": 3, "weights": {"baseline": 90}}, "weights sum to 90"),
        ({"generation": 3, "weights": {"baseline": 101, "candidate": -1}}, "from 0 to 100"),
    ],
)
async def test_what_is_no_change_is_refused(
    browser: Browser, shop: Shop, value: Any, found: str
) -> None:
    answer = await browser.post("/api/deployments/iris/weights", value)
    assert (answer.code, shop.changes) == (400, [])
    assert found in answer.json["message"]


async def test_a_huge_change_is_refused(browser: Browser) -> None:
    answer = await browser.post("/api/deployments/iris/weights", b" " * 20_000)
    assert answer.code == 413


async def test_an_unknown_deployment_is_not_changed(browser: Browser) -> None:
    answer = await browser.post("/api/deployments/wine/weights", CHANGE)
    assert (answer.code, answer.json["message"]) == (
        404,
        "no SeldonDeployment 'wine' is known here",
    )


async def test_a_console_that_can_no_longer_look_says_so(shop: Shop) -> None:
    console = Console(shop, TOKEN, 8100)
    shop.documents = [{"metadata": {}}]
    messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    await messages.put({"type": "lifespan.startup"})

    async def sent(_: Any) -> None: ...

    living = asyncio.create_task(console.app({"type": "lifespan"}, messages.get, sent))
    await asyncio.wait_for(console.broken.wait(), 5)
    await messages.put({"type": "lifespan.shutdown"})
    await asyncio.wait_for(living, 5)
