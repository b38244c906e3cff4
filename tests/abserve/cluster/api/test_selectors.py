import pytest

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


POD = {"metadata": {"name": "iris-0"}, "status": {"phase": "Running"}, "count": 3}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "metadata.name=iris-0",
        "metadata.name==iris-0,status.phase=Running",
        "status.phase!=Pending",
        "spec.nodeName=",
        "count=3",
    ],
)
def test_a_field_selector_takes(selector: str) -> None:
    assert field_selector(selector)(POD)


@pytest.mark.parametrize(
    "selector",
    ["metadata.name=wine", "status.phase!=Running", "metadata.name.deep=iris-0", "spec.nodeName=a"],
)
def test_a_field_selector_leaves_out(selector: str) -> None:
    assert not field_selector(selector)(POD)


@pytest.mark.parametrize("selector", ["metadata.name", "metadata.name in (iris)", "!a", "=b"])
def test_a_field_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(ApiError, match="FIELD=VALUE") as caught:
        field_selector(selector)
    assert caught.value.code == 400
