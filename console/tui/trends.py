"""The overview's charts: load with its band, import against the limit, the tariff ahead, SoC with its plan.

Time moves in whole cells on fixed instants: a second redraws at most the newest cell. Left of the mark "│" is the
past, two dots per column; right of it the plan, a step per column.
"""

from __future__ import annotations

from collections.abc import Callable

from console.display.formats import cents, countdown, fetched_text, hour_minute, kw, number
from console.display.import_limit import interval_limit
from console.display.ink import Ink, Line
from console.display.islanding_text import off_grid
from console.display.language import say
from console.display.status_text import interval_gap_text, interval_mean_text, old_title
from console.display.viewmodel import DAY_STEP_S, TREND_STEP_S, Model, not_kept, series
from console.display.wrapping import columns, padded
from console.tui.canvas import Canvas
from console.tui.chart_axis import AXIS_COLUMNS, draw_value_axis
from console.tui.charts import Raster, nice_ceiling, strip
from console.tui.diff_widget import DiffWidget
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan, PlanStep

NOTE_COLUMNS = 20  # of the words beside a chart
LEAST_PLAN_COLUMNS = 14  # one per step
CELL_S = 2 * TREND_STEP_S
PRICE_HOURS = 24
SOC_LABEL_COLUMNS = 16  # from one time to the next


class TimeScale:
    """Where past and plan lie in a chart `width` columns wide."""

    def __init__(self, width: int, now_utc_s: float) -> None:
        self.plot = max(LEAST_PLAN_COLUMNS + 8, width - AXIS_COLUMNS - NOTE_COLUMNS)
        self.ahead = LEAST_PLAN_COLUMNS + max(0, self.plot - 55) // 3
        self.past = self.plot - self.ahead - 1
        # The newest cell ends at the next multiple of a cell; until then the chart does not move.
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


def scale_labels(rows: int, top: float, bottom: float, unit: float = 1000.0) -> list[str]:
    """The labels of a value axis: the highest value in the first row, the lowest in the last."""
    return [number(top / unit, 4, 0), *[""] * (rows - 2), number(bottom / unit, 4, 0)]


def draw_past_and_plan(canvas: Canvas, past: Raster, ahead: Raster) -> None:
    """Past, the mark of the present, and the plan, dim."""
    x = AXIS_COLUMNS + past.width
    for y, (left, right) in enumerate(zip(past.rows(), ahead.rows(), strict=True)):
        canvas.put(AXIS_COLUMNS, y, left)
        canvas.put(x, y, "│", Ink.DIM)
        canvas.put(x + 1, y, right, Ink.DIM)


def now_word(model: Model) -> str:
    """What stands below the mark between past and plan."""
    return say("chart.now" if model.past is None else "chart.then")


class LoadChart(DiffWidget):
    """Site load by balance, and the plan's load with its band."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The chart, and words at its right."""
        now = model.now_utc_s
        if now is None:
            return
        scale = TimeScale(canvas.width, now)
        past = series(model.trend, "load_w", scale.end_utc_s, scale.past * 2, TREND_STEP_S)
        steps = ahead_steps(model.plan, now, scale.ahead)
        highs, lows = doubled(steps, lambda s: s.load_high_w), doubled(steps, lambda s: s.load_low_w)
        top = nice_ceiling(max([v for v in (*past, *highs) if v is not None], default=1000.0))
        left, right = Raster(scale.past, canvas.height, 0, top), Raster(scale.ahead, canvas.height, 0, top)
        left.line(past)
        right.band(lows, highs)
        right.line(doubled(steps, lambda s: s.load_w))
        draw_value_axis(canvas, 0, scale_labels(canvas.height, top, 0))
        draw_past_and_plan(canvas, left, right)
        x = AXIS_COLUMNS + scale.plot + 2
        canvas.put(x, 0, say("chart.load"))
        known = next((s for s in steps if s is not None), None)
        if known is not None:
            low, high = kw(known.load_low_w).strip(), kw(known.load_high_w).strip()
            canvas.put(x, 1, say("chart.band", low=low, high=high), Ink.DIM)


