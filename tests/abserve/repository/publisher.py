"""A publisher in a process of its own; its arguments are a URL and a version, or ``next``.

It says ``ready`` and begins when it is told to by a line on its
standard input, so that many begin at once; with ``--step`` it waits for another line before each
file. At the end it says which version it published, or which error kept it from that.
"""

import os
import sys
from collections.abc import Iterator, Mapping

from abserve.artifacts import seal
from abserve.errors import RepositoryError
from abserve.repository import Repository


class Stepping(Mapping[str, bytes]):
    """Files of which each is had only when somebody says so."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> bytes:
        wait(name)
        return self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def wait(said: str) -> None:
    say(said)
    sys.stdin.readline()


def main(url: str, version: str, *options: str) -> None:
    repository = Repository(url)

    def files_of(version: str) -> Mapping[str, bytes]:
        said = f"{version} by process {os.getpid()}".encode()
        files = seal({f"file-{number}": said for number in range(6)})
        return Stepping(files) if "--step" in options else files

    repository.versions("iris")  # connected
    wait("ready")
    try:
        if version == "next":
            say(repository.publish_next("iris", files_of)[0])
        else:
            repository.publish("iris", version, files_of(version))
            say(version)
    except RepositoryError as error:
        say(type(error).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])
