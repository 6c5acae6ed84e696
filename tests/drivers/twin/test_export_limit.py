"""An export limit in lock-step: the battery is charged first, then PV is limited; and the loss of the meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twin_sites import BATTERY, GRID, PV, sections

from dispatch.config.schema import DispatchConfig, RulesConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from drivers.clock import VirtualClock
from drivers.twin.faults import Fault
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite

TICK_S = 0.2
LIMIT_W = 5_000.0
LOAD_W = 3_000.0


class Rig:
    """A site at noon with 30 kW of panels."""

    def __init__(
        self, soc_pct: float, load_w: Callable[[float], float] = lambda _: LOAD_W, *, curtail: bool = True, **grid: Any
    ) -> None:
        parts = sections(soc_pct=soc_pct, meter_delay_s=0.2)
        pv = msgspec.structs.replace(PV, peak_w=30_000.0, curtail=curtail)
        parts |= {"pv": (pv,), "grid": msgspec.structs.replace(GRID, export_limit_w=LIMIT_W, **grid)}
        self.site = TwinSite.from_sections(**parts, load_w=load_w)
        self.lockstep = LockstepSite(self.site, VirtualClock(self.site.start_utc_s), step_s=0.1)
        pcs = self.site.pcs[0].ratings
        config = DispatchConfig(
            grid=parts["grid"], timezone="UTC", batteries=(BATTERY,), pcs=(pcs,), pv=(pv.terms,),
            rules=RulesConfig(rest_soc_pct=0.0),
        )  # fmt: skip
        self.controller = Controller(config)
        self.exports: list[float] = []
        self.decisions: list[Decision] = []

    def run(self, seconds: float) -> Rig:
        for _ in range(round(seconds / TICK_S)):
            self.lockstep.advance(TICK_S)
            self.decisions.append(self.controller.step(self.lockstep.snapshot(len(self.decisions)), None))
            self.lockstep.apply(self.decisions[-1])
            self.exports.append(max(-self.site.grid_w, 0.0))
        return self

    def means(self, seconds: float) -> list[float]:
        """Mean export over every window, from its start at the beginning of the run on."""
        n = round(seconds / TICK_S)
        sums, total = [], 0.0
        for at, w in enumerate(self.exports):
            total += w - (self.exports[at - n] if at >= n else 0.0)
            sums.append(total / min(at + 1, n))
        return sums[n - 1 :]

    @property
    def told(self) -> list[str]:
        return [event.text for decision in self.decisions for event in decision.events if event.subject == "pv1"]


def test_with_a_full_battery_pv_is_limited_to_load_and_export_limit() -> None:
    rig = Rig(soc_pct=95).run(60)
    settled = rig.exports[round(20 / TICK_S) :]
    assert max(settled) <= LIMIT_W + 50
    assert min(settled) > LIMIT_W - 1_500, "and no more than must be is given away"
    assert rig.site.pv[0].sun_w > 15_000
    assert rig.site.pcs[0].w == pytest.approx(0, abs=100)
    assert any("export at most 5.0 kW" in text for text in rig.told)


def test_the_battery_is_charged_before_pv_is_limited() -> None:
    rig = Rig(soc_pct=50).run(40)
    sun = rig.site.pv[0]
    assert sun.w == sun.sun_w > 15_000
    assert rig.site.pcs[0].w == pytest.approx(LOAD_W + LIMIT_W - sun.w, abs=600)
    assert max(rig.exports[round(10 / TICK_S) :]) <= LIMIT_W + 400
    assert rig.told == []


def test_without_permission_no_inverter_is_limited() -> None:
    rig = Rig(soc_pct=95, curtail=False).run(10)
    assert rig.decisions[-1].pv_limits == ()
    assert rig.exports[-1] > 10_000


def test_the_mean_of_a_minute_stays_within_the_limit_whatever_the_load_does() -> None:
    def load_w(t_s: float) -> float:
        return 14_000.0 if 70 < t_s < 110 or t_s % 9 < 4 else 1_000.0

    rig = Rig(95, load_w, export_window_s=60, export_margin_w=500.0).run(150)
    assert max(rig.means(60)[round(20 / TICK_S) :]) <= LIMIT_W - 500 + 300
    assert max(rig.exports[round(100 / TICK_S) :]) > LIMIT_W + 1_000, "what the minute has left may be exported"


def test_without_the_meter_pv_alone_stays_within_the_limit() -> None:
    rig = Rig(soc_pct=95).run(20)
    rig.site.faults.put(Fault("hung", device="grid"))
    rig.run(12)
    assert rig.site.pv[0].w <= LIMIT_W
    assert "what the site takes is not known" in rig.told[-1]
    rig.site.faults.clear()
    rig.run(25)
    assert rig.exports[-1] == pytest.approx(LIMIT_W, abs=1_500)


def test_off_the_grid_there_is_no_limit_of_ours() -> None:
    rig = Rig(soc_pct=95).run(20)
    assert rig.decisions[-1].pv_limits[0].w is not None
    rig.site.faults.put(Fault("outage"))
    rig.run(10)
    assert rig.decisions[-1].island.value != "grid-tied"
    assert rig.decisions[-1].pv_limits[0].w is None
    assert not rig.site.pv[0].limit.enabled
