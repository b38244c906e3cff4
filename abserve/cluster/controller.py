"""Follows the store: a task for each SeldonDeployment, and what belongs to each namespace."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Mapping

import aiohttp

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    SECRET,
    SELDON_DEPLOYMENT,
)
from abserve.cluster.api.store import Store
from abserve.cluster.deployment import LocalDeployment
from abserve.cluster.gateway import Gateway
from abserve.cluster.home import Home
from abserve.cluster.pods import PodRegistry
from abserve.cluster.processes import Processes
from abserve.cluster.replica_set import ReplicaSet
from abserve.cluster.secrets import secret
from abserve.seldon import Predictor, SeldonDeployment


class Controller:
    """Makes what runs follow what is stored.

    Parameters
    ----------
    secrets : mapping of str to mapping
        The Secrets that each namespace gets when it is created.
    report : callable
        Told in words what happens.
    """

    def __init__(
        self,
        *,
        store: Store,
        gateway: Gateway,
        processes: Processes,
        pods: PodRegistry,
        home: Home,
        http: aiohttp.ClientSession,
        secrets: Mapping[str, Mapping[str, str]],
        report: Callable[[str], None],
        now: Callable[[], dt.datetime],
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._processes = processes
        self._pods = pods
        self._home = home
        self._http = http
        self._secrets = secrets
        self._report = report
        self._now = now
        self._deployments: dict[tuple[str, str], LocalDeployment] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the store until cancelled; then stop every replica."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_namespaces())
                group.create_task(self._follow_deployments())
        finally:
            for task in self._tasks.values():
                task.cancel()
            for task in list(self._tasks.values()):
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await asyncio.gather(*(each.stop() for each in self._deployments.values()))

    async def _follow_namespaces(self) -> None:
        async for event in self._store.watch(NAMESPACE, None, 0):
            name = event.document["metadata"]["name"]
            if event.change == "ADDED":
                for secret_name, values in self._secrets.items():
                    if self._store.find(SECRET, name, secret_name) is None:
                        self._store.create(SECRET, secret(name, secret_name, values))
            elif event.change == "DELETED":
                for kind in (SELDON_DEPLOYMENT, SECRET, CONFIG_MAP, EVENT):
                    for document in self._store.list(kind, name):
                        self._store.delete(kind, name, document["metadata"]["name"])

    async def _follow_deployments(self) -> None:
        async for event in self._store.watch(SELDON_DEPLOYMENT, None, 0):
            metadata = event.document["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if key not in self._tasks and event.change != "DELETED":
                self._begin(*key)
            if key in self._deployments:
                self._deployments[key].wake()

    def _begin(self, namespace: str, name: str) -> None:
        deployment = LocalDeployment(
            namespace,
            name,
            store=self._store,
            gateway=self._gateway,
            new_replica_set=self._new_replica_set,
            report=self._report,
            now=self._now,
        )
        key = (namespace, name)
        self._deployments[key] = deployment
        self._tasks[key] = asyncio.get_running_loop().create_task(self._follow(key, deployment))

    async def _follow(self, key: tuple[str, str], deployment: LocalDeployment) -> None:
        await deployment.run()
        del self._deployments[key], self._tasks[key]
        # It may have been created anew while its last replicas were being stopped.
        if self._store.find(SELDON_DEPLOYMENT, *key) is not None:
            self._begin(*key)

    def _new_replica_set(
        self, deployment: SeldonDeployment, predictor: Predictor, changed: Callable[[], None]
    ) -> ReplicaSet:
        return ReplicaSet(
            deployment,
            predictor,
            home=self._home,
            processes=self._processes,
            pods=self._pods,
            store=self._store,
            http=self._http,
            changed=changed,
        )
