"""The charges of a tariff and their windows: phrases of which a charge is composed, its codes, too."""

from __future__ import annotations

PHRASES = {
    "charge.parts": "{parts:comma}",
    "charge.price": "{price:.10g} {currency}",
    "charge.tiers_part": "[{tiers:comma}] {currency}, each part at the price of its tier,",
    "charge.tiers_whole": "[{tiers:comma}] {currency}, all at the price of the highest tier reached,",
    "charge.tier": "{price:.10g} from {start:g} on",
    "charge.of_day": "of the day",
    "charge.of_month": "of the month",
    "charge.of_year": "of the year",
    "charge.of_rolling_12": "of the last twelve months",
    "charge.of_past_12": "of the twelve months before the month that is billed",
    # energy
    "charge.energy_import": "{price} per kWh imported",
    "charge.energy_import_market": "the market price per kWh imported",
    "charge.energy_import_market_plus": "the market price plus {price} per kWh imported",
    "charge.energy_import_market_less": "the market price less {price} per kWh imported",
    "charge.energy_import_market_times": "{factor:g} times the market price per kWh imported",
    "charge.energy_import_market_times_plus": "{factor:g} times the market price plus {price} per kWh imported",
    "charge.energy_import_market_times_less": "{factor:g} times the market price less {price} per kWh imported",
    "charge.energy_export": "earns {price} per kWh exported",
    "charge.energy_export_market": "earns the market price per kWh exported",
    "charge.energy_export_market_plus": "earns the market price plus {price} per kWh exported",
    "charge.energy_export_market_less": "earns the market price less {price} per kWh exported",
    "charge.energy_export_market_times": "earns {factor:g} times the market price per kWh exported",
    "charge.energy_export_market_times_plus": "earns {factor:g} times the market price plus {price} per kWh exported",
    "charge.energy_export_market_times_less": "earns {factor:g} times the market price less {price} per kWh exported",
    # power
    "charge.max": "{price} per {unit} and {per} on {peak}",
    "charge.max_kvar": (
        "{price} per kvar and {per} on the highest {minutes}-minute reactive power {period} above {free_pct:g} % of "
        "the highest active power"
    ),
    "charge.highest": "the highest {minutes}-minute mean {period}",
    "charge.top_interval": "the mean of the {top} highest {minutes}-minute means {period}",
    "charge.top_day": "the mean of the {top} highest days {period}, of each its highest {minutes}-minute mean",
    "charge.top_week": "the mean of the {top} highest weeks {period}, of each its highest {minutes}-minute mean",
    "charge.top_month": "the mean of the {top} highest months {period}, of each its highest {minutes}-minute mean",
    "charge.excess_max": (
        "{price} per {unit} and {per} on the highest {minutes}-minute mean {period}, as far as it is above "
        "{contract_kw:g} {unit} contracted"
    ),
    "charge.excess_sum": (
        "{price} per {unit} on the sum of what each {minutes}-minute mean {period} is above {contract_kw:g} {unit} "
        "contracted"
    ),
    "charge.excess_root_sum_square": (
        "{price} per {unit} on the root of the sum of squares of what each {minutes}-minute mean {period} is above "
        "{contract_kw:g} {unit} contracted"
    ),
    "charge.excess_hours": (
        "{price} per hour {period} in which the {minutes}-minute mean is above {contract_kw:g} {unit} contracted"
    ),
    "charge.contract": "{price} per {unit} and {per} of {contract_kw:g} {unit} contracted",
    "charge.reactive": "{price} per kvarh above {free_pct:g} % of the active energy imported",
    "charge.reactive_capacitive": "{price} per capacitive kvarh above {free_pct:g} % of the active energy imported",
    "charge.fixed": "{price} per {per}",
    "charge.weights": "months count in part ({weights:comma})",
    "charge.weight": "{month_names:titled} {pct:g} %",
    "charge.set_in": "{month_names:titled} billed by their own peak, other months by the mean of those last past",
    "charge.occurs": "a peak counts as far as {count:g} intervals reached it",
    "charge.peak_floor": "each peak counts as {floor_kw:g} kW at least",
    "charge.floor": "{floor_kw:g} {unit} billed at least",
    "charge.individual": (
        "in its place the peak of the windows {windows}, if lower by {gap_pct:g} % and {gap_kw:g} kW and if it saves "
        "{least_saving:g} at least; never below {floor_pct:g} % of the full charge"
    ),
    "charge.inside": "{windows}",
    "charge.outside": "outside of {windows}",
    "charge.from_date": "from {date} on",
    "charge.to_date": "until {date}",
    "charge.hours_from": "in years with {hours:g} full-load hours or more",
    "charge.hours_below": "in years with fewer than {hours:g} full-load hours",
    "charge.year_from": "years from {date} on",
    "charge.vat": "plus {vat_pct:g} % VAT",
    # windows
    "window.parts": "{parts:comma}",
    "window.names": "{names:titled}",
    "window.days_times": "{names:titled} {time_names:titled}",
    "window.dates": "on {dates}",
    "window.always": "always",
    "window.except": "except {dates}",
    "window.holidays_as_weekday": "holidays as weekdays",
    "window.holidays_outside": "not on holidays",
    "window.holidays_inside": "and on every holiday",
    "window.holidays_as_sunday": "holidays as Sundays",
    "window.no_bridge_days": "not on bridge days",
}
