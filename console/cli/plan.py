"""`skerry plan`: shows the plan in force by hour or by quarter hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo

import click
import msgspec

from console.cli.data_source import gateway
from console.cli.json_output import json_text, with_words
from console.cli.line_formats import labelled
from console.display.formats import hour_minute, hour_minute_zone, weekday_hour_minute
from console.display.language import say, words
from console.display.wrapping import ending, padded
from console.language_option import language_option
from console.value_parsers import json_option, site_option
from dispatch.model.plan import NEAR_W, Plan, PlanStep
from dispatch.planning.plan_totals import plan_totals
from dispatch.planning.step_costs import hours
from dispatch.wording.formatting import kw, kw_column

LEAST_H = 1 / 3600  # a step that was over when the plan was made


COLUMNS = ("load", "band", "pv", "battery", "grid", "soc", "reason")  # of the table, behind the price


@click.command()
@click.option(
    "--by", type=click.Choice(["hour", "quarter"]), default="hour", show_default=True, help="Time span of a row."
)
@language_option
@site_option
@json_option
def plan(by: str, site: str | None, as_json: bool) -> None:
    """Show the plan in force: price, load with its 90 % band, PV, battery, import, SoC, and the reason of each row.

    Battery > 0 discharges; grid > 0 imports; SoC is that at the end of the row. The reason of an hour is that of the
    step with the highest battery power. The JSON document has every step.
    """
    with gateway(site) as source:
        raw, zone = source.link.request("plan"), source.zone
    if as_json:
        click.echo(json_text(with_words(raw)))
        return
    for line in lines(msgspec.convert(raw, Plan), zone, by):
        click.echo(line)


def _head(plan: Plan) -> str:
    """The target is that of now: where a window begins or an excess is bought, later hours have another."""
    later = any(step.grid_w > plan.peak_target_w + NEAR_W for step in plan.steps)
    return "plan_text.head_now" if later else "plan_text.head"


def lines(plan: Plan, zone: tzinfo, by: str) -> Iterator[str]:
    """The plan as text."""
    made, cost, ms = hour_minute_zone(plan.made_utc_s, zone), f"{plan.cost_eur:.2f}", f"{plan.solve_ms:.0f}"
    yield say(_head(plan), time=made, kw=kw(plan.peak_target_w), eur=cost, ms=ms)
    totals = plan_totals(plan)
    sums = {"kwh": f"{totals.import_kwh:.1f}", "eur": f"{totals.import_eur:.2f}"}
    bare = {"bare_kwh": f"{totals.bare_import_kwh:.1f}", "bare_eur": f"{totals.bare_import_eur:.2f}"}
    other = f"{totals.other_eur + 0.0:.2f}"
    yield labelled("plan_text.sums", say("plan_text.import", other_eur=other, **sums, **bare))
    if plan.co2_eur_per_tonne:
        yield say("plan_text.co2", rate=f"{plan.co2_eur_per_tonne:g}", eur=f"{plan.co2_eur:.2f}")
    if plan.pv_source:
        yield labelled("plan_text.forecast", words(plan.pv_source))
    if plan.month_end:
        yield labelled("plan_text.peak", words(plan.month_end))
    if plan.note:
        yield labelled("plan_text.note", words(plan.note))
    if any(step.assumed for step in plan.steps):
        yield f"{'~':<9} {say('plan_text.assumed')}"
    yield ""
    yield _row("", "ct/kWh", *(say(f"plan_text.{name}") for name in COLUMNS))
    for row in rows(plan, zone, by):
        yield _row(*_cells(plan, row, zone))


def rows(plan: Plan, zone: tzinfo, by: str) -> list[tuple[PlanStep, ...]]:
    """The steps of each row: one, or those of one hour of the site's clock."""
    result: list[list[PlanStep]] = []
    last = None
    for step in plan.steps:
        at = datetime.fromtimestamp(step.start_utc_s, zone)
        hour = (at.date(), at.hour, at.utcoffset())
        if by == "quarter" or hour != last:
            result.append([])
        result[-1].append(step)
        last = hour
    return [tuple(row) for row in result]


def _cells(plan: Plan, steps: Sequence[PlanStep], zone: tzinfo) -> tuple[str, ...]:
    """One row of the table. Powers and prices are means over what the steps count for, SoC that at the end."""
    first_utc_s = plan.steps[0].start_utc_s
    spans_h = {step: max(hours(plan, (step.start_utc_s - first_utc_s) // plan.step_s), LEAST_H) for step in steps}

    def mean(name: str) -> float:
        return sum(float(getattr(step, name)) * span_h for step, span_h in spans_h.items()) / sum(spans_h.values())

    return (
        weekday_hour_minute(steps[0].start_utc_s, zone),
        f"{'~' if any(step.assumed for step in steps) else ''}{100 * mean('price_eur_per_kwh') + 0.0:.1f}",
        kw_column(mean("load_w")),
        f"{kw_column(mean('load_low_w'))} – {kw_column(mean('load_high_w'))}",
        kw_column(mean("pv_w")),
        kw_column(mean("battery_w")),
        kw_column(mean("grid_w")),
        f"{steps[-1].soc_pct:.1f}",
        _reason(steps, spans_h, zone),
    )


def _reason(steps: Sequence[PlanStep], spans_h: Mapping[PlanStep, float], zone: tzinfo) -> str:
    """Why the step that moves most energy does; its time and power where the row shows a mean of several powers."""
    most = max(steps, key=lambda step: abs(step.battery_w) * spans_h[step])
    if not most.reason or all(abs(step.battery_w - most.battery_w) < NEAR_W for step in steps):
        return words(most.reason)
    return f"{hour_minute(most.start_utc_s, zone)} {kw(most.battery_w)}: {words(most.reason)}"


def _row(when: str, price: str, load: str, band: str, pv: str, battery: str, grid: str, soc: str, reason: str) -> str:
    figures = ((price, 7), (load, 8), (band, 14), (pv, 7), (battery, 10), (grid, 8), (soc, 6))
    return f"{padded(when, 9)} {' '.join(ending(text, width) for text, width in figures)}  {reason}".rstrip()
