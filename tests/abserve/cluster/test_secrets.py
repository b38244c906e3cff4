from typing import Any

import pytest

from abserve.cluster.api.status import ApiError
from abserve.cluster.secrets import decoded, normalised, secret


def test_a_secret_holds_its_values_in_base64() -> None:
    made = secret("shop", "key", {"password": "grün"})
    assert made["metadata"] == {"name": "key", "namespace": "shop"}
    assert made["data"] == {"password": "Z3LDvG4="}


def test_decoding_gives_the_values_back() -> None:
    assert decoded(secret("shop", "key", {"a": "", "b": "x\ny"})) == {"a": "", "b": "x\ny"}


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": {}}])
def test_a_secret_may_be_empty(document: dict) -> None:
    assert decoded(normalised(document)) == {}


def test_text_is_stored_as_base64() -> None:
    kept = normalised({"stringData": {"a": "new"}, "data": {"b": "b2xk"}})
    assert "stringData" not in kept
    assert decoded(kept) == {"a": "new", "b": "old"}


def test_text_wins_over_base64_of_the_same_key() -> None:
    assert decoded(normalised({"stringData": {"a": "new"}, "data": {"a": "b2xk"}})) == {"a": "new"}


def test_a_secret_of_no_type_is_opaque() -> None:
    assert normalised({})["type"] == "Opaque"


def test_the_type_of_a_secret_is_kept() -> None:
    assert normalised({"type": "kubernetes.io/basic-auth"})["type"] == "kubernetes.io/basic-auth"


@pytest.mark.parametrize("value", ["not base64!", "YQ", "/w==", "é"])
def test_what_is_no_base64_of_text_is_refused(value: str) -> None:
    with pytest.raises(ApiError, match=r"data\[a\] .* write it in stringData") as caught:
        normalised({"data": {"a": value}})
    assert caught.value.code == 422


@pytest.mark.parametrize("field", ["data", "stringData"])
@pytest.mark.parametrize("entries", [["a"], "a", {"a": 5}, {"a": None}, {"a": {"b": "c"}}])
def test_values_that_are_no_text_are_refused(field: str, entries: Any) -> None:
    with pytest.raises(ApiError, match=f"{field} of the Secret must map") as caught:
        normalised({field: entries})
    assert caught.value.code == 422


def test_a_refusal_does_not_tell_the_secret() -> None:
    with pytest.raises(ApiError) as caught:
        normalised({"data": {"password": "hunter2!"}})
    assert "hunter2" not in str(caught.value.status)
