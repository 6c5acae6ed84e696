"""Sites and inputs for the plan's tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dispatch.billing.market_prices import PriceSeries
from dispatch.config.schema import (
    BatteryConfig,
    DispatchConfig,
    GridConfig,
    PcsRatings,
    PlanConfig,
    ReserveConfig,
    RulesConfig,
    TariffTerms,
)
from dispatch.model.forecast import Forecast
from dispatch.model.reservations import Reservation
from dispatch.planning.inputs import PlanInputs

NOON = int(datetime(2025, 9, 16, 12, tzinfo=UTC).timestamp())


def site(**changes: Any) -> DispatchConfig:
    """100 kWh, 60 kW, 90 % each way, no fees, no reserve, no resting level: what is left is the bare economics."""
    battery = {
        "id": "bat1",
        "energy_kwh": 100.0,
        "soc_min_pct": 10.0,
        "soc_max_pct": 90.0,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.9,
        "wear_eur_per_kwh": 0.01,
    } | changes.pop("battery", {})
    grid = {"fuse_a": 160.0, "contracted_peak_w": 100_000.0, "export_limit_w": 100_000.0} | changes.pop("grid", {})
    tariff = changes.pop("tariff", {})
    return DispatchConfig(
        grid=GridConfig(**grid),
        timezone=changes.pop("timezone", "Europe/Berlin"),
        reserve=ReserveConfig(**changes.pop("reserve", {})),
        batteries=(BatteryConfig(**battery),) if battery["energy_kwh"] else (),
        pcs=(PcsRatings(id="pcs1", battery="bat1", charge_w=60_000, discharge_w=60_000),)
        if battery["energy_kwh"]
        else (),
        rules=RulesConfig(rest_soc_pct=changes.pop("rest_soc_pct", 0.0)),
        plan=PlanConfig(horizon_h=changes.pop("horizon_h", 24.0)),
        tariff=TariffTerms(**tariff),
    )


def hourly(eur_per_mwh: Sequence[float | None], start: int = NOON) -> PriceSeries:
    starts = tuple(start + 3600 * k for k in range(len(eur_per_mwh)))
    return PriceSeries(starts, tuple(eur_per_mwh), start + 3600 * len(eur_per_mwh))


def ask(config: DispatchConfig, prices: PriceSeries, loads_w: Sequence[float], **changes: Any) -> PlanInputs:
    """Inputs at noon, the load given for each quarter (its last value held), SoC at its minimum."""
    now = changes.pop("now_utc_s", NOON)
    first = int(now // 900) * 900
    steps = int(config.plan.horizon_h * 4)
    loads = tuple(loads_w[min(k, len(loads_w) - 1)] for k in range(steps))
    changes.setdefault("soc_pct", 10.0 if config.batteries else None)
    return PlanInputs(now_utc_s=now, config=config, prices=prices, load=Forecast(first, loads, loads, loads), **changes)


def promised(
    start: float = NOON, hours: float = 2.0, power_w: float = 30_000.0, id: str = "r1", name: str = ""
) -> Reservation:
    """A reservation of 30 kW from noon on, unless said otherwise."""
    return Reservation(
        id=id,
        name=name or id,
        power_w=power_w,
        start_utc_s=start,
        end_utc_s=start + 3600 * hours,
        latest_utc_s=start,
        who="tech1",
        given_utc_s=NOON,
    )
