"""What we ship passes our own check: `abserve check` without arguments."""

import pytest

from abserve.cluster.secrets import FEEDBACK_KEY, MODEL_REPOSITORY
from abserve.manifests import Checked, Rules, Schemas, Severity, check, given
from tests.manifests.crd import CRD
from tests.manifests.rendering import MANIFESTS


@pytest.fixture(scope="module")
def checked() -> Checked:
    """All of manifests/, with Seldon's own definition where it is beside the checkout."""
    definitions = (CRD,) if CRD.exists() else ()
    return check([MANIFESTS], Rules(Schemas(definitions=definitions)), tree=MANIFESTS)


def test_nothing_that_we_ship_is_an_error(checked: Checked) -> None:
    errors = [each for each in checked.findings if each.severity is Severity.ERROR]
    assert [f"{each.file} {each.subject} {each.rule}: {each.message}" for each in errors] == []


def test_every_kind_that_we_use_has_a_schema(checked: Checked) -> None:
    """Without a file of definitions, and as the release has it that a cluster of ours runs."""
    assert [each.message for each in checked.findings if each.rule == "schema"] == []


def test_every_selector_of_ours_selects_pods_that_we_know(checked: Checked) -> None:
    noted = [each for each in checked.findings if each.rule == "selector"]
    assert [f"{each.file} {each.subject} {each.message}" for each in noted] == []


def test_every_overlay_was_looked_at(checked: Checked) -> None:
    overlays = [*MANIFESTS.glob("overlays/*/*/kustomization.yaml")]
    assert overlays
    assert checked.n_kustomizations >= len(
        [each for each in overlays if "kind: Component" not in each.read_text()]
    )


def test_without_the_definition_nothing_is_an_error_either() -> None:
    found = check([MANIFESTS / "overlays/local"], Rules(Schemas()), tree=MANIFESTS).findings
    assert [each.message for each in found if each.severity is Severity.ERROR] == []


def test_the_local_cluster_makes_the_secrets_that_are_not_looked_for() -> None:
    assert given.LOCAL_SECRETS == (MODEL_REPOSITORY, FEEDBACK_KEY)
