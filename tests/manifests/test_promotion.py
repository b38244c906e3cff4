"""What a promotion makes of the SeldonDeployment in production, pods and all."""

from typing import Any

import jsonpatch
import pytest

from abserve.seldon import adopt, finish, open_experiment, shift_all
from tests.manifests.models import MODELS, deployment, pods


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


@pytest.mark.parametrize("model", MODELS)
def test_a_promoted_predictor_copies_its_version_and_is_spread_by_itself(model: str) -> None:
    before = deployment("production", model)
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
    uri = f"s3://abserve-models-production/{model}/v3"
    opened = applied(promoted, open_experiment(promoted, uri, 10))
    assert named_in_pods(opened) == {
        "baseline": ("v2", "v2", {"baseline"}),
        "candidate": ("v3", "v3", {"candidate"}),
    }
