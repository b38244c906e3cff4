"""What all kinds have."""

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from abserve.schema import Value
from abserve.seldon.containers import FreeForm, Given, Int64, String, Strings


class Fields(Value):
    model_config = ConfigDict(
        alias_generator=to_camel, protected_namespaces=(), use_attribute_docstrings=True
    )


class ObjectMeta(Fields):
    """What Kubernetes keeps of every object."""

    name: String
    """Its name, the only one of its kind in the namespace: lower-case letters, digits and '-'."""

    namespace: Given[String] = None
    """The namespace it is in."""

    labels: Strings | None = None
    """Words to select it by, as kubectl -l does."""

    annotations: Strings | None = None
    """Anything to be kept with it that nobody selects by."""

    uid: Given[String] = None
    """Tells it from others of its name, before and after it. The cluster writes it."""

    resource_version: Given[String] = None
    """Names its newest change. An update that names an older one is refused. The cluster writes
    it."""

    generation: Given[Int64] = None
    """Counts the changes of its spec. The cluster writes it."""

    creation_timestamp: String | None = None
    """When it was made. The cluster writes it."""

    deletion_timestamp: String | None = None
    """When it was told to go. The cluster writes it."""

    managed_fields: tuple[FreeForm, ...] | None = None
    """Who set which of its fields. The cluster writes it."""

    deletion_grace_period_seconds: Given[Int64] = None
    """How long it may take to go, in seconds. The cluster writes it, of pods."""

    finalizers: tuple[String, ...] | None = None
    """Kept; no effect on one machine."""

    generate_name: Given[String] = None
    """Kept; no effect on one machine."""

    owner_references: tuple[FreeForm, ...] | None = None
    """What it belongs to, as a pod does to its SeldonDeployment. Kept of other objects; no effect
    on one machine."""

    self_link: Given[String] = None
    """Kept; no effect."""


class ApiObject(Fields):
    api_version: String
    """The group and version of the schema."""

    kind: String
    """The kind of object."""

    metadata: ObjectMeta
    """Name, labels and what Kubernetes itself writes."""
