"""Scaling over time: loads go through our query in a real Prometheus, its answers through the HPA's
algorithm.

A predictor has no say in how many replicas the other one has. That both have as many follows from
what they are told, so two autoscalers are asked that look at different moments, and begin apart.
"""

import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
import requests

from abserve.cluster.ports import free_port
from tests.e2e.debian import needs
from tests.e2e.local_cluster import wait_until
from tests.manifests.hpa import SYNC_SECONDS, Autoscaler, wish
from tests.manifests.test_scaling import scaled, specs

pytestmark = needs("prometheus")

SCRAPE_SECONDS = 15
BEGAN_AT = 1_700_000_000
HOUR = 3600
# What the mean of a minute and a scrape take to follow a step, at the most.
LATENCY = 60 + SCRAPE_SECONDS

Load = Callable[[int], float]
"""Cores in use, by seconds since the beginning."""


def stepping(*steps: tuple[int, float]) -> Load:
    def cores(second: int) -> float:
        return next(each for at, each in reversed(steps) if at <= second)

    return cores


def trembling(cores: float, share: float) -> Load:
    chance = random.Random(7)
    return lambda _second: cores * chance.uniform(1 - share, 1 + share)


# An hour, and then what is looked at, by name.
LOADS: Mapping[str, Load] = {
    "rising": stepping((0, 0.3), (HOUR, 1.5)),
    "falling": stepping((0, 2.7), (HOUR, 0.4)),
    "trembling": trembling(1.4, 0.05),
    "middling": stepping((0, 3.4), (HOUR, 2.7)),
    "idle": stepping((0, 0.004)),
    **{
        f"{n}-at-{percent}": stepping((0, 0.69 * n), (HOUR, n * percent / 100))
        for n in (1, 2, 3, 4, 5)
        for percent in (30, 32, 41, 43, 46, 48, 49, 51, 69, 71)
    },
}


class History:
    """A Prometheus that has seen all loads, and is asked what it would have said then."""

    def __init__(self, url: str, query: str) -> None:
        self._url, self._query = url, query

    def wishes(self, load: str, first: int, last: int) -> dict[int, int]:
        """Return what the query answered at each second, by seconds since the beginning."""
        answer = requests.get(
            f"{self._url}/api/v1/query_range",
            params={
                "query": self._query.replace('"iris"', f'"{load}"'),
                "start": str(BEGAN_AT + first),
                "end": str(BEGAN_AT + last),
                "step": "1",
            },
            timeout=60,
        )
        (series,) = answer.json()["data"]["result"]
        return {int(at) - BEGAN_AT: int(value) for at, value in series["values"]}


def exposition() -> Iterator[str]:
    yield "# TYPE process_cpu_seconds counter"
    for name, load in LOADS.items():
        total = 0.0
        for second in range(0, 2 * HOUR + 1, SCRAPE_SECONDS):
            labels = f'deployment="{name}",namespace="models",pod="a"'
            yield f"process_cpu_seconds_total{{{labels}}} {total:.6f} {BEGAN_AT + second}"
            total += load(second) * SCRAPE_SECONDS
    yield "# EOF\n"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("keda")
    return dict(specs(scaled(folder, "keda", "iris", (90, 10)))[0]["kedaSpec"])


