"""What kubectl reads: every form of get, explain, describe, wait, watch, events and the rest."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from abserve.cluster.api.kinds import KINDS, Kind
from abserve.cluster.api.schemas import faults
from tests.e2e.local_cluster import ROOT, LocalCluster
from tests.manifests.crd import crd_faults

pytestmark = pytest.mark.e2e

SDEP = "seldondeployment.machinelearning.seldon.io/iris"
SPLIT = "baseline 90%, candidate 10%"
WATCH_SECONDS = 20


@pytest.fixture(scope="module")
def iris(cluster: LocalCluster) -> LocalCluster:
    """The cluster, with iris served at 90/10; nobody changes what it serves."""
    cluster.apply_iris()
    return cluster


def words(line: str) -> list[str]:
    return line.split()


def table(cluster: LocalCluster, *arguments: str) -> list[dict[str, str]]:
    """Return what kubectl prints as rows, by column."""
    header, *lines = cluster.must("kubectl", "get", *arguments).splitlines()
    titles = [title for title in header.split("  ") if title.strip()]
    starts = [header.index(title.strip()) for title in titles]
    ends = [*starts[1:], None]
    return [
        {
            title.strip(): line[start:end].strip()
            for title, start, end in zip(titles, starts, ends, strict=True)
        }
        for line in lines
    ]


@contextmanager
def printed_lines(cluster: LocalCluster, *command: str) -> Iterator["Queue[str]"]:
    """Run a command that does not end, and yield the lines that it prints, as it does."""
    lines: Queue[str] = Queue()
    process = subprocess.Popen(
        command, cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, text=True
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)

    reader = Thread(target=read)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        process.wait()
        reader.join()
        if process.stdout is not None:
            process.stdout.close()


# What there is.


def test_api_resources_lists_each_kind_with_its_short_name(cluster: LocalCluster) -> None:
    listed = cluster.must("kubectl", "api-resources", "--no-headers")
    assert sorted(words(line)[0] for line in listed.splitlines()) == sorted(
        kind.plural for kind in KINDS
    )
    (sdep,) = [line for line in listed.splitlines() if line.startswith("seldon")]
    assert words(sdep)[1:] == ["sdep", "machinelearning.seldon.io/v1", "true", "SeldonDeployment"]


def test_api_resources_tells_the_verbs_of_a_group(cluster: LocalCluster) -> None:
    group = "--api-group=machinelearning.seldon.io"
    (line,) = cluster.must(
        "kubectl", "api-resources", group, "-o", "wide", "--no-headers"
    ).splitlines()
    assert {"create", "delete", "get", "list", "patch", "update", "watch"} <= set(
        words(line)[5].split(",")
    )
    assert words(line)[6] == "all"


def test_api_versions_lists_each_group(cluster: LocalCluster) -> None:
    assert cluster.must("kubectl", "api-versions").split() == [
        "coordination.k8s.io/v1",
        "machinelearning.seldon.io/v1",
        "v1",
    ]


def test_version_names_a_server(cluster: LocalCluster) -> None:
    told = json.loads(cluster.must("kubectl", "version", "-o", "json"))
    assert told["serverVersion"]["gitVersion"].startswith("v1.")


def test_cluster_info_tells_where_the_api_and_the_gateway_are(cluster: LocalCluster) -> None:
    told = cluster.must("kubectl", "cluster-info")
    assert "control plane is running at https://127.0.0.1:" in told
    assert "gateway is running at http://localhost:" in told


def test_raw_paths_answer(cluster: LocalCluster) -> None:
    assert cluster.must("kubectl", "get", "--raw", "/readyz") == "ok"
    groups = json.loads(cluster.must("kubectl", "get", "--raw", "/apis"))["groups"]
    assert [group["name"] for group in groups] == [
        "coordination.k8s.io",
        "machinelearning.seldon.io",
    ]


def test_the_first_get_takes_three_requests_and_the_next_one(
    iris: LocalCluster, tmp_path: Path
) -> None:
    def requests() -> list[str]:
        done = iris.run("kubectl", "get", "sdep", "-v=6", KUBECACHEDIR=str(tmp_path))
        assert done.returncode == 0
        return [line for line in done.stderr.splitlines() if "round_trippers" in line]

    assert len(requests()) == 3
    assert len(requests()) == 1


# Explain.


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("sdep", ["KIND:       SeldonDeployment", "share of the", "spec\t<SeldonDeploymentSpec>"]),
        ("sdep.spec", ["predictors\t<[]Predictor> -required-", "protocol\t<string>"]),
        ("sdep.spec.predictors", ["traffic\t<integer>", "whole percent", "graph", "-required-"]),
        ("sdep.spec.predictors.graph", ["children\t<[]PredictiveUnit>", "s3://models/iris/v1"]),
        ("sdep.spec.predictors.graph.children.children", ["modelUri\t<string>"]),
        ("sdep.spec.predictors.componentSpecs.spec.containers.env", ["valueFrom"]),
        ("sdep.metadata", ["resourceVersion\t<string>", "labels\t<map[string]string>"]),
        ("sdep.status", ["state\t<string>", "Available", "conditions\t<[]Condition>"]),
        ("secret", ["stringData\t<map[string]string>"]),
        ("secret.data", ["FIELD: data <map[string]string>", "base64"]),
        ("cm", ["binaryData\t<map[string]string>"]),
        ("pod.status", ["containerStatuses\t<[]ContainerStatus>", "phase\t<string>"]),
        ("po.status.containerStatuses.state", ["waiting", "running", "terminated"]),
        ("ns", ["KIND:       Namespace", "model-repository"]),
        ("event", ["involvedObject\t<EventObject> -required-", "enum: Normal, Warning"]),
        ("svc", ["KIND:       Service", "gateway"]),
        ("lease.spec", ["holderIdentity\t<string>", "leaseDurationSeconds\t<integer>"]),
    ],
)
def test_explain_says_what_a_field_means(
    cluster: LocalCluster, field: str, told: list[str]
) -> None:
    explained = cluster.must("kubectl", "explain", field)
    assert [each for each in told if each not in explained] == []
    assert "<no description>" not in explained


def test_explain_shows_all_fields_at_once_and_comes_to_an_end(cluster: LocalCluster) -> None:
    lines = cluster.must("kubectl", "explain", "sdep", "--recursive").splitlines()
    named = [words(line)[0] for line in lines if line.strip()]
    assert {"predictors", "modelUri", "secretKeyRef", "observedGeneration"} <= set(named)
    # The children of a node are told once, and not what they are made of again and again.
    assert named.count("children") == 1


def test_explain_of_an_unknown_field_says_so(cluster: LocalCluster) -> None:
    done = cluster.kubectl("explain", "sdep.spec.predictors.trafic")
    assert done.returncode == 1
    assert 'field "trafic" does not exist' in done.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_object_has_the_fields_that_explain_names_and_no_others(
    iris: LocalCluster, kind: Kind
) -> None:
    listed = json.loads(iris.must("kubectl", "get", kind.plural, "-A", "-o", "json"))
    assert kind.name in {"ConfigMap", "Lease"} or listed["items"]
    assert [fault for each in listed["items"] for fault in faults(kind, each)] == []


def test_what_is_stored_fits_the_real_crd_with_its_status(iris: LocalCluster) -> None:
    assert crd_faults(iris.get("iris")) == []


# Get.


def test_get_shows_more_if_asked_for_more(iris: LocalCluster) -> None:
    (row,) = table(iris, "sdep", "-o", "wide")
    assert row["PREDICTORS"] == SPLIT
    assert (row["REPLICAS"], row["VERSIONS"]) == ("1/1, 1/1", "v1, v2")
    assert row["STATE"] == "Available"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sdep", "-o", "name"], SDEP),
        (["sdep/iris", "-o", "jsonpath={.status.state}"], "Available"),
        (["sdep", "-o", "jsonpath={.items[*].metadata.name}"], "iris"),
        (["sdep", "iris", "-o", "go-template={{.spec.protocol}}"], "v2"),
        (["sdep", "-o", "custom-columns=S:.status.state", "--no-headers"], "Available"),
        (["sdep", "-l", "app.kubernetes.io/name=iris", "-o", "name"], SDEP),
        (["sdep", "-l", "app.kubernetes.io/name in (wine)", "-o", "name"], ""),
        (["sdep", "-l", "!app.kubernetes.io/name", "-o", "name"], ""),
        (["sdep", "--field-selector", "metadata.name=iris", "-o", "name"], SDEP),
        (["sdep", "--field-selector", "metadata.name!=iris", "-o", "name"], ""),
        (["sdep", "-A", "-o", "name"], SDEP),
        (["sdep", "-n", "kube-public", "-o", "name"], ""),
        (["sdep", "--chunk-size=1", "-o", "name"], SDEP),
        (["sdep", "nothing", "--ignore-not-found"], ""),
        (["seldondeployments.v1.machinelearning.seldon.io", "-o", "name"], SDEP),
        (["ns", "-o", "name"], "namespace/default\nnamespace/kube-public\nnamespace/kube-system"),
        (["svc", "-n", "kube-system", "-o", "name"], "service/gateway"),
        (["sdep/iris", "--subresource=status", "-o", "jsonpath={.status.replicas}"], "1"),
    ],
)
def test_get_answers_in_every_form(iris: LocalCluster, arguments: list[str], expected: str) -> None:
    assert iris.must("kubectl", "get", *arguments).strip() == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sdep", "-A"], ["default", "iris", "Available", SPLIT]),
        (["sdep", "--show-labels"], ["app.kubernetes.io/part-of=abserve"]),
        (["sdep", "-L", "app.kubernetes.io/part-of"], ["PART-OF", "abserve"]),
        (["sdep", "--show-kind"], [SDEP]),
        (["sdep", "--sort-by=.spec.predictors[0].traffic"], [SPLIT]),
        (["all"], ["pod/iris-baseline", "pod/iris-candidate", SDEP]),
        (["sdep,pods,secrets"], [SDEP, "pod/iris-baseline", "secret/model-repository"]),
        (["sdep", "-o", "yaml"], ["apiVersion: machinelearning.seldon.io/v1", "modelUri: s3:"]),
        (["ns"], ["NAME", "STATUS", "AGE", "Active"]),
        (["svc", "-A"], ["EXTERNAL-IP", "localhost", "/TCP"]),
        (["cm", "-n", "kube-public"], ["abserve-gateway", "DATA"]),
    ],
)
def test_get_prints_what_was_asked_for(
    iris: LocalCluster, arguments: list[str], expected: list[str]
) -> None:
    printed = iris.must("kubectl", "get", *arguments)
    assert [each for each in expected if each not in printed] == []


def test_get_sorts_by_what_no_column_shows(iris: LocalCluster) -> None:
    rows = table(iris, "pods", "--sort-by=.metadata.labels.version")
    assert [row["NAME"].split("-")[1] for row in rows] == ["baseline", "candidate"]
    rows = table(iris, "pods", "--sort-by={.spec.containers[0].ports[0].containerPort}")
    assert len(rows) == 2


def test_pods_show_how_their_servers_are(iris: LocalCluster) -> None:
    rows = table(iris, "pods", "-o", "wide")
    assert [row["PREDICTOR"] for row in rows] == ["baseline", "candidate"]
    assert {row["READY"] for row in rows} == {"1/1"}
    assert {row["STATUS"] for row in rows} == {"Running"}
    assert {row["RESTARTS"] for row in rows} == {"0"}
    pods = iris.pods("iris")
    http = [pod["spec"]["containers"][0]["ports"][0]["containerPort"] for pod in pods]
    assert [row["PORTS"].split(",")[0] for row in rows] == [f"http {port}" for port in http]


def test_secrets_show_how_much_they_hold_and_nothing_of_it(iris: LocalCluster) -> None:
    rows = {row["NAME"]: row for row in table(iris, "secrets")}
    assert rows["feedback-key"]["TYPE"] == "Opaque"
    assert rows["feedback-key"]["DATA"] == "1"


def test_events_are_shown_with_when_they_were_last_seen(iris: LocalCluster) -> None:
    rows = table(iris, "events", "--field-selector", "reason=Available")
    assert rows[0]["OBJECT"] == "seldondeployment/iris"
    assert rows[0]["LAST SEEN"].endswith("s")
    assert list(rows[0]) == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def test_kubectl_events_tells_of_one_object(iris: LocalCluster) -> None:
    told = iris.must("kubectl", "events", "--for", SDEP)
    assert "baseline 90 %, candidate 10 %" in told
    assert iris.must("kubectl", "events", "--for", "secret/feedback-key") == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["get", "sdep", "nothing"], '(NotFound): seldondeployments.machinelearning.seldon.io "no'),
        (["get", "deployments"], 'the server doesn\'t have a resource type "deployments"'),
        (["get", "pods", "--field-selector", "status.phas=Running"], "field label not supported"),
        (["get", "sdep", "-l", "a like b"], "label selector 'a like b' cannot be read"),
        (["get", "--raw", "/nowhere"], "(NotFound)"),
        (["describe", "sdep", "nothing"], "(NotFound)"),
        (["logs", "nothing"], '(NotFound): pods "nothing" not found'),
    ],
)
def test_what_there_is_not_is_told_as_anywhere(
    cluster: LocalCluster, arguments: list[str], told: str
) -> None:
    done = cluster.kubectl(*arguments)
    assert done.returncode == 1
    assert told in done.stderr


# Describe.


def test_describe_tells_conditions_and_events_of_a_deployment(iris: LocalCluster) -> None:
    told, _, events = iris.must("kubectl", "describe", "sdep", "iris").partition("Events:")
    assert "istioVirtualServicesReady" in told
    assert "Model Uri: s3://models/iris/v2" in " ".join(told.split())
    assert "baseline 90 %, candidate 10 %" in events


def test_describe_tells_how_a_pod_is(iris: LocalCluster) -> None:
    name = iris.pods("iris")[0]["metadata"]["name"]
    told = iris.must("kubectl", "describe", "pod", name)
    told = " ".join(told.split())
    for each in (
        "Status: Running",
        "Controlled By: SeldonDeployment/iris",
        "Restart Count: 0",
        "State: Terminated Reason: Completed",
    ):
        assert each in told


def test_describe_does_not_tell_what_a_secret_holds(iris: LocalCluster) -> None:
    shown = iris.must("kubectl", "get", "secret", "feedback-key", "-o", "jsonpath={.data.key}")
    told = iris.must("kubectl", "describe", "secret", "feedback-key")
    assert "key:  " in told
    assert shown not in told


@pytest.mark.parametrize(
    "arguments", [["ns", "default"], ["cm", "-n", "kube-public"], ["svc", "-A"]]
)
def test_describe_tells_of_every_kind(iris: LocalCluster, arguments: list[str]) -> None:
    assert "Name:" in iris.must("kubectl", "describe", *arguments)


# Wait, watch and logs.


@pytest.mark.parametrize(
    "arguments",
    [
        ["sdep/iris", "--for=condition=Ready"],
        ["sdep", "--all", "--for=condition=DeploymentsReady"],
        ["sdep/iris", "--for=jsonpath={.status.state}=Available"],
        ["sdep/iris", "--for=create"],
        ["pods", "-l", "seldon-deployment-id=iris", "--for=condition=Ready"],
        ["sdep/nothing", "--for=delete"],
    ],
)
def test_wait_ends_when_it_is_so(iris: LocalCluster, arguments: list[str]) -> None:
    iris.must("kubectl", "wait", *arguments, "--timeout=20s")


def test_wait_gives_up_after_its_time(iris: LocalCluster) -> None:
    done = iris.kubectl("wait", "sdep/iris", "--for=condition=Ready=False", "--timeout=1s")
    assert done.returncode == 1
    assert "timed out waiting for the condition on seldondeployments/iris" in done.stderr


def test_wait_ends_when_an_object_is_gone(cluster: LocalCluster) -> None:
    cluster.must("kubectl", "create", "configmap", "brief")
    waiting = subprocess.Popen(
        ["kubectl", "wait", "cm/brief", "--for=delete", "--timeout=20s"],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
    )
    cluster.must("kubectl", "delete", "configmap", "brief")
    assert waiting.wait(WATCH_SECONDS) == 0


@pytest.mark.parametrize("one", [["sdep"], ["sdep", "iris"]])
def test_a_watch_prints_what_is_there_and_each_change(iris: LocalCluster, one: list[str]) -> None:
    with printed_lines(iris, "kubectl", "get", *one, "--watch", "-L", "seen") as lines:
        assert words(lines.get(timeout=WATCH_SECONDS))[0] == "NAME"
        assert SPLIT in lines.get(timeout=WATCH_SECONDS)
        iris.must("kubectl", "label", "sdep", "iris", f"seen=by-{len(one)}", "--overwrite")
        assert words(lines.get(timeout=WATCH_SECONDS))[-1] == f"by-{len(one)}"


def test_a_watch_of_changes_alone_passes_over_what_is_there(iris: LocalCluster) -> None:
    with printed_lines(iris, "kubectl", "get", "cm", "--watch-only", "-o", "name") as lines:
        # What kubectl watches from, it does not say; so there is a change until it shows one.
        name = iris.must("kubectl", "create", "cm", "watched", "-o", "name").strip()
        n_changes = 0
        while lines.empty() and n_changes < 100:
            n_changes += 1
            iris.must("kubectl", "label", name, f"n={n_changes}", "--overwrite")
        assert lines.get(timeout=WATCH_SECONDS).strip() == name
    iris.must("kubectl", "delete", name)


def test_a_watch_of_events_tells_each_change_of_it(iris: LocalCluster) -> None:
    arguments = ("sdep", "--watch", "--output-watch-events")
    with printed_lines(iris, "kubectl", "get", *arguments) as lines:
        assert words(lines.get(timeout=WATCH_SECONDS))[:2] == ["EVENT", "NAME"]
        assert words(lines.get(timeout=WATCH_SECONDS))[:2] == ["ADDED", "iris"]
        iris.must("kubectl", "annotate", "sdep", "iris", "seen=so", "--overwrite")
        assert words(lines.get(timeout=WATCH_SECONDS))[:2] == ["MODIFIED", "iris"]


def test_logs_can_be_asked_for_by_label(iris: LocalCluster) -> None:
    told = iris.must("kubectl", "logs", "-l", "version=candidate", "--tail=200")
    assert "Loaded model 'iris'" in told
