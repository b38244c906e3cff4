"""The Kubernetes API as promotion sees it: local and real clusters look the same from here."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import urllib3.exceptions
import yaml

from abserve.errors import KubernetesError

# Under this name the cluster keeps who changed which field.
_FIELD_MANAGER = "abserve"
_GROUP, _VERSION, _PLURAL = "machinelearning.seldon.io", "v1", "seldondeployments"
_METRICS_PORT = "metrics"
_METRICS_PATH = "prometheus"
_TIMEOUT_SECONDS = 10
_GRACE_SECONDS = 2
# A replica that is followed may be silent for as long as it likes, but the client library wants a
# number.
_SILENT_SECONDS = 30 * 24 * 3600
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
Report = Callable[[str], None]


def say_nothing(_: str) -> None:
    """Take a report that nobody reads."""


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
    timeout_seconds : float
        How long an answer may take.

    Raises
    ------
    KubernetesError
        If there is no usable kubeconfig.
    """

    def __init__(
        self,
        kubeconfig: Path | None,
        namespace: str | None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
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
        self._client = kubernetes.client.ApiClient(configuration)
        self.server = str(configuration.host)
        self.timeout_seconds = timeout_seconds
        self.namespace = namespace or context["context"].get("namespace") or "default"
        self._custom = kubernetes.client.CustomObjectsApi(self._client)

    @cached_property
    def core(self) -> Any:
        # Only when it is needed: its import alone takes as long as the rest of a command.
        return kubernetes.client.CoreV1Api(self._client)

    def get(self, name: str) -> Document:
        """Return a SeldonDeployment as the cluster holds it.

        Raises
        ------
        KubernetesError
            If there is none, or the cluster does not answer.
        """
        with self.asking(), self._explaining_absence(name):
            found: Document = self._custom.get_namespaced_custom_object(
                _GROUP,
                _VERSION,
                self.namespace,
                _PLURAL,
                name,
                _request_timeout=self.timeout_seconds,
            )
        return found

    def deployments(self, *, everywhere: bool = False) -> list[Document]:
        """Return the SeldonDeployments of the namespace, or those of all namespaces."""
        with self.asking():
            if everywhere:
                found = self._custom.list_cluster_custom_object(
                    _GROUP, _VERSION, _PLURAL, _request_timeout=self.timeout_seconds
                )
            else:
                found = self._custom.list_namespaced_custom_object(
                    _GROUP,
                    _VERSION,
                    self.namespace,
                    _PLURAL,
                    _request_timeout=self.timeout_seconds,
                )
        return list(found["items"])

    def names(self) -> list[str]:
        """Return the names of the namespace's SeldonDeployments."""
        return [str(item["metadata"]["name"]) for item in self.deployments()]

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document:
        """Change a SeldonDeployment with a JSON patch; return it as it then is.

        Raises
        ------
        KubernetesError
            If the cluster refuses: the object is not what the patch expects, or would be invalid.
        """
        with self.asking():
            changed: Document = self._custom.patch_namespaced_custom_object(
                _GROUP,
                _VERSION,
                self.namespace,
                _PLURAL,
                name,
                list(operations),
                field_manager=_FIELD_MANAGER,
                _content_type="application/json-patch+json",
                _request_timeout=self.timeout_seconds,
            )
        return changed

    def wait_until_available(
        self, name: str, generation: int, timeout_seconds: float, report: Report = say_nothing
    ) -> Document:
        """Wait until the cluster serves a SeldonDeployment as of `generation`; return it.

        Parameters
        ----------
        name : str
            The SeldonDeployment's name.
        generation : int
            What `generation_of` the changed object is.
        timeout_seconds : float
            How long to wait.
        report : callable
            Told what the cluster says of it meanwhile.

        Raises
        ------
        KubernetesError
            If it says that it failed, is deleted, or is not there in time.
        """
        document = self.get(name)
        if _serves(document, generation):
            return document
        report(_progress(document))
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
        with self.asking(), contextlib.closing(stream):
            for event in stream:
                document = dict(event["object"])
                if event["type"] == "DELETED":
                    raise KubernetesError(f"SeldonDeployment {name!r} was deleted meanwhile")
                if _serves(document, generation):
                    return document
                report(_progress(document))
        state = (document.get("status") or {}).get("state") or "unknown"
        found = "not Available as changed" if state == "Available" else f"{state}, not Available"
        raise KubernetesError(
            f"SeldonDeployment {name!r} is {found}, after {timeout_seconds:g} s; "
            f"see 'kubectl describe sdep {name}'"
        )

    def pods(self, name: str) -> list[Pod]:
        """Return the replicas of a SeldonDeployment, without those that are being stopped."""
        with self.asking():
            found = self.core.list_namespaced_pod(
                self.namespace,
                label_selector=f"seldon-deployment-id={name}",
                _request_timeout=self.timeout_seconds,
            )
        return [_pod(item) for item in found.items if not item.metadata.deletion_timestamp]

    def log(
        self,
        pod: str,
        container: str,
        *,
        n_lines: int | None = None,
        follow: bool = False,
        previous: bool = False,
    ) -> Iterator[str]:
        """Yield the lines of a replica's log.

        Parameters
        ----------
        pod, container : str
            Whose log.
        n_lines : int, optional
            How many of the last lines; by default all.
        follow : bool
            Whether to go on until the replica ends.
        previous : bool
            Whether to read the log of the run before the last restart.

        Raises
        ------
        KubernetesError
            If there is no such log, or the connection breaks off.
        """
        with self.asking():
            response = self.core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                previous=previous,
                **({} if n_lines is None else {"tail_lines": n_lines}),
                _preload_content=False,
                _request_timeout=(
                    self.timeout_seconds,
                    _SILENT_SECONDS if follow else self.timeout_seconds,
                ),
            )
            with contextlib.closing(response):
                for line in response:
                    yield line.decode(errors="replace").rstrip("\n")

    def metrics(self, pod: Pod) -> str:
        """Return what a replica exposes to Prometheus, fetched through the API's pod proxy."""
        with self.asking():
            text: str = self.core.connect_get_namespaced_pod_proxy_with_path(
                f"{pod.name}:{pod.metrics_port}",
                self.namespace,
                _METRICS_PATH,
                _request_timeout=self.timeout_seconds,
            )
        return text

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the data of a ConfigMap; empty if there is none or it may not be read."""
        with self.asking():
            try:
                found = self.core.read_namespaced_config_map(
                    name, namespace, _request_timeout=self.timeout_seconds
                )
            except kubernetes.client.ApiException as error:
                if error.status in _NOT_TO_BE_READ:
                    return {}
                raise
        return dict(found.data or {})

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
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
        names = self.names()
        close = get_close_matches(name, names, n=1)
        apply = f"Apply one, for example with 'kubectl apply -k manifests/overlays/local/{name}'"
        return (
            f"no SeldonDeployment {name!r} in namespace {self.namespace!r} of {self.server}; "
            f"there: {', '.join(names) or 'none'}. "
            + (f"Did you mean {close[0]!r}?" if close else apply)
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


def _progress(document: Document) -> str:
    """Return how far the cluster is with a SeldonDeployment, in its own words."""
    status = document.get("status") or {}
    told = [status.get("state") or "Creating", status.get("description") or ""]
    return f"{document['metadata']['name']}: {', '.join(filter(None, told))}"


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
