"""What a promotion makes of the SeldonDeployment in production, pods and all."""

from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from abserve.seldon import adopt, finish, open_experiment, shift_all
from tests.manifests.models import MODELS, copied, only, pods
from tests.manifests.overlays import with_values
from tests.manifests.rendering import rendered


@pytest.fixture(params=MODELS)
def before(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A model in production with v2 as the candidate, wherever production really is."""
    folder = copied(tmp_path) / "overlays/production" / request.param
    file = folder / "weights.yaml"
    file.write_text(with_values(file.read_text(), (90, 10), ("v1", "v2")))
    return only("SeldonDeployment", rendered(folder))


def named_in_pods(document: dict[str, Any]) -> dict[str, tuple[str, str, set[str]]]:
    """Return of each predictor: its version, the one that is copied, and by whom it is spread."""
    return {
        predictor["name"]: (
            predictor["graph"]["modelUri"].rpartition("/")[2],
            pod["initContainers"][0]["args"][1].rpartition("/")[2],
            {
                each["labelSelector"]["matchLabels"]["version"]
                for each in pod["topologySpreadConstraints"]
            },
        )
        for predictor, pod in zip(document["spec"]["predictors"], pods(document), strict=True)
    }


def applied(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    changed: dict[str, Any] = jsonpatch.apply_patch(document, patch)
    return changed


def test_a_promoted_predictor_copies_its_version_and_is_spread_by_itself(
    before: dict[str, Any],
) -> None:
    assert named_in_pods(before) == {
        "baseline": ("v1", "v1", {"baseline"}),
        "candidate": ("v2", "v2", {"candidate"}),
    }
    shifted = applied(before, shift_all(before, "candidate"))
    adopted = applied(shifted, adopt(shifted, "baseline", "candidate"))
    assert named_in_pods(adopted) == {
        "baseline": ("v2", "v2", {"baseline"}),
        "candidate": ("v2", "v2", {"candidate"}),
    }
    promoted = applied(adopted, finish(adopted, "baseline", "candidate"))
    assert named_in_pods(promoted) == {"baseline": ("v2", "v2", {"baseline"})}
    uri = f"s3://abserve-models-production/{before['metadata']['name']}/v3"
    opened = applied(promoted, open_experiment(promoted, uri, 10))
    assert named_in_pods(opened) == {
        "baseline": ("v2", "v2", {"baseline"}),
        "candidate": ("v3", "v3", {"candidate"}),
    }


def test_the_next_candidate_is_scaled_as_the_baseline_is(before: dict[str, Any]) -> None:
    alone = applied(before, shift_all(before, "baseline", without=("candidate",)))
    uri = f"s3://abserve-models-production/{before['metadata']['name']}/v3"
    opened = applied(alone, open_experiment(alone, uri, 10))
    was, _ = (each["componentSpecs"][0]["kedaSpec"] for each in before["spec"]["predictors"])
    now = [each["componentSpecs"][0]["kedaSpec"] for each in opened["spec"]["predictors"]]
    assert now == [was, was]
