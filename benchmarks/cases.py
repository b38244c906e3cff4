"""What is measured: which model, how many rows and connections, in which form, by whom.

One connection, then eight, then thirty-two, with a row each; then more rows over eight. What is
compared with one another stands next to one another, and so is measured within seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatch

LINEAR, FOREST = "linear", "forest"


class Service(StrEnum):
    """Who answers."""

    OURS = "abserve"
    STOCK = "MLServer"
    BY_HAND = "FastAPI"
    FLOOR = "floor"


class Form(StrEnum):
    """How requests and answers are written."""

    JSON = "REST JSON"
    BINARY = "REST binary"
    GRPC = "gRPC"
    GRPC_RAW = "gRPC, raw tensors"


PEERS = (Service.STOCK, Service.BY_HAND, Service.FLOOR)
_CONNECTIONS_AND_ROWS = ((1, 1), (8, 1), (32, 1), (8, 32), (8, 1024))
_GRPC_CONNECTIONS = (1, 8)
_ABLE = {
    Form.JSON: tuple(Service),
    Form.BINARY: (Service.OURS,),
    Form.GRPC: (Service.OURS, Service.STOCK),
    Form.GRPC_RAW: (Service.OURS,),
}
_PLAIN = {Form.BINARY: Form.JSON, Form.GRPC_RAW: Form.GRPC}


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table."""

    model: str
    form: Form
    n_rows: int
    n_connections: int

    @property
    def key(self) -> str:
        """What ``--only`` is matched with: ``linear/binary/1024/c8``."""
        form = self.form.name.lower()
        return f"{self.model}/{form}/{self.n_rows}/c{self.n_connections}"

    @property
    def title(self) -> str:
        plural = "s" if self.n_rows > 1 else ""
        return f"{self.model}, {self.n_rows} row{plural}, c={self.n_connections}"

    @property
    def services(self) -> tuple[Service, ...]:
        return _ABLE[self.form]

    def compared_with(self, service: Service) -> "Case | None":
        """Return the case in which `service` answers the same rows, if it answers them at all.

        It is this one if the service takes its form, else that of the form's plain counterpart:
        nobody but ours takes binary tensors over REST, so there it is the peer's JSON.
        """
        form: Form | None = self.form
        while form is not None and service not in _ABLE[form]:
            form = _PLAIN.get(form)
        return None if form is None else replace(self, form=form)


CASES = tuple(
    Case(model, form, n_rows, n_connections)
    for model in (LINEAR, FOREST)
    for n_connections, n_rows in _CONNECTIONS_AND_ROWS
    for form in Form
    if n_connections in _GRPC_CONNECTIONS or form in {Form.JSON, Form.BINARY}
)
# What is no case of the table, and is measured after it.
MANY_MODELS, MANY_REQUESTS = "models", "requests"


def chosen(keys: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the keys that a pattern matches, anywhere in them; all if there is no pattern."""
    return [
        key
        for key in keys
        if not patterns or any(fnmatch(key, f"*{pattern}*") for pattern in patterns)
    ]
