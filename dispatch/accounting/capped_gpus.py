"""Reckons what GPUs lose under a cap: GPU-hours, by throughput against power and what each drew before the cap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatch.model.equipment import Gpu
from dispatch.model.power_caps import BINDING
from dispatch.power_caps.throughput import DEFAULT, Curve

SETTLED_S = 60.0  # over which the power before a cap is a mean


class CappedGpus:
    """The GPUs of one node whose power and limit are known singly; of others nothing is reckoned."""

    def __init__(self, curve: Curve = DEFAULT) -> None:
        self._curve = curve
        self._uncapped_w: dict[str, float] = {}  # by UUID or name

    def take(self, gpus: Iterable[Gpu], passed_s: float, capped: bool) -> tuple[tuple[str, float], ...]:
        """UUID of each GPU that lost something since the last sample, and GPU-hours.

        A GPU that draws less than its limit is not slowed down.
        """
        lost: list[tuple[str, float]] = []
        for gpu in gpus:
            w, name = gpu.w.good, gpu.uuid or str(gpu.index)
            if w is None:
                continue
            if not capped:
                self._uncapped_w[name] = uncapped_w(self._uncapped_w.get(name, w), w, passed_s)
            elif _at_limit(gpu, w):
                lost.append((name, self._curve.slowdown(w, self._uncapped_w.get(name, w)) * passed_s / 3600))
        return tuple(one for one in lost if one[1] > 0)


def uncapped_w(before_w: float, w: float, passed_s: float) -> float:
    """The mean power without a cap, W, after `passed_s` more at `w`; `before_w`: the mean up to then."""
    return before_w + min(1.0, passed_s / SETTLED_S) * (w - before_w)


def shares(lost: Iterable[tuple[str, float]], owners: Sequence[frozenset[str]], wh: Sequence[float]) -> list[float]:
    """The GPU-hours that each job lost.

    What is lost on a GPU is its job's; where that is not known, it is divided among the jobs whose GPUs are not known,
    by the energy of their GPUs.

    `owners`: the GPUs of each job, empty: not known. `wh`: of the GPUs of each.
    """
    found = [0.0] * len(owners)
    unknown_wh = [0.0 if uuids else max(0.0, energy) for uuids, energy in zip(owners, wh, strict=True)]
    total_wh = sum(unknown_wh)
    for uuid, gpu_h in lost:
        owner = next((n for n, uuids in enumerate(owners) if uuid in uuids), None)
        if owner is not None:
            found[owner] += gpu_h
        elif total_wh > 0:
            found = [own + gpu_h * energy / total_wh for own, energy in zip(found, unknown_wh, strict=True)]
    return found


def _at_limit(gpu: Gpu, w: float) -> bool:
    """Whether it draws as much as its limit lets it; of one whose limit is not told that cannot be said."""
    limit_w = gpu.limit_w.good if gpu.enforced_w.good is None else gpu.enforced_w.good
    return limit_w is not None and w >= BINDING * limit_w
