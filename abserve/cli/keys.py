"""``abserve keys``: the keys that versions are signed with."""

from pathlib import Path

import click

from abserve.cli.context import Context, echo_json, json_option

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("keys")
def keys_command() -> None:
    """Keys that sign versions, so that nobody else's are served."""


@keys_command.command("new")
@click.option(
    "--private",
    type=_FILE,
    metavar="FILE",
    help="Where to write the private key: by default keys/private.pem in --home.",
)
@click.option(
    "--public",
    type=_FILE,
    metavar="FILE",
    help="Where to write the public key: by default keys/public.pem in --home.",
)
@json_option
@click.pass_obj
def new(context: Context, private: Path | None, public: Path | None, as_json: bool) -> None:
    """Make a key pair on the curve P-256; files that exist are left alone."""
    from abserve.keys import new_private_key, write_key_pair
    from abserve.signatures import (
        PRIVATE_KEY_TEXT_VARIABLE,
        PRIVATE_KEY_VARIABLE,
        PUBLIC_KEY_VARIABLE,
    )

    folder = context.home_folder / "keys"
    private, public = private or folder / "private.pem", public or folder / "public.pem"
    key = new_private_key()
    write_key_pair(key, private, public)
    if as_json:
        fingerprint = key.public.fingerprint
        echo_json({"private": str(private), "public": str(public), "fingerprint": fingerprint})
        return
    click.echo(f"private key: {private}, which nobody but you can read; keep it secret")
    click.echo(f"public key:  {public}, for everyone who serves what you sign")
    click.echo(f"fingerprint: {key.public.fingerprint}")
    click.echo()
    click.echo("to sign what you train, and to serve nothing else:")
    click.echo(f"  export {PRIVATE_KEY_VARIABLE}={private.absolute()}")
    click.echo(f"  export {PUBLIC_KEY_VARIABLE}={public.absolute()}")
    click.echo("CI has the text of the private key as a secret variable, as")
    click.echo(f"{PRIVATE_KEY_TEXT_VARIABLE}; store it there, and nowhere in a repository")


@keys_command.command("show")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print the fingerprints of the public keys in FILE, which signatures name."""
    from abserve.keys import read_public_keys

    fingerprints = [key.fingerprint for key in read_public_keys(file)]
    if as_json:
        echo_json(fingerprints)
    else:
        click.echo("\n".join(fingerprints))
