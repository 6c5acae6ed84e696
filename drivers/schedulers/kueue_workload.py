"""Makes a job of a workload of Kueue.

Fields and conditions: github.com/kubernetes-sigs/kueue at commit ff69552e79ad21652c36caa97038382e55625cf7 (v0.19.2 and
later), apis/kueue/v1beta2/workload_types.go; v1beta1 has the fields used here, too, one of them spelt otherwise.
Requests of a pod: Kubernetes, "Resource Management for Pods and Containers", "Init Containers", "Resource sharing".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from dispatch.model.jobs import Job, JobState
from dispatch.wording.formatting import one_line
from drivers.kubernetes.objects import Condition, Metadata, Quantities, amount_of, utc_s_of

LONGEST_WORD = 200
DEACTIVATED = "Deactivated"  # the word for a workload that is not to run (spec.active = false), as Kueue's own
UNCHECKED = "UnsatisfiedAdmissionChecks"
WAITS_FOR_RECOVERY = "WaitForRecovery"  # PodsReady is false, but it has begun
CPU = "cpu"


class _Requirements(msgspec.Struct, frozen=True):
    requests: Quantities | None = None
    limits: Quantities | None = None

    def of(self, resource: str) -> float:
        """What is asked for of a resource; without a request its limit (Kueue, concepts/workload)."""
        for given in (self.requests, self.limits):
            if given and resource in given:
                return amount_of(given[resource])
        return 0.0


class _Container(msgspec.Struct, frozen=True, rename="camel"):
    resources: _Requirements = _Requirements()
    restart_policy: str | None = None


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    resources: _Requirements = _Requirements()  # of the pod as a whole

    def of(self, resource: str) -> float:
        """What one pod asks for: what its containers do together, or one that runs before them, if that is more."""
        whole = self.resources.of(resource)
        if whole:
            return whole
        before = self.init_containers or ()
        beside = sum(each.resources.of(resource) for each in before if each.restart_policy == "Always")
        together = beside + sum(each.resources.of(resource) for each in self.containers or ())
        return max([together, *(each.resources.of(resource) for each in before)])


class _Template(msgspec.Struct, frozen=True):
    spec: _PodSpec = _PodSpec()


class _PodSet(msgspec.Struct, frozen=True):
    name: str = "main"
    count: int = 1
    template: _Template = _Template()


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    pod_sets: tuple[_PodSet, ...] | None = None
    queue_name: str = ""
    active: bool | None = None
    maximum_execution_time_seconds: int | None = None


class _Assignment(msgspec.Struct, frozen=True, rename="camel"):
    name: str = "main"
    count: int | None = None
    resource_usage: Quantities | None = None


class _Admission(msgspec.Struct, frozen=True, rename="camel"):
    pod_set_assignments: tuple[_Assignment, ...] | None = None


class _Reclaimable(msgspec.Struct, frozen=True):
    name: str
    count: int


class _Request(msgspec.Struct, frozen=True):
    name: str
    resources: Quantities | None = None


class _WorkloadStatus(msgspec.Struct, frozen=True, rename="camel"):
    conditions: tuple[Condition, ...] | None = None
    admission: _Admission | None = None
    reclaimable_pods: tuple[_Reclaimable, ...] | None = None
    resource_requests: tuple[_Request, ...] | None = None
    cluster_name: str | None = None
    accumulated_past_execution_time_seconds: int | None = None  # v1beta2
    accumulated_past_exexcution_time_seconds: int | None = None  # v1beta1, so spelt

    @property
    def assignments(self) -> tuple[_Assignment, ...]:
        """What each pod set was given; none while it waits."""
        return () if self.admission is None else self.admission.pod_set_assignments or ()


class Workload(msgspec.Struct, frozen=True):
    """A workload, kueue.x-k8s.io."""

    metadata: Metadata
    spec: _Spec
    status: _WorkloadStatus = _WorkloadStatus()

    def condition(self, type: str) -> Condition | None:
        """The condition of a type; None: it has none yet."""
        return next((c for c in self.status.conditions or () if c.type == type), None)

    def has(self, type: str) -> bool:
        """Whether a condition is true."""
        found = self.condition(type)
        return found is not None and found.status == "True"

    @property
    def ended(self) -> bool:
        """Whether it is finished, well or not."""
        return self.has("Finished")

    @property
    def elsewhere(self) -> str:
        """The cluster in which it runs (MultiKueue); empty: in this one."""
        return self.status.cluster_name or ""

    @property
    def of_another(self) -> bool:
        """Whether it is a variant of another workload (concurrent admission), which stands for all of them."""
        return any(owner.kind == "Workload" for owner in self.metadata.owners)


class Naming(msgspec.Struct, frozen=True):
    """How a site counts and names. `gpus`: resources of which a unit is a GPU; `user_label`: label with the user."""

    gpus: tuple[str, ...]
    user_label: str = ""


def job_of(workload: Workload, scheduler: str, naming: Naming, pods: Mapping[str, str]) -> Job:
    """The job that a workload which has not ended is. `pods`: the node of each of its own. Raises ValueError."""
    meta, state = workload.metadata, _state(workload)
    placed = {} if state == "pending" else pods
    nodes = tuple(dict.fromkeys(map(_word, placed.values())))
    owner = meta.owners[0].name if meta.owners else meta.name
    return Job(
        scheduler=scheduler,
        id=_word(meta.key),
        name=_word(owner),
        user=_word((meta.labels or {}).get(naming.user_label, "")),
        account=_word(meta.namespace),
        partition=_word(workload.spec.queue_name),
        state=state,
        reason=_word(_reason(workload)) if state == "pending" else "",
        submitted_utc_s=utc_s_of(meta.creation_timestamp),
        started_utc_s=None if state == "pending" else _admitted_utc_s(workload),
        time_limit_s=_time_limit_s(workload),
        nodes=nodes,
        node_count=len(nodes),
        pods=tuple(map(_word, placed)),
        cpus=math.ceil(round(_amount(workload, CPU), 3)),
        gpus=math.ceil(round(sum(_amount(workload, resource) for resource in naming.gpus), 3)),
    )


def _state(workload: Workload) -> JobState:
    """Admitted: its pods may run. One that is evicted keeps what it has until they have ended."""
    if not workload.has("Admitted"):
        return "pending"
    if workload.has("Evicted"):
        return "completing"
    ready = workload.condition("PodsReady")  # only where Kueue waits for pods (waitForPodsReady)
    if ready is not None and ready.status == "False" and ready.reason != WAITS_FOR_RECOVERY:
        return "configuring"
    return "running"


def _reason(workload: Workload) -> str:
    """Why it waits, in Kueue's word; empty: it was not looked at yet."""
    if workload.spec.active is False:
        return DEACTIVATED
    reserved = workload.has("QuotaReserved")
    found = workload.condition("Admitted" if reserved else "QuotaReserved")
    return (found.reason if found is not None else "") or (UNCHECKED if reserved else "")