class ImportChart(DiffWidget):
    """Import at the PCC, the limit of the metering interval as a broken line, the plan's import."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The chart, and what is left of the interval at its right."""
        now = model.now_utc_s
        if now is None or model.published is None:
            return
        interval = model.published.interval
        scale = TimeScale(canvas.width, now)
        limit_w = shown_limit_w(model, interval.limit_w)
        past = series(model.trend, "grid_w", scale.end_utc_s, scale.past * 2, TREND_STEP_S)
        planned = doubled(ahead_steps(model.plan, now, scale.ahead), lambda s: s.grid_w)
        known = [v for v in (*past, *planned) if v is not None]
        top = nice_ceiling(max([*known, limit_w * 1.05]))
        lowest = min([*known, 0.0])
        bottom = -nice_ceiling(-lowest) if lowest < -0.1 * top else 0.0
        left, right = Raster(scale.past, canvas.height, bottom, top), Raster(scale.ahead, canvas.height, bottom, top)
        for raster in (left, right):
            raster.dashed([limit_w] * raster.width * 2)
        left.line(past)
        right.line(planned)
        draw_value_axis(canvas, 0, scale_labels(canvas.height, top, bottom))
        draw_past_and_plan(canvas, left, right)
        self._draw_notes(canvas, AXIS_COLUMNS + scale.plot + 2, model, now)

    def _draw_notes(self, canvas: Canvas, x: int, model: Model, now: float) -> None:
        """The limit, the mean so far, and what may still be imported in the rest of the interval.

        On a generator the meter shows its power, and nothing is imported.
        """
        assert model.published is not None
        interval = model.published.interval
        elapsed, left_s = now - interval.start_utc_s, interval.start_utc_s + interval.length_s - now
        on_genset = model.published.decision.island is IslandState.GENSET
        after_title = canvas.put(x, 0, say("chart.generator" if on_genset else "chart.import")) + 1
        word, limit_w = interval_limit(interval)
        label = say(f"limit.{word}")
        if on_genset and (rated_w := model.limit("genset_w")) is not None:
            label, limit_w = say("flow.rated"), rated_w
        canvas.put(x, 1, f"{padded(label, 8)} {kw(limit_w)}", Ink.DIM)
        canvas.put(x, 2, interval_mean_text(interval, elapsed))
        over = interval.energy_left_wh < 0
        above = "▲H" if over and not (on_genset or off_grid(model)) else ""
        old = old_title(model)
        note = " ".join(filter(None, (above, old or interval_gap_text(interval))))
        canvas.fit(max(x + 10, after_title), 0, [note, old.split()[0] if old else above], Ink.MEDIUM)
        if on_genset or off_grid(model):
            canvas.put(
                x, 3, f"{countdown(left_s):>5} {say('chart.paused' if on_genset else 'chart.off_grid')}", Ink.DIM
            )
            return
        left_w = None if interval.never_read else max(0.0, interval.left_w)  # of an energy not known nothing is left
        left = f"{countdown(left_s):>5} {say('chart.left', kw=kw(left_w))}"
        canvas.put(x, 3, left, Ink.MEDIUM if over else Ink.PLAIN)


def shown_limit_w(model: Model, limit_w: float) -> float:
    """The broken line, W: the limit of the metering interval; on a generator, which has none, what it is rated at."""
    on_genset = model.published is not None and model.published.decision.island is IslandState.GENSET
    rated_w = model.limit("genset_w") if on_genset else None
    return limit_w if rated_w is None else rated_w


class TimeAxis(DiffWidget):
    """The times under both charts."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        now = model.now_utc_s
        if now is None:
            return
        scale = TimeScale(canvas.width, now)
        mark = AXIS_COLUMNS + scale.past
        for x in range(AXIS_COLUMNS, mark - 12, 20):
            at = scale.end_utc_s + TREND_STEP_S - (mark - x) * CELL_S
            canvas.put(x, 0, f"{hour_minute(at, model.timezone)}", Ink.DIM)
        canvas.put(mark - 1, 0, now_word(model), Ink.DIM)
        steps = ahead_steps(model.plan, now, scale.ahead)
        if steps[-1] is not None:
            canvas.right(mark + 1 + scale.ahead, 0, hour_minute(steps[-1].start_utc_s, model.timezone), Ink.DIM)


class TariffStrip(DiffWidget):
    """The import price of the next 24 h, a block per hour, and the numbers that matter."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        if model.published is None:
            return
        tariff, now, zone = model.published.tariff, model.published.snapshot.utc_s, model.timezone
        canvas.put(0, 0, " ct/kWh", Ink.DIM)
        if not_kept(model, "prices"):
            x = canvas.put(8, 0, cents(tariff.now_eur_per_kwh))
            canvas.put(x, 0, f" {say('chart.price_then')}", Ink.DIM)
            return
        hours = hourly(tariff.ahead, now, tariff.ends_utc_s)
        x = canvas.put(8, 0, strip(hours)) + 1
        x = canvas.put(x, 0, cents(tariff.now_eur_per_kwh))
        x = canvas.put(x, 0, *now_or_old(model))
        for value, label in ((max, "chart.high"), (min, "chart.low")):
            if (found := extreme(tariff.ahead, now, value)) is None:
                continue
            text = f" · {say(label, price=cents(found[1]), time=hour_minute(found[0], zone))}"
            if x + columns(text) < canvas.width:
                x = put_figure(canvas, x, 0, text, cents(found[1]))
        if tariff.now_eur_per_kwh is None:
            canvas.put(x + 1, 0, say("chart.no_price"), Ink.MEDIUM)
        elif tariff.ends_utc_s is not None and tariff.ends_utc_s < now + PRICE_HOURS * 3600:
            x = canvas.put(x, 0, f" · {say('chart.ends', time=hour_minute(tariff.ends_utc_s, zone))}", Ink.DIM)
        if tariff.source:
            text = f" · {fetched_text(tariff.source, tariff.fetched_utc_s, now, zone)}"
            if x + columns(text) <= canvas.width:
                canvas.put(x, 0, text, Ink.DIM)


