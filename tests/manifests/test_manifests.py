"""Every overlay renders, and what it renders is what Seldon and the local cluster take."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from abserve.seldon import SeldonDeployment, admit, supported

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
CRD = ROOT.parent / "shared" / "contracts" / "seldondeployment-crd-v1.yaml"
OVERLAYS = sorted(
    each.parent.relative_to(MANIFESTS).as_posix()
    for each in MANIFESTS.glob("overlays/**/kustomization.yaml")
)
LOCAL = [each for each in OVERLAYS if each.startswith("overlays/local/")]


def rendered(folder: Path) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, check=False, text=True, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def deployments(overlay: str) -> list[dict[str, Any]]:
    return [each for each in rendered(MANIFESTS / overlay) if each["kind"] == "SeldonDeployment"]


def strict(schema: Any) -> Any:
    """Return a CRD's schema as JSON Schema that refuses unknown fields, as kubectl does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(each) for key, each in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        # Beside the extension the CRD repeats it as anyOf, and some fields add a pattern, which
        # JSON Schema asks of strings only, as Kubernetes does.
        result["type"] = ["integer", "string"]
        result.pop("anyOf", None)
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    if (
        "properties" in schema
        and "additionalProperties" not in schema
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        result["additionalProperties"] = False
    return result


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    if not CRD.exists():
        pytest.skip(f"the SeldonDeployment CRD is not at {CRD}")
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema = next(each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1")
    schema = strict(schema)
    # The CRD leaves metadata to Kubernetes.
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(validator: jsonschema.Draft202012Validator, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_there_are_overlays() -> None:
    assert "overlays/local/iris" in OVERLAYS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_fits_the_real_crd(
    validator: jsonschema.Draft202012Validator, overlay: str
) -> None:
    assert [fault for each in deployments(overlay) for fault in faults(validator, each)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_admitted(overlay: str) -> None:
    for each in deployments(overlay):
        admit(SeldonDeployment.parse(each))


@pytest.mark.parametrize("overlay", LOCAL)
def test_a_local_overlay_runs_on_one_machine(overlay: str) -> None:
    for each in deployments(overlay):
        supported(SeldonDeployment.parse(each))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_graph_node_has_the_container_of_its_name(overlay: str) -> None:
    for each in deployments(overlay):
        for predictor in SeldonDeployment.parse(each).spec.predictors:
            assert predictor.model_container.name == predictor.graph.name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_request_fits_all_predictors(overlay: str) -> None:
    for each in deployments(overlay):
        nodes = {each.graph.name for each in SeldonDeployment.parse(each).spec.predictors}
        assert len(nodes) == 1


def test_iris_is_split_90_to_10_between_two_versions() -> None:
    (iris,) = deployments("overlays/local/iris")
    assert [
        (each["name"], each["graph"]["modelUri"], each["traffic"])
        for each in iris["spec"]["predictors"]
    ] == [("baseline", "s3://models/iris/v1", 90), ("candidate", "s3://models/iris/v2", 10)]


def test_an_overlay_fails_when_the_predictors_of_the_base_moved(tmp_path: Path) -> None:
    base = rendered(MANIFESTS / "base/iris")[0]
    base["spec"]["predictors"].reverse()
    (tmp_path / "iris.yaml").write_text(yaml.safe_dump(base))
    overlay = MANIFESTS / "overlays/local/iris"
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    kustomization["resources"] = ["iris.yaml"]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    (tmp_path / "weights.yaml").write_text((overlay / "weights.yaml").read_text())
    with pytest.raises(AssertionError, match="test"):
        rendered(tmp_path)


def test_a_pod_of_iris_keeps_to_the_restricted_profile() -> None:
    (iris,) = deployments("overlays/local/iris")
    for predictor in iris["spec"]["predictors"]:
        pod = predictor["componentSpecs"][0]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_the_crd_refuses_what_it_should(validator: jsonschema.Draft202012Validator) -> None:
    (iris,) = deployments("overlays/local/iris")
    wrong = deepcopy(iris)
    wrong["spec"]["predictors"][0]["traffic"] = "90"
    wrong["spec"]["predictors"][1]["graph"]["modelURI"] = "s3://models/iris/v2"
    assert len(faults(validator, wrong)) == 2


def test_numbers_and_strings_are_both_taken_where_kubernetes_takes_both(
    validator: jsonschema.Draft202012Validator,
) -> None:
    (iris,) = deployments("overlays/local/iris")
    pod = iris["spec"]["predictors"][0]["componentSpecs"][0]
    pod["pdbSpec"] = {"maxUnavailable": "10%", "minAvailable": 1}
    pod["metadata"] = {"creationTimestamp": None}
    pod["spec"]["containers"][0]["resources"]["limits"] = {"cpu": 1, "memory": "1Gi"}
    assert faults(validator, iris) == []
    pod["spec"]["containers"][0]["resources"]["limits"] = {"memory": "1 Gigabyte"}
    assert len(faults(validator, iris)) == 1
