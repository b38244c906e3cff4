"""What serves a model: our own server, or for a prepackaged implementation MLServer as it comes.

::

                 our container            SKLEARN_SERVER
    starts       python -m runtimes.server   mlserver start
    its model    a version we published      any folder that MLServer can load
    its runtime  ours                        scikit-learn's, which reads pickles

On Kubernetes each is an image. Here both come from one installation, so what one image lacks has to
be refused: a version of ours would find its runtime here, and not there.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from abserve.artifacts import MODEL_SETTINGS, SETTINGS
from abserve.cluster.ports import HOST
from abserve.cluster.programs import program
from abserve.errors import ClusterError
from abserve.seldon import (
    MODEL_URI_VARIABLE,
    Predictor,
    PrepackagedServer,
    prepackaged_server,
)

_OUR_RUNTIMES = "runtimes"
_PORTS = ("http_port", "grpc_port", "metrics_port")


@dataclass(frozen=True, slots=True)
class ModelServer:
    """The server of one predictor; `prepackaged` is None if it is our own.

    `finds_model` tells that nobody names the model's file, so that its runtime looks for it.
    """

    prepackaged: PrepackagedServer | None
    finds_model: bool = True

    @classmethod
    def of(cls, predictor: Predictor) -> "ModelServer":
        """Return the server of a predictor from `with_defaults`."""
        named = {variable.name for variable in predictor.model_container.env}
        return cls(prepackaged_server(predictor.graph), MODEL_URI_VARIABLE not in named)

    def command(self, folder: Path) -> Sequence[str | Path]:
        """Return the command that serves the model in `folder`.

        Raises
        ------
        ClusterError
            If the server is not installed.
        """
        if self.prepackaged is None:
            return [sys.executable, "-m", "runtimes.server", folder]
        package = self.prepackaged.runtime.partition(".")[0]
        if find_spec(package) is None:
            raise ClusterError(
                f"{self.prepackaged.name} needs {package}, which is not installed beside "
                f"{sys.executable}; install abserve with the extra that brings it: "
                f"pip install 'abserve[{self.prepackaged.extra}]'"
            )
        return [program("mlserver"), "start", folder]

    def prepare(self, folder: Path, uri: str, model: str) -> None:
        """Check that `folder`, the copy of `uri`, can be served as `model`, and only here.

        Raises
        ------
        ClusterError
            If it names another model, or could not be served on Kubernetes either.
        """
        settings = folder / MODEL_SETTINGS
        name = _read(settings, uri).get("name") if settings.exists() else None
        if name not in {None, model}:
            raise ClusterError(
                f"modelUri {uri} holds a version of model {name!r}, but the graph node is named "
                f"{model!r}; correct the path, or name the node {name!r}"
            )
        if self.prepackaged is not None:
            files = sorted(folder.rglob(MODEL_SETTINGS))
            for file in files:
                _refuse_our_runtimes(_read(file, uri), uri, self.prepackaged)
            if self.finds_model and not files:
                _expect_model(folder, uri, self.prepackaged)
            _keep_to_loopback(folder / SETTINGS, uri)


def _refuse_our_runtimes(settings: dict[str, Any], uri: str, server: PrepackagedServer) -> None:
    implementation = str(settings.get("implementation", ""))
    if implementation.partition(".")[0] == _OUR_RUNTIMES:
        raise ClusterError(
            f"modelUri {uri} holds a version for {implementation}, which the image of "
            f"{server.name}, {server.image}, does not have; remove implementation from the graph "
            "node, and add a container with the image abserve/runtimes"
        )


def _expect_model(folder: Path, uri: str, server: PrepackagedServer) -> None:
    if not any((folder / name).exists() for name in server.files):
        found = sorted(path.name for path in folder.iterdir())
        raise ClusterError(
            f"modelUri {uri} holds {', '.join(found)}, expected {' or '.join(server.files)}, or "
            f"a {MODEL_SETTINGS} that names another; correct the path, or rename the file"
        )


def _keep_to_loopback(file: Path, uri: str) -> None:
    """Let the settings of the server, which win over its environment, open nothing else."""
    if not file.exists():
        return
    settings = _read(file, uri)
    taken = [name for name in _PORTS if name in settings]
    if taken:
        raise ClusterError(
            f"{SETTINGS} of modelUri {uri} sets {', '.join(taken)}, which wins over the port that "
            "the operator gives the server and asks it on; remove it"
        )
    file.write_text(json.dumps({**settings, "host": HOST}))


def _read(file: Path, uri: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise ClusterError(f"{file.name} of modelUri {uri} is no JSON ({error}); mend it") from None
    if not isinstance(found, dict):
        raise ClusterError(f"{file.name} of modelUri {uri} is no JSON object; mend it")
    return found
