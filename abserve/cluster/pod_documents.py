"""A replica written as the Pod that it would be on Kubernetes.

What a reader of ``kubectl describe pod`` looks for is there, and true of this machine: the image
is the manifest's, the ports and the container's id are those of the process, and the model folder
is where the copy lies. Values of Secrets are not: variables that take them say from where.
"""

import datetime as dt
from typing import Any

from abserve.cluster.api.kinds import POD
from abserve.cluster.api.store import Document
from abserve.cluster.containers import Container, Running, Terminated, Waiting
from abserve.cluster.ports import HOST
from abserve.cluster.replica import Replica
from abserve.seldon import (
    API_VERSION,
    KIND,
    MODEL_MOUNT,
    Predictor,
    SeldonDeployment,
    as_time,
    container_environment,
    pod_labels,
)

_NODE = "localhost"
# What copies the version; on Kubernetes Seldon's image of it.
_INITIALIZER_IMAGE = "rclone"


class PodTemplate:
    """What all replicas of a predictor have in common as Pods.

    Parameters
    ----------
    deployment, predictor
        From `with_defaults`.
    """

    def __init__(self, deployment: SeldonDeployment, predictor: Predictor) -> None:
        self._deployment = deployment
        self._predictor = predictor

    def document(self, replica: Replica, earlier: Document | None, now: dt.datetime) -> Document:
        """Return the Pod of a replica as it is now.

        Parameters
        ----------
        replica : Replica
            One of the predictor's.
        earlier : dict or None
            The Pod as it was; conditions that did not change keep their time.
        now : datetime
            The time, in UTC.
        """
        return {
            "apiVersion": POD.api_version,
            "kind": POD.name,
            "metadata": self._metadata(replica, earlier, now),
            "spec": self._spec(replica),
            "status": self._status(replica, (earlier or {}).get("status") or {}, now),
        }

    def _metadata(self, replica: Replica, earlier: Document | None, now: dt.datetime) -> Document:
        owner = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self._deployment.name,
            "uid": self._deployment.metadata.uid or "",
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            **(earlier["metadata"] if earlier else {}),
            "name": replica.spec.name,
            "namespace": replica.spec.namespace,
            "labels": pod_labels(self._deployment, self._predictor),
            "ownerReferences": [owner],
        }
        if replica.unwanted:
            metadata.setdefault("deletionTimestamp", as_time(now))
            metadata.setdefault("deletionGracePeriodSeconds", int(replica.spec.grace_seconds))
        return metadata

    def _spec(self, replica: Replica) -> Document:
        volume = f"{replica.spec.model}-provision-location"
        mount = {"name": volume, "mountPath": MODEL_MOUNT}
        secret = self._predictor.graph.env_secret_ref_name
        container = {**self._container(replica), "volumeMounts": [{**mount, "readOnly": True}]}
        initializer = {
            "name": replica.initializer.name,
            "image": _INITIALIZER_IMAGE,
            "args": [replica.spec.model_uri, MODEL_MOUNT],
            "volumeMounts": [mount],
            **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        }
        return {
            "initContainers": [initializer],
            "containers": [container],
            "volumes": [{"name": volume, "emptyDir": {}}],
            "nodeName": _NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": int(replica.spec.grace_seconds),
        }

    def _container(self, replica: Replica) -> Document:
        container = self._predictor.model_container
        given = container.model_dump(mode="json", by_alias=True, exclude_unset=True)
        shown: Document = {"name": container.name, "image": container.image or ""}
        operators: dict[str, str] = {}
        if replica.ports is not None:
            shown["ports"] = [
                {"name": name, "containerPort": port, "protocol": "TCP"}
                for name, port in (
                    ("http", replica.ports.http),
                    ("grpc", replica.ports.grpc),
                    ("metrics", replica.ports.metrics),
                )
            ]
            operators = container_environment(
                self._deployment, self._predictor, replica.ports, replica.model_folder
            )
        users = [each for each in given.get("env", ()) if each["name"] not in operators]
        shown["env"] = [*users, *({"name": k, "value": v} for k, v in operators.items())]
        if given.get("envFrom"):
            shown["envFrom"] = given["envFrom"]
        return shown

    def _status(self, replica: Replica, earlier: Document, now: dt.datetime) -> Document:
        image = self._predictor.model_container.image or ""
        initialized = _completed(replica.initializer)
        begun = initialized and replica.container.logs.newest >= 0
        addresses = [{"ip": HOST}]
        return {
            "phase": "Running" if begun else "Pending",
            "message": replica.message,
            "conditions": _conditions(replica, initialized, earlier, now),
            "hostIP": HOST,
            "hostIPs": addresses,
            "podIP": HOST,
            "podIPs": addresses,
            "qosClass": "BestEffort",
            "startTime": earlier.get("startTime", as_time(now)),
            "initContainerStatuses": [
                _container_status(replica.initializer, _INITIALIZER_IMAGE, None, ready=initialized)
            ],
            "containerStatuses": [
                _container_status(replica.container, image, replica.pid, ready=replica.ready)
            ],
        }


def _completed(container: Container) -> bool:
    return isinstance(container.state, Terminated) and container.state.exit_code == 0


def _container_status(
    container: Container, image: str, pid: int | None, *, ready: bool
) -> dict[str, Any]:
    return {
        "name": container.name,
        "image": image,
        "imageID": "",
        **({"containerID": f"process://{pid}"} if pid is not None else {}),
        "ready": ready,
        "started": ready,
        "restartCount": container.n_restarts,
        "state": _state(container.state),
        "lastState": _state(container.last) if container.last is not None else {},
    }


def _state(state: Waiting | Running | Terminated) -> dict[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **_unless_empty("message", message)}}
        case Running(started):
            return {"running": {"startedAt": as_time(started)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    **_unless_empty("signal", state.signal),
                    "reason": state.reason,
                    **_unless_empty("message", state.message),
                    "startedAt": as_time(state.started),
                    "finishedAt": as_time(state.finished),
                }
            }


def _unless_empty(name: str, value: str | int) -> dict[str, str | int]:
    return {name: value} if value else {}


def _conditions(
    replica: Replica, initialized: bool, earlier: Document, now: dt.datetime
) -> list[dict[str, Any]]:
    not_ready = (
        "ContainersNotReady",
        f"containers with unready status: [{replica.container.name}]",
    )
    since = {
        (each["type"], each["status"]): each["lastTransitionTime"]
        for each in earlier.get("conditions", ())
    }
    conditions: list[dict[str, Any]] = []
    for name, holds, (reason, message) in (
        ("PodScheduled", True, ("", "")),
        (
            "Initialized",
            initialized,
            (
                "ContainersNotInitialized",
                f"containers with incomplete status: [{replica.initializer.name}]",
            ),
        ),
        ("ContainersReady", replica.ready, not_ready),
        ("Ready", replica.ready, not_ready),
    ):
        status = "True" if holds else "False"
        conditions.append(
            {
                "type": name,
                "status": status,
                **({} if holds else {"reason": reason, "message": message}),
                "lastProbeTime": None,
                "lastTransitionTime": since.get((name, status), as_time(now)),
            }
        )
    return conditions
