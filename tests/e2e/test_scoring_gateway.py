"""``abserve score`` through a gateway that wants tokens and keeps a rate, to servers that die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.local_cluster import LocalCluster, copy_repository, iris, running_cluster, wait_until
from tests.e2e.tokens import AUDIENCE, ISSUER, key_set, token

pytestmark = pytest.mark.e2e

COLUMNS = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")
N_ROWS = 80_000
ROWS_PER_REQUEST = 200
RATE = 40
# Envoy takes a token for so long after it has run out.
LEEWAY_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    home = tmp_path_factory.mktemp("cluster")
    copy_repository(repository, home)
    keys = tmp_path_factory.mktemp("keys") / "jwks.json"
    keys.write_text(key_set())
    options = ("--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwks", str(keys))
    with running_cluster(home, "--rate-limit", str(RATE), *options) as running:
        baseline = iris()["spec"]["predictors"][0] | {"traffic": 100}
        applied = running.apply(iris(predictors=[baseline]))
        assert applied.returncode == 0, applied.stderr
        running.wait_until_available("iris")
        yield running


class Run:
    """A file that is scored; `restart` goes on where a run was ended."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.source, self.target = folder / "in.parquet", folder / "out.parquet"
        self.parts, self.token = folder / "out.parquet.parts", folder / "token"
        self.token.write_text(token())
        self._cluster = cluster
        values = np.random.default_rng(7).uniform(0.5, 6, (N_ROWS, len(COLUMNS)))
        columns = {name: values[:, index] for index, name in enumerate(COLUMNS)}
        pq.write_table(pa.table({"id": np.arange(N_ROWS), **columns}), self.source)
        self.restart()

    def restart(self) -> None:
        command = [
            *(sys.executable, "-m", "abserve.cli", "score", str(self.source), str(self.target)),
            *("--name", "iris", "--keep", "id", "--rows", str(ROWS_PER_REQUEST), "--json"),
            *("--token-file", str(self.token)),
        ]
        self.process = subprocess.Popen(
            command,
            env=self._cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_a_part(self) -> None:
        def written() -> bool:
            assert self.process.poll() is None, "it ended too early"
            return bool(list(self.parts.glob("*.parquet")))

        wait_until(written, str)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def check(self, expected: pa.Table) -> dict[str, object]:
        code, out, err = self.end()
        assert code == 0, err
        found = pq.read_table(self.target)
        assert found["id"].to_pylist() == list(range(N_ROWS))
        assert found["label"].equals(expected["label"])
        answer: dict[str, object] = json.loads(out)
        return answer


@pytest.fixture
def run(cluster: LocalCluster, tmp_path: Path) -> Iterator[Run]:
    started = Run(cluster, tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.fixture(scope="module")
def expected(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a run answers that nothing happens to, but that there are more requests than may be."""
    began_at = time.monotonic()
    run = Run(cluster, tmp_path_factory.mktemp("expected"))
    code, _, err = run.end()
    assert code == 0, err
    # The bucket of a second's requests is full at first.
    assert time.monotonic() - began_at > N_ROWS / ROWS_PER_REQUEST / RATE - 1
    return pq.read_table(run.target)


def test_a_rate_that_the_gateway_keeps_loses_no_row(expected: pa.Table) -> None:
    assert expected["id"].to_pylist() == list(range(N_ROWS))
    assert expected["label"].null_count == 0
    assert set(expected["model_version"].unique().to_pylist()) == {"v1"}


def test_a_server_that_dies_in_the_middle_loses_no_row(
    run: Run, cluster: LocalCluster, expected: pa.Table
) -> None:
    run.wait_for_a_part()
    os.kill(cluster.pid_of("iris-baseline"), signal.SIGKILL)
    assert run.check(expected)["n_resumed"] == 0


def test_a_run_that_was_killed_goes_on_through_the_gateway(run: Run, expected: pa.Table) -> None:
    run.wait_for_a_part()
    run.process.kill()
    run.end()
    assert not run.target.exists()
    run.restart()
    answer = run.check(expected)
    assert 0 < int(str(answer["n_resumed"])) < N_ROWS


def test_a_token_that_runs_out_ends_a_run_and_a_new_one_lets_it_go_on(
    run: Run, expected: pa.Table
) -> None:
    run.wait_for_a_part()
    run.token.write_text(token(exp=int(time.time()) - LEEWAY_SECONDS - 1))
    code, _, err = run.end()
    assert code == 1
    assert "answers 401" in err
    assert "renew the one in it; what was answered is kept" in err
    run.token.write_text(token())
    run.restart()
    assert int(str(run.check(expected)["n_resumed"])) > 0
