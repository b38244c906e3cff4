"""Which cluster to talk to, as whom, and what to say when it does not answer.

::

    a kubeconfig that is named ──> $KUBECONFIG ──> ~/.kube/config ──> the cluster this pod runs in

The order is kubectl's. In a pod the credentials are the files of its service account; the token is
read anew for each request, because the kubelet replaces it before it runs out.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3.exceptions
import yaml

from abserve.errors import KubernetesError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts token, certificate and namespace of a pod's service account."""

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
# The last two are what the client library makes of a file that is no kubeconfig at all.
_NO_KUBECONFIG = (
    kubernetes.config.ConfigException,
    OSError,
    yaml.YAMLError,
    TypeError,
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster: how to reach it, and the namespace to work in unless another is named."""

    configuration: Any
    namespace: str
    inside: bool
    """Whether this is a pod of the cluster."""

    @property
    def server(self) -> str:
        return str(self.configuration.host)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Turn what the client library raises into words.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer.
        """
        try:
            yield
        except kubernetes.client.ApiException as error:
            # The client library tells failures of TLS as refusals without a status.
            if not error.status:
                raise KubernetesError(self._another_server(_message(error))) from error
            raise KubernetesError(
                f"{self.server} refused ({error.status}): {_message(error)}"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            todo = (
                "do the network policies let this pod reach the API server?"
                if self.inside
                else "is the cluster running? 'abserve up' starts the local one"
            )
            raise KubernetesError(
                f"{self.server} does not answer ({type(error).__name__}); {todo}"
            ) from error

    def _another_server(self, found: str) -> str:
        if self.inside:
            return f"{self.server} is not the server of this pod's certificate ({found})"
        return (
            f"{self.server} is not the server this kubeconfig was written for "
            f"({found}); use the one that 'abserve up' wrote last"
        )


def connect(kubeconfig: Path | None) -> Connection:
    """Find the cluster.

    Parameters
    ----------
    kubeconfig : Path or None
        None means what kubectl would take: ``$KUBECONFIG``, else ``~/.kube/config``, else the
        cluster this pod runs in.

    Raises
    ------
    KubernetesError
        If there is no usable kubeconfig, and this is no pod that may talk to its cluster.
    """
    configuration = kubernetes.client.Configuration()
    # A cluster that does not answer is to be reported now, not after three more tries.
    configuration.retries = False
    if kubeconfig is None and not _kubectl_has_one() and _in_a_pod():
        return _inside(configuration, SERVICE_ACCOUNT)
    # The client library would take $KUBECONFIG as it was when it was imported.
    file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
    try:
        _, context = kubernetes.config.list_kube_config_contexts(file)
        kubernetes.config.load_kube_config(file, client_configuration=configuration)
    except _NO_KUBECONFIG as error:
        remedy = (
            f"this is a pod without the token of a service account in {SERVICE_ACCOUNT}: mount it"
            if os.environ.get(_HOST)
            else "start a local one with 'abserve up'"
        )
        raise KubernetesError(
            f"no cluster is known ({error}); {remedy}, or name a kubeconfig with --kubeconfig or "
            "$KUBECONFIG"
        ) from error
    return Connection(configuration, context["context"].get("namespace") or "default", inside=False)


def _kubectl_has_one() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or Path("~/.kube/config").expanduser().exists()


def _in_a_pod() -> bool:
    named = os.environ.get(_HOST) and os.environ.get(_PORT)
    return bool(named) and (SERVICE_ACCOUNT / "token").exists()


def _inside(configuration: Any, service_account: Path) -> Connection:
    host, port = os.environ[_HOST], os.environ[_PORT]
    configuration.host = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    configuration.ssl_ca_cert = str(service_account / "ca.crt")

    def read_token(used: Any) -> None:
        used.api_key["BearerToken"] = f"Bearer {_read(service_account / 'token')}"

    read_token(configuration)
    _read(service_account / "ca.crt")
    configuration.refresh_api_key_hook = read_token
    return Connection(configuration, _read(service_account / "namespace"), inside=True)


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KubernetesError(f"the service account of this pod cannot be read: {error}") from error
    if not text:
        raise KubernetesError(f"{file}, of this pod's service account, is empty")
    return text


def _message(error: Any) -> str:
    """Return the message of the Status object in a refusal, or the bare HTTP reason."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return " ".join(str(error.reason).split())
