"""What the API tells of itself: the OpenAPI v3 documents, one for each group.

::

    /openapi/v3                                    which documents there are, each with its digest
    /openapi/v3/api/v1                             Namespaces, Secrets, Pods, ...
    /openapi/v3/apis/machinelearning.seldon.io/v1  SeldonDeployments

`kubectl explain` prints their schemas, and kubectl looks there for what a request may say before it
sends one. The schemas come from the models that check what is sent, so the two cannot disagree. A
digest names the content: a client that asks with it may keep the answer for ever.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from abserve.cluster.api import kinds
from abserve.cluster.api.kinds import SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.patches import media_types
from abserve.cluster.api.schemas import MODELS, Scale

_SCHEMAS = "#/components/schemas/"

_READING = ("fieldSelector", "labelSelector", "resourceVersion", "timeoutSeconds", "watch")
_WRITING = ("dryRun", "fieldManager", "fieldValidation")
_DELETING = ("dryRun", "propagationPolicy")

V2 = {"swagger": "2.0", "info": {"title": "see /openapi/v3", "version": "v1"}, "paths": {}}
"""The document of ``/openapi/v2``: that there is none."""

V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_PROTOBUF = b"\n\x032.0"
"""The same as kubectl wants it, whose field 1 is the version of OpenAPI."""


@dataclass(frozen=True, slots=True)
class Published:
    """A document as it is sent, and the digest of it."""

    body: bytes
    digest: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Published":
        body = json.dumps(document).encode()
        return cls(body, hashlib.sha256(body).hexdigest()[:32].upper())


@functools.cache
def documents() -> Mapping[str, Published]:
    """Return the documents by what follows ``/openapi/v3/`` in their paths."""
    return {
        kinds.root_of(group).removeprefix("/"): Published.of(_document(group))
        for group in ("", *kinds.groups())
    }


def index() -> dict[str, Any]:
    """Return the document of ``/openapi/v3``."""
    return {
        "paths": {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={document.digest}"}
            for name, document in documents().items()
        }
    }


def _document(group: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for kind in kinds.kinds_of(group):
        paths |= _paths(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "abserve, the local cluster", "version": "v1"},
        "paths": paths,
        "components": {"schemas": _schemas(group)},
    }


# Schemas.


class _OpenApiSchema(GenerateJsonSchema):
    """Schemas as Kubernetes writes them: what may be left out is not null, and has no default."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _schemas(group: str) -> dict[str, Any]:
    """Return the schemas of a group's kinds, their lists and all that they are made of."""
    own = kinds.kinds_of(group)
    models = [MODELS[kind] for kind in own] + [Scale] * (SELDON_DEPLOYMENT in own)
    _, generated = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=f"{_SCHEMAS}{_prefix(group)}{{model}}",
        schema_generator=_OpenApiSchema,
    )
    schemas = {
        _prefix(group) + name: _converted(schema) for name, schema in generated["$defs"].items()
    }
    for kind in own:
        name = _schema_name(kind)
        schemas[name]["x-kubernetes-group-version-kind"] = [kind.version_kind]
        schemas[f"{name}List"] = _list_schema(kind)
    if SELDON_DEPLOYMENT in own:
        schemas[_prefix(group) + Scale.__name__]["x-kubernetes-group-version-kind"] = [kinds.SCALE]
    return schemas


