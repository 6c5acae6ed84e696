"""Defines the charges of a tariff in the site file: what is billed, on what, when, and at which price.

`[[tariff.window]]` names times; `[[tariff.charge]]` is one line of a price sheet. Several charges hold at once; their
amounts add up. `dispatch.billing.charges` computes with them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Kind = Literal["energy", "max", "excess", "contract", "reactive", "fixed"]
Weight = Annotated[float, Meta(ge=0, le=1000, description="Weight of the month, %.")]
Tier = tuple[float, float]  # from this quantity on, price


class TariffWindow(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """`[[tariff.window]]`: times of the year that charges name. All that is given must hold; local time."""

    id: Annotated[str, Meta(description="Name of the window, which charges refer to.")]
    months: Annotated[tuple[str, ...], Meta(description='Months, such as `"nov-mar"` or `"jul"`. Empty: all.')] = ()
    days: Annotated[
        tuple[str, ...], Meta(description='Days of the week, such as `"mon-fri"` or `"sat"`. Empty: all.')
    ] = ()
    times: Annotated[
        tuple[str, ...], Meta(description='Times of the day, such as `"08:15-11:30"` or `"22:00-06:00"`. Empty: all.')
    ] = ()
    holidays: Annotated[
        Literal["as-weekday", "outside", "inside", "as-sunday"],
        Meta(
            description="Holidays of [tariff] holidays: counted as the weekday they fall on, never inside, always "
            "inside whatever their weekday, or as a Sunday."
        ),
    ] = "as-weekday"
    bridge_days: Annotated[
        Literal["inside", "outside"],
        Meta(description="outside: a working day between a holiday and a weekend or a second holiday is not inside."),
    ] = "inside"
    dates: Annotated[
        tuple[str, ...],
        Meta(description='Only on these dates: `"2026-02-03"`, `"12-24"` each year, or a span `"12-24..01-01"`.'),
    ] = ()
    except_dates: Annotated[tuple[str, ...], Meta(description="Never on these dates, written alike.")] = ()


class IndividualFee(msgspec.Struct, frozen=True, kw_only=True):
    """`[tariff.charge.individual]`: the peak of the high-load windows is billed in place of the period's peak.

    As StromNEV section 19 (2) sentence 1 has it: only if that peak is lower by `gap_pct` of the period's peak and by
    `gap_kw` at least, if it saves `least_saving` at least; and never below `floor_pct` of the charge without it.
    """

    windows: Annotated[tuple[str, ...], Meta(min_length=1, description="The high-load windows.")]
    gap_pct: Annotated[float, Meta(ge=0, le=100, description="Least gap, of the period's peak.")] = 0.0
    gap_kw: Annotated[float, Meta(ge=0, description="Least gap.")] = 0.0
    least_saving: Annotated[float, Meta(ge=0, description="Least saving, in the charge's currency.")] = 0.0
    floor_pct: Annotated[float, Meta(ge=0, le=100, description="Least share of the charge that is billed.")] = 0.0


class MonthWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tariff.charge.month_weight_pct]`: what an interval counts in its month; `month_weight_pct = { jul = 25 }`."""

    jan: Weight = 100.0
    feb: Weight = 100.0
    mar: Weight = 100.0
    apr: Weight = 100.0
    may: Weight = 100.0
    jun: Weight = 100.0
    jul: Weight = 100.0
    aug: Weight = 100.0
    sep: Weight = 100.0
    oct: Weight = 100.0
    nov: Weight = 100.0
    dec: Weight = 100.0


