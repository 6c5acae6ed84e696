"""What nodes do for a grid event beyond caps, where their owner declared it: start no jobs, go off when empty, requeue.

While a limit of import by a grid event or a signal is in force, declared nodes start no more jobs, and their scheduler
powers those off that are empty. A limit that the fuse keeps anyway asks nothing, and off the grid nothing begins.
If import would stay above the limit although battery and caps give all that they may, for HOLD_S, jobs that declared a
checkpoint are told to save and then go back to the queue: of as few declared nodes as draw what is missing, those
first that draw most; after `settle_s` of others if it still lasts. What was missing and is not any more requeues no
further node. Once nothing has been limited for UNDO_S, nodes start jobs and run again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.islanding.held import Held
from dispatch.islanding.shedding_steps import takes_jobs
from dispatch.model.events import Event
from dispatch.model.islanding import FOR_EVENT, NodeOrder
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason, joined
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.cap_controller import GridSide
from dispatch.wording.catalogue import words

HOLD_S = 30.0  # import would stay above the limit for so long before jobs are told to save
SHOWN = 8  # nodes named in a line
UNDO_S = 60.0  # no limit for so long before nodes are free again


class EventNodes:
    """Steps once per tick."""

    def __init__(self, config: DispatchConfig) -> None:
        declared = [node for node in config.nodes if not node.critical and node.event_step != "caps"]
        self._nodes = {node.id: node for node in declared}
        self._settle_s, self._fuse_w = config.ride_through.settle_s, config.grid.fuse_w
        self._short, self._free = Held(), Held()
        self._active = self._engaged = False  # engaged: something was asked; orders go on, so that it is undone
        self._told_s: dict[str, float] = {}  # mono_s at which the jobs of a node were told to save
        self._due: frozenset[str] = frozenset()  # nodes whose jobs were requeued
        self._moved_s = -math.inf

    def step(self, now: Snapshot, need: GridSide) -> tuple[tuple[NodeOrder, ...], tuple[Event, ...]]:
        """What is to hold on declared nodes, and what changed. No orders as long as nothing was ever asked."""
        if not self._nodes:
            return (), ()
        events = list(self._begin_or_end(now, need))
        if self._active:
            events += self._requeue(now, need)
        return tuple(map(self._order, self._nodes.values())) if self._engaged else (), tuple(events)

    def _begin_or_end(self, now: Snapshot, need: GridSide) -> Iterator[Event]:
        limited = need.limit_w < self._fuse_w and (need.grid_tied or self._active)
        free_s = self._free.update(not limited, now.mono_s)
        if limited and not self._active:
            self._active = self._engaged = True
            yield _event(now, "info", joined(self._begins()))
        elif self._active and free_s >= UNDO_S:
            self._active, self._told_s, self._due = False, {}, frozenset()
            yield _event(now, "info", Reason("event.nodes_end", {"nodes": _listed(self._nodes)}))

    def _begins(self) -> Iterator[Reason]:
        yield Reason("event.nodes_begin", {"nodes": _listed(self._nodes)})
        if off := [id for id, node in self._nodes.items() if node.can_power_off]:
            yield Reason("event.nodes_off", {"nodes": _listed(off)})

    def _requeue(self, now: Snapshot, need: GridSide) -> Iterator[Event]:
        missing_w = None
        if need.grid_tied and need.net_w is not None:
            missing_w = need.net_w - need.battery_most_w - need.limit_w
        lasts_s = self._short.update(missing_w is not None and missing_w > NEAR_W, now.mono_s)
        if missing_w is None or lasts_s < 0:
            self._told_s = {id: told_s for id, told_s in self._told_s.items() if id in self._due}
            return
        yield from self._put_back(now)
        waits = self._told_s.keys() - self._due
        if lasts_s >= HOLD_S and not waits and now.mono_s - self._moved_s >= self._settle_s:
            yield from self._tell(now, missing_w)

    def _put_back(self, now: Snapshot) -> Iterator[Event]:
        """The jobs that have had their time to save."""
        due = [
            id
            for id, told_s in self._told_s.items()
            if id not in self._due and now.mono_s - told_s >= self._nodes[id].checkpoint_s
        ]
        if due:
            self._due, self._moved_s = self._due | set(due), now.mono_s
            yield _event(now, "warning", Reason("event.nodes_requeued", {"nodes": _listed(due)}))

    def _tell(self, now: Snapshot, missing_w: float) -> Iterator[Event]:
        """The nodes whose jobs are to save, for what is missing."""
        drawn = {node.id: w for node in now.nodes if (w := node.w.good) is not None and w > 0}
        chosen, still_w = [], missing_w
        for id in sorted(self._may_requeue(drawn), key=lambda id: (-drawn[id], id)):
            if still_w <= 0:
                break
            chosen.append(id)
            still_w -= drawn[id]
        if chosen:
            self._told_s.update(dict.fromkeys(chosen, now.mono_s))
            what = Reason("event.nodes_save", {"nodes": _listed(chosen), "missing_w": missing_w, "for_s": HOLD_S})
            yield _event(now, "warning", what)

    def _may_requeue(self, drawn: Mapping[str, float]) -> list[str]:
        return [id for id, node in self._nodes.items() if id in drawn and id not in self._told_s and _requeues(node)]

    def _order(self, node: NodeTerms) -> NodeOrder:
        if not self._active:
            return NodeOrder(node.id)
        return NodeOrder(
            node.id,
            reason=FOR_EVENT,
            starts_stopped=node.can_stop_starts,
            saving=node.id in self._told_s,
            requeued=node.id in self._due,
            off_when_empty=node.can_power_off,
        )


def joined_orders(ride: tuple[NodeOrder, ...], event: tuple[NodeOrder, ...]) -> tuple[NodeOrder, ...]:
    """What ride-through and a grid event ask of each node, in one: whatever either asks; the reason of ride-through."""
    by_id = {order.device_id: order for order in ride}
    for order in event:
        other = by_id.get(order.device_id)
        by_id[order.device_id] = order if other is None else _both(other, order)
    return tuple(by_id.values())


def _both(ride: NodeOrder, event: NodeOrder) -> NodeOrder:
    asks = bool(ride.lasting) or ride.saving or ride.requeued
    return msgspec.structs.replace(
        ride,
        reason=ride.reason if asks else event.reason,
        starts_stopped=ride.starts_stopped or event.starts_stopped,
        saving=ride.saving or event.saving,
        requeued=ride.requeued or event.requeued,
        off_when_empty=(ride.off_when_empty or event.off_when_empty) and not ride.off,
    )


def _listed(ids: Iterable[str]) -> str:
    names = list(ids)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _requeues(node: NodeTerms) -> bool:
    return node.event_step == "requeue" and takes_jobs(node)


def _event(now: Snapshot, severity: str, what: Reason) -> Event:
    return Event(now.utc_s, "node", severity, "grid event", words(what))
