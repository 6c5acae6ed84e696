"""The plan in words and figures: its head, one quarter with its reason and price, the whole beside and below."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import kw, local, number
from console.display.ink import Ink
from console.display.status_text import battery_word
from console.display.viewmodel import Model, soc_pct
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from dispatch.model.plan import Plan, PlanStep
from dispatch.planning.step_costs import Worth

TEXT_ROWS = 5
TEXT_WIDTH = 80
TAIL = 58  # column of what is said behind a row of figures
TABLE_HEAD = "           ct/kWh   load     PV        battery  import  SoC %  Reason"


def day_time(utc_s: float, timezone: str) -> str:
    """Tue 18:15 at the site."""
    return f"{local(utc_s, timezone):%a %H:%M}"


def published(step: PlanStep, model: Model) -> bool:
    """Whether the price of a step is one that the market has published."""
    ends = model.published.tariff.ends_utc_s if model.published else None
    return ends is not None and step.start_utc_s < ends


def is_now(step: PlanStep, plan: Plan, model: Model) -> bool:
    """Whether a step is the one that runs."""
    return model.now_utc_s is not None and 0 <= model.now_utc_s - step.start_utc_s < plan.step_s


def draw_head(canvas: Canvas, plan: Plan, model: Model) -> None:
    """Row 0: of when the plan is, until when; the peak so far and the one it means to keep."""
    peak_w = model.published.month_peak_w if model.published else None
    x = canvas.put(1, 0, f"Plan of {day_time(plan.made_utc_s, model.timezone)}")
    if model.now_utc_s is not None and plan.at(model.now_utc_s) is None:
        canvas.put(x + 2, 0, "it has run out: the rules steer alone", Ink.MEDIUM)
    else:
        bound = model.published is not None and model.published.month_unmeasured_s >= 1
        peak = "peak at least" if bound else "peak so far"
        _figures(canvas, 21, 0, peak, kw(peak_w), "kW ┄  planned peak", kw(plan.peak_target_w), "kW ·")
    canvas.right(TEXT_WIDTH - 1, 0, "← → [ ]", Ink.DIM)


def draw_step(canvas: Canvas, top: int, step: PlanStep, worth: Worth, plan: Plan, model: Model) -> None:
    """Five rows: what the step does, why, what it costs, and what it would be without the battery."""
    when = day_time(step.start_utc_s, model.timezone)
    canvas.put(1, top, f"now{when[3:]}" if is_now(step, plan, model) else when, Ink.BOLD)
    _figures(
        canvas, 12, top, f"{battery_word(step.battery_w):<9}", kw(abs(step.battery_w)), "kW  SoC",
        number(step.soc_pct, 5), "%  load", kw(step.load_w), f"({kw(step.load_low_w)} –{kw(step.load_high_w)})  PV",
        kw(step.pv_w),
    )  # fmt: skip
    for y, line in enumerate(wrap(step.reason or "the plan gives no reason", TEXT_WIDTH - 13, 2), start=top + 1):
        canvas.put(12, y, line)
    price = number(100 * step.price_eur_per_kwh, 5)
    if step.grid_w < 0:
        _figures(canvas, 1, top + 3, "at", price, "ct/kWh  export", kw(-step.grid_w), "kW")
    else:
        _figures(canvas, 1, top + 3, "at", price, "ct/kWh  import", *_bill(worth.import_w, worth.import_kwh))
        _euro(canvas, top + 3, worth.import_eur)
    if not published(step, model):
        canvas.put(TAIL, top + 3, "price not published")
    _figures(canvas, 1, top + 4, "without battery  import", *_bill(worth.bare_import_w, worth.bare_import_kwh))
    _euro(canvas, top + 4, worth.bare_import_eur)
    rate = model.demand.rise_eur_per_kw
    if worth.peak_rise_w:
        cost = f" {worth.peak_rise_w / 1000 * rate:.0f} EUR" if rate else ""
        canvas.put(TAIL, top + 4, f"peak +{kw(worth.peak_rise_w).strip()} kW{cost}", Ink.BOLD)


def _figures(canvas: Canvas, x: int, y: int, *parts: str) -> int:
    """Words dim, figures plain, a blank between."""
    for part in parts:
        figure = not any(c.isalpha() or c == "%" for c in part) or part.strip() in ("discharge", "charge", "idle")
        x = canvas.put(x, y, part, Ink.PLAIN if figure else Ink.DIM) + 1
    return x


def _bill(w: float, kwh: float) -> tuple[str, ...]:
    return kw(w), "kW", number(kwh, 6, 2), "kWh"


def _euro(canvas: Canvas, y: int, eur: float) -> None:
    canvas.right(52, y, number(eur, 6, 2))
    canvas.put(53, y, "EUR", Ink.DIM)


def draw_side(canvas: Canvas, x: int, worths: Sequence[Worth], plan: Plan, model: Model) -> None:
    """What a wider terminal adds: the whole plan, as planned and without the battery."""
    zone, width = model.timezone, canvas.width - x - 1
    ends = model.published.tariff.ends_utc_s if model.published else None
    last = plan.steps[-1].start_utc_s + plan.step_s
    rows = (
        ("until", day_time(last, zone)),
        ("prices published", "none" if ends is None else "all of it" if ends >= last else f"to {day_time(ends, zone)}"),
        ("solved in", f"{plan.solve_ms:.0f} ms"),
    )
    canvas.put(x, 0, "The plan", Ink.DIM)
    for y, (label, value) in enumerate(rows, start=1):
        canvas.put(x, y, label, Ink.DIM)
        canvas.put(x + 18, y, value)
    canvas.put(x, 5, "                     planned   without", Ink.DIM)
    rise_w = max((w.peak_rise_w for w in worths), default=0.0)
    table = (
        ("import kWh", sum(w.import_kwh for w in worths), sum(w.bare_import_kwh for w in worths), 1),
        ("energy EUR", sum(w.import_eur for w in worths), sum(w.bare_import_eur for w in worths), 2),
        (
            "highest kW",
            max((w.import_w for w in worths[1:]), default=0.0) / 1000,  # the running step is a rest, not a mean
            max((w.bare_import_w for w in worths[1:]), default=0.0) / 1000,
            1,
        ),
    )
    for y, (label, planned, bare, digits) in enumerate(table, start=6):
        canvas.put(x, y, label, Ink.DIM)
        canvas.right(x + 28, y, number(planned, 9, digits))
        canvas.right(x + 38, y, number(bare, 9, digits))
    canvas.put(x, 9, "SoC at its end %", Ink.DIM)
    canvas.right(x + 28, 9, number(plan.steps[-1].soc_pct, 9))
    canvas.right(x + 38, 9, number(soc_pct(model.published) if model.published else None, 9))
    rate = model.demand.rise_eur_per_kw
    if model.welcome is not None:
        canvas.put(x, 10, "peak EUR more", Ink.DIM)
        canvas.right(x + 38, 10, number(rise_w / 1000 * rate, 9, 0))
    if plan.note:
        for y, line in enumerate(wrap(plan.note, width, 4), start=12):
            canvas.put(x, y, line, Ink.DIM)


def draw_table(canvas: Canvas, top: int, plan: Plan, cursor: int, model: Model) -> None:
    """What a taller terminal adds: a row for each step around the cursor's, which is in reverse."""
    canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
    canvas.put(1, top + 1, TABLE_HEAD, Ink.DIM)
    room = canvas.height - top - 2
    first = max(0, min(cursor - room // 2, len(plan.steps) - room))
    for y, step in enumerate(plan.steps[first : first + room], start=top + 2):
        figures = (
            f"{day_time(step.start_utc_s, model.timezone)}  {number(100 * step.price_eur_per_kwh, 6)}",
            f"{' ' if published(step, model) else '?'}{kw(step.load_w)}  {kw(step.pv_w)}",
            f"{battery_word(step.battery_w):>10} {kw(abs(step.battery_w))}  {kw(step.grid_w, 6)}",
            number(step.soc_pct, 6),
        )
        x = canvas.put(1, y, " ".join(figures))
        canvas.put(x + 2, y, cut(step.reason, canvas.width - x - 3))
        if first + y - top - 2 == cursor:
            canvas.fill(y, Ink.REVERSE)


def draw_no_plan(canvas: Canvas, model: Model) -> None:
    """That there is none, why, and what steers instead."""
    if model.published is None:
        canvas.put(1, 0, "nothing has arrived yet", Ink.DIM)
        return
    y = 0
    told = model.no_plan or "no plan is in force, the rules steer alone"
    for y, line in enumerate(wrap(told[:1].upper() + told[1:], canvas.width - 2, 4)):
        canvas.put(1, y, line)
    y += 2
    decision = model.published.decision
    canvas.put(1, y, "Steers now", Ink.DIM)
    canvas.put(13, y, decision.binding or "nothing")
    trouble = next((e for e in reversed(model.events) if e.kind == "plan"), None)
    if trouble is not None:
        canvas.put(1, y + 2, "Last said", Ink.DIM)
        text = f"{day_time(trouble.utc_s, model.timezone)} {trouble.text}"
        for n, line in enumerate(wrap(text, canvas.width - 14, 4)):
            canvas.put(13, y + 2 + n, line)
