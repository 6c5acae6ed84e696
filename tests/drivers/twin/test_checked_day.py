"""Readings corrupted on their way to the controller, over a day like the demo's in lock-step; and a clean day."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterator

import msgspec
import pytest
from checked_day import TICK_S, Day, pulses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_copies import Copies
from soak_sizes import long_only

from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import SiteBounds

replace = msgspec.structs.replace
FIGURES = (
    ("grid", "w"), ("grid", "hz"), ("grid", "v"), ("grid", "a"),
    ("load", "w"), ("load", "hz"), ("load", "v"), ("load", "a"),
    ("pcs", "w"), ("pcs", "charge_limit_w"), ("pcs", "discharge_limit_w"), ("pv", "w"),
    ("batteries", "charge_limit_w"), ("batteries", "discharge_limit_w"), ("batteries", "temp_c"),
)  # fmt: skip
NOISE_S = float(os.environ.get("SKERRY_SOAK_NOISE_S", "250"))
EXAMPLES = int(os.environ.get("SKERRY_SOAK_READINGS", "8"))
PROTECTIVE = ("charge_limit_w", "discharge_limit_w", "temp_c")
WORDS = (
    ("switches", "position", "open"), ("switches", "position", "moving"), ("switches", "grid_voltage", "absent"),
    ("pcs", "mode", "grid_forming"),
)  # fmt: skip
VALUE_FAULTS: dict[str, Callable[[float], float]] = {
    "scale factor off by one": lambda w: 10 * w,
    "sign": lambda w: -w,
    "+30 kW": lambda w: w + 30_000,
    "int16 maximum": lambda w: 32_767.0,
    "all ones": lambda w: -0.1,
    "zero": lambda w: 0.0,
    "uint32 maximum": lambda w: 4_294_967_295.0,
    "not a number": lambda w: float("nan"),
    "int16 minimum": lambda w: -32_768.0,
}


def corrupted(
    now: Snapshot, part: str, figure: str, wrong: Callable[[float], float], phase: int | None = None
) -> Snapshot:
    """The snapshot with one figure of one device as a fault shows it: of one phase only, or of all."""

    def reading_of(raw: Reading) -> Reading:
        return raw if raw.value is None else replace(raw, value=wrong(raw.value))

    def device(item: object) -> object:
        raw = getattr(item, figure)
        value: object = raw
        if isinstance(raw, tuple):
            value = tuple(reading_of(r) if phase in (None, n) else r for n, r in enumerate(raw))
        else:
            value = reading_of(raw)
        return replace(item, **{figure: value})  # type: ignore[type-var]

    found = getattr(now, part)
    return replace(now, **{part: tuple(device(i) for i in found) if isinstance(found, tuple) else device(found)})


def said(now: Snapshot, part: str, figure: str, word: str) -> Snapshot:
    """The snapshot with one word of one device replaced."""
    found = tuple(replace(i, **{figure: replace(getattr(i, figure), value=word)}) for i in getattr(now, part))
    return replace(now, **{part: found})


@functools.cache
def warmed(load_w: Callable[[float], float], meter_delay_s: float | None, seconds: float) -> Copies[Day]:
    """A day that has run for so long."""
    return Copies(Day(load_w, meter_delay_s).run(seconds))


def day_of(load_w: Callable[[float], float], meter_delay_s: float | None = None, seconds: float = 20) -> Day:
    return warmed(load_w, meter_delay_s, seconds).copy()


def steady(_: float) -> float:
    return 34_000.0


def asked_w(decision: Decision) -> float | None:
    return decision.setpoints[0].w


# ── clean data ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("meter_delay_s", [long_only(None), 0.8])
def test_on_clean_data_nothing_is_rejected(meter_delay_s: float | None) -> None:
    """Pulses, an outage, a drill, a collapse with black start."""
    day = Day(pulses, meter_delay_s).run(240)
    day.outage(20)
    day.run(10)
    assert day.decisions[-1].island is IslandState.ISLANDED
    day.until(IslandState.GRID_TIED, 300)
    day.run(60)
    day.ask("drill", minutes=0.5, reason="test of the day")
    day.run(1)
    day.until(IslandState.ISLANDED, 120)
    day.until(IslandState.GRID_TIED, 400)
    day.run(30)
    day.outage(40)
    day.run(3)
    day.twin.pcs[0].trip()
    day.until(IslandState.BLACKOUT, 30)
    day.run(45)
    day.ask("black-start", confirmed=True)
    day.until(IslandState.GRID_TIED, 400)
    assert day.events == []


def test_every_real_pulse_is_followed_within_two_samples() -> None:
    """The setpoint has answered a step of 25 kW two ticks after the meter shows it, at the latest."""
    day = Day(lambda t_s: 39_000.0 if t_s >= 20 else 14_000.0, 0.0).run(20)
    before_w = asked_w(day.decisions[-1])
    day.run(2 * TICK_S)
    after_w = asked_w(day.decisions[-1])
    assert before_w is not None
    assert after_w is not None
    assert after_w > before_w + 5_000


# ── one sample, one reading ─────────────────────────────────────────────────────────────────────────────────────────


class Twins:
    """Two days that are alike after so many seconds, but for what is corrupted in the second from then on."""

    def __init__(self, after_s: float = 0.0) -> None:
        self.clean = day_of(pulses, None, 45).run(after_s)
        self.other = Copies(self.clean).copy()

    def run(self, seconds: float) -> None:
        self.clean.run(seconds)
        self.other.run(seconds)

    def asked(self, ticks: int) -> Iterator[tuple[float, float]]:
        """Clean and other setpoint of the last ticks; a tick in which nothing is written counts as kept."""
        last_w = asked_w(self.clean.decisions[-ticks - 1])
        for clean, other in zip(self.clean.decisions[-ticks:], self.other.decisions[-ticks:], strict=True):
            w, other_w = asked_w(clean), asked_w(other)
            last_w = other_w if other_w is not None else last_w
            if w is not None and last_w is not None:
                yield w, last_w

    def apart_w(self, ticks: int) -> float:
        """The largest difference of setpoints in the last ticks."""
        return max((abs(w - other_w) for w, other_w in self.asked(ticks)), default=0.0)

    def beyond_w(self, ticks: int) -> float:
        """How far the other setpoint went past the clean one, away from 0: a limit may only bring it nearer to 0."""
        return max((max(min(w, 0.0) - o, o - max(w, 0.0), 0.0) for w, o in self.asked(ticks)), default=0.0)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    figure=st.sampled_from(FIGURES),
    fault=st.sampled_from(sorted(VALUE_FAULTS)) | st.floats(-400_000, 400_000) | st.floats(0, 900),
    phase=st.sampled_from((None, 0, 2)),
    after_s=st.floats(0, 25),
)
def test_one_corrupted_sample_moves_no_setpoint_and_loosens_no_limit(
    figure: tuple[str, str], fault: str | float, phase: int | None, after_s: float
) -> None:
    """A power that is within what the site may do from one sample to the next moves it by as much. A protective reading
    acts at once, but only towards 0."""
    twins = Twins(after_s)
    part, name = figure
    wrong = VALUE_FAULTS[fault] if isinstance(fault, str) else lambda _: fault
    twins.clean.tick()
    twins.other.tick(lambda now: corrupted(now, part, name, wrong, phase))
    seen, truth = twins.other.shown[-1], twins.clean.shown[-1]
    for limit in ("charge_limit_w", "discharge_limit_w"):
        for group in ("pcs", "batteries"):
            now_w, true_w = getattr(getattr(seen, group)[0], limit).good, getattr(getattr(truth, group)[0], limit).good
            assert now_w is not None, f"{group} {limit} has gone"
            assert now_w <= true_w + 1e-6, f"{group} {limit} was loosened"
    deadband_w = twins.clean.config.rules.deadband_w
    if name in PROTECTIVE:
        assert twins.beyond_w(1) <= deadband_w + 500
        twins.run(2)
        assert twins.beyond_w(11) <= SiteBounds(twins.clean.config).step_w + 500
        assert twins.apart_w(2) <= SiteBounds(twins.clean.config).step_w + 500, "the setpoint is back"
        for group in ("pcs", "batteries"):
            now, true = (getattr(t.shown[-1], group)[0] for t in (twins.other, twins.clean))
            for reading_of in PROTECTIVE:
                after, rightly = getattr(now, reading_of).good, getattr(true, reading_of).good
                assert after == (rightly if rightly is None else pytest.approx(rightly, rel=0.02)), reading_of
    else:
        twins.run(2)
        near = name == "w" and isinstance(fault, float)
        allowed_w = SiteBounds(twins.clean.config).step_w if near else deadband_w
        assert twins.apart_w(11) <= allowed_w + 500
    assert twins.other.decisions[-1].nodes == twins.clean.decisions[-1].nodes, "no node is switched off"
    assert twins.other.controller.island.state is twins.clean.controller.island.state


@pytest.mark.parametrize(("part", "name", "word"), WORDS)
def test_one_word_that_other_devices_contradict_writes_nothing_and_changes_no_state(
    part: str, name: str, word: str
) -> None:
    twins = Twins()
    twins.clean.tick()
    decision = twins.other.tick(lambda now: said(now, part, name, word))
    assert asked_w(decision) is None, "a PCS that may be forming is left alone"
    twins.run(5)
    assert {d.island for d in twins.other.decisions[-26:]} == {IslandState.GRID_TIED}
    assert twins.apart_w(24) <= twins.clean.config.rules.deadband_w
    assert len(twins.other.events) == 1


def test_a_switch_that_opens_is_believed_at_once_where_the_pcs_forms() -> None:
    day = Day(pulses, 0.0).run(20)
    day.outage(30)
    for _ in range(50):
        decision = day.tick()
        if day.twin.switches[0].position.name != "CLOSED":
            break
    assert all(s.w is None for s in decision.setpoints)


# ── faults that stay: the matrix of value faults by role ────────────────────────────────────────────────────────────

ROLES = ("grid", "load", "pcs", "pv")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", sorted(VALUE_FAULTS))
def test_a_value_fault_of_three_seconds_gives_no_wrong_good_value(role: str, fault: str) -> None:
    day = day_of(steady, 0.2, 25)
    before_w = asked_w(day.decisions[-1])
    truth = {"grid": day.twin.grid_w, "load": 34_000.0, "pcs": day.twin.pcs[0].w, "pv": day.twin.pv[0].w}[role]
    wrong = []
    for _ in range(15):
        day.tick(lambda now: corrupted(now, role, "w", VALUE_FAULTS[fault]))
        found = getattr(day.shown[-1], role)
        seen = found[0].w if isinstance(found, tuple) else found.w
        if seen.quality is Quality.GOOD and abs(seen.value - truth) > 1_500:
            wrong.append(seen.value)
    assert wrong == []
    asked = [w for d in day.decisions[-15:] if (w := asked_w(d)) is not None]
    assert before_w is not None
    assert max(abs(w - before_w) for w in asked) <= 1_500
    day.run(2)
    assert day.decisions[-1].mode.value not in ("safe", "observe"), "it recovers"


# ── a day with one reading in a hundred corrupted ───────────────────────────────────────────────────────────────────


class Noise:
    """Corrupts one reading in a hundred; `burst_s`: the whole answer stands still for so long, with the fault in it."""

    def __init__(self, seed: int, burst_s: float) -> None:
        self._chance, self._burst_s = random.Random(seed), burst_s
        self._held: dict[str, tuple[float, object]] = {}
        self.count = 0

    def __call__(self, now: Snapshot) -> Snapshot:
        for part in ("grid", "load", "pcs", "pv", "batteries"):
            if part in self._held:
                until_s, device = self._held[part]
                if now.mono_s < until_s:
                    now = replace(now, **{part: device})
                    continue
                del self._held[part]
            names = [name for group, name in FIGURES if group == part]
            for name in names:
                if self._chance.random() < 0.01:
                    fault = VALUE_FAULTS[self._chance.choice(sorted(VALUE_FAULTS))]
                    now = corrupted(now, part, name, fault)
                    self.count += 1
                    if self._burst_s:
                        self._held[part] = (now.mono_s + self._burst_s, getattr(now, part))
        return now


@functools.cache
def undisturbed() -> Day:
    return Day(pulses).run(10 + NOISE_S)


@pytest.mark.parametrize("burst_s", [0.0, 1.0])
def test_with_one_reading_in_a_hundred_corrupted_the_bill_is_the_same(burst_s: float) -> None:
    """Imported energy within 1 %, no shutdown, no state left."""
    clean, noisy = undisturbed(), Day(pulses).run(10)
    noise = Noise(7, burst_s)
    noisy.run(NOISE_S, noise)
    assert noise.count > 30
    stored_wh = noisy.twin.pcs[0].battery.energy_wh - clean.twin.pcs[0].battery.energy_wh
    assert noisy.import_wh - stored_wh == pytest.approx(clean.import_wh, rel=0.01)
    assert {d.island for d in noisy.decisions[5:]} == {IslandState.GRID_TIED}
    assert not any(node.off for d in noisy.decisions for node in d.nodes)
    limit_w = clean.config.grid.contracted_peak_w
    assert noisy.controller.month_peak_w <= max(clean.controller.month_peak_w * 1.01, limit_w)


def test_a_corrupted_reading_is_named_with_figure_and_bound() -> None:
    day = Day(pulses).run(20)
    day.tick(lambda now: replace(now, grid=replace(now.grid, w=reading(-170_000.0))))
    day.run(1)
    assert len(day.events) == 1
    assert "-170.0 kW is outside" in day.events[0]
    assert "[grid] fuse_a" in day.events[0]
