"""Small trees of kustomizations, right in all but what a test changes."""

from pathlib import Path
from typing import Any

import yaml

from abserve.manifests import Checked, Finding, Rules, Schemas, Severity, check
from tests.abserve.seldon.documents import document, predictor

Document = dict[str, Any]

WEIGHTS = [
    {"op": "test", "path": "/spec/predictors/0/name", "value": "baseline"},
    {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 70},
    {"op": "test", "path": "/spec/predictors/1/name", "value": "candidate"},
    {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 30},
]
DIGEST = f"ghcr.io/abserve/runtimes@sha256:{'7' * 64}"


def iris(*predictors: Document, **spec: Any) -> Document:
    made = document(*predictors, **spec)
    made["metadata"] = {"name": "iris"}
    return made


def two(**of_candidate: Any) -> tuple[Document, Document]:
    """Return the usual predictors, the candidate with other fields."""
    return (
        predictor("baseline", "v1", traffic=90),
        predictor("candidate", "v2", **{"traffic": 10, **of_candidate}),
    )


def thing(kind: str, name: str, api_version: str = "v1", **fields: Any) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def kustomization(folder: Path, *documents: Document, **fields: Any) -> Path:
    """Write a kustomization of some documents, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for each in documents:
        names.append(f"{each['kind']}-{each['metadata']['name']}.yaml".lower())
        (folder / names[-1]).write_text(yaml.safe_dump(each))
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **fields,
        "resources": [*names, *fields.get("resources", [])],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def overlay(
    root: Path, environment: str, patch: object, *documents: Document, **fields: Any
) -> Path:
    """Write an overlay of ``base/iris`` that patches it."""
    folder = root / "overlays" / environment / "iris"
    patches = [{"patch": yaml.safe_dump(patch), "target": {"kind": "SeldonDeployment"}}]
    return kustomization(
        folder, *documents, resources=["../../../base/iris"], patches=patches, **fields
    )


def checked(folder: Path, tree: Path | None = None, **rules: Any) -> Checked:
    return check([folder], Rules(Schemas(), **rules), tree=tree)


def found(folder: Path, rule: str, tree: Path | None = None, **rules: Any) -> list[Finding]:
    """Return the errors of one rule."""
    every = checked(folder, tree, **rules).findings
    return [each for each in every if each.rule == rule and each.severity is Severity.ERROR]


def messages(folder: Path, rule: str, tree: Path | None = None, **rules: Any) -> list[str]:
    return [each.message for each in found(folder, rule, tree, **rules)]
