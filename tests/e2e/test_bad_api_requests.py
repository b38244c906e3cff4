"""Whatever is sent to the API is answered with a Status, changes nothing, and ends nothing."""

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.local_cluster import LocalCluster, iris
from tests.e2e.raw_http import Answer, ask

pytestmark = pytest.mark.e2e

SDEPS = "/apis/machinelearning.seldon.io/v1/namespaces/default/seldondeployments"
SECRETS = "/api/v1/namespaces/default/secrets"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NAMESPACES = "/api/v1/namespaces"
JSON, YAML = "application/json", "application/yaml"
PATCH = "application/merge-patch+json"
LARGEST_BYTES = 1_572_864
PATIENCE_SECONDS = 10


class Api(NamedTuple):
    """The API of a cluster, and what it takes to speak with it over a socket."""

    port: int
    token: str
    certificate: bytes

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cadata=self.certificate.decode())
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = JSON,
        version: str = "1.1",
        **headers: str | None,
    ) -> bytes:
        """Return the bytes of a request; a header that is None is left out."""
        fields = {
            "host": f"127.0.0.1:{self.port}",
            "authorization": f"Bearer {self.token}",
            "content-type": content_type,
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode() + body

    def send(self, method: str, path: str, body: bytes = b"", *rest: str, **headers: Any) -> Answer:
        with closing(self.connect()) as connection:
            return ask(connection, self.request(method, path, body, *rest, **headers), method)


@pytest.fixture(scope="module")
def serving(cluster: LocalCluster) -> LocalCluster:
    """The cluster, with iris served at 90/10 and an object of each other kind."""
    cluster.apply_iris()
    cluster.must("kubectl", "create", "secret", "generic", "pass", "--from-literal=word=sesame")
    cluster.must("kubectl", "create", "configmap", "colours", "--from-literal=sky=blue")
    return cluster


@pytest.fixture(scope="module")
def address(serving: LocalCluster) -> Api:
    config = json.loads(serving.must("kubectl", "config", "view", "--raw", "-o", "json"))
    at = config["clusters"][0]["cluster"]
    port = urlsplit(at["server"]).port
    assert port is not None
    token = config["users"][0]["user"]["token"]
    return Api(port, token, base64.b64decode(at["certificate-authority-data"]))


def versions(cluster: LocalCluster) -> dict[str, str]:
    """Return the version of every object that clients write."""
    kinds = "sdep,secrets,configmaps,namespaces"
    listed = json.loads(cluster.must("kubectl", "get", kinds, "-A", "-o", "json"))
    return {
        f"{each['kind']} {each['metadata'].get('namespace')}/{each['metadata']['name']}": each[
            "metadata"
        ]["resourceVersion"]
        for each in listed["items"]
    }


@pytest.fixture
def api(serving: LocalCluster, address: Api) -> Iterator[Api]:
    """The API, which has after the test what it had before."""
    before = versions(serving)
    yield address
    assert versions(serving) == before


def named(kind: str, name: str, **fields: Any) -> bytes:
    return json.dumps({"kind": kind, "metadata": {"name": name}, **fields}).encode()


def nested(n_levels: int) -> bytes:
    return (
        b'{"metadata": {"name": "deep"}, "data": '
        + b'{"a":' * n_levels
        + b"1"
        + b"}" * n_levels
        + b"}"
    )


def iris_as(**metadata: Any) -> bytes:
    document = iris()
    document["metadata"].update(metadata)
    return json.dumps(document).encode()


def refused(answer: Answer, *codes: int) -> dict[str, Any]:
    """Return the Status in an answer that refuses."""
    assert answer.status in (codes or range(400, 500)), (answer.sent, answer.content)
    assert answer.headers["content-type"] == JSON
    status: dict[str, Any] = json.loads(answer.content)
    assert (status["kind"], status["status"]) == ("Status", "Failure")
    assert status["code"] == answer.status
    assert status["message"]
    assert status["reason"]
    return status


# Bodies.


@pytest.mark.parametrize(
    ("body", "content_type", "codes"),
    [
        (b"{", JSON, {400}),
        (b"", JSON, {400}),
        (b"[]", JSON, {400}),
        (b"null", JSON, {400}),
        (b'"text"', JSON, {400}),
        (b"\xff\xfe", JSON, {400}),
        (b'{"metadata": {"name": "a"}', JSON, {400}),
        (b'{"metadata": {"name": "a"}, "data": NaN}', JSON, {400}),
        (b'{"metadata": {"name": "\\ud800"}}', JSON, {400}),
        (b"a: [", YAML, {400}),
        (b"a: b: c", YAML, {400}),
        (b"\t- a", YAML, {400}),
        (b"a: &a [*a]", YAML, {400}),
        (b"!!python/object/apply:os.system [id]", YAML, {400}),
        (b"- a\n- b\n", YAML, {400}),
        (b"a: 1\n---\nb: 2\n", YAML, {400}),
        (b"k8s\x00\xff", "application/vnd.kubernetes.protobuf", {400}),
        (b"not protobuf", "application/vnd.kubernetes.protobuf", {400}),
        (nested(200), JSON, {400}),
        (nested(100_000), JSON, {400}),
        (named("ConfigMap", "huge", data={"a": "x" * LARGEST_BYTES}), JSON, {413}),
        (named("ConfigMap", "a"), "text/plain", {415}),
        (named("ConfigMap", "a"), "application/cbor", {415}),
        (named("ConfigMap", "a"), "application/x-www-form-urlencoded", {415}),
        (named("Secret", "a"), JSON, {400}),
        (named("ConfigMap", "a", apiVersion="v2"), JSON, {400}),
        (named("ConfigMap", "a", dta={"a": "b"}), JSON, {400, 422}),
        (named("ConfigMap", "a", data={"a": 1}), JSON, {422}),
        (named("ConfigMap", "a", data=["a"]), JSON, {422}),
        (named("ConfigMap", "a", metadata={"name": "a", "labels": {"a": 1}}), JSON, {400, 422}),
        (named("ConfigMap", "a", metadata=[]), JSON, {400}),
        (named("ConfigMap", "a", metadata={}), JSON, {400, 422}),
        (named("ConfigMap", "Upper"), JSON, {422}),
        (named("ConfigMap", "a_b"), JSON, {422}),
        (named("ConfigMap", "-a"), JSON, {422}),
        (named("ConfigMap", "a" * 254), JSON, {422}),
        (named("ConfigMap", "../a"), JSON, {422}),
        (named("ConfigMap", "a\n"), JSON, {422}),
        (named("ConfigMap", ""), JSON, {422}),
        (named("ConfigMap", "a", metadata={"name": "a", "namespace": "shop"}), JSON, {400}),
    ],
)  # fmt: skip
def test_a_bad_config_map_is_refused(
    api: Api, body: bytes, content_type: str, codes: set[int]
) -> None:
    refused(api.send("POST", CONFIG_MAPS, body, content_type), *codes)


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type"),
    [
        ("POST", SDEPS, named("SeldonDeployment", "a"), JSON),
        ("POST", SDEPS, named("SeldonDeployment", "a", spec={}), JSON),
        ("POST", SDEPS, named("SeldonDeployment", "a", spec={"predictors": "all"}), JSON),
        ("POST", SDEPS, iris_as(name="Iris"), JSON),
        ("POST", SDEPS, iris_as(name="i" * 300), JSON),
        ("POST", SDEPS, iris_as(), JSON),
        ("PUT", f"{SDEPS}/iris", iris_as(name="wine"), JSON),
        ("PUT", f"{SDEPS}/iris", iris_as(resourceVersion="1"), JSON),
        ("PUT", f"{SDEPS}/wine", iris_as(name="wine"), JSON),
        ("PUT", f"{SDEPS}/iris", b"{}", JSON),
        ("PATCH", f"{SDEPS}/iris", b'{"spec": {"predictors": null}}', PATCH),
        ("PATCH", f"{SDEPS}/iris", b'{"metadata": {"name": "wine"}}', PATCH),
        ("PATCH", f"{SDEPS}/iris", b'{"spec": {"trafic": 10}}', PATCH),
        ("PATCH", f"{SDEPS}/iris", b"{}", JSON),
        ("PATCH", f"{SDEPS}/iris", b"{}", "application/strategic-merge-patch+json"),
        ("PATCH", f"{SDEPS}/iris", b"{}", "application/json-patch+json"),
        ("PATCH", f"{SDEPS}/iris", b'[{"op": "jump"}]', "application/json-patch+json"),
        (
            "PATCH",
            f"{SDEPS}/iris",
            b'[{"op": "replace", "path": "/spec/replicas", "value": 2},'
            b' {"op": "test", "path": "/kind", "value": "Pod"}]',
            "application/json-patch+json",
        ),
        ("PATCH", f"{SDEPS}/iris", b"a: [", "application/apply-patch+yaml"),
        ("PATCH", f"{SDEPS}/iris/scale", b'{"spec": {"replicas": "two"}}', PATCH),
        ("PATCH", f"{SDEPS}/iris/scale", b'{"spec": {"replicas": -1}}', PATCH),
        ("PUT", f"{SDEPS}/iris/status", b"[]", JSON),
        ("PUT", f"{SDEPS}/iris/scale", b"{}", JSON),
        ("POST", NAMESPACES, named("Namespace", "a.b"), JSON),
        ("POST", NAMESPACES, named("Namespace", "a" * 64), JSON),
        ("POST", SECRETS, named("Secret", "a", data={"a": "no base64!"}), JSON),
        ("POST", SECRETS, named("Secret", "a", stringData={"a": None}), JSON),
        ("POST", SECRETS.replace("default", "nowhere"), named("Secret", "a"), JSON),
        ("DELETE", f"{SDEPS}/wine", b"", JSON),
        ("DELETE", f"{SDEPS}/iris", b'{"preconditions": {"uid": "other"}}', JSON),
        ("DELETE", f"{SDEPS}/iris", b"[", JSON),
        ("DELETE", f"{NAMESPACES}/default", b"", JSON),
        ("DELETE", SDEPS + "?labelSelector=a%20b", b"", JSON),
    ],
)
def test_a_bad_change_is_refused_whole(
    api: Api, method: str, path: str, body: bytes, content_type: str
) -> None:
    query = "&" if "?" in path else "?"
    refused(api.send(method, f"{path}{query}fieldManager=tests", body, content_type))


