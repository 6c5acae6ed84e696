"""Divides the energy of a node among the jobs that hold parts of it.

GPUs go whole to the job that holds them, where that is known by UUID or by the labels of its exporter, or where one job
holds all that are left; else by the number that was allocated. A GPU divided by MIG, where it is known who holds which
instance: its idle power by the slices of the instances, the rest by slices x activity. A GPU shared in time slices: the
same, with a slice of equal size for each job. The host: its idle power by allocated CPUs, the rest by the CPU time of
the jobs' cgroups, where that is known of all jobs; else all of it by allocated CPUs. What is allocated to nobody goes
to nobody. A job that is suspended keeps the GPUs that no other job uses, and no part of the host: its scheduler has
given its CPUs to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dispatch.accounting.records import By, How, Part
from dispatch.accounting.samples import Segment
from dispatch.model.equipment import GpuPart

WHOLE = 0.999  # of all CPUs or GPUs: sums of parts are not exact
LEAST_CPUS = 0.05  # that all jobs of a node use together, from which on they say who draws what
LEAST_ACTIVE = 0.01  # of the slices of a GPU, likewise
IDLE_W_PER_GPU = 60.0  # an idle A100 of the Acme clusters draws 55 to 65 W (quantiles of 2023, CC BY 4.0)


class Claim(NamedTuple):
    """What a job holds of a node."""

    job: int  # by which the caller knows it
    gpus: float = 0.0
    cpus: float = 0.0
    uuids: frozenset[str] = frozenset()  # of GPUs, on any of its nodes; empty: not known
    suspended: bool = False
    names: frozenset[str] = frozenset()  # by which the exporters of its nodes know it


class Portion(NamedTuple):
    """A job's part of the energy."""

    job: int
    part: Part
    how: How
    wh: float
    by: By = ""


def divide(
    segment: Segment, claims: Sequence[Claim], cpus: float, others: frozenset[str] = frozenset()
) -> list[Portion]:
    """The portions of the jobs. `cpus`: of the node; 0: not known, then those that are allocated are all.

    `others`: names of jobs that held the node in another part of the segment. CPU time of a name that is neither
    theirs nor of `claims` is of a job that nobody shows, and gives it a share that is nobody's.
    """
    if segment.host_wh is None:
        return _whole(segment, claims, cpus)
    known = others.union(*(claim.names for claim in claims))
    return [*_gpus(segment, claims), *_host(segment, segment.host_wh, claims, cpus, known)]


class _Unit(NamedTuple):
    """A GPU, or a MIG instance of one. `owners`: who is known to hold it; several: it is shared."""

    owners: Sequence[Claim]
    wh: float
    whole: bool = True
    by: By = ""


def _gpus(segment: Segment, claims: Sequence[Claim]) -> list[Portion]:
    here = {uuid for uuid, _ in segment.gpus}
    by_label = [claim for claim in claims if here.isdisjoint(claim.uuids)]  # a node's report goes before labels
    units = [unit for uuid, wh in segment.gpus for unit in _units(segment, uuid, wh, claims, by_label)]
    owning = {claim.job for unit in units for claim in unit.owners}
    others = [claim for claim in claims if claim.gpus and claim.job not in owning]
    left = [unit for unit in units if not unit.owners]
    return [*(portion for unit in units for portion in _of_owners(unit)), *_of_others(left, others)]


def _of_owners(unit: _Unit) -> list[Portion]:
    """To those who are known to hold it, in equal parts."""
    how: How = "measured" if unit.whole and len(unit.owners) == 1 else "apportioned"
    return [Portion(claim.job, "gpu", how, unit.wh / len(unit.owners), unit.by) for claim in unit.owners]


def _of_others(left: Sequence[_Unit], claims: Sequence[Claim]) -> list[Portion]:
    """What is nobody's to those of whom it is not known what they hold, by the number that was allocated."""
    others = _holding(len(left), claims)
    asked = sum(claim.gpus for claim in others)
    all_theirs = WHOLE * len(left) <= asked <= len(left) / WHOLE and all(unit.whole for unit in left)
    how: How = "measured" if len(others) == 1 and all_theirs else "apportioned"
    left_wh, of = sum(unit.wh for unit in left), max(asked, len(left))  # more allocated than there are: parts of GPUs
    return [Portion(claim.job, "gpu", how, left_wh * claim.gpus / of) for claim in others]


def _units(segment: Segment, uuid: str, wh: float, claims: Sequence[Claim], by_label: Sequence[Claim]) -> list[_Unit]:
    """A GPU as one; or its instances, where it is known of one who holds it. `by_label`: whom labels may name."""
    told = [part for part in (() if segment.use is None else segment.use.gpu_parts) if part.gpu == uuid]
    by_uuid = [claim for claim in claims if uuid in claim.uuids]
    sharers = told if len(told) > 1 and not by_uuid else []  # in time slices
    parts = [part for part in told if part.id] or sharers
    owners = [_owners(by_label, part, _by_mig_uuid(claims, part)) for part in parts]
    if any(owners):
        shares, by = _part_energies(parts, wh, segment.hours)
        return [_Unit(held, own, False, by) for held, own in zip(owners, shares, strict=True)]
    whole = next((part for part in told if not part.id), GpuPart(uuid))
    return [_Unit(_owners(by_label, whole, by_uuid), wh)]


