"""Somebody on call, who has a page of the runbook and types its blocks one after the other."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.local_cluster import LocalCluster
from tests.runbook import TRIED, blocks

_SECONDS = 300
# What was set is handed on to the next block.
_BEFORE = "set -auo pipefail; cd {folder}; . {kept}\n"
_AFTER = "\nexport -p > {kept}\n"


class OnCall:
    """Types the blocks of one page.

    Parameters
    ----------
    page : str
        Its name, without ``.md``.
    folder : Path
        Where they are typed.
    cluster : LocalCluster
        What the page is about.
    environment : mapping of str to str
        What is set before the first one, beside the cluster's own.
    """

    def __init__(
        self, page: str, folder: Path, cluster: LocalCluster, environment: Mapping[str, str]
    ) -> None:
        self._left = [each for each in blocks(page) if each.says in TRIED]
        self._folder = folder
        self._cluster = cluster
        self._environment = {**cluster.environment, **environment}

    def types(self, beginning: str, *, succeeds: bool = True) -> str:
        """Run the page's next block, which has to begin so; return what it printed.

        One that looks at what is broken need not succeed: then all of its lines are run.
        """
        assert self._left, f"the page has no block after the last; expected one: {beginning}"
        block = self._left.pop(0)
        assert block.text.startswith(beginning), f"expected {beginning!r}, found: {block.text}"
        where = block.says.removeprefix("sh ")
        # Terminals are two, and what is set in one of them is not in the other.
        kept = self._folder / f".{where}"
        kept.touch()
        typed = block.text.replace(" -n models", "")
        around = {"folder": self._folder, "kept": kept}
        done = subprocess.run(
            self._cluster.within(
                *("bash", "-e" if succeeds else "+e", "-c"),
                _BEFORE.format(**around) + typed + _AFTER.format(**around),
            ),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{typed}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@contextmanager
def on_call(page: str, folder: Path, cluster: LocalCluster, **more: str) -> Iterator[OnCall]:
    """Give somebody a page about `cluster`; at the end all of its blocks have to be typed."""
    folder.mkdir(exist_ok=True)
    person = OnCall(page, folder, cluster, {"TOKEN": "none", **more})
    yield person
    assert person._left == [], f"not typed: {person._left}"


def remotes(**folders: Path) -> dict[str, str]:
    """Return the variables by which rclone finds folders of this machine under names of remotes."""
    made = {"RCLONE_CONFIG": "/dev/null"}
    for name, folder in folders.items():
        made[f"RCLONE_CONFIG_{name.upper()}_TYPE"] = "alias"
        made[f"RCLONE_CONFIG_{name.upper()}_REMOTE"] = str(folder)
    return made