# Who asks, what for, and how.


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": None}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Basic YTpi"}, 401),
        ({"authorization": "Bearer \u00e9"}, 401),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:6443"}, 403),
        ({"host": "evil.example@127.0.0.1.nip.io"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": ""}, 403),
        ({"host": None, "version": "1.0"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/readyz", SDEPS, "/openapi/v3", f"{SECRETS}/pass"])
def test_nobody_else_is_answered(api: Api, headers: dict[str, Any], code: int, path: str) -> None:
    status = refused(api.send("GET", path, **headers), code)
    assert "sesame" not in status["message"]
    refused(api.send("DELETE", f"{SECRETS}/pass", **headers), code)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/apis/apps/v1/deployments", 404),
        ("GET", "/api/v1/nodes", 404),
        ("GET", "/openapi/v3/nothing", 404),
        ("GET", f"{SDEPS}/iris/nothing", 404),
        ("GET", f"{SDEPS}/iris/status/more", 404),
        ("GET", f"{SDEPS}/", 404),
        ("GET", "//api/v1", 404),
        ("GET", "/api/v1/../v1/secrets", 404),
        ("GET", "/api/v1/%2e%2e/secrets", 404),
        ("GET", f"{SECRETS}/%00", 404),
        ("GET", f"{SECRETS}/..%2f..%2fetc%2fpasswd", 404),
        ("GET", f"{SECRETS}/%ff", 404),
        ("GET", f"{SECRETS}/{'a' * 8000}", 404),
        ("POST", "/api", 405),
        ("POST", f"{SDEPS}/iris", 405),
        ("PUT", SDEPS, 405),
        ("PATCH", SDEPS, 405),
        ("POST", "/api/v1/namespaces/default/pods", 405),
        ("PUT", "/api/v1/namespaces/default/pods/a", 405),
        ("OPTIONS", SDEPS, 405),
        ("TRACE", SDEPS, 405),
        ("PROPFIND", SDEPS, 405),
    ],
)
def test_what_there_is_not_is_refused(api: Api, method: str, path: str, code: int) -> None:
    refused(api.send(method, path), code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{SDEPS}?labelSelector=a%20b"),
        ("GET", f"{SDEPS}?labelSelector=a%20in%20(b"),
        ("GET", f"{SDEPS}?fieldSelector=spec.replicas%3D1"),
        ("GET", f"{SDEPS}?limit=many"),
        ("GET", f"{SDEPS}?limit=-1"),
        ("GET", f"{SDEPS}?continue=abc"),
        ("GET", f"{SDEPS}?watch=true&resourceVersion=new"),
        ("GET", f"{SDEPS}?watch=true&timeoutSeconds=soon"),
        ("GET", f"{SDEPS}?watch=true&timeoutSeconds=-1"),
        ("GET", f"{SDEPS}?watch=true&labelSelector=a%20b"),
        ("POST", f"{CONFIG_MAPS}?dryRun=Some"),
        ("POST", f"{CONFIG_MAPS}?fieldValidation=Loose"),
        ("POST", f"{CONFIG_MAPS}?fieldManager={'m' * 200}"),
        ("DELETE", f"{CONFIG_MAPS}/colours?dryRun=all"),
        ("DELETE", f"{CONFIG_MAPS}/colours?propagationPolicy=Upwards"),
    ],
)
def test_a_bad_query_is_refused(api: Api, method: str, path: str) -> None:
    refused(api.send(method, path, named("ConfigMap", "a") if method == "POST" else b""), 400, 422)


def test_a_table_of_what_nobody_knows_is_refused(api: Api) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    refused(api.send("GET", f"{SDEPS}?includeObject=All", accept=accept), 400)


# HTTP itself. What is no HTTP gets no Status: whoever speaks something else could not read it.


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /readyz HTTP/9.9\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\ncontent-length: two\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /readyz HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: \x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(api: Api, sent: bytes) -> None:
    with closing(api.connect()) as connection:
        answer = ask(connection, sent)
    assert 400 <= answer.status < 500
    assert api.send("GET", "/readyz").content == b"ok"


@pytest.mark.parametrize("n_bytes", [1, 100])
def test_a_body_that_ends_too_early_changes_nothing(api: Api, n_bytes: int) -> None:
    body = named("ConfigMap", "cut")
    with closing(api.connect()) as connection:
        connection.sendall(
            api.request("POST", CONFIG_MAPS, body, content_length=str(len(body) + n_bytes))
        )
        connection.unwrap()
    assert api.send("GET", f"{CONFIG_MAPS}/cut").status == 404


def test_a_chunked_body_that_ends_too_early_changes_nothing(api: Api) -> None:
    head = api.request("POST", CONFIG_MAPS, content_length=None, transfer_encoding="chunked")
    body = named("ConfigMap", "cut")
    with closing(api.connect()) as connection:
        connection.sendall(head + f"{len(body):x}\r\n".encode() + body + b"\r\n")
        connection.unwrap()
    assert api.send("GET", f"{CONFIG_MAPS}/cut").status == 404


def test_a_body_without_end_is_refused_before_its_end(api: Api) -> None:
    head = api.request("POST", CONFIG_MAPS, content_length=str(10**12))
    with closing(api.connect()) as connection:
        answer = ask(connection, head + b" " * (LARGEST_BYTES + 1))
    refused(answer, 413)


def test_http_1_0_is_answered_and_the_connection_ends(api: Api) -> None:
    answer = api.send("GET", f"{SDEPS}/iris", version="1.0")
    assert answer.status == 200
    assert answer.ends_connection
    assert json.loads(answer.content)["metadata"]["name"] == "iris"


def test_a_refusal_does_not_end_the_connection(api: Api) -> None:
    with closing(api.connect()) as connection:
        for _ in range(3):
            refused(ask(connection, api.request("POST", CONFIG_MAPS, b"{")), 400)
        assert ask(connection, api.request("GET", "/readyz"), "GET").content == b"ok"


def test_bytes_without_tls_are_not_answered(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), PATIENCE_SECONDS) as connection:
        connection.sendall(api.request("GET", "/readyz"))
        assert connection.recv(1000) == b""
    assert api.send("GET", "/readyz").content == b"ok"


