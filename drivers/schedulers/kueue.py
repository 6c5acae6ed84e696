"""Reads Kueue's workloads as the queue of a scheduler, and from pods on which nodes they run.

Two lists from the cluster's API server: the pods that Kueue has let start, and the workloads of all namespaces. A pod
bears the label kueue.x-k8s.io/podset; its workload is named by the annotation kueue.x-k8s.io/workload (written with
Kueue's feature TopologyAwareScheduling), else it is the one that has the same owner. Source: kueue at commit
ff69552e79ad21652c36caa97038382e55625cf7, pkg/constants/constants.go, pkg/controller/jobframework/reconciler.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from dispatch.model.jobs import Job
from dispatch.wording.formatting import one_line
from drivers.http.turns import Turn
from drivers.kubernetes.api import KubernetesApi, Listing, Query, Refused, Wanted
from drivers.kubernetes.config import KubernetesServer
from drivers.kubernetes.errors import KubernetesError
from drivers.kubernetes.objects import Metadata
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import JobList, QueueRead
from drivers.schedulers.kueue_workload import Naming, Workload, job_of

GROUP = "/apis/kueue.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")  # Kueue has the former since 0.15, and may drop the latter
PODS = "/api/v1/pods"
OF_KUEUE: Query = (
    ("labelSelector", "kueue.x-k8s.io/podset"),
    ("fieldSelector", "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"),
)
WORKLOAD = "kueue.x-k8s.io/workload"
FORBIDDEN, NOT_FOUND = 403, 404
PIECE = 100  # jobs added at once, half a millisecond

Make = Callable[[bytes | msgspec.Raw], Job | None]


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A pod, core/v1."""

    metadata: Metadata
    spec: _PodSpec


_workload = msgspec.json.Decoder(Workload).decode
_pod = msgspec.json.Decoder(Pod).decode


class Placed:
    """The node of each pod, by what tells their workload."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._pods: dict[str, dict[str, str]] = {}
        for pod in pods:
            for key in _keys(pod.metadata):
                self._pods.setdefault(key, {})[pod.metadata.key] = pod.spec.node_name

    def of(self, workload: Workload) -> dict[str, str]:
        """The node of each of its pods."""
        meta = workload.metadata
        keys = (meta.key, *(_in_namespace(meta, owner.uid) for owner in meta.owners))
        return {pod: node for key in keys for pod, node in self._pods.get(key, {}).items()}


class KueueReader:
    """Asks one cluster for its workloads. Nothing is changed there."""

    def __init__(self, config: Scheduler, server: KubernetesServer, directory: Path) -> None:
        """`directory`: that of the site file."""
        self.config = config
        self._server, self._directory = server, directory
        self._naming = Naming(config.gpu_resources, config.user_label)
        self._version = VERSIONS[0]
        self._api()  # loads aiohttp now and not between two ticks

    async def read(self, turn: Turn) -> QueueRead:
        """Ask once. `turn` is waited for before each piece of work, about a millisecond long. Raises QueueNotRead."""
        jobs = JobList(self.config.id)
        try:
            async with self._api() as api:
                placed = await self._placed(api, jobs, turn)
                elsewhere = set[str]()
                listing = await self._listed(api, partial(self._job, placed, elsewhere), turn)
                if api.clock_utc_s is not None:
                    jobs.clock(api.clock_utc_s)
        except KubernetesError as error:
            raise QueueNotRead(str(error)) from None
        _note(jobs, "a workload is left out", listing.unusable)
        if elsewhere:
            jobs.note(f"{len(elsewhere)} workloads run in other clusters (MultiKueue): left out")
        for n, job in enumerate(listing.made):
            if n % PIECE == 0:
                await turn()
            jobs.add(job)
        return jobs.read

    def _api(self) -> KubernetesApi:
        return KubernetesApi(self._server, self._directory, self.config.deadline_s)

    def _job(self, placed: Placed, elsewhere: set[str], item: bytes | msgspec.Raw) -> Job | None:
        """The job that a workload is; None: it is none here. Raises ValueError."""
        workload = _workload(item)
        if workload.ended or workload.of_another:
            return None
        if workload.elsewhere:
            elsewhere.add(workload.metadata.key)
            return None
        try:
            return job_of(workload, self.config.id, self._naming, placed.of(workload))
        except ValueError as error:
            raise ValueError(f"{workload.metadata.key}: {error}") from None

    async def _listed(self, api: KubernetesApi, make: Make, turn: Turn) -> Listing[Job]:
        """All workloads that are jobs, by the version of the API that Kueue has. Raises KubernetesError."""
        refusal = None
        for version in dict.fromkeys((self._version, *VERSIONS)):
            try:
                listing = await api.list(Wanted(f"{GROUP}/{version}/workloads", "WorkloadList", make), turn)
            except Refused as error:
                if error.status != NOT_FOUND:
                    raise
                refusal = error
                continue
            self._version = version
            if listing.unusable and not listing.made:
                text = f"none of {len(listing.unusable)} workloads can be read: {listing.unusable[0]}"
                raise KubernetesError(f"{self._server.id} at {self._server.root}: {text}")
            return listing
        raise KubernetesError(f"{refusal}; is Kueue installed? Expected one of its versions {', '.join(VERSIONS)}")

    async def _placed(self, api: KubernetesApi, jobs: JobList, turn: Turn) -> Placed:
        """The nodes of pods; none where pods may not be read, which is noted. Raises KubernetesError."""
        try:
            listing = await api.list(Wanted(PODS, "PodList", _pod, OF_KUEUE), turn)
        except Refused as error:
            if error.status != FORBIDDEN:
                raise
            jobs.note(f"on which nodes jobs run is not known: {one_line(str(error))}")
            return Placed(())
        _note(jobs, "a pod is left out", listing.unusable)
        return Placed(listing.made)


def _keys(pod: Metadata) -> Iterable[str]:
    """What its workload may be found by: its name, or the owner that both have, or the pod itself as an owner.

    All of them in its own namespace: the author of a pod writes owners as he likes, and must get no job of others.
    """
    name = (pod.annotations or {}).get(WORKLOAD)
    if name:
        return (f"{pod.namespace}/{name}",)
    return (_in_namespace(pod, uid) for uid in (pod.uid, *(owner.uid for owner in pod.owners)) if uid)


def _in_namespace(meta: Metadata, uid: str) -> str:
    return f"{meta.namespace}/uid {uid}"  # no name has a blank


def _note(jobs: JobList, what: str, unusable: Sequence[str]) -> None:
    for why in unusable:
        jobs.note(f"{what}: {why}")
