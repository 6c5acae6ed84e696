"""What the energy of a job costs beside a plan, worked out by hand."""

from __future__ import annotations

import pytest

from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.orders.refusal import OrderRefused
from dispatch.planning.job_offer import job_energy, offer
from dispatch.planning.power_admission import Grant

T0 = 1_758_024_000


def step(number: int, price: float, grid_w: float, **more: float | bool) -> PlanStep:
    return PlanStep(T0 + 900 * number, price, 0.0, 0.0, 0.0, 0.0, 0.0, grid_w, 50.0, **more)  # type: ignore[arg-type]


PLAN = Plan(
    float(T0),
    900,
    (
        step(0, 0.20, 5_000.0),
        step(1, 0.30, -4_000.0, sell_eur_per_kwh=0.05, curtail_w=1_000.0),
        step(2, 0.40, 5_000.0, assumed=True),
    ),
    30_000.0,
    0.0,
    0.0,
)


@pytest.mark.parametrize(
    ("power_w", "start", "end", "eur", "assumed"),
    [
        (10_000.0, 0, 900, 10 / 4 * 0.20, False),
        # of 10 kW: 1 kW that PV would be limited by, 4 kW that would be sold, 5 kW bought
        (10_000.0, 900, 1800, (4 * 0.05 + 5 * 0.30) / 4, False),
        (3_000.0, 900, 1800, 2 * 0.05 / 4, False),
        (500.0, 900, 1800, 0.0, False),
        (10_000.0, 450, 900, 10 / 8 * 0.20, False),
        (10_000.0, 1800, 2700, 1.0, True),
        (10_000.0, 1800, 2701, None, False),
        (10_000.0, -1, 900, None, False),
    ],
)
def test_energy_is_priced_by_what_the_plan_has_there(
    power_w: float, start: int, end: int, eur: float | None, assumed: bool
) -> None:
    found = job_energy(PLAN, power_w, T0 + start, T0 + end)
    assert (found.eur is None, found.assumed) == (eur is None, assumed)
    if eur is not None:
        assert found.eur == pytest.approx(eur)


def test_the_cost_is_that_of_energy_and_rise() -> None:
    found = offer(Grant(T0, 32_000.0, 2_000.0, 7.0, None), PLAN, T0, 0.0, 10_000.0, 900.0)
    assert (found.start_utc_s, found.rise_eur, found.cost_eur) == (T0, 7.0, pytest.approx(7.5))
    assert offer(Grant(T0, 1.0, 0.0, 0.0, None), None, T0, 0.0, 1.0, 60.0).cost_eur is None
    refused = offer(OrderRefused(Reason("refused.no_power", {"power_w": 0.0})), PLAN, T0, 0.0, 0.0, 60.0)
    assert (refused.start_utc_s, refused.cost_eur, refused.why) == (
        None,
        None,
        Reason("refused.no_power", {"power_w": 0.0}),
    )
