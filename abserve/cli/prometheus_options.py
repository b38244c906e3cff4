"""The options that say which Prometheus to ask, for all commands that take counts from one."""

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_Command = TypeVar("_Command", bound="Callable[..., Any]")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option(
        "--prometheus",
        "prometheus_url",
        metavar="URL",
        envvar="ABSERVE_PROMETHEUS",
        help="Take the counts from Prometheus, and not from what a local cluster recorded.",
    ),
    click.option(
        "--prometheus-selector",
        default="",
        metavar="MATCHERS",
        envvar="ABSERVE_PROMETHEUS_SELECTOR",
        help='Further label matchers of the targets, as \'cluster="eu",job="models"\'.',
    ),
    click.option(
        "--prometheus-token-file",
        type=_FILE,
        metavar="FILE",
        envvar="ABSERVE_PROMETHEUS_TOKEN_FILE",
        help="Holds a bearer token for Prometheus.",
    ),
    click.option(
        "--prometheus-ca-file",
        type=_FILE,
        metavar="FILE",
        envvar="ABSERVE_PROMETHEUS_CA_FILE",
        help="Certificates to trust for Prometheus, instead of the usual ones.",
    ),
    click.option(
        "--prometheus-recent",
        "prometheus_recent_seconds",
        type=click.FloatRange(min=1),
        default=60,
        show_default=True,
        metavar="SECONDS",
        help="How old a replica's last sample may be: two intervals of its scrapes.",
    ),
)


def prometheus_options(command: _Command) -> _Command:
    """Give a command the options; it is called with `prometheus`, an `Access` or None."""

    @wraps(command)
    def called(
        *arguments: Any,
        prometheus_url: str | None,
        prometheus_selector: str,
        prometheus_token_file: Path | None,
        prometheus_ca_file: Path | None,
        prometheus_recent_seconds: float,
        **others: Any,
    ) -> Any:
        from abserve.rollout.prometheus_api import Access

        prometheus = prometheus_url and Access(
            prometheus_url,
            selector=prometheus_selector,
            token_file=prometheus_token_file,
            ca_file=prometheus_ca_file,
            recent_seconds=prometheus_recent_seconds,
        )
        return command(*arguments, prometheus=prometheus or None, **others)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called  # type: ignore[return-value]
