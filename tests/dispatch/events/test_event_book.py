"""Grid events: what is accepted and refused, the life of each, what overlaps, what outlives a restart."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_site import T0
from soak_sizes import examples

from dispatch.events.book import EventBook
from dispatch.events.life_cycle import Moment, limit_at, limits_ahead, limits_now, phase_at
from dispatch.events.model import EventState, KeptEvents, Phase, Wanted
from dispatch.events.recent_import import RecentImport
from dispatch.model.signals import Quantity, Signal, Sort, tightest
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import SiteLimits
from dispatch.wording.catalogue import words

LIMITS = SiteLimits(critical_load_w=10_000, import_w=110_000)
HOUR = 3600.0


def a_wish(
    limit_w: float | None = 20_000.0, start_s: float | None = HOUR, end_s: float = 2 * HOUR, **more: Any
) -> Wanted:
    start_utc_s = None if start_s is None else T0 + start_s
    return Wanted(limit_w=limit_w, start_utc_s=start_utc_s, end_utc_s=T0 + end_s, **more)


def at(t_s: float, import_w: float | None = 25_000.0, dt_s: float = 1.0, **more: Any) -> Moment:
    given: dict[str, Any] = {"without_battery_w": 30_000.0, "soc_pct": 60.0, "contracted_peak_w": 80_000.0} | more
    return Moment(utc_s=T0 + t_s, dt_s=dt_s, import_w=import_w, **given)


def run(book: EventBook, *moments: Moment) -> EventState:
    """The only event after these ticks."""
    for moment in moments:
        book.advance(moment)
    (state,) = (*book.standing, *book.ended)
    return state


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(limit_w=1.0), "no end: expected one, 24 h after the start at most"),
        (a_wish(end_s=26 * HOUR), "lasts 25 h: expected at most 24 h"),
        (a_wish(end_s=1800), "not after its start"),
        (a_wish(start_s=-HOUR, end_s=-60), "over since 1 min"),
        (a_wish(start_s=8 * 86_400, end_s=8 * 86_400 + 60), "begins in 192 h: expected within 168 h"),
        (a_wish(None), "expected one target"),
        (a_wish(1.0, drop_w=1.0), "expected one target"),
        (a_wish(-1.0), "target: -1 W: expected 0 or more"),
        (a_wish(math.nan), "target: nan W"),
        (a_wish(None, drop_w=0.0), "more than 0 for a drop"),
        (a_wish(end_s=math.inf), "is no number"),
        (a_wish(ramp_s=5 * HOUR), "of the ramp at most 4 h"),
        (a_wish(notice_s=-1.0), "expected 0 or more"),
        (a_wish(baseline="guess"), "baseline: expected before-notice"),
    ],
)
def test_what_is_refused_says_why_and_leaves_nothing(wanted: Wanted, why: str) -> None:
    book = EventBook(LIMITS)
    with pytest.raises(OrderRefused, match=why):
        book.start(wanted, "otto", T0)
    assert book.keep() == KeptEvents()


def test_one_that_began_before_begins_now_and_one_below_critical_load_is_told() -> None:
    judged = EventBook(LIMITS).judge(a_wish(5_000.0, start_s=-60.0), "otto", T0)
    assert judged.event.start_utc_s == T0
    begun, below = map(words, judged.notes)
    assert begun == "its start is 1 min ago: it begins at once"
    assert "below the critical load, 10.0 kW" in below
    (loose,) = EventBook(LIMITS).judge(a_wish(120_000.0), "otto", T0).notes
    assert "no tighter" in words(loose)


def test_so_many_stand_and_no_more() -> None:
    book = EventBook(LIMITS)
    for k in range(32):
        book.start(a_wish(start_s=HOUR * k, end_s=HOUR * (k + 1)), "otto", T0)
    with pytest.raises(OrderRefused, match="at most 32"):
        book.start(a_wish(), "otto", T0)


def test_an_event_is_announced_prepared_held_and_ended_in_steps() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(notice_s=1800.0, ramp_s=900.0), "otto", T0)
    phases = {t_s: run(book, at(t_s)).phase for t_s in (0, 1799, 1800, 3599, 3600, 7199, 7200, 8099, 8100)}
    assert list(phases.values()) == [
        Phase.ANNOUNCED,
        Phase.ANNOUNCED,
        Phase.PREPARING,
        Phase.PREPARING,
        Phase.HELD,
        Phase.HELD,
        Phase.ENDING,
        Phase.ENDING,
        Phase.OVER,
    ]
    assert book.standing == ()


def test_the_limit_rises_step_by_step_to_what_is_usual_and_is_lifted_then() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(start_s=None, end_s=HOUR, ramp_s=600.0), "otto", T0)
    state = run(book, at(0.0, month_peak_w=42_000.0))
    assert limit_at(state, T0 + 10) == 20_000
    risen = [limit_at(state, T0 + HOUR + t_s) for t_s in (0, 59, 60, 300, 599)]
    assert risen == [22_000, 22_000, 24_000, 32_000, 40_000], "to the month's peak of 42 kW, in ten steps of 2 kW"
    assert limit_at(state, T0 + HOUR + 600) == math.inf
    state = msgspec.structs.replace(state, usual_w=15_000.0)
    assert limit_at(state, T0 + HOUR) == 20_000, "never lower than the target"


def test_a_drop_is_below_what_was_imported_before_the_notice() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(None, drop_w=12_000.0, notice_s=600.0), "otto", T0)
    assert run(book, at(0)).limit_w is None
    assert run(book, at(3000, without_battery_w=None)).limit_w is None
    assert limits_now(book.standing, T0 + HOUR) == (), "no target is made up"
    state = run(book, at(3010, without_battery_w=31_000.0), at(3020, without_battery_w=50_000.0))
    assert (state.limit_w, state.baseline_w) == (19_000, 31_000)


def test_a_drop_whose_target_is_not_known_before_its_end_limits_nothing_after_it() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(None, drop_w=12_000.0, start_s=None, end_s=HOUR), "otto", T0)
    run(book, at(0, without_battery_w=None), at(HOUR - 1, without_battery_w=None))
    state = run(book, at(HOUR, without_battery_w=31_000.0))
    assert (state.phase, state.limit_w) == (Phase.ENDING, None)
    assert limits_now(book.standing, T0 + HOUR) == limits_ahead(book.standing) == ()
    book = EventBook(LIMITS)
    book.start(a_wish(None, drop_w=90_000.0), "otto", T0)
    assert run(book, at(0)).limit_w == 0, "never an export"


def test_figures_are_of_the_time_held() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(start_s=100.0, end_s=110.0, ramp_s=60.0), "otto", T0)
    capped = {"capped": ("gpu-01",), "shed_w": 3_600.0}
    run(book, at(0, month_peak_w=30_000.0), at(50, 90_000.0))
    run(book, at(100, 20_000.0, soc_pct=80.0, month_peak_w=31_000.0), at(101, 27_200.0, **capped), at(102, None))
    state = run(book, at(110, 99_000.0, soc_pct=40.0, month_peak_w=31_500.0, **capped), at(170, month_peak_w=32_000.0))
    figures = state.figures
    assert (figures.held_s, figures.known_s, figures.over_s) == (3, 2, 1)
    assert (figures.import_wh, figures.over_wh) == pytest.approx((47_200 / 3600, 2))
    assert figures.worst_w == 27_200
    assert (figures.soc_at_notice_pct, figures.soc_at_start_pct, figures.soc_at_end_pct) == (60, 80, 40)
    peaks = (figures.month_peak_at_notice_w, figures.month_peak_at_start_w, figures.month_peak_at_end_w)
    assert (*peaks, figures.month_peak_after_w) == (30_000, 31_000, 31_500, 32_000)
    assert figures.capped_s == {"gpu-01": 2}
    assert figures.shed_wh == pytest.approx(2)


def test_an_abort_before_the_start_is_at_once_and_later_in_steps() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(), "otto", T0)
    book.abort("e1", "otto", "not needed", T0 + 10)
    assert run(book, at(10)).phase is Phase.ABORTED
    book = EventBook(LIMITS)
    book.start(a_wish(), "otto", T0)
    run(book, at(4000))
    book.abort("e1", "otto", "enough", T0 + 4000)
    state = run(book, at(4001))
    assert (state.phase, state.abort_reason) == (Phase.ENDING, "enough")
    assert 20_000 < limit_at(state, T0 + 4001) < 80_000
    book.abort("e1", "otto", "at once", T0 + 4100)
    state = run(book, at(4100))
    assert (state.phase, limit_at(state, T0 + 4100)) == (Phase.ABORTED, math.inf)
    with pytest.raises(LookupError, match="no grid event 'e1' stands: there is none"):
        book.abort("e1", "otto", "", T0 + 4200)


def test_the_lowest_of_several_counts_and_one_that_is_covered_is_replaced() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(20_000.0, end_s=3 * HOUR), "otto", T0)
    assert book.start(a_wish(15_000.0, start_s=2 * HOUR, end_s=4 * HOUR), "otto", T0).replaces == ()
    book.advance(at(0))
    limits = [tightest(limits_now(book.standing, T0 + h * HOUR)).import_w for h in (1, 2, 3)]
    assert limits == [20_000, 15_000, 15_000]
    replaced = book.start(a_wish(40_000.0, start_s=HOUR, end_s=3.5 * HOUR), "olga", T0).replaces
    assert [state.event.id for state in replaced] == ["e1"]
    book.advance(at(1))
    assert [state.event.id for state in book.standing] == ["e3", "e2"]
    assert book.ended[0].abort_reason == "replaced by e3"


def a_signal(sort: Sort = Sort.MARKET, end_s: float = 2 * HOUR, **more: Any) -> Signal:
    return Signal("s1", sort, "acme", Quantity.IMPORT, 18_000.0, T0 + HOUR, T0 + end_s, T0 + 60, **more)


def test_market_targets_and_obligations_of_import_are_events_and_end_with_their_signal() -> None:
    book = EventBook(LIMITS)
    others = (
        a_signal(Sort.FLEET),
        a_signal(failsafe=True),
        Signal("s2", Sort.OBLIGATION, "dso", Quantity.EXPORT, 0.0, T0, T0 + 60, T0),
    )
    book.follow(others, T0 + 60)
    assert book.standing == ()
    book.follow([a_signal()], T0 + 60)
    book.follow([a_signal(end_s=3 * HOUR)], T0 + 70)
    (state,) = book.standing
    assert (state.event.source, state.event.signal, state.event.end_utc_s) == ("market", "s1", T0 + 3 * HOUR)
    book.advance(at(HOUR))
    assert limits_now(book.standing, T0 + HOUR) == (), "the signal itself limits"
    assert [s.start_utc_s for s in limits_ahead(book.standing)] == [T0 + 3 * HOUR], "only what comes after it"
    book.follow([], T0 + HOUR + 10)
    state = run(book, at(HOUR + 10))
    assert (state.phase, state.abort_reason) == (Phase.ENDING, "signal s1 was ended")
    assert limits_now(book.standing, T0 + HOUR + 10)[0].limit_w > 18_000


def test_the_plan_is_told_the_window_and_the_ramp_by_quarter_hours_and_nothing_before_the_notice() -> None:
    book = EventBook(LIMITS)
    book.start(a_wish(notice_s=600.0, ramp_s=1800.0), "otto", T0)
    book.advance(at(0))
    assert limits_ahead(book.standing) == ()
    book.advance(at(3000))
    told = [(s.start_utc_s - T0, s.end_utc_s - T0, s.limit_w) for s in limits_ahead(book.standing)]
    assert told == [(3600, 7200, 20_000), (7200, 8100, 35_000), (8100, 9000, 65_000)]
    before = limits_ahead(book.standing)
    book.advance(at(3001, month_peak_w=25_000.0))
    assert limits_ahead(book.standing) == before, "no new plan for every tick"


def test_recent_import_is_the_mean_of_five_minutes_without_the_battery() -> None:
    recent = RecentImport()
    for k in range(59):
        recent.add(k, 10_000.0, 5_000.0)
    recent.add(60.0, None, 5_000.0)
    recent.add(61.0, 10_000.0, None)
    assert recent.mean_w is None
    recent.add(62.2, 12_000.0, 9_000.0)
    recent.add(62.9, 99_000.0, 0.0)
    assert recent.mean_w == pytest.approx((59 * 15_000 + 21_000) / 60)
    for k in range(63, 364):
        recent.add(k, 8_000.0, -3_000.0)
    assert recent.mean_w == 5_000


class Lives(RuleBasedStateMachine):
    """Events are ordered, overlap and are aborted, a signal comes and goes, time passes, the gateway restarts."""

    @initialize()
    def begin(self) -> None:
        self.book, self.t_s, self.signals = EventBook(LIMITS), 0.0, tuple[Signal, ...]()
        self.phases = dict[str, Phase]()

    @rule(
        limit_w=st.sampled_from([None, 0.0, 20_000.0, 200_000.0]),
        drop_w=st.sampled_from([None, 10_000.0]),
        begins_s=st.sampled_from([-100.0, 0.0, 900.0]),
        lasts_s=st.sampled_from([-1.0, 300.0, 7200.0, 1e6]),
        ramp_s=st.sampled_from([0.0, 30.0, 900.0]),
        notice_s=st.sampled_from([None, 300.0]),
    )
    def order(
        self,
        limit_w: float | None,
        drop_w: float | None,
        begins_s: float,
        lasts_s: float,
        ramp_s: float,
        notice_s: float | None,
    ) -> None:
        start_s, before = self.t_s + begins_s, self.book.keep()
        wanted = a_wish(limit_w, start_s, start_s + lasts_s, drop_w=drop_w, ramp_s=ramp_s, notice_s=notice_s)
        try:
            self.book.start(wanted, "otto", T0 + self.t_s)
        except OrderRefused:
            assert self.book.keep() == before

    @rule(there=st.booleans())
    def signal(self, there: bool) -> None:
        utc_s = T0 + self.t_s
        signal = Signal("s1", Sort.MARKET, "acme", Quantity.IMPORT, 5_000.0, utc_s + 60, utc_s + 1200, utc_s)
        self.signals = (signal,) if there and not self.signals else self.signals if there else ()

    @rule(n=st.integers(0, 3))
    def abort(self, n: int) -> None:
        if n < len(self.book.standing):
            self.book.abort(self.book.standing[n].event.id, "otto", "", T0 + self.t_s)

    @rule(s=st.sampled_from([1.0, 60.0, 600.0, 4000.0]), known=st.booleans())
    def wait(self, s: float, known: bool) -> None:
        self.t_s += s
        self.signals = tuple(s for s in self.signals if s.end_utc_s > T0 + self.t_s)

    @rule()
    def restart(self) -> None:
        kept = msgspec.convert(msgspec.to_builtins(self.book.keep()), KeptEvents)
        self.book = EventBook(LIMITS)
        self.book.adopt(kept)
        assert self.book.keep() == kept

    @invariant()
    def holds(self) -> None:
        utc_s = T0 + self.t_s
        self.book.follow(self.signals, utc_s)
        self.book.advance(at(self.t_s))
        order = list(Phase)
        for state in (*self.book.standing, *self.book.ended):
            before = self.phases.get(state.event.id, Phase.ANNOUNCED)
            assert order.index(state.phase) >= order.index(before), "no phase comes back"
            self.phases[state.event.id] = state.phase
        for state in self.book.standing:
            assert state.phase is phase_at(state, utc_s)
            assert utc_s < state.lifted_utc_s <= state.event.end_utc_s + state.event.ramp_s
            limit_w = limit_at(state, utc_s)
            assert limit_w >= (state.limit_w or 0.0) >= 0
            assert (limit_w < math.inf) == (state.phase in (Phase.HELD, Phase.ENDING))
        for state in self.book.ended:
            assert state.phase in (Phase.OVER, Phase.ABORTED)
            assert limits_now([state], utc_s) == () == limits_ahead([state])
        told = limits_ahead(self.book.standing)
        now_w = tightest(limits_now(self.book.standing, utc_s)).import_w
        planned_w = min((s.limit_w for s in told if s.in_force(utc_s)), default=math.inf)
        assert (now_w < math.inf) <= (planned_w < math.inf), "the plan knows what limits now"
        assert all(s.start_utc_s < s.end_utc_s for s in told)


Lives.TestCase.settings = settings(max_examples=examples(15), stateful_step_count=12, deadline=None)
TestLives = pytest.mark.soak(Lives.TestCase)
