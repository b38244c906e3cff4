import json
from pathlib import Path

from click.testing import CliRunner

from abserve.cli import cli
from abserve.cli.render_rollout import lines_of
from abserve.errors import AuditError, ExperimentError
from abserve.rollout.audit import AuditLog
from abserve.rollout.state import State
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.rollout.scene import Scene


def promoted(folder: Path) -> AuditLog:
    scene = Scene(folder, 0.80, 0.90)
    scene.run()
    return scene.log()


def lines(log: AuditLog) -> list[str]:
    """Return what is shown of a whole rollout, without the times."""
    state, shown = State.of(log.state.begin), []
    for record in log.records:
        shown += [line[10:] for line in lines_of(state, record)]
        state = state.after(record)
    return shown


def test_a_rollout_reads_as_what_was_compared_weighed_and_decided(tmp_path: Path) -> None:
    shown = lines(promoted(tmp_path))
    assert shown[:2] == [
        "iris: candidate v2 against baseline v1",
        "weights baseline=90 candidate=10",
    ]
    assert shown[2].startswith(" 10 %  block 1  0 and 0 units  accuracy not known")
    assert any(line.endswith("PROMOTE") for line in shown)
    assert shown[-2].startswith("it is shown that its accuracy is higher than the baseline's")


def test_replay_says_that_all_is_the_same(tmp_path: Path) -> None:
    log = promoted(tmp_path)
    found = CliRunner().invoke(cli, ["replay", str(log.path)])
    assert found.exit_code == 0
    assert "decisions: all the same" in found.output
    as_json = CliRunner().invoke(cli, ["replay", str(log.path), "--json"])
    assert json.loads(as_json.output)["n_blocks"] == len(log.state.blocks)


def test_replay_refuses_a_log_that_was_changed(tmp_path: Path) -> None:
    path = promoted(tmp_path).path
    path.write_bytes(path.read_bytes().replace(b'"v2"', b'"v9"', 1).replace(b"0.05", b"0.06", 1))
    found = CliRunner().invoke(cli, ["replay", str(path)])
    assert isinstance(found.exception, AuditError)


def test_replay_fails_if_the_last_line_lacks_its_end(tmp_path: Path) -> None:
    path = promoted(tmp_path).path
    path.write_bytes(path.read_bytes()[:-9])
    found = CliRunner().invoke(cli, ["replay", str(path)])
    assert found.exit_code == 1
    assert "lacks its end" in found.stderr


def test_a_rollout_needs_somebody_who_counts(tmp_path: Path, api: LocalApi) -> None:
    api.apply()
    options = ["--home", str(tmp_path), "--kubeconfig", str(api.kubeconfig), "-n", "shop"]
    found = CliRunner().invoke(cli, [*options, "rollout", "iris"])
    assert isinstance(found.exception, ExperimentError)
    assert "name a Prometheus that does with --prometheus URL" in str(found.exception)
