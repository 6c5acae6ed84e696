"""A grid meter that tells its power once a second, as one on P1 does, in lock-step; and why one of 10 s is refused."""

from __future__ import annotations

import msgspec
from twin_sites import BATTERY, PCS, site_of

from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.control.controller import Controller
from dispatch.model.equipment import Meter, aged
from dispatch.model.readings import Quality
from drivers.clock import VirtualClock
from drivers.twin.lockstep import LockstepSite

TICK_S = 0.25
LOAD_W, PULSE_W, PERIOD_S, PULSE_S = 20_000.0, 60_000.0, 30.7, 15.0  # against the telegrams it drifts
PEAK_W, FUSE_A = 36_000.0, 80.0  # 55 kW


class Run:
    """Load pulses of 40 kW, with telegrams `every_s`; the reading grows older between two of them."""

    def __init__(self, every_s: float) -> None:
        site = site_of(self._load, without=("pv",), pcs_lag_s=0.3, meter_delay_s=0.2, soc_pct=60.0)
        lockstep = LockstepSite(site, VirtualClock(site.start_utc_s), step_s=0.125)
        grid = GridConfig(fuse_a=FUSE_A, contracted_peak_w=PEAK_W)
        config = DispatchConfig(grid=grid, timezone="UTC", batteries=(BATTERY,), pcs=(PCS,))
        controller, sent = Controller(config), (-every_s, Meter("grid"))
        self.import_w: list[float] = []
        self.pcs_w: list[float] = []
        for n in range(round(2.5 * PERIOD_S / TICK_S)):
            lockstep.advance(TICK_S)
            snapshot = lockstep.snapshot(n)
            if snapshot.mono_s - sent[0] >= every_s - 1e-9:
                sent = snapshot.mono_s, snapshot.grid
            grid_now = aged(sent[1], snapshot.mono_s - sent[0], Quality.GOOD)
            decision = controller.step(msgspec.structs.replace(snapshot, grid=grid_now, load=None), None)
            lockstep.apply(decision)
            self.import_w.append(site.grid_w)
            self.pcs_w.append(site.pcs[0].w)

    @staticmethod
    def _load(t_s: float) -> float:
        return PULSE_W if t_s % PERIOD_S > PERIOD_S - PULSE_S else LOAD_W

    @property
    def longest_overload_s(self) -> float:
        longest = n = 0
        for w in self.import_w:
            n = n + 1 if w > FUSE_A * 230 * 3 else 0
            longest = max(longest, n)
        return longest * TICK_S

    @property
    def reversals(self) -> int:
        """How often the battery turns back by more than 5 kW: twice a pulse by the load alone."""
        count, extreme, rising = 0, self.pcs_w[0], True
        for w in self.pcs_w:
            if (w > extreme) == rising:
                extreme = w
            elif abs(w - extreme) > 5_000:
                count, extreme, rising = count + 1, w, not rising
        return count


def test_with_a_telegram_a_second_the_law_holds_and_meets_a_pulse_within_two_seconds() -> None:
    fast, slow = Run(TICK_S), Run(1.0)
    assert slow.longest_overload_s <= 2.0
    assert slow.longest_overload_s - fast.longest_overload_s <= 1.0
    assert slow.reversals == fast.reversals, "no swing that the load does not make"
    assert min(slow.import_w) >= -5_000


def test_with_a_telegram_in_ten_seconds_it_does_not() -> None:
    """So such a meter is refused: the fuse carries too much for seconds, and the battery discharges into the grid."""
    late = Run(10.0)
    assert late.longest_overload_s > 4.0
    assert min(late.import_w) < -8_000
