"""A small site and its traces for the replay's tests: three days of past, then what is asked for."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

from console.replay.engine import Case, Replay
from console.replay.traces import Trace
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

PAST_DAYS = 3
FIRST = int(datetime(2025, 9, 13, 22, tzinfo=UTC).timestamp())  # local midnight in Berlin
START = FIRST + PAST_DAYS * 86400
HOURS = 24 * (PAST_DAYS + 3)

CONFIG = DispatchConfig(
    grid=GridConfig(fuse_a=145, contracted_peak_w=40_000, export_limit_w=30_000, meter_delay_max_s=0.0),
    timezone="Europe/Berlin",
    reserve=ReserveConfig(hours=1.0, critical_load_w=10_000),
    batteries=(BatteryConfig(id="bat1", energy_kwh=100),),
    pcs=(PcsRatings(id="pcs1", battery="bat1", charge_w=50_000, discharge_w=50_000),),
    rules=RulesConfig(deadband_w=10),
    plan=PlanConfig(horizon_h=12),
    tariff=TariffTerms(fee_eur_per_kwh=0.05, export_margin_eur_per_kwh=0.005, demand_eur_per_kw_month=10),
)


def load_w() -> list[float]:
    """Quarter hours: 20 kW with the time of day on it, and a job of 25 kW for 75 minutes every seventh hour."""
    quarters = range(4 * HOURS)
    return [20_000 + 3_000 * math.sin(k / 15) + (25_000 if k % 28 < 5 else 0) for k in quarters]


def pv_w() -> list[float]:
    return [max(0.0, 12_000 * math.sin(math.pi * (k % 96 - 24) / 48)) for k in range(4 * HOURS)]


def prices() -> PriceSeries:
    """Hourly, dear in the evening; to the end of the day after the replay's first."""
    values = tuple(80 + 60 * math.sin((k - 12) / 24 * 2 * math.pi) + k % 5 for k in range(HOURS))
    return PriceSeries(tuple(FIRST + 3600 * k for k in range(HOURS)), values, FIRST + 3600 * HOURS)


def a_case(hours: float = 6, step_s: int = 900, **changes: object) -> Case:
    base: dict[str, object] = {
        "config": CONFIG,
        "prices": prices(),
        "load": Trace(FIRST, 900, load_w()),
        "pv": Trace(FIRST, 900, pv_w()),
        "start_s": START,
        "end_s": START + int(hours * 3600),
        "step_s": step_s,
    }
    return Case(**(base | changes))  # type: ignore[arg-type]


def played(case: Case) -> Replay:
    run = Replay(case)
    for _ in run.run():
        pass
    return run


def utc(t_s: int) -> str:
    return f"{datetime.fromtimestamp(t_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_csv(path: Path, column: str, values: list[float], step_s: int = 900, first_s: int = FIRST) -> Path:
    rows = [f"{utc(first_s + step_s * k)},{v:.3f}" for k, v in enumerate(values)]
    path.write_text("\n".join([f"start_utc,{column}", *rows, ""]), encoding="utf-8")
    return path
