"""Stability of the import control: a 60 kW step over meter delay x PCS lag, in lock-step with the twin.

    python benchmarks/stability.py [--rate 5]

A load step of +60 kW meets a site whose import may not rise, so the battery has to take all of it; then the load falls
back. The controller knows only that the meter's delay lies between 0 and 2 s. Printed per cell, the worse of both
steps: overshoot of the PCS beyond the power it has to reach (% of the step), settling (s from the step in the load
until import stays within 2 % of the step), and ripple of import, peak to peak, over the last 60 s (W).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings, RulesConfig
from dispatch.control.controller import Controller
from drivers.clock import VirtualClock
from drivers.config import MeterDevice
from drivers.twin.config import TwinConfig
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite

DELAYS_S = (0.1, 0.5, 1.0, 1.5, 2.0)
LAGS_S = (0.1, 0.3, 1.0, 2.0, 3.0)
STEP_W = 60_000.0
BASE_W = 19_700.0
SETTLED = 0.02


@dataclass(frozen=True)
class Times:
    """When the load steps up and down and the run ends, site seconds; `quiet_s` at the end of each must be settled."""

    up_s: float = 30.0
    down_s: float = 150.0
    end_s: float = 270.0
    quiet_s: float = 60.0


WHOLE = Times()


@dataclass(frozen=True)
class Result:
    """One cell: the worse of the step up and the step down."""

    overshoot_pct: float
    settling_s: float
    ripple_w: float


@dataclass(frozen=True)
class Point:
    """One tick: site seconds, PCS power and true import at the PCC."""

    t_s: float
    pcs_w: float
    import_w: float


def config() -> DispatchConfig:
    """A site whose limit is 20 kW: no ramp limit, no reserve, no plan; SoC at rest."""
    return DispatchConfig(
        grid=GridConfig(fuse_a=250, contracted_peak_w=20_000, meter_delay_min_s=0.0, meter_delay_max_s=2.0),
        timezone="Europe/Berlin",
        batteries=(BatteryConfig(id="bat1", energy_kwh=400),),
        pcs=(PcsRatings(id="pcs1", battery="bat1", charge_w=100_000, discharge_w=100_000),),
        rules=RulesConfig(rest_soc_pct=50),
    )


def play(delay_s: float, lag_s: float, rate_hz: float = 5.0, times: Times = WHOLE) -> list[Point]:
    """Run the controller against the twin; one point per tick."""

    def load_w(t_s: float) -> float:
        return BASE_W + (STEP_W if times.up_s <= t_s < times.down_s else 0.0)

    site_config = config()
    twin = TwinConfig(
        start_utc="2025-09-16T08:00:00Z", soc_pct=60, pcs_lag_s=lag_s, pcs_ramp_w_per_s=1e6, meter_delay_s=delay_s
    )
    meters = (MeterDevice(id="grid", url="twin"),)
    site = TwinSite.from_sections(twin, site_config.grid, site_config.batteries, site_config.pcs, meters, load_w=load_w)
    lockstep = LockstepSite(site, VirtualClock(site.start_utc_s))
    controller = Controller(site_config)
    points = []
    for seq in range(round(times.end_s * rate_hz)):
        lockstep.apply(controller.step(lockstep.snapshot(seq), None))
        lockstep.advance(1 / rate_hz)
        points.append(Point(site.t_s, site.pcs[0].w, site.grid_w))
    return points


def judge(points: list[Point], times: Times = WHOLE) -> Result:
    """Overshoot, settling and ripple of a run with these times."""
    up = _step(points, times.up_s, times.down_s, times.quiet_s, sign=1.0)
    down = _step(points, times.down_s, times.end_s, times.quiet_s, sign=-1.0)
    return Result(*(max(pair) for pair in zip(up, down, strict=True)))


def _step(points: list[Point], from_s: float, to_s: float, quiet_s: float, sign: float) -> tuple[float, float, float]:
    run = [p for p in points if from_s < p.t_s < to_s]
    quiet = [p for p in run if p.t_s > to_s - quiet_s]
    final_pcs_w = sum(p.pcs_w for p in quiet) / len(quiet)
    final_import_w = sum(p.import_w for p in quiet) / len(quiet)
    beyond_w = max(sign * (p.pcs_w - final_pcs_w) for p in run)
    late = [p.t_s for p in run if abs(p.import_w - final_import_w) > SETTLED * STEP_W]
    imports = [p.import_w for p in quiet]
    return 100 * beyond_w / STEP_W, (late[-1] if late else from_s) - from_s, max(imports) - min(imports)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=5.0, help="ticks per second")
    rate_hz = parser.parse_args().rate
    print(f"60 kW step, {rate_hz:g} Hz: overshoot % / settling s / ripple W peak to peak")
    print("delay s \\ lag s " + "".join(f"{lag:>20g}" for lag in LAGS_S))
    for delay_s in DELAYS_S:
        cells = [judge(play(delay_s, lag_s, rate_hz)) for lag_s in LAGS_S]
        print(
            f"{delay_s:>15g} "
            + "".join(f"{f'{c.overshoot_pct:.2f} / {c.settling_s:.1f} / {c.ripple_w:.0f}':>20}" for c in cells)
        )


if __name__ == "__main__":
    main()
