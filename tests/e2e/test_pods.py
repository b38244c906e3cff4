"""Pods, their events and their logs, as kubectl shows them."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import yaml

from tests.e2e.local_cluster import ROOT, LocalCluster, gone, infer, iris, wait_until

pytestmark = pytest.mark.e2e

# What the server says when a setting is none, before it exits with code 1.
LAST_WORDS = "ABSERVE_LOG_LEVEL is 'loud'"


def one_predictor(name: str, **changes: Any) -> dict[str, Any]:
    """Return a SeldonDeployment of iris v1 alone; `changes` are of the graph node."""
    document = iris()
    document["metadata"]["name"] = name
    [predictor] = document["spec"]["predictors"] = document["spec"]["predictors"][:1]
    del predictor["traffic"]
    predictor["graph"].update(changes)
    return document


def with_variable(document: dict[str, Any], name: str, **value: Any) -> dict[str, Any]:
    for predictor in document["spec"]["predictors"]:
        [container] = predictor["componentSpecs"][0]["spec"]["containers"]
        container["env"].append({"name": name, **value})
    return document


@contextlib.contextmanager
def applied(cluster: LocalCluster, document: dict[str, Any]) -> Iterator[str]:
    """Apply a SeldonDeployment for the length of a test; give its name."""
    name = document["metadata"]["name"]
    done = cluster.apply(document)
    assert done.returncode == 0, done.stderr
    try:
        yield name
    finally:
        cluster.delete(name)


@pytest.fixture(scope="module")
def crashing(cluster: LocalCluster) -> Iterator[str]:
    """A deployment whose replica ends again and again, and has done so twice at least."""
    document = with_variable(one_predictor("loud"), "ABSERVE_LOG_LEVEL", value="loud")
    with applied(cluster, document) as name:
        wait_until(lambda: n_restarts(cluster, name) >= 2, lambda: cluster.pods(name))
        yield name


@pytest.fixture(scope="module")
def uncopied(cluster: LocalCluster) -> Iterator[str]:
    """A deployment whose version is not there, and of which that was found out."""
    with applied(cluster, one_predictor("lost", modelUri="s3://models/iris/v99")) as name:
        wait_until(
            lambda: "waiting" in first_state(cluster, name, "initContainerStatuses"),
            lambda: cluster.pods(name),
        )
        yield name


def only_pod(cluster: LocalCluster, name: str) -> dict[str, Any]:
    [pod] = cluster.pods(name)
    return pod


def pod_name(cluster: LocalCluster, name: str, part: str = "") -> str:
    return next(
        str(pod["metadata"]["name"])
        for pod in cluster.pods(name)
        if part in pod["metadata"]["name"]
    )


def statuses(
    cluster: LocalCluster, name: str, field: str = "containerStatuses"
) -> list[dict[str, Any]]:
    return [status for pod in cluster.pods(name) for status in pod["status"][field]]


def first_state(cluster: LocalCluster, name: str, field: str = "containerStatuses") -> Any:
    found = statuses(cluster, name, field)
    return found[0]["state"] if found else {}


def n_restarts(cluster: LocalCluster, name: str) -> int:
    return sum(each["restartCount"] for each in statuses(cluster, name))


def crash_loop(cluster: LocalCluster, name: str) -> dict[str, Any]:
    """Return the status of the container while it waits to be started again."""
    seen: list[dict[str, Any]] = []

    def waits() -> bool:
        seen[:] = statuses(cluster, name)
        return "waiting" in seen[0]["state"]

    wait_until(waits, lambda: seen)
    return seen[0]


def events(cluster: LocalCluster, about: str) -> list[list[str]]:
    """Return type, reason and message of what happened to an object, as kubectl tells it."""
    lines = cluster.must("kubectl", "events", "--for", about, "--no-headers").splitlines()
    return [re.split(r"\s{2,}", line)[1:3] + re.split(r"\s{2,}", line)[4:] for line in lines]


def refusal(cluster: LocalCluster, *arguments: str) -> str:
    refused = cluster.kubectl(*arguments)
    assert refused.returncode == 1, refused.stdout
    return refused.stderr


class Follower:
    """A ``kubectl logs -f`` that runs."""

    def __init__(self, cluster: LocalCluster, pod: str) -> None:
        self._process = subprocess.Popen(
            ["kubectl", "logs", "-f", pod, "-c", "iris"],
            env=cluster.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, part: str) -> str:
        """Return the next line that holds `part`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if part in line:
                return line
        raise AssertionError(f"the log ended without {part!r}")

    def rest(self) -> str:
        """Return what is said until the end, which has to come."""
        return self._process.communicate(timeout=60)[0]

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def follow(iris_cluster: LocalCluster) -> Iterator[Any]:
    followers: list[Follower] = []

    def start(pod: str) -> Follower:
        followers.append(Follower(iris_cluster, pod))
        return followers[-1]

    yield start
    for follower in followers:
        follower.end()


