import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from starlette.responses import PlainTextResponse

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import LEASE, NAMESPACE
from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes
from abserve.promotion.lease_objects import ClusterLeases
from abserve.promotion.leases import Candidacy, Leadership
from tests.abserve.cluster.documents import namespace
from tests.abserve.promotion.local_api import LocalApi, Server
from tests.abserve.promotion.store_leases import Clock, Fate, Network

# Of a Lease in these tests, in seconds: how long others wait, and how long it is held.
DURATION, HELD = 15, 10.0
# Where real time passes.
QUICK = {"duration_seconds": 1, "renew_seconds": 0.6, "retry_seconds": 0.1}
WAIT_SECONDS = 10
# Most requests arrive, and little time passes between most of them, or nobody ever leads.
FATES: tuple[Fate, ...] = ("arrives",) * 9 + get_args(Fate)
PAUSES = (0.0,) * 12 + (1.0, 4.0, HELD, HELD, DURATION, DURATION)
HELD_BY_ANNA = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "iris"},
    "spec": {"holderIdentity": "anna"},
}


@pytest.fixture
def shop(api: LocalApi) -> None:
    """The namespace of the Lease, which has to be there."""
    api.create(NAMESPACE, namespace("shop"))


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
async def network(clock: Clock) -> Network:
    return Network(Store(clock.now))


def contender(network: Network, clock: Clock, identity: str) -> Candidacy:
    return Candidacy(network, "iris", identity, DURATION, HELD, clock, clock.now)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# One step after the other.


async def test_a_lease_that_nobody_holds_is_taken(network: Network, clock: Clock) -> None:
    anna = contender(network, clock, "anna")
    assert not anna.held
    assert anna.take()
    assert anna.held
    assert network.store.get(LEASE, "shop", "iris")["spec"] == {
        "holderIdentity": "anna",
        "leaseDurationSeconds": DURATION,
        "acquireTime": "2026-01-02T00:01:40.000000Z",
        "renewTime": "2026-01-02T00:01:40.000000Z",
        "leaseTransitions": 0,
    }


async def test_a_lease_that_is_held_is_waited_for(network: Network, clock: Clock) -> None:
    anna, bert = contender(network, clock, "anna"), contender(network, clock, "bert")
    anna.take()
    assert not bert.take()
    assert bert.holder == "anna"
    assert bert.seconds_to_wait == DURATION


async def test_a_renewal_keeps_it(network: Network, clock: Clock) -> None:
    anna, bert = contender(network, clock, "anna"), contender(network, clock, "bert")
    anna.take()
    for _ in range(5):
        clock.seconds += HELD - 1
        assert anna.renew()
        assert not bert.take()
    spec = network.store.get(LEASE, "shop", "iris")["spec"]
    assert (spec["acquireTime"], spec["renewTime"]) == (
        "2026-01-02T00:01:40.000000Z",
        "2026-01-02T00:02:25.000000Z",
    )


async def test_without_a_renewal_it_ends_before_another_may_take_it(
    network: Network, clock: Clock
) -> None:
    anna, bert = contender(network, clock, "anna"), contender(network, clock, "bert")
    anna.take()
    bert.take()
    clock.seconds += HELD
    assert not anna.held
    assert not bert.take()
    clock.seconds += DURATION - HELD
    assert bert.take()
    assert network.store.get(LEASE, "shop", "iris")["spec"]["leaseTransitions"] == 1


async def test_what_ran_out_does_not_come_back(network: Network, clock: Clock) -> None:
    anna = contender(network, clock, "anna")
    anna.take()
    clock.seconds += HELD
    assert not anna.renew()
    clock.seconds -= 1
    network.arrived = lambda: setattr(clock, "seconds", clock.seconds + 2)
    assert not anna.renew()
    assert not anna.held


async def test_the_time_counts_from_before_a_renewal_was_sent(
    network: Network, clock: Clock
) -> None:
    anna = contender(network, clock, "anna")
    network.arrived = lambda: setattr(clock, "seconds", clock.seconds + 3)
    assert anna.take()
    clock.seconds += HELD - 3
    assert not anna.held


