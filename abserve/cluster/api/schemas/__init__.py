"""The fields of each kind, and what they mean: what ``kubectl explain`` says, and what is checked.

Here are Kubernetes' own kinds, as far as the local cluster has them; what makes up a
SeldonDeployment is in `abserve.seldon`. All are closed: a misspelt field is refused, because
Kubernetes would drop it without a word.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    EVENT,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SELDON_DEPLOYMENT,
    SERVICE,
    Kind,
)
from abserve.cluster.api.schemas.base import ObjectMeta
from abserve.cluster.api.schemas.observed import Pod, Service
from abserve.cluster.api.schemas.written import (
    ConfigMap,
    Event,
    Lease,
    Namespace,
    Scale,
    Secret,
    SeldonDeployment,
)
from abserve.seldon import Fault
from abserve.seldon.reading import fault_of

__all__ = ["MODELS", "ObjectMeta", "Scale", "faults"]

MODELS: Mapping[Kind, type[BaseModel]] = {
    SELDON_DEPLOYMENT: SeldonDeployment,
    NAMESPACE: Namespace,
    SECRET: Secret,
    CONFIG_MAP: ConfigMap,
    POD: Pod,
    SERVICE: Service,
    EVENT: Event,
    LEASE: Lease,
}


def faults(kind: Kind, document: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Return which fields of `document` are missing, unknown or of the wrong type."""
    model = MODELS[kind]
    try:
        model.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if kind is SECRET:  # whose values are told to nobody
            for each in details:
                each["input"] = "***"
        return tuple(fault_of(each, model) for each in details)
    return ()
