"""Calculates the bill of a period: energy, charges on power, wear, and the change of stored energy.

    total = imported energy x import price - exported energy x export price (`charges.energy_prices`)
          + demand price x what each local month or year is billed of its clock-aligned metering intervals' mean import
            (`dispatch.billing.demand_charge`; a period is charged whole, however little of it the stretch covers)
          + every other charge of the tariff that is not on energy, with its VAT (`charges.charge_amounts`)
          + wear x throughput (charging and discharging both count), and ageing (`battery_ageing`)
          + shed compute x its price
          - the change in stored energy at the mean import price, through the efficiency of using or rebuying it

Where the meter's intervals are shorter than the steps, the mean of a step stands for them: the highest of them may be
higher. `charges.invoice`, which prices the record, takes none but the meter's own.

Net load is taken step by step: import and export within one step cancel, over more than one step they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from dispatch.billing.charges.accounts import eur_per_unit
from dispatch.billing.charges.calendar import calendar_of
from dispatch.billing.charges.charge_amounts import Amount, charge_amounts
from dispatch.billing.charges.energy_prices import by_quantity, energy_prices
from dispatch.billing.charges.stretch import Metered, Stretch
from dispatch.billing.demand_charge import billed_by_period_w, interval_account
from dispatch.config.battery_ratings import mean_efficiency, wear_eur_per_kwh
from dispatch.config.charges import Charge
from dispatch.config.schema import DispatchConfig


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Evenly spaced powers and prices: value i is the mean over `step_s` from `start_utc_s + i x step_s`.

    Powers in W at the AC terminals; `battery_w` > 0 discharges. `shed_w` is what compute gave up under caps; empty is
    none. Prices are the market's, EUR/MWh.
    """

    start_utc_s: int
    step_s: int
    load_w: Sequence[float]
    pv_w: Sequence[float]
    eur_per_mwh: Sequence[float]
    battery_w: Sequence[float]
    shed_w: Sequence[float] = ()

    def grid_w(self) -> Iterator[float]:
        """Power at the PCC of each step, > 0 is import."""
        shed_w = self.shed_w or [0.0] * len(self.load_w)
        for load, shed, pv, battery in zip(self.load_w, shed_w, self.pv_w, self.battery_w, strict=True):
            yield load - shed - pv - battery


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """EUR, and what they were charged on. `peaks_w`: month ("2025-09", local) or year -> the demand it is billed."""

    energy_eur: float  # import less what export earned
    peak_eur: float  # charges on power, of the kinds max and excess
    wear_eur: float
    shed_eur: float
    stored_eur: float  # worth of the change in stored energy; counts against the cost
    import_kwh: float
    export_kwh: float
    throughput_kwh: float
    peaks_w: dict[str, float]
    standing_eur: float = 0.0  # charges of the kinds contract, fixed and reactive
    # price of the import's CO2, less what the change in stored energy is worth by it: not billed, not in `total_eur`
    co2_eur: float = 0.0

    @property
    def minimised_eur(self) -> float:
        """What plan and foresight minimise: the total and the price of CO2."""
        return self.total_eur + self.co2_eur

    @property
    def total_eur(self) -> float:
        """All of it."""
        return self.energy_eur + self.peak_eur + self.wear_eur + self.shed_eur - self.stored_eur + self.standing_eur


def bill(
    config: DispatchConfig,
    flow: Flow,
    stored_change_kwh: float = 0.0,
    shed_eur_per_kwh: float = 0.0,
    ageing_eur: float = 0.0,
) -> Bill:
    """Charge a flow by the site's tariff.

    stored_change_kwh: energy in the cells at the end less that at the start. ageing_eur: what the battery's course cost
    by its ageing (`battery_ageing.schedule_ageing_eur`), a part of the wear.
    Raises ValueError for powers of different lengths, and for a step that does not divide a longer metering interval.
    """
    length_s = config.grid.interval_of_steps_s(flow.step_s)
    if flow.step_s <= 0 or length_s % flow.step_s or flow.start_utc_s % flow.step_s:
        raise ValueError(f"step of {flow.step_s} s: expected to divide the metering interval of {length_s} s evenly")
    hours, tariff = flow.step_s / 3600, config.tariff
    import_kwh = export_kwh = paid = earned = prices = 0.0
    grid_w = list(flow.grid_w())
    starts = range(flow.start_utc_s, flow.start_utc_s + flow.step_s * len(grid_w), flow.step_s)
    buy, sell = energy_prices(tariff, config.timezone, starts, flow.eur_per_mwh)
    for w, price, pay in zip(grid_w, buy, sell, strict=True):
        kwh = w * hours / 1000
        prices += price
        if kwh > 0:
            import_kwh += kwh
            paid += kwh * price
        else:
            export_kwh -= kwh
            earned -= kwh * pay
    peaks_w = billed_by_period_w(tariff.demand_terms, account_peaks_w(config, flow.start_utc_s, flow.step_s, grid_w))
    energy_eur = _stepped_energy_eur(config, flow, grid_w) if by_quantity(tariff) else paid - earned
    on_power = _on_power(config, flow, grid_w)
    throughput_kwh = sum(map(abs, flow.battery_w)) * hours / 1000
    mean_eur_per_kwh = prices / len(grid_w) if grid_w else 0.0
    return Bill(
        energy_eur=energy_eur,
        peak_eur=sum(peaks_w.values()) / 1000 * tariff.demand_terms.eur_per_kw + on_power.peak_eur,
        wear_eur=throughput_kwh * wear_eur_per_kwh(config) + ageing_eur,
        shed_eur=sum(flow.shed_w) * hours / 1000 * shed_eur_per_kwh,
        stored_eur=stored_worth_eur(config, stored_change_kwh, mean_eur_per_kwh),
        import_kwh=import_kwh,
        export_kwh=export_kwh,
        throughput_kwh=throughput_kwh,
        peaks_w=peaks_w if tariff.demand_terms.eur_per_kw > 0 or not on_power.peaks_w else on_power.peaks_w,
        standing_eur=on_power.standing_eur,
        co2_eur=tariff.co2_eur_per_kwh * import_kwh
        - stored_worth_eur(config, stored_change_kwh, tariff.co2_eur_per_kwh),
    )


