"""Says in a plan where the billed peak of the running month is expected to end, and from what that follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.billing.demand_charge import ChargeTerms
from dispatch.billing.peak_charges import coming_charges
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.planning.inputs import PlanInputs


def month_end(inputs: PlanInputs) -> Reason | None:
    """The expectation with its evidence; None without one, or where a bill is of more than one peak of its own period.

    That is where the highest days or weeks are averaged, where earlier months are billed again, and where only what is
    above a contract is billed.
    """
    terms = coming_charges(inputs.config, inputs.now_utc_s)[0]
    if inputs.peak is None or not _one_peak(terms):
        return None
    low_w, high_w = inputs.peak.ends_w
    period = Reason("month_end.year") if terms.per == "year" else Reason("month_end.month")
    of = Reason("month_end.charge", {"charge": terms.id}) if terms.id else None
    days = [Reason("month_end.days", {"days": inputs.peak.days, "usual_w": inputs.peak.usual_w}), *_announced(inputs)]
    if not inputs.billed:  # of 35 months only half ended where a fortnight alone expects it
        return Reason("month_end.unknown", {"period": period, "of": of, "days": days})
    evidence = [*_billed(inputs.billed), *days]
    if high_w - low_w < NEAR_W:
        return Reason("month_end.at", {"period": period, "of": of, "high_w": high_w, "evidence": evidence})
    return Reason(
        "month_end.between", {"period": period, "of": of, "low_w": low_w, "high_w": high_w, "evidence": evidence}
    )


def _one_peak(terms: DemandTerms) -> bool:
    if terms.eur_per_kw <= 0 or terms.top_days > 1 or terms.rolling or terms.above:
        return False
    if not isinstance(terms, ChargeTerms):
        return True
    return terms.of_one_bill and terms.charge.month_weight_pct is None and terms.charge.individual is None


def _announced(inputs: PlanInputs) -> Iterator[Reason]:
    """What announced jobs make certain, where that is above the peak so far."""
    certain = inputs.certain
    if certain is None or certain.least_w <= inputs.month_peak_w + NEAR_W:
        return
    first, least_w = certain.first, certain.least_w
    begin = datetime.fromtimestamp(first.start_utc_s, ZoneInfo(inputs.config.timezone)).isoformat(timespec="minutes")
    if certain.jobs == 1:
        yield Reason("month_end.announced_one", {"job": first.id, "begin_local": begin, "least_w": least_w})
    else:
        yield Reason(
            "month_end.announced", {"jobs": certain.jobs, "job": first.id, "begin_local": begin, "least_w": least_w}
        )


def _billed(billed: Sequence[BilledPeak]) -> Iterator[Reason]:
    peaks_w = [one.peak_w for one in billed]
    if len(billed) == 1:
        yield Reason("month_end.billed_one", {"period": billed[0].period, "peak_w": peaks_w[0]})
    else:
        yield Reason(
            "month_end.billed",
            {
                "count": len(billed),
                "first": billed[0].period,
                "last": billed[-1].period,
                "low_w": min(peaks_w),
                "high_w": max(peaks_w),
            },
        )
    before = sum(1 for one in billed if not one.with_battery)
    if before:
        yield Reason("month_end.before_battery", {"count": before})
