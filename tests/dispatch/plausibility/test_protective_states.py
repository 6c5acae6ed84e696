"""A trip or a limit that a single sample tells: it acts at once, and nothing that cannot be undone rests on it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.islanding.load_shedding import LoadShedding
from dispatch.islanding.shedding_steps import CAP_CRITICAL
from dispatch.model.equipment import Battery, Pcs
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Quality, Reading, Status, reading
from dispatch.plausibility.checker import PlausibilityCheck

TICK_S = 0.2
USUAL_W = 60_000.0
NODES = (NodeTerms(id="batch", cap_w=500), NodeTerms(id="crit", critical=True, cap_w=800))
Told = tuple[Battery, Pcs]


def config() -> DispatchConfig:
    site = site_config()
    (battery,), (pcs,) = site.batteries, site.pcs
    batteries = (battery, msgspec.structs.replace(battery, id="bat2"))
    pcs2 = msgspec.structs.replace(pcs, id="pcs2", battery="bat2")
    return msgspec.structs.replace(site, batteries=batteries, pcs=(pcs, pcs2), nodes=NODES)


class Island:
    """Two PCS that carry a site; slow values of the second one are read every `slow_s`, its power at each tick."""

    def __init__(self, slow_s: float) -> None:
        self.config, self.slow_s, self.t_s = config(), slow_s, 0.0
        self.check, self.ladder = PlausibilityCheck(self.config), LoadShedding(self.config)
        self.seen: list[Told] = []

    def run(self, slow_samples: int, tell: Callable[[float], Told] | None = None) -> int:
        """So many readings of the slow values, each of them held until the next; the step of load shedding."""
        for n in range(round(slow_samples * self.slow_s / TICK_S)):
            age_s = n * TICK_S % self.slow_s
            battery, pcs = (tell or usual)(age_s)
            w = 36_000.0 + 10.0 * (n % 3)
            site = a_snapshot(
                self.t_s, 0.0, a_pcs(w), a_battery(80.0, discharge_limit_w=reading(USUAL_W)), switch="open"
            )
            pcs = msgspec.structs.replace(pcs, w=reading(w))
            raw = msgspec.structs.replace(site, pcs=(*site.pcs, pcs), batteries=(*site.batteries, battery))
            now = self.check.check(raw, {})
            self.seen.append((now.batteries[1], now.pcs[1]))
            self.ladder.step(now, True, IslandState.ISLANDED)
            self.t_s += TICK_S
        return self.ladder.stage


def usual(age_s: float) -> Told:
    limit = Reading(USUAL_W, age_s, Quality.GOOD)
    state, closed = Status("discharging", age_s, Quality.GOOD), Status("closed", age_s, Quality.GOOD)
    battery = Battery("bat2", soc_pct=reading(80.0), discharge_limit_w=limit, state=state, contactor=closed)
    running = Status("running", age_s, Quality.GOOD)
    return battery, msgspec.structs.replace(a_pcs(0.0), id="pcs2", state=running, discharge_limit_w=limit)


def read(value: float | str, age_s: float) -> Reading | Status:
    return Status(value, age_s, Quality.GOOD) if isinstance(value, str) else Reading(value, age_s, Quality.GOOD)


def of_battery(name: str, value: float | str) -> Callable[[float], Told]:
    def told(age_s: float) -> Told:
        battery, pcs = usual(age_s)
        return msgspec.structs.replace(battery, **{name: read(value, age_s)}), pcs

    return told


def of_pcs(name: str, value: float | str) -> Callable[[float], Told]:
    def told(age_s: float) -> Told:
        battery, pcs = usual(age_s)
        return battery, msgspec.structs.replace(pcs, **{name: read(value, age_s)})

    return told


LIES = [
    of_battery("discharge_limit_w", 0.0),
    of_battery("contactor", "open"),
    of_battery("state", "fault"),
    of_pcs("state", "fault"),
    of_pcs("discharge_limit_w", 0.0),
]


@pytest.mark.parametrize("slow_s", [1.0, 5.0])
@pytest.mark.parametrize("lie", LIES)
def test_one_sample_sheds_no_load_however_long_it_stands_and_two_do(
    lie: Callable[[float], Told], slow_s: float
) -> None:
    island = Island(slow_s)
    assert island.run(8) == 0
    assert island.run(1, lie) == 0
    assert island.run(3) == 0
    assert island.run(4, lie) >= 1


def test_a_limit_is_in_force_at_once_and_doubted_until_a_second_sample() -> None:
    island = Island(1.0)
    island.run(3)
    island.run(1, LIES[0])
    assert {(b.discharge_limit_w.value, b.discharge_limit_w.quality) for b, _ in island.seen[-5:]} == {
        (0.0, Quality.SUSPECT)
    }
    island.run(1, LIES[0])
    assert island.seen[-1][0].discharge_limit_w.confirmed == 0.0
    island.run(1)
    assert island.seen[-1][0].discharge_limit_w.value == 0.0, "it rises at the second sample, not at the second tick"
    island.run(1)
    assert island.seen[-1][0].discharge_limit_w.confirmed == USUAL_W


def test_a_limit_that_is_doubted_for_good_keeps_no_step_from_being_taken() -> None:
    """It is out of bounds: the last one stays in force, and doubted."""
    island = Island(1.0)
    island.run(4)
    absurd = of_battery("discharge_limit_w", -1.0)
    assert island.run(4, absurd) == 0
    assert island.seen[-1][0].discharge_limit_w.doubted

    def absurd_and_off(age_s: float) -> Told:
        return absurd(age_s)[0], of_pcs("state", "off")(age_s)[1]

    assert island.run(30, absurd_and_off) == CAP_CRITICAL


def test_a_limit_that_is_tapered_is_not_doubted() -> None:
    island = Island(1.0)
    for n in range(8):
        island.run(1, of_battery("discharge_limit_w", USUAL_W - 5_000.0 * n))
        assert island.seen[-1][0].discharge_limit_w.confirmed == USUAL_W - 5_000.0 * n


def test_a_slow_word_that_allows_more_waits_until_it_is_read_anew() -> None:
    island = Island(1.0)
    island.run(2)
    island.run(2, of_pcs("state", "fault"))
    assert island.seen[-1][1].state.confirmed == "fault"
    island.run(1)
    assert island.seen[-1][1].state.good == "fault", "the power of the PCS is new at each tick, its word is not"
    island.run(1)
    assert island.seen[-1][1].state.confirmed == "running"
