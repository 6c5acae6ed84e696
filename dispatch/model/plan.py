"""Defines the plan: the next hours in steps, each with its reason. Signs and units as in `dispatch.model.snapshot`."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason

NEAR_W = 50.0  # two powers this close are the same to a reader, W


class PlanStep(msgspec.Struct, frozen=True):
    """One step of the plan, from `start_utc_s` for `Plan.step_s`. Powers are means over the step."""

    start_utc_s: int
    price_eur_per_kwh: float  # what an imported kWh costs in this step, all included
    load_w: float
    load_low_w: float  # band 90 %
    load_high_w: float
    pv_w: float  # as forecast: what the sun lets it give
    battery_w: float  # all PCS together, > 0 discharges
    grid_w: float  # load_w - pv_w + curtail_w - battery_w
    soc_pct: float  # at the end of the step
    reason: Reason | None = None
    assumed: bool = False  # the price is not published: a mean of past days, or flat
    order: str = ""  # id of the manual order that has the battery in it; once that is over, the step is not followed
    co2_g_per_kwh: float | None = None  # of an imported kWh; None: not told
    curtail_w: float = 0.0  # what PV is limited by
    sell_eur_per_kwh: float | None = None  # what an exported kWh earns; < 0: it costs; None: not told


class Plan(msgspec.Struct, frozen=True):
    """The next hours in steps, keyed by UTC instants. Bands and preferences for the rules; never an order."""

    made_utc_s: float
    step_s: int
    steps: tuple[PlanStep, ...]
    peak_target_w: float  # the import, as metering-interval mean, that the plan means to keep
    cost_eur: float
    solve_ms: float
    targets_w: dict[str, float] = {}  # the same of each charge on peaks, where charges are listed
    keep_w: tuple[float | None, ...] = ()  # where charges are listed: the import to keep in each step; None: no charge
    note: Reason | None = None  # what must be said of it as a whole; several are one of the code `several`
    pv_source: Reason | None = None  # what its PV is made from, where the site file says how the panels look
    month_end: Reason | None = None  # where the month's billed peak is expected to end, and from what that follows
    co2_eur_per_tonne: float = 0.0  # the price of CO2 that the plan counts with beside `cost_eur`; never billed
    co2_eur: float = 0.0  # what that comes to: of the import, less what the change in stored energy is worth

    def at(self, utc_s: float) -> PlanStep | None:
        """The step that holds `utc_s`, or None outside the plan."""
        if not self.steps:
            return None
        index = int((utc_s - self.steps[0].start_utc_s) // self.step_s)
        return self.steps[index] if 0 <= index < len(self.steps) else None