def _by_mig_uuid(claims: Sequence[Claim], part: GpuPart) -> list[Claim]:
    """Who was told to hold an instance. Drivers before 470 name it MIG-GPU-.../GPU instance/compute instance."""
    begin = f"MIG-{part.gpu}/{part.id}/"
    return [claim for claim in claims if any(uuid.startswith(begin) for uuid in claim.uuids)]


def _owners(by_label: Sequence[Claim], part: GpuPart, told: Sequence[Claim]) -> Sequence[Claim]:
    """Who holds it: those of whom that was told by UUID, else those that its labels name."""
    found = told or [claim for claim in by_label if claim.names.intersection(part.jobs)]
    return [claim for claim in found if not claim.suspended] or found


def _part_energies(parts: Sequence[GpuPart], wh: float, hours: float) -> tuple[list[float], By]:
    """The energy of each instance of a GPU, and by what it was divided."""
    slices = [max(1, part.slices) for part in parts]
    by_size = [each / sum(slices) for each in slices]
    busy = [None if part.active is None else part.active * each for part, each in zip(parts, by_size, strict=True)]
    known = [each for each in busy if each is not None]
    if len(known) < len(parts) or sum(known) < LEAST_ACTIVE:
        return [wh * size for size in by_size], ""
    idle_wh = min(wh, IDLE_W_PER_GPU * hours)
    energies = [idle_wh * size + (wh - idle_wh) * each / sum(known) for size, each in zip(by_size, known, strict=True)]
    return energies, "activity"


def _holding(gpus: int, claims: Sequence[Claim]) -> list[Claim]:
    """Those whose GPUs are theirs alone: suspended ones only as far as the others leave some."""
    if not gpus:
        return []
    holding = [claim for claim in claims if not claim.suspended]
    free = gpus - sum(claim.gpus for claim in holding)
    for claim in claims:
        if claim.suspended and claim.gpus <= free:
            holding.append(claim)
            free -= claim.gpus
    return holding


def _host(
    segment: Segment, host_wh: float, claims: Sequence[Claim], cpus: float, known: frozenset[str]
) -> list[Portion]:
    running = [claim for claim in claims if not claim.suspended]
    shares = _cpu_shares(running, cpus, segment.gpus_total)
    used = _cpu_times(segment, running, known)
    idle_wh = host_wh
    if used is not None and segment.idle_wh is not None and max(shares) < WHOLE:
        idle_wh = min(host_wh, segment.idle_wh)
    portions = []
    for n, (claim, share) in enumerate(zip(running, shares, strict=True)):
        how: How = "estimated" if segment.estimated else "measured" if share >= WHOLE else "apportioned"
        portions.append(Portion(claim.job, "host", how, idle_wh * share))
        if used is not None and idle_wh < host_wh:
            portions.append(Portion(claim.job, "host", how, (host_wh - idle_wh) * used[n], "cpu time"))
    return portions


def _cpu_times(segment: Segment, running: Iterable[Claim], known: frozenset[str]) -> list[float] | None:
    """The share of each in the CPU time of all; None: it is not known of one of them, or there was none."""
    told = dict(() if segment.use is None else segment.use.cpus)
    used = [[told[name] for name in claim.names if name in told] for claim in running]
    total = sum(map(sum, used)) + sum(cpus for name, cpus in told.items() if name not in known)
    return [sum(each) / total for each in used] if used and all(used) and total >= LEAST_CPUS else None


def _whole(segment: Segment, claims: Sequence[Claim], cpus: float) -> list[Portion]:
    """The node as one thing: by GPUs where it has some, else by CPUs."""
    running = [claim for claim in claims if not claim.suspended]
    if segment.gpus_total and any(claim.gpus for claim in running):
        of = max(float(segment.gpus_total), sum(claim.gpus for claim in running))
        shares = [claim.gpus / of for claim in running]
    else:
        shares = _cpu_shares(running, cpus, segment.gpus_total)
    portions = []
    for claim, share in zip(running, shares, strict=True):
        how: How = "measured" if share >= WHOLE else "apportioned"
        portions.append(Portion(claim.job, "node", "estimated" if segment.estimated else how, segment.wh * share))
    return portions


def _cpu_shares(running: Sequence[Claim], cpus: float, gpus_total: int) -> list[float]:
    """Of each the part of the CPUs that it holds; of its GPUs, where nobody tells of CPUs."""
    held = sum(claim.cpus for claim in running)
    if held:
        return [claim.cpus / max(held, cpus) for claim in running]
    gpus = max(sum(claim.gpus for claim in running), float(gpus_total))
    if gpus:
        return [claim.gpus / gpus for claim in running]
    return [1 / len(running) for _ in running]
