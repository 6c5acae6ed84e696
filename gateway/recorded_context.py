"""What of a tick is recorded so that the past can be shown like the present, besides snapshot and decision. Pure."""

from __future__ import annotations

from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from gateway.api.protocol import Published
from gateway.outside_limits import outside_limits
from storage.context import AlarmsThen, LimitsThen, Prices, Told


def told(published: Published, plan: Plan | None, why_none: Reason | None) -> Told:
    """What stands and seldom changes. `why_none`: why there is no plan."""
    tariff = published.tariff
    return Told(
        plan=plan,
        no_plan=why_none,
        orders=published.orders,
        prices=Prices(tariff.ahead, tariff.ends_utc_s, tariff.source, tariff.fetched_utc_s),
        limits=LimitsThen(published.interval.guard_peak, outside_limits(published)),
        alarms=AlarmsThen(published.alarms, published.shelved, published.first_out),
    )


def figures(published: Published) -> dict[str, float | None]:
    """Figures of a tick, as signals."""
    interval, ride, since_s = published.interval, published.decision.ride, published.pulse_since_utc_s
    found: dict[str, float | None] = {
        "interval.unknown_s": interval.unknown_s,
        "interval.guard_w": interval.peak_limit_w,
        "month.unmeasured_h": published.month_unmeasured_s / 3600,
        "site_load.pulse_s": 0.0 if since_s is None else published.snapshot.utc_s - since_s,
    }
    if ride is None:
        return found
    return found | {
        "decision.runtime_s": ride.runtime_s,
        "decision.runtime_low_s": ride.low_s,
        "decision.promised_left_s": ride.promised_left_s,
        "decision.shutdown_in_s": ride.shutdown_in_s,
        "decision.carried_w": ride.draw_w,
        "decision.deliverable_w": ride.most_w,
    }