def test_only_the_loopback_address_is_listened_on(api: Api) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    assert [each for each in addresses if each.endswith(f":{api.port:04X}")] == [
        f"0100007F:{api.port:04X}"
    ]


# Through kubectl.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "error parsing"),
        ("{", "error parsing"),
        ("just text", "error"),
        ("kind: SeldonDeployment", "apiVersion not set"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}", "name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndta: {}", "did you mean data?"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 1}", "a string"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A}", "lower-case letters"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: '%'}", "base64"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: [a]", "must map strings"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}", "no matches for kind"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}", "the local cluster has no P"),
    ],
)
@pytest.mark.parametrize("verb", ["apply", "create", "apply --server-side"])
@pytest.mark.usefixtures("api")
def test_kubectl_says_what_is_wrong_with_a_file(
    serving: LocalCluster, verb: str, text: str, told: str
) -> None:
    done = serving.kubectl(*verb.split(), "-f", "-", text=text)
    assert done.returncode == 1
    assert told in done.stderr, done.stderr


@pytest.mark.usefixtures("api")
def test_kubectl_says_that_a_file_is_too_large(serving: LocalCluster) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    text += f"data: {{a: {'x' * LARGEST_BYTES}}}"
    done = serving.kubectl("create", "-f", "-", text=text)
    assert done.returncode == 1
    assert "an object's limit" in done.stderr


@pytest.mark.usefixtures("api")
def test_kubectl_with_another_token_is_told_where_to_get_one(serving: LocalCluster) -> None:
    done = serving.kubectl("--token=wrong", "get", "sdep")
    assert done.returncode == 1
    assert "kubeconfig" in done.stderr or "Unauthorized" in done.stderr


@pytest.mark.usefixtures("api")
def test_a_good_document_behind_a_bad_one_is_still_applied(serving: LocalCluster) -> None:
    bad = yaml.safe_dump(iris()).replace("traffic: 90", "traffic: 80")
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
    done = serving.kubectl("apply", "-f", "-", text=f"{bad}\n---\n{good}")
    assert done.returncode == 1
    assert "sums to 90" in done.stderr
    assert "configmap/good created" in done.stdout
    serving.must("kubectl", "delete", "configmap", "good")
