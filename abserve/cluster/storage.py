"""Where models come from: the repository's S3 endpoint, and the copy before a replica starts.

The endpoint is rclone serving a folder as bucket ``models``; the copy is ``rclone copy``, which is
what Seldon's storage initializer runs. What arrived is compared with what was published, and where
a public key is given, with what was signed. Credentials travel in the environment, as they do in
Kubernetes: a command line is readable by everyone on the machine.
"""

import asyncio
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from abserve.artifacts import CHECKSUMS, MODEL_SETTINGS, verify
from abserve.cluster.home import ProcessRecord
from abserve.cluster.ports import HOST, free_port, is_free
from abserve.cluster.probes import wait_until_listening
from abserve.cluster.processes import Child, Processes, tail
from abserve.cluster.programs import program
from abserve.errors import ClusterError
from abserve.keys import PublicKey
from abserve.signatures import verify_signature

BUCKET = "models"
RCLONE = "rclone"
"""The name the endpoint's process is recorded under."""

_STORE_VARIABLES = ("AWS_", "GOOGLE_", "GCS_", "RCLONE_CONFIG_")
_COPY_SECONDS = 600
_STOP_SECONDS = 5.0

# rclone begins each line with the time and a level.
_RCLONE_PREFIX = re.compile(r"^[0-9/]+ [0-9:]+ [A-Z]+\s*: ")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client of the S3 endpoint needs."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def for_rclone(self) -> dict[str, str]:
        """Return the variables that give rclone, and so Seldon's initializer, the remote `s3`."""
        return {
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Rclone",
            "RCLONE_CONFIG_S3_ENDPOINT": self.endpoint,
            "RCLONE_CONFIG_S3_ACCESS_KEY_ID": self.access_key,
            "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": self.secret_key,
        }

    def for_aws(self) -> dict[str, str]:
        """Return the variables that let AWS clients, and so fsspec, read and write the bucket."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def kept_credentials(kept: str | None, *, running: bool) -> Credentials | None:
    """Return an earlier endpoint's credentials from JSON, unless its port is another's by now."""
    if kept is None:
        return None
    credentials = Credentials(**json.loads(kept))
    return credentials if running or is_free(credentials.port) else None


def callers_credentials() -> dict[str, str]:
    """Return what rclone needs to read a repository elsewhere as whoever starts the cluster."""
    inherited = {
        name: value for name, value in os.environ.items() if name.startswith(_STORE_VARIABLES)
    }
    return {
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_ENV_AUTH": "true",
        "RCLONE_CONFIG_S3_ENDPOINT": os.environ.get("AWS_ENDPOINT_URL", ""),
        **inherited,
    }


class RepositoryEndpoint:
    """The S3 endpoint of a model repository that is a folder on this machine."""

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        log: Path,
        credentials: Credentials | None = None,
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._log = log
        self.credentials = credentials or Credentials(
            endpoint=f"http://{HOST}:{free_port()}",
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
        )
        self._port = self.credentials.port

    def resume(self, record: ProcessRecord) -> Child | None:
        """Take over an rclone that serves this very folder already; None if it does not."""
        if record.details != self._details():
            return None
        return self._processes.take_over(record, self._log)

    def _details(self) -> dict[str, str]:
        return {"folder": str(self._folder), "endpoint": self.credentials.endpoint}

    async def start(self) -> Child:
        """Start rclone and return once it takes connections.

        Raises
        ------
        ClusterError
            If it ends instead.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        quoted = str(self._folder).replace('"', '""')
        child = await self._processes.start(
            RCLONE,
            [
                program("rclone"),
                "serve",
                "s3",
                "--addr",
                f"{HOST}:{self._port}",
                # A version is to be found the moment it is published. With 0 rclone would look for
                # what has expired without end, on a core of its own.
                "--dir-cache-time",
                "10ms",
                "repository:",
            ],
            {
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_CONFIG_REPOSITORY_TYPE": "combine",
                "RCLONE_CONFIG_REPOSITORY_UPSTREAMS": f'"{BUCKET}={quoted}"',
                "RCLONE_AUTH_KEY": (
                    f'"{self.credentials.access_key},{self.credentials.secret_key}"'
                ),
            },
            self._log,
            self._log.parent,
            self._details(),
        )
        try:
            await wait_until_listening(child, self._port)
        except BaseException:  # cancelled: nobody else knows of the child yet
            await child.stop(_STOP_SECONDS)
            raise
        return child


async def copy_model(
    uri: str,
    destination: Path,
    credentials: Mapping[str, str],
    log: Path,
    *,
    published: bool = True,
    public_key: Path | None = None,
) -> PublicKey | None:
    """Copy the version at `uri` into `destination`, and check that it arrived whole.

    Parameters
    ----------
    uri : str
        A predictor's ``modelUri``, in rclone's words: ``s3://models/iris/v1``.
    destination : Path
        Replaced by the copy.
    credentials : mapping of str to str
        The content of the Secret that ``envSecretRefName`` names.
    log : Path
        Gets what rclone says.
    published : bool
        Whether it must be a version that 'abserve train' published. The folder of somebody else's
        model has no checksums to compare with.
    public_key : Path, optional
        PEM file of the keys one of which must have signed it, whoever published it.

    Returns
    -------
    PublicKey or None
        The one that has signed it, if it must be signed.

    Raises
    ------
    ClusterError
        If nothing is there, or it cannot be read.
    ArtifactError
        If what was copied is not what was published or signed.
    """
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            program("rclone"),
            "copy",
            "--",  # the rest are paths, whatever they look like
            uri,
            str(destination),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                "PATH": "/usr/bin:/bin",
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_RETRIES": "2",
                "RCLONE_VERBOSE": "1",  # as in Seldon's initializer: a line for each file
                **credentials,
            },
        )
    try:
        await asyncio.wait_for(process.wait(), _COPY_SECONDS)
    except TimeoutError:
        raise ClusterError(
            f"modelUri {uri} was not copied within {_COPY_SECONDS} s; check the connection to "
            f"the model repository, the log is {log}"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = "".join(tail(log, 1)) or "rclone said nothing"
        do = "check the bucket, the path and the Secret that envSecretRefName names"
        if os.strerror(errno.ENOSPC).lower() in said:
            do = f"make room on the disk of {destination}"
        raise ClusterError(f"modelUri {uri} cannot be copied: {_RCLONE_PREFIX.sub('', said)}; {do}")
    # rclone copies nothing, and is content, when there is nothing under the path.
    if not any(destination.rglob("*")):
        raise ClusterError(
            f"modelUri {uri} holds no files; expected the folder of a version, "
            "for example s3://models/iris/v1: publish it, or correct the path"
        )
    marks = (destination / CHECKSUMS, destination / MODEL_SETTINGS)
    if published and not all(mark.exists() for mark in marks):
        raise ClusterError(
            f"modelUri {uri} is not the folder of a version: it lacks {CHECKSUMS} or "
            f"{MODEL_SETTINGS}; expected what 'abserve train' publishes, "
            "for example s3://models/iris/v1"
        )
    signer = None
    if public_key is not None:
        # The first time it imports for a third of a second, and others are being served.
        signer = await asyncio.to_thread(verify_signature, destination, public_key)
    if published:
        verify(destination)
    return signer
