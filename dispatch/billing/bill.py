"""Calculates the bill of a period: energy, demand charge, wear, and the change of stored energy.

    total = imported energy x import price - exported energy x export price
          + demand price x what each local month or year is billed of its clock-aligned metering intervals' mean import
            (`dispatch.billing.demand_charge`; a period is charged whole, however little of it the stretch covers)
          + wear x throughput (charging and discharging both count)
          + shed compute x its price
          - the change in stored energy at the mean import price, through the efficiency of using or rebuying it

Net load is taken step by step: import and export within one step cancel, over more than one step they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dispatch.billing.demand_charge import billed_by_period_w, interval_account
from dispatch.config.battery_ratings import mean_efficiency, wear_eur_per_kwh
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
    peak_eur: float
    wear_eur: float
    shed_eur: float
    stored_eur: float  # worth of the change in stored energy; counts against the cost
    import_kwh: float
    export_kwh: float
    throughput_kwh: float
    peaks_w: dict[str, float]

    @property
    def total_eur(self) -> float:
        """All of it."""
        return self.energy_eur + self.peak_eur + self.wear_eur + self.shed_eur - self.stored_eur


def bill(config: DispatchConfig, flow: Flow, stored_change_kwh: float = 0.0, shed_eur_per_kwh: float = 0.0) -> Bill:
    """Charge a flow by the site's tariff.

    stored_change_kwh: energy in the cells at the end less that at the start.
    Raises ValueError for powers of different lengths, and for a step that does not divide the metering interval.
    """
    length_s = config.grid.metering_interval_s
    if flow.step_s <= 0 or length_s % flow.step_s or flow.start_utc_s % flow.step_s:
        raise ValueError(f"step of {flow.step_s} s: expected to divide the metering interval of {length_s} s evenly")
    hours, tariff = flow.step_s / 3600, config.tariff
    import_kwh = export_kwh = paid = earned = prices = 0.0
    grid_w = list(flow.grid_w())
    for w, market in zip(grid_w, flow.eur_per_mwh, strict=True):
        price, kwh = tariff.import_eur_per_kwh(market), w * hours / 1000
        prices += price
        if kwh > 0:
            import_kwh += kwh
            paid += kwh * price
        else:
            export_kwh -= kwh
            earned -= kwh * tariff.export_eur_per_kwh(market)
    peaks_w = billed_by_period_w(tariff.demand_terms, account_peaks_w(config, flow.start_utc_s, flow.step_s, grid_w))
    throughput_kwh = sum(map(abs, flow.battery_w)) * hours / 1000
    mean_eur_per_kwh = prices / len(grid_w) if grid_w else 0.0
    return Bill(
        energy_eur=paid - earned,
        peak_eur=sum(peaks_w.values()) / 1000 * tariff.demand_terms.eur_per_kw,
        wear_eur=throughput_kwh * wear_eur_per_kwh(config),
        shed_eur=sum(flow.shed_w) * hours / 1000 * shed_eur_per_kwh,
        stored_eur=stored_worth_eur(config, stored_change_kwh, mean_eur_per_kwh),
        import_kwh=import_kwh,
        export_kwh=export_kwh,
        throughput_kwh=throughput_kwh,
        peaks_w=peaks_w,
    )


def account_peaks_w(config: DispatchConfig, start_utc_s: int, step_s: int, grid_w: Sequence[float]) -> dict[str, float]:
    """Highest mean import of the metering intervals of each account (`IntervalAccount`), W; export earns nothing back.

    A period in which no interval counts has an account of its own name, at 0.
    """
    length_s, terms = config.grid.metering_interval_s, config.tariff.demand_terms
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
