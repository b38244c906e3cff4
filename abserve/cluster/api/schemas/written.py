"""The kinds that clients write."""

import datetime as dt
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from abserve.cluster.api.schemas.base import ApiObject, Fields
from abserve.seldon.containers import Bool, FreeForm, Given, Int32, String, Strings
from abserve.seldon.resource import SeldonDeploymentSpec
from abserve.seldon.status_fields import SeldonDeploymentStatus

_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", re.ASCII)


def _check_micro_time(value: str) -> str:
    try:
        if _MICRO_TIME.fullmatch(value):
            dt.datetime.fromisoformat(value)
            return value
    except ValueError:  # such as the 31st of June
        pass
    raise PydanticCustomError(
        "micro_time", "expected a time to the microsecond, such as 2026-01-02T03:04:05.000000Z"
    )


MicroTime = Annotated[
    String,
    AfterValidator(_check_micro_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class NamespaceStatus(Fields):
    """How the namespace is."""

    phase: Given[String] = None
    """Active."""


class Namespace(ApiObject):
    """A space for names. Each gets the Secrets `model-repository` and `feedback-key`."""

    spec: FreeForm | None = None
    """Kept; no effect on one machine."""

    status: Given[NamespaceStatus] = None
    """How it is. The cluster writes it."""


class Secret(ApiObject):
    """Values that are not for everybody, such as the credentials of a model repository."""

    type: Given[String] = None
    """What it is for; Opaque by default."""

    data: Strings | None = None
    """The values by key, as text in base64."""

    string_data: Strings | None = None
    """The values by key, as they are. Moved into `data` when the Secret is stored."""

    immutable: Bool | None = None
    """Kept; no effect on one machine."""


class ConfigMap(ApiObject):
    """Settings that anybody may read."""

    data: Strings | None = None
    """The values by key."""

    binary_data: Strings | None = None
    """Further values, in base64. Kept; no replica gets them."""

    immutable: Bool | None = None
    """Kept; no effect on one machine."""


class EventObject(Fields):
    """An object that an event tells of."""

    api_version: Given[String] = None
    """The group and version of its schema."""

    kind: Given[String] = None
    """Its kind."""

    name: Given[String] = None
    """Its name."""

    namespace: Given[String] = None
    """Its namespace."""

    uid: Given[String] = None
    """Tells it from others of its name."""

    resource_version: Given[String] = None
    """Its newest change, when the event was written."""

    field_path: Given[String] = None
    """The part of it that the event is about."""


class EventSource(Fields):
    """What noticed something."""

    component: Given[String] = None
    """The part of the cluster."""

    host: Given[String] = None
    """The machine."""


class EventSeries(Fields):
    """The same happening again and again."""

    count: Given[Int32] = None
    """How often it happened."""

    last_observed_time: Given[MicroTime] = None
    """When it happened last."""


class Event(ApiObject):
    """Something that happened to an object."""

    involved_object: EventObject
    """What it happened to."""

    type: Given[Literal["Normal", "Warning"]] = None
    """Whether all is well."""

    reason: Given[String] = None
    """What happened, in one word."""

    message: Given[String] = None
    """What happened, in a sentence."""

    source: Given[EventSource] = None
    """Who noticed."""

    first_timestamp: String | None = None
    """When it happened first."""

    last_timestamp: String | None = None
    """When it happened last."""

    count: Given[Int32] = None
    """How often it happened."""

    event_time: MicroTime | None = None
    """When it happened first, to the microsecond."""

    series: Given[EventSeries] = None
    """How often it happened since, and when last."""

    action: Given[String] = None
    """What was done about it."""

    related: Given[EventObject] = None
    """Another object that it has to do with."""

    reporting_component: Given[String] = None
    """The program that noticed."""

    reporting_instance: Given[String] = None
    """The copy of that program."""


class LeaseSpec(Fields):
    """Who holds it, since when, and for how long."""

    holder_identity: String | None = None
    """Who holds it; empty when nobody does."""

    lease_duration_seconds: Annotated[Int32, Field(ge=1)] | None = None
    """How long others wait after the last renewal that they saw."""

    acquire_time: MicroTime | None = None
    """When its holder took it."""

    renew_time: MicroTime | None = None
    """When its holder renewed it last."""

    lease_transitions: Annotated[Int32, Field(ge=0)] | None = None
    """How often it went from one holder to another."""

    strategy: String | None = None
    """Kept; no effect on one machine."""

    preferred_holder: String | None = None
    """Kept; no effect on one machine."""


class Lease(ApiObject):
    """The right to do something that one of several may do at a time."""

    spec: Given[LeaseSpec] = None
    """Who has it."""


class SeldonDeployment(ApiObject):
    """Versions of a model, served side by side, each with its share of the requests."""

    spec: SeldonDeploymentSpec
    """What should be served."""

    status: Given[SeldonDeploymentStatus] = None
    """What is served now. The cluster writes it."""


class ScaleSpec(Fields):
    """The replicas that are wanted."""

    replicas: Int32 = 0
    """How many pods each predictor shall have that does not say so itself."""


class ScaleStatus(Fields):
    """The replicas that there are."""

    replicas: Int32 = 0
    """How many pods of the first predictor are ready."""

    selector: Given[String] = None
    """The labels of the pods."""


class Scale(ApiObject):
    """The replicas of a SeldonDeployment, as kubectl scale reads and writes them."""

    spec: Given[ScaleSpec] = None
    """What is wanted."""

    status: Given[ScaleStatus] = None
    """What there is. The cluster writes it."""
