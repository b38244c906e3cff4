"""The web console in a real browser, over a real cluster, as its users see it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from abserve.cli.traffic import Traffic
from abserve.cluster import Home
from tests.e2e.browser import FAINT, NAMELESS, running_chromium
from tests.e2e.local_cluster import BIN, ROOT, LocalCluster

pytestmark = pytest.mark.e2e

# Fisher's; the last is a versicolor that v1 takes for a virginica.
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.4, 3.2, 4.5, 1.5], [6.3, 3.3, 6.0, 2.5], [6.0, 2.7, 5.1, 1.6]]
LABELS = ["setosa", "versicolor", "virginica", "versicolor"]
N_REQUESTS = 300
LOOKS_MILLISECONDS = 15_000
CHANGE_MILLISECONDS = 90_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def console(iris_cluster: LocalCluster) -> Iterator[str]:
    """The URL of a console that runs in the foreground."""
    with running_console(iris_cluster) as url:
        yield url


@contextmanager
def running_console(cluster: LocalCluster, *options: str) -> Iterator[str]:
    process = subprocess.Popen(
        [BIN / "abserve", "console", "--port", "0", *options],
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        printed = process.stdout.readline()
        assert printed.startswith("console: http://localhost:")
        yield printed.removeprefix("console: ").strip()
    finally:
        process.terminate()
        rest = process.stdout.read()
        process.stdout.close()
    assert (process.wait(10), rest) == (0, "")


class Watched:
    """What happened behind a page."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        context.on("console", lambda message: self.complaints.append(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1180, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, console: str) -> Iterator[Page]:
    """The console's page on iris; nothing went wrong behind it, and nothing left this machine."""
    watched = Watched(context)
    page = context.new_page()
    page.goto(console)
    expect(page.get_by_role("heading", name="iris", exact=True)).to_be_visible()
    yield page
    assert watched.complaints == []
    assert watched.hosts == {"localhost"}


def send_traffic(cluster: LocalCluster) -> None:
    tally = Traffic(cluster.url(), ROWS, LABELS).send(N_REQUESTS, lambda: None)
    assert tally.failures == []


def weights(cluster: LocalCluster) -> dict[str, int]:
    return {each["name"]: each["traffic"] for each in cluster.get("iris")["spec"]["predictors"]}


def cell(page: Page, row: str, column: int) -> Locator:
    """Return a cell of the table that compares the predictors; 0 is the baseline."""
    table = page.get_by_role("region", name="Predictors").get_by_role("table")
    return table.get_by_role("row", name=re.compile(f"^{row}")).get_by_role("cell").nth(column)


def until_done(page: Page) -> None:
    done = page.get_by_role("dialog").get_by_text("Done. It is in force.")
    expect(done).to_be_visible(timeout=CHANGE_MILLISECONDS)


def test_what_is_served_and_how_well_is_seen_as_it_happens(
    iris_cluster: LocalCluster, page: Page
) -> None:
    expect(cell(page, "Weight", 0)).to_have_text("90\u00a0%")
    expect(cell(page, "Weight", 1)).to_have_text("10\u00a0%")
    expect(cell(page, "Version", 0)).to_have_text("v1")
    expect(cell(page, "Version", 1)).to_have_text("v2")
    send_traffic(iris_cluster)
    told = re.compile(rf"Of {N_REQUESTS} requests since .* went to baseline, .* went to candidate")
    expect(page.get_by_text(told)).to_be_visible(timeout=LOOKS_MILLISECONDS)
    status = {each["name"]: each for each in iris_cluster.status()["predictors"]}
    for column, name in enumerate(("baseline", "candidate")):
        seen = status[name]
        share = f"{100 * seen['n_requests'] / N_REQUESTS:.1f}\u00a0%"
        expect(cell(page, "Observed", column)).to_have_text(share)
        labels = f"of {seen['n_feedback']} label"
        expect(cell(page, "Accuracy", column)).to_contain_text(labels)
    expect(cell(page, "p99", 0)).to_have_text(re.compile(r"^\d"))
    evidence = page.get_by_role("region", name="Evidence", exact=True)
    expect(evidence.get_by_text("points of accuracy")).to_be_visible(timeout=LOOKS_MILLISECONDS)
    expect(evidence.get_by_text("is for you to decide")).to_be_visible()