def _admitted_utc_s(workload: Workload) -> float:
    """When it was admitted; after an eviction it is another time, and so another run."""
    admitted = workload.condition("Admitted")
    return utc_s_of(None if admitted is None else admitted.last_transition_time)


def _time_limit_s(workload: Workload) -> float | None:
    """How long it may be admitted, less what it was before it was evicted; None: not limited."""
    longest_s, status = workload.spec.maximum_execution_time_seconds, workload.status
    if longest_s is None:
        return None
    past_s = status.accumulated_past_execution_time_seconds or status.accumulated_past_exexcution_time_seconds or 0
    return float(max(0, longest_s - past_s))


def _amount(workload: Workload, resource: str) -> float:
    """What all its pods ask for of a resource, without those that have ended.

    By their templates; where these name none, as Kueue counts it, which knows what a namespace gives by default
    (LimitRange) and devices that are claimed (DRA).
    """
    status = workload.status
    assigned = {each.name: each for each in status.assignments}
    requested = {each.name: each.resources or {} for each in status.resource_requests or ()}
    ended = {each.name: each.count for each in status.reclaimable_pods or ()}
    total = 0.0
    for pods in workload.spec.pod_sets or ():
        given = assigned.get(pods.name)
        counted = requested.get(pods.name, {}) if given is None else given.resource_usage or {}
        count = pods.count if given is None or given.count is None else given.count
        each = pods.template.spec.of(resource) or amount_of(counted.get(resource, 0)) / max(1, count)
        total += max(0, count - ended.get(pods.name, 0)) * each
    return total


def _word(text: str) -> str:
    return one_line(text)[:LONGEST_WORD]
