import pytest

from abserve.cluster.api.protobuf import CONTENT_TYPE, decode
from abserve.cluster.api.status import ApiError
from tests.abserve.cluster.asgi import Client

MAGIC = b"k8s\x00"


def field(number: int, content: bytes | str) -> bytes:
    """Return a field that holds text, bytes or a message, on the wire."""
    value = content.encode() if isinstance(content, str) else content
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def entry(key: str, value: bytes | str) -> bytes:
    """Return the message of one entry of a map."""
    return field(1, key) + field(2, value)


def sent(kind: str, message: bytes) -> bytes:
    """Return an object as kubectl sends it."""
    return MAGIC + field(1, field(1, "v1") + field(2, kind)) + field(2, message)


NAMED = field(1, field(1, "team-a"))


def test_a_namespace_is_read() -> None:
    assert decode(sent("Namespace", NAMED)) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team-a"},
    }


def test_metadata_is_read() -> None:
    metadata = (
        field(1, "key")
        + field(3, "shop")
        + field(6, "7")
        + field(11, entry("team", "blue"))
        + field(11, entry("tier", ""))
        + field(12, entry("note", "grün"))
    )
    assert decode(sent("Secret", field(1, metadata)))["metadata"] == {
        "name": "key",
        "namespace": "shop",
        "resourceVersion": "7",
        "labels": {"team": "blue", "tier": ""},
        "annotations": {"note": "grün"},
    }


def test_a_name_can_be_left_to_the_server() -> None:
    metadata = decode(sent("Namespace", field(1, field(2, "team-") + field(5, "u"))))["metadata"]
    assert metadata == {"generateName": "team-", "uid": "u"}


def test_what_kubectl_asks_about_is_read() -> None:
    attributes = field(1, "shop") + field(2, "get") + field(5, "secrets")
    review = decode(sent("SelfSubjectAccessReview", field(1, b"") + field(2, field(1, attributes))))
    wanted = review["spec"]["resourceAttributes"]
    assert (wanted["namespace"], wanted["verb"], wanted["resource"]) == ("shop", "get", "secrets")
    rules = decode(sent("SelfSubjectRulesReview", field(1, b"") + field(2, field(1, "shop"))))
    assert rules["spec"] == {"namespace": "shop"}


def test_a_refusal_does_not_repeat_what_is_damaged() -> None:
    damaged = NAMED + field(4, entry("word", b"sesame\xff"))
    with pytest.raises(ApiError) as caught:
        decode(sent("Secret", damaged))
    assert "sesame" not in str(caught.value)


def test_the_data_of_a_secret_becomes_base64() -> None:
    message = NAMED + field(2, entry("a", b"\xff")) + field(3, "Opaque") + field(4, entry("b", "x"))
    secret = decode(sent("Secret", message))
    assert (secret["data"], secret["stringData"]) == ({"a": "/w=="}, {"b": "x"})
    assert secret["type"] == "Opaque"


def test_the_data_of_a_config_map_is_text() -> None:
    message = NAMED + field(2, entry("colour", "blue"))
    assert decode(sent("ConfigMap", message))["data"] == {"colour": "blue"}


def test_fields_that_are_not_known_are_passed_over() -> None:
    unknown = b"\x78\x96\x01" + b"\x7d\x00\x00\x00\x00" + b"\x79" + b"\x00" * 8 + field(9, "x")
    assert decode(sent("Namespace", NAMED + unknown))["metadata"] == {"name": "team-a"}


def test_another_kind_is_read_as_json_only() -> None:
    with pytest.raises(ApiError, match="application/json only") as caught:
        decode(sent("Pod", NAMED))
    assert caught.value.code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"kind": "Secret"}',
        MAGIC,
        MAGIC + b"\x80",
        MAGIC + b"\x0a\x7f",
        MAGIC + b"\x0f",
        MAGIC + b"\x08\x01",
        MAGIC + field(1, b"\x10\x01") + field(2, b""),
        MAGIC + field(1, field(2, b"\xff")),
        sent("Secret", b""),
        sent("Secret", NAMED)[:-1],
    ],
)
def test_a_damaged_body_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body)
    assert caught.value.code == 400


async def test_the_api_takes_what_kubectl_create_sends(client: Client) -> None:
    headers = {"content-type": CONTENT_TYPE}
    answer = await client.send("POST", "/api/v1/namespaces", sent("Namespace", NAMED), headers)
    assert answer.code == 201
    assert (await client.get("/api/v1/namespaces/team-a")).json["status"] == {"phase": "Active"}
