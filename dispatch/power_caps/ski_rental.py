"""Decides whether to cap compute nodes or let the month's peak rise when the battery alone cannot keep it.

This is a ski-rental problem. The rent is the energy that the GPUs do not get, at the price the site has given it; the
purchase is the demand charge of the kW by which the peak would rise. Nobody knows how long the pulse lasts. Two rules
work together: `dispatch.planning.peak.outlook` chooses the peak worth defending by the expected rent of scenarios like
those seen; and the rule here never pays more rent in a month than the peak that caps have spared so far would have
cost. A peak that was let rise no longer counts as spared, so small rises do not begin the rent again: in every case
caps cost at most as much again as letting the peak rise at once.

A charge that adds up what each interval has above its contract is no purchase: it is paid anew in each interval. Caps
pay in those in which they cost no more than what they spare of it, and that part of the rent is not held against the
peaks.

Caps are for deferrable nodes only; the caller chooses them and informs their users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, IntervalAccount, added_eur, interval_account
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.reasons import Reason

QUIET_W = 1.0  # less is rounding
KEPT = 3  # other days and months
Counting = tuple[DemandTerms, IntervalAccount]  # a charge, and where an interval belongs by it


class CapsLedger(msgspec.Struct, frozen=True):
    """What must survive from step to step, and a restart."""

    day: str = ""  # local day of `minutes`
    minutes: float = 0.0  # capped on that day
    month: str = ""  # local month, or other account of the demand charge, of the next two
    rent_eur: float = 0.0
    would_be_w: float = 0.0  # the highest import that caps were asked to bring down
    paid_eur: float = 0.0  # of the rent, what was spared at the same time of charges that add up
    cap_w: float = 0.0  # in force
    other_days: dict[str, float] = {}  # `minutes` of the days that the clock was in last, should it be set back
    other_months: dict[str, tuple[float, float]] = {}  # `rent_eur` and `would_be_w`, the same

    def at(self, day: str, month: str) -> CapsLedger:
        """The ledger on this day and in this month: a clock that was wrong for a while begins neither anew."""
        ledger = self
        if day != self.day:
            days = dict([*self.other_days.items(), (self.day, self.minutes)][-KEPT:])
            ledger = msgspec.structs.replace(ledger, day=day, minutes=days.pop(day, 0.0), other_days=days)
        if month != self.month:
            unpaid_eur = self.rent_eur - self.paid_eur
            months = dict([*self.other_months.items(), (self.month, (unpaid_eur, self.would_be_w))][-KEPT:])
            rent_eur, would_be_w = months.pop(month, (0.0, 0.0))
            ledger = msgspec.structs.replace(
                ledger, month=month, rent_eur=rent_eur, would_be_w=would_be_w, paid_eur=0.0, other_months=months
            )
        return ledger


class CapInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the site for one decision. Powers assume that the battery already gives all it can."""

    utc_s: float
    step_s: float
    load_w: float
    import_w: float  # without caps
    import_max_w: float  # what the interval's budget allows
    month_peak_w: float
    levels: tuple[ChargeLevel, ...] = ()  # what each charge on peaks leaves free; empty: `month_peak_w` is all
    mean_w: float | None = None  # what the metering interval's mean would be without caps; None: `import_w`


class CapsDecision(msgspec.Struct, frozen=True):
    """The power to take from deferrable GPUs for this step, and why."""

    cap_w: float
    reason: Reason
    ledger: CapsLedger


