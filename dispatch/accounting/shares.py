"""Divides the energy of a node among the jobs that hold parts of it.

GPUs go whole to the job that holds them, where that is known by UUID, or where one job holds all that are left; else by
the number that was allocated. The host goes by allocated CPUs. What is allocated to nobody goes to nobody. A job that
is suspended keeps the GPUs that no other job uses, and no part of the host: its scheduler has given its CPUs to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dispatch.accounting.records import How, Part
from dispatch.accounting.samples import Segment

WHOLE = 0.999  # of all CPUs or GPUs: sums of parts are not exact


class Claim(NamedTuple):
    """What a job holds of a node."""

    job: int  # by which the caller knows it
    gpus: float = 0.0
    cpus: float = 0.0
    uuids: frozenset[str] = frozenset()  # of GPUs, on any of its nodes; empty: not known
    suspended: bool = False


class Portion(NamedTuple):
    """A job's part of the energy."""

    job: int
    part: Part
    how: How
    wh: float


def divide(segment: Segment, claims: Sequence[Claim], cpus: float) -> list[Portion]:
    """The portions of the jobs. `cpus`: of the node; 0: not known, then those that are allocated are all."""
    if segment.host_wh is None:
        return _whole(segment, claims, cpus)
    return [*_gpus(segment, claims), *_host(segment, segment.host_wh, claims, cpus)]


def _gpus(segment: Segment, claims: Sequence[Claim]) -> list[Portion]:
    owners = _owners(segment, claims)
    portions = [
        Portion(claim.job, "gpu", "measured" if len(owners[uuid]) == 1 else "apportioned", wh / len(owners[uuid]))
        for uuid, wh in segment.gpus
        for claim in owners.get(uuid, ())
    ]
    left = [wh for uuid, wh in segment.gpus if uuid not in owners]
    owning = {claim.job for found in owners.values() for claim in found}
    others = _holding(len(left), [claim for claim in claims if claim.gpus and claim.job not in owning])
    asked = sum(claim.gpus for claim in others)
    how: How = "measured" if len(others) == 1 and WHOLE * len(left) <= asked <= len(left) / WHOLE else "apportioned"
    left_wh, of = sum(left), max(asked, len(left))  # more allocated than there are: parts of GPUs
    return [*portions, *(Portion(claim.job, "gpu", how, left_wh * claim.gpus / of) for claim in others)]


def _owners(segment: Segment, claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Who holds each GPU that is known to be somebody's. Several: it is shared."""
    owners: dict[str, list[Claim]] = {}
    for uuid, _ in segment.gpus:
        found = [claim for claim in claims if uuid in claim.uuids]
        running = [claim for claim in found if not claim.suspended]
        if found:
            owners[uuid] = running or found
    return owners


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


def _host(segment: Segment, host_wh: float, claims: Sequence[Claim], cpus: float) -> list[Portion]:
    running = [claim for claim in claims if not claim.suspended]
    portions = []
    for claim, share in zip(running, _cpu_shares(running, cpus, segment.gpus_total), strict=True):
        how: How = "measured" if share >= WHOLE else "apportioned"
        portions.append(Portion(claim.job, "host", "estimated" if segment.estimated else how, host_wh * share))
    return portions


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
