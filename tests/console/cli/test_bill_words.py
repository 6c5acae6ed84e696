"""What `skerry bill` says of quantities, and of exported energy in the utility's file."""

from __future__ import annotations

from decimal import Decimal

import pytest

from console.cli.bill import quantity_text
from console.cli.bill_comparison import exported_comparison
from dispatch.billing.charges.invoice import Line
from dispatch.evaluation.meter_clock import Power
from dispatch.evaluation.meter_comparison import MeterValues

BEGIN = 1_768_345_200
NOTHING = Decimal(0)


@pytest.mark.parametrize(
    ("kind", "quantity", "unit", "text"),
    [
        ("fixed", 0.083333, "year", "1/12 year"),
        ("fixed", 0.084932, "year", "31/365 year"),
        ("fixed", 1.0, "month", "1 month"),
        ("fixed", 31.0, "day", "31 day"),
        ("max", 41.236, "kW", "41.24 kW"),
    ],
)
def test_a_fixed_price_is_for_a_part_of_its_time(kind: str, quantity: float, unit: str, text: str) -> None:
    line = Line(
        charge="a",
        kind=kind,
        period="2026-01",
        quantity=quantity,
        unit=unit,
        price=None,
        net=NOTHING,
        vat=NOTHING,
        gross=NOTHING,
        currency="EUR",
    )
    assert quantity_text(line) == text


def test_exported_energy_is_compared_where_there_is_any() -> None:
    power = Power(start_utc_s=BEGIN, step_s=60, w=[-6000.0 if n // 45 % 2 else 6000.0 for n in range(1440)])
    starts = [BEGIN + 900 * n for n in range(1, 95)]
    sold = [1.8 if n // 3 % 2 else 0.0 for n in range(1, 95)]  # the record has 1.5 kWh in these
    found = exported_comparison(power, MeterValues(interval_s=900, start_utc_s=starts, kwh=sold))
    assert found is not None
    assert found.meter_kwh == pytest.approx(1.2 * found.record_kwh)
    assert found.differing == sum(kwh > 0 for kwh in sold)
    bought = Power(start_utc_s=BEGIN, step_s=60, w=[6000.0] * 1440)
    assert exported_comparison(bought, MeterValues(interval_s=900, start_utc_s=starts, kwh=[0.0] * 94)) is None
