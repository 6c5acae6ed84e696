"""Says what an order does until it ends: a reason for each line."""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig
from dispatch.model.metering_interval import TOLD_S
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal
from dispatch.planning.order_consequence import Consequence, LimitOutcome
from dispatch.planning.order_projection import local_iso


def told(found: Consequence, config: DispatchConfig) -> tuple[Reason, ...]:
    """What an order does, a reason for each line: energy and its cost, mean, peak, limits from outside, contract."""
    limits = () if found.limit is None else (_outside(found.limit, config),)
    return (_energy(found, config), _mean(found, config), _rise(found), *limits, _contract(found, config))


def _outside(found: LimitOutcome, config: DispatchConfig) -> Reason:
    """The limit from outside that comes nearest, and whether it is kept."""
    by, asked = f"{found.signal.sender} {found.signal.id}", _asked(found.signal)
    if found.over_w <= NEAR_W:
        return Reason("consequence.limit_kept", {"by": by, "asked": asked})
    at_local = local_iso(found.at_utc_s, config)
    return Reason(
        "consequence.limit_exceeded", {"by": by, "asked": asked, "at_local": at_local, "over_w": found.over_w}
    )


def _asked(signal: Signal) -> Reason:
    if signal.quantity is Quantity.IMPORT:
        return Reason("signals.import", {"limit_w": signal.limit_w})
    if signal.quantity is Quantity.EXPORT:
        return Reason("signals.export", {"limit_w": signal.limit_w})
    return Reason("signals.charge", {"limit_w": signal.limit_w})


def _energy(found: Consequence, config: DispatchConfig) -> Reason:
    """What the battery gives or takes, the SoC, and the import against none of it."""
    until, wh = local_iso(found.ends_utc_s, config), abs(found.battery_wh)
    soc_pct, before_pct, imported = found.soc_pct, found.soc_before_pct, _import(found)
    if found.rests:
        return Reason("consequence.rests", {"until_local": until, "soc_pct": soc_pct, "import": imported})
    if found.battery_wh > 0:
        return Reason(
            "consequence.gives",
            {"until_local": until, "battery_wh": wh, "before_pct": before_pct, "soc_pct": soc_pct, "import": imported},
        )
    return Reason(
        "consequence.takes",
        {"until_local": until, "battery_wh": wh, "before_pct": before_pct, "soc_pct": soc_pct, "import": imported},
    )


def _import(found: Consequence) -> Reason:
    cost = None if found.eur is None else Reason("consequence.eur", {"eur": round(found.eur, 2) + 0.0})
    if found.import_wh < 0:
        return Reason("consequence.less", {"by_wh": -found.import_wh, "cost": cost})
    return Reason("consequence.more", {"by_wh": found.import_wh, "cost": cost})


def _mean(found: Consequence, config: DispatchConfig) -> Reason:
    worst, band, after = found.worst, None, None
    if worst.low_w is not None and worst.high_w is not None:
        band = Reason("consequence.band", {"low_w": worst.low_w, "high_w": worst.high_w})
    if found.ends_utc_s < worst.end_utc_s:  # what rules and plan then do in the rest of it is theirs
        after = Reason("consequence.planned_after", {}) if found.planned else Reason("consequence.rest_after", {})
    start = local_iso(worst.start_utc_s, config)
    return Reason("consequence.mean", {"start_local": start, "mean_w": worst.mean_w, "band": band, "after": after})


def _rise(found: Consequence) -> Reason:
    peak = found.peak
    if not found.peak_rise_w:
        return Reason("consequence.no_rise", {"peak": peak})
    cost = None if found.peak_eur is None else Reason("consequence.rise_eur", {"eur": found.peak_eur})
    return Reason("consequence.rise", {"peak": peak, "rise_w": found.peak_rise_w, "cost": cost})


def _contract(found: Consequence, config: DispatchConfig) -> Reason:
    broken = found.broken
    if broken is not None:
        at_utc_s = broken.start_utc_s if broken.exceeds_utc_s is None else broken.exceeds_utc_s
        anyway = broken.without_w > found.contract_w + NEAR_W
        return Reason(
            "consequence.broken",
            {
                "at_local": local_iso(at_utc_s, config),
                "over_w": broken.mean_w - found.contract_w,
                "anyway": Reason("consequence.anyway") if anyway else None,
            },
        )
    over_w = max((i.high_w or 0.0 for i in found.intervals), default=0.0) - found.contract_w
    if over_w > NEAR_W:
        return Reason("consequence.at_risk", {"contract_w": found.contract_w, "over_w": over_w})
    running = found.intervals[0]
    most_w = running.mean_w + found.unknown_s * config.grid.fuse_w / (running.end_utc_s - running.start_utc_s)
    if found.unknown_s >= TOLD_S and most_w > found.contract_w:  # what was not metered is at most what the fuse carries
        return Reason("consequence.unmetered", {"contract_w": found.contract_w, "unknown_s": found.unknown_s})
    return Reason("consequence.kept", {"contract_w": found.contract_w})
