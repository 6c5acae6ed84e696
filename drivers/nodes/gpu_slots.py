"""Follows which GPUs a node has: known by UUID, so that one that is lost stays in the node without values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatch.model.equipment import Gpu
from drivers.nodes.known_gpus import KnownGpus, SeenGpu
from drivers.nodes.nvml_calls import key_of, label, uuid_in


class GpuSlots:
    """The GPUs of one node that is read from afar, in the memory of this process."""

    def __init__(self, declared: int) -> None:
        """`declared`: number of GPUs by the site file; 0: as many as have answered at once."""
        self._known, self._declared = KnownGpus(), declared

    def see(self, gpus: tuple[Gpu, ...]) -> tuple[tuple[Gpu, ...], str, str]:
        """All GPUs that answer, those that are missing without values; what is missing; and what was swapped."""
        before = self._known.record.seen
        answering = {key_of(g.uuid, g.index, len(gpus)): SeenGpu(g.index, g.name) for g in gpus if answers(g)}
        self._known.see(answering, self._declared)
        every, absent = with_absent(gpus, self._known.record.seen, self._known.expected(self._declared))
        return every, absent, _swapped(before, self._known.record.seen)


def _swapped(before: Mapping[str, SeenGpu], now: Mapping[str, SeenGpu]) -> str:
    """Which GPUs are no longer known and which are new, in words; empty: the same as before."""
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    if not gone or not new:
        return ""
    if len(gone) == len(before) > 1:
        return f"all {len(gone)} GPUs are other ones than before: another machine"
    by_index = {was.index: key for key, was in before.items() if key in gone}
    pairs = [(now[key].index, by_index.get(now[key].index, ""), key) for key in sorted(new, key=lambda k: now[k].index)]
    return "; ".join(
        f"{label(index, uuid_in(key))} is new" + (f" in place of {uuid_in(old)[:12]}" if uuid_in(old) else "")
        for index, old, key in pairs
    )


def answers(gpu: Gpu) -> bool:
    """Whether a GPU that NVML counts is there: it gives its UUID or its power."""
    return bool(gpu.uuid) or gpu.w.value is not None


def with_absent(gpus: tuple[Gpu, ...], seen: Mapping[str, SeenGpu], expected: int) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs, and without values those that are known or expected but not there; and a line that names them."""
    present = {key_of(g.uuid, g.index, len(gpus)) for g in gpus if answers(g)}
    gone = {key: was for key, was in seen.items() if key not in present}
    named = [g if answers(g) else _known_as(g, gone) for g in gpus]  # counted, but it says nothing
    free = {g.index for g in gpus}
    left = sorted(gone.items(), key=lambda item: (item[1].index in free, item[1].index))
    short = max(expected - len(named), 0)
    absent = [Gpu(was.index, was.name, uuid=uuid_in(key)) for key, was in left[:short]]
    unknown = [Gpu(len(named) + len(absent) + n, "") for n in range(short - len(absent))]
    lost = [label(g.index, g.uuid) for g in absent]
    text = f"{len(gpus)} of {expected} GPUs are there" + (f", missing: {', '.join(lost)}" if lost else "")
    if gpus:
        text += "; if one was taken out for good, say so with gpus in the [[node]]"
    return (*named, *absent, *unknown), text if short else ""


def _known_as(gpu: Gpu, gone: dict[str, SeenGpu]) -> Gpu:
    """A counted GPU that says nothing, with the name it had at this index; takes it out of `gone`."""
    for key, was in gone.items():
        if was.index == gpu.index:
            del gone[key]
            return msgspec.structs.replace(gpu, name=was.name, uuid=uuid_in(key))
    return gpu
