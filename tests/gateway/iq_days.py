"""A record of days for the tests of Energy IQ: one tick a minute, dear evenings, and a battery that does as told."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from dispatch.billing.bill import stored_change_kwh
from dispatch.billing.charges.energy_prices import import_price
from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.equipment import Battery, Meter, Pcs, Pv
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from storage.config import StorageConfig
from storage.recorder import Recorder
from storage.signals import MARKET_PRICE

CONFIG = DispatchConfig(
    grid=GridConfig(fuse_a=160, contracted_peak_w=60_000, export_limit_w=60_000),
    timezone="Europe/Berlin",
    batteries=(BatteryConfig(id="bat1", energy_kwh=100),),
    pcs=(PcsRatings(id="pcs1", battery="bat1", charge_w=60_000, discharge_w=60_000),),
    tariff=TariffTerms(fee_eur_per_kwh=0.03, tax_eur_per_kwh=0.02, vat_pct=19.0, demand_eur_per_kw_month=0.1),
)
LOAD_W, PV_W = 20_000.0, 4_000.0
CHEAP, DEAR = 40.0, 200.0  # EUR/MWh, before and after noon UTC


def trade_w(t_s: int) -> float:
    """Charge a little for two hours at night, sell it for two hours in the evening."""
    hour = t_s % 86_400 / 3600
    return -10_000.0 if 1 <= hour < 3 else 8_000.0 if 17 <= hour < 19 else 0.0


def market(t_s: int) -> float:
    return CHEAP if t_s % 86_400 < 43_200 else DEAR


@dataclass
class Clock:
    """A site clock that stands where it is put."""

    at_s: float = 0.0
    speed: float = 1.0

    def utc_s(self) -> float:
        return self.at_s

    def mono_s(self) -> float:
        return self.at_s - 1.7e9


def record(
    directory: Path,
    begin_s: int,
    end_s: int,
    battery_w: Callable[[int], float] = trade_w,
    *,
    missing: Container[int] = (),
    ordered: Container[int] = (),
    unable: Container[int] = (),
    on_genset: Container[int] = (),
    priced: bool = True,
    with_market: bool = False,
    pv_w: Callable[[int], float | None] | None = None,
    states: dict[str, object] | None = None,
) -> None:
    """Write the minutes that start in [begin, end), but for those missing, through the recorder a gateway uses.

    pv_w: what is read of an inverter that gives PV_W, also while it is silent, None.
    """
    clock = Clock(float(end_s))
    recorder = Recorder(directory, StorageConfig(hot_period_s=60), "boot", clock=clock)
    soc_pct = 50.0
    for n, t_s in enumerate(range(begin_s, end_s, 60)):
        w = battery_w(t_s)
        soc_pct += 100 * stored_change_kwh(CONFIG, 60, [w]) / CONFIG.energy_kwh
        if t_s in missing:
            continue
        snapshot = Snapshot(
            seq=n,
            utc_s=float(t_s),
            mono_s=float(t_s) - 1.7e9,
            grid=Meter("grid", w=reading(LOAD_W - w - (PV_W if pv_w else 0.0))),
            pv=(Pv("pv1", w=reading(pv_w(t_s))),) if pv_w else (),
            pcs=(Pcs("pcs1", w=reading(w)),),
            batteries=(Battery("bat1", soc_pct=reading(soc_pct)),),
        )
        extras: dict[str, float | None] = {
            "decision.able": float(t_s not in unable),
            "decision.ordered": float(t_s in ordered),
            "decision.on_genset": float(t_s in on_genset),
            "soc_pct": soc_pct,
        }
        if priced:
            extras["price.eur_per_kwh"] = import_price(CONFIG.tariff, CONFIG.timezone, t_s, market(t_s))
        if with_market:
            extras[MARKET_PRICE] = market(t_s)
        recorder.put(snapshot, None, extras)
        if n % 500 == 499:
            recorder.flush().result(10)
    for key, value in (states or {}).items():
        recorder.save_state(key, value)
    assert recorder.close()
