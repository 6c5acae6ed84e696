"""The plan's charts: price strip, load with its band and PV, import against the peaks, SoC with the reserve, times.

A column is two steps of the plan, on fixed instants: with steps of a quarter hour it is a half hour of the clock, so
that no block of the price strip mixes two hours. The plan begins at the left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.display.formats import hour_minute, local, number, weekday
from console.display.ink import Ink
from console.display.language import say
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut
from console.tui.canvas import Canvas
from console.tui.chart_axis import AXIS_COLUMNS, draw_value_axis
from console.tui.charts import LEVELS, Raster, Series, nice_ceiling
from dispatch.model.plan import Plan, PlanStep

PLOT_COLUMNS = 73  # 36 h of quarters, begun in the middle of a half hour
PAGE_COLUMNS = 24  # that the charts move by, once the cursor would leave a plan that is longer
LABEL_H = 6  # hours between two times on the axis
THIN = "⡀⡄⡆⡇"  # bars of prices that are not published yet
NAME_COLUMNS = 14  # at most, for a reservation's name among the times
CONTRACT_DOTS = 12  # of a dash of the contract and the gap behind it
TARGET_DOTS = 4  # from one dot of the planned peak to the next


class Window:
    """Which steps of the plan are drawn in which columns: two per column; the one with the cursor is always visible."""

    def __init__(self, plan: Plan, cursor: int) -> None:
        self.plan = plan
        self.cell_s = 2 * plan.step_s
        first_s = plan.steps[0].start_utc_s
        self._offset = (first_s % self.cell_s) // plan.step_s
        beyond = (cursor + self._offset) // 2 - (PLOT_COLUMNS - 1)
        self._left = -(-beyond // PAGE_COLUMNS) * PAGE_COLUMNS if beyond > 0 else 0
        self.start_utc_s = first_s - first_s % self.cell_s + self._left * self.cell_s

    def column(self, utc_s: float) -> int:
        """The column that holds an instant, from 0; it may lie outside."""
        return int((utc_s - self.start_utc_s) // self.cell_s)

    def dots(self, pick: Callable[[PlanStep], float]) -> list[float | None]:
        """One value for each half column; None where the plan has no step."""
        steps, first = self.plan.steps, 2 * self._left - self._offset
        return [pick(steps[n]) if 0 <= n < len(steps) else None for n in range(first, first + 2 * PLOT_COLUMNS)]


def draw_prices(canvas: Canvas, y: int, window: Window, ends_utc_s: int | None) -> None:
    """A block per column, lowest to highest price; a thin bar where the price is not published."""
    prices = [s.price_eur_per_kwh for s in window.plan.steps]
    low, high = min(prices), max(prices)
    dots = window.dots(lambda s: s.price_eur_per_kwh)
    blocks = ""
    for column in range(PLOT_COLUMNS):
        known = [v for v in dots[2 * column : 2 * column + 2] if v is not None]
        published = ends_utc_s is not None and window.start_utc_s + column * window.cell_s < ends_utc_s
        level = int((sum(known) / len(known) - low) / (high - low) * 8) if known and high > low else 0
        blocks += _price_block(min(7, level), published) if known else " "
    canvas.right(AXIS_COLUMNS - 2, y, "ct", Ink.DIM)
    canvas.put(AXIS_COLUMNS - 1, y, "│", Ink.DIM)
    canvas.put(AXIS_COLUMNS, y, blocks)


def _price_block(level: int, published: bool) -> str:
    """The block of a price level, 0 to 7."""
    return LEVELS[level] if published else THIN[level // 2]


def draw_load(canvas: Canvas, top: int, height: int, window: Window) -> None:
    """Load as a line, its band as two rows of dots, PV as a broken line."""
    load, lows, highs = (window.dots(pick) for pick in (_load, _load_low, _load_high))
    pv = window.dots(lambda s: s.pv_w)
    ceiling = _ceiling(load, highs, pv)
    raster = Raster(PLOT_COLUMNS, height, 0, ceiling)
    for values in (lows, highs):
        for x in range(0, 2 * PLOT_COLUMNS, 2):
            if (value := values[x]) is not None:
                raster.dot(x, raster.level(value))
    raster.dashed([None if v == 0 else v for v in pv])
    raster.line(load)
    _draw_chart(canvas, top, raster, [number(ceiling / 1000, 4, 0), say("axis.load"), say("axis.pv")])


def draw_import(
    canvas: Canvas, top: int, height: int, window: Window, month_peak_w: float, contract_w: float | None
) -> None:
    """Import as planned, the peak so far as a broken line, the planned peak as dots, the contract in long dashes."""
    planned = window.dots(lambda s: s.grid_w)
    target_w = window.plan.peak_target_w
    # The rest of the running step may be planned far above the others. The scale follows the others.
    whole = window.dots(lambda s: s.grid_w if s is not window.plan.steps[0] else 0.0)
    ceiling = _ceiling(whole, [month_peak_w * 1.05, target_w * 1.05, (contract_w or 0.0) * 1.05])
    lowest = min([v for v in whole if v is not None], default=0.0)
    floor = -nice_ceiling(-lowest) if lowest < -0.1 * ceiling else 0.0
    raster = Raster(PLOT_COLUMNS, height, floor, ceiling)
    raster.dashed([month_peak_w] * 2 * PLOT_COLUMNS)
    for x in range(2 * PLOT_COLUMNS if contract_w is not None else 0):
        if x % CONTRACT_DOTS < CONTRACT_DOTS - 2:
            raster.dot(x, raster.level(contract_w or 0.0))
    for x in range(0, 2 * PLOT_COLUMNS, TARGET_DOTS):
        raster.dot(x, raster.level(target_w))
    raster.line(planned)
    _draw_chart(canvas, top, raster, [number(ceiling / 1000, 4, 0), say("axis.grid"), number(floor / 1000, 4, 0)])


def draw_soc(canvas: Canvas, top: int, height: int, window: Window, reserve_pct: float | None) -> None:
    """SoC as planned, the reserve as a broken line."""
    raster = Raster(PLOT_COLUMNS, height, 0, 100)
    if reserve_pct is not None:
        raster.dashed([reserve_pct] * 2 * PLOT_COLUMNS)
    raster.line(window.dots(lambda s: s.soc_pct))
    _draw_chart(canvas, top, raster, [say("axis.soc"), "%"])


def draw_times(canvas: Canvas, y: int, window: Window, cursor_utc_s: int, model: Model) -> None:
    """The hours at the site, the weekday at midnight, where reservations start, the present unless it is in the first
    column, and the cursor. The later ones give way to the earlier.
    """
    cursor = window.column(cursor_utc_s)
    row = LabelRow(canvas, y)
    row.reserve(cursor, 2)
    for reservation in model.published.reservations if model.published else ():
        column = window.column(reservation.start_utc_s)
        room = row.room(column)
        if room > 2:
            row.put(column, cut(f"╵{reservation.name}", min(room, NAME_COLUMNS)), Ink.BOLD)
    now = window.column(model.now_utc_s) if model.now_utc_s is not None else 0
    if now > 0 and row.free(now, columns(say("chart.now"))):
        row.put(now, say("chart.now"), Ink.DIM)
    for column in range(PLOT_COLUMNS - 5):
        text = _hour_label(window.start_utc_s + column * window.cell_s, window.cell_s, model.timezone)
        if text and row.free(column - 1, 7):
            row.put(column, f"╵{text}", Ink.DIM)
    if 0 <= cursor < PLOT_COLUMNS:
        canvas.put(AXIS_COLUMNS + cursor, y, "▲", Ink.BOLD)


class LabelRow:
    """A row below a chart, of labels that do not touch each other."""

    def __init__(self, canvas: Canvas, y: int) -> None:
        self._canvas, self._y = canvas, y
        self._taken: set[int] = set()

    def reserve(self, column: int, columns: int) -> None:
        """Keep columns free of labels."""
        self._taken |= set(range(column, column + columns))

    def free(self, column: int, columns: int) -> bool:
        """Whether nothing is in these columns, and the plot does not end before them."""
        return column + columns <= PLOT_COLUMNS and not self._taken & set(range(column, column + columns))

    def room(self, column: int) -> int:
        """How many columns are free from there on; 0 outside the plot."""
        if column < 0:
            return 0
        return next((k for k in range(column, PLOT_COLUMNS) if k in self._taken), PLOT_COLUMNS) - column

    def put(self, column: int, text: str, ink: Ink) -> None:
        """Write a label, with a blank before and behind it."""
        self._canvas.put(AXIS_COLUMNS + column, self._y, text, ink)
        self.reserve(column - 1, columns(text) + 2)


def _hour_label(utc_s: int, cell_s: int, timezone: str) -> str:
    """The time of a column in which a labelled hour begins, the day at midnight; else nothing."""
    moment = local(utc_s, timezone)
    if moment.hour % LABEL_H or moment.minute >= cell_s // 60:
        return ""
    return hour_minute(utc_s, timezone) if moment.hour else f"{weekday(utc_s, timezone)} {moment.day}"


def _load(step: PlanStep) -> float:
    return step.load_w


def _load_low(step: PlanStep) -> float:
    return step.load_low_w


def _load_high(step: PlanStep) -> float:
    return step.load_high_w


def _ceiling(*groups: Series) -> float:
    return nice_ceiling(max([v for values in groups for v in values if v is not None], default=1000.0))


def _draw_chart(canvas: Canvas, top: int, raster: Raster, labels: Sequence[str]) -> None:
    """A chart with the words and numbers of its axis, one for each row."""
    draw_value_axis(canvas, top, [*labels, *[""] * (raster.height - len(labels))])
    for n, line in enumerate(raster.rows()):
        canvas.put(AXIS_COLUMNS, top + n, line)
