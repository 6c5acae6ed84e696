"""Decides the individual fee for atypical use: the peak in high-load windows is billed in place of the period's.

StromNEV section 19 (2) sentence 1; the least gaps and the least saving are those of the network's price sheet. Both are
judged by the period's data: gap in kW and of the period's peak, saving of the charge without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from dispatch.billing.charges.accounts import price_parts, share_held
from dispatch.billing.charges.amounts import counted, priced
from dispatch.billing.charges.quantities import Billed, billed_peak, peaks_of
from dispatch.billing.charges.stretch import Stretch
from dispatch.config.charges import Charge, IndividualFee
from dispatch.model.reasons import Reason


def individual(
    charge: Charge, fee: IndividualFee, stretch: Stretch, billed: Mapping[str, Billed], length_s: int
) -> dict[str, Billed]:
    """Each period's demand with the fee where it is granted; the remark says that it is, or why not."""
    inside = peaks_of(charge, stretch, length_s, windows=fee.windows)
    result = {}
    for period, without in billed.items():
        peaks = inside.get(period, {}).values()
        if peaks:
            result[period] = _decided(charge, fee, period, without, billed_peak(charge, peaks))
        else:
            result[period] = without._replace(remarks=(*without.remarks, Reason("invoice.individual_unknown")))
    return result


def _decided(charge: Charge, fee: IndividualFee, period: str, without: Billed, peak: Billed) -> Billed:
    gap_kw = without.quantity - peak.quantity
    need_kw = max(fee.gap_kw, fee.gap_pct / 100 * without.quantity)
    kw = max(peak.quantity, _floor_kw(charge, fee, without.quantity))
    parts = price_parts(charge, period) * share_held(charge, period)
    saving = (priced(charge, counted(without.quantity)) - priced(charge, counted(kw))) * parts
    if counted(gap_kw) < counted(need_kw) or not gap_kw > 0:
        why = Reason(
            "invoice.individual_gap", {"peak_w": 1000 * peak.quantity, "gap_w": 1000 * gap_kw, "need_w": 1000 * need_kw}
        )
        return without._replace(remarks=(*without.remarks, why))
    if saving < Fraction(fee.least_saving):
        why = Reason("invoice.individual_saving", {"saving": float(saving), "least": fee.least_saving})
        return without._replace(remarks=(*without.remarks, why))
    granted = Reason("invoice.individual_granted", {"gap_w": 1000 * gap_kw, "saving": float(saving)})
    set_by = peak.set_by_utc_s
    return Billed(kw, set_by, (*without.remarks, granted))


def _floor_kw(charge: Charge, fee: IndividualFee, without_kw: float) -> float:
    """The demand whose charge is the least share of the charge without the fee. Tiers: the share of the demand."""
    return fee.floor_pct / 100 * without_kw
