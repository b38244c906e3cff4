import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from abserve.cluster.api.kinds import CONFIG_MAP
from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes
from abserve.promotion.kubernetes import Pod
from tests.abserve.promotion.local_api import METRICS_PORT, LocalApi, do_nothing, fail
from tests.abserve.seldon.documents import document

READ = b'{"metadata": {"name": "iris", "resourceVersion": "7"}}'
HALF = [{"op": "replace", "path": "/spec/predictors/0/traffic", "value": 50}]


def kubeconfig(folder: Path, server: str, context: str = "{cluster: a, user: a}") -> Path:
    file = folder / "other-kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, "
        f"contexts: [{{name: a, context: {context}}}], "
        f"clusters: [{{name: a, cluster: {{server: '{server}'}}}}], "
        "users: [{name: a, user: {token: t}}]}"
    )
    return file


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield address(server.socket)
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def free_address() -> str:
    with listening() as listener:
        return address(listener)


def test_without_a_kubeconfig_no_cluster_is_known(tmp_path: Path) -> None:
    with pytest.raises(KubernetesError, match=r"no cluster is known.*start a local one with"):
        Kubernetes(tmp_path / "none", None)


@pytest.mark.parametrize("text", ["", "a: [", "- a", "hello", "contexts: 3\ncurrent-context: a"])
def test_a_file_that_is_no_kubeconfig_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(KubernetesError, match="no cluster is known"):
        Kubernetes(file, None)


