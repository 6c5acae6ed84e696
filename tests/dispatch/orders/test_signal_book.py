"""Signals from outside: what is accepted and refused, what overlaps, what ends, what outlives a restart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_site import T0, a_battery, a_pcs, a_snapshot, an_order, site_config
from soak_sizes import examples

from dispatch.accounting.limit_evidence import LimitEvidence, LimitInForce, powers, resting
from dispatch.config.schema import DispatchConfig
from dispatch.config.signal_terms import SignalTerms
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.reasons import RuleId
from dispatch.model.signals import Item, Message, Quantity, Signal, Sort
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import KeptSignals, SignalBook, SiteLimits
from dispatch.wording.catalogue import words

DSO = SignalTerms(id="dso", sort="obligation")
FLEX = SignalTerms(id="flex", sort="market", max_s=7200, ahead_s=3600)
FLEET = SignalTerms(id="fleet", sort="fleet", heartbeat_s=60, failsafe_import_w=12_000)
LIMITS = SiteLimits(critical_load_w=10_000, import_w=30_000, export_w=20_000, charge_w=60_000)


def a_book(*terms: SignalTerms) -> SignalBook:
    return SignalBook(terms or (DSO, FLEX, FLEET), LIMITS, 0.0)


def a_target(
    limit_w: float | None = 15_000,
    start_s: float | None = None,
    end_s: float | None = T0 + 900,
    *,
    quantity: Quantity = Quantity.IMPORT,
    sender: str = "flex",
    id: str = "m1",
    digest: str = "",
) -> Message:
    return Message(sender, (Item(quantity, limit_w, start_s, end_s),), id, digest or f"digest of {id}")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (a_target(end_s=None), "no end"),
        (a_target(end_s=T0 - 60), "over since 1 min"),
        (a_target(start_s=T0 + 500, end_s=T0 + 400), "not after its start"),
        (a_target(end_s=T0 + 7300), "lasts 2 h 2 min: expected at most 2 h"),
        (a_target(start_s=T0 + 4000, end_s=T0 + 4100), "begins in 1 h 7 min: expected within 1 h"),
        (a_target(quantity=Quantity.EXPORT), "market may not limit export"),
        (a_target(quantity=Quantity.PRODUCTION, sender="fleet"), "fleet may not limit production"),
        (Message("fleet", id="b", digest="b", beat_utc_s=T0 - 301), "heartbeat: its time is 301 s before"),
        (Message("fleet", id="b", digest="b", beat_utc_s=T0 + 61), "heartbeat: its time is 61 s after"),
    ],
)
def test_what_is_refused_says_why_and_leaves_nothing(message: Message, why: str) -> None:
    book = a_book()
    with pytest.raises(OrderRefused, match=why):
        book.take(message, T0, 0.0)
    assert book.keep(T0, 0.0).signals == () == book.in_force(T0, 0.0)
    assert not book.keep(T0, 0.0).seen


def test_numbers_of_a_sender_rise_over_restarts_too() -> None:
    """An earlier limit that comes late, or is sent again once its time is over, takes nothing back."""

    def numbered(number: int | None, id: str, sender: str = "flex") -> Message:
        return msgspec.structs.replace(a_target(id=id, sender=sender), number=number)

    book = a_book()
    refused = numbered(9, "bad")
    with pytest.raises(OrderRefused, match="no end"):
        book.take(msgspec.structs.replace(refused, items=(Item(Quantity.IMPORT, 1.0, None, None),)), T0, 0.0)
    book.take(numbered(7, "m7"), T0, 0.0)
    assert book.take(numbered(7, "m7"), T0, 0.0).known, "the same again changes nothing"
    again = a_book()
    again.adopt(msgspec.convert(msgspec.to_builtins(book.keep(T0, 0.0)), KeptSignals), T0, 0.0)
    for standing in (book, again):
        for number in (7, 6):
            with pytest.raises(OrderRefused, match=f"its number, {number}, is not above that of .* sender, 7"):
                standing.take(numbered(number, f"other {number}"), T0, 0.0)
        standing.take(numbered(1, "another's", sender="fleet"), T0, 0.0)
        standing.take(numbered(None, "none"), T0, 0.0)
        standing.take(numbered(8, "m8"), T0, 0.0)


def test_a_message_with_one_bad_item_is_refused_as_a_whole() -> None:
    book = a_book()
    good, bad = a_target().items[0], a_target(end_s=None).items[0]
    with pytest.raises(OrderRefused):
        book.take(Message("flex", (good, bad), "m1", "d1"), T0, 0.0)
    assert book.listed == ()


def test_the_same_message_counts_once_and_an_id_is_used_once() -> None:
    book = a_book()
    assert len(book.take(a_target(), T0, 0.0).signals) == 1
    assert book.take(a_target(), T0 + 1, 1.0).known
    assert book.take(a_target(id="other", digest="digest of m1"), T0 + 1, 1.0).known, "the same signed bytes"
    with pytest.raises(OrderRefused, match="id m1 was used before"):
        book.take(a_target(9_000, id="m1", digest="other bytes"), T0 + 1, 1.0)
    assert len(book.listed) == 1


def test_a_target_that_was_taken_back_is_not_begun_again_by_the_message_that_set_it() -> None:
    book = a_book()
    (signal,) = book.take(a_target(), T0, 0.0).signals
    assert book.take(a_target(None, id="m2"), T0 + 10, 10.0).ended == (signal,)
    assert book.take(a_target(id="m3", digest="digest of m1"), T0 + 20, 20.0).known
    assert book.in_force(T0 + 20, 20.0) == ()


def test_taking_back_a_part_leaves_what_is_before_it() -> None:
    book = a_book(FLEX)
    book.take(a_target(end_s=T0 + 900), T0, 0.0)
    book.take(a_target(None, T0 + 600, T0 + 700, id="m2"), T0, 0.0)
    assert len(book.in_force(T0 + 599, 599.0)) == 1
    assert book.in_force(T0 + 600, 600.0) == book.in_force(T0 + 800, 800.0) == ()


def test_a_limit_below_critical_load_or_above_the_sites_own_is_taken_and_told() -> None:
    book = a_book()
    (below,) = book.take(a_target(9_000), T0, 0.0).notes
    assert "below the critical load, 10.0 kW" in words(below)
    (above,) = book.take(a_target(31_000, id="m2"), T0, 0.0).notes
    assert "no tighter than the site's own limit of 30.0 kW" in words(above)


def test_a_sender_may_have_so_many_signals_and_no_more() -> None:
    book = a_book()
    for n in range(64):
        book.take(a_target(id=f"m{n}"), T0, 0.0)
    with pytest.raises(OrderRefused, match="at most 64"):
        book.take(a_target(id="one more"), T0, 0.0)
    book.take(a_target(id="of another", sender="dso"), T0, 0.0)


def test_a_lost_heartbeat_brings_the_failsafe_and_a_new_one_ends_it() -> None:
    book = a_book()
    assert book.silent(60.0) == ()
    assert book.silent(60.1) == ("fleet",)
    (failsafe,) = book.in_force(T0 + 61, 61.0)
    assert (failsafe.sender, failsafe.limit_w, failsafe.failsafe) == ("fleet", 12_000, True)
    book.take(Message("fleet", id="b1", digest="b1", beat_utc_s=T0 + 61), T0 + 61, 61.0)
    assert book.in_force(T0 + 62, 62.0) == ()
    with pytest.raises(OrderRefused, match="not newer"):
        book.take(Message("fleet", id="b2", digest="b2", beat_utc_s=T0 + 61), T0 + 100, 100.0)
    assert book.silent(121.5) == ("fleet",), "what is refused is no sign of life"


def test_what_a_person_enters_is_no_heartbeat() -> None:
    book = a_book()
    book.take(Message("fleet", a_target().items, who="alice"), T0 + 50, 50.0)
    assert book.silent(61.0) == ("fleet",)


def test_a_restart_keeps_signals_replays_and_the_time_since_a_sender_was_heard() -> None:
    book = a_book()
    book.take(a_target(sender="fleet"), T0 + 10, 10.0)
    kept = msgspec.json.decode(msgspec.json.encode(book.keep(T0 + 20, 20.0)), type=KeptSignals)
    again = a_book()
    again.adopt(kept, T0 + 50, 1_000.0)
    assert [s.id for s in again.in_force(T0 + 50, 1_000.0)] == ["s1"]
    assert again.take(a_target(sender="fleet"), T0 + 50, 1_000.0).known
    assert again.silent(1_020.0) == ()
    assert again.silent(1_020.1) == ("fleet",), "60 s after T0 + 10, by the clock of the new run"
    assert again.take(a_target(id="m2"), T0 + 50, 1_000.0).signals[0].id == "s2"


def test_signals_of_senders_that_are_gone_or_are_of_another_sort_are_not_kept() -> None:
    book = a_book()
    book.take(a_target(), T0, 0.0)
    other = a_book(DSO, msgspec.structs.replace(FLEX, sort="fleet"))
    other.adopt(book.keep(T0, 0.0), T0, 0.0)
    assert other.listed == ()


# ── evidence ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_evidence_has_begin_each_interval_and_end_with_what_was_measured() -> None:
    """4 kW for 300 s, unknown for 50 s, then 8 kW: the limit is 6 kW, the metering interval 900 s."""
    evidence = LimitEvidence(900)
    limit = LimitInForce("s30", "s30", Sort.OBLIGATION, Quantity.EXPORT, 6_000)
    told = []
    for s in range(0, 1000, 2):
        export_w = 4_000.0 if s < 300 else None if s < 350 else 8_000.0
        told += evidence.update(T0 + s, float(s), [limit], {Quantity.EXPORT: export_w})
    told += evidence.update(T0 + 1000, 1000.0, [], {})
    assert [entry.what for entry in told] == ["begin", "shortfall", "interval", "end"]
    _, short, interval, end = told
    assert short.to_utc_s == T0 + 380
    assert (interval.from_utc_s, interval.to_utc_s) == (T0, T0 + 900)
    assert (interval.min_w, interval.max_w) == (4_000, 8_000)
    assert (interval.unknown_s, interval.over_s) == (50, 552)
    assert interval.mean_w == pytest.approx((298 * 4_000 + 552 * 8_000) / 850)
    assert (end.from_utc_s, end.to_utc_s, end.over_s) == (T0 + 900, T0 + 1000, 98)


def test_charging_from_the_grid_is_no_more_than_the_import() -> None:
    charging = a_snapshot(0.0, 3_000.0, pcs=a_pcs(-8_000.0), battery=a_battery(50.0))
    assert powers(charging)[Quantity.CHARGE] == 3_000
    assert powers(a_snapshot(0.0, -3_000.0, pcs=a_pcs(-8_000.0)))[Quantity.CHARGE] == 0
    assert powers(a_snapshot(0.0, None, pcs=a_pcs(-8_000.0)))[Quantity.CHARGE] is None


# ── what the controller does ────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Bench:
    """A controller on a steady site, whose PCS follows at once. The reserve is 10 kWh of 100."""

    config: DispatchConfig = field(default_factory=lambda: site_config(export_limit_w=20_000, reserve_h=1))
    load_w: float = 20_000.0
    pcs_w: float = 0.0
    soc_pct: float = 60.0
    t_s: float = 0.0

    def __post_init__(self) -> None:
        self.controller = Controller(self.config)

    def run(self, signals: tuple[Signal, ...], *orders: Order, ticks: int = 15) -> Decision:
        """The decision after some ticks."""
        for _ in range(ticks):
            self.t_s += 0.2
            snapshot = a_snapshot(
                self.t_s, self.load_w - self.pcs_w, pcs=a_pcs(self.pcs_w), battery=a_battery(self.soc_pct)
            )
            decision = self.controller.step(snapshot, None, orders=orders, signals=signals)
            self.pcs_w = decision.battery_w or 0.0
        return decision


def a_signal(sort: Sort, quantity: Quantity, limit_w: float) -> Signal:
    return Signal("s1", sort, "sender", quantity, limit_w, T0, T0 + 900, T0)


CHARGES = an_order(OrderKind.SETPOINT, -20_000.0)


@pytest.mark.parametrize("sort", [Sort.MARKET, Sort.FLEET])
def test_a_target_is_met_by_the_battery_and_gives_way_to_a_manual_order(sort: Sort) -> None:
    target = (a_signal(sort, Quantity.IMPORT, 12_000),)
    met = Bench().run(target)
    assert met.battery_w == pytest.approx(8_000)
    assert met.binding is RuleId.SIGNALS
    assert "sender s1: import at most 12.0 kW" in words(met.reason)
    ordered = Bench().run(target, CHARGES)
    assert ordered.battery_w == -20_000
    assert next(t for t in ordered.chain if t.rule is RuleId.SIGNALS).unmet, "the shortfall is an alarm"


def test_a_target_leaves_the_reserve_alone() -> None:
    for sort in Sort:
        bench = Bench(soc_pct=15.0)
        assert (bench.run((a_signal(sort, Quantity.IMPORT, 5_000),)).battery_w or 0.0) <= 0.0, sort


def test_an_obligation_holds_against_a_manual_order() -> None:
    limited = Bench().run((a_signal(Sort.OBLIGATION, Quantity.CHARGE, 4_200),), CHARGES)
    assert limited.battery_w == pytest.approx(-4_200)
    assert "charge at most 4.2 kW from the grid" in words(limited.reason)
    imported = Bench().run((a_signal(Sort.OBLIGATION, Quantity.IMPORT, 25_000),), CHARGES)
    assert imported.battery_w == pytest.approx(-5_000)


def test_a_charge_limit_does_not_count_what_pv_gives_beyond_the_load() -> None:
    """Net load -10 kW: 4.2 kW from the grid and 10 kW of PV may be charged."""
    bench = Bench(load_w=-10_000.0)
    charged = bench.run((a_signal(Sort.OBLIGATION, Quantity.CHARGE, 4_200),), CHARGES)
    assert charged.battery_w == pytest.approx(-14_200)


class Signals(RuleBasedStateMachine):
    """Signals of three senders come, overlap, end and expire, orders come and go, the gateway restarts."""

    @initialize()
    def begin(self) -> None:
        self.bench, self.book = Bench(), a_book()
        self.messages, self.orders = 0, tuple[Order, ...]()

    @property
    def utc_s(self) -> float:
        return T0 + self.bench.t_s

    @rule(
        sender=st.sampled_from(["dso", "flex", "fleet"]),
        quantity=st.sampled_from(list(Quantity)),
        limit_w=st.sampled_from([None, 0.0, 4_200.0, 12_000.0, 90_000.0]),
        begins_s=st.sampled_from([None, -5.0, 2.0]),
        lasts_s=st.sampled_from([None, -10.0, 4.0, 600.0]),
    )
    def send(
        self, sender: str, quantity: Quantity, limit_w: float | None, begins_s: float | None, lasts_s: float | None
    ) -> None:
        self.messages += 1
        start_s = None if begins_s is None else self.utc_s + begins_s
        end_s = None if lasts_s is None else self.utc_s + lasts_s
        message = a_target(limit_w, start_s, end_s, quantity=quantity, sender=sender, id=f"m{self.messages}")
        before = self.book.listed
        try:
            self.book.take(message, self.utc_s, self.bench.t_s)
        except OrderRefused:
            assert self.book.listed == before

    @rule(value_w=st.sampled_from([None, -20_000.0, 15_000.0]))
    def order(self, value_w: float | None) -> None:
        self.orders = () if value_w is None else (an_order(OrderKind.SETPOINT, value_w),)

    @rule(load_w=st.sampled_from([-15_000.0, 5_000.0, 28_000.0]), soc_pct=st.sampled_from([14.0, 16.0, 60.0]))
    def site(self, load_w: float, soc_pct: float) -> None:
        if (load_w, soc_pct) != (self.bench.load_w, self.bench.soc_pct):
            self.bench.load_w, self.bench.soc_pct, self.bench.pcs_w = load_w, soc_pct, 0.0
            self.bench.controller = Controller(self.bench.config)

    @rule()
    def restart(self) -> None:
        book, self.book = self.book, a_book()
        self.book.adopt(book.keep(self.utc_s, self.bench.t_s), self.utc_s, self.bench.t_s)
        assert self.book.in_force(self.utc_s, self.bench.t_s) == book.in_force(self.utc_s, self.bench.t_s)

    @invariant()
    def holds(self) -> None:
        self.book.advance(self.utc_s)
        for signal in self.book.listed:
            assert self.utc_s < signal.end_utc_s
            assert math.isfinite(signal.end_utc_s)
        there = self.book.in_force(self.utc_s, self.bench.t_s)
        decision = self.bench.run(there, *self.orders)
        assert decision.nodes == (), "no load is shed for a signal"
        battery_w = decision.battery_w or 0.0
        if self.bench.soc_pct < 15.5:
            assert battery_w <= 1e-6, "the reserve is kept"
        self._obligations(there, battery_w)
        self._order_stands(there, battery_w)
        chain = {trace.rule: trace for trace in decision.chain}
        after, before = chain[RuleId.SIGNALS], chain[RuleId.MANUAL]
        assert before.low_w <= after.low_w <= after.high_w <= before.high_w, "only narrower"

    def _obligations(self, there: tuple[Signal, ...], battery_w: float) -> None:
        import_w, surplus_w = self.bench.load_w - battery_w, max(-self.bench.load_w, 0.0)
        spare = self.bench.soc_pct > 20
        for signal in there:
            if signal.sort is not Sort.OBLIGATION:
                continue
            if signal.quantity is Quantity.EXPORT:
                assert -import_w <= signal.limit_w + 1e-6
            elif signal.quantity is Quantity.CHARGE:
                assert -battery_w <= signal.limit_w + surplus_w + 1e-6
            elif signal.quantity is Quantity.IMPORT and spare:
                assert import_w <= signal.limit_w + 1e-6

    def _order_stands(self, there: tuple[Signal, ...], battery_w: float) -> None:
        if self.orders and self.bench.soc_pct > 20 and not any(s.sort is Sort.OBLIGATION for s in there):
            exported_w = self.orders[0].value - self.bench.load_w
            if exported_w <= self.bench.config.grid.export_limit_w:
                assert battery_w == pytest.approx(self.orders[0].value)


TestSignals = pytest.mark.soak(Signals.TestCase)
TestSignals.settings = settings(max_examples=examples(6), stateful_step_count=10, deadline=None)


def test_limits_that_no_inverter_holds_are_accepted_with_a_note() -> None:
    limits = msgspec.structs.replace(LIMITS, fixed_pv_w=8_000)
    for quantity, limit_w, codes in (
        (Quantity.PRODUCTION, 5_000, ["signal.production_not_held"]),
        (Quantity.PRODUCTION, 8_000, []),
        (Quantity.EXPORT, 5_000, ["signal.export_not_held"]),
        (Quantity.IMPORT, 15_000, []),
    ):
        taken = SignalBook((DSO,), limits, 0.0).take(a_target(limit_w, quantity=quantity, sender="dso"), T0, 0.0)
        assert [note.code for note in taken.notes] == codes
        assert all("8.0 kW" in words(note) for note in taken.notes)


def test_evidence_rests_while_the_rules_keep_no_limit() -> None:
    """On a generator those of the grid operator, off the grid all: what PV gives then exceeds nothing."""
    dso = LimitInForce("dso s1", "dso", Sort.OBLIGATION, Quantity.PRODUCTION, 5_000.0)
    flex = LimitInForce("flex s2", "flex", Sort.MARKET, Quantity.IMPORT, 5_000.0)
    assert resting((dso, flex), IslandState.GRID_TIED) == frozenset()
    assert resting((dso, flex), IslandState.GENSET) == {dso}
    assert resting((dso, flex), IslandState.BLACKOUT) == resting((dso, flex), IslandState.ISLANDED) == {dso, flex}
    evidence, over, told = LimitEvidence(900.0), {Quantity.PRODUCTION: 9_000.0}, []
    for t_s in range(0, 200, 5):
        rest = {dso} if 60 <= t_s < 120 else frozenset[LimitInForce]()
        told += [(t_s, e.what, e.over_s) for e in evidence.update(T0 + t_s, float(t_s), [dso], over, rest)]
    assert told == [(0, "begin", 0), (35, "shortfall", 35), (60, "rest", 55), (120, "begin", 0), (155, "shortfall", 35)]