def _converted(schema: Any) -> Any:
    """Return a schema of pydantic's in the subset that Kubernetes has."""
    if isinstance(schema, list):
        return [_converted(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {
        key: _converted(each)
        for key, each in schema.items()
        if key not in {"title", "const", "additionalProperties", "properties"}
    }
    if "properties" in schema:
        result["properties"] = {
            name: _converted(each) for name, each in schema["properties"].items()
        }
    if "description" in schema:
        result["description"] = " ".join(schema["description"].split())
    if "const" in schema:
        result["enum"] = [schema["const"]]
    match schema.get("additionalProperties"):
        case True:
            result["x-kubernetes-preserve-unknown-fields"] = True
        case dict(values):
            result["additionalProperties"] = _converted(values)
    # OpenAPI 3.0 reads nothing beside a reference.
    if len(result) > 1 and "$ref" in result:
        result["allOf"] = [{"$ref": result.pop("$ref")}]
    return result


def _list_schema(kind: Kind) -> dict[str, Any]:
    return {
        "description": f"A list of {kind.plural}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version."},
            "kind": {"type": "string", "description": "The kind of object."},
            "metadata": {"type": "object", "description": "From which version on to watch."},
            "items": {
                "type": "array",
                "description": "The objects, by namespace and name.",
                "items": {"$ref": f"{_SCHEMAS}{_schema_name(kind)}"},
            },
        },
        "x-kubernetes-group-version-kind": [
            {**kind.version_kind, "kind": f"{kind.name}List"},
        ],
    }


def _schema_name(kind: Kind) -> str:
    return _prefix(kind.group) + kind.name


def _prefix(group: str) -> str:
    """Return how the names of a group's schemas begin: as those of Kubernetes do."""
    return ".".join([*reversed((group or "core.api.k8s.io").split(".")), "v1."])


# Paths.


def _paths(kind: Kind) -> dict[str, Any]:
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{kind.root}{scope}/{kind.plural}"
    single = f"{collection}/{{name}}"
    reference = f"{_SCHEMAS}{_schema_name(kind)}"
    listing = _operation(kind.version_kind, "list", f"{reference}List", _READING)
    paths = {
        collection: {"get": listing},
        single: dict(_operations(kind, kind.verbs, kind.version_kind, reference)),
    }
    if kind.namespaced:
        paths[f"{kind.root}/{kind.plural}"] = {"get": listing}
    if "deletecollection" in kind.verbs:
        parameters = ("fieldSelector", "labelSelector", *_DELETING)
        delete = _operation(kind.version_kind, "deletecollection", None, parameters)
        paths[collection]["delete"] = delete
    if "create" in kind.verbs:
        create = _operation(kind.version_kind, "post", reference, _WRITING, "application/json")
        paths[collection]["post"] = create
    # The other subresources, of pods, are no objects.
    for name, version_kind, of in (
        ("status", kind.version_kind, reference),
        ("scale", kinds.SCALE, f"{_SCHEMAS}{_prefix(kind.group)}{Scale.__name__}"),
    ):
        if name in kind.subresources:
            verbs = kinds.SUBRESOURCES[name].verbs
            paths[f"{single}/{name}"] = dict(_operations(kind, verbs, version_kind, of))
    return {path: {**operations, **_path_parameters(path)} for path, operations in paths.items()}


def _path_parameters(path: str) -> dict[str, Any]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("namespace", "name")
        if f"{{{name}}}" in path
    ]
    return {"parameters": named} if named else {}


def _operations(
    kind: Kind, verbs: Sequence[str], version_kind: Mapping[str, str], reference: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield method and operation of those `verbs` that are for one object."""
    if "get" in verbs:
        yield "get", _operation(version_kind, "get", reference, ())
    if "update" in verbs:
        yield "put", _operation(version_kind, "put", reference, _WRITING, "application/json")
    if "patch" in verbs:
        operation = _operation(
            version_kind, "patch", reference, (*_WRITING, "force"), *media_types(kind)
        )
        yield "patch", operation
    if "delete" in verbs:
        yield "delete", _operation(version_kind, "delete", None, _DELETING)


def _operation(
    version_kind: Mapping[str, str],
    action: str,
    reference: str | None,
    parameters: Sequence[str],
    *body_types: str,
) -> dict[str, Any]:
    """Return an operation that takes and answers what `reference` describes; None is a Status."""
    schema = {"schema": {"$ref": reference}} if reference else {}
    operation: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in parameters
        ],
        "responses": {"200": {"description": "OK", "content": {"application/json": schema}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": version_kind,
    }
    if body_types:
        operation["requestBody"] = {"content": dict.fromkeys(body_types, schema)}
    return operation
