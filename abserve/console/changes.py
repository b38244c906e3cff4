"""Changes that somebody asked for: run one by one for each deployment, and seen by every page.

A change goes through the Kubernetes API and may take minutes, so it belongs to no request: the
page that asked may be closed, and another one sees how it goes.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from abserve.console.cluster import Report
from abserve.errors import AbserveError


@dataclass(slots=True)
class Change:
    """One change; `summary` is what the dialog said, `error` what the cluster answered."""

    number: int
    summary: str
    state: Literal["running", "done", "failed"] = "running"
    steps: list[str] = field(default_factory=list)
    error: str = ""


class Changes:
    """The latest change of each deployment.

    Parameters
    ----------
    tell : callable
        Called whenever a change has come further.
    """

    def __init__(self, tell: Callable[[], Awaitable[None]]) -> None:
        self._tell = tell
        self._n_changes = 0
        self._latest: dict[str, Change] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, name: str) -> dict[str, Any] | None:
        """Return the latest change of a deployment as JSON values."""
        change = self._latest.get(name)
        return asdict(change) if change else None

    def running(self, name: str) -> Change | None:
        """Return the change of a deployment that is under way."""
        latest = self._latest.get(name)
        return latest if latest and latest.state == "running" else None

    async def begin(self, name: str, summary: str, work: Callable[[Report], None]) -> int:
        """Begin a change and return its number; `work` is called in a thread.

        None other of the same deployment may be `running`.
        """
        self._n_changes += 1
        change = Change(self._n_changes, summary)
        self._latest[name] = change
        task = asyncio.create_task(self._run(change, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._tell()
        return change.number

    async def _run(self, change: Change, work: Callable[[Report], None]) -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def report(step: str) -> None:
            asyncio.run_coroutine_threadsafe(self._step(change, step), loop)

        def run() -> None:
            try:
                work(report)
                change.state = "done"
            except AbserveError as refusal:
                change.state, change.error = "failed", str(refusal)
            finally:
                if change.state == "running":
                    change.state = "failed"
                    change.error = "the console itself failed; its log says why"
                loop.call_soon_threadsafe(over.set)

        # A daemon: whoever stops the console does not wait for the cluster.
        threading.Thread(target=run, daemon=True).start()
        await over.wait()
        await self._tell()

    async def _step(self, change: Change, step: str) -> None:
        change.steps.append(step)
        await self._tell()
