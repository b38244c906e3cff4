"""Who may reach the models, by what the overlays render."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.gateway import Jwt, Listener, Tls, bootstrap
from tests.manifests.access import ENVIRONMENTS, Documents, documents, of_kind
from tests.manifests.rendering import MANIFESTS, rendered

INFERENCE = {"9000", "9500"}
METRICS = {"6000", "6001", "6002"}
GATEWAY = "cluster.local/ns/istio-ingress/sa/istio-ingress"
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def access(request: pytest.FixtureRequest) -> Documents:
    return documents(request.param)


def spec(access: Documents, kind: str, namespace: str, name: str) -> dict[str, Any]:
    return dict(access[kind, namespace, name]["spec"])


def host_of(access: Documents) -> str:
    (server,) = spec(access, "Gateway", "istio-ingress", "seldon-gateway")["servers"]
    namespace, _, host = server["hosts"][0].partition("/")
    assert namespace == "models"
    return str(host)


# The way in.


def test_hosts_are_names_that_dns_takes_and_environments_share_none() -> None:
    hosts = [host_of(documents(each)) for each in ENVIRONMENTS]
    assert len(set(hosts)) == len(hosts)
    for host in hosts:
        assert len(host) <= 253
        assert host.count(".") >= 2
        assert all(LABEL.fullmatch(each) for each in host.split("."))


def test_environments_take_each_others_tokens_neither_by_issuer_nor_by_audience() -> None:
    rules = [
        spec(documents(each), "RequestAuthentication", "istio-ingress", "tokens")["jwtRules"][0]
        for each in ENVIRONMENTS
    ]
    assert len({rule["issuer"] for rule in rules}) == 2
    assert len({rule["audiences"][0] for rule in rules}) == 2


def test_the_gateway_takes_nothing_but_tls_of_1_2_or_later(access: Documents) -> None:
    gateway = spec(access, "Gateway", "istio-ingress", "seldon-gateway")
    for server in gateway["servers"]:
        assert server["port"]["protocol"] == "HTTPS"
        assert server["tls"]["mode"] == "SIMPLE"
        assert server["tls"]["minProtocolVersion"] in {"TLSV1_2", "TLSV1_3"}


def test_the_certificate_is_of_the_gateways_host_and_where_it_looks_for_it(
    access: Documents,
) -> None:
    certificate = spec(access, "Certificate", "istio-ingress", "models")
    (server,) = spec(access, "Gateway", "istio-ingress", "seldon-gateway")["servers"]
    assert certificate["dnsNames"] == [host_of(access)]
    assert server["tls"]["credentialName"] == certificate["secretName"]


def test_clients_are_told_the_gateways_address(access: Documents) -> None:
    told = access["ConfigMap", "kube-public", "abserve-gateway"]["data"]
    assert told == {"url": f"https://{host_of(access)}"}


def test_the_gateway_is_the_one_that_seldons_operator_names() -> None:
    release = MANIFESTS / "infrastructure/controllers/seldon-core.yaml"
    values = yaml.safe_load(release.read_text())["spec"]["values"]
    assert values["istio"]["gateway"] == "istio-ingress/seldon-gateway"


def test_the_certificate_is_signed_by_an_issuer_of_every_cloud(access: Documents) -> None:
    issuer = spec(access, "Certificate", "istio-ingress", "models")["issuerRef"]
    files = sorted((MANIFESTS / "infrastructure").glob("*/configs/issuer.yaml"))
    assert files
    for file in files:
        found = [each for each in yaml.safe_load_all(file.read_text()) if each]
        names = {(each["kind"], each["metadata"]["name"]) for each in found}
        assert (issuer["kind"], issuer["name"]) in names


def test_no_issuer_looks_at_a_port_that_the_gateway_has_not() -> None:
    for file in sorted((MANIFESTS / "infrastructure").glob("*/configs/issuer.yaml")):
        (issuer,) = [each for each in yaml.safe_load_all(file.read_text()) if each]
        for solver in issuer["spec"].get("acme", {}).get("solvers", []):
            assert set(solver) == {"dns01"}, file


# Tokens.


def test_a_request_without_a_token_is_refused_on_every_path_of_the_gateway(
    access: Documents,
) -> None:
    policy = spec(access, "AuthorizationPolicy", "istio-ingress", "token-required")
    gateway = spec(access, "Gateway", "istio-ingress", "seldon-gateway")
    assert policy == {
        "selector": {"matchLabels": gateway["selector"]},
        "action": "DENY",
        "rules": [{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}],
    }


def test_tokens_are_checked_by_the_same_pods_that_refuse_requests_without_one(
    access: Documents,
) -> None:
    checked = spec(access, "RequestAuthentication", "istio-ingress", "tokens")
    refused = spec(access, "AuthorizationPolicy", "istio-ingress", "token-required")
    assert checked["selector"] == refused["selector"]
    (rule,) = checked["jwtRules"]
    assert rule["audiences"]
    assert rule["jwksUri"].startswith("https://")
    assert rule["fromHeaders"] == [{"name": "Authorization", "prefix": "Bearer "}]
    assert rule["forwardOriginalToken"] is False


def test_tokens_and_tls_mean_what_they_mean_to_the_local_gateway(
    access: Documents, tmp_path: Path
) -> None:
    (rule,) = spec(access, "RequestAuthentication", "istio-ingress", "tokens")["jwtRules"]
    jwt = Jwt(rule["issuer"], rule["audiences"][0], "{}")
    listener = Listener(tls=Tls(tmp_path, tmp_path), jwt=jwt)
    (local,) = bootstrap(1, 2, tmp_path, listener)["static_resources"]["listeners"]
    (chain,) = local["filter_chains"]
    tls = chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_params"]
    (server,) = spec(access, "Gateway", "istio-ingress", "seldon-gateway")["servers"]
    assert server["tls"]["minProtocolVersion"] == tls["tls_minimum_protocol_version"].upper()
    (first, *_) = chain["filters"][0]["typed_config"]["http_filters"]
    provider = first["typed_config"]["providers"]["gateway"]
    assert provider["audiences"] == rule["audiences"]
    assert provider["forward"] == rule["forwardOriginalToken"]
    assert provider["from_headers"] == [
        {"name": each["name"], "value_prefix": each["prefix"]} for each in rule["fromHeaders"]
    ]


def test_what_no_policy_allows_is_refused_in_the_whole_namespace(access: Documents) -> None:
    assert spec(access, "AuthorizationPolicy", "models", "nothing-by-default") == {}


def test_versions_answer_the_gateway_alone_but_for_their_metrics(access: Documents) -> None:
    for (kind, namespace, _), policy in access.items():
        if (kind, namespace) != ("AuthorizationPolicy", "models"):
            continue
        assert policy["spec"].get("action", "ALLOW") == "ALLOW"
        for rule in policy["spec"].get("rules", []):
            for operation in [each["operation"] for each in rule["to"]]:
                if "from" in rule:
                    assert rule["from"] == [{"source": {"principals": [GATEWAY]}}]
                    assert set(operation["ports"]) <= INFERENCE
                else:
                    assert set(operation["ports"]) <= METRICS | {"8083"}
                    assert operation["methods"] == ["GET"]
                    assert operation["paths"] in (["/prometheus"], ["/metrics"])


def test_a_caller_may_what_is_named_and_loads_or_unloads_no_version(access: Documents) -> None:
    """Named is what is allowed: what is forbidden can be spelled in more ways than one."""
    (rule,) = spec(access, "AuthorizationPolicy", "models", "inference")["rules"]
    paths = [path for each in rule["to"] for path in each["operation"]["paths"]]
    assert [each for each in rule["to"] if "notPaths" in each["operation"]] == []
    for closed in (
        "/v2/repository/",
        "/inference.GRPCInferenceService/Repository",
        "/inference.model_repository.ModelRepositoryService/Repository",
    ):
        assert not any(closed.startswith(each.removesuffix("*")) for each in paths if "*" in each)
        assert not any(each.startswith(closed) for each in paths)


# The mesh and the network.


def test_connections_need_a_certificate_of_the_mesh_but_for_metrics(access: Documents) -> None:
    found = of_kind(access, "PeerAuthentication")
    assert found["default"]["spec"] == {"mtls": {"mode": "STRICT"}}
    assert {each["metadata"]["namespace"] for each in found.values()} == {"models"}
    plain = set()
    for each in found.values():
        assert each["spec"]["mtls"] == {"mode": "STRICT"}
        plain |= set(each["spec"].get("portLevelMtls", {}))
    assert plain == METRICS | {"8083"}


@pytest.mark.parametrize("namespace", ["models", "istio-ingress"])
def test_pods_reach_nobody_and_nobody_reaches_them_by_default(
    access: Documents, namespace: str
) -> None:
    assert access["NetworkPolicy", namespace, "nothing-by-default"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


def test_the_load_balancer_opens_no_port_that_the_gateway_has_not(access: Documents) -> None:
    file = MANIFESTS / "infrastructure/controllers/istio.yaml"
    (release,) = [
        each
        for each in yaml.safe_load_all(file.read_text())
        if each["metadata"]["name"] == "istio-ingress"
    ]
    opened = {each["targetPort"] for each in release["spec"]["values"]["service"]["ports"]}
    servers = spec(access, "Gateway", "istio-ingress", "seldon-gateway")["servers"]
    assert opened == {each["port"]["number"] for each in servers} == {443}


@pytest.mark.parametrize("kind", ["NetworkPolicy", "AuthorizationPolicy"])
def test_every_policy_says_why(kind: str) -> None:
    for file in (MANIFESTS / "base/access").glob("*.yaml"):
        for text in file.read_text().split("---\n"):
            document = yaml.safe_load(text) or {}
            if document.get("kind") == kind:
                assert "# " in text, document["metadata"]["name"]


# The gateway's filters.


def test_the_filters_are_the_gateways_alone(access: Documents) -> None:
    for each in of_kind(access, "EnvoyFilter").values():
        assert each["metadata"]["namespace"] == "istio-ingress"
        assert each["spec"]["workloadSelector"] == {"labels": {"istio": "ingress"}}
        for patch in each["spec"]["configPatches"]:
            assert patch["match"]["context"] == "GATEWAY"


def test_the_place_is_known_before_requests_are_counted(access: Documents) -> None:
    filters = of_kind(access, "EnvoyFilter")
    assert filters["sticky"]["spec"]["priority"] > filters["rate-limit"]["spec"].get("priority", 0)


def test_the_filter_runs_the_program_that_stands_beside_it(access: Documents) -> None:
    (patch, *_) = of_kind(access, "EnvoyFilter")["sticky"]["spec"]["configPatches"]
    program = (MANIFESTS / "base/access/sticky.lua").read_text()
    source = patch["patch"]["value"]["typed_config"]["default_source_code"]
    assert source == {"inline_string": program}


# Settings.


def test_only_the_settings_differ_between_environments() -> None:
    staging, production = (MANIFESTS / f"overlays/{each}/access" for each in ENVIRONMENTS)
    texts = [(each / "kustomization.yaml").read_text() for each in (staging, production)]
    assert texts[0].replace("staging", "production") == texts[1]
    files = {"kustomization.yaml", "public.pem", "settings.env"}
    assert {each.name for each in staging.iterdir()} == files


@pytest.mark.parametrize(
    "setting",
    ["host", "jwt_issuer", "jwt_audience", "jwks_uri", "requests_per_second"],
)
def test_a_setting_that_is_missing_is_named(setting: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS / "base/access", tmp_path / "base/access")
    overlay = tmp_path / "overlays/staging/access"
    shutil.copytree(MANIFESTS / "overlays/staging/access", overlay)
    lines = (overlay / "settings.env").read_text().splitlines()
    kept = [each for each in lines if not each.startswith(f"{setting}=")]
    (overlay / "settings.env").write_text("\n".join(kept))
    with pytest.raises(AssertionError, match=setting):
        rendered(overlay)


def test_the_settings_themselves_are_not_applied(access: Documents) -> None:
    assert set(of_kind(access, "ConfigMap")) == {"abserve-gateway", "signing-keys"}


def test_flux_finds_nothing_to_fill_in_but_what_it_should(access: Documents) -> None:
    """It would take any ${...} for one of its own, in a program as well."""
    text = json.dumps(list(access.values()))
    found = re.findall(r"\$\{?\w*\}?", text)
    assert set(found) == {"${environment}", "${api_server_cidr}"}
