"""Follows the store: a task for each SeldonDeployment, and what belongs to each namespace."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    EVENT,
    LEASE,
    NAMESPACE,
    SECRET,
    SELDON_DEPLOYMENT,
)
from abserve.cluster.api.store import Store
from abserve.cluster.deployment import LocalDeployment
from abserve.cluster.gateway import Gateway
from abserve.cluster.home import AGAIN_SECONDS, Home
from abserve.cluster.pods import PodRegistry
from abserve.cluster.processes import Processes
from abserve.cluster.replica_set import ReplicaSet
from abserve.cluster.secrets import decoded, secret
from abserve.cluster.state import State
from abserve.errors import ClusterError
from abserve.seldon import InvalidManifestError, Predictor, SeldonDeployment


class Controller:
    """Makes what runs follow what is stored.

    Parameters
    ----------
    state : State
        Keeps what is routed.
    secrets, earlier_secrets : mapping of str to mapping
        The Secrets that each namespace gets when it is created, and as an earlier cluster made
        them.
    public_key : Path or None
        Keys one of which must have signed what is served; None where nobody has to have signed.
    report : callable
        Told in words what happens.
    """

    def __init__(
        self,
        *,
        store: Store,
        gateway: Gateway,
        state: State,
        processes: Processes,
        pods: PodRegistry,
        home: Home,
        http: aiohttp.ClientSession,
        secrets: Mapping[str, Mapping[str, str]],
        earlier_secrets: Mapping[str, Mapping[str, str]],
        public_key: Path | None,
        report: Callable[[str], None],
        now: Callable[[], dt.datetime],
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._state = state
        self._processes = processes
        self._pods = pods
        self._home = home
        self._http = http
        self._secrets = secrets
        self._earlier_secrets = earlier_secrets
        self._public_key = public_key
        self._report = report
        self._now = now
        # Up to here the store needs no following: `resume` has seen it.
        self._since = 0
        self._deployments: dict[tuple[str, str], LocalDeployment] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Go on with what an earlier cluster kept, and take over what still runs of it."""
        self._since = self._store.version
        for document in self._store.list(NAMESPACE):
            self._make_secrets(document["metadata"]["name"])
        for document in self._store.list(SELDON_DEPLOYMENT):
            name = document["metadata"]["name"]
            deployment = self._deployment(document["metadata"]["namespace"], name)
            try:
                deployment.resume()
            except InvalidManifestError as error:
                self._report(f"{name}: cannot go on with what was served: {error}")

    async def run(self) -> None:
        """Follow the store until cancelled; then stop every replica."""
        for key, deployment in self._deployments.items():
            self._begin(key, deployment)
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
        async for event in self._store.watch(NAMESPACE, None, self._since):
            name = event.document["metadata"]["name"]
            if event.change == "ADDED":
                await self._until_kept(self._make_secrets, name)
            elif event.change == "DELETED":
                await self._until_kept(self._empty, name)

    async def _until_kept(self, change: Callable[[str], None], namespace: str) -> None:
        """Make a change of ours to a namespace, which has to wait while the disk is full."""
        while True:
            try:
                return change(namespace)
            except ClusterError as error:
                self._report(f"namespace {namespace}: {error}")
                await asyncio.sleep(AGAIN_SECONDS)

    def _empty(self, namespace: str) -> None:
        for kind in (SELDON_DEPLOYMENT, SECRET, CONFIG_MAP, EVENT, LEASE):
            for document in self._store.list(kind, namespace):
                self._store.delete(kind, namespace, document["metadata"]["name"])

    def _make_secrets(self, namespace: str) -> None:
        for name, values in self._secrets.items():
            found = self._store.find(SECRET, namespace, name)
            made = secret(namespace, name, values)
            if found is None:
                self._store.create(SECRET, made)
            # One that a user has changed since is the user's.
            elif decoded(found) == self._earlier_secrets.get(name):
                self._store.update(SECRET, {**found, "data": made["data"]})

    async def _follow_deployments(self) -> None:
        async for event in self._store.watch(SELDON_DEPLOYMENT, None, self._since):
            metadata = event.document["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if key in self._deployments:
                self._deployments[key].wake()
            elif event.change != "DELETED":
                self._begin(key, self._deployment(*key))

    def _deployment(self, namespace: str, name: str) -> LocalDeployment:
        deployment = LocalDeployment(
            namespace,
            name,
            store=self._store,
            gateway=self._gateway,
            state=self._state,
            new_replica_set=self._new_replica_set,
            report=self._report,
            now=self._now,
        )
        self._deployments[namespace, name] = deployment
        return deployment

    def _begin(self, key: tuple[str, str], deployment: LocalDeployment) -> None:
        self._tasks[key] = asyncio.get_running_loop().create_task(self._follow(key, deployment))

    async def _follow(self, key: tuple[str, str], deployment: LocalDeployment) -> None:
        await deployment.run()
        del self._deployments[key], self._tasks[key]
        # It may have been created anew while its last replicas were being stopped.
        if self._store.find(SELDON_DEPLOYMENT, *key) is not None:
            self._begin(key, self._deployment(*key))

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
            public_key=self._public_key,
            changed=changed,
        )
