"""Reads Kueue's workloads as the queue of a scheduler, and from pods on which nodes they run.

Two lists from the cluster's API server: the workloads of all namespaces, and the pods that Kueue has let start. A pod
bears the label kueue.x-k8s.io/podset; its workload is named by the annotation kueue.x-k8s.io/workload (written with
Kueue's feature TopologyAwareScheduling), else it is the one that has the same owner. Source: kueue at commit
ff69552e79ad21652c36caa97038382e55625cf7, pkg/constants/constants.go, pkg/controller/jobframework/reconciler.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from dispatch.wording.formatting import one_line
from drivers.kubernetes.api import KubernetesApi, Listing, Query, Refused, Turn, Wanted
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
NOT_FOUND = 404
PIECE = 20  # jobs made at once, half a millisecond


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A pod, core/v1."""

    metadata: Metadata
    spec: _PodSpec


_workload = msgspec.json.Decoder(Workload).decode
_pod = msgspec.json.Decoder(Pod).decode


def _unfinished(item: bytes | msgspec.Raw) -> Workload | None:
    workload = _workload(item)
    return None if workload.ended or workload.of_another else workload


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
                workloads = await self._workloads(api, jobs, turn)
                placed = await self._placed(api, jobs, turn)
                if api.clock_utc_s is not None:
                    jobs.clock(api.clock_utc_s)
        except KubernetesError as error:
            raise QueueNotRead(str(error)) from None
        for n, workload in enumerate(workloads):
            if n % PIECE == 0:
                await turn()
            self._add(jobs, workload, placed)
        return jobs.read

    def _api(self) -> KubernetesApi:
        return KubernetesApi(self._server, self._directory, self.config.deadline_s)

    async def _workloads(self, api: KubernetesApi, jobs: JobList, turn: Turn) -> Sequence[Workload]:
        """All that have not ended and run here. Raises KubernetesError."""
        listing = await self._listed(api, turn)
        if listing.unusable and not listing.made:
            text = f"none of {len(listing.unusable)} workloads can be read: {listing.unusable[0]}"
            raise KubernetesError(f"{self._server.id} at {self._server.root}: {text}")
        _note(jobs, "a workload is left out", listing.unusable)
        here = [workload for workload in listing.made if not workload.elsewhere]
        if len(here) < len(listing.made):
            jobs.note(f"{len(listing.made) - len(here)} workloads run in other clusters (MultiKueue): left out")
        return here

    async def _listed(self, api: KubernetesApi, turn: Turn) -> Listing[Workload]:
        """All that have not ended, by the version of the API that Kueue has. Raises KubernetesError."""
        refusal = None
        for version in dict.fromkeys((self._version, *VERSIONS)):
            try:
                listing = await api.list(Wanted(f"{GROUP}/{version}/workloads", "WorkloadList", _unfinished), turn)
            except Refused as error:
                if error.status != NOT_FOUND:
                    raise
                refusal = error
                continue
            self._version = version
            return listing
        raise KubernetesError(f"{refusal}; is Kueue installed? Expected one of its versions {', '.join(VERSIONS)}")

    async def _placed(self, api: KubernetesApi, jobs: JobList, turn: Turn) -> dict[str, dict[str, None]]:
        """The nodes of pods, by what tells their workload; none where pods may not be read, which is noted."""
        try:
            listing = await api.list(Wanted(PODS, "PodList", _pod, OF_KUEUE), turn)
        except Refused as error:
            jobs.note(f"on which nodes jobs run is not known: {one_line(str(error))}")
            return {}
        _note(jobs, "a pod is left out", listing.unusable)
        placed: dict[str, dict[str, None]] = {}
        for pod in listing.made:
            for key in _keys(pod.metadata):
                placed.setdefault(key, {})[pod.spec.node_name] = None
        return placed

    def _add(self, jobs: JobList, workload: Workload, placed: dict[str, dict[str, None]]) -> None:
        keys = (workload.key, *(owner.uid for owner in workload.metadata.owners))
        nodes = tuple(dict.fromkeys(node for key in keys for node in placed.get(key, ())))
        try:
            jobs.add(job_of(workload, self.config.id, self._naming, nodes))
        except ValueError as error:
            jobs.note(one_line(f"workload {workload.key} is left out: {error}")[:300])


def _keys(pod: Metadata) -> Iterable[str]:
    """What its workload may be found by: its name, or the owner that both have, or the pod itself as an owner."""
    name = (pod.annotations or {}).get(WORKLOAD)
    if name:
        return (f"{pod.namespace}/{name}",)
    return filter(None, (pod.uid, *(owner.uid for owner in pod.owners)))


def _note(jobs: JobList, what: str, unusable: Sequence[str]) -> None:
    for why in unusable:
        jobs.note(f"{what}: {why}")