def test_weights_are_set_after_the_dialog_has_said_what_will_change(
    iris_cluster: LocalCluster, page: Page
) -> None:
    page.get_by_role("button", name="Set weights").click()
    dialog = page.get_by_role("dialog", name="Set weights")
    expect(dialog.get_by_role("button", name="Set weights")).to_be_disabled()
    dialog.get_by_role("spinbutton", name="candidate").fill("50")
    expect(dialog.get_by_role("spinbutton", name="baseline")).to_have_value("50")
    said = "iris: baseline 90\u00a0% → 50\u00a0%, candidate 10\u00a0% → 50\u00a0%"
    expect(dialog.get_by_text(said)).to_be_visible()
    dialog.get_by_role("button", name="Set weights").click()
    until_done(page)
    assert weights(iris_cluster) == {"baseline": 50, "candidate": 50}
    dialog.get_by_role("button", name="Close").click()
    expect(cell(page, "Weight", 1)).to_have_text("50\u00a0%")


def test_a_dialog_that_is_cancelled_changes_nothing(iris_cluster: LocalCluster, page: Page) -> None:
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("dialog")).to_contain_text("candidate 10\u00a0% → 0\u00a0%")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert weights(iris_cluster) == {"baseline": 90, "candidate": 10}


def test_a_rollback_needs_no_mouse(iris_cluster: LocalCluster, page: Page) -> None:
    button = page.get_by_role("button", name="Roll back")
    for _ in range(30):
        page.keyboard.press("Tab")
        if button.evaluate("(each) => each === document.activeElement"):
            break
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Roll back")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Roll back")).to_be_focused()
    page.keyboard.press("Enter")
    until_done(page)
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert weights(iris_cluster) == {"baseline": 100, "candidate": 0}
    expect(button).to_be_disabled()


def test_the_candidate_is_promoted(iris_cluster: LocalCluster, page: Page) -> None:
    page.get_by_role("button", name="Promote candidate").click()
    dialog = page.get_by_role("dialog", name="Promote candidate")
    expect(dialog).to_contain_text(
        "iris: candidate 10\u00a0% → 100\u00a0%, then it becomes baseline"
    )
    expect(dialog).to_contain_text("v2, s3://models/iris/v2 instead of v1, s3://models/iris/v1")
    dialog.get_by_role("button", name="Promote", exact=True).click()
    expect(dialog).to_contain_text("sending all requests to candidate")
    until_done(page)
    (only,) = iris_cluster.get("iris")["spec"]["predictors"]
    assert (only["name"], only["graph"]["modelUri"]) == ("baseline", "s3://models/iris/v2")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Promote candidate")).to_have_count(0)
    expect(cell(page, "Version", 0)).to_have_text("v2")


def test_what_was_changed_meanwhile_is_not_overwritten(
    iris_cluster: LocalCluster, page: Page
) -> None:
    page.get_by_role("button", name="Set weights").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("spinbutton", name="candidate").fill("30")
    iris_cluster.must("abserve", "weights", "iris", "baseline=80", "candidate=20")
    dialog.get_by_role("button", name="Set weights").click()
    expect(dialog.get_by_role("alert")).to_contain_text("'iris' was changed meanwhile")
    assert weights(iris_cluster) == {"baseline": 80, "candidate": 20}


def test_the_last_lines_of_a_pods_log_are_shown(page: Page) -> None:
    page.get_by_role("button", name="Log of iris-candidate").click()
    dialog = page.get_by_role("dialog", name="Log of iris-candidate")
    expect(dialog.get_by_text("Loaded model 'iris' successfully.")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_a_chart_is_read_with_the_arrow_keys_and_as_a_table(
    iris_cluster: LocalCluster, page: Page
) -> None:
    send_traffic(iris_cluster)
    chart = page.get_by_role("slider", name="Requests per second")
    expect(chart).not_to_have_attribute("aria-valuenow", "0", timeout=2 * LOOKS_MILLISECONDS)
    chart.focus()
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("ArrowRight")
    expect(chart).to_have_attribute("aria-valuenow", "1")
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"^\d\d:\d\d:\d\d: baseline"))
    page.get_by_text("Values of Requests per second").click()
    table = page.get_by_role("region", name="Values of Requests per second")
    expect(table.get_by_role("columnheader")).to_have_text(["Time", "baseline", "candidate"])


