import pytest

from abserve.cluster.api.kinds import EVENT, POD, SECRET, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.selectors import field_selector, label_selector
from abserve.cluster.api.status import ApiError


def matches(selector: str, **labels: str) -> bool:
    return label_selector(selector)({"metadata": {"labels": labels}})


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "app=iris",
        "app==iris",
        " app = iris ",
        "app!=wine",
        "stage!=old",
        "app in (iris, wine)",
        "app in(iris)",
        "app notin (wine)",
        "stage notin (old)",
        "app",
        "!stage",
        "app=iris,tier=web",
        "app in (iris,wine),tier!=db",
        "seldon.io/id=7",
    ],
)
def test_a_selector_takes(selector: str) -> None:
    assert matches(selector, **{"app": "iris", "tier": "web", "seldon.io/id": "7"})


@pytest.mark.parametrize(
    "selector",
    [
        "app=wine",
        "app!=iris",
        "stage=old",
        "app=",
        "app in (wine)",
        "stage in (old)",
        "app notin (iris,wine)",
        "stage",
        "!app",
        "app=iris,tier=db",
    ],
)
def test_a_selector_leaves_out(selector: str) -> None:
    assert not matches(selector, app="iris", tier="web")


@pytest.mark.parametrize("labels", [{}, {"labels": None}, {"labels": {}}])
def test_an_object_without_labels_has_none_that_could_match(labels: dict) -> None:
    assert label_selector("!app")({"metadata": labels})
    assert not label_selector("app=iris")({"metadata": labels})


@pytest.mark.parametrize("selector", ["app in iris", "app like iris", "a=b=c", "=iris"])
def test_a_label_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(ApiError, match="cannot be read") as caught:
        label_selector(selector)
    assert caught.value.code == 400


IRIS_0 = {
    "metadata": {"name": "iris-0", "namespace": "shop"},
    "spec": {},
    "status": {"phase": "Running", "podIP": "127.0.0.1"},
}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "metadata.name=iris-0",
        "metadata.namespace==shop",
        "status.phase=Running",
        "status.phase!=Pending",
        "spec.nodeName=",
        "metadata.name=iris-0,status.podIP=127.0.0.1",
    ],
)
def test_a_field_selector_takes(selector: str) -> None:
    assert field_selector(POD, selector)(IRIS_0)


@pytest.mark.parametrize(
    "selector",
    [
        "metadata.name=iris",
        "status.phase!=Running",
        "spec.nodeName=here",
        "metadata.name=iris-0,status.phase=Pending",
    ],
)
def test_a_field_selector_leaves_out(selector: str) -> None:
    assert not field_selector(POD, selector)(IRIS_0)


def test_events_are_selected_by_what_they_are_about() -> None:
    event = {
        "metadata": {"name": "iris.1"},
        "type": "Warning",
        "involvedObject": {"kind": "SeldonDeployment", "name": "iris"},
    }
    selector = "involvedObject.kind=SeldonDeployment,involvedObject.name=iris,type!=Normal"
    assert field_selector(EVENT, selector)(event)


@pytest.mark.parametrize("selector", ["metadata.name", "metadata.name in (iris)", "a=b=c"])
def test_a_field_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(ApiError, match="is not FIELD=VALUE") as caught:
        field_selector(POD, selector)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (POD, "status.phas"),
        (SELDON_DEPLOYMENT, "status.state"),
        (SECRET, "data.key"),
        (EVENT, "metadata.labels.app"),
    ],
)
def test_a_field_that_kubernetes_does_not_select_by_is_refused(kind: Kind, field: str) -> None:
    with pytest.raises(ApiError, match=f"field label not supported: {field}") as caught:
        field_selector(kind, f"{field}=x")
    assert caught.value.code == 400
    assert "metadata.name" in str(caught.value)
