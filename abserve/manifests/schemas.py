"""Whether a document has the fields of its kind, and no others.

Kubernetes' own kinds are held against the schemas of one Kubernetes version, as the package
``kubernetes-validate`` brings them: strict, because the API drops an unknown field without a word.

Kinds that charts bring are held against what ``kinds/*.json`` says of the releases that this
repository pins: fields, types, enumerations. CustomResourceDefinitions that are handed over come
first; a cluster may run other releases, and other charts.

Without a definition a SeldonDeployment is still read strictly: Seldon's fields as `abserve.seldon`
knows them, its pods as Kubernetes 1.25 does, whose fields Seldon's last Apache-2.0 release has.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

from abserve.errors import ManifestError
from abserve.manifests.documents import (
    Document,
    entries,
    group_of,
    kind_of,
    mapping,
    yaml_documents,
)

KUBERNETES = "1.31"
_SELDON_KUBERNETES = "1.25"

_LONGEST = 300

_BUILT_IN = re.compile(r"[a-z]*|[a-z.]+\.k8s\.io")
# Groups of projects that are installed as CRDs although their names end like Kubernetes' own.
_NOT_BUILT_IN = ("gateway.networking.k8s.io", "metrics.k8s.io", "snapshot.storage.k8s.io")

Schema = Mapping[str, Any]


class Schemas:
    """All the schemas there are to hold documents against.

    Parameters
    ----------
    kubernetes : str
        The version of Kubernetes, such as ``1.31``.
    definitions : iterable of Path
        Files with CustomResourceDefinitions, or folders of such files.

    Raises
    ------
    ManifestError
        If the version is unknown, or a file holds no definition.
    """

    def __init__(self, kubernetes: str = KUBERNETES, definitions: tuple[Path, ...] = ()) -> None:
        self.kubernetes = kubernetes
        _folder(kubernetes)
        self._of_custom = dict(_custom(definitions))
        self._sound: set[tuple[str, str]] = set()

    def knows(self, document: Document) -> bool:
        """Tell whether there is a schema for the document's kind."""
        return self._validator(document) is not None

    def faults(self, document: Document) -> Iterator[str]:
        """Yield what is wrong with a document's fields, each with its path."""
        validator = self._validator(document)
        if validator is None:
            if is_built_in(document):
                yield (
                    f"Kubernetes {self.kubernetes} has no kind {kind_of(document)} in "
                    f"{document.get('apiVersion')}; correct apiVersion or kind"
                )
            return
        # Errors repeat the values that they refuse, and a Secret's are told to nobody.
        yield from _told(validator, document, shows_values=kind_of(document) != "Secret")

    def seldon_pod_faults(self, document: Document) -> Iterator[str]:
        """Yield what is wrong with the pods of a SeldonDeployment.

        Nothing, where its definition was handed over, which says the same of them.
        """
        if self.knows(document):
            return
        validator = self._seldon_pods
        for index, predictor in enumerate(entries(document, "spec", "predictors")):
            for position, pod in enumerate(entries(predictor, "componentSpecs")):
                spec = mapping(pod, "spec")
                where = f"spec.predictors[{index}].componentSpecs[{position}].spec"
                yield from _told(validator, spec, where)

    @cached_property
    def _seldon_pods(self) -> jsonschema.Draft202012Validator:
        found = _kubernetes_validator(_SELDON_KUBERNETES, "podspec-v1.json")
        if found is None:
            raise ManifestError(
                f"kubernetes-validate has no schema of pods of Kubernetes {_SELDON_KUBERNETES}; "
                "install a release that has"
            )
        return found

    def _handed_over(self, key: tuple[str, str]) -> jsonschema.Draft202012Validator | None:
        found = self._of_custom.get(key)
        if found is not None and key not in self._sound:
            # A cluster has hundreds of definitions, and a tree needs a few.
            _check(key, mapping(found.schema))
            self._sound.add(key)
        return found

    def _validator(self, document: Document) -> jsonschema.Draft202012Validator | None:
        version = str(document.get("apiVersion"))
        key = version, kind_of(document)
        custom = self._handed_over(key) or _shipped().get(key)
        if custom is not None or not is_built_in(document):
            return custom
        group, slash, number = version.rpartition("/")
        prefix = f"{group.partition('.')[0]}-" if slash else ""
        return _kubernetes_validator(
            self.kubernetes, f"{kind_of(document).lower()}-{prefix}{number}.json"
        )


def _check(key: tuple[str, str], schema: Schema) -> None:
    try:
        # Whether Python reads a pattern has been seen to.
        jsonschema.Draft202012Validator.check_schema(schema, jsonschema.FormatChecker(formats=()))
    except jsonschema.SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        raise ManifestError(
            f"the definition of {' '.join(key)} is no schema: {where}: {error.message}; hand over "
            "what 'kubectl get crds -o yaml' prints"
        ) from error


def is_built_in(document: Document) -> bool:
    """Tell whether a kind is Kubernetes' own, by its API group."""
    group = group_of(document)
    return _BUILT_IN.fullmatch(group) is not None and group not in _NOT_BUILT_IN


