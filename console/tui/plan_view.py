"""View 3: the plan. A cursor moves through its steps; the text below says why each is as it is and what it costs."""

from __future__ import annotations

from console.display.ink import Ink
from console.display.viewmodel import Model
from console.tui import plan_charts, plan_panels
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget
from console.tui.plan_charts import AXIS, Window
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.plan import Plan
from dispatch.planning.step_costs import Worth, worth

CHARTS = ((1, 1), (2, 3), (5, 3), (8, 2))  # first row and rows: price, load, import, SoC
TIMES_ROW, TEXT_ROW = 10, 11
SIDE_COLUMN, SIDE_WIDTH = 81, 39
TABLE_ROWS = 5  # fewer are not worth their rule


class PlanView(DiffWidget):
    """Draws the plan in force; drawn again when the plan, the cursor or the minute changes, not at each snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._cursor_utc_s: int | None = None  # None: the step that runs, as time goes on
        self._drawn: object = None
        self._worth_of: object = None
        self._worths: tuple[Worth, ...] = ()

    def watch_model(self) -> None:
        """A new model: draw only if anything this view shows has changed."""
        if self.model is not None and _shown(self.model) != self._drawn:
            self.redraw()

    def cursor(self, plan: Plan, model: Model) -> int:
        """The index of the chosen step; of one that the plan no longer holds, the nearest."""
        wanted = self._cursor_utc_s if self._cursor_utc_s is not None else model.now_utc_s
        first = plan.steps[0].start_utc_s
        return max(0, min(len(plan.steps) - 1, int(((wanted or first) - first) // plan.step_s)))

    def move(self, by: int) -> None:
        """Move the cursor by steps; back on the one that runs, it goes on with time."""
        if self.model is None or self.model.plan is None or not self.model.plan.steps:
            return
        plan, model = self.model.plan, self.model
        index = max(0, min(len(plan.steps) - 1, self.cursor(plan, model) + by))
        step = plan.steps[index]
        self._cursor_utc_s = None if plan_panels.is_now(step, plan, model) else step.start_utc_s
        self.redraw()

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Charts and text at fixed places; beside and below, what there is room for."""
        self._drawn = _shown(model)
        plan, told = model.plan, model.published
        if plan is None or not plan.steps or told is None:
            plan_panels.draw_no_plan(canvas, model)
            return
        at = self.cursor(plan, model)
        step, window = plan.steps[at], Window(plan, at)
        worths = self._worth(plan, told.interval.length_s, told.month_peak_w, model.timezone, model.demand)
        plan_panels.draw_head(canvas, plan, model)
        prices, load, grid, soc = CHARTS
        plan_charts.draw_prices(canvas, prices[0], window, told.tariff.ends_utc_s)
        plan_charts.draw_load(canvas, *load, window)
        plan_charts.draw_import(canvas, *grid, window, told.month_peak_w)
        plan_charts.draw_soc(canvas, *soc, window, model.limit("reserve_soc_pct"))
        plan_charts.draw_times(canvas, TIMES_ROW, window, step.start_utc_s, model)
        for y in range(load[0], TIMES_ROW):
            canvas.ink[y][AXIS + window.column(step.start_utc_s)] = Ink.REVERSE
        plan_panels.draw_step(canvas, TEXT_ROW, step, worths[at], plan, model)
        if canvas.width >= SIDE_COLUMN + SIDE_WIDTH:
            plan_panels.draw_side(canvas, SIDE_COLUMN, worths, plan, model)
        below = TEXT_ROW + plan_panels.TEXT_ROWS
        if canvas.height >= below + TABLE_ROWS:
            plan_panels.draw_table(canvas, below, plan, at, model)

    def _worth(
        self, plan: Plan, interval_s: float, month_peak_w: float, timezone: str, terms: DemandTerms
    ) -> tuple[Worth, ...]:
        """What the steps buy, worked out once for each plan and peak."""
        of = (plan.made_utc_s, interval_s, month_peak_w, timezone, terms)
        if of != self._worth_of:
            self._worth_of, self._worths = of, worth(plan, interval_s, month_peak_w, timezone, terms)
        return self._worths


def _shown(model: Model) -> object:
    """Everything of a model that this view draws, coarse enough to stand still between two minutes."""
    told, plan = model.published, model.plan
    now = None if model.now_utc_s is None else int(model.now_utc_s // 60)
    common = (now, model.stale, model.welcome)
    if plan is None or told is None:
        return (*common, model.no_plan, told.decision.binding if told else None, model.events[-1:])
    peak = round(told.month_peak_w, -2)
    return (*common, plan.made_utc_s, told.tariff.ends_utc_s, told.interval.length_s, peak, told.reservations)
