"""The Kubernetes API as promotion sees it: local and real clusters look the same from here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.watch

from abserve.errors import KubernetesError
from abserve.promotion.availability import not_available, progress, serves
from abserve.promotion.connection import connect

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
        None reads what kubectl would: ``$KUBECONFIG``, else ``~/.kube/config``, else the service
        account of the pod this runs in.
    namespace : str or None
        None means the namespace of the kubeconfig's current context, or of the pod.
    timeout_seconds : float
        How long an answer may take.

    Raises
    ------
    KubernetesError
        If there is no usable kubeconfig, and no service account either.
    """

    def __init__(
        self,
        kubeconfig: Path | None,
        namespace: str | None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._connection = connect(kubeconfig)
        self._client = kubernetes.client.ApiClient(self._connection.configuration)
        self.server = self._connection.server
        self.timeout_seconds = timeout_seconds
        self.namespace = namespace or self._connection.namespace
        self.custom = kubernetes.client.CustomObjectsApi(self._client)

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
            found: Document = self.custom.get_namespaced_custom_object(
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
                found = self.custom.list_cluster_custom_object(
                    _GROUP, _VERSION, _PLURAL, _request_timeout=self.timeout_seconds
                )
            else:
                found = self.custom.list_namespaced_custom_object(
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
            changed: Document = self.custom.patch_namespaced_custom_object(
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
        if serves(document, generation):
            return document
        report(progress(document))
        stream = kubernetes.watch.Watch().stream(
            self.custom.list_namespaced_custom_object,
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
                if serves(document, generation):
                    return document
                report(progress(document))
        raise KubernetesError(not_available(document, timeout_seconds))

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

    def asking(self) -> contextlib.AbstractContextManager[None]:
        """Turn what the client library raises into KubernetesError."""
        return self._connection.asking()

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
