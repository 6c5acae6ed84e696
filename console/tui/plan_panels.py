"""The plan in words and figures: its head, one step with its reason and price, a summary, a table of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.display.formats import fetched_text, hour_minute, kw, number, weekday_hour_minute
from console.display.ink import Ink
from console.display.language import rule_name, say, words
from console.display.status_text import battery_direction, old_title, peak_label, state_name
from console.display.viewmodel import Model, soc_reading
from console.display.wrapping import columns, cut, ending, padded, wrap
from console.tui.canvas import Canvas
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import RuleId
from dispatch.planning.plan_totals import plan_totals
from dispatch.planning.step_costs import StepCost

TEXT_ROWS = 5
DONE_W = 500.0  # a battery power this close to the planned one is the planned one
TEXT_WIDTH = 80
NOTE_COLUMN = 58  # of what stands behind a row of figures


def price_published(step: PlanStep, model: Model) -> bool:
    """Whether the price of a step is one that the market has published."""
    ends = model.published.tariff.ends_utc_s if model.published else None
    return ends is not None and step.start_utc_s < ends


def is_now(step: PlanStep, plan: Plan, model: Model) -> bool:
    """Whether this is the step that runs."""
    return model.now_utc_s is not None and 0 <= model.now_utc_s - step.start_utc_s < plan.step_s


def draw_plan_head(canvas: Canvas, plan: Plan, model: Model) -> None:
    """Row 0: when the plan was made; the peak so far and the planned one."""
    peak_w = model.published.month_peak_w if model.published else None
    x = canvas.put(1, 0, say("plan.of", time=weekday_hour_minute(plan.made_utc_s, model.timezone)))
    state = IslandState.GRID_TIED if model.published is None else model.published.decision.island
    if state is not IslandState.GRID_TIED:
        canvas.put(x + 2, 0, cut(say("plan.paused", state=state_name(state)), TEXT_WIDTH - x - 12), Ink.MEDIUM)
    elif model.now_utc_s is not None and plan.at(model.now_utc_s) is None:
        canvas.put(x + 2, 0, say("plan.run_out"), Ink.MEDIUM)
    else:
        peak = say("peak.so_far") if model.published is None else peak_label(model.published)
        parts = [(peak, peak_w, "┄"), (say("plan.planned"), plan.peak_target_w, "·")]
        if (contract_w := model.limit("contracted_peak_w")) is not None:
            parts.append((say("plan.contract"), contract_w, "╌"))
        x = max(21, x + 2)
        for label, watts, line in parts:
            x = canvas.put(x, 0, f"{label} ", Ink.DIM)
            x = canvas.put(x, 0, kw(watts).strip())
            x = canvas.put(x, 0, f" {line}  ", Ink.DIM)
        x = canvas.put(x - 1, 0, "kW", Ink.DIM)
        if x < TEXT_WIDTH - 4:
            canvas.right(TEXT_WIDTH - 1, 0, "← →", Ink.DIM)
    if old := old_title(model):  # the peak so far and what is done now are those of the last snapshot
        canvas.right(TEXT_WIDTH - 1, 0, f" {old}", Ink.MEDIUM)


def draw_step(canvas: Canvas, top: int, step: PlanStep, worth: StepCost, plan: Plan, model: Model) -> None:
    """Five rows: what the step does, why, what it costs, and what it would be without the battery."""
    time = f" {hour_minute(step.start_utc_s, model.timezone)}"
    when = weekday_hour_minute(step.start_utc_s, model.timezone)
    now = "plan.now" if model.past is None else "plan.then"
    canvas.put(1, top, say(now, time=time) if is_now(step, plan, model) else when, Ink.BOLD)
    _figures(
        canvas, 12, top, _padded_direction(step.battery_w), kw(abs(step.battery_w)),
        f"kW  {say('plan.soc')}", number(step.soc_pct, 5), f"%  {say('plan.load')}", kw(step.load_w),
        f"({kw(step.load_low_w)} –{kw(step.load_high_w)})  {say('plan.pv')}", kw(step.pv_w),
    )  # fmt: skip
    for y, line in enumerate(wrap(_reason_text(step, plan, model), TEXT_WIDTH - 13, 2), start=top + 1):
        canvas.put(12, y, line)
    price = number(100 * step.price_eur_per_kwh, 5)
    if step.grid_w < 0:
        _figures(canvas, 1, top + 3, say("plan.at"), price, f"ct/kWh  {say('plan.export')}", kw(-step.grid_w), "kW")
    else:
        energy = _energy(worth.import_w, worth.import_kwh)
        _figures(canvas, 1, top + 3, say("plan.at"), price, f"ct/kWh  {say('plan.import')}", *energy)
        _euro(canvas, top + 3, worth.import_eur)
    if not price_published(step, model):
        canvas.put(NOTE_COLUMN, top + 3, say("plan.not_published"))
    elif step.co2_g_per_kwh is not None:
        canvas.put(NOTE_COLUMN, top + 3, f"{step.co2_g_per_kwh:.0f} g CO2/kWh", Ink.DIM)
    _figures(canvas, 1, top + 4, say("plan.without_battery"), *_energy(worth.bare_import_w, worth.bare_import_kwh))
    _euro(canvas, top + 4, worth.bare_import_eur)
    rate = 0.0 if plan.keep_w else model.demand.rise_eur_per_kw  # several charges: not one figure
    if worth.peak_rise_w:
        cost = f" {worth.peak_rise_w / 1000 * rate:.0f} EUR" if rate else ""
        canvas.put(NOTE_COLUMN, top + 4, say("plan.peak", kw=kw(worth.peak_rise_w).strip(), cost=cost), Ink.BOLD)


def _reason_text(step: PlanStep, plan: Plan, model: Model) -> str:
    """Why a step is as planned; of the one that runs first whether that is done, and if not, what is and why."""
    reason = words(step.reason) or say("plan.no_reason")
    if model.published is None or not is_now(step, plan, model):
        return reason
    decision = model.published.decision
    if decision.island is not IslandState.GRID_TIED:
        return say("plan.not_done_state", state=state_name(decision.island), reason=reason)
    near = decision.battery_w is not None and abs(decision.battery_w - step.battery_w) <= DONE_W
    if near or decision.binding is RuleId.PLAN:
        return say("plan.done_now" if model.past is None else "plan.done_then", reason=reason)
    return say(
        "plan.not_done" if model.past is None else "plan.not_done_then", now=words(decision.reason), reason=reason
    )


def _figures(canvas: Canvas, x: int, y: int, *parts: str) -> int:
    """Words dim, figures plain, a blank between."""
    directions = _directions()
    for part in parts:
        figure = not any(c.isalpha() or c == "%" for c in part) or part.strip() in directions
        x = canvas.put(x, y, part, Ink.PLAIN if figure else Ink.DIM) + 1
    return x


def _directions() -> list[str]:
    return [battery_direction(w) for w in (DONE_W, -DONE_W, 0.0)]


def _padded_direction(w: float) -> str:
    return padded(battery_direction(w), max(map(columns, _directions())))


def _energy(w: float, kwh: float) -> tuple[str, ...]:
    return kw(w), "kW", number(kwh, 6, 2), "kWh"


def _euro(canvas: Canvas, y: int, eur: float) -> None:
    canvas.right(52, y, number(eur, 6, 2))
    canvas.put(53, y, "EUR", Ink.DIM)


def draw_summary(canvas: Canvas, x: int, worths: Sequence[StepCost], plan: Plan, model: Model) -> None:
    """What a wider terminal adds: the whole plan, as planned and without the battery."""
    canvas.put(x, 0, say("plan.the_plan"), Ink.DIM)
    for y, (label, text) in enumerate(_summary_rows(plan, model), start=1):
        canvas.put(x, y, label, Ink.DIM)
        canvas.put(x + 18, y, text)
    canvas.right(x + 28, 5, say("plan.head_planned"), Ink.DIM)
    canvas.right(x + 38, 5, say("plan.head_without"), Ink.DIM)
    compared = list(_comparison_rows(worths, plan, model))
    for y, (label, planned, bare) in enumerate(compared, start=6):
        canvas.put(x, y, label, Ink.DIM)
        canvas.right(x + 28, y, planned)
        canvas.right(x + 38, y, bare)
    texts = (plan.pv_source, plan.month_end, plan.note)
    said = [line for of in texts if of for line in wrap(words(of), canvas.width - x - 1, 4)]
    for y, line in enumerate(said, start=6 + len(compared)):
        canvas.put(x, y, line, Ink.DIM)


def _summary_rows(plan: Plan, model: Model) -> Iterator[tuple[str, str]]:
    """Label and text: until when the plan goes and its prices are published, how long it took."""
    ends_utc_s = model.published.tariff.ends_utc_s if model.published else None
    last_utc_s = plan.steps[-1].start_utc_s + plan.step_s
    yield say("plan.until"), weekday_hour_minute(last_utc_s, model.timezone)
    if ends_utc_s is None:
        yield say("plan.published"), say("plan.none")
    elif ends_utc_s >= last_utc_s:
        yield say("plan.published"), say("plan.all")
    else:
        yield say("plan.published"), say("plan.to", time=weekday_hour_minute(ends_utc_s, model.timezone))
    if model.published is not None and model.published.tariff.source:
        tariff = model.published.tariff
        yield (
            say("plan.prices_from"),
            fetched_text(tariff.source, tariff.fetched_utc_s, model.published.snapshot.utc_s, model.timezone),
        )
    yield say("plan.solved_in"), f"{plan.solve_ms:.0f} ms"


def _comparison_rows(worths: Sequence[StepCost], plan: Plan, model: Model) -> Iterator[tuple[str, str, str]]:
    """Label, as planned, without the battery."""
    whole = worths[1:]  # the step that runs is only the rest of one: its power is no mean of a whole step
    totals = plan_totals(plan)
    yield say("plan.import_kwh"), *_pair(totals.import_kwh, totals.bare_import_kwh, 1)
    yield say("plan.import_eur"), *_pair(totals.import_eur, totals.bare_import_eur, 2)
    yield say("plan.other_eur"), number(totals.other_eur + 0.0, 9, 2), ""
    if any(step.co2_g_per_kwh is not None for step in plan.steps):
        grams = [step.co2_g_per_kwh or 0.0 for step in plan.steps]
        planned_kg = sum(g * w.import_kwh for g, w in zip(grams, worths, strict=True)) / 1000
        bare_kg = sum(g * w.bare_import_kwh for g, w in zip(grams, worths, strict=True)) / 1000
        yield say("plan.co2"), *_pair(planned_kg, bare_kg, 1)
    highest_w = max((w.import_w for w in whole), default=0.0)
    yield say("plan.highest"), *_pair(highest_w / 1000, max((w.bare_import_w for w in whole), default=0.0) / 1000, 1)
    yield say("plan.soc_at_end"), *_pair(plan.steps[-1].soc_pct, soc_reading(model).good, 1)
    if model.welcome is not None and not plan.keep_w:  # what a kW costs there is not one figure
        rise_w = max((w.peak_rise_w for w in worths), default=0.0)
        yield say("plan.peak_more"), "", number(rise_w / 1000 * model.demand.rise_eur_per_kw, 9, 0)


def _pair(planned: float, bare: float | None, digits: int) -> tuple[str, str]:
    return number(planned, 9, digits), number(bare, 9, digits)


def draw_table(canvas: Canvas, top: int, plan: Plan, cursor: int, model: Model) -> None:
    """What a taller terminal adds: a row for each step around the cursor's, which is in reverse."""
    canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
    _draw_table_head(canvas, top + 1)
    room = canvas.height - top - 2
    first = max(0, min(cursor - room // 2, len(plan.steps) - room))
    for y, step in enumerate(plan.steps[first : first + room], start=top + 2):
        figures = (
            padded(weekday_hour_minute(step.start_utc_s, model.timezone), 10),
            number(100 * step.price_eur_per_kwh, 6),
            f"{' ' if price_published(step, model) else '?'}{kw(step.load_w)}  {kw(step.pv_w)}",
            f"{ending(battery_direction(step.battery_w), 10)} {kw(abs(step.battery_w))}  {kw(step.grid_w, 6)}",
            number(step.soc_pct, 6),
        )
        x = canvas.put(1, y, " ".join(figures))
        canvas.put(x + 2, y, cut(words(step.reason), canvas.width - x - 3))
        if first + y - top - 2 == cursor:
            canvas.fill(y, Ink.REVERSE)


def _draw_table_head(canvas: Canvas, y: int) -> None:
    """The columns' names, each ending where its figures do."""
    ends = (("plan.head_price", 18), ("plan.head_load", 25), ("plan.pv", 32), ("plan.head_battery", 47))
    for code, end in (*ends, ("plan.head_import", 55), ("plan.head_soc", 62)):
        canvas.right(end, y, say(code), Ink.DIM)
    canvas.put(64, y, say("plan.head_reason"), Ink.DIM)


def draw_no_plan(canvas: Canvas, model: Model) -> None:
    """That there is none, why, and what steers instead."""
    if model.published is None:
        canvas.put(1, 0, say("list.nothing_then" if model.past else "list.nothing_yet"), Ink.DIM)
        return
    reason = model.no_plan or say("plan.not_in_force")
    lines = wrap(reason[:1].upper() + reason[1:], canvas.width - 2, 4)
    for y, line in enumerate(lines):
        canvas.put(1, y, line)
    y = len(lines) + 1
    canvas.put(1, y, say("plan.steers_now" if model.past is None else "plan.steered"), Ink.DIM)
    canvas.put(13, y, rule_name(model.published.decision.binding))
    event = next((e for e in reversed(model.events) if e.kind == "plan"), None)
    if event is not None:
        canvas.put(1, y + 2, say("plan.last_said"), Ink.DIM)
        text = f"{weekday_hour_minute(event.utc_s, model.timezone)} {event.text}"
        for row, line in enumerate(wrap(text, canvas.width - 14, 4), start=y + 2):
            canvas.put(13, row, line)
