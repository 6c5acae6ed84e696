"""The limit of import that binds, and its word: by what outranks what, the lowest of those that count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from console.display.import_limit import PEAK_WORDS, import_limit, interval_limit
from dispatch.billing.demand_charge import free_peak
from dispatch.config.demand_terms import DemandTerms
from dispatch.events.model import EventState, GridEvent, Phase
from dispatch.model.contacts import ContactView
from dispatch.model.decision import Decision, Mode
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import Order, OrderKind
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.signals import Quantity, Signal, SignalView, Sort
from dispatch.model.snapshot import Snapshot
from gateway.api.protocol import LoopStats, Published, TariffNow

T_S, FUSE_W = 1_758_009_600.0, 110_000.0
INTERVAL = Interval(T_S, 900, 0.0, 0.0, 60_000.0, 60_000.0, 60_000.0, Reason("peak.contracted"))
DECISION = Decision(0, T_S, Mode.RULES, IslandState.GRID_TIED, (), None, None, None, RuleId.IDLE, plain("idle"))
PUBLISHED = Published(
    Snapshot(0, T_S, 0.0, Meter("grid")), DECISION, (), INTERVAL, 0.0, TariffNow(), LoopStats()
)  # fmt: skip
MONTH = msgspec.structs.replace(INTERVAL, limit_w=34_000.0, guard_w=34_000.0, guard_peak=free_peak(DemandTerms()))
PLANNED = msgspec.structs.replace(MONTH, limit_w=30_000.0)
TARGET = Order("o1", OrderKind.IMPORT_TARGET, 50_000.0, "", "ada", "test", T_S, T_S + 900, 900.0)
EVENT = EventState(
    event=GridEvent(
        id="e1", source="order", who="otto", reason="", limit_w=25_000.0, given_utc_s=T_S, notice_utc_s=T_S,
        start_utc_s=T_S - 60, end_utc_s=T_S + 3600,
    ),
    phase=Phase.HELD,
    limit_w=25_000.0,
)  # fmt: skip


def a_signal(sort: Sort, limit_w: float) -> SignalView:
    return SignalView(Signal("s1", sort, "acme", Quantity.IMPORT, limit_w, T_S, T_S + 3600, T_S))


def wire(limit_w: float) -> Decision:
    step = ContactView("step60", "grid_operator", "active", 0.0, import_limit_w=limit_w)
    return msgspec.structs.replace(DECISION, contacts=(step,))


CASES: dict[str, tuple[dict[str, Any], str, float]] = {
    "nothing but the contract": ({}, "contract", 60_000.0),
    "the month's peak": ({"interval": MONTH}, "month", 34_000.0),
    "the plan's target is lower": ({"interval": PLANNED}, "plan", 30_000.0),
    "an event is lower": ({"interval": PLANNED, "grid_events": (EVENT,)}, "event", 25_000.0),
    "a market asks for less": ({"grid_events": (EVENT,), "signals": (a_signal(Sort.MARKET, 2e4),)}, "signal", 2e4),
    "an order outranks peak and event": (
        {"interval": MONTH, "grid_events": (EVENT,), "orders": (TARGET,)}, "order", 50_000.0
    ),
    "the operator outranks an order": (
        {"orders": (TARGET,), "signals": (a_signal(Sort.OBLIGATION, 40_000.0),)}, "operator", 40_000.0
    ),
    "a wire of the operator's": ({"interval": MONTH, "decision": wire(4_200.0)}, "operator", 4_200.0),
    "a small fuse": ({"interval": msgspec.structs.replace(INTERVAL, limit_w=2e5, guard_w=2e5)}, "fuse", FUSE_W),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_limit_that_binds(case: str) -> None:
    changes, word, limit_w = CASES[case]
    assert import_limit(msgspec.structs.replace(PUBLISHED, **changes), FUSE_W) == (word, limit_w)


@pytest.mark.parametrize("per", ["month", "year"])
@pytest.mark.parametrize("top_days", [1, 3])
def test_every_peak_that_guards_has_its_own_word(per: Any, top_days: int) -> None:
    peak = free_peak(DemandTerms(per=per, top_days=top_days))
    word, _ = interval_limit(msgspec.structs.replace(MONTH, guard_peak=peak))
    assert word == PEAK_WORDS[peak.code]
    assert len(f"{word} 1234.6 kW") <= 18, "a column of the overview"
