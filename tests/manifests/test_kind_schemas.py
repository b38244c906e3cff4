"""The schemas of charts' kinds are those of the releases that we pin, made by our script."""

import json
from typing import Any

import pytest

from scripts.kind_schemas import KINDS, PROJECTS, Definitions, Module
from tests.manifests.rendering import MANIFESTS, rendered

# What a project's charts are called, where it is not as the project.
CHARTS = {
    "cert-manager": ["cert-manager"],
    "external-secrets": ["external-secrets"],
    "istio": ["base", "istiod", "gateway", "cni"],
    "keda": ["keda"],
    "prometheus-operator": ["kube-prometheus-stack"],
}


def shipped(project: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((KINDS / f"{project}.json").read_text())
    return content


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """The version of each chart that a cluster gets."""
    charts = [
        each["spec"]["chart"]["spec"]
        for each in rendered(MANIFESTS / "infrastructure/aws/controllers")
        if each["kind"] == "HelmRelease"
    ]
    return {each["chart"]: each["version"] for each in charts}


@pytest.mark.parametrize("project", CHARTS)
def test_the_schemas_are_of_the_chart_that_is_pinned(project: str, pinned: dict[str, str]) -> None:
    """Else run scripts/kind_schemas.py, whose first lines say how."""
    assert {pinned[each] for each in CHARTS[project]} == {shipped(project)["stands_for"]}


def test_the_schemas_are_of_the_flux_that_is_pinned() -> None:
    (source,) = [
        each
        for each in rendered(MANIFESTS / "clusters/base")
        if (each["kind"], each["spec"].get("url")) == ("OCIRepository", FLUX)
    ]
    assert source["spec"]["ref"]["tag"] == shipped("flux")["stands_for"]


FLUX = "oci://ghcr.io/fluxcd/flux-manifests"


@pytest.mark.parametrize("project", PROJECTS)
def test_what_is_shipped_is_what_the_script_is_told_to_make(project: str) -> None:
    told, content = PROJECTS[project], shipped(project)
    assert content["source"].endswith(f"of {told.package} {told.release} (PyPI)")
    assert content["stands_for"] == told.stands_for
    assert list(content["kinds"]) == sorted(told.kinds)


SOURCE = '''
class Port(RootModel[int]):
    root: Annotated[int, Field(ge=1, le=65535)]

Label = TypeAliasType("Label", Annotated[str, Field(pattern="^[a-z]+$")])

class Way(BaseModel):
    exact: str | None = None
    prefix: str | None = None

class WayModel(BaseModel):
    exact: str
    prefix: str | None = None

class ShopSpec(BaseModel):
    opens_at: Annotated[str, Field(alias="opensAt", min_length=1)]
    """When."""
    sign: Annotated[Literal["open", "shut"] | None, Field(alias="sign")] = None
    labels: dict[str, Label] | None = None
    ports: Annotated[list[Port] | None, Field(max_length=2)] = None
    limit: Annotated[int | str | None, Field()] = None
    way: Way | WayModel | None = None
    till: bool | None = None
    anything: Any | None = None

class Shop(Resource):
    __cloudcoil_api__: ClassVar[dict] = {}

    api_version: Annotated[Literal["a.io/v1"], Field(alias="apiVersion")] = "a.io/v1"
    kind: Literal["Shop"] = "Shop"
    metadata: ObjectMeta | None = None
    spec: ShopSpec
    status: ShopStatus | None = None
'''


def test_a_class_becomes_a_schema() -> None:
    definitions = Definitions()
    module = Module(SOURCE, definitions, newer=("*.till", "ShopSpec.sign=shut"))
    assert dict(module.kinds()) == {"a.io/v1 Shop": "Shop"}
    assert module.of_object("Shop") == {"$ref": "#/$defs/Shop"}
    assert definitions.by_name == {
        "Shop": {
            "type": "object",
            "properties": {
                "spec": {"$ref": "#/$defs/ShopSpec"},
                "status": {"type": "object"},
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
            },
            "required": ["spec"],
            "additionalProperties": False,
        },
        "ShopSpec": {
            "type": "object",
            "properties": {
                "opensAt": {"type": "string", "minLength": 1},
                "sign": {"enum": ["open"]},
                "labels": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "pattern": "^[a-z]+$"},
                },
                "ports": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "maxItems": 2,
                },
                "limit": {"type": ["integer", "string"]},
                "way": {"$ref": "#/$defs/Way"},
                "anything": {},
            },
            "required": ["opensAt"],
            "additionalProperties": False,
        },
        "Way": {
            "type": "object",
            "properties": {"exact": {"type": "string"}, "prefix": {"type": "string"}},
            "additionalProperties": False,
        },
    }


def test_an_annotation_that_the_script_cannot_read_is_refused() -> None:
    module = Module(SOURCE.replace("bool | None", "tuple[int] | None"), Definitions())
    with pytest.raises(ValueError, match=r"found tuple\[int\]; teach this script"):
        module.of_object("Shop")
