"""The kinds that clients write."""

from abserve.cluster.api.schemas.base import ApiObject, Fields
from abserve.seldon.containers import Bool, FreeForm, Given, Int32, String, Strings
from abserve.seldon.resource import SeldonDeploymentSpec
from abserve.seldon.status_fields import SeldonDeploymentStatus


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