async def test_the_duration_is_the_holders_own(network: Network, clock: Clock) -> None:
    Candidacy(network, "iris", "anna", 60, HELD, clock, clock.now).take()
    bert = contender(network, clock, "bert")
    bert.take()
    clock.seconds += DURATION
    assert not bert.take()
    clock.seconds += 60 - DURATION
    assert bert.take()


async def test_a_released_lease_is_free_at_once(network: Network, clock: Clock) -> None:
    anna, bert = contender(network, clock, "anna"), contender(network, clock, "bert")
    anna.take()
    bert.take()
    anna.release()
    assert not anna.held
    assert network.store.get(LEASE, "shop", "iris")["spec"]["holderIdentity"] == ""
    assert bert.take()


async def test_what_another_holds_is_not_released(network: Network, clock: Clock) -> None:
    anna, bert = contender(network, clock, "anna"), contender(network, clock, "bert")
    anna.take()
    bert.take()
    clock.seconds += DURATION
    assert bert.take()
    anna.release()
    bert.release()
    assert anna.take()


async def test_who_took_it_over_is_known_at_the_next_renewal(
    network: Network, clock: Clock
) -> None:
    anna = contender(network, clock, "anna")
    anna.take()
    lease = network.store.get(LEASE, "shop", "iris")
    network.store.update(LEASE, {**lease, "spec": {**lease["spec"], "holderIdentity": "bert"}})
    assert not anna.renew()
    assert (anna.held, anna.holder) == (False, "bert")


async def test_a_lease_that_was_deleted_is_lost(network: Network, clock: Clock) -> None:
    anna = contender(network, clock, "anna")
    anna.take()
    network.store.delete(LEASE, "shop", "iris")
    assert not anna.renew()
    assert not anna.held


async def test_a_renewal_whose_answer_was_lost_is_no_loss(network: Network, clock: Clock) -> None:
    anna = contender(network, clock, "anna")
    anna.take()
    network.fate = lambda: "its answer is lost"
    clock.seconds += 1
    with pytest.raises(KubernetesError, match="does not answer"):
        anna.renew()
    network.fate = lambda: "arrives"
    clock.seconds += HELD - 2
    assert anna.renew()


async def test_an_api_that_does_not_answer_costs_it_when_its_time_is_up(
    network: Network, clock: Clock
) -> None:
    anna = contender(network, clock, "anna")
    anna.take()
    network.fate = lambda: "is lost"
    clock.seconds += HELD - 1
    with pytest.raises(KubernetesError, match="does not answer"):
        anna.renew()
    assert anna.held
    clock.seconds += 1
    assert not anna.held


