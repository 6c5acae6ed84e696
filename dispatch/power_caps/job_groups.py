"""Gives the GPUs of a job that runs on several nodes one power limit: its slowest rank sets the pace of all.

Nodes that share jobs form a group. What its caps are to take in all stays as it was decided; how deep each node is
capped follows from one limit for each of their GPUs. A GPU that could draw more than the others would only wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dispatch.model.jobs import Job
from dispatch.power_caps.pricing import level_w

Groups = tuple[frozenset[str], ...]  # names of nodes; no node is in two of them


class NodeShare(msgspec.Struct, frozen=True):
    """A node that takes a cap, W. `room_w`: what it can give of `base_w`, which it would draw without a cap.

    `host_w`: what is left to its host before its `gpus` GPUs share a cap.
    """

    base_w: float
    room_w: float
    gpus: int
    host_w: float

    def per_gpu_w(self, node_w: float) -> float:
        """What a power of the node leaves to each GPU."""
        return (node_w - self.host_w) / self.gpus


def of_jobs(jobs: Iterable[Job]) -> Groups:
    """The nodes of running jobs that hold GPUs on more than one."""
    return merged(job.nodes for job in jobs if job.runs and job.gpus and len(job.nodes) > 1)


def tolerated_pct(jobs: Iterable[Job], of_partition: Mapping[str, int]) -> dict[str, int]:
    """By node, the least slowdown that the partition of a running job with GPUs on it tolerates; of those stated."""
    stated = [job for job in jobs if job.runs and job.gpus and job.partition in of_partition]
    return least([(node, of_partition[job.partition]) for node in job.nodes] for job in stated)


def least(parts: Iterable[Iterable[tuple[str, int]]]) -> dict[str, int]:
    """By name, the least of several figures."""
    found: dict[str, int] = {}
    for part in parts:
        for name, figure in part:
            found[name] = min(figure, found.get(name, figure))
    return found


def merged(groups: Iterable[Iterable[str]]) -> Groups:
    """Groups that have a node in common are one."""
    of: dict[str, set[str]] = {}
    for names in groups:
        whole = set(names)
        for other in {id(of[name]): of[name] for name in whole if name in of}.values():
            whole |= other
        of.update(dict.fromkeys(whole, whole))
    return tuple(frozenset(group) for group in {id(group): group for group in of.values()}.values())


def among(groups: Groups, ids: Iterable[str]) -> frozenset[frozenset[str]]:
    """Which of these nodes share jobs."""
    of = frozenset(ids)
    return frozenset(group & of for group in groups if len(group & of) > 1)


def with_one_limit(caps_w: Mapping[str, float], shares: Mapping[str, NodeShare], groups: Groups) -> dict[str, float]:
    """The caps with one limit for all GPUs of a group, a whole number of watts; other caps as they are.

    No node is capped deeper than its room allows, so a group takes less than was decided where one of its nodes can
    give less for each GPU than the others. A node whose GPUs are not counted keeps its own cap.
    """
    found = dict(caps_w)
    for group in groups:
        members = {id: shares[id] for id in group if id in caps_w and id in shares and shares[id].gpus > 0}
        if len(members) > 1:
            take_w = sum(max(share.base_w - caps_w[id], 0.0) for id, share in members.items())
            limit_w = round(_limit_w(list(members.values()), take_w))
            found |= {id: share.host_w + share.gpus * limit_w for id, share in members.items()}
    return found


def _limit_w(members: list[NodeShare], take_w: float) -> float:
    """The limit of each GPU by which these nodes draw so much less, as far as their room allows."""
    least_w = max(share.per_gpu_w(share.base_w - share.room_w) for share in members)
    gpus_w = [share.per_gpu_w(share.base_w) for share in members for _ in range(share.gpus)]
    return max(level_w(gpus_w, take_w), least_w)


def capped_in_part(groups: Groups, able: Iterable[str], may_be: Iterable[str]) -> frozenset[str]:
    """Of the nodes `able` to give something those with a job that has a node outside `may_be`, which takes no cap.

    Capped, such a job is as slow as it would be with all its nodes capped, and saves the power of some of them only.
    """
    takes, named = frozenset(may_be), frozenset(able)
    return frozenset(id for group in groups if not group <= takes for id in group & named)