def test_describe_tells_what_a_pod_is_and_what_happened_to_it(iris_cluster: LocalCluster) -> None:
    pod = pod_name(iris_cluster, "iris", "baseline")
    described = iris_cluster.must("kubectl", "describe", "pod", pod)
    pid = iris_cluster.pid_of("iris-baseline")
    for line in (
        "Controlled By:  SeldonDeployment/iris",
        "iris-model-initializer:",
        "s3://models/iris/v1",
        f"Container ID:   process://{pid}",
        "Image:          abserve/runtimes:0.1.0",
        "<set to the key 'key' in secret 'feedback-key'>",
        "model-repository  Secret  Optional: false",
        "Ready             True",
    ):
        assert line in described
    told = described.partition("Events:")[2]
    reasons = ("Copying", "Copied", "Created", "Started")
    assert sorted(reasons, key=told.index) == list(reasons)


def test_a_ready_pod_is_so_to_every_way_of_asking(iris_cluster: LocalCluster) -> None:
    wide = iris_cluster.must("kubectl", "get", "pods", "-o", "wide")
    assert wide.count("1/1") == 2
    ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
    assert iris_cluster.must("kubectl", "get", "pods", "-o", ready) == "True True"
    iris_cluster.must("kubectl", "wait", "pods", "--all", "--for=condition=Ready", "--timeout=5s")


