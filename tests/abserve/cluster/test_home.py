import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from abserve.cluster.home import (
    ClusterRecord,
    Home,
    ProcessRecord,
    record_of,
    write_atomically,
)
from abserve.errors import ClusterError
from tests.abserve.cluster.children import SLEEP


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that runs until the test ends."""
    with subprocess.Popen(SLEEP) as started:
        yield started
        started.kill()


def cluster_of(process: ProcessRecord) -> ClusterRecord:
    return ClusterRecord(
        process=process,
        ready=True,
        repository="file:///repository",
        api_url="https://127.0.0.1:6443",
        gateway_url="http://localhost:8080",
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_look_into_the_folders(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.make()
    folders = (home.folder, home.tls, home.gateway, home.pods, home.logs)
    assert {mode(folder) for folder in folders} == {0o700}


def test_making_the_folders_again_keeps_what_is_in_them(home: Home) -> None:
    home.kubeconfig.write_bytes(b"kept")
    home.make()
    assert home.kubeconfig.read_bytes() == b"kept"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ClusterError, match="name another folder with --home"):
        Home(tmp_path / "file" / "home").make()


def test_a_second_cluster_in_the_same_folder_is_refused(home: Home) -> None:
    second = Home(home.folder)
    with (
        home.locked(),
        pytest.raises(ClusterError, match=r"already running .* 'abserve down'"),
        second.locked(),
    ):
        pass


def test_a_folder_is_free_again_once_it_was_let_go(home: Home) -> None:
    with home.locked():
        pass
    with Home(home.folder).locked():
        pass


def test_no_cluster_is_recorded_at_first(home: Home) -> None:
    assert home.cluster() is None


def test_a_running_cluster_is_found(home: Home, process: "subprocess.Popen[bytes]") -> None:
    record = cluster_of(record_of("abserve up", process.pid))
    home.write_cluster(record)
    assert Home(home.folder).cluster() == record


def test_the_record_of_a_cluster_that_died_is_none(
    home: Home, process: "subprocess.Popen[bytes]"
) -> None:
    home.write_cluster(cluster_of(record_of("abserve up", process.pid)))
    process.kill()
    process.wait()
    assert home.cluster() is None


def test_the_record_of_a_cluster_can_be_taken_away_twice(home: Home) -> None:
    home.write_cluster(cluster_of(record_of("abserve up", os.getpid())))
    home.write_cluster(None)
    home.write_cluster(None)
    assert home.cluster() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ready": true}'])
def test_a_damaged_record_of_a_cluster_is_none(home: Home, content: str) -> None:
    (home.folder / "cluster.json").write_text(content)
    assert home.cluster() is None


def test_processes_are_found_by_whoever_comes_later(
    home: Home, process: "subprocess.Popen[bytes]"
) -> None:
    record = record_of("rclone", process.pid)
    home.write_processes([record])
    assert Home(home.folder).processes() == (record,)


def test_processes_that_ended_are_left_out(home: Home, process: "subprocess.Popen[bytes]") -> None:
    here = record_of("abserve up", os.getpid())
    home.write_processes([record_of("rclone", process.pid), here])
    process.kill()
    process.wait()
    assert home.processes() == (here,)


@pytest.mark.parametrize("content", ["", "[{", "5", "null", '[{"pid": 1}]', '["rclone"]'])
def test_a_damaged_list_of_processes_holds_none(home: Home, content: str) -> None:
    (home.folder / "processes.json").write_text(content)
    assert home.processes() == ()


def test_a_process_is_its_number_and_its_start(process: "subprocess.Popen[bytes]") -> None:
    found = record_of("rclone", process.pid).find()
    assert found is not None
    assert found.pid == process.pid


def test_a_number_used_again_is_another_process() -> None:
    here = record_of("rclone", os.getpid())
    assert here.model_copy(update={"started": here.started - 60}).find() is None


def test_a_number_that_nobody_uses_is_no_process() -> None:
    unused = next(pid for pid in range(2_000_000, 4_000_000) if not psutil.pid_exists(pid))
    assert ProcessRecord(name="rclone", pid=unused, started=0.0).find() is None


def test_a_process_that_ended_and_is_not_waited_for_is_none(
    process: "subprocess.Popen[bytes]",
) -> None:
    record = record_of("rclone", process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert record.find() is None


def test_what_is_written_is_for_the_owner_only(home: Home) -> None:
    home.write_processes([record_of("abserve up", os.getpid())])
    home.write_cluster(cluster_of(record_of("abserve up", os.getpid())))
    write_atomically(home.kubeconfig, b"token")
    files = ("processes.json", "cluster.json", "kubeconfig")
    assert {mode(home.folder / name) for name in files} == {0o600}


def test_a_file_open_to_all_is_closed_by_writing_it(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_atomically(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_a_file_left_half_written_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / ".kubeconfig.new").write_bytes(b"much longer than what comes")
    write_atomically(tmp_path / "kubeconfig", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]
    assert (tmp_path / "kubeconfig").read_bytes() == b"new"


def test_records_keep_the_start_to_the_last_digit(home: Home) -> None:
    record = record_of("abserve up", os.getpid())
    home.write_processes([record])
    assert json.loads((home.folder / "processes.json").read_text())[0]["started"] == record.started


def test_a_file_that_cannot_be_written_stays_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write_atomically(path, b"old")
    # Whoever is root may write anywhere, but not to a folder as if it were a file.
    (tmp_path / ".kubeconfig.new").mkdir()
    with pytest.raises(ClusterError, match=r"kubeconfig cannot be written \(Is a directory\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_records_of_no_process_take_no_room(home: Home) -> None:
    home.write_processes([record_of("abserve up", os.getpid())])
    (home.folder / ".processes.json.new").mkdir()
    home.write_processes([])
    assert home.processes() == ()


def test_a_disk_that_is_full_is_told_before_anything_starts(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(home.folder)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ClusterError, match=r"4,096 bytes are free on the disk of .*make room"):
        home.make()
