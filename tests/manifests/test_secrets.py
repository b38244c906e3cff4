"""Where Secrets come from: names in git, values in a cloud's store, and who may read them there."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT, rendered

ENVIRONMENTS = ["staging", "production"]
CLOUDS = ["aws", "gcp"]
# What AWS Secrets Manager and Google's Secret Manager both take.
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
ALLOWED = {
    "aws": (ROOT / "infrastructure/eks/identity.tf", r":secret:(abserve-[^*]+-)\*"),
    "gcp": (ROOT / "infrastructure/gke/identity.tf", r"/secrets/(abserve-[^\\]+-)\\"),
}


@cache
def documents(environment: str, cloud: str) -> list[dict[str, Any]]:
    """Return what an environment's cluster is given in this cloud, as Flux fills it in."""
    folders = [f"overlays/{environment}/access", f"overlays/{environment}/jobs"]
    folders.append(f"infrastructure/{cloud}/configs")
    found = [each for folder in folders for each in rendered(MANIFESTS / folder)]
    filled: list[dict[str, Any]] = json.loads(
        json.dumps(found).replace("${environment}", environment)
    )
    return filled


def external_secrets(environment: str, cloud: str) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each
        for each in documents(environment, cloud)
        if each["kind"] == "ExternalSecret"
    }


def keys(environment: str, cloud: str) -> Iterator[str]:
    for each in external_secrets(environment, cloud).values():
        for data in each["spec"].get("data", []):
            yield data["remoteRef"]["key"]
        for data in each["spec"].get("dataFrom", []):
            yield data["extract"]["key"]


def prefix(environment: str, cloud: str) -> str:
    """Return how names begin that External Secrets may read, by what the module says."""
    file, pattern = ALLOWED[cloud]
    (found,) = re.findall(pattern, file.read_text())
    return str(found).replace("${var.environment}", environment)


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_name_is_one_that_the_clouds_take_and_that_may_be_read(
    environment: str, cloud: str
) -> None:
    found = set(keys(environment, cloud))
    assert f"abserve-{environment}-model-repository" in found
    for key in found:
        assert NAME.fullmatch(key), key
        assert key.startswith(prefix(environment, cloud)), key


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_environment_may_read_what_is_anothers(cloud: str) -> None:
    for one, other in (ENVIRONMENTS, ENVIRONMENTS[::-1]):
        assert not any(each.startswith(prefix(other, cloud)) for each in keys(one, cloud))


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_store_serves_the_namespaces_that_ask_it_and_no_others(
    environment: str, cloud: str
) -> None:
    (store,) = [
        each for each in documents(environment, cloud) if each["kind"] == "ClusterSecretStore"
    ]
    asking = set()
    for each in external_secrets(environment, cloud).values():
        named = each["spec"]["secretStoreRef"]
        assert named == {"kind": "ClusterSecretStore", "name": store["metadata"]["name"]}
        asking.add(each["metadata"]["namespace"])
    (condition,) = store["spec"]["conditions"]
    assert set(condition["namespaces"]) == asking


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_serves_goes_on_if_an_external_secret_is_removed_by_mistake(environment: str) -> None:
    for name, each in external_secrets(environment, "aws").items():
        assert each["spec"]["target"] == {
            "name": name,
            "creationPolicy": "Owner",
            "deletionPolicy": "Retain",
        }


def test_what_models_and_jobs_name_is_made() -> None:
    made = set(external_secrets("production", "aws"))
    assert {"model-repository", "feedback-key", "signing-private-key"} <= made
    # In a cloud the jobs may write by who they are.
    assert "model-repository-writer" not in made


def test_no_secret_is_in_git() -> None:
    for file in MANIFESTS.rglob("*.yaml"):
        for each in yaml.safe_load_all(file.read_text()):
            if isinstance(each, dict):
                assert each.get("kind") != "Secret", file
