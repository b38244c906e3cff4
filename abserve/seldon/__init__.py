"""SeldonDeployments as values: what Seldon's operator would make of one, without an operator.

::

    document ──parse──> SeldonDeployment ──admit──────> would Seldon take it?
       ▲                      │          └─supported──> can one machine run it?
       │                      ▼
       │                with_defaults ──> names, environment ──> what to start, and how
       │                                                                  │
       ├─patch── weights_patch, shift_all, adopt, finish    status <──build_status──┘
       └─patch── open_experiment

Nothing here starts, stops or asks anything: documents in, values out.
"""

from abserve.seldon.admission import admit
from abserve.seldon.changes import (
    CANDIDATE,
    adopt,
    baseline_and_candidate,
    check_no_experiment,
    finish,
    open_experiment,
    roles,
    shift_all,
    weights_patch,
)
from abserve.seldon.containers import Container
from abserve.seldon.defaults import mirror_percent, weights_of, with_defaults
from abserve.seldon.environment import (
    METRICS_ENDPOINT,
    MODEL_MOUNT,
    MODEL_URI_VARIABLE,
    Ports,
    container_environment,
    resolve_environment,
)
from abserve.seldon.faults import Fault, FaultKind, InvalidManifestError
from abserve.seldon.naming import (
    container_service_name,
    deployment_name,
    gateway_path,
    infer_path,
    pod_labels,
    service_name,
    virtual_service_name,
)
from abserve.seldon.own_pods import INITIALIZER
from abserve.seldon.prepackaged import PrepackagedServer, prepackaged_server
from abserve.seldon.resource import (
    API_VERSION,
    KIND,
    PredictiveUnit,
    Predictor,
    SeldonDeployment,
    SeldonPodSpec,
)
from abserve.seldon.routing import place_of, retries, unit_header
from abserve.seldon.scaling import check_scaled_together, scaled_by_its_own_load
from abserve.seldon.status import PredictorState, as_time, build_status, state_of
from abserve.seldon.support import supported

__all__ = [
    "API_VERSION",
    "CANDIDATE",
    "INITIALIZER",
    "KIND",
    "METRICS_ENDPOINT",
    "MODEL_MOUNT",
    "MODEL_URI_VARIABLE",
    "Container",
    "Fault",
    "FaultKind",
    "InvalidManifestError",
    "Ports",
    "PredictiveUnit",
    "Predictor",
    "PredictorState",
    "PrepackagedServer",
    "SeldonDeployment",
    "SeldonPodSpec",
    "admit",
    "adopt",
    "as_time",
    "baseline_and_candidate",
    "build_status",
    "check_no_experiment",
    "check_scaled_together",
    "container_environment",
    "container_service_name",
    "deployment_name",
    "finish",
    "gateway_path",
    "infer_path",
    "mirror_percent",
    "open_experiment",
    "place_of",
    "pod_labels",
    "prepackaged_server",
    "resolve_environment",
    "retries",
    "roles",
    "scaled_by_its_own_load",
    "service_name",
    "shift_all",
    "state_of",
    "supported",
    "unit_header",
    "virtual_service_name",
    "weights_of",
    "weights_patch",
    "with_defaults",
]
