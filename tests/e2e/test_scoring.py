"""``abserve score`` against a server that really runs: whole, in order, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abserve.cluster.ports import HOST, free_port, is_free
from abserve.cluster.programs import program
from abserve.cluster.storage import Credentials
from tests.e2e.local_cluster import wait_until
from tests.runtimes.category_versions import category_files
from tests.runtimes.server_process import OURS, ServerProcess, running
from tests.runtimes.versions import CLASSES, COLUMNS, write_version

pytestmark = pytest.mark.e2e

N_ROWS = 50_000
N_LARGE = 1_000_000
SCORE = [sys.executable, "-m", "abserve.cli", "score"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("scoring")
    with running(OURS, write_version(folder / "v1"), folder / "logs") as started:
        started.wait_until_ready()
        yield started


def write(path: Path, n_rows: int, row_group_size: int = 7777) -> Path:
    rows = np.random.default_rng(7).uniform(0.1, 8, (n_rows, len(COLUMNS)))
    columns = {name: rows[:, index] for index, name in enumerate(COLUMNS)}
    table = pa.table({"id": np.arange(n_rows), **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def command(server: ServerProcess, source: Path, *options: str, keep: str = "id") -> list[str]:
    target = str(source.with_name("out.parquet"))
    url = f"{server.url}/v2/models/iris"
    return [*SCORE, str(source), target, "--url", url, "--keep", keep, "--json", *options]


def score(
    server: ServerProcess, source: Path, *options: str, keep: str = "id"
) -> dict[str, object]:
    asked = command(server, source, *options, keep=keep)
    done = subprocess.run(asked, capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def check(source: Path) -> None:
    """Hold the whole output against the model's own answers for some of its rows."""
    rows = pq.read_table(source)
    out = pq.read_table(source.with_name("out.parquet"))
    assert out["id"].to_pylist() == rows["id"].to_pylist()
    assert set(out["label"].unique().to_pylist()) <= set(CLASSES)
    total = sum(out[f"probability_{each}"].to_numpy() for each in CLASSES)
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_all_rows_are_scored_in_order_as_the_model_answers_them_one_by_one(
    server: ServerProcess, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.parquet", N_ROWS)
    answer = score(server, source)
    assert (answer["n_rows"], answer["n_resumed"], answer["versions"]) == (N_ROWS, 0, ["v1"])
    check(source)
    rows = pq.read_table(source)
    out = pq.read_table(tmp_path / "out.parquet")
    for index in (0, 999, 1000, 31_416, N_ROWS - 1):
        values = [rows[name][index].as_py() for name in COLUMNS]
        inputs = [{"name": "features", "datatype": "FP64", "shape": [1, 4], "data": values}]
        by_name = {
            each["name"]: each["data"] for each in server.infer(inputs=inputs).json()["outputs"]
        }
        assert out["label"][index].as_py() == by_name["label"][0]
        found = [out[f"probability_{each}"][index].as_py() for each in CLASSES]
        np.testing.assert_allclose(found, by_name["probability"], rtol=1e-5)


def test_a_run_that_was_killed_is_continued(server: ServerProcess, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", N_LARGE)
    parts = tmp_path / "out.parquet.parts"
    process = subprocess.Popen(command(server, source, "--rows", "500"))
    try:
        deadline = time.monotonic() + 60
        while not list(parts.glob("*.parquet")):
            assert time.monotonic() < deadline
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out.parquet").exists()
    answer = score(server, source)
    assert answer["n_rows"] == N_LARGE
    assert 0 < int(str(answer["n_resumed"])) < N_LARGE
    assert not parts.exists()
    check(source)


def test_memory_does_not_grow_with_the_file(server: ServerProcess, tmp_path: Path) -> None:
    peaks = []
    for n_rows in (N_ROWS, N_LARGE):
        folder = tmp_path / str(n_rows)
        folder.mkdir()
        source = write(folder / "in.parquet", n_rows, row_group_size=n_rows)
        process = subprocess.Popen(command(server, source), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
    # Two parts at most are held, of 100,000 rows each: twenty times the rows are not twice as much.
    assert peaks[1] - peaks[0] < 150
    assert psutil.Process(server.process.pid).is_running()


def test_texts_and_what_is_missing_are_answered_as_the_model_takes_them(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1", category_files())
    colours = ["größer", "blue", None, "dark blue"]
    table = pa.table(
        {
            "colour": pa.array(colours).dictionary_encode(),
            "rooms": pa.array([3, 1, 1, 2], pa.int16()),
            "size": pa.array([1.5, 1.0, 1.0, None], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    with running(OURS, folder, tmp_path / "logs") as server:
        server.wait_until_ready()
        answer = score(server, tmp_path / "in.parquet", "--null-refused", keep="colour")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["colour"].to_pylist() == colours
    first, *others = out["prediction"].to_pylist()
    assert first == pytest.approx(1.5 + 10 * 3 + 100 * 3, rel=1e-4)
    assert others == [None, None, None]
    assert answer["n_refused"] == 3
    fits, *refused = out["refused"].to_pylist()
    assert fits is None
    for reason, what in zip(refused, ("'blue'", "column 'colour'", "column 'size'"), strict=True):
        assert what in reason


# A store.


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What clients have to know of a running S3 server, whose bucket is a folder."""
    (tmp_path / "store/data").mkdir(parents=True)
    credentials = Credentials(f"http://{HOST}:{free_port()}", "scorer", "a-secret")
    log = tmp_path / "rclone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(program("rclone"), "serve", "s3", "--addr", f"{HOST}:{credentials.port}"),
                *("--dir-cache-time", "10ms", str(tmp_path / "store")),
            ],
            env={
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_AUTH_KEY": f'"{credentials.access_key},{credentials.secret_key}"',
            },
            stderr=output,
        )
    try:
        wait_until(lambda: not is_free(credentials.port), log.read_text)
        yield {**os.environ, **credentials.for_aws()}
    finally:
        process.terminate()
        process.wait(10)


def test_a_run_from_store_to_store_that_was_killed_is_continued(
    server: ServerProcess, bucket: dict[str, str], tmp_path: Path
) -> None:
    source = write(tmp_path / "store/data/in.parquet", N_LARGE)
    work = tmp_path / "work"
    parts = work / "out/out.parquet.parts"
    ask = [
        *(*SCORE, "s3://data/in.parquet", "s3://data/out.parquet", "--work-folder", str(work)),
        *("--url", f"{server.url}/v2/models/iris", "--keep", "id", "--rows", "500", "--json"),
    ]
    process = subprocess.Popen(ask, env=bucket)
    try:
        wait_until(lambda: bool(list(parts.glob("*.parquet"))), str)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "store/data/out.parquet").exists()
    done = subprocess.run(ask, env=bucket, capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["target"], answer["n_rows"]) == ("s3://data/out.parquet", N_LARGE)
    assert 0 < answer["n_resumed"] < N_LARGE
    check(source)