def test_a_cluster_that_is_away_is_said_to_be_and_comes_back(
    iris_cluster: LocalCluster, page: Page
) -> None:
    record = Home(iris_cluster.home).cluster()
    assert record
    process = psutil.Process(record.process.pid)
    process.suspend()
    try:
        away = page.get_by_text("The cluster is away since")
        expect(away).to_be_visible(timeout=2 * LOOKS_MILLISECONDS)
        expect(page.get_by_role("heading", name="iris", exact=True)).to_be_visible()
    finally:
        process.resume()
    expect(away).to_have_count(0, timeout=2 * LOOKS_MILLISECONDS)


def test_a_console_that_is_started_again_is_found_again(
    iris_cluster: LocalCluster, chromium: Browser, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    with chromium.new_context() as context:
        page = context.new_page()
        with running_console(iris_cluster, "--token-file", str(token)) as url:
            page.goto(url)
            expect(page.get_by_text("live")).to_be_visible()
        expect(page.get_by_text("The console does not answer")).to_be_visible()
        port = str(urlsplit(url).port)
        again = ("--token-file", str(token), "--port", port)
        with running_console(iris_cluster, *again) as second:
            assert second == url
            expect(page.get_by_text("live")).to_be_visible(timeout=LOOKS_MILLISECONDS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1180])
def test_the_page_can_be_read_and_used_by_everyone(
    iris_cluster: LocalCluster, page: Page, scheme: str, width: int
) -> None:
    send_traffic(iris_cluster)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.get_by_text(f"Of {N_REQUESTS} requests")).to_be_visible(timeout=LOOKS_MILLISECONDS)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(FAINT) == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((each) => each.tagName)"
    )
    assert levels[0] == "H1"
    assert levels.count("H1") == 1
    for landmark in ("banner", "main", "navigation"):
        assert page.get_by_role(landmark).count() <= 1
    assert page.evaluate("document.documentElement.lang") == "en"
    page.get_by_role("button", name="Set weights").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(FAINT) == []


def test_an_empty_namespace_says_what_to_type(
    cluster: LocalCluster, context: BrowserContext
) -> None:
    with running_console(cluster) as url:
        page = context.new_page()
        page.goto(url)
        expect(page.get_by_role("heading", name="Nothing is served here yet")).to_be_visible()
        expect(page.get_by_text("abserve train iris --version v1")).to_be_visible()
        cluster.apply_iris()
        expect(page.get_by_role("heading", name="iris", exact=True)).to_be_visible()
        cluster.delete("iris")
        expect(page.get_by_role("heading", name="Nothing is served here yet")).to_be_visible(
            timeout=LOOKS_MILLISECONDS
        )


def test_only_the_printed_url_opens_it(console: str, context: BrowserContext) -> None:
    bare = console.partition("?")[0]
    page = context.new_page()
    refused = page.goto(bare)
    assert refused
    assert refused.status == 401
    expect(page.get_by_role("heading", name="This console asks for its token")).to_be_visible()
    page.goto(console)
    assert page.url == bare
    with pytest.raises(requests.ConnectionError):
        requests.get(bare.replace("localhost", "[::1]"), timeout=5)


def test_a_port_that_is_taken_is_reported(cluster: LocalCluster, console: str) -> None:
    port = str(urlsplit(console).port)
    done = cluster.abserve("console", "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on port {port}" in done.stderr


def test_a_token_file_that_holds_no_token_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("short")
    done = cluster.abserve("console", "--port", "0", "--token-file", str(file))
    assert done.returncode == 1
    assert "holds no token" in done.stderr
