"""Values that somebody has yet to fill in are told before an environment gets them."""

from pathlib import Path

import pytest

from abserve.manifests import Severity
from tests.abserve.manifests.trees import checked, found, kustomization, messages, thing


def settings(tmp_path: Path, value: str, environment: str = "production") -> Path:
    document = thing("ConfigMap", "settings", data={"value": value})
    return kustomization(tmp_path / "overlays" / environment / "access", document)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("https://login.example.com/", "login.example.com"),
        ("platform@example.org", "example.org"),
        ("registry.customer.example/models", "registry.customer.example"),
        ("192.0.2.0/24", "192.0.2.0"),
        ("from 203.0.113.7 on", "203.0.113.7"),
        ("arn:aws:iam::111122223333:role/reader", "111122223333"),
        ("Z0000000EXAMPLE", "Z0000000EXAMPLE"),
    ],
)
def test_what_is_nobodys_is_a_note_until_it_has_to_be_somebodys(
    tmp_path: Path, value: str, told: str
) -> None:
    folder = settings(tmp_path, value)
    (note,) = checked(folder).findings
    assert (note.severity, note.rule) == (Severity.NOTE, "placeholder")
    assert note.message.startswith(f"data.value: found '{told}', which is nobody's; put production")
    (error,) = found(folder, "placeholder", published=True)
    assert error.message == note.message


@pytest.mark.parametrize(
    "value",
    [
        "models.example.company.com",
        "my-example.com.de",
        "for example",
        "an example.",
        "10.192.0.2",
        "192.0.20.1",
        "1111222233334",
        "Z0123456789ABCDEFGHIJ",
        "iris.example-models.svc",
    ],
)
def test_what_only_looks_like_it_is_let_be(tmp_path: Path, value: str) -> None:
    assert messages(settings(tmp_path, value), "placeholder", published=True) == []


def test_one_machine_may_use_what_is_nobodys(tmp_path: Path) -> None:
    folder = settings(tmp_path, "https://issuer.example.com", "local")
    assert messages(folder, "placeholder", published=True) == []


def test_a_value_in_several_fields_is_told_once(tmp_path: Path) -> None:
    data = {"one": "a.example.com", "two": "https://a.example.com/x"}
    folder = kustomization(
        tmp_path / "overlays/staging/access", thing("ConfigMap", "settings", data=data)
    )
    (message,) = messages(folder, "placeholder", published=True)
    assert message.startswith("data.one, data.two: found 'a.example.com'")
