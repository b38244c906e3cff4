"""The OpenTofu modules: they parse, every name is declared, and what must not be open is not.

There is no `tofu` where there are only Python packages, so what is checked is what can be read.
`tofu validate` runs before the first apply: docs/provisioning.md.
"""

import json
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT, rendered

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


def test_the_versions_on_the_page_are_those_of_the_modules() -> None:
    written = (ROOT / "docs/provisioning.md").read_text().partition("## Versions")[2]
    found = re.findall(r'^ +version += "([\d.]+)"', "".join(map(text, MODULES)), re.MULTILINE)
    assert len(found) == 4
    for version in found:
        assert version in written, version


@pytest.mark.parametrize("module", MODULES)
def test_nobody_reaches_the_api_from_the_internet_unless_named(module: str) -> None:
    block = variables(module)["api_cidrs"]
    assert re.search(r"default +=\s*\[\]", block)
    assert 'each != "0.0.0.0/0"' in block


def test_the_control_plane_reaches_every_webhook_and_the_counts() -> None:
    # Istio's injector and replicas' metrics; what else the module for EKS opens by itself.
    eks = text("eks")
    for port in ("15017", "6000"):
        assert re.search(rf"from_port += {port}\n", eks), port
    allowed = re.search(r"ports += \[([^]]+)\]", text("gke"))
    assert allowed is not None
    # And those of Seldon, KEDA, and KEDA's metrics; 443 and 10250 are open on GKE.
    assert set(re.findall(r'"([^"]+)"', allowed[1])) == {
        "15017",
        "4443",
        "9443",
        "6443",
        "6000-6002",
    }


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
    assert "soft_delete_policy {" in gke


def test_the_jobs_may_not_delete_what_the_bucket_keeps() -> None:
    writer = re.search(r'"writer" \{(.*?)^\}', text("eks"), re.DOTALL | re.MULTILINE)
    assert writer is not None
    assert 's3:DeleteObject"' in writer[1]
    assert "DeleteObjectVersion" not in text("eks")
    assert "s3:Put" not in text("eks").partition('"reader" {')[2].partition('"writer" {')[0]


@pytest.mark.parametrize("module", MODULES)
def test_the_bucket_is_not_destroyed_with_the_rest(module: str) -> None:
    bucket = next(each for each in files(module) if each.name == "bucket.tf").read_text()
    assert "prevent_destroy = true" in bucket


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_who_may_write_are_the_accounts_of_the_jobs(module: str, environment: str) -> None:
    default = re.search(r"default += \[(.+)\]", variables(module)["writer_accounts"])
    assert default is not None
    jobs = rendered(MANIFESTS / "overlays" / environment / "jobs")
    accounts = {each["metadata"]["name"] for each in jobs if each["kind"] == "ServiceAccount"}
    assert set(re.findall(r'"([\w-]+)"', default[1])) == accounts


def test_who_may_read_is_the_account_of_predictors() -> None:
    configs = rendered(MANIFESTS / "infrastructure/gcp/configs")
    (account,) = [each["metadata"] for each in configs if each["kind"] == "ServiceAccount"]
    namespace, name = account["namespace"], account["name"]
    assert f'reader = {{ accounts = ["{namespace}:{name}"] }}' in text("eks")
    assert f'readers = toset(["ns/{namespace}/sa/{name}"])' in text("gke")


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


@pytest.mark.parametrize("cidr", ["10.40.0.0/16", "10.40.0.0/18"])
def test_on_eks_no_pod_has_an_address_of_the_control_plane(cidr: str) -> None:
    """Where addresses are all that tells the API server from a pod: NetworkPolicy `counts`."""
    network = text("eks")
    of_pods = re.search(r"private_subnets .*cidrsubnet\(var\.network_cidr, (\d), index\)", network)
    of_it = re.search(r"api_server_cidr = cidrsubnet\(var\.network_cidr, (\d), (\d+)\)", network)
    assert of_pods is not None
    assert of_it is not None
    whole = ip_network(cidr)
    pods = list(whole.subnets(int(of_pods[1])))[:3]
    control_plane = list(whole.subnets(int(of_it[1])))[int(of_it[2])]
    assert not any(each.overlaps(control_plane) for each in pods)
    # Of its three subnets each has to be one that AWS makes.
    assert control_plane.prefixlen + 2 <= 28
    assert "control_plane_subnet_ids = module.network.intra_subnets" in network
    assert re.search(r"intra_subnets .*cidrsubnet\(local\.api_server_cidr, 2, index\)", network)


@pytest.mark.parametrize("module", MODULES)
def test_both_modules_print_the_addresses_that_policies_name(module: str) -> None:
    printed = re.search(r"yamlencode\(\{(.*?)\}\)", text(module), re.DOTALL)
    assert printed is not None
    assert re.search(r"^ +api_server_cidr += ", printed[1], re.MULTILINE)


@pytest.mark.parametrize(("module", "cloud"), [("eks", "aws"), ("gke", "gcp")])
def test_what_is_substituted_in_a_cloud_its_module_prints(module: str, cloud: str) -> None:
    printed = re.search(r"yamlencode\(\{(.*?)\}\)", text(module), re.DOTALL)
    assert printed is not None
    names = set(re.findall(r"^ +(\w+) +=", printed[1], re.MULTILINE))
    folders = [f"infrastructure/{cloud}/controllers", f"infrastructure/{cloud}/configs"]
    folders += ["overlays/production/access", "overlays/production/jobs"]
    used = {
        name
        for folder in folders
        for name in re.findall(r"\$\{(\w+)\}", json.dumps(rendered(MANIFESTS / folder)))
    }
    assert "environment" in used
    assert used - {"acme_server", "acme_email"} <= names
