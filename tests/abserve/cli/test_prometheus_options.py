from pathlib import Path

import click
from click.testing import CliRunner

from abserve.cli.prometheus_options import prometheus_options
from abserve.rollout.prometheus_api import Access

ASKED: list[Access | None] = []


@click.command
@click.argument("name")
@prometheus_options
def counting(name: str, prometheus: Access | None) -> None:
    assert name == "iris"
    ASKED.append(prometheus)


def test_all_that_is_said_of_prometheus_is_one_value(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch()
    options = ["--prometheus-selector", 'job="a"', "--prometheus-recent", "30"]
    files = ["--prometheus-token-file", str(token), "--prometheus-ca-file", str(token)]
    CliRunner().invoke(
        counting,
        ["iris", "--prometheus", "http://p:9090", *options, *files],
        catch_exceptions=False,
    )
    assert ASKED.pop() == Access(
        "http://p:9090", selector='job="a"', recent_seconds=30, token_file=token, ca_file=token
    )


def test_without_a_url_there_is_none() -> None:
    CliRunner().invoke(counting, ["iris"], catch_exceptions=False)
    assert ASKED.pop() is None
