"""Kinds that charts bring have the schemas of the releases that this repository pins."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from abserve.manifests import Rules, Schemas, check
from tests.abserve.manifests.trees import Document, kustomization, messages, thing

KINDS = [json.loads(each.read_text()) for each in (files("abserve.manifests") / "kinds").iterdir()]
ISTIO = "networking.istio.io/v1"


def test_there_are_kinds() -> None:
    assert len(KINDS) == 6


@pytest.mark.parametrize("content", KINDS, ids=lambda each: each["stands_for"])
def test_what_is_shipped_are_schemas(content: dict[str, Any]) -> None:
    # Whether Python reads the patterns, which are Go's, is for the next test.
    checker = jsonschema.FormatChecker(formats=())
    for schema in content["kinds"].values():
        whole = {**schema, "$defs": content["$defs"]}
        jsonschema.Draft202012Validator.check_schema(whole, checker)


@pytest.mark.parametrize(("strategy", "n_faults"), [("WARN", 0), ("ignore", 1)])
def test_a_pattern_is_read_as_go_reads_it(strategy: str, n_faults: int, tmp_path: Path) -> None:
    groups = [{"name": "a", "rules": [], "partial_response_strategy": strategy}]
    rules = thing("PrometheusRule", "a", "monitoring.coreos.com/v1", spec={"groups": groups})
    kustomization(tmp_path, rules)
    assert len(messages(tmp_path, "schema")) == n_faults


@pytest.mark.parametrize("content", KINDS, ids=lambda each: each["stands_for"])
def test_no_schema_names_one_that_is_not_there(content: dict[str, Any]) -> None:
    named = {each.split('"')[0] for each in json.dumps(content).split('"#/$defs/')[1:]}
    assert named == set(content["$defs"])


def route(**match: Any) -> Document:
    destination = {"destination": {"host": "iris"}}
    spec = {"hosts": ["iris"], "http": [{"match": [match], "route": [destination]}]}
    return thing("VirtualService", "iris", ISTIO, spec=spec)


RIGHT = {"uri": {"prefix": "/v2"}, "withoutHeaders": {"x-old": {"exact": "1"}}}


def test_a_kind_of_a_chart_that_is_right_has_no_finding(tmp_path: Path) -> None:
    kustomization(tmp_path, route(**RIGHT))
    assert messages(tmp_path, "schema") == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (route(url={"prefix": "/v2"}), "spec.http[0].match[0]: Additional properties"),
        (route(uri={"prefix": 2}), "spec.http[0].match[0].uri.prefix: 2 is not of type 'string'"),
        (thing("Gateway", "a", ISTIO, spec={"server": []}), "spec: Additional properties"),
        (
            thing(
                "PeerAuthentication",
                "a",
                "security.istio.io/v1",
                spec={"mtls": {"mode": "strict"}},
            ),
            "spec.mtls.mode: 'strict' is not one of",
        ),
        (
            thing("Certificate", "a", "cert-manager.io/v1", spec={"secretName": "tls"}),
            "spec: 'issuerRef' is a required property",
        ),
        (
            thing("HelmRelease", "a", "helm.toolkit.fluxcd.io/v2", spec={"interval": "1 h"}),
            "spec.interval: '1 h' does not match",
        ),
        (
            thing("ScaledObject", "a", "keda.sh/v1alpha1", spec={"scaleTargetRef": {"name": "a"}}),
            "spec: 'triggers' is a required property",
        ),
        (
            thing(
                "PrometheusRule",
                "a",
                "monitoring.coreos.com/v1",
                spec={"groups": [{"rules": []}]},
            ),
            "spec.groups[0]: 'name' is a required property",
        ),
        (
            thing(
                "ExternalSecret",
                "a",
                "external-secrets.io/v1",
                spec={"target": {"deletionPolicy": "Keep"}},
            ),
            "spec.target.deletionPolicy: 'Keep' is not one of",
        ),
        (
            thing(
                "ClusterSecretStore",
                "a",
                "external-secrets.io/v1",
                spec={"provider": {"aws": {"service": "SecretsManager", "zone": "eu"}}},
            ),
            "spec.provider.aws: 'region' is a required property",
        ),
    ],
    ids=lambda each: each["kind"] if isinstance(each, dict) else "",
)
def test_a_kind_of_a_chart_is_held_against_its_schema(
    document: Document, said: str, tmp_path: Path
) -> None:
    kustomization(tmp_path, document)
    assert any(each.startswith(said) for each in messages(tmp_path, "schema"))


def test_what_a_newer_release_has_is_refused(tmp_path: Path) -> None:
    """The schemas are of Istio 1.31, and 1.30 would drop this field without a word."""
    rule = {"host": "iris", "trafficPolicy": {"connectionPool": {"http": {"http2KeepAlive": {}}}}}
    kustomization(tmp_path, thing("DestinationRule", "iris", ISTIO, spec=rule))
    assert "'http2KeepAlive' was unexpected" in messages(tmp_path, "schema")[0]


def test_a_definition_that_is_handed_over_comes_first(tmp_path: Path) -> None:
    """A cluster may run another release than the one that is shipped."""
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    definition = thing(
        "CustomResourceDefinition",
        "virtualservices.networking.istio.io",
        "apiextensions.k8s.io/v1",
        spec={
            "group": "networking.istio.io",
            "names": {"kind": "VirtualService"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}],
        },
    )
    (tmp_path / "crds.yaml").write_text(yaml.safe_dump(definition))
    folder = kustomization(tmp_path / "a", route(url={"prefix": "/v2"}))
    rules = Rules(Schemas(definitions=(tmp_path / "crds.yaml",)))
    assert check([folder], rules).findings == ()
