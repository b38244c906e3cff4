"""What a rollout does, as Events of its SeldonDeployment: for ``kubectl describe sdep``."""

import datetime as dt
import uuid
from typing import Any

from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes
from abserve.promotion.applying import FIELD_MANAGER
from abserve.promotion.kubernetes import Report
from abserve.rollout.records import (
    Begin,
    Decided,
    End,
    Interference,
    Record,
    SetWeights,
    Unavailable,
)
from abserve.rollout.seen import shown
from abserve.seldon import API_VERSION, KIND, as_time

# What Kubernetes takes.
_LONGEST_MESSAGE = 1024


class Announcer:
    """Writes Events; that one cannot be written is reported once, and stops nothing."""

    def __init__(self, cluster: Kubernetes, report: Report) -> None:
        self._cluster = cluster
        self._report = report
        self._refused = False

    def announce(self, begin: Begin, record: Record) -> None:
        """Write an Event about a record, if it is worth one."""
        told = _event_of(record)
        if told is None:
            return
        severity, reason, message = told
        try:
            with self._cluster.asking():
                self._cluster.core.create_namespaced_event(
                    self._cluster.namespace,
                    self._event(begin, record, severity, reason, message),
                    _request_timeout=self._cluster.timeout_seconds,
                )
            self._refused = False
        except KubernetesError as error:
            if not self._refused:
                self._report(f"no Event is written: {error}")
            self._refused = True

    def _event(
        self, begin: Begin, record: Record, severity: str, reason: str, message: str
    ) -> dict[str, Any]:
        name = begin.experiment.deployment
        time = as_time(dt.datetime.fromtimestamp(record.at, dt.UTC))
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE - 3]}..."
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{name}.{uuid.uuid4().hex[:16]}",
                "namespace": self._cluster.namespace,
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": name,
                "namespace": self._cluster.namespace,
                "uid": begin.uid,
            },
            "type": severity,
            "reason": reason,
            "message": message,
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }


def _event_of(record: Record) -> tuple[str, str, str] | None:
    match record:
        case SetWeights():
            return "Normal", "RolloutWeights", f"weights become {shown(record.weights)}"
        case Unavailable():
            return "Warning", "RolloutUnavailable", f"the candidate: {record.reason}"
        case Interference():
            return "Warning", "RolloutInterference", record.what
        case Decided(conclusion={"outcome": str(), "action": action, "reasons": [reason, *_]}):
            severity = "Normal" if action == "PROMOTE" else "Warning"
            return severity, "RolloutDecision", f"{action}: {reason}"
        case End():
            good = record.outcome in {"promoted", "kept"}
            return "Normal" if good else "Warning", "RolloutEnded", record.text
        case _:
            return None
