"""Every site file of this repository can be replayed: nothing that a replay cannot read keeps a battery from acting."""

from __future__ import annotations

from pathlib import Path

import pytest
from replay_cases import FIRST, HOURS, a_case, played

from console.replay.traces import Trace
from gateway.site.loader import load

SITES = Path(__file__).resolve().parents[3] / "sites"


@pytest.mark.parametrize("path", sorted(SITES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_battery_holds_the_contract(path: Path) -> None:
    """Load above the contract: the battery gives what is above, and no step is without a setpoint."""
    config = load(path).dispatch
    over_w = min(2_000.0, config.discharge_w / 2)
    if not config.batteries:
        pytest.skip("no battery")
    high_w = Trace(FIRST, 900, [config.grid.contracted_peak_w + over_w] * 4 * HOURS)
    dark_w = Trace(FIRST, 900, [0.0] * 4 * HOURS)
    run = played(a_case(hours=0.5, config=config, load=high_w, pv=dark_w, planning=False, soc_pct=90.0))
    assert run.plan_counts.safe_steps == 0
    assert min(run.schedule.battery_w) >= over_w - config.rules.deadband_w