class Charge(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """`[[tariff.charge]]`: one line of a price sheet.

    energy: price per kWh imported (or exported, `flow`); `market_factor` adds so many times the market price.
    max: price per kW (kVA) of the billed peak of a period. excess: price of what is above `contract_kw`.
    contract: price per kW (kVA) of `contract_kw`. reactive: price per kvarh above the free share. fixed: price of a
    period.
    """

    id: Annotated[str, Meta(description="Name of the charge, as the bill shows it.")]
    kind: Annotated[Kind, Meta(description="What is billed.")]
    price: Annotated[float, Meta(description="Price per unit of what is billed; see `price_per`.")] = 0.0
    price_per: (
        Annotated[
            Literal["day", "month", "year"],
            Meta(
                description="Time that `price` is for: a monthly bill takes a twelfth of a yearly price. Not given: "
                "`period`."
            ),
        ]
        | None
    ) = None
    tiers: Annotated[
        tuple[Tier, ...],
        Meta(description="`[[0, 150.0], [200, 130.0]]`: from this quantity on, this price, in place of `price`."),
    ] = ()
    tier_on: Annotated[
        Literal["part", "whole"],
        Meta(
            description="part: each part of the quantity has the price of its tier; whole: all of it has the price of "
            "the highest tier that it reaches."
        ),
    ] = "part"
    market_factor: Annotated[float, Meta(description="Times the market price is part of an energy price.")] = 0.0
    flow: Annotated[Literal["import", "export"], Meta(description="Which energy; exported energy earns its price.")] = (
        "import"
    )
    basis: Annotated[
        Literal["kW", "kVA", "kvar"],
        Meta(
            description="Active or apparent power; kvar, of kind max: reactive power above `free_pct` of the period's "
            "highest active power."
        ),
    ] = "kW"
    windows: Annotated[
        tuple[str, ...], Meta(description="Ids of [[tariff.window]] in which it counts: in any of them. Empty: always.")
    ] = ()
    outside: Annotated[bool, Meta(description="true: it counts outside of these windows.")] = False
    interval_min: (
        Annotated[Literal[5, 10, 15, 30, 60], Meta(description="Interval of means. Not given: the meter's.")] | None
    ) = None
    peaks_of: Annotated[
        Literal["period", "day", "week", "month", "interval"],
        Meta(
            description="The highest interval of each of these is one peak; weeks are ISO weeks. interval: each "
            "interval is a peak of its own."
        ),
    ] = "period"
    top: Annotated[int, Meta(ge=1, le=60, description="Mean of so many highest peaks is billed.")] = 1
    occurs: Annotated[
        int,
        Meta(ge=1, le=10, description="So many intervals must reach a peak. 2: the second highest is billed."),
    ] = 1
    month_weight_pct: MonthWeights | None = None
    set_in: Annotated[
        tuple[str, ...],
        Meta(description="Months whose own peak is billed; any other month is billed the mean of those last past."),
    ] = ()
    excess_by: Annotated[
        Literal["max", "sum", "root-sum-square", "hours"],
        Meta(
            description="How what is above `contract_kw` in each interval becomes one figure: the highest, the sum, "
            "the root of the sum of squares, or the hours above it."
        ),
    ] = "max"
    period: Annotated[
        Literal["day", "month", "year", "rolling-12"],
        Meta(
            description="Time that is billed together. rolling-12: each month, on its peaks and those of 11 months "
            "before."
        ),
    ] = "month"
    past_only: Annotated[
        bool, Meta(description="rolling-12: the twelve months before the month are billed, and not the month itself.")
    ] = False
    year_from: Annotated[str, Meta(description='First day of a billed year, "10-01".')] = "01-01"
    contract_kw: Annotated[float, Meta(ge=0, description="Contracted power, kW or kVA.")] | None = None
    floor_kw: Annotated[float, Meta(ge=0, description="Demand that is billed at least.")] = 0.0
    peak_floor_kw: Annotated[
        float, Meta(ge=0, description="What each peak counts at least, before the mean of them is taken.")
    ] = 0.0
    reactive: Annotated[
        Literal["inductive", "capacitive"],
        Meta(
            description="Which reactive energy a charge of kind reactive is on. Capacitive: only where it is measured."
        ),
    ] = "inductive"
    free_pct: Annotated[
        float,
        Meta(ge=0, description="Reactive energy (power) that is free, as a share of the active that is imported."),
    ] = 0.0
    full_load_h_from: (
        Annotated[
            float, Meta(ge=0, description="Holds in years with so many full-load hours at least (kWh / highest kW).")
        ]
        | None
    ) = None
    full_load_h_below: Annotated[float, Meta(ge=0, description="Holds in years with fewer full-load hours.")] | None = (
        None
    )
    individual: IndividualFee | None = None
    from_date: Annotated[str, Meta(description='First day it holds, "2026-01-01". Empty: always.')] = ""
    to_date: Annotated[str, Meta(description="Last day it holds. Empty: for ever.")] = ""
    currency: Annotated[
        str, Meta(pattern="^([A-Z]{3})?$", description="Currency of its prices. Empty: that of [tariff] currency.")
    ] = ""
    vat_pct: Annotated[float, Meta(ge=0, le=100, description="VAT on it. 0: prices are net, or VAT is got back.")] = 0.0
