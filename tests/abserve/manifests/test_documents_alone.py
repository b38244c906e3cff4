"""Rules that look at one document: its schema, Seldon's rules, its images."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from abserve.errors import ManifestError
from abserve.manifests import Rules, Schemas, check
from abserve.manifests.documents import yaml_documents
from tests.abserve.manifests.trees import (
    DIGEST,
    checked,
    found,
    iris,
    kustomization,
    messages,
    thing,
    two,
)
from tests.abserve.seldon.documents import predictor


def configuration(**fields: object) -> dict[str, object]:
    return thing("ConfigMap", "settings", **fields)


def job(image: str) -> dict[str, object]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "one", "image": image}]}
    return thing("Job", "training", "batch/v1", spec={"template": {"spec": pod}})


def test_what_is_right_has_no_finding(tmp_path: Path) -> None:
    kustomization(tmp_path, configuration(data={"a": "b"}))
    assert checked(tmp_path).findings == ()


# Rendering.


def test_a_kustomization_that_does_not_render_is_told_with_the_reason_of_kubectl(
    tmp_path: Path,
) -> None:
    kustomization(tmp_path, resources=["nowhere.yaml"])
    (finding,) = found(tmp_path, "render")
    assert finding.file == str(tmp_path / "kustomization.yaml")
    assert "nowhere.yaml" in finding.message


def test_yaml_that_cannot_be_read_is_told_with_its_file(tmp_path: Path) -> None:
    kustomization(tmp_path, resources=["broken.yaml"])
    (tmp_path / "broken.yaml").write_text("a: [")
    (finding,) = found(tmp_path, "render")
    assert "broken.yaml" in finding.message


def test_a_kustomization_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [")
    (finding,) = found(tmp_path, "render")
    assert finding.file == str(tmp_path / "kustomization.yaml")


def test_a_folder_without_kustomization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"holds no kustomization\.yaml"):
        checked(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is no folder"):
        checked(tmp_path / "nowhere")


def test_a_missing_kubectl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kustomization(tmp_path, configuration())
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ManifestError, match="kubectl is installed neither"):
        checked(tmp_path)


# Schemas.


def test_a_field_that_the_kind_does_not_have_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, configuration(datum={"a": "b"}))
    (finding,) = found(tmp_path, "schema")
    assert (finding.subject, Path(finding.file).name) == (
        "ConfigMap/settings",
        "configmap-settings.yaml",
    )
    assert "datum" in finding.message


def test_a_value_of_the_wrong_type_is_told_with_its_path(tmp_path: Path) -> None:
    service = thing("Service", "iris", spec={"ports": [{"port": "http"}]})
    kustomization(tmp_path, service)
    (message,) = messages(tmp_path, "schema")
    assert message.startswith("spec.ports[0].port: ")


def test_a_kind_that_kubernetes_does_not_have_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, thing("Deployment", "a", "apps/v9"))
    assert "has no kind Deployment in apps/v9" in messages(tmp_path, "schema")[0]


def test_a_misspelt_field_of_seldon_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(*two(trafic=10)))
    assert any("trafic" in each for each in messages(tmp_path, "schema"))


def test_a_misspelt_field_of_a_pod_of_seldon_is_an_error(tmp_path: Path) -> None:
    pods = [{"spec": {"containers": [{"name": "iris", "image": DIGEST, "imagePulPolicy": "No"}]}}]
    kustomization(tmp_path, iris(*two(componentSpecs=pods)))
    (message,) = messages(tmp_path, "schema")
    assert message.startswith("spec.predictors[1].componentSpecs[0].spec.containers[0]: ")


DEFINITION = thing(
    "CustomResourceDefinition",
    "shops.example.com",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "example.com",
        "names": {"kind": "Shop"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "open": {"type": "boolean"},
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "note": {"type": "string", "nullable": True},
                                    # Both are Go's: flags behind the anchor, and classes by name.
                                    "sign": {"type": "string", "pattern": "^(?i)(open)$"},
                                    "code": {"type": "string", "pattern": "^\\pN$"},
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
)


def test_a_kind_without_schema_is_noted(tmp_path: Path) -> None:
    kustomization(tmp_path, thing("Shop", "corner", "example.com/v1"))
    (note,) = checked(tmp_path).findings
    assert (note.severity, note.rule) == ("note", "schema")
    assert "example.com/v1 Shop" in note.message


def test_a_definition_that_is_handed_over_is_its_schema(tmp_path: Path) -> None:
    kustomization(tmp_path / "crds", DEFINITION)
    schemas = Schemas(definitions=(tmp_path / "crds",))
    good = {"open": True, "port": "http", "note": None, "sign": "Open", "code": "7"}
    right = kustomization(tmp_path / "right", thing("Shop", "a", "example.com/v1", spec=good))
    wrong = kustomization(
        tmp_path / "wrong", thing("Shop", "a", "example.com/v1", spec={"opened": True})
    )
    assert check([right], Rules(schemas)).findings == ()
    assert "opened" in check([wrong], Rules(schemas)).findings[0].message


def test_definitions_may_be_a_list_as_kubectl_prints_it(tmp_path: Path) -> None:
    file = tmp_path / "crds.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [DEFINITION]}))
    assert Schemas(definitions=(file,)).knows(thing("Shop", "a", "example.com/v1"))


def test_a_definition_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    definition = deepcopy(DEFINITION)
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = "nonsense"
    kustomization(tmp_path / "crds", definition)
    shop = kustomization(tmp_path / "shop", thing("Shop", "a", "example.com/v1", spec={}))
    schemas = Schemas(definitions=(tmp_path / "crds",))
    with pytest.raises(ManifestError, match="Shop is no schema: properties"):
        check([shop], Rules(schemas))


def test_many_lines_are_no_excess() -> None:
    """Without aliases: what a cluster prints of its definitions may be large."""
    n_values = 2**20 + 1
    (document,) = yaml_documents(f"[{','.join('7' * n_values)}]")
    assert len(document) == n_values


def test_a_value_of_a_secret_is_not_repeated(tmp_path: Path) -> None:
    kustomization(tmp_path / "overlays/local/a", thing("Secret", "key", data={"key": 7777}))
    (message,) = messages(tmp_path, "schema")
    assert message == "data.key: does not fit type of its schema"


def test_a_file_without_definitions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("kind: ConfigMap")
    with pytest.raises(ManifestError, match="holds no CustomResourceDefinition"):
        Schemas(definitions=(tmp_path / "empty.yaml",))


def test_an_unknown_version_of_kubernetes_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"of Kubernetes 1\.5; expected one of 1\.25"):
        Schemas("1.5")


def test_a_name_that_is_none_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, thing("ConfigMap", "My_Settings"))
    assert "'My_Settings'" in messages(tmp_path, "object")[0]


# Seldon's rules, and ours.


def test_weights_that_do_not_sum_to_100_are_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(*two(traffic=20)))
    assert "traffic sums to 110" in messages(tmp_path, "admission")[0]


def test_weights_that_sum_to_100_are_none(tmp_path: Path) -> None:
    kustomization(tmp_path, iris())
    assert messages(tmp_path, "admission") == []


def test_a_weight_below_0_is_an_error_though_the_sum_is_right(tmp_path: Path) -> None:
    predictors = predictor("baseline", "v1", traffic=150), predictor("candidate", "v2", traffic=-50)
    kustomization(tmp_path, iris(*predictors))
    assert len(messages(tmp_path, "admission")) == 2


def test_graph_nodes_of_two_names_are_an_error(tmp_path: Path) -> None:
    other = {"name": "other", "modelUri": "s3://models/iris/v2"}
    pods = [{"spec": {"containers": [{"name": "other", "image": "abserve/runtimes:0.1.0"}]}}]
    kustomization(tmp_path, iris(*two(graph=other, componentSpecs=pods)))
    assert "graph nodes are named iris, other" in messages(tmp_path, "admission")[0]


def test_what_one_machine_cannot_run_is_an_error_in_local_only(tmp_path: Path) -> None:
    made = iris(*two(), transport="grpc")
    kustomization(tmp_path / "overlays/local/iris", made)
    kustomization(tmp_path / "overlays/production/iris", made)
    (finding,) = found(tmp_path, "local")
    assert "spec.transport" in finding.message
    assert finding.folders == (str(tmp_path / "overlays/local/iris"),)


# Images.


@pytest.mark.parametrize("image", ["abserve/runtimes:latest", "abserve/runtimes", "a:5000/b:main"])
def test_an_image_that_moves_is_an_error(tmp_path: Path, image: str) -> None:
    kustomization(tmp_path, job(image))
    assert image in messages(tmp_path, "image")[0]


@pytest.mark.parametrize("image", ["abserve/runtimes:0.1.0", "a:5000/b:1", DIGEST])
def test_an_image_that_stays_is_none(tmp_path: Path, image: str) -> None:
    kustomization(tmp_path, job(image))
    assert messages(tmp_path, "image") == []


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_tag_is_not_enough_where_it_counts(tmp_path: Path, environment: str) -> None:
    kustomization(tmp_path / "overlays" / environment / "jobs", job("abserve/runtimes:0.1.0"))
    assert "expected a digest" in messages(tmp_path, "image")[0]


def test_a_digest_of_the_wrong_length_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, job("abserve/runtimes@sha256:77"))
    assert "64 hexadecimal digits" in messages(tmp_path, "image")[0]


def test_an_image_that_is_not_published_is_a_note_until_it_has_to_be(tmp_path: Path) -> None:
    image = f"ghcr.io/abserve/runtimes@sha256:{'0' * 64}"
    kustomization(tmp_path / "overlays/production/jobs", job(image))
    (note,) = checked(tmp_path).findings
    assert (note.severity, note.rule) == ("note", "image")
    assert "publish the image" in messages(tmp_path, "image", published=True)[0]


# Secrets.


def test_a_secret_in_git_is_an_error_but_for_one_machine(tmp_path: Path) -> None:
    secret = thing("Secret", "key", stringData={"key": "7"})
    kustomization(tmp_path / "overlays/local/iris", secret)
    kustomization(tmp_path / "overlays/production/iris", secret)
    (finding,) = found(tmp_path, "secret")
    assert finding.folders == (str(tmp_path / "overlays/production/iris"),)
    assert "7" not in finding.message
