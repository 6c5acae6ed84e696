"""Why the steps of a plan are as they are."""

from __future__ import annotations

TEMPLATES = {
    "time.today": "{local:clock}",
    "time.day": "{local:weekday} {local:clock}",
    "peak.planned": "planned peak",
    "peak.planned_by": "planned peak of {charge}",
    "peak.contracted": "contracted peak",
    "peak.free_today": "day's free peak",
    "peak.month": "month's peak",
    "peak.charge": "peak free by {charge}",
    "peak.year": "year's peak",
    "assumed.past_days": "from past days",
    "assumed.no_price": "as no price is known",
    "assumed.it": ", assumed {source}",
    "assumed.one": ", {price_eur_per_kwh:cents} assumed {source}",
    "assumed.both": ", both assumed {source}",
    "risk.fuse": "fuse {fuse_w:kw} at risk at {at}",
    "risk.limit": "{by} at {at}: import at most {limit_w:kw}",
    "risk.reservation": "reservation {reservation} at {at}",
    "risk.peak": "{peak} {peak_w:kw} at risk at {at}",
    "step.no_battery": "no battery",
    # charging
    "step.pv_surplus": "PV surplus",
    "step.import_paid": "import is paid, {price_eur_per_kwh:cents} ct/kWh{assumed}",
    "step.held_to_peak": ", held to the peak",
    "step.to_reserve": "back to the reserve, SoC {reserve_pct:.0f} %{held}",
    "step.charge_for_risk": "{risk}{held}",
    "step.next_pulse": "{peak} {peak_w:kw} at risk when the next pulse comes{held}",
    "step.charge_for_price": (
        "price {price_eur_per_kwh:cents} → {later_eur_per_kwh:cents} ct/kWh at {at}{assumed}{held}"
    ),
    "step.charge_for_later": ("{price_eur_per_kwh:cents} ct/kWh{assumed}, energy for what comes after the plan{held}"),
    # discharging
    "step.within_fuse": "keeps import within the fuse, {fuse_w:kw}",
    "step.below_limit": "keeps import at {limit_w:kw} or less: {by}",
    "step.below_peak": "keeps import below the {peak} {peak_w:kw}",
    "step.below_peak_reserved": "keeps import below the {peak} {peak_w:kw}: reservation {reservation} since {since}",
    "step.export": "export earns {price_eur_per_kwh:cents} ct/kWh{assumed}",
    "step.cheaper_later": "{price_eur_per_kwh:cents} ct/kWh, {later_eur_per_kwh:cents} at {at}{assumed}",
    "step.dear_now": "{price_eur_per_kwh:cents} ct/kWh is above what stored energy is worth later{assumed}",
    # holding
    "step.kept_for_risk": "kept: {risk}",
    "step.kept_for_price": (
        "kept for {at}, {later_eur_per_kwh:cents} ct/kWh against {price_eur_per_kwh:cents}{assumed}"
    ),
    "step.charge_later": (
        "{price_eur_per_kwh:cents} ct/kWh, cheaper to charge at {at}, {later_eur_per_kwh:cents}{assumed}"
    ),
    "step.at_reserve": "at the reserve, SoC {reserve_pct:.0f} %",
    "step.full": "battery full",
    "step.balance_charge": "to {mark_pct:.0f} % so that the BMS balances the cells; {last}",
    "step.balance_hold": "held at {mark_pct:.0f} % or above so that the BMS balances the cells; {last}",
    "balance.last": "last full {last_local:date_clock}",
    "balance.never": "not seen full yet",
    "step.nothing_pays": "no price difference pays for losses and wear",
    # what a step cannot keep
    "step.over_fuse": "{step}; import {import_w:kw} exceeds the fuse {fuse_w:kw}",
    "step.over_contract": "{step}; import {import_w:kw} exceeds the contract {contract_w:kw}",
    "step.over_export": "{step}; export {export_w:kw} exceeds the limit {limit_w:kw}",
    "step.curtailed": "{step}; PV is limited by {curtail_w:kw}, {why}",
    "curtailed.price": "as export earns {price_eur_per_kwh:cents} ct/kWh{assumed}",
    "curtailed.production": "as the grid operator allows it {limit_w:kw}",
    "curtailed.export": "as export is limited to {limit_w:kw}",
    # why there is no plan
    "no_plan.none": "no plan is in force, the rules steer alone: {why}",
    "no_plan.switched_off": "planning is switched off, [plan] enabled = false",
    "no_plan.no_battery": "the site has no battery to plan for",
    "no_plan.first": "the first one waits for good readings of SoC, load and PV",
    "no_plan.solver": "{error}",
    "no_plan.not_finite": "{name} holds {found}: expected finite numbers",
    "no_plan.no_soc": "SoC unknown: no battery answers; a plan needs to know what is stored",
    "no_plan.no_load": "the load forecast is empty or its band has another length: no plan without a load",
    "no_plan.forecast_start": (
        "the load forecast starts at {start_utc_s:.0f}: expected the quarter of {expected_utc_s:.0f}"
    ),
    "no_plan.clock": "the time is not known, so neither are prices and load ahead",
    "no_plan.unknown": "{missing} not known",
    "no_plan.late": "not within {deadline_s:g} s",
    "no_plan.hangs": "{error}",
    "no_plan.refused": "refused by its check: {found}",
    # why there is no Energy IQ
    "iq.no_battery": "the site has no battery",
    "iq.no_record": "nothing of it is on record with load, battery and SoC",
    "iq.short_record": "only {known_h:g} h of it are on record, {needed_h:g} h are needed",
    "iq.too_little": ("too little was to be had: perfect foresight {possible_eur:.2f} of {total_eur:.2f} EUR"),
    # the plan as a whole
    "load.band": (
        "load band: from past errors for {calibrated:g} of {horizons:g} horizons, else from the load's range"
    ),
    "load.held": "no quarter hour observed yet: present load held",
    "load.young": "less than a day on record: the forecast goes to {usual_w:kw} within hours",
    "load.unknown": "no load known: 0 W assumed",
    "plan.load_ends": "load forecast ends {steps:g} steps early: its last value held",
    "plan.pv_unknown": "PV is not known: load taken as net load and the PV of recent days",
    "pv_source.sun": "PV by the sun and its recent days",
    "pv_source.service": "PV by {service}, {age_s:span} old, and its recent hours",
    "pv_source.trouble": "PV by the sun; today {share_pct:.0f} % of a clear sky: snow, shade or a fault",
    "pv.no_yield": "gives {share_pct:.0f} % of what a clear sky allows since {since}: snow, shade or a fault",
    "pv.yields_again": "gives power again",
    "month_end.between": (
        "{period} expected to be billed at {low_w:kw} to {high_w:kw}{of}, about four times of five: {evidence}"
    ),
    "month_end.at": "{period} expected to be billed at {high_w:kw}{of}, about four times of five: {evidence}",
    "month_end.unknown": (
        "{period} to be billed{of}: no earlier one is known, on record or by billed_peaks_kw; {days}"
    ),
    "month_end.month": "month",
    "month_end.year": "year",
    "month_end.charge": " by {charge}",
    "month_end.billed_one": "{period} was billed {peak_w:kw}",
    "month_end.billed": "{count:g} earlier ones, {first} to {last}, were billed {low_w:kw} to {high_w:kw}",
    "month_end.before_battery": "{count:g} of them before the battery",
    "month_end.days": "the last {days:.0f} days could have been held at {usual_w:kw}",
    "month_end.announced_one": (
        "{job}, announced from {begin_local:date_clock}, needs at least {least_w:kw}: "
        "what is reserved beside the lowest net load of these days"
    ),
    "month_end.announced": (
        "{jobs:g} announced jobs, {job} first, from {begin_local:date_clock}, need at least {least_w:kw}: "
        "what is reserved beside the lowest net load of these days"
    ),
    "billed.not_over": "billed_peaks_kw: {period} is not over: not counted",
    "plan.unlimited_jobs": "{jobs:g} jobs without a time limit: taken to end within {days:g} days",
    "plan.no_prices": "no prices: flat {flat_eur_per_mwh:g} EUR/MWh assumed, the plan only defends the peak",
    "plan.beyond_market": (
        "prices from {least_eur_per_mwh:g} to {most_eur_per_mwh:g} EUR/MWh, "
        "the market's limits are {low_eur_per_mwh:g} and {high_eur_per_mwh:g}: taken as they are"
    ),
    "plan.prices_end": "{known}: for {steps:g} steps the mean of the same hour on known days",
    "prices.until_day": "prices known until {local:weekday} {local:clock}",
    "prices.until_date": "prices known until {local:date_clock}",
    "prices.none_now": "no price for now, {known}",
    "plan.reserve": (
        "the reserve of {reserve_wh:whole_kwh} needs SoC {need_pct:.0f} %, soc_max is {full_pct:g} %: kept full"
    ),
    "plan.over_production": "PV is forecast up to {over_w:kw} above what is allowed: {pv}",
    "plan.over_export": "export is planned up to {over_w:kw} above its limit: the battery can take no more, and {pv}",
    "pv.not_limited": "no PV inverter has `curtail = true`",
    "pv.limited_already": "those with `curtail = true` are limited as far as they can be",
    "plan.ageing": (
        "ageing counts {least_eur_per_kwh:cents} to {most_eur_per_kwh:cents} ct per kWh taken out, by depth of cycle"
    ),
    "plan.balance": "balancing charge: at {mark_pct:.0f} % from {full_local:weekday} {full_local:clock}, {last}",
    "plan.balance_not": (
        "no balancing charge: within {hours:g} h it is not full without a higher peak, or an order or signal is in the "
        "way; {last}"
    ),
    "plan.over_fuse": "import exceeds the fuse by up to {over_w:kw}: the battery cannot hold the forecast load",
    # under a manual order
    "step.ordered": "order {order} of {who}, {asked}, has the battery until {until_local:clock}",
    "step.ordered_held_at_0": "{order}; held at 0 kW by {rule:rule}",
    "step.ordered_held": "{order}; held to {battery_w:action} by {rule:rule}",
}
