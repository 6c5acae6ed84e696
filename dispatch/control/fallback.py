"""Defines the safe values of a grid-tied site: what the battery does when a reading is lost.

| lost | then |
|---|---|
| grid meter (or it hangs) | hold the last command for `meter_lost_hold_s`, then ramp to `meter_lost_w`; but of one |
| | that hangs beside a load meter which the balance has proven, the net load is derived from that and PV |
| SoC | its PCS may only go towards 0 (`dispatch.control.pcs_limits`) |
| PCS reading | it counts with what the meters show of it, else with its last setpoint until its timeout, then with 0; |
| | the driver goes on to renew the setpoint (`dispatch.control.pcs_limits`) |

Islanded or unknown: no command at all (`dispatch.islanding.observation`), whatever is lost.
"""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig, RulesConfig
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import DEVICE


class Lost(msgspec.Struct, frozen=True):
    """Since when the grid meter has been lost, and the battery power asked at that moment."""

    since_mono_s: float
    held_w: float
    what: Reason  # what is lost: the grid meter's reading, or its change


def meter_lost_w(rules: RulesConfig, lost: Lost, mono_s: float) -> tuple[float, Reason]:
    """The battery power, W, at `mono_s` after the grid meter was lost, and the reason."""
    away_s = mono_s - lost.since_mono_s
    if away_s <= rules.meter_lost_hold_s:
        return lost.held_w, Reason(
            "safe.hold",
            {"lost": lost.what, "lost_s": away_s, "held_w": lost.held_w, "hold_s": rules.meter_lost_hold_s},
        )
    reach_w = (away_s - rules.meter_lost_hold_s) * rules.meter_lost_ramp_w_per_s
    gap_w = rules.meter_lost_w - lost.held_w
    value_w = rules.meter_lost_w if abs(gap_w) <= reach_w else lost.held_w + (reach_w if gap_w > 0 else -reach_w)
    return value_w, Reason(
        "safe.ramp", {"lost": lost.what, "lost_s": away_s, "safe_w": rules.meter_lost_w, "now_w": value_w}
    )


def revert_values(config: DispatchConfig) -> dict[str, float]:
    """What each PCS is to revert to when nobody commands it: its share of `meter_lost_w`, W, within its ratings."""
    rated_w = sum(p.discharge_w for p in config.pcs)
    shares = {p.id: p.discharge_w / rated_w if rated_w else 0.0 for p in config.pcs}
    total_w = config.rules.meter_lost_w
    return {p.id: min(max(total_w * shares[p.id], -p.charge_w), p.discharge_w) for p in config.pcs}


def stop_setpoints(config: DispatchConfig, decision: Decision) -> dict[str, float]:
    """What each PCS gets when the gateway stops: its share of `meter_lost_w`, W; on a generator nothing.

    Inside what the device limits of the last decision allow. A PCS that got no setpoint then gets none now.
    """
    ratings = {p.id: p.discharge_w for p in config.pcs}
    commanded = [s.device_id for s in decision.setpoints if s.w is not None and s.device_id in ratings]
    total_w = 0.0 if decision.island is IslandState.GENSET else config.rules.meter_lost_w
    for trace in decision.chain:
        if trace.rule in DEVICE:
            total_w = min(max(total_w, trace.low_w), trace.high_w)
    rated_w = sum(ratings[device_id] for device_id in commanded)
    return {device_id: total_w * ratings[device_id] / rated_w for device_id in commanded}
