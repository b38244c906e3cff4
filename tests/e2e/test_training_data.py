"""Rows for training that lie in an object store: rclone's own S3 server."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from abserve.cluster.ports import HOST, free_port, is_free
from abserve.cluster.programs import program
from abserve.cluster.storage import Credentials
from abserve.errors import TrainingError
from tests.e2e.local_cluster import wait_until
from tests.training.files import definition_of
from training.dataset import Dataset
from training.sources import load

pytestmark = pytest.mark.e2e

N_ROWS = 150_000
N_ROWS_BEFORE_THE_WRONG_ONE = 100_000


@dataclass(frozen=True)
class Store:
    """A running S3 server whose bucket `data` is a folder of `folder`."""

    folder: Path
    credentials: Credentials


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "data").mkdir()
    credentials = Credentials(f"http://{HOST}:{free_port()}", "reader", "a-secret")
    # A file is to be found the moment it is there.
    options = ["--addr", f"{HOST}:{credentials.port}", "--dir-cache-time", "10ms"]
    log = tmp_path_factory.mktemp("log") / "rclone.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program("rclone"), "serve", "s3", *options, str(folder)],
            env={
                "RCLONE_CONFIG": "/dev/null",
                # A list, as CSV: the quotes make it one key and its secret.
                "RCLONE_AUTH_KEY": f'"{credentials.access_key},{credentials.secret_key}"',
            },
            stderr=output,
        )
    try:
        wait_until(lambda: not is_free(credentials.port), log.read_text, seconds=20)
        yield Store(folder, credentials)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store, with what clients need to know of it in the environment."""
    for name, value in running.credentials.for_aws().items():
        monkeypatch.setenv(name, value)
    # Clients are kept for the process, and with them the endpoint of an earlier test.
    s3fs.S3FileSystem.clear_instance_cache()
    yield running
    s3fs.S3FileSystem.clear_instance_cache()


def load_s3(name: str) -> Dataset:
    return load(definition_of(f"s3://data/{name}"), lambda _: None)


def test_a_csv_and_a_parquet_file_are_read_from_a_store(store: Store) -> None:
    table = pa.table(
        {
            "width": list(range(N_ROWS)),
            "note": ["-" * 60] * N_ROWS,
            "kind": ["a", "b"] * (N_ROWS // 2),
            "height": [0.5, 0.25] * (N_ROWS // 2),
        }
    )
    pq.write_table(table, store.folder / "data/rows.parquet", row_group_size=40_000)
    with (store.folder / "data/rows.csv").open("w") as file:
        file.write("kind,note,height,width\n")
        file.writelines(
            f"{'ab'[row % 2]},{'-' * 60},{(0.5, 0.25)[row % 2]},{row}\n" for row in range(N_ROWS)
        )
    from_csv, from_parquet = load_s3("rows.csv"), load_s3("rows.parquet")
    assert from_csv.fingerprint.source == "s3://data/rows.csv"
    assert from_parquet.rows[-1].tolist() == [N_ROWS - 1, 0.25]
    assert from_csv.fingerprint.sha256 == from_parquet.fingerprint.sha256


def test_a_wrong_value_in_a_store_is_found_again(store: Store) -> None:
    rows = f"1,2,a,{'-' * 100}\n" * N_ROWS_BEFORE_THE_WRONG_ONE
    (store.folder / "data/wrong.csv").write_text(f"width,height,kind,note\n{rows}5,six,b,\n")
    with pytest.raises(TrainingError, match=r'wrong\.csv: height is "six" in line 100002'):
        load_s3("wrong.csv")


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_a_file_that_is_not_in_the_store_is_told(store: Store, name: str) -> None:
    with pytest.raises(TrainingError, match=rf"s3://data/{name} does not exist; correct data\.url"):
        load_s3(name)


def test_a_key_that_the_store_does_not_take_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(TrainingError, match=r"cannot be read .* the credentials, the rights"):
        load_s3("rows.csv")
