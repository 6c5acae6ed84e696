"""The overview's charts: load with its band, import against the limit, the tariff ahead, SoC with its plan.

Time moves in whole cells on fixed instants, so a second redraws at most the newest cell. Right of the mark "│" is the
plan, a step per column; left of it the past, two dots per column.
"""

from __future__ import annotations

from collections.abc import Callable

from console.display.formats import cents, countdown, hour_minute, kw, number
from console.display.ink import Ink
from console.display.viewmodel import DAY_STEP_S, TREND_STEP_S, Model, series
from console.tui.canvas import Canvas
from console.tui.charts import Raster, nice_ceiling, strip
from console.tui.diff_widget import DiffWidget
from dispatch.model.plan import Plan, PlanStep

AXIS = 6  # columns of the value axis with its line
NOTES = 20  # columns of the words beside a chart
AHEAD = 14  # columns of the plan: one per step
CELL_S = 2 * TREND_STEP_S
PRICE_HOURS = 24


class Span:
    """Where past and plan lie in a chart `width` columns wide."""

    def __init__(self, width: int, now_utc_s: float) -> None:
        self.plot = max(AHEAD + 8, width - AXIS - NOTES)
        self.ahead = AHEAD + max(0, self.plot - 55) // 3
        self.past = self.plot - self.ahead - 1
        # the newest cell ends at the next multiple of a cell: the picture stands still until then
        self.end_utc_s = int(now_utc_s // CELL_S) * CELL_S + TREND_STEP_S


def ahead_steps(plan: Plan | None, now_utc_s: float, columns: int) -> list[PlanStep | None]:
    """The plan's steps after the present one, one per column."""
    if plan is None or not plan.steps:
        return [None] * columns
    first = plan.steps[0].start_utc_s
    at = int((now_utc_s - first) // plan.step_s) + 1
    return [plan.steps[i] if 0 <= i < len(plan.steps) else None for i in range(at, at + columns)]


def doubled(steps: list[PlanStep | None], pick: Callable[[PlanStep], float]) -> list[float | None]:
    """One value of each step, twice: a step is a column, a column two dots."""
    return [None if s is None else pick(s) for s in steps for _ in (0, 1)]


def axis(canvas: Canvas, top: float, bottom: float, unit: float = 1000.0) -> None:
    """Two labels and the line of the value axis."""
    canvas.right(AXIS - 2, 0, number(top / unit, 4, 0), Ink.DIM)
    canvas.right(AXIS - 2, canvas.height - 1, number(bottom / unit, 4, 0), Ink.DIM)
    for y in range(canvas.height):
        canvas.put(AXIS - 1, y, "┤" if y in (0, canvas.height - 1) else "│", Ink.DIM)


def plot(canvas: Canvas, past: Raster, ahead: Raster) -> None:
    """Past, the mark of now, and the plan, dim."""
    x = AXIS + past.width
    for y, (left, right) in enumerate(zip(past.rows(), ahead.rows(), strict=True)):
        canvas.put(AXIS, y, left)
        canvas.put(x, y, "│", Ink.DIM)
        canvas.put(x + 1, y, right, Ink.DIM)


class LoadChart(DiffWidget):
    """Site load by balance, and the plan's load with its band."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The chart, and words at its right."""
        now = model.now_utc_s
        if now is None:
            return
        span = Span(canvas.width, now)
        past = series(model.trend, "load_w", span.end_utc_s, span.past * 2, TREND_STEP_S)
        steps = ahead_steps(model.plan, now, span.ahead)
        highs, lows = doubled(steps, lambda s: s.load_high_w), doubled(steps, lambda s: s.load_low_w)
        top = nice_ceiling(max([v for v in (*past, *highs) if v is not None], default=1000.0))
        left, right = Raster(span.past, canvas.height, 0, top), Raster(span.ahead, canvas.height, 0, top)
        left.line(past)
        right.band(lows, highs)
        right.line(doubled(steps, lambda s: s.load_w))
        axis(canvas, top, 0)
        plot(canvas, left, right)
        x = AXIS + span.plot + 2
        canvas.put(x, 0, "Load kW")
        known = next((s for s in steps if s is not None), None)
        if known is not None:
            canvas.put(x, 1, f"band {kw(known.load_low_w).strip()} – {kw(known.load_high_w).strip()}", Ink.DIM)


class ImportChart(DiffWidget):
    """Import at the PCC, the limit of the metering interval as a broken line, the plan's import."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The chart, and what is left of the interval at its right."""
        now = model.now_utc_s
        if now is None or model.published is None:
            return
        interval = model.published.interval
        span = Span(canvas.width, now)
        past = series(model.trend, "grid_w", span.end_utc_s, span.past * 2, TREND_STEP_S)
        planned = doubled(ahead_steps(model.plan, now, span.ahead), lambda s: s.grid_w)
        known = [v for v in (*past, *planned) if v is not None]
        top = nice_ceiling(max([*known, interval.limit_w * 1.05]))
        lowest = min([*known, 0.0])
        bottom = -nice_ceiling(-lowest) if lowest < -0.1 * top else 0.0
        left, right = Raster(span.past, canvas.height, bottom, top), Raster(span.ahead, canvas.height, bottom, top)
        for raster in (left, right):
            raster.dashed([interval.limit_w] * raster.width * 2)
        left.line(past)
        right.line(planned)
        axis(canvas, top, bottom)
        plot(canvas, left, right)
        self._words(canvas, AXIS + span.plot + 2, model, now)

    def _words(self, canvas: Canvas, x: int, model: Model, now: float) -> None:
        assert model.published is not None
        interval = model.published.interval
        elapsed, left_s = now - interval.start_utc_s, interval.start_utc_s + interval.length_s - now
        canvas.put(x, 0, "Import kW")
        canvas.put(x, 1, f"limit    {kw(interval.limit_w)}", Ink.DIM)
        mean = interval.energy_wh * 3600 / elapsed if elapsed >= 1 else None
        canvas.put(x, 2, f"interval {kw(mean)}")
        over = interval.energy_left_wh < 0
        canvas.put(
            x, 3, f"{countdown(left_s):>5} left ≤{kw(max(0.0, interval.left_w))}", Ink.MEDIUM if over else Ink.PLAIN
        )
        if over:
            canvas.put(x + 10, 0, "▲H", Ink.MEDIUM)


class TimeAxis(DiffWidget):
    """The times under both charts."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        now = model.now_utc_s
        if now is None:
            return
        span = Span(canvas.width, now)
        mark = AXIS + span.past
        for x in range(AXIS, mark - 12, 20):
            at = span.end_utc_s + TREND_STEP_S - (mark - x) * CELL_S
            canvas.put(x, 0, f"{hour_minute(at, model.timezone)}", Ink.DIM)
        canvas.put(mark - 1, 0, "now", Ink.DIM)
        steps = ahead_steps(model.plan, now, span.ahead)
        if steps[-1] is not None:
            canvas.right(mark + 1 + span.ahead, 0, hour_minute(steps[-1].start_utc_s, model.timezone), Ink.DIM)


class TariffStrip(DiffWidget):
    """The import price of the next 24 h, a block per hour, and the numbers that matter."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        if model.published is None:
            return
        tariff, now, zone = model.published.tariff, model.published.snapshot.utc_s, model.timezone
        canvas.put(0, 0, " ct/kWh", Ink.DIM)
        hours = hourly(tariff.ahead, now, tariff.ends_utc_s)
        x = canvas.put(8, 0, strip(hours)) + 1
        x = canvas.put(x, 0, cents(tariff.now_eur_per_kwh))
        x = canvas.put(x, 0, " now", Ink.DIM)
        for value, label in ((max, "high"), (min, "low")):
            found = extreme(tariff.ahead, now, value)
            if found is not None:
                x = canvas.put(x, 0, f" · {label} ", Ink.DIM)
                x = canvas.put(x, 0, cents(found[1]))
                x = canvas.put(x, 0, f" {hour_minute(found[0], zone)}", Ink.DIM)
        if tariff.now_eur_per_kwh is None:
            canvas.put(x + 1, 0, "no price known", Ink.MEDIUM)
        elif tariff.ends_utc_s is not None and tariff.ends_utc_s < now + PRICE_HOURS * 3600:
            canvas.put(x, 0, f" · ends {hour_minute(tariff.ends_utc_s, zone)}", Ink.DIM)


def hourly(ahead: tuple[tuple[int, float], ...], now: float, ends_utc_s: int | None) -> list[float | None]:
    """The price at the start of each of the next 24 hours, this one first; None before the first and past the last."""
    result: list[float | None] = []
    first = int(now // 3600) * 3600
    for start in range(first, first + PRICE_HOURS * 3600, 3600):
        at = max(start, now)
        price = next((p for s, p in reversed(ahead) if s <= at), None)
        result.append(None if ends_utc_s is not None and at >= ends_utc_s else price)
    return result


def extreme(
    ahead: tuple[tuple[int, float], ...], now: float, choose: Callable[..., tuple[int, float]]
) -> tuple[int, float] | None:
    """The highest or lowest price still to begin within 24 h, with its start."""
    coming = [(s, p) for s, p in ahead if now < s < now + PRICE_HOURS * 3600]
    return choose(coming, key=lambda pair: pair[1]) if coming else None


class SocChart(DiffWidget):
    """State of charge of the last hours, and as planned; the reserve as a broken line."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The chart with its own time axis in the last row."""
        now = model.now_utc_s
        if now is None or canvas.height < 3:
            return
        plot_width = max(20, canvas.width - AXIS - NOTES)
        past_columns = min(plot_width // 3, len(model.day) // 2 + 1 if not model.plan else plot_width // 3)
        ahead_columns = plot_width - past_columns - 1
        end = int(now // DAY_STEP_S) * DAY_STEP_S
        chart = Canvas(canvas.width, canvas.height - 1)
        left, right = Raster(past_columns, chart.height, 0, 100), Raster(ahead_columns, chart.height, 0, 100)
        reserve = model.limit("reserve_soc_pct")
        if reserve is not None:
            for raster in (left, right):
                raster.dashed([reserve] * raster.width * 2)
        left.line(series(model.day, "soc_pct", end, past_columns * 2, DAY_STEP_S))
        planned = [s.soc_pct if s else None for s in ahead_steps(model.plan, now - DAY_STEP_S, ahead_columns * 2)]
        right.line(planned)
        axis(chart, 100, 0, 1)
        plot(chart, left, right)
        canvas.text[:-1], canvas.ink[:-1] = chart.text, chart.ink
        mark = AXIS + past_columns
        canvas.put(mark - 1, canvas.height - 1, "now", Ink.DIM)
        canvas.put(
            AXIS, canvas.height - 1, hour_minute(end - (2 * past_columns - 1) * DAY_STEP_S, model.timezone), Ink.DIM
        )
        for column in range(16, ahead_columns - 2, 16):
            canvas.put(
                mark + 1 + column - 2,
                canvas.height - 1,
                hour_minute(end + column * 2 * DAY_STEP_S, model.timezone),
                Ink.DIM,
            )
        x = AXIS + plot_width + 2
        canvas.put(x, 0, "SoC %")
        if reserve is not None:
            canvas.put(x, 1, f"reserve {reserve:.0f}", Ink.DIM)
        if model.plan is None:
            canvas.put(x, 2, "no plan", Ink.DIM)
        else:
            canvas.put(x, 2, f"plan of {hour_minute(model.plan.made_utc_s, model.timezone)}", Ink.DIM)