class _OnPower(NamedTuple):
    """What charges other than those on energy come to, EUR with VAT; what the dearest charge on a peak bills, W."""

    peak_eur: float
    standing_eur: float
    peaks_w: dict[str, float]


def _stretch(config: DispatchConfig, flow: Flow, grid_w: Sequence[float]) -> Stretch:
    """The flow as meters would have it."""
    metered = Metered(
        start_utc_s=flow.start_utc_s,
        step_s=flow.step_s,
        import_kwh=[max(w, 0.0) * flow.step_s / 3.6e6 for w in grid_w],
        export_kwh=[max(-w, 0.0) * flow.step_s / 3.6e6 for w in grid_w],
        eur_per_mwh=flow.eur_per_mwh,
    )
    return Stretch(metered, config.tariff, calendar_of(config.tariff, config.timezone))


def _gross_eur(config: DispatchConfig, charge: Charge, amounts: Sequence[Amount]) -> float:
    """Without rounding, as nobody is sent this."""
    rate = eur_per_unit(charge, config.tariff) * (1 + charge.vat_pct / 100)
    return float(sum(amount.net for amount in amounts)) * rate


def _stepped_energy_eur(config: DispatchConfig, flow: Flow, grid_w: Sequence[float]) -> float:
    """Energy whose price depends on how much of it there is, or on the year's full-load hours."""
    if not grid_w:
        return 0.0
    stretch, metering_s = _stretch(config, flow, grid_w), config.grid.interval_of_steps_s(flow.step_s)
    charges = [charge for charge in config.tariff.charges if charge.kind == "energy"]
    return sum(_gross_eur(config, c, list(charge_amounts(c, stretch, metering_s))) for c in charges)


def _of_steps(charge: Charge, step_s: int) -> Charge:
    """A charge whose intervals are shorter than the steps is billed by the means of the steps; one on the months before
    by those of the flow, whose bill comes later.
    """
    shorter = charge.interval_min is not None and 60 * charge.interval_min < step_s
    return msgspec.structs.replace(charge, interval_min=None if shorter else charge.interval_min, past_only=False)


def _on_power(config: DispatchConfig, flow: Flow, grid_w: Sequence[float]) -> _OnPower:
    """Of the `[[tariff.charge]]`s."""
    charges = [_of_steps(charge, flow.step_s) for charge in config.tariff.charge if charge.kind != "energy"]
    if not charges or not grid_w:
        return _OnPower(0.0, 0.0, {})
    stretch, metering_s = _stretch(config, flow, grid_w), config.grid.interval_of_steps_s(flow.step_s)
    peak_eur = standing_eur = dearest_eur = 0.0
    peaks_w: dict[str, float] = {}
    for charge in charges:
        amounts = list(charge_amounts(charge, stretch, metering_s))
        eur = _gross_eur(config, charge, amounts)
        if charge.kind not in ("max", "excess"):
            standing_eur += eur
            continue
        peak_eur += eur
        if charge.kind == "max" and eur >= dearest_eur:
            dearest_eur, peaks_w = eur, {amount.period: 1000 * amount.billed.quantity for amount in amounts}
    return _OnPower(peak_eur, standing_eur, peaks_w)


def account_peaks_w(config: DispatchConfig, start_utc_s: int, step_s: int, grid_w: Sequence[float]) -> dict[str, float]:
    """Highest mean import of the metering intervals of each account (`IntervalAccount`), W; export earns nothing back.

    A period in which no interval counts has an account of its own name, at 0.
    """
    length_s, terms = config.grid.interval_of_steps_s(step_s), config.tariff.demand_terms
    sums: dict[int, tuple[float, int]] = {}
    for k, w in enumerate(grid_w):
        number = (start_utc_s + k * step_s) // length_s
        total, count = sums.get(number, (0.0, 0))
        sums[number] = (total + max(w, 0.0), count + 1)
    peaks_w: dict[str, float] = {}
    for number, (total, count) in sums.items():
        at = interval_account(terms, config.timezone, number * length_s)
        account, w = (at.account, total / count) if at.counts else (at.period, 0.0)
        peaks_w[account] = max(peaks_w.get(account, 0.0), w)
    return peaks_w


def stored_change_kwh(config: DispatchConfig, step_s: int, battery_w: Sequence[float]) -> float:
    """What a battery power does to the stored energy, all batteries taken as one."""
    charging, discharging = mean_efficiency(config)
    change = sum(-w / discharging if w >= 0 else -w * charging for w in battery_w)
    return change * step_s / 3.6e6


def stored_worth_eur(config: DispatchConfig, change_kwh: float, eur_per_kwh: float) -> float:
    """Energy left over is worth the import it saves; energy short, the import it takes to have it back."""
    charging, discharging = mean_efficiency(config)
    return change_kwh * eur_per_kwh * (discharging if change_kwh > 0 else 1 / charging)
