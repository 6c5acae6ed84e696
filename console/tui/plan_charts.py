"""The plan's charts: price strip, load with its band and PV, import against the peaks, SoC with the reserve, times.

A column is two steps of the plan, on fixed instants: of quarter hours it is a half hour of the clock, so that no block
of the price strip mixes two hours. The sharp side of each is the future; the plan begins at the left.
"""

from __future__ import annotations

from collections.abc import Callable

from console.display.formats import hour_minute, local, number
from console.display.ink import Ink
from console.display.viewmodel import Model
from console.display.wrapping import cut
from console.tui.canvas import Canvas
from console.tui.charts import LEVELS, Raster, Series, nice_ceiling
from dispatch.model.plan import Plan, PlanStep

AXIS = 6  # columns of the value axis with its line
PLOT = 73  # columns: 36 h of quarters, begun in the middle of a half hour
PAGE = 24  # columns the picture moves by, once the cursor would leave a plan that is longer
LABEL_H = 6  # hours between two times on the axis
THIN = "⡀⡄⡆⡇"  # bars of prices that nobody has published yet
NAME_COLUMNS = 14  # at most, for a reservation's name among the times
SPARSE = 4  # dots between those of the peak the plan means to keep


class Window:
    """Which steps are drawn where: two to a column, the one with the cursor in sight."""

    def __init__(self, plan: Plan, cursor: int) -> None:
        self.plan = plan
        self.cell_s = 2 * plan.step_s
        first_s = plan.steps[0].start_utc_s
        self._offset = (first_s % self.cell_s) // plan.step_s
        beyond = (cursor + self._offset) // 2 - (PLOT - 1)
        self._left = -(-beyond // PAGE) * PAGE if beyond > 0 else 0
        self.start_utc_s = first_s - first_s % self.cell_s + self._left * self.cell_s

    def column(self, utc_s: float) -> int:
        """The column that holds an instant, from 0; it may lie outside."""
        return int((utc_s - self.start_utc_s) // self.cell_s)

    def dots(self, pick: Callable[[PlanStep], float]) -> list[float | None]:
        """One value for each half column; None where the plan has no step."""
        steps, first = self.plan.steps, 2 * self._left - self._offset
        return [pick(steps[n]) if 0 <= n < len(steps) else None for n in range(first, first + 2 * PLOT)]


def draw_prices(canvas: Canvas, y: int, window: Window, ends_utc_s: int | None) -> None:
    """A block per column, lowest to highest price; a thin bar where the price is not published."""
    dots = window.dots(lambda s: s.price_eur_per_kwh)
    low = min(s.price_eur_per_kwh for s in window.plan.steps)
    span = max(s.price_eur_per_kwh for s in window.plan.steps) - low
    canvas.right(AXIS - 2, y, "ct", Ink.DIM)
    canvas.put(AXIS - 1, y, "│", Ink.DIM)
    blocks = ""
    for column in range(PLOT):
        known = [v for v in dots[2 * column : 2 * column + 2] if v is not None]
        level = min(7, int((sum(known) / len(known) - low) / span * 8)) if known and span > 0 else 0
        published = ends_utc_s is not None and window.start_utc_s + column * window.cell_s < ends_utc_s
        blocks += " " if not known else LEVELS[level] if published else THIN[level // 2]
    canvas.put(AXIS, y, blocks)


def draw_load(canvas: Canvas, top: int, height: int, window: Window) -> None:
    """Load as a line, its band as two rows of dots, PV as a broken line."""
    load, lows, highs = (window.dots(pick) for pick in (_load, lambda s: s.load_low_w, lambda s: s.load_high_w))
    pv = window.dots(lambda s: s.pv_w)
    ceiling = _ceiling(load, highs, pv)
    raster = Raster(PLOT, height, 0, ceiling)
    for values in (lows, highs):
        for x in range(0, 2 * PLOT, 2):
            if (value := values[x]) is not None:
                raster.dot(x, raster.level(value))
    raster.dashed([None if v == 0 else v for v in pv])
    raster.line(load)
    _put(canvas, top, raster, [number(ceiling / 1000, 4, 0), "load", "PV ┄"])


def draw_import(canvas: Canvas, top: int, height: int, window: Window, month_peak_w: float) -> None:
    """Import as planned, the peak so far as a broken line, the peak to keep as dots."""
    planned = window.dots(lambda s: s.grid_w)
    target_w = window.plan.peak_target_w
    # the rest of the running quarter may be planned far above the others; it goes to the edge, not they to the bottom
    whole = window.dots(lambda s: s.grid_w if s is not window.plan.steps[0] else 0.0)
    ceiling = _ceiling(whole, [month_peak_w * 1.05, target_w * 1.05])
    lowest = min([v for v in whole if v is not None], default=0.0)
    floor = -nice_ceiling(-lowest) if lowest < -0.1 * ceiling else 0.0
    raster = Raster(PLOT, height, floor, ceiling)
    raster.dashed([month_peak_w] * 2 * PLOT)
    for x in range(0, 2 * PLOT, SPARSE):
        raster.dot(x, raster.level(target_w))
    raster.line(planned)
    _put(canvas, top, raster, [number(ceiling / 1000, 4, 0), "grid", number(floor / 1000, 4, 0)])


def draw_soc(canvas: Canvas, top: int, height: int, window: Window, reserve_pct: float | None) -> None:
    """SoC as planned, the reserve as a broken line."""
    raster = Raster(PLOT, height, 0, 100)
    if reserve_pct is not None:
        raster.dashed([reserve_pct] * 2 * PLOT)
    raster.line(window.dots(lambda s: s.soc_pct))
    _put(canvas, top, raster, ["SoC", "%"])


def draw_times(canvas: Canvas, y: int, window: Window, cursor_utc_s: int, model: Model) -> None:
    """The site's hours, the weekday at midnight, where reservations start, the present once it is past the first
    column, and the cursor.
    """
    at = window.column(cursor_utc_s)
    taken = {at, at + 1}
    for reservation in model.published.reservations if model.published else ():
        column = window.column(reservation.start_utc_s)
        room = next((k for k in range(column, PLOT) if k in taken), PLOT) - column
        if column >= 0 and room > 2:
            text = cut(f"╵{reservation.name}", min(room, NAME_COLUMNS))
            canvas.put(AXIS + column, y, text, Ink.BOLD)
            taken |= set(range(column - 1, column + len(text) + 1))
    now = window.column(model.now_utc_s) if model.now_utc_s is not None else 0
    if 0 < now <= PLOT - 3 and not taken & set(range(now, now + 3)):
        canvas.put(AXIS + now, y, "now", Ink.DIM)
        taken |= set(range(now - 1, now + 4))
    for column in range(PLOT - 5):
        start = window.start_utc_s + column * window.cell_s
        moment = local(start, model.timezone)
        if moment.hour % LABEL_H or moment.minute >= window.cell_s // 60 or taken & set(range(column - 1, column + 6)):
            continue
        text = f"{moment:%a} {moment.day}" if moment.hour == 0 else hour_minute(start, model.timezone)
        canvas.put(AXIS + column, y, f"╵{text}", Ink.DIM)
        taken |= set(range(column, column + 7))
    if 0 <= at < PLOT:
        canvas.put(AXIS + at, y, "▲", Ink.BOLD)


def _load(step: PlanStep) -> float:
    return step.load_w


def _ceiling(*groups: Series) -> float:
    return nice_ceiling(max([v for values in groups for v in values if v is not None], default=1000.0))


def _put(canvas: Canvas, top: int, raster: Raster, labels: list[str]) -> None:
    """A chart with the words and numbers of its axis, one for each row."""
    for n, line in enumerate(raster.rows()):
        canvas.right(AXIS - 2, top + n, labels[n] if n < len(labels) else "", Ink.DIM)
        canvas.put(AXIS - 1, top + n, "┤" if n in (0, raster.height - 1) else "│", Ink.DIM)
        canvas.put(AXIS, top + n, line)