def decide(
    caps: CapsConfig, charges: Sequence[DemandTerms], timezone: str, need: CapInputs, ledger: CapsLedger
) -> CapsDecision:
    """Cap or let go, for the next `step_s` seconds. Pure: the ledger returned is the one to hand in next.

    `charges` are those on peaks. Returns a cap of 0 where none is needed, allowed, or worth its price. The rent is
    counted together for all charges, in the account of the one that is dearest now.
    """
    places = [(terms, interval_account(terms, timezone, need.utc_s)) for terms in charges]
    counting = [pair for pair in places if pair[1].counts]
    dearest, at = (counting or places)[0]
    ledger = ledger.at(at.day, f"{dearest.id}:{at.account}" if dearest.id else at.account)
    wanted_w = need.import_w - need.import_max_w
    if wanted_w <= QUIET_W:
        return _none(Reason("caps.battery_holds"), ledger)
    if caps.max_share <= 0:
        return _none(Reason("caps.not_allowed"), ledger)
    would_be_w = max(ledger.would_be_w, need.import_w if need.mean_w is None else need.mean_w)
    spared_w = max(0.0, would_be_w - max(need.month_peak_w, need.import_max_w))
    purchase_eur = _purchase_eur(counting, need, would_be_w)
    cap_w = _cap_w(caps, need, wanted_w, ledger.cap_w)
    excess = _Excess(_excess_eur(counting, need, cap_w), cap_w / 1000 * need.step_s / 3600 * caps.value_eur_per_kwh)
    ledger = msgspec.structs.replace(ledger, paid_eur=min(ledger.paid_eur, ledger.rent_eur))
    rent_eur = ledger.rent_eur - ledger.paid_eur
    if rent_eur >= purchase_eur and not excess.pays:
        why = Reason("caps.let_rise", {"rent_eur": rent_eur, "spared_w": spared_w, "purchase_eur": purchase_eur})
        only = counting and all(terms.adds for terms, _ in counting) and cap_w > QUIET_W
        return _none(excess.let(need) if only else why, ledger)
    if ledger.minutes + need.step_s / 60 > caps.minutes_per_day:
        return _none(Reason("caps.used_up", {"day_min": caps.minutes_per_day}), ledger)
    if cap_w <= QUIET_W:
        return _none(Reason("caps.idle_load"), ledger)
    ledger = msgspec.structs.replace(
        ledger,
        minutes=ledger.minutes + need.step_s / 60,
        rent_eur=ledger.rent_eur + excess.rent_eur,
        would_be_w=would_be_w,
        paid_eur=ledger.paid_eur + min(excess.eur, excess.rent_eur),
        cap_w=cap_w,
    )
    if rent_eur >= purchase_eur:
        return CapsDecision(cap_w, excess.spared(need, cap_w), ledger)
    reason = Reason(
        "caps.cap",
        {
            "cap_w": cap_w,
            "import_w": need.import_max_w,
            "rent_eur": ledger.rent_eur,
            "purchase_eur": purchase_eur,
        },
    )
    return CapsDecision(cap_w, reason, ledger)


class _Excess(NamedTuple):
    """What caps spare in one step of charges that add up what is above a contract, and what they cost in it, EUR."""

    eur: float
    rent_eur: float

    @property
    def pays(self) -> bool:
        """Whether they are worth it by these charges alone."""
        return 0 < self.eur >= self.rent_eur

    def spared(self, need: CapInputs, cap_w: float) -> Reason:
        """Why a cap pays; both by the hour."""
        hours = need.step_s / 3600
        return Reason(
            "caps.excess",
            {
                "cap_w": cap_w,
                "import_w": need.import_max_w,
                "excess_eur_per_h": self.eur / hours,
                "rent_eur_per_h": self.rent_eur / hours,
            },
        )

    def let(self, need: CapInputs) -> Reason:
        """Why none does."""
        hours = need.step_s / 3600
        return Reason(
            "caps.let_excess",
            {"excess_eur_per_h": self.eur / hours, "rent_eur_per_h": self.rent_eur / hours},
        )


def _cap_w(caps: CapsConfig, need: CapInputs, wanted_w: float, last_w: float) -> float:
    """The cap that is wanted, as far as depth and ramp allow."""
    cap_w = min(wanted_w, caps.max_share * max(0.0, need.load_w - caps.idle_w))
    return min(cap_w, last_w + caps.ramp_w_per_s * need.step_s) if caps.ramp_w_per_s > 0 else cap_w


def _purchase_eur(counting: Sequence[Counting], need: CapInputs, would_be_w: float) -> float:
    """What the peak that caps have spared would have cost, by the charges that count now."""
    free_w, total_eur = {level.charge: level.free_w for level in need.levels}, 0.0
    for terms, place in counting:
        spared_of_w = max(0.0, would_be_w - max(free_w.get(terms.id, need.month_peak_w), need.import_max_w))
        total_eur += 0.0 if terms.adds else place.weight * terms.rise_eur_per_kw * spared_of_w / 1000
    return total_eur


def _excess_eur(counting: Sequence[Counting], need: CapInputs, cap_w: float) -> float:
    """What such a cap spares in this step of the charges that add up what each interval has above their contract."""
    mean_w, added = need.import_w if need.mean_w is None else need.mean_w, {of.charge: of.added for of in need.levels}
    total_eur = 0.0
    for terms, place in counting:
        if terms.adds and isinstance(terms, ChargeTerms):
            above_w = [max(0.0, place.weight * w - terms.floor_w) for w in (mean_w, mean_w - cap_w)]
            without_eur, with_eur = (added_eur(terms, added.get(terms.id, 0.0), [(w, 1.0)]) for w in above_w)
            total_eur += (without_eur - with_eur) * need.step_s / terms.interval_s
    return total_eur


def _none(reason: Reason, ledger: CapsLedger) -> CapsDecision:
    return CapsDecision(0.0, reason, msgspec.structs.replace(ledger, cap_w=0.0))
