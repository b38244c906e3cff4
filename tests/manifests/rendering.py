"""What kustomize makes of our folders."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"


def rendered(folder: Path) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, check=False, text=True, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return [each for each in yaml.safe_load_all(done.stdout) if each]
