"""A version that a manifest names is in the model repository, and signed."""

from pathlib import Path

import pytest

from abserve.artifacts import METADATA, MODEL_SETTINGS, seal, to_json
from abserve.keys import new_private_key, write_key_pair
from abserve.manifests import Versions
from abserve.repository import Repository
from abserve.signatures import signed
from tests.abserve.cli.published import metadata
from tests.abserve.manifests.trees import checked, iris, kustomization, messages, two


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository((tmp_path / "repository").as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kustomization(tmp_path / "manifests", iris())


def publish(
    repository: Repository, version: str, key: Path | None = None, name: str = "iris"
) -> None:
    said = to_json(metadata(version))
    files = seal({METADATA: said, MODEL_SETTINGS: to_json({"name": name})})
    repository.publish("iris", version, signed(files, key) if key else files)


def test_versions_that_are_there_are_no_finding(folder: Path, repository: Repository) -> None:
    publish(repository, "v1")
    publish(repository, "v2")
    assert messages(folder, "version", versions=Versions(repository)) == []


def test_a_version_that_is_not_there_is_an_error(folder: Path, repository: Repository) -> None:
    publish(repository, "v1")
    (message,) = messages(folder, "version", versions=Versions(repository))
    assert message.startswith("spec.predictors[1].graph.modelUri: ")
    assert "has no iris v2; there: v1" in message


def test_a_version_that_nobody_signed_is_an_error(
    folder: Path, repository: Repository, tmp_path: Path
) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    write_key_pair(new_private_key(), private, public)
    publish(repository, "v1", private)
    publish(repository, "v2")
    (message,) = messages(folder, "version", versions=Versions(repository, public))
    assert f"{repository.url}/iris/v2 holds no signature.json" in message


def test_a_version_that_is_served_under_another_name_is_an_error(
    folder: Path, repository: Repository
) -> None:
    publish(repository, "v1")
    publish(repository, "v2", name="iris-2")
    (message,) = messages(folder, "version", versions=Versions(repository))
    assert "is served as 'iris-2'" in message


def test_a_uri_that_names_no_version_is_an_error(tmp_path: Path, repository: Repository) -> None:
    publish(repository, "v1")
    folder = kustomization(
        tmp_path / "manifests", iris(*two(graph={"name": "iris", "modelUri": "s3://models/iris"}))
    )
    assert (
        "expected a version's folder"
        in (messages(folder, "version", versions=Versions(repository))[0])
    )


def test_without_a_repository_it_is_noted_that_nobody_looked(folder: Path) -> None:
    (note,) = checked(folder).findings
    assert (note.severity, note.rule) == ("note", "version")
    assert "--repository" in note.message


def test_without_a_key_it_is_noted_that_no_signature_was_checked(
    folder: Path, repository: Repository
) -> None:
    publish(repository, "v1")
    publish(repository, "v2")
    (note,) = checked(folder, versions=Versions(repository)).findings
    assert "--public-key" in note.message
