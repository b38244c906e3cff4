"""A replica's page has a thousand series for a version and metric once its rings are full."""

from time import process_time

import pytest

from abserve.slots import N_SLOTS, PERIODS_SECONDS
from abserve.telemetry import Series, read_counts, read_replica

SLOTS = [(period, slot) for period in PERIODS_SECONDS for slot in range(N_SLOTS)]
UNITS = [
    f'abserve_units_total{{model="iris",period="{period}",slot="{slot}",version="{version}"}}'
    for version in ("v1", "v2")
    for period, slot in SLOTS
]
SERIES = UNITS + [
    f'{name}{{metric="{metric}",model="iris",period="{period}",slot="{slot}",version="{version}"}}'
    for name in ("abserve_outcomes_total", "abserve_outcome_sum_total")
    for version in ("v1", "v2")
    for metric in ("accuracy", "reward")
    for period, slot in SLOTS
]
PAGE = "\n".join(
    [
        "# TYPE process_start_time_seconds gauge",
        "process_start_time_seconds 1.7952e+09",
        'abserve_requests_total{model="iris",outcome="ok",version="v1"} 7.0',
        "# TYPE abserve_outcomes_total counter",
        *(f"{series} {number}.5" for number, series in enumerate(SERIES)),
        "",
    ]
)


def test_every_slot_is_read() -> None:
    samples = read_replica(PAGE, "iris").samples
    assert len(samples) == len(SERIES) + 1 == 4801
    last = {"metric": "reward", "period": "43200", "slot": "119", "version": "v2"}
    assert samples[Series.of("abserve_outcome_sum_total", last)] == len(SERIES) - 0.5


def test_what_needs_no_slots_passes_over_them() -> None:
    assert read_counts(PAGE, "iris").by_version["v1"].n_requests == 7


@pytest.mark.parametrize("read", [read_counts, read_replica], ids=lambda read: read.__name__)
def test_a_page_that_is_read_again_takes_milliseconds(read: object) -> None:
    """Some 3 and 10 of them on an idle machine; every page after a replica's first."""
    assert callable(read)
    read(PAGE, "iris")
    seconds = []
    for _ in range(5):
        start = process_time()
        read(PAGE, "iris")
        seconds.append(process_time() - start)
    assert min(seconds) < 0.025
