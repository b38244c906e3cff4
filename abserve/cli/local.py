"""``abserve up`` and ``abserve down``: the local cluster."""

import asyncio
import sys

import click

from abserve.cli.context import Context, repository_option


@click.command()
@repository_option
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    help="Port for inference requests: by default 8080 if it is free; 0 takes any.",
)
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    help="Port for kubectl: by default 6443 if it is free; 0 takes any.",
)
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background.")
@click.pass_obj
def up(
    context: Context,
    repository: str | None,
    gateway_port: int | None,
    api_port: int | None,
    detach: bool,
) -> None:
    """Start a local cluster: model repository endpoint, Kubernetes API and gateway."""
    from abserve.cluster import LocalCluster, Options, start_in_background

    home = context.home
    url = context.repository_url(repository)
    if detach:
        arguments = ["--repository", url]
        for option, port in (("--gateway-port", gateway_port), ("--api-port", api_port)):
            if port is not None:
                arguments += [option, str(port)]
        start_in_background(home, arguments, _say)
        _say(f"running in the background; its log is {home.log}")
        _say("stop it with: abserve down")
    else:
        home.make()
        if sys.stdin.isatty():
            _say("ctrl-C stops it")
        with home.locked():
            asyncio.run(LocalCluster(home, Options(url, gateway_port, api_port), _say).run())


@click.command()
@click.pass_obj
def down(context: Context) -> None:
    """Stop the local cluster, and nothing that it did not start."""
    from abserve.cluster import stop_cluster

    if stop_cluster(context.home, _say):
        _say("stopped")
    else:
        _say(f"no local cluster is running in {context.home.folder}")


def _say(line: str) -> None:
    click.echo(line)
    # In the background somebody follows the log, and a file is not flushed by itself.
    sys.stdout.flush()