def test_the_namespace_is_the_one_given(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", "{cluster: a, user: a, namespace: shop}")
    assert Kubernetes(file, "other").namespace == "other"


def test_the_namespace_is_else_the_contexts(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", "{cluster: a, user: a, namespace: shop}")
    assert Kubernetes(file, None).namespace == "shop"


def test_the_namespace_is_else_the_default_one(tmp_path: Path) -> None:
    assert Kubernetes(kubeconfig(tmp_path, "http://127.0.0.1:1"), None).namespace == "default"


def test_a_cluster_that_is_down_is_said_not_to_answer(tmp_path: Path) -> None:
    server = free_address()
    cluster = Kubernetes(kubeconfig(tmp_path, server), None)
    with pytest.raises(KubernetesError, match=f"{server} does not answer .*'abserve up' starts"):
        cluster.get("iris")


def test_a_cluster_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    class HangingUp(BaseHTTPRequestHandler):
        n_asked = 0

        def handle(self) -> None:
            HangingUp.n_asked += 1

    with serving(HangingUp) as server:
        cluster = Kubernetes(kubeconfig(tmp_path, server), None)
        with pytest.raises(KubernetesError, match="does not answer"):
            cluster.get("iris")
    assert HangingUp.n_asked == 1


def test_a_kubeconfig_of_another_cluster_is_not_taken_for_a_refusal(
    api: LocalApi, tmp_path: Path
) -> None:
    cluster = Kubernetes(kubeconfig(tmp_path, api.url), None)
    with pytest.raises(KubernetesError, match=r"is not the server this .*CERTIFICATE_VERIFY"):
        cluster.get("iris")


def test_a_wrong_token_is_refused(api: LocalApi, tmp_path: Path) -> None:
    file = tmp_path / "stale"
    file.write_text(api.kubeconfig.read_text().replace("only this test knows", "yesterday's"))
    with pytest.raises(KubernetesError, match=r"refused \(401\): Unauthorized"):
        Kubernetes(file, "shop").get("iris")


def test_a_deployment_is_what_was_applied(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    assert cluster.get("iris")["spec"] == document()["spec"]


def test_an_unknown_name_is_answered_with_the_names_that_are_there(
    api: LocalApi, cluster: Kubernetes
) -> None:
    for name in ("wine", "iris"):
        deployment = document()
        deployment["metadata"]["name"] = name
        api.apply(deployment)
    with pytest.raises(
        KubernetesError,
        match=r"no SeldonDeployment 'rose' in namespace 'shop' of https://.*; there: iris, wine",
    ):
        cluster.get("rose")


def test_where_nothing_is_applied_there_is_none(cluster: Kubernetes) -> None:
    with pytest.raises(KubernetesError, match="there: none"):
        cluster.get("iris")


def test_names_are_those_of_the_namespace(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    assert cluster.names() == ["iris"]
    assert Kubernetes(api.kubeconfig, None).names() == []


def test_a_patch_changes_the_deployment(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    other = [{"op": "replace", "path": "/spec/predictors/1/traffic", "value": 50}]
    changed = cluster.patch("iris", HALF + other)
    assert [each["traffic"] for each in changed["spec"]["predictors"]] == [50, 50]


def test_a_patch_that_admission_refuses_is_refused_in_its_words(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    with pytest.raises(KubernetesError, match=r"refused \(422\): .*\"iris\" is invalid: .*60"):
        cluster.patch("iris", HALF)


def test_a_patch_of_something_else_than_expected_is_refused(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    patch = [{"op": "test", "path": "/spec/predictors/0/name", "value": "candidate"}]
    with pytest.raises(KubernetesError, match=r"refused \(422\): the patch does not fit"):
        cluster.patch("iris", patch)


def test_what_is_available_already_is_not_waited_for(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    assert cluster.wait_until_available("iris", 1, 5)["status"]["state"] == "Available"


def test_a_change_is_waited_for(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    other = [{"op": "replace", "path": "/spec/predictors/1/traffic", "value": 50}]
    cluster.patch("iris", HALF + other)
    served = cluster.wait_until_available("iris", 2, 5)
    assert served["status"]["observedGeneration"] == 2


def test_waiting_ends_when_its_time_is_up(api: LocalApi, cluster: Kubernetes) -> None:
    api.operator = do_nothing
    api.apply()
    with pytest.raises(KubernetesError, match="'iris' is unknown, not Available, after 1 s"):
        cluster.wait_until_available("iris", 1, 1)


def test_what_is_available_as_it_was_is_not_said_to_be_unavailable(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    with pytest.raises(KubernetesError, match="'iris' is not Available as changed, after 1 s"):
        cluster.wait_until_available("iris", 2, 1)


def test_a_failure_is_told_with_its_description(api: LocalApi, cluster: Kubernetes) -> None:
    api.operator = fail
    api.apply()
    with pytest.raises(KubernetesError, match="'iris' failed: candidate: no such bucket"):
        cluster.wait_until_available("iris", 1, 5)


def test_a_deletion_ends_the_waiting(api: LocalApi, cluster: Kubernetes) -> None:
    api.operator = do_nothing
    api.apply()
    timer = threading.Timer(0.3, api.delete)
    timer.start()
    with pytest.raises(KubernetesError, match="'iris' was deleted meanwhile"):
        cluster.wait_until_available("iris", 1, 5)
    timer.join()


def test_waiting_for_what_is_not_there_ends_at_once(cluster: Kubernetes) -> None:
    with pytest.raises(KubernetesError, match="no SeldonDeployment 'iris'"):
        cluster.wait_until_available("iris", 1, 60)


def test_a_deletion_before_the_waiting_begins_ends_it_too(tmp_path: Path) -> None:
    class Deleting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if "watch=true" not in self.path:
                self.wfile.write(READ)
            elif "resourceVersion=7" in self.path:
                self.wfile.write(b'{"type": "DELETED", "object": ' + READ + b"}\n")

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with serving(Deleting) as server:
        cluster = Kubernetes(kubeconfig(tmp_path, server), None)
        with pytest.raises(KubernetesError, match="'iris' was deleted meanwhile"):
            cluster.wait_until_available("iris", 1, 5)


def test_a_cluster_that_falls_silent_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    ended = threading.Event()

    class FallingSilent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "watch=true" in self.path:
                ended.wait(10)
            else:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(READ)

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with serving(FallingSilent) as server:
        cluster = Kubernetes(kubeconfig(tmp_path, server), None)
        with pytest.raises(KubernetesError, match="does not answer"):
            cluster.wait_until_available("iris", 1, 1)
        ended.set()


def test_replicas_are_told_with_their_service_and_port(api: LocalApi, cluster: Kubernetes) -> None:
    api.run_pod("iris-baseline-1", "baseline", "")
    api.run_pod("iris-candidate-1", "candidate", "", ready=False)
    assert cluster.pods("iris") == [
        Pod("iris-baseline-1", "iris-baseline", ready=True, metrics_port=METRICS_PORT),
        Pod("iris-candidate-1", "iris-candidate", ready=False, metrics_port=METRICS_PORT),
    ]
    assert cluster.pods("wine") == []


def test_a_replica_that_is_being_stopped_is_left_out(api: LocalApi, cluster: Kubernetes) -> None:
    api.run_pod("iris-baseline-1", "baseline", "", stopping=True)
    assert cluster.pods("iris") == []


def test_metrics_come_through_the_pod_proxy_as_they_are(api: LocalApi, cluster: Kubernetes) -> None:
    text = '# HELP a A "quoted" line\n# TYPE a counter\na_total{b="\\n"} 1.0\n'
    api.run_pod("iris-baseline-1", "baseline", text)
    assert cluster.metrics(cluster.pods("iris")[0]) == text


def test_metrics_of_a_replica_that_does_not_answer_are_refused(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.run_pod("iris-baseline-1", "baseline", None)
    with pytest.raises(KubernetesError, match=r"refused \(503\): pod 'iris-baseline-1' does not"):
        cluster.metrics(cluster.pods("iris")[0])


def test_a_config_map_is_its_data(api: LocalApi, cluster: Kubernetes) -> None:
    api.publish_gateway("http://127.0.0.1:8080")
    data = cluster.config_map("kube-public", "abserve-gateway")
    assert data == {"url": "http://127.0.0.1:8080"}


def test_a_config_map_that_is_not_there_is_empty(cluster: Kubernetes) -> None:
    assert cluster.config_map("kube-public", "abserve-gateway") == {}


def test_a_config_map_without_data_is_empty(api: LocalApi, cluster: Kubernetes) -> None:
    metadata = {"name": "empty", "namespace": "shop"}
    api.create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert cluster.config_map("shop", "empty") == {}
