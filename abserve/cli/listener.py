"""The options of ``abserve up`` that say how the gateway takes requests."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from abserve.cluster import Home
    from abserve.gateway import Listener

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_OPTIONS = (
    click.option("--tls", is_flag=True, help="Take requests over TLS, with a certificate of ours."),
    click.option("--tls-cert", type=_FILE, help="Take them over TLS, with this certificate (PEM)."),
    click.option("--tls-key", type=_FILE, help="Key of --tls-cert (PEM)."),
    click.option("--jwt-issuer", metavar="URL", help="Take only requests with a token of theirs."),
    click.option("--jwt-audience", metavar="NAME", help="Whom their tokens must be meant for."),
    click.option("--jwks", type=_FILE, help="Their public keys, a JSON Web Key Set."),
    click.option(
        "--rate-limit",
        type=click.IntRange(1, 2**31 - 1),
        metavar="N",
        help="Take at most N requests per second; more are answered with 429.",
    ),
    click.option(
        "--access-log", is_flag=True, help="Write a JSON line per request to logs/access.log."
    ),
)


def listener_options(command: _Command) -> _Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_listener(
    home: "Home",
    *,
    tls: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    jwt_issuer: str | None,
    jwt_audience: str | None,
    jwks: Path | None,
    rate_limit: int | None,
    access_log: bool,
) -> "Listener":
    """Return what the options say; files are read and checked now."""
    from abserve.cluster.listener import given_jwt, given_tls, own_tls
    from abserve.gateway import Listener

    now = datetime.now(UTC)
    shown = None
    if tls_cert and tls_key:
        if tls:
            raise click.UsageError("--tls makes a certificate; leave it out beside --tls-cert")
        shown = given_tls(tls_cert, tls_key, now)
    elif tls_cert or tls_key:
        raise click.UsageError("--tls-cert and --tls-key go together; give both")
    elif tls:
        shown = own_tls(home.tls, now)
    jwt = None
    if jwt_issuer and jwt_audience and jwks:
        jwt = given_jwt(jwt_issuer, jwt_audience, jwks)
    elif jwt_issuer or jwt_audience or jwks:
        raise click.UsageError("--jwt-issuer, --jwt-audience and --jwks go together; give all")
    return Listener(
        tls=shown,
        jwt=jwt,
        requests_per_second=rate_limit,
        access_log=home.logs / "access.log" if access_log else None,
    )