class Contest:
    """Three contenders, and a network that does whatever chance has it do to their requests."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._clock = Clock()
        store = Store(self._clock.now)
        self._networks = [Network(store, self._fate, self.something_happens) for _ in range(3)]
        self._contenders = [
            Candidacy(network, "iris", str(n), DURATION, HELD, self._clock_of(n), self._clock.now)
            for n, network in enumerate(self._networks)
        ]
        self._asking: list[Candidacy] = []
        self.led: set[str] = set()

    def something_happens(self) -> None:
        """Let time pass, a late request arrive, and a contender act that awaits no answer."""
        self._clock.seconds += self._chance.choice(PAUSES)
        self._check()
        late = self._chance.choice(self._networks).late
        if late:
            late.pop(self._chance.randrange(len(late)))()
        idle = [each for each in self._contenders if each not in self._asking]
        if idle and self._chance.random() < 0.5:
            self._act(self._chance.choice(idle))

    def _act(self, contender: Candidacy) -> None:
        steps = [
            contender.take,
            contender.take,
            contender.renew,
            contender.renew,
            contender.release,
        ]
        self._asking.append(contender)
        with contextlib.suppress(KubernetesError):
            self._chance.choice(steps)()
        self._asking.remove(contender)
        self._check()

    def _check(self) -> None:
        holding = {each.identity for each in self._contenders if each.held}
        assert len(holding) <= 1
        self.led |= holding

    def _fate(self) -> Fate:
        self.something_happens()
        return self._chance.choice(FATES)

    def _clock_of(self, n: int) -> Callable[[], float]:
        # Their clocks began at different times.
        return lambda: self._clock() - n


async def test_whatever_happens_no_two_hold_it() -> None:
    """Requests are lost and late, answers are lost, and others act between any two requests."""
    led = 0
    for seed in range(2000):
        contest = Contest(seed)
        for _ in range(30):
            contest.something_happens()
        led += len(contest.led)
    assert led > 2000


# With the API, and real time.


@pytest.mark.usefixtures("shop")
def test_the_cluster_keeps_the_lease(api: LocalApi, cluster: Kubernetes) -> None:
    leases = ClusterLeases(cluster, 5)
    assert leases.get("iris") is None
    with Leadership(cluster, "iris", "anna", **QUICK) as leadership:
        lease = leases.get("iris")
        assert lease is not None
        assert leadership.identity.startswith("anna_")
        assert lease["spec"]["holderIdentity"] == leadership.identity
        assert leadership.held
        leadership.check()
    assert not leadership.held
    released = leases.get("iris")
    assert released is not None
    assert released["spec"]["holderIdentity"] == ""


@pytest.mark.usefixtures("shop")
def test_of_two_writers_one_is_told_that_it_was_second(api: LocalApi, cluster: Kubernetes) -> None:
    leases = ClusterLeases(cluster, 5)
    made = leases.create(HELD_BY_ANNA)
    assert made is not None
    assert leases.create(HELD_BY_ANNA) is None
    assert leases.replace({**made, "spec": {"holderIdentity": "bert"}}) is not None
    assert leases.replace({**made, "spec": {"holderIdentity": "carl"}}) is None
    gone = {**made, "metadata": {**made["metadata"], "name": "wine"}}
    assert leases.replace(gone) is None


@pytest.mark.usefixtures("shop")
def test_leadership_is_held_for_longer_than_one_lease(api: LocalApi, cluster: Kubernetes) -> None:
    with Leadership(cluster, "iris", "anna", **QUICK) as leadership:
        before = ClusterLeases(cluster, 5).get("iris")
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert leadership.held
            time.sleep(0.01)
        after = ClusterLeases(cluster, 5).get("iris")
    assert before is not None
    assert after is not None
    assert after["spec"]["renewTime"] > before["spec"]["renewTime"]


@pytest.mark.usefixtures("shop")
def test_a_second_one_waits_and_leads_as_soon_as_the_first_has_left(
    api: LocalApi, cluster: Kubernetes
) -> None:
    told: list[str] = []
    waiting, leads = threading.Event(), threading.Event()

    def report(text: str) -> None:
        told.append(text)
        waiting.set()

    def follow() -> None:
        with Leadership(cluster, "iris", "bert", 15, 10, 0.1, report):
            leads.set()

    follower = threading.Thread(target=follow)
    with Leadership(cluster, "iris", "anna", 15, 10, 0.1) as first:
        follower.start()
        assert waiting.wait(WAIT_SECONDS)
        assert not leads.is_set()
    left_at = time.monotonic()
    assert leads.wait(WAIT_SECONDS)
    assert time.monotonic() - left_at < 5
    follower.join()
    assert told[0] == f"{first.identity} leads; waiting"
    assert told[1].startswith("leading as bert_")


LEADER = """
import sys, time
from pathlib import Path
from abserve.promotion import Kubernetes
from abserve.promotion.leases import Leadership
with Leadership(Kubernetes(Path(sys.argv[1]), "shop"), "iris", "anna", 2, 1, 0.2):
    print("leading", flush=True)
    time.sleep(60)
