"""The capacity page: its tables follow from the numbers that it begins with."""

import json
import math
import re

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT

PAGE = (ROOT / "docs/scaling.md").read_text()
# In the sidecar and in the gateway, for each CPU.
N_THREADS = 2
LEAST = 2
LEAST_NODES = 3


def stated(pattern: str) -> float:
    (found,) = set(re.findall(pattern, PAGE))
    return float(found.replace(",", ""))


PER_CORE = stated(r"([\d,]+) for each core")
BUSY = stated(r"\| 1,000 requests a second \| busy CPU \| at ([\d.]+) % \|") / 100
SIDECAR = stated(r"\| the pod's sidecar \| ([\d.]+) \|")
GATEWAY = stated(r"\| the gateway \| ([\d.]+) \|")
NODE_CPUS = stated(r"nodes of (\d+) CPUs")
PRICE = stated(r"m7i\.xlarge at \$([\d.]+) an hour")
HOURS = stated(r"(\d+) hours\. A test")

ROWS = re.findall(r"^\| 10(.) \| (.*) \|$", PAGE, re.MULTILINE)
SIZES = {"²": 2, "³": 3, "⁴": 4, "⁵": 5, "⁶": 6}
TABLE = {
    SIZES[exponent]: [float(cell.strip(" *").replace(",", "")) for cell in cells.split("|")]
    for exponent, cells in ROWS
    if len(cells.split("|")) == 5
}

POD = N_THREADS / SIDECAR * 1000
"""The most requests a second that a pod takes."""


def rounded(value: float, digits: int) -> float:
    return round(value, digits - 1 - math.floor(math.log10(value)))


def test_there_is_a_row_for_each_order_of_magnitude() -> None:
    assert sorted(TABLE) == [2, 3, 4, 5, 6]


def test_something_is_said_of_what_breaks_at_each_order_of_magnitude() -> None:
    table = PAGE.partition("## What breaks first")[2].partition("\n## ")[0]
    found = re.findall(r"^\| 10(.) \| \w.* \| \S.* \|$", table, re.MULTILINE)
    assert sorted(set(found)) == sorted(SIZES)


@pytest.mark.parametrize("exponent", [2, 3, 4, 5, 6])
def test_a_row_follows_from_what_a_thousand_requests_cost(exponent: int) -> None:
    replicas, gateways, cpus, nodes, dollars = TABLE[exponent]
    requests = 10**exponent
    wanted = math.ceil(requests / (POD * BUSY))
    assert replicas == max(LEAST, wanted)
    assert gateways == max(LEAST, math.ceil(requests / (N_THREADS / GATEWAY * 1000 * BUSY)))
    in_all = requests * (1 / PER_CORE + (SIDECAR + GATEWAY) / 1000) / BUSY
    assert cpus == pytest.approx(in_all, rel=0.03, abs=0.05)
    n_nodes = max(LEAST_NODES, math.ceil(in_all / NODE_CPUS))
    assert nodes == n_nodes
    assert dollars == pytest.approx(rounded(n_nodes * PRICE * HOURS, 2))


@pytest.mark.parametrize(
    ("part", "per_thousand"),
    [("the runtime", 1000 / PER_CORE), ("the pod's sidecar", SIDECAR), ("the gateway", GATEWAY)],
)
def test_what_a_thousand_requests_cost_is_divided_by_how_busy_all_may_be(
    part: str, per_thousand: float
) -> None:
    ((busy, room),) = re.findall(rf"\| {part} \| ([\d.]+) \| ([\d.]+) \|", PAGE)
    assert float(busy) == round(per_thousand, 2)
    assert float(room) == round(per_thousand / BUSY, 2)


def test_what_a_pod_takes_follows_from_its_sidecar() -> None:
    assert stated(r"a pod takes ([\d,]+) requests a second at most") == rounded(POD, 2)
    assert stated(r"\*\*([\d,]+) at 62\.5 %\*\*") == rounded(POD * BUSY, 2)
    assert stated(r"Five replicas are ([\d,]+) a second") == rounded(5 * POD * BUSY, 2)


def test_the_speed_is_the_one_that_was_measured() -> None:
    figures = json.loads((ROOT / "benchmarks/results/bench.json").read_text())
    (measured,) = (
        each["requests_per_second"]
        for each in figures["figures"]
        if (each["model"], each["form"], each["n_rows"], each["n_connections"], each["service"])
        == ("linear", "REST JSON", 1, 8, "abserve")
    )
    assert pytest.approx(measured / figures["n_cores"], rel=0.1) == PER_CORE


def test_the_bars_are_those_of_the_manifest() -> None:
    text = (MANIFESTS / "base/scaling/keda/scaling.yaml").read_text()
    spec = yaml.safe_load(text)[2]["value"]
    cpu, in_flight = (each["metadata"]["query"] for each in spec["triggers"])
    up, keeps = 0.7, 0.625
    assert f"/ {up}" in cpu
    assert f"/ {keeps}" in cpu
    assert in_flight.endswith(" / 8)")
    assert f"({spec['maxReplicaCount']} are the most)" in PAGE
    assert re.findall(r"^\| (\d) \| ([\d.]+) % \| ([\d.]*)", PAGE, re.MULTILINE) == [
        ("1", "70", ""),
        *((str(n), "70", str(round(100 * keeps * (n - 1) / n, 1))) for n in (2, 3, 4)),
    ]
    assert keeps == BUSY


def test_several_regions_leave_room_for_one_that_fails() -> None:
    two, three = re.findall(r"with two, each at (\d+) %.*\n?.*with three, at (\d+) %", PAGE)[0]
    assert int(two) == math.floor(100 * BUSY / 2)
    assert int(three) == round(100 * BUSY * 2 / 3)


def test_traffic_follows_from_the_size_of_a_request() -> None:
    kilobytes = stated(r"at ([\d.]+) kB for a\nrequest")
    petabytes = stated(r"10⁶ a second are ([\d.]+) PB a month")
    assert petabytes == round(kilobytes * 1e3 * 1e6 * HOURS * 3600 / 1e15, 1)
