import json

from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi, fail
from tests.abserve.seldon.documents import document, predictor


def test_a_rollback_tells_what_is_done_and_what_serves_then(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("rollback", "iris")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "sending all requests to baseline",
        "iris: baseline serves s3://models/iris/v1 with 100 %",
    ]


def test_a_second_rollback_says_that_it_is_done(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    on_cluster("rollback", "iris")
    ended = on_cluster("rollback", "iris")
    assert ended.code == 0
    assert ended.out.startswith("all requests go to baseline already\n")


def test_a_rollback_is_told_to_machines_and_its_steps_on_stderr(
    api: LocalApi, on_cluster: Run
) -> None:
    api.apply()
    ended = on_cluster("rollback", "iris", "--remove", "--json")
    assert json.loads(ended.out) == {
        "name": "iris",
        "namespace": "shop",
        "variant": "baseline",
        "model_uri": "s3://models/iris/v1",
        "weight": 100,
    }
    assert ended.err == "sending all requests to baseline and removing candidate\n"


def test_the_one_that_serves_is_named_wherever_it_stands(api: LocalApi, on_cluster: Run) -> None:
    api.apply(
        document(
            predictor("shadow", "v3", shadow=True),
            predictor("candidate", "v2", traffic=60),
            predictor("baseline", "v1", traffic=40),
        )
    )
    ended = on_cluster("rollback", "iris")
    assert ended.out.endswith("iris: baseline serves s3://models/iris/v1 with 100 %\n")


def test_a_rollback_that_fails_ends_with_1(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.operator = fail
    ended = on_cluster("rollback", "iris")
    assert ended.code == 1
    assert ended.err.startswith("abserve: ")
    assert "Traceback" not in ended.err
