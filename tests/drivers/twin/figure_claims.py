"""What a reason says of its own figures: that one is above, below or between others. Needs no twin: true or not.

Refusals, limits and doubts compare; a sentence whose figures do not bear it out is false wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Figures = Mapping[str, Any]
Comparison = Callable[[Figures], bool]
ROUNDING = 1e-6


def above(name: str, other: str) -> Comparison:
    """The first figure is above the second, or as large."""
    return lambda f: f[name] >= f[other] - ROUNDING


def outside(name: str, low: str, high: str) -> Comparison:
    """The figure is not between the other two."""
    return lambda f: not f[low] < f[name] < f[high]


def positive(*names: str) -> Comparison:
    """Each is above 0."""
    return lambda f: all(f[name] > 0 for name in names)


def differ(name: str, other: str) -> Comparison:
    """The two are not the same."""
    return lambda f: f[name] != f[other]


FIGURE_CLAIMS: dict[str, Comparison] = {
    "alarm.meters_apart": above("apart_w", "allowed_w"),
    "alarm.energy_apart": differ("counted_wh", "register_wh"),
    "alarm.genset_back": positive("back_w"),
    "alarm.genset_over": above("drawn_w", "rated_w"),
    "alarm.genset_under": above("least_w", "drawn_w"),
    "alarm.holds_another": differ("written_w", "held_w"),
    "alarm.not_followed": differ("setpoint_w", "measured_w"),
    "alarm.not_followed_though_held": differ("setpoint_w", "measured_w"),
    "alarm.over_cap": above("drawn_w", "cap_w"),
    "alarm.over_peak": positive("over_w"),
    "alarm.peak_assumed": positive("unmeasured_s"),
    "alarm.peak_risk": above("import_w", "held_w"),
    "alarm.pv_over": above("measured_w", "limit_w"),
    "alarm.pv_over_though_read": above("measured_w", "limit_w"),
    "alarm.soc_stands_still": differ("reported_pct", "counted_pct"),
    "alarm.temperature": outside("temp_c", "min_c", "max_c"),
    "advisory.contract": positive("over_w"),
    "caps.event": positive("cap_w"),
    "doubt.apparent": lambda f: abs(f["value_w"]) > f["product_w"],
    "doubt.flipped": lambda f: f["value_w"] * f["last_w"] < 0,
    "doubt.negative_load": lambda f: f["load_w"] < 0,
    "doubt.power_range": outside("value_w", "low_w", "high_w"),
    "doubt.range": outside("value", "low", "high"),
    "doubt.soc_range": lambda f: not 0 <= f["reported_pct"] <= f["most_pct"],
    "curtail.price": lambda f: f["price_eur_per_kwh"] < 0,
    "device.silent": positive("silent_s"),
    "alarm.old_reading": positive("age_s"),
    "alarm.silent": positive("silent_s"),
    "manual.order": lambda f: f["left_s"] >= 0,
    "manual.order_with_reason": lambda f: f["left_s"] >= 0,
    "ride.recovered": lambda f: f["soc"].figures["soc_pct"] >= f["reserve_pct"] - ROUNDING,
    "ride.recovered_on_genset": lambda f: f["soc"].figures["soc_pct"] >= f["reserve_pct"] - ROUNDING,
    "risk.peak": positive("peak_w"),
    "rule.unmet_at_least": above("asked_w", "left_w"),
    "rule.unmet_at_most": above("left_w", "asked_w"),
    "step.below_peak": positive("peak_w"),
    "step.curtailed": positive("curtail_w"),
    "step.import_paid": lambda f: f["price_eur_per_kwh"] < 0,
    "step.to_reserve": positive("reserve_pct"),
    "interval.at_least": positive("unknown_s"),
    "interval.bounds": above("high_w", "low_w"),
    "iq.short_record": above("needed_h", "known_h"),
    "limit.cap": above("rated_w", "limit_w"),
    "limit.isolation_low": above("least_kohm", "isolation_kohm"),
    "limit.temperature": outside("temp_c", "min_c", "max_c"),
    "month_end.between": above("high_w", "low_w"),
    "note.above_contract": above("import_w", "contract_w"),
    "plan.beyond_market": lambda f: (
        f["least_eur_per_mwh"] < f["low_eur_per_mwh"] or f["most_eur_per_mwh"] > f["high_eur_per_mwh"]
    ),
    "plan.over_export": positive("over_w"),
    "plan.over_fuse": positive("over_w"),
    "plan.over_production": positive("over_w"),
    "plan.reserve": above("need_pct", "full_pct"),
    "power.above_contract": above("level_w", "contract_w"),
    "power.rise": positive("rise_w"),
    "power.rise_later": positive("rise_w"),
    "power.shortfall": above("need_w", "allowed_w"),
    "refused.above_fuse": above("power_w", "fuse_w"),
    "refused.beyond_plan": above("ends_s", "horizon_s"),
    "refused.earlier_restart": above("of_restart", "restart"),
    "refused.event_early": above("ahead_s", "most_s"),
    "refused.event_long": above("asked_s", "most_s"),
    "refused.heartbeat_ahead": above("ahead_s", "most_s"),
    "refused.heartbeat_time": above("late_s", "most_s"),
    "refused.long_reason": above("characters", "most"),
    "refused.not_carried": above("need_w", "allowed_w"),
    "refused.short": above("least_s", "for_s"),
    "refused.signal_early": above("ahead_s", "most_s"),
    "refused.signal_long": above("asked_s", "most_s"),
    "refused.signal_number": lambda f: f["number"] <= f["last"],
    "refused.soc_too_fast": above("least_s", "for_s"),
    "refused.stale_console": above("age_s", "most_s"),
    "refused.too_long": above("for_s", "most_s"),
    "register.impossible": lambda f: f["now_wh"] != f["before_wh"],
    "signal.below_critical": above("critical_w", "limit_w"),
    "signal.no_tighter": above("limit_w", "own_w"),
    "start.dead_too_short": above("needed_s", "dead_s"),
    "step.over_export": above("export_w", "limit_w"),
}
