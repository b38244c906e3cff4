"""The OpenTofu modules: they parse, every name is declared, and what must not be open is not.

There is no `tofu` where there are only Python packages, so what is checked is what can be read.
`tofu validate` runs before the first apply: docs/provisioning.md.
"""

import re
from pathlib import Path

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT

MODULES = ["eks", "gke"]
EXACT = re.compile(r'"\d+\.\d+\.\d+"')
# What is declared, by the words that other places refer to it with.
DECLARED = {
    "var": re.compile(r'^variable "(\w+)"', re.MULTILINE),
    "module": re.compile(r'^module "(\w+)"', re.MULTILINE),
    "resource": re.compile(r'^resource "(\w+)" "(\w+)"', re.MULTILINE),
    "data": re.compile(r'^data "(\w+)" "(\w+)"', re.MULTILINE),
}
LOCALS = re.compile(r"^locals \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
LOCAL = re.compile(r"^  (\w+) +=", re.MULTILINE)


def files(module: str) -> list[Path]:
    return sorted((ROOT / "infrastructure" / module).glob("*.tf"))


def text(module: str) -> str:
    """Return the module without its comments."""
    written = "\n".join(each.read_text() for each in files(module))
    return re.sub(r"^\s*#.*$", "", written, flags=re.MULTILINE)


def locals_of(module: str) -> set[str]:
    return {name for block in LOCALS.findall(text(module)) for name in LOCAL.findall(block)}


def variables(module: str) -> dict[str, str]:
    """Return each variable's block, by its name."""
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text(module), re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize("path", [each for module in MODULES for each in files(module)], ids=str)
def test_it_is_hcl(path: Path) -> None:
    hcl2 = pytest.importorskip("hcl2", reason="needs the package python-hcl2")
    with path.open() as opened:
        assert hcl2.load(opened)


@pytest.mark.parametrize("module", MODULES)
def test_every_variable_is_used_and_every_used_one_is_declared(module: str) -> None:
    used = set(re.findall(r"\bvar\.(\w+)", text(module)))
    assert used == set(DECLARED["var"].findall(text(module)))


@pytest.mark.parametrize("module", MODULES)
def test_every_local_value_is_used_and_every_used_one_is_declared(module: str) -> None:
    assert set(re.findall(r"\blocal\.(\w+)", text(module))) == locals_of(module)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_and_resource_that_is_named_is_declared(module: str) -> None:
    written = text(module)
    modules = set(DECLARED["module"].findall(written))
    assert set(re.findall(r"\bmodule\.(\w+)", written)) <= modules
    sources = set(DECLARED["data"].findall(written))
    assert set(re.findall(r"\bdata\.(\w+)\.(\w+)", written)) == sources
    resources = set(DECLARED["resource"].findall(written))
    named = re.findall(r"(?<![.\w\"])((?:aws|google)_\w+)\.(\w+)", written)
    assert set(named) <= resources


@pytest.mark.parametrize("module", MODULES)
def test_every_variable_says_what_it_is(module: str) -> None:
    for name, block in variables(module).items():
        assert "description =" in block, name
        assert re.search(r"^  type +=", block, re.MULTILINE), name


@pytest.mark.parametrize("module", MODULES)
def test_every_variable_of_text_or_numbers_is_validated(module: str) -> None:
    unchecked = {name for name, block in variables(module).items() if "validation {" not in block}
    # Names of accounts: a wrong one gets nothing.
    assert unchecked == {"writer_accounts"}


@pytest.mark.parametrize("module", MODULES)
def test_providers_and_modules_are_pinned(module: str) -> None:
    versions = re.findall(r"^ +version = (.+)$", text(module), re.MULTILINE)
    assert versions
    assert [each for each in versions if not EXACT.fullmatch(each)] == []
    sources = re.findall(r'^  source += "([^"]+)"', text(module), re.MULTILINE)
    assert len(versions) == len(sources) + 1


@pytest.mark.parametrize("module", MODULES)
def test_nobody_reaches_the_api_from_the_internet_unless_named(module: str) -> None:
    block = variables(module)["api_cidrs"]
    assert re.search(r"default +=\s*\[\]", block)
    assert 'each != "0.0.0.0/0"' in block


def test_no_policy_of_ours_allows_all_actions_to_anybody() -> None:
    for statement in re.findall(r"statement \{(.*?)\n  \}", text("eks"), re.DOTALL):
        if re.search(r'actions += \["[\w]+:\*"\]', statement):
            assert 'effect    = "Deny"' in statement


def test_the_bucket_is_versioned_encrypted_and_closed() -> None:
    eks = text("eks")
    assert 'status = "Enabled"' in eks
    assert 'sse_algorithm     = "aws:kms"' in eks
    assert "restrict_public_buckets = true" in eks
    gke = text("gke")
    assert 'public_access_prevention    = "enforced"' in gke
    assert "versioning {\n    enabled = true" in gke
    assert "default_kms_key_name" in gke


@pytest.mark.parametrize("module", MODULES)
def test_the_bucket_is_not_destroyed_with_the_rest(module: str) -> None:
    bucket = next(each for each in files(module) if each.name == "bucket.tf").read_text()
    assert "prevent_destroy = true" in bucket


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_settings_of_a_cluster_are_what_the_module_prints(environment: str) -> None:
    printed = re.search(r"yamlencode\(\{(.*?)\}\)", text("eks"), re.DOTALL)
    assert printed is not None
    names = set(re.findall(r"^ +(\w+) +=", printed[1], re.MULTILINE))
    cluster = yaml.safe_load((MANIFESTS / f"clusters/{environment}/cluster.yaml").read_text())
    assert names | {"acme_server", "acme_email"} == set(cluster["data"])


@pytest.mark.parametrize("module", MODULES)
def test_nodes_of_the_three_pools_carry_the_label_that_pods_select(module: str) -> None:
    written = text(module)
    assert '"abserve.io/pool"' in written
    for pool in ("system", "serving", "training"):
        assert re.search(rf"^ +{pool} += ", written, re.MULTILINE), pool
