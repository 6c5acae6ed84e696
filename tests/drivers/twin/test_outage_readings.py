"""Readings that lie while the demo site is islanded, in lock-step: what is believed, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from demo_day import DemoDay

from dispatch.model.decision import Decision
from dispatch.model.readings import Reading, reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault

replace = msgspec.structs.replace
Wrong = Callable[[Snapshot], Snapshot]


def lying(day: DemoDay, seconds: float, wrong: Wrong) -> tuple[list[Decision], list[str]]:
    """Let time pass with wrong readings; the decisions and what was logged."""
    true, decisions, said = day.lockstep.snapshot, [], []
    day.lockstep.snapshot = lambda seq: wrong(true(seq))  # type: ignore[method-assign]
    for _ in range(round(seconds / day.step_s)):
        decisions.append(day.step())
        said += [e.text for e in day.events]
    day.lockstep.snapshot = true  # type: ignore[method-assign]
    return decisions, said


def running(seconds: float, outage: bool) -> DemoDay:
    day = DemoDay()
    day.run_until(day.clock.utc_s() + 40)
    if outage:
        day.twin.faults.put(Fault("outage"))
    day.run_until(day.clock.utc_s() + seconds)
    return day


def load_reads(w: float | None, also: float | None = None) -> Wrong:
    """w: of the load meter; also: its amperes as a share of the true ones."""

    def wrong(s: Snapshot) -> Snapshot:
        assert s.load is not None
        a = s.load.a if also is None else tuple(reading(also * (r.value or 0.0)) for r in s.load.a)
        return replace(s, load=replace(s.load, w=Reading(w, 0.0, s.load.w.quality), a=a))

    return wrong


@pytest.mark.parametrize(
    "wrong", [load_reads(0.0), load_reads(0.0, also=0.0), load_reads(9_000.0), load_reads(90_000.0)]
)
def test_a_load_that_the_forming_pcs_contradicts_is_not_believed(wrong: Wrong) -> None:
    day = running(30, outage=True)
    _, said = lying(day, 30, wrong)
    (told,) = [t for t in said if "reading not believed" in t]
    assert "grid, PCS, PV and load meter are" in told or "more than volts times amperes" in told
    assert [t for t in said if "gpu" in t] == [], "nothing is said of the nodes"
    _, after = lying(day, 10, lambda s: s)
    assert not any("not believed" in t for t in after)


def test_a_load_step_in_an_outage_is_followed_at_once() -> None:
    day = running(30, outage=True)
    true_w = day.twin.load_w
    while abs(day.twin.load_w - true_w) < 3_000 and day.clock.utc_s() < day.twin.start_utc_s + 1200:
        day.step()
        assert day.snapshot.load is not None
    said = lying(day, 3, lambda s: s)[1]
    assert not any("not believed" in t for t in said)
    checked = day.controller.checked(day.snapshot).load
    assert checked is not None
    assert checked.w.confirmed == pytest.approx(day.twin.load_w, rel=0.05)


def switch_says(**words_of: str) -> Wrong:
    def wrong(s: Snapshot) -> Snapshot:
        return replace(s, switches=tuple(replace(x, **{k: status(v) for k, v in words_of.items()}) for x in s.switches))

    return wrong


def test_a_contact_alone_does_not_end_the_outage_while_0_v_are_measured() -> None:
    day = running(30, outage=True)
    _, said = lying(day, 60, switch_says(grid_voltage="present"))
    assert [t for t in said if "Grid outage" in t or "not believed" in t] == []


def test_a_contact_alone_does_not_make_a_live_site_dark() -> None:
    day = running(30, outage=False)
    decisions, said = lying(day, 30, switch_says(grid_voltage="absent"))
    assert {d.island.value for d in decisions} == {"grid-tied", "unknown"}
    assert [t for t in said if "dark" in t or "blackout" in t] == []
    assert "switch pcc is closed and reports no grid voltage, but pcs1 follows a bus of" in words(decisions[-1].reason)
    assert all(s.w is None for s in decisions[-1].setpoints), "as it may be off the grid"
    decisions, _ = lying(day, 10, lambda s: s)
    assert decisions[-1].island.value == "grid-tied"


def test_a_grid_that_is_back_while_the_site_is_islanded_is_not_normal() -> None:
    day = running(30, outage=True)
    day.twin.faults.clear("")
    said = lying(day, 40, lambda s: s)[1]
    assert [t for t in said if t.startswith("Grid outage")] == [
        "Grid outage: switch pcc reports grid voltage; the site is not on the grid yet: synchronising"
    ]


@pytest.mark.parametrize("factor", [10.0, -1.0])
def test_a_doubted_grid_meter_is_held_once(factor: float) -> None:
    day = running(30, outage=False)

    def wrong(s: Snapshot) -> Snapshot:
        w = 336_000.0 if factor > 0 else -(s.grid.w.value or 0.0) - 200_000.0
        return replace(s, grid=replace(s.grid, w=reading(w)))

    hold_s = day.site.dispatch.rules.meter_lost_hold_s
    decisions, _ = lying(day, hold_s + 20, wrong)
    ramps = [n for n, d in enumerate(decisions) if "safe value" in words(d.reason)]
    assert ramps[0] * day.step_s == pytest.approx(hold_s, abs=0.5)
    first = words(decisions[ramps[0]].reason)
    assert "grid meter grid answers, but its power is not believed, for 5 s: to the safe value" in first, first