def _folder(kubernetes: str) -> Traversable:
    try:
        root = files("kubernetes_validate") / "kubernetes-json-schema"
    except ModuleNotFoundError as error:
        raise ManifestError(
            "the package kubernetes-validate is not installed, which brings Kubernetes' schemas; "
            "pip install kubernetes-validate"
        ) from error
    folder = root / f"v{kubernetes.removeprefix('v')}.0-local-strict"
    if not folder.is_dir():
        names = (re.fullmatch(r"v(\d+\.\d+)\.0-local-strict", each.name) for each in root.iterdir())
        known = sorted((name[1] for name in names if name), key=lambda each: int(each[2:]))
        raise ManifestError(
            f"there are no schemas of Kubernetes {kubernetes}; expected one of {', '.join(known)}"
        )
    return folder


@cache
def _shipped() -> Mapping[tuple[str, str], jsonschema.Draft202012Validator]:
    """Return the schemas that this package brings, by API version and kind."""
    found = {}
    for file in (files("abserve.manifests") / "kinds").iterdir():
        content = json.loads(file.read_text(encoding="utf-8"), object_hook=_readable)
        for name, schema in content["kinds"].items():
            version, kind = name.split()
            found[version, kind] = jsonschema.Draft202012Validator(
                {**schema, "$defs": content["$defs"]}
            )
    return found


@cache
def _definitions(kubernetes: str) -> Registry[Any]:
    content = json.loads((_folder(kubernetes) / "_definitions.json").read_text())
    registry: Registry[Any] = Resource.from_contents(content) @ Registry()
    return registry


@cache
def _kubernetes_validator(kubernetes: str, file: str) -> jsonschema.Draft202012Validator | None:
    path = _folder(kubernetes) / file
    if not path.is_file():
        return None
    return jsonschema.Draft202012Validator(
        json.loads(path.read_text()), registry=_definitions(kubernetes)
    )


def _custom(
    paths: tuple[Path, ...],
) -> Iterator[tuple[tuple[str, str], jsonschema.Draft202012Validator]]:
    for path in paths:
        found = False
        for file in sorted(path.rglob("*.y*ml")) if path.is_dir() else (path,):
            try:
                documents = yaml_documents(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise ManifestError(f"{file} cannot be read as YAML: {error}") from error
            # `kubectl get crds -o yaml` prints one List of them.
            flat = [inner for each in documents for inner in entries(each, "items") or (each,)]
            for document in flat:
                if isinstance(document, dict) and kind_of(document) == "CustomResourceDefinition":
                    found = True
                    yield from _versions(document)
        if not found:
            raise ManifestError(
                f"{path} holds no CustomResourceDefinition; expected the output of "
                "'helm show crds' or 'kubectl get crds -o yaml'"
            )


def _versions(
    document: Document,
) -> Iterator[tuple[tuple[str, str], jsonschema.Draft202012Validator]]:
    spec = mapping(document, "spec")
    kind = str(mapping(spec, "names").get("kind"))
    for version in entries(spec, "versions"):
        schema = strict(mapping(version, "schema", "openAPIV3Schema"))
        # Definitions leave these to Kubernetes, and some do not name them.
        of_all = {"apiVersion": {"type": "string"}, "kind": {"const": kind}}
        properties = {**mapping(schema, "properties"), **of_all, "metadata": {"type": "object"}}
        schema = {**mapping(schema), "properties": properties}
        key = f"{spec.get('group')}/{version.get('name')}", kind
        yield key, jsonschema.Draft202012Validator(schema)


def strict(schema: Any) -> Any:
    """Return a CRD's schema as JSON Schema that refuses unknown fields, as kubectl does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = _readable({key: strict(each) for key, each in schema.items()})
    if schema.get("x-kubernetes-int-or-string"):
        # Beside the extension a CRD repeats it as anyOf, and a pattern is asked of strings only.
        result["type"] = ["integer", "string"]
        result.pop("anyOf", None)
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    if (
        isinstance(schema.get("properties"), Mapping)
        and "additionalProperties" not in schema
        and schema.get("type") == "object"
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        result["additionalProperties"] = False
    return result


def _readable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose pattern Python reads as Kubernetes does."""
    pattern = schema.get("pattern")
    if not isinstance(pattern, str):
        return schema
    # Go lets flags stand behind the anchor.
    moved = re.sub(r"^\^\((\?[ims]+)\)", r"(\1)^", pattern)
    try:
        re.compile(moved)
    except re.error:
        # What only Go's syntax has; the API server will say it.
        return {key: each for key, each in schema.items() if key != "pattern"}
    return {**schema, "pattern": moved}


def _told(
    validator: jsonschema.Draft202012Validator,
    value: Any,
    where: str = "",
    *,
    shows_values: bool = True,
) -> Iterator[str]:
    for error in validator.iter_errors(value):
        path = "".join(
            f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path
        )
        field = f"{where}{path}".lstrip(".")
        message = error.message if shows_values else f"does not fit {error.validator} of its schema"
        if len(message) > _LONGEST:
            # Where nothing of a choice fits, the message holds all that was written there.
            message = f"{message[:_LONGEST]} ..."
        yield f"{field}: {message}" if field else message
