"""The Kubernetes API as promotion sees it: local and real clusters look the same from here."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import urllib3.exceptions
import yaml

from abserve.errors import KubernetesError

_GROUP, _VERSION, _PLURAL = "machinelearning.seldon.io", "v1", "seldondeployments"
_METRICS_PORT = "metrics"
_METRICS_PATH = "prometheus"
_TIMEOUT_SECONDS = 10
_GRACE_SECONDS = 2
_NOT_FOUND = 404
_NOT_TO_BE_READ = (403, _NOT_FOUND)
# The last two are what the client library makes of a file that is no kubeconfig at all.
_NO_KUBECONFIG = (
    kubernetes.config.ConfigException,
    OSError,
    yaml.YAMLError,
    TypeError,
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica: `predictor` is the predictor it belongs to, by its ``seldon-app`` label."""

    name: str
    service: str
    ready: bool
    metrics_port: int | None


class Kubernetes:
    """SeldonDeployments of one namespace of one cluster.

    Parameters
    ----------
    kubeconfig : Path or None
        None reads what kubectl would: ``$KUBECONFIG``, else ``~/.kube/config``.
    namespace : str or None
        None means the namespace of the kubeconfig's current context.

    Raises
    ------
    KubernetesError
        If there is no usable kubeconfig.
    """

    def __init__(self, kubeconfig: Path | None, namespace: str | None) -> None:
        file = str(kubeconfig) if kubeconfig else None
        configuration = kubernetes.client.Configuration()
        # A cluster that does not answer is to be reported now, not after three more tries.
        configuration.retries = False
        try:
            _, context = kubernetes.config.list_kube_config_contexts(file)
            kubernetes.config.load_kube_config(file, client_configuration=configuration)
        except _NO_KUBECONFIG as error:
            raise KubernetesError(
                f"no cluster is known ({error}); start a local one with 'abserve up', or name a "
                "kubeconfig with --kubeconfig or $KUBECONFIG"
            ) from error
        client = kubernetes.client.ApiClient(configuration)
        self.server = str(configuration.host)
        self.namespace = namespace or context["context"].get("namespace") or "default"
        self._custom = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)

    def get(self, name: str) -> Document:
        """Return a SeldonDeployment as the cluster holds it.

        Raises
        ------
        KubernetesError
            If there is none, or the cluster does not answer.
        """
        with self._asking(), self._explaining_absence(name):
            found: Document = self._custom.get_namespaced_custom_object(
                _GROUP,
                _VERSION,
                self.namespace,
                _PLURAL,
                name,
                _request_timeout=_TIMEOUT_SECONDS,
            )
        return found

    def names(self) -> list[str]:
        """Return the names of the namespace's SeldonDeployments."""
        with self._asking():
            found = self._custom.list_namespaced_custom_object(
                _GROUP, _VERSION, self.namespace, _PLURAL, _request_timeout=_TIMEOUT_SECONDS
            )
        return [str(item["metadata"]["name"]) for item in found["items"]]

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document:
        """Change a SeldonDeployment with a JSON patch; return it as it then is.

        Raises
        ------
        KubernetesError
            If the cluster refuses: the object is not what the patch expects, or would be invalid.
        """
        with self._asking():
            changed: Document = self._custom.patch_namespaced_custom_object(
                _GROUP,
                _VERSION,
                self.namespace,
                _PLURAL,
                name,
                list(operations),
                _content_type="application/json-patch+json",
                _request_timeout=_TIMEOUT_SECONDS,
            )
        return changed

    def wait_until_available(self, name: str, generation: int, timeout_seconds: float) -> Document:
        """Wait until the cluster serves a SeldonDeployment as of `generation`; return it.

        Raises
        ------
        KubernetesError
            If it says that it failed, is deleted, or is not there in time.
        """
        document = self.get(name)
        if _serves(document, generation):
            return document
        stream = kubernetes.watch.Watch().stream(
            self._custom.list_namespaced_custom_object,
            _GROUP,
            _VERSION,
            self.namespace,
            _PLURAL,
            field_selector=f"metadata.name={name}",
            # From what was just read on, so that a deletion since then is seen as well.
            resource_version=document["metadata"]["resourceVersion"],
            timeout_seconds=max(1, int(timeout_seconds)),
            # For a cluster that falls silent and does not end the watch itself.
            _request_timeout=timeout_seconds + _GRACE_SECONDS,
        )
        with self._asking(), contextlib.closing(stream):
            for event in stream:
                document = dict(event["object"])
                if event["type"] == "DELETED":
                    raise KubernetesError(f"SeldonDeployment {name!r} was deleted meanwhile")
                if _serves(document, generation):
                    return document
        state = (document.get("status") or {}).get("state") or "unknown"
        found = "not Available as changed" if state == "Available" else f"{state}, not Available"
        raise KubernetesError(
            f"SeldonDeployment {name!r} is {found}, after {timeout_seconds:g} s; "
            f"see 'kubectl describe sdep {name}'"
        )

    def pods(self, name: str) -> list[Pod]:
        """Return the replicas of a SeldonDeployment, without those that are being stopped."""
        with self._asking():
            found = self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"seldon-deployment-id={name}",
                _request_timeout=_TIMEOUT_SECONDS,
            )
        return [_pod(item) for item in found.items if not item.metadata.deletion_timestamp]

    def metrics(self, pod: Pod) -> str:
        """Return what a replica exposes to Prometheus, fetched through the API's pod proxy."""
        with self._asking():
            text: str = self._core.connect_get_namespaced_pod_proxy_with_path(
                f"{pod.name}:{pod.metrics_port}",
                self.namespace,
                _METRICS_PATH,
                _request_timeout=_TIMEOUT_SECONDS,
            )
        return text

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the data of a ConfigMap; empty if there is none or it may not be read."""
        with self._asking():
            try:
                found = self._core.read_namespaced_config_map(
                    name, namespace, _request_timeout=_TIMEOUT_SECONDS
                )
            except kubernetes.client.ApiException as error:
                if error.status in _NOT_TO_BE_READ:
                    return {}
                raise
        return dict(found.data or {})

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what the client library raises into words."""
        try:
            yield
        except kubernetes.client.ApiException as error:
            # The client library tells failures of TLS as refusals without a status.
            if not error.status:
                raise KubernetesError(
                    f"{self.server} is not the server this kubeconfig was written for "
                    f"({_message(error)}); use the one that 'abserve up' wrote last"
                ) from error
            raise KubernetesError(
                f"{self.server} refused ({error.status}): {_message(error)}"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise KubernetesError(
                f"{self.server} does not answer ({type(error).__name__}); is the cluster running? "
                "'abserve up' starts the local one"
            ) from error

    @contextlib.contextmanager
    def _explaining_absence(self, name: str) -> Iterator[None]:
        try:
            yield
        except kubernetes.client.ApiException as error:
            if error.status == _NOT_FOUND:
                raise KubernetesError(self._unknown(name)) from error
            raise

    def _unknown(self, name: str) -> str:
        known = ", ".join(self.names()) or "none"
        return (
            f"no SeldonDeployment {name!r} in namespace {self.namespace!r} of {self.server}; "
            f"there: {known}. Apply one, for example with "
            f"'kubectl apply -k manifests/overlays/local/{name}'"
        )


def generation_of(document: Document) -> int:
    return int(document["metadata"].get("generation", 0))


def is_available(document: Document, generation: int) -> bool:
    """Tell whether the cluster serves the object as of `generation`.

    An operator that reports no observed generation is taken at its word once it says Available.
    """
    status = document.get("status") or {}
    observed = status.get("observedGeneration", generation)
    return status.get("state") == "Available" and int(observed) >= generation


def has_failed(document: Document, generation: int) -> bool:
    status = document.get("status") or {}
    observed = status.get("observedGeneration", generation)
    return status.get("state") == "Failed" and int(observed) >= generation


def _serves(document: Document, generation: int) -> bool:
    if has_failed(document, generation):
        raise KubernetesError(
            f"SeldonDeployment {document['metadata']['name']!r} failed: "
            f"{document['status'].get('description') or 'the operator does not say why'}"
        )
    return is_available(document, generation)


def _message(error: Any) -> str:
    """Return the message of the Status object in a refusal, or the bare HTTP reason."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return " ".join(str(error.reason).split())


def _pod(item: Any) -> Pod:
    ports = [port for container in item.spec.containers for port in container.ports or []]
    metrics = next((port.container_port for port in ports if port.name == _METRICS_PORT), None)
    statuses = item.status.container_statuses or []
    return Pod(
        name=item.metadata.name,
        service=(item.metadata.labels or {}).get("seldon-app", ""),
        ready=bool(statuses) and all(status.ready for status in statuses),
        metrics_port=metrics,
    )