"""


@pytest.mark.usefixtures("shop")
def test_a_killed_leader_is_followed_within_the_duration(
    api: LocalApi, cluster: Kubernetes
) -> None:
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER, str(api.kubeconfig)], stdout=subprocess.PIPE, text=True
    )
    with leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "leading\n"
        follower = Candidacy(ClusterLeases(cluster, 5), "iris", "bert", 2, 1)
        assert not follower.take()
        leader.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(follower.take)
        # Its last renewal may have been on the way.
        assert time.monotonic() - killed_at < 2 + 0.5


@pytest.mark.usefixtures("shop")
def test_an_api_that_is_down_for_too_long_costs_the_leadership(
    api: LocalApi, server: Server, cluster: Kubernetes
) -> None:
    told: list[str] = []
    working = server.app
    with Leadership(cluster, "iris", "anna", **QUICK, report=told.append) as leadership:
        server.app = PlainTextResponse("down", 503)
        down_at = time.monotonic()
        wait_until(lambda: not leadership.held)
        assert time.monotonic() - down_at < QUICK["duration_seconds"]
        with pytest.raises(KubernetesError, match=r"lost: it was not renewed in time"):
            leadership.check()
        server.app = working
        wait_until(lambda: len(told) == 3)
        assert not leadership.held
    assert "leading as anna_" in told[0]
    assert "is not renewed: " in told[1]
    assert "refused (503)" in told[1]
    assert "is lost: it was not renewed in time" in told[2]


@pytest.mark.usefixtures("shop")
def test_who_takes_it_over_is_named(api: LocalApi, cluster: Kubernetes) -> None:
    leases = ClusterLeases(cluster, 5)
    with Leadership(cluster, "iris", "anna", **QUICK) as leadership:
        taken = None
        while taken is None:  # a renewal may come in between
            lease = leases.get("iris")
            assert lease is not None
            taken = leases.replace({**lease, "spec": {**lease["spec"], "holderIdentity": "bert"}})
        wait_until(lambda: not leadership.held)
        with pytest.raises(KubernetesError, match="is lost: bert leads now"):
            leadership.check()
    kept = leases.get("iris")
    assert kept is not None
    assert kept["spec"]["holderIdentity"] == "bert"


@pytest.mark.usefixtures("shop")
def test_who_waits_outlives_an_api_that_is_down(
    api: LocalApi, server: Server, cluster: Kubernetes
) -> None:
    told: list[str] = []
    waiting, troubled, leads = threading.Event(), threading.Event(), threading.Event()

    def report(text: str) -> None:
        told.append(text)
        waiting.set()
        if "refused (503)" in text:
            troubled.set()

    def follow() -> None:
        with Leadership(cluster, "iris", "bert", **QUICK, report=report):
            leads.set()

    follower = threading.Thread(target=follow)
    with Leadership(cluster, "iris", "anna", **QUICK):
        follower.start()
        assert waiting.wait(WAIT_SECONDS)
        working, server.app = server.app, PlainTextResponse("down", 503)
        assert troubled.wait(WAIT_SECONDS)
        server.app = working
    assert leads.wait(WAIT_SECONDS)
    follower.join()


def test_a_namespace_that_is_not_there_is_an_error(api: LocalApi, cluster: Kubernetes) -> None:
    with (
        pytest.raises(KubernetesError, match=r"refused \(404\): namespaces \"shop\" not found"),
        Leadership(cluster, "iris", "anna", **QUICK),
    ):
        pytest.fail("it leads")


def test_a_cluster_that_refuses_at_first_ends_the_waiting(
    api: LocalApi, server: Server, cluster: Kubernetes
) -> None:
    server.app = PlainTextResponse("no", 403)
    with (
        pytest.raises(KubernetesError, match=r"refused \(403\)"),
        Leadership(cluster, "iris", "anna", **QUICK),
    ):
        pytest.fail("it leads")


@pytest.mark.parametrize("seconds", [(15, 15, 2), (15, 10, 10), (15, 10, 0)])
def test_times_that_cannot_work_are_refused(
    seconds: tuple[int, float, float], api: LocalApi, cluster: Kubernetes
) -> None:
    with pytest.raises(ValueError, match="expected each to be longer than the next"):
        Leadership(cluster, "iris", "anna", *seconds)


@pytest.mark.usefixtures("shop")
def test_who_leads_shows_that_it_is_not_stuck(cluster: Kubernetes, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    with Leadership(cluster, "iris", "anna", **QUICK, alive_file=alive) as leadership:
        assert alive.exists()
        alive.unlink()
        assert leadership.held
        assert not alive.exists()
        leadership.check()
        assert alive.exists()