def now_or_old(model: Model) -> Line:
    """Behind the price of now: that it is that; without a gateway, how old the last snapshot is."""
    old = old_title(model)
    return (f" {old}", Ink.MEDIUM) if old else (f" {now_word(model)}", Ink.DIM)


def put_figure(canvas: Canvas, x: int, y: int, text: str, figure: str) -> int:
    """A text, dim but for the figure that it holds. Returns the column after it."""
    before, found, after = text.partition(figure)
    x = canvas.put(x, y, before, Ink.DIM)
    x = canvas.put(x, y, found)
    return canvas.put(x, y, after, Ink.DIM)


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
        """The chart with its own time axis in the last row, and words at its right."""
        now = model.now_utc_s
        if now is None or canvas.height < 3:
            return
        plot = max(20, canvas.width - AXIS_COLUMNS - NOTE_COLUMNS)
        past = plot // 3 if model.plan else min(plot // 3, len(model.day) // 2 + 1)
        ahead = plot - past - 1
        self._draw_chart(canvas, model, past, ahead)
        self._draw_times(canvas, model, past, ahead)
        x = AXIS_COLUMNS + plot + 2
        canvas.put(x, 0, say("chart.soc"))
        if (reserve := model.limit("reserve_soc_pct")) is not None:
            canvas.put(x, 1, say("chart.reserve", pct=f"{reserve:.0f}"), Ink.DIM)
        made = say("chart.no_plan_kept" if not_kept(model, "plan") else "chart.no_plan")
        if model.plan is not None:
            made = say("chart.plan_of", time=hour_minute(model.plan.made_utc_s, model.timezone))
        canvas.put(x, 2, made, Ink.DIM)

    @staticmethod
    def _draw_chart(canvas: Canvas, model: Model, past: int, ahead: int) -> None:
        """All rows but the last, `past` and `ahead` columns wide."""
        now, reserve = model.now_utc_s or 0.0, model.limit("reserve_soc_pct")
        height = canvas.height - 1
        left, right = Raster(past, height, 0, 100), Raster(ahead, height, 0, 100)
        if reserve is not None:
            for raster in (left, right):
                raster.dashed([reserve] * raster.width * 2)
        left.line(series(model.day, "soc_pct", _soc_end_utc_s(now), past * 2, DAY_STEP_S))
        right.line([s.soc_pct if s else None for s in ahead_steps(model.plan, now - DAY_STEP_S, ahead * 2)])
        draw_value_axis(canvas, 0, scale_labels(height, 100, 0, 1))
        draw_past_and_plan(canvas, left, right)

    @staticmethod
    def _draw_times(canvas: Canvas, model: Model, past: int, ahead: int) -> None:
        """Draw the time axis in the last row: start, now, and every eight hours of the plan."""
        y, mark = canvas.height - 1, AXIS_COLUMNS + past
        end_utc_s = _soc_end_utc_s(model.now_utc_s or 0.0)
        canvas.put(mark - 1, y, now_word(model), Ink.DIM)
        begin_utc_s = end_utc_s - (2 * past - 1) * DAY_STEP_S
        canvas.put(AXIS_COLUMNS, y, hour_minute(begin_utc_s, model.timezone), Ink.DIM)
        for column in range(SOC_LABEL_COLUMNS, ahead - 2, SOC_LABEL_COLUMNS):
            utc_s = end_utc_s + column * 2 * DAY_STEP_S
            canvas.put(mark + column - 1, y, hour_minute(utc_s, model.timezone), Ink.DIM)


def _soc_end_utc_s(now_utc_s: float) -> int:
    """The start of the step that runs."""
    return int(now_utc_s // DAY_STEP_S) * DAY_STEP_S
