"""Seldon's own definition of a SeldonDeployment, to hold documents of ours against.

It is not part of this project; where it is not beside the checkout, what needs it is skipped.
"""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from abserve.manifests.schemas import strict

CRD = Path(__file__).parents[3] / "shared/contracts/seldondeployment-crd-v1.yaml"


@cache
def crd_schema() -> dict[str, Any]:
    """Return the schema of v1, as it stands in the definition."""
    if not CRD.exists():
        pytest.skip(f"the SeldonDeployment CRD is not at {CRD}")
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema: dict[str, Any] = next(
        each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1"
    )
    return schema


@cache
def crd_validator() -> jsonschema.Draft202012Validator:
    schema = strict(crd_schema())
    # The CRD leaves metadata to Kubernetes.
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def crd_faults(document: Any) -> list[str]:
    """Return what the API server of a real cluster would find wrong with a SeldonDeployment."""
    errors = crd_validator().iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]
