"""When an inverter counts as one that does not keep to its limit."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from small_site import a_snapshot, site_config

from dispatch.config.schema import PvTerms
from dispatch.control.pv_limit_monitor import FOLLOW_S, PvLimitMonitor
from dispatch.model.decision import PvLimit, PvOver
from dispatch.model.equipment import Pv
from dispatch.model.readings import MISSING, Quality, Reading, reading
from dispatch.model.reasons import plain

CONFIG = msgspec.structs.replace(site_config(), pv=(PvTerms(id="roof", peak_w=20_000, curtail=True),))


def run(steps: Iterable[tuple[Reading, float | None]], monitor: PvLimitMonitor | None = None) -> list[PvOver | None]:
    """What is found at each second: what PV gives, and the limit decided then."""
    monitor = monitor or PvLimitMonitor(CONFIG)
    told = []
    for second, (w, limit_w) in enumerate(steps):
        found = monitor.update(a_snapshot(second, pv=(Pv("roof", w=w),)), (PvLimit("roof", limit_w, plain("test")),))
        told.append(found[0] if found else None)
    return told


def steady(w: float, limit_w: float | None, s: int) -> list[tuple[Reading, float | None]]:
    return [(reading(w), limit_w)] * s


def test_power_that_stays_above_its_limit_is_found_and_ends_by_itself() -> None:
    told = run([*steady(15_000, None, 60), *steady(15_000, 4_000, 90), *steady(4_100, 4_000, 3)])
    assert told[60:92] == [None] * 32, "the limit may be on its way, and be kept by a ramp"
    assert told[149] == PvOver("roof", 15_000, 4_000)
    assert told[-3:] == [None] * 3
    assert run([*steady(15_000, 4_000, 90), *steady(15_000, None, 2)])[-1] is None, "the limit is lifted"


def test_an_inverter_on_its_ramp_follows() -> None:
    ramp = [(reading(20_000 - 66.0 * s), 2_000.0) for s in range(270)]  # 0.33 % a second, VDE-AR-N 4105
    assert set(run(ramp)) == {None}


def test_what_was_found_is_not_ended_by_a_sun_that_sets() -> None:
    dusk = [(reading(15_000 - 20.0 * max(s - 90, 0)), 2_000.0) for s in range(300)]
    told = run(dusk)
    assert told[89] is not None
    assert None not in told[89:]


def test_a_limit_that_sinks_all_the_time_is_compared_with_what_it_was() -> None:
    sinking = [(reading(14_000 - 100.0 * max(s - 10, 0)), 14_000 - 100.0 * s) for s in range(120)]
    assert set(run(sinking)) == {None}


def test_an_inverter_that_is_read_once_a_minute_is_not_judged_by_a_sample_from_before_the_limit() -> None:
    def read(second: int, follows: bool) -> Reading:
        """A sample a minute, which takes 3 s to arrive; the limit is given at second 60 and kept from 64 on."""
        taken = max(0, (second - 3) // 60 * 60)
        return Reading(4_000 if follows and taken > 63 else 15_000, float(second - taken), Quality.GOOD)

    limits = [None if s < 60 else 4_000.0 for s in range(300)]
    assert set(run([(read(s, True), limits[s]) for s in range(300)])) == {None}
    assert run([(read(s, False), limits[s]) for s in range(300)])[-1] is not None


def test_a_doubted_or_missing_reading_says_nothing_and_ends_nothing() -> None:
    doubted = Reading(15_000, 0.1, Quality.SUSPECT)
    assert set(run([(doubted, 4_000.0)] * 200)) == {None}
    monitor = PvLimitMonitor(CONFIG)
    assert run(steady(15_000, 4_000, 90), monitor)[-1] is not None
    assert monitor.update(a_snapshot(91, pv=(Pv("roof", w=MISSING),)), ()) == ()
    assert monitor.update(a_snapshot(92, pv=(Pv("roof", w=reading(15_000)),)), ()) != ()


@given(st.lists(st.tuples(st.floats(0, 20_000), st.none() | st.floats(0, 20_000)), min_size=1, max_size=80))
def test_nothing_is_found_that_was_within_one_of_the_last_limits(steps: list[tuple[float, float | None]]) -> None:
    for second, over in enumerate(run([(reading(w), limit_w) for w, limit_w in steps])):
        if over is not None:
            recent = [limit_w for _, limit_w in steps[max(0, second - int(FOLLOW_S)) : second]]
            assert None not in recent
            assert over.w > max(recent)
