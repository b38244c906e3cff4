import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from abserve.cluster.ports import HOST, FreePorts, choose_port, free_port, ports_below
from abserve.errors import ClusterError


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server((request.param, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server((HOST, free_port())):
        pass


def test_a_wanted_port_that_is_free_is_taken() -> None:
    wanted = free_port()
    assert choose_port("gateway", wanted, 8080) == (wanted, None)


def test_the_usual_port_is_taken_if_it_is_free() -> None:
    usual = free_port()
    assert choose_port("gateway", None, usual) == (usual, None)


def test_a_wanted_port_that_is_taken_is_refused_with_its_holder(taken: int) -> None:
    holder = rf"{psutil.Process().name()} \(process {os.getpid()}\)"
    with pytest.raises(ClusterError, match=rf"gateway port {taken} is taken by {holder}"):
        choose_port("gateway", taken, 8080)


def test_a_refusal_says_how_to_choose_another(taken: int) -> None:
    with pytest.raises(ClusterError, match="--api-port, or 0 for any that is free"):
        choose_port("api", taken, 6443)


def test_a_usual_port_that_is_taken_gives_way_with_a_note(taken: int) -> None:
    port, note = choose_port("gateway", None, taken)
    assert port != taken
    assert note is not None
    assert note.startswith(f"gateway port {taken} is taken by ")
    assert note.endswith(f"using {port}")


def test_zero_means_any_port(taken: int) -> None:
    port, note = choose_port("gateway", 0, taken)
    assert port not in {0, taken}
    assert note is None


def test_a_port_whose_last_connections_are_still_closing_is_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)):
            accepted, _ = server.accept()
            accepted.close()  # closing first leaves this side in TIME_WAIT
    assert choose_port("gateway", port, 8080) == (port, None)


def test_a_free_port_is_none_that_the_kernel_gives_to_a_connection() -> None:
    kernel_range = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first, last = map(int, kernel_range.split())
    assert not any(first <= free_port() <= last for _ in range(20))


def test_free_ports_are_all_different_though_nobody_listens_yet() -> None:
    assert len({free_port() for _ in range(100)}) == 100


def test_ports_are_chosen_below_the_range_of_the_kernel() -> None:
    assert ports_below("32768\t60999\n") == range(20_000, 32_768)
    assert ports_below("25000\t60999\n") == range(20_000, 25_000)
    assert not ports_below("1024\t65535\n")


def test_a_taken_port_is_passed_over(taken: int) -> None:
    ports = FreePorts(range(taken, taken + 1))
    assert ports.choose() != taken


def test_where_the_kernel_leaves_no_room_it_is_asked_for_a_port() -> None:
    with socket.create_server((HOST, FreePorts(range(0)).choose())):
        pass
