"""HTTP as its bytes: what a server says over a socket."""

import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import NamedTuple


class Answer(NamedTuple):
    """A response; `sent` is what it answers, to be read where a test fails."""

    status: int
    sent: bytes
    content: bytes
    headers: Mapping[str, str]
    ends_connection: bool = False


def ask(connection: socket.socket, sent: bytes, method: str = "POST") -> Answer:
    connection.sendall(sent)
    return read_answer(connection, sent, method)


def read_answer(connection: socket.socket, sent: bytes, method: str = "POST") -> Answer:
    with HTTPResponse(connection, method=method) as response:
        response.begin()
        content = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, sent[:300], content, headers, response.will_close)


def read_statuses(connection: socket.socket, n_answers: int) -> list[int]:
    """Return the statuses of several answers that follow each other."""
    # HTTPResponse would read ahead, and throw away what belongs to the next.
    statuses = []
    with connection.makefile("rb") as file:
        while len(statuses) < n_answers and (line := file.readline()):
            statuses.append(int(line.split()[1]))
            length = 0
            while (line := file.readline().lower()) != b"\r\n":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            file.read(length)
    return statuses