def test_a_crash_loop_is_a_container_that_waits(cluster: LocalCluster, crashing: str) -> None:
    status = crash_loop(cluster, crashing)
    waiting, ended = status["state"]["waiting"], status["lastState"]["terminated"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert re.match(r"back-off \S+s restarting failed container: ", waiting["message"])
    assert LAST_WORDS in waiting["message"]
    assert (ended["exitCode"], ended["reason"]) == (1, "Error")
    assert ended["startedAt"] <= ended["finishedAt"]
    assert not status["ready"]
    shown = cluster.must("kubectl", "get", "pods", "-l", f"seldon-deployment-id={crashing}")
    assert "0/1" in shown


def test_a_crash_loop_is_told_with_its_last_words(cluster: LocalCluster, crashing: str) -> None:
    pod = pod_name(cluster, crashing)
    for shown in (
        cluster.must("kubectl", "describe", "pod", pod),
        cluster.must("kubectl", "describe", "sdep", crashing),
        cluster.must("kubectl", "events", "--for", f"pod/{pod}"),
        cluster.must("kubectl", "events", "--for", f"sdep/{crashing}"),
        cluster.must("kubectl", "get", "events"),
    ):
        assert LAST_WORDS in shown
    told = cluster.must("kubectl", "describe", "pod", pod).partition("Events:")[2]
    assert re.search(r"Warning\s+BackOff\s.*x\d+ over", told)


def test_the_status_names_predictor_pod_and_last_words_of_a_crash_loop(
    cluster: LocalCluster, crashing: str
) -> None:
    status = cluster.get(crashing)["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    expected = f"baseline: CrashLoopBackOff in pod {pod_name(cluster, crashing)}: "
    assert expected in status["description"]
    assert LAST_WORDS in status["description"]
    assert ready["status"] == "False"
    assert "CrashLoopBackOff in pod" in ready["message"]
    assert LAST_WORDS in ready["message"]
    assert status["state"] == "Failed"


def test_the_log_of_a_crash_loop_is_that_of_the_run_that_ended(
    cluster: LocalCluster, crashing: str
) -> None:
    pod = pod_name(cluster, crashing)
    assert LAST_WORDS in cluster.must("kubectl", "logs", pod, "--previous", "--tail", "1")
    # Each run has its own: the words stand there once.
    assert cluster.must("kubectl", "logs", pod, "--previous").count(LAST_WORDS) == 1


def test_a_copy_that_fails_is_the_init_containers_crash_loop(
    cluster: LocalCluster, uncopied: str
) -> None:
    pod = pod_name(cluster, uncopied)
    wait_until(
        lambda: "Init:CrashLoopBackOff" in cluster.must("kubectl", "get", "pod", pod),
        lambda: cluster.must("kubectl", "get", "pod", pod),
    )
    [status] = statuses(cluster, uncopied, "initContainerStatuses")
    assert "s3://models/iris/v99 holds no files" in status["lastState"]["terminated"]["message"]
    assert only_pod(cluster, uncopied)["status"]["phase"] == "Pending"
    assert ["Warning", "BackOff"] in [each[:2] for each in events(cluster, f"pod/{pod}")]
    assert "CrashLoopBackOff in pod" in cluster.get(uncopied)["status"]["description"]


def test_the_init_containers_log_is_rclones(iris_cluster: LocalCluster, uncopied: str) -> None:
    pod = pod_name(iris_cluster, "iris", "baseline")
    said = iris_cluster.must("kubectl", "logs", pod, "-c", "iris-model-initializer")
    assert "model.onnx: Copied (new)" in said
    waits = refusal(iris_cluster, "logs", pod_name(iris_cluster, uncopied), "-c", "iris")
    assert "is waiting to start: PodInitializing" in waits


def test_a_secret_that_is_missing_is_what_a_pod_waits_for(cluster: LocalCluster) -> None:
    missing = {"secretKeyRef": {"name": "later", "key": "word"}}
    document = with_variable(one_predictor("patient"), "WORD", valueFrom=missing)
    with applied(cluster, document) as name:
        wait_until(
            lambda: (
                first_state(cluster, name).get("waiting", {}).get("reason")
                == "CreateContainerConfigError"
            ),
            lambda: cluster.pods(name),
        )
        pod = pod_name(cluster, name)
        assert "'later'" in cluster.must("kubectl", "describe", "pod", pod)
        cluster.must("kubectl", "create", "secret", "generic", "later", "--from-literal=word=ox")
        cluster.wait_until_available(name)
        assert n_restarts(cluster, name) == 0


def test_values_of_secrets_are_shown_nowhere(cluster: LocalCluster) -> None:
    word = "swordfish-72f1"
    cluster.must("kubectl", "create", "secret", "generic", "word", f"--from-literal=word={word}")
    source = {"secretKeyRef": {"name": "word", "key": "word"}}
    document = with_variable(one_predictor("discreet"), "WORD", valueFrom=source)
    with applied(cluster, document) as name:
        cluster.wait_until_available(name)
        pod = pod_name(cluster, name)
        psutil.Process(cluster.pid_of(name)).kill()
        wait_until(lambda: n_restarts(cluster, name) == 1, lambda: cluster.pods(name))
        of_pod = [*cluster.home.glob(f"pods/*.{name}-*/logs/*/*")]
        assert of_pod
        logs = [*cluster.home.glob("logs/*"), *of_pod]
        for shown in (
            cluster.must("kubectl", "get", "pod", pod, "-o", "yaml"),
            cluster.must("kubectl", "describe", "pod", pod),
            cluster.must("kubectl", "get", "events", "-o", "yaml"),
            *(log.read_text() for log in logs),
        ):
            assert word not in shown


def test_followers_see_new_lines_as_they_come_and_end_with_the_run(
    iris_cluster: LocalCluster, follow: Any
) -> None:
    pod = pod_name(iris_cluster, "iris", "candidate")
    iris_cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    followers = [follow(pod), follow(pod)]
    for follower in followers:
        follower.until("Loaded model 'iris'")
    assert infer(iris_cluster.url(), inputs=[]).status_code == 400
    for follower in followers:
        assert '"status":400' in follower.until("refused")
    psutil.Process(iris_cluster.pid_of("iris-candidate")).kill()
    assert [follower.rest() for follower in followers] == ["", ""]


def test_each_run_has_its_own_log(iris_cluster: LocalCluster) -> None:
    pod = pod_name(iris_cluster, "iris", "baseline")
    before = iris_cluster.must("kubectl", "logs", pod, "-c", "iris")
    none = refusal(iris_cluster, "logs", pod, "-c", "iris", "--previous")
    assert 'previous terminated container "iris" in pod' in none
    psutil.Process(iris_cluster.pid_of("iris-baseline")).kill()
    wait_until(lambda: n_restarts(iris_cluster, "iris") == 1, lambda: iris_cluster.pods("iris"))
    iris_cluster.wait_until_available("iris")
    assert iris_cluster.must("kubectl", "logs", pod, "-c", "iris", "--previous") == before
    after = iris_cluster.must("kubectl", "logs", pod, "-c", "iris")
    assert after.count("Loaded model") == 1
    assert after != before
    ended = statuses(iris_cluster, "iris")[0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["signal"]) == (137, 9)


def test_the_options_of_logs(iris_cluster: LocalCluster) -> None:
    pod = pod_name(iris_cluster, "iris", "baseline")

    def logs(*options: str) -> str:
        return iris_cluster.must("kubectl", "logs", pod, "-c", "iris", *options)

    lines = logs().splitlines(keepends=True)
    assert logs("--tail", "2") == "".join(lines[-2:])
    assert logs("--limit-bytes", "12") == "".join(lines)[:12]
    assert logs("--since", "1h") == "".join(lines)
    time = json.loads(lines[-1])["time"]
    assert lines[-1] in logs("--since-time", time)
    assert logs("--since-time", "2999-01-01T00:00:00Z") == ""
    stamped = logs("--timestamps", "--tail", "1")
    assert stamped == f"{time.removesuffix('Z')}000Z {lines[-1]}"


def test_logs_of_a_selection_are_told_apart(iris_cluster: LocalCluster) -> None:
    said = iris_cluster.must(
        "kubectl", "logs", "-l", "seldon-deployment-id=iris", "--prefix", "--all-containers"
    )
    for pod in iris_cluster.pods("iris"):
        for container in ("iris", "iris-model-initializer"):
            assert f"[pod/{pod['metadata']['name']}/{container}] " in said


def test_a_container_that_there_is_not_is_named_beside_those_there_are(
    iris_cluster: LocalCluster,
) -> None:
    pod = pod_name(iris_cluster, "iris")
    path = f"/api/v1/namespaces/default/pods/{pod}/log?container=nope"
    message = refusal(iris_cluster, "get", "--raw", path)
    assert f"container nope is not valid for pod {pod}" in message
    assert "[iris] or one of the init containers: [iris-model-initializer]" in message


def test_a_deleted_pod_ends_in_order_and_another_takes_its_place(
    iris_cluster: LocalCluster, follow: Any
) -> None:
    pod = pod_name(iris_cluster, "iris", "candidate")
    follower = follow(pod)
    iris_cluster.must("kubectl", "delete", "pod", pod, "--dry-run=server")
    follower.until("Loaded model")
    # kubectl returns once the pod is gone.
    iris_cluster.must("kubectl", "delete", "pod", pod, "--timeout=60s")
    assert "Killing" in iris_cluster.must("kubectl", "get", "events")
    assert "Shutting down" in follower.rest()
    iris_cluster.wait_until_available("iris")
    names = {each["metadata"]["name"] for each in iris_cluster.pods("iris")}
    assert len(names) == 2
    assert pod not in names
    iris_cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    assert infer(iris_cluster.url()).json()["model_version"] == "v2"


@pytest.mark.parametrize(
    "command", [["exec", "POD", "--", "ls"], ["attach", "POD"], ["port-forward", "POD", ":9000"]]
)
def test_what_only_a_container_has_is_refused(
    iris_cluster: LocalCluster, command: list[str]
) -> None:
    pod = pod_name(iris_cluster, "iris")
    message = refusal(iris_cluster, *(pod if each == "POD" else each for each in command))
    assert f"pod '{pod}' is a process of this machine" in message


def test_pods_and_logs_outlive_the_cluster_that_started_them(iris_cluster: LocalCluster) -> None:
    pod = pod_name(iris_cluster, "iris", "baseline")
    psutil.Process(iris_cluster.pid_of("iris-baseline")).kill()
    wait_until(lambda: n_restarts(iris_cluster, "iris") == 1, lambda: iris_cluster.pods("iris"))
    iris_cluster.wait_until_available("iris")
    [before] = [each for each in iris_cluster.pods("iris") if each["metadata"]["name"] == pod]
    said = {
        option: iris_cluster.must("kubectl", "logs", pod, "-c", "iris", option)
        for option in ("--previous", "--follow=false")
    }
    api = json.loads((iris_cluster.home / "cluster.json").read_text())["process"]["pid"]
    psutil.Process(api).kill()
    wait_until(lambda: gone(api), lambda: api)
    iris_cluster.must("abserve", "up", "--detach", "--no-console")
    [after] = [each for each in iris_cluster.pods("iris") if each["metadata"]["name"] == pod]
    for status in ("restartCount", "containerID", "state", "ready"):
        found = after["status"]["containerStatuses"][0][status]
        assert found == before["status"]["containerStatuses"][0][status]
    for option, text in said.items():
        assert iris_cluster.must("kubectl", "logs", pod, "-c", "iris", option) == text
    assert yaml.safe_load(iris_cluster.must("kubectl", "get", "events", "-o", "yaml"))["items"]
