"""Alarm conditions of a generator at the PCC: that it runs, and whether its load is inside its range."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.alarms.points import Condition
from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot


def genset_conditions(
    snapshot: Snapshot, decision: Decision | None, config: DispatchConfig
) -> Iterator[tuple[str, Condition]]:
    """By the grid meter, which shows its power as import."""
    on_genset = decision is not None and decision.island is IslandState.GENSET
    why = decision.islanding.reason if decision is not None and decision.islanding is not None else None
    yield "genset-running", Condition(on_genset, why)
    over, under = _load(snapshot, config) if on_genset else (Condition(False), Condition(False))
    yield "genset-overload", over
    yield "genset-low-load", under


def _load(snapshot: Snapshot, config: DispatchConfig) -> tuple[Condition, Condition]:
    """Above its rating or backwards, and below its lowest load; within the deadband of what holds it there."""
    genset, w, near_w = config.genset, snapshot.grid.w.good, config.rules.deadband_w
    if genset is None or w is None:
        return Condition(None), Condition(None)
    over = Reason("alarm.genset_over", {"drawn_w": w, "rated_w": genset.rated_w})
    if w < 0:
        over = Reason("alarm.genset_back", {"back_w": -w})
    under = Reason("alarm.genset_under", {"drawn_w": w, "least_w": genset.min_load_w})
    beyond_w, short_w = max(w - genset.rated_w, -w) - near_w, genset.min_load_w - near_w - w
    return Condition(beyond_w > 0, over, beyond=beyond_w), Condition(short_w > 0, under, beyond=short_w)
