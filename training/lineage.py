"""Which code and which libraries a version came from."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

_COMMIT = re.compile("[0-9a-f]{40}")
_LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "skops")


def libraries() -> dict[str, str]:
    """Return the versions of everything that shapes a trained model."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def git_state(file: Path) -> tuple[str | None, bool | None]:
    """Return the commit `file` belongs to, and whether its checkout has changes on top.

    Both are None where that cannot be known: no git, no checkout, or an installed copy that lies
    within somebody else's checkout without belonging to it. An image knows what it was built from
    by ``ABSERVE_REVISION``, and of changes on top nothing.
    """
    # Tracked, or new and not ignored: a virtual environment within a checkout is ignored.
    belongs = ("ls-files", "--cached", "--others", "--exclude-standard", "--error-unmatch")
    if _git(file.parent, *belongs, file.name) is None:
        built_from = os.environ.get("ABSERVE_REVISION", "")
        return (built_from if _COMMIT.fullmatch(built_from) else None), None
    commit = _git(file.parent, "rev-parse", "HEAD")
    changes = _git(file.parent, "status", "--porcelain")
    if commit is None or changes is None:
        return None, None
    return commit, bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
