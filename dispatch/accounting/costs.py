"""Prices the energy of jobs by what a kWh of load cost in its quarter hour, and finds who drew in a peak.

A kWh of load costs import x import price / load: what was bought then, spread over everything that used power then.
Power from PV costs nothing, and from the battery nothing when it is drawn: charging it was import of the hour before,
which made that hour dearer for who drew then. What is exported is not taken off. CO2 likewise: what the site file
states for a kWh of import, spread over the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dispatch.accounting.records import QUARTER_S, PeakInterval, RunKey, SiteQuarter
from dispatch.billing.demand_charge import interval_account, period_of
from dispatch.billing.peak_charges import account_key
from dispatch.config.demand_terms import DemandTerms

KNOWN = 0.5  # of a quarter hour with import and load, from which on it has a price


class Rates(NamedTuple):
    """What a kWh of load costs; None: not known."""

    eur_per_kwh: float | None = None
    co2_g_per_kwh: float | None = None


def rates(
    import_wh: float, load_wh: float, known_s: float, price_eur_per_kwh: float | None, co2_g_per_kwh: float | None
) -> Rates:
    """Of a quarter hour with this import and load (Wh) in the `known_s` of it that were seen."""
    if known_s < KNOWN * QUARTER_S or load_wh <= 0:
        return Rates()
    bought = import_wh / load_wh
    return Rates(*(None if each is None else bought * each for each in (price_eur_per_kwh, co2_g_per_kwh)))


def highest(
    quarters: Iterable[SiteQuarter], terms: DemandTerms, timezone: str, length_s: int, *, main: bool = True
) -> PeakInterval | None:
    """A metering interval of these quarter hours, as the peak that it may be; None outside the terms' windows.

    `main`: of the main charge; the account of another one has its name. None also where what is above a contract adds
    up: no single interval is billed.
    """
    found = sorted(quarters, key=lambda quarter: quarter.start_utc_s)
    start_s = found[0].start_utc_s
    where = interval_account(terms, timezone, start_s)
    if not where.counts or not terms.eur_per_kw or terms.adds or sum(q.known_s for q in found) < KNOWN * length_s:
        return None
    known_s = sum(q.known_s for q in found)
    import_w = sum(q.import_wh for q in found) * 3600 / known_s
    return PeakInterval(
        account=where.account if main else account_key(terms, where.account),
        start_utc_s=start_s,
        import_w=import_w,
        load_wh=sum(q.load_wh for q in found),
        eur=max(0.0, import_w - (terms.floor_w if terms.above else 0.0)) / 1000 * terms.rise_eur_per_kw,
    )


def billed(peaks: Iterable[PeakInterval], charges: Sequence[DemandTerms]) -> list[PeakInterval]:
    """Of the highest interval of each account those that are billed: the `top_days` highest of each period of a charge.

    `charges`: on peaks, the main one first; accounts without a name are its.
    """
    named = {terms.id: terms for terms in charges[1:]} | {"": charges[0]}
    periods: dict[tuple[str, str], list[PeakInterval]] = {}
    for peak in peaks:
        account, _, id = peak.account.partition("@")
        if id in named:
            periods.setdefault((id, period_of(named[id], account)), []).append(peak)
    found = ((named[id].top_days, sorted(of, key=lambda p: -p.import_w)) for (id, _), of in periods.items())
    return [peak for count, of in found for peak in of[:count]]


def peak_costs(peaks: Iterable[PeakInterval]) -> Mapping[RunKey, float]:
    """What each run caused of them, EUR: its share of the load in the interval, of what the interval costs."""
    costs: dict[RunKey, float] = {}
    for peak in peaks:
        for scheduler, job, started_utc_s, wh in peak.shares:
            if peak.load_wh > 0:
                key = (scheduler, job, started_utc_s)
                costs[key] = costs.get(key, 0.0) + peak.eur * wh / peak.load_wh
    return costs
