"""The cards of the four models: in a real browser, and their examples sent to a real server."""

import ast
import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page

from abserve.artifacts import CARD
from abserve.names import version_number
from tests.e2e.browser import FAINT, NAMELESS, running_chromium
from tests.e2e.debian import needs
from tests.e2e.local_cluster import LocalCluster
from tests.html_page import Page as Html
from tests.runtimes.server_process import OURS, ServerProcess, running

pytestmark = pytest.mark.e2e

MODELS = ["breast-cancer", "diabetes", "digits", "iris"]
URL_ON_CARD = "http://localhost:8080"
# A folder of several versions has no settings.json of its own.
WITHOUT_WORKERS = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}
# What the answer is rounded to, half a unit in the fourth decimal, and FP32 besides.
ROUNDED = 6e-5

# Returns the headings' levels, and what of the page is wider than the window.
_LEVELS = "[...document.querySelectorAll('h1, h2, h3, h4')].map((each) => +each.tagName[1])"
_WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of the newest version of each model, trained by the command users type."""
    home = tmp_path_factory.mktemp("all")
    LocalCluster(home).must("abserve", "train", "--all")
    trained = (home / "repository").iterdir()
    return {
        model.name: model / max((each.name for each in model.iterdir()), key=version_number)
        for model in sorted(trained)
    }


@pytest.fixture(scope="module")
def server(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server of all four."""
    served = tmp_path_factory.mktemp("served")
    for model, folder in folders.items():
        shutil.copytree(folder, served / model)
    logs = tmp_path_factory.mktemp("logs") / "server"
    with running(OURS, served, logs, **WITHOUT_WORKERS) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(params=["light", "dark"])
def context(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        viewport={"width": 360, "height": 800}, color_scheme=request.param
    )
    yield context
    context.close()


def opened(context: BrowserContext, card: Path) -> tuple[Page, list[str]]:
    """Return the page, and what happened behind it that should not."""
    amiss: list[str] = []
    context.on("console", lambda message: amiss.append(message.text))
    context.on("weberror", lambda error: amiss.append(str(error.error)))
    context.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:")) else amiss.append(asked.url),
    )
    page = context.new_page()
    page.goto(card.as_uri())
    return page, amiss


def html(folder: Path) -> Html:
    return Html((folder / CARD).read_text("utf-8"))


def described(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: each[key] for key in each if key != "data"} for each in outputs]


def data(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each["data"] for each in outputs}


def rounded(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the data of a card's outputs, to be compared with what a server answers."""
    return {
        each["name"]: each["data"]
        if each["datatype"] == "BYTES"
        else pytest.approx(each["data"], abs=ROUNDED, rel=1e-6)
        for each in outputs
    }


def test_all_four_models_have_a_card(folders: dict[str, Path]) -> None:
    assert list(folders) == MODELS
    assert all((folder / CARD).stat().st_size < 500_000 for folder in folders.values())


@pytest.mark.parametrize("model", MODELS)
def test_a_card_is_readable_on_a_phone_by_day_and_night(
    model: str, folders: dict[str, Path], context: BrowserContext
) -> None:
    page, amiss = opened(context, folders[model] / CARD)
    assert page.title() == f"{model} {folders[model].name}: model card"
    assert page.evaluate(_WIDTH) == 360
    levels = page.evaluate(_LEVELS)
    assert levels[:2] == [1, 2]
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert page.evaluate(FAINT) == []
    assert page.evaluate(NAMELESS) == []
    assert all(each.get_attribute("alt") for each in page.locator("img").all())
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.evaluate(_WIDTH) == 1280
    assert amiss == []


@pytest.mark.parametrize("model", MODELS)
def test_a_card_prints_in_black_on_white(
    model: str, folders: dict[str, Path], context: BrowserContext
) -> None:
    page, _ = opened(context, folders[model] / CARD)
    page.emulate_media(media="print")
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert page.evaluate(FAINT) == []
    assert not page.locator("nav").is_visible()


@pytest.mark.parametrize("model", MODELS)
def test_the_example_of_a_card_gets_the_answer_of_the_card(
    model: str, folders: dict[str, Path], server: ServerProcess
) -> None:
    card = html(folders[model])
    response = requests.post(
        f"{server.url}/v2/models/{model}/infer",
        data=card.text_of("request").encode(),
        headers={"content-type": "application/json"},
        timeout=10,
    )
    assert response.status_code == 200, response.text
    found, expected = response.json(), json.loads(card.text_of("response"))
    assert found["model_name"] == expected["model_name"] == model
    assert found["model_version"] == expected["model_version"] == folders[model].name
    assert described(found["outputs"]) == described(expected["outputs"])
    assert data(found["outputs"]) == rounded(expected["outputs"])


@needs("curl")
@pytest.mark.parametrize("model", ["digits", "iris"])
def test_the_command_of_a_card_can_be_pasted(
    model: str, folders: dict[str, Path], server: ServerProcess
) -> None:
    card = html(folders[model])
    command = card.text_of("curl-command").replace(URL_ON_CARD, server.url)
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=True)
    expected = json.loads(card.text_of("response"))["outputs"]
    assert data(json.loads(done.stdout)["outputs"]) == rounded(expected)


@pytest.mark.parametrize("model", ["diabetes", "digits", "iris"])
def test_the_python_of_a_card_runs(
    model: str, folders: dict[str, Path], server: ServerProcess, tmp_path: Path
) -> None:
    card = html(folders[model])
    for picture in card.of("img"):
        encoded = str(picture["src"]).removeprefix("data:image/png;base64,")
        (tmp_path / "picture.png").write_bytes(base64.b64decode(encoded))
    program = card.text_of("python-code").replace(URL_ON_CARD, server.url)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=30, check=True
    )
    printed = dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())
    for name, expected in rounded(json.loads(card.text_of("response"))["outputs"]).items():
        assert ast.literal_eval(printed[name]) == expected
