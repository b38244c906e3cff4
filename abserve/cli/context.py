"""What all commands share: which local cluster, which Kubernetes, which repository."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from abserve.cluster import Home
    from abserve.promotion import Kubernetes

_TIMEOUT_SECONDS = 10.0

_Command = TypeVar("_Command", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Context:
    """The options that stand before the command."""

    home_folder: Path
    kubeconfig: Path | None
    namespace: str | None

    @classmethod
    def of(cls, home: str, kubeconfig: str | None, namespace: str | None) -> "Context":
        return cls(Path(home), Path(kubeconfig) if kubeconfig else None, namespace)

    @property
    def home(self) -> "Home":
        from abserve.cluster import Home

        return Home(self.home_folder)

    @property
    def names_a_cluster(self) -> bool:
        """Whether somebody said which cluster to talk to."""
        return self.kubeconfig is not None or bool(os.environ.get("KUBECONFIG"))

    def kubernetes(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> "Kubernetes":
        """Return the cluster to talk to: named, ``$KUBECONFIG``, the local one, or kubectl's."""
        from abserve.promotion import Kubernetes

        chosen = self.kubeconfig
        if chosen is None and not os.environ.get("KUBECONFIG") and self.home.kubeconfig.exists():
            chosen = self.home.kubeconfig
        return Kubernetes(chosen, self.namespace, timeout_seconds)

    def kubernetes_of(self, home: "Home") -> "Kubernetes":
        """Return the local cluster of `home`, whatever else is configured."""
        from abserve.promotion import Kubernetes

        return Kubernetes(home.kubeconfig, self.namespace)

    def repository_url(self, given: str | None) -> str:
        """Return the repository to use: given, the running local cluster's, or the home's own."""
        if given:
            return given
        running = self.home.cluster()
        return running.repository if running else self.home.repository.as_uri()


def repository_option(command: _Command) -> _Command:
    """Add ``--repository`` to a command."""
    return click.option(
        "--repository",
        envvar="ABSERVE_REPOSITORY",
        metavar="URL",
        help=(
            "Model repository: file:///folder, s3://bucket/prefix and so on. "
            "By default $ABSERVE_REPOSITORY, else that of the running local cluster, "
            "else the folder 'repository' in --home."
        ),
    )(command)


def echo_json(answer: Any) -> None:
    """Print an answer for machines."""
    click.echo(json.dumps(answer, indent=2))


json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")

timeout_option = click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=1),
    default=120,
    show_default=True,
    help="Seconds a change may take to be in force.",
)
