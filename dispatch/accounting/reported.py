"""Puts the progress that running jobs report beside what their GPUs draw, and says what that tells of each node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dispatch.accounting.runs import Run
from dispatch.model.equipment import Node
from dispatch.power_caps.progress import JobProgress, Kind
from dispatch.power_caps.throughput import Curve

OnNodes = Sequence[tuple[Run, Sequence[str]]]  # runs that go on, with the ids of their nodes


def kind_of(run: Run) -> Kind:
    """By which jobs are taken to be alike."""
    return run.job.user, run.job.name, run.job.gpus


def watch(
    progress: JobProgress, runs: OnNodes, nodes: Mapping[str, Node], capped: Collection[str], at_s: float
) -> None:
    """Take in what the GPUs of the runs that have reported draw now, and on which nodes a cap is to hold."""
    told = frozenset(progress.runs)
    progress.see(
        [(run.key, gpus_w(run, ids, nodes), any(id in capped for id in ids)) for run, ids in runs if run.key in told],
        at_s,
    )


def gpus_w(run: Run, ids: Sequence[str], nodes: Mapping[str, Node]) -> float | None:
    """What the GPUs of a run draw together, W; None: which they are, or what one draws, is not known."""
    own = run.uuids
    gpus = [gpu for id in ids if id in nodes for gpu in nodes[id].gpus if not own or gpu.uuid in own]
    drawn = [w for gpu in gpus if (w := gpu.w.good) is not None]
    return sum(drawn) if len(drawn) == run.job.gpus else None


def measured_curves(progress: JobProgress, runs: OnNodes) -> dict[str, Curve]:
    """By node, the curve of the job on it that loses most; nodes with a job whose curve is not known are left out."""
    found: dict[str, Curve | None] = {}
    for run, ids in runs:
        if run.job.gpus:
            curve = progress.curve(kind_of(run))
            for id in ids:
                found[id] = _steeper(curve, found.get(id, curve))
    return {id: curve for id, curve in found.items() if curve is not None}


def _steeper(one: Curve | None, other: Curve | None) -> Curve | None:
    if one is None or other is None:
        return None
    return max(one, other, key=lambda curve: curve.slowdown(curve.points[0][0], 1.0))