@pytest.fixture(scope="module")
def history(spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "loads").write_text("\n".join(exposition()))
    (folder / "empty.yaml").write_text("{}")
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "loads", "data"]
    subprocess.run(blocks, cwd=folder, check=True, capture_output=True, timeout=60)
    url = f"127.0.0.1:{free_port()}"
    command = [
        *("prometheus", "--config.file=empty.yaml", "--storage.tsdb.path=data"),
        *("--storage.tsdb.retention.time=100y", f"--web.listen-address={url}"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return requests.get(f"http://{url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        wait_until(ready, (folder / "log").read_text)
        cpu, _ = spec["triggers"]
        yield History(f"http://{url}", cpu["metadata"]["query"])
    finally:
        process.terminate()
        process.wait(10)


def replicas(
    spec: Mapping[str, Any], wishes: Mapping[int, int], begins: int, phase: int, first: int
) -> dict[int, int]:
    """Return how many replicas there are at each second, of one that looks every 15 s."""
    autoscaler = Autoscaler(spec, begins)
    last = max(wishes)
    found = {}
    for second in range(first, last + 1):
        if (second - first) % SYNC_SECONDS == phase:
            autoscaler.sync(second, [wishes[second], 0])
        found[second] = autoscaler.n_replicas
    return found


def changes(found: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return when there were more or fewer, and how many then."""
    return [(at, n) for at, n in found.items() if found.get(at - 1, n) != n]


def test_it_goes_up_when_more_are_wished_for_during_30_seconds(
    spec: dict[str, Any], history: History
) -> None:
    wishes = history.wishes("rising", HOUR - 600, HOUR + 600)
    wished_at = next(at for at, n in wishes.items() if n > 1)
    # The mean of a minute rises from 0.3 to 1.5 cores: above 0.7 after 20 s, and a scrape.
    assert HOUR + 20 <= wished_at <= HOUR + 20 + SCRAPE_SECONDS
    for phase in range(SYNC_SECONDS):
        found = replicas(spec, wishes, 1, phase, HOUR - 600)
        ((up_at, _), *_, (_, n_last)) = changes(found)
        assert SYNC_SECONDS <= up_at - wished_at <= 30
        assert n_last == 3
        assert changes(found)[-1][0] <= HOUR + LATENCY + 30


def test_it_goes_down_after_five_minutes_and_one_a_minute(
    spec: dict[str, Any], history: History
) -> None:
    wishes = history.wishes("falling", HOUR - 600, HOUR + 1200)
    assert wishes[HOUR] == 4
    fewer_at = next(at for at, n in wishes.items() if n < 4)
    for phase in range(SYNC_SECONDS):
        downs = changes(replicas(spec, wishes, 4, phase, HOUR - 600))
        assert [n for _, n in downs] == [3, 2, 1]
        times = [at for at, _ in downs]
        assert fewer_at + 300 - SYNC_SECONDS <= times[0] <= fewer_at + 300 + 2 * SYNC_SECONDS
        assert min(b - a for a, b in pairwise(times)) >= 60


def test_a_load_that_trembles_about_the_bar_moves_nothing_back_and_forth(
    spec: dict[str, Any], history: History
) -> None:
    # 1.4 cores, give or take a twentieth: 70 % of two, which is as often above as below.
    wishes = history.wishes("trembling", HOUR, 2 * HOUR)
    assert set(wishes.values()) == {3}
    found = changes(replicas(spec, wishes, 2, 0, HOUR))
    assert [n for _, n in found] == [3]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("one", "other"), [(1, 5), (2, 2), (4, 5)])
def test_both_predictors_come_to_have_as_many_whatever_they_began_with(
    spec: dict[str, Any], history: History, load: str, one: int, other: int
) -> None:
    wishes = history.wishes(load, HOUR - 1200, HOUR + 1200)
    first = replicas(spec, wishes, one, 0, HOUR - 1200)
    second = replicas(spec, wishes, other, 8, HOUR - 1200)
    # What began with too many takes 5 min, and a minute for each.
    settled = HOUR - 1200 + 300 + 5 * 60
    apart = [at for at in first if at > settled and first[at] != second[at]]
    n_moments = len(changes({at: first[at] for at in first if at > settled}))
    assert len(apart) <= n_moments * SYNC_SECONDS


def test_a_candidate_that_is_new_has_as_many_within_a_minute(
    spec: dict[str, Any], history: History
) -> None:
    wishes = history.wishes("middling", HOUR - 600, HOUR)
    found = replicas(spec, wishes, 1, 0, HOUR - 600)
    assert [n for _, n in changes(found)] == [5]
    assert changes(found)[0][0] - (HOUR - 600) <= 60


def test_a_wish_is_what_the_documentation_of_kubernetes_says() -> None:
    """Twice the target doubles the replicas, half of it halves them, a tenth more is let pass."""
    assert wish(3, 6, 1) == 6
    assert wish(4, 2, 1) == 2
    assert wish(4, 4.36, 1) == 4


def test_cores_as_a_threshold_would_leave_them_apart() -> None:
    assert (wish(4, 2.7, 0.64), wish(5, 2.7, 0.64)) == (4, 5)


@pytest.mark.parametrize(
    ("n", "percent", "wished"),
    [
        (1, 69, 1),
        (1, 71, 2),
        (2, 71, 3),
        (3, 71, 4),
        (4, 69, 4),
        (4, 71, 5),
        # Below 50 %, and what stays is at 62.5 % at the most.
        (5, 51, 5),
        (5, 49, 4),
        (4, 48, 4),
        (4, 46, 3),
        (3, 43, 3),
        (3, 41, 2),
        (2, 32, 2),
        (2, 30, 1),
    ],
)
def test_the_bars_are_70_and_50_percent(
    history: History, n: int, percent: int, wished: int
) -> None:
    wishes = history.wishes(f"{n}-at-{percent}", HOUR, HOUR + 600)
    assert wishes[HOUR] == n
    assert wishes[HOUR + 600] == wished


def test_what_is_idle_keeps_one(history: History) -> None:
    assert set(history.wishes("idle", HOUR, 2 * HOUR).values()) == {1}


def test_a_load_that_nobody_measured_is_no_load(spec: dict[str, Any], history: History) -> None:
    cpu, _ = spec["triggers"]
    with pytest.raises(ValueError, match="not enough values"):
        history.wishes("never-scraped", HOUR, HOUR + 15)
    assert cpu["metadata"]["ignoreNullValues"] == "false"
