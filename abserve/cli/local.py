"""``abserve up`` and ``abserve down``: the local cluster."""

import asyncio
import errno
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from abserve.cli.context import Context, echo_json, json_option, repository_option
from abserve.cli.listener import chosen_listener, listener_options
from abserve.cli.progress import Progress


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
@click.option(
    "--console-port",
    type=click.IntRange(0, 65535),
    help="Port for the web console: by default 8088 if it is free; 0 takes any.",
)
@click.option("--console/--no-console", default=True, help="Whether to serve the web console.")
@click.option(
    "--record-every",
    type=click.IntRange(0, 60),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How often to record what the replicas count, for analyze and rollout; 0 for never.",
)
@click.option(
    "--record/--no-record",
    "recording",
    default=True,
    help="Whether to record what the replicas count.",
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    metavar="FILE",
    help="Serve only versions signed with a private key of these (PEM): by default of those in "
    "$ABSERVE_PUBLIC_KEY; if that is not set either, nobody need have signed.",
)
@listener_options
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background.")
@json_option
@click.pass_context
def up(
    click_context: click.Context,
    /,
    repository: str | None,
    gateway_port: int | None,
    api_port: int | None,
    console_port: int | None,
    console: bool,
    record_every: int,
    recording: bool,
    public_key: Path | None,
    detach: bool,
    as_json: bool,
    **listener: Any,
) -> None:
    """Start a local cluster: repository endpoint, Kubernetes API, gateway, console, recorder."""
    from abserve.cluster import LocalCluster, Options, start_in_background

    if as_json and not detach:
        raise click.UsageError("--json needs --detach: in the foreground there is no answer")
    context: Context = click_context.obj
    home = context.home
    url = context.repository_url(repository)
    home.make()
    chosen = chosen_listener(home, **listener)
    trusted = _trusted(public_key)
    if detach:
        arguments = [
            "--repository",
            url,
            *_given(click_context, {"repository", "detach", "as_json"}),
        ]
        with Progress("starting the local cluster", to_stderr=as_json) as progress:
            record = start_in_background(home, arguments, progress.say)
        if as_json:
            where = record.model_dump(exclude={"process", "ready"})
            echo_json({**where, "pid": record.process.pid, "home": str(home.folder),
                       "kubeconfig": str(home.kubeconfig), "log": str(home.log)})  # fmt: skip
        else:
            _say(f"running in the background; its log is {home.log}")
            _say("stop it with: abserve down")
    else:
        options = Options(
            url,
            gateway_port,
            api_port,
            console_port,
            console,
            chosen,
            record_every if recording else 0,
            trusted,
        )
        if sys.stdin.isatty():
            _say("ctrl-C stops it")
        with home.locked():
            asyncio.run(LocalCluster(home, options, _say_if_there_is_room).run())


def _trusted(given: Path | None) -> Path | None:
    """Return the file of public keys that counts, once it is clear that it can be used."""
    from abserve.keys import import_for_signing, read_public_keys
    from abserve.signatures import public_key_from_environment

    trusted = given or public_key_from_environment()
    if trusted is not None:
        read_public_keys(trusted)
        import_for_signing("model_signing")
    return trusted


def _given(context: click.Context, but: set[str]) -> list[str]:
    """Return the options of a command line as they were given, for another process."""
    given: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        if name in but or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(value, bool):
            given.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            given += [option.opts[0], str(value)]
    return given


@click.command()
@json_option
@click.pass_obj
def down(context: Context, as_json: bool) -> None:
    """Stop the local cluster, and nothing that it did not start."""
    from abserve.cluster import stop_cluster

    with Progress("stopping the local cluster", to_stderr=as_json) as progress:
        stopped = stop_cluster(context.home, progress.say)
    if as_json:
        echo_json({"home": str(context.home.folder), "stopped": stopped})
    elif stopped:
        _say("stopped")
    else:
        _say(f"no local cluster is running in {context.home.folder}")


def _say(line: str) -> None:
    click.echo(line)
    # In the background somebody follows the log, and a file is not flushed by itself.
    sys.stdout.flush()


def _say_if_there_is_room(line: str) -> None:
    """Say something to the log, whose disk may be full: what serves must not end for that."""
    try:
        _say(line)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
