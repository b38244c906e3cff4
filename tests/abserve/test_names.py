import pytest

from abserve.errors import DefinitionError, RepositoryError
from abserve.names import (
    check_model_name,
    check_served_model_name,
    check_version_name,
    is_version_name,
    version_number,
)


@pytest.mark.parametrize("name", ["iris", "a", "7", "breast_cancer", "iris-2", "a" * 63])
def test_a_plain_name_is_a_models(name: str) -> None:
    assert check_model_name(name, DefinitionError) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Iris",
        "iris.v1",
        "../iris",
        "a/b",
        "iris ",
        "iris\n",
        "-iris",
        "iris_",
        "ïris",
        "a" * 64,
    ],
)
def test_a_name_that_would_need_escaping_is_no_models(name: str) -> None:
    with pytest.raises(DefinitionError, match="is no model name; expected at most 63"):
        check_model_name(name, DefinitionError)


@pytest.mark.parametrize("name", ["iris", "7", "breast-cancer", "a" * 44])
def test_a_name_that_a_container_may_bear_is_a_served_models(name: str) -> None:
    assert check_served_model_name(name, DefinitionError) == name


@pytest.mark.parametrize(
    ("name", "instead"), [("breast_cancer", "breast-cancer"), ("a" * 45, "a" * 44)]
)
def test_a_name_that_no_container_may_bear_is_no_served_models(name: str, instead: str) -> None:
    with pytest.raises(DefinitionError, match=f"no name for a model .* to '{instead}'"):
        check_served_model_name(name, DefinitionError)


@pytest.mark.parametrize("name", ["v1", "v10", "v999999999"])
def test_v_and_a_whole_number_is_a_versions_name(name: str) -> None:
    assert check_version_name(name, RepositoryError) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "v",
        "1",
        "v0",
        "v01",
        "V1",
        "v-1",
        "v1.0",
        "v1 ",
        "v1\n",
        "v\N{ARABIC-INDIC DIGIT ONE}",
        "v1000000000",
    ],
)
def test_anything_else_is_no_versions_name(name: str) -> None:
    assert not is_version_name(name)
    with pytest.raises(RepositoryError, match="is no version; expected v1, v2, v3"):
        check_version_name(name, RepositoryError)


def test_versions_are_ordered_by_number_not_by_letter() -> None:
    assert sorted(["v10", "v9", "v1"], key=version_number) == ["v1", "v9", "v10"]
