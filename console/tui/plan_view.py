"""View 3: the plan. A cursor moves through its steps; the text below says why each is as it is and what it costs."""

from __future__ import annotations

from console.display.ink import Ink
from console.display.viewmodel import Model
from console.tui import plan_charts, plan_panels
from console.tui.canvas import Canvas
from console.tui.chart_axis import AXIS_COLUMNS
from console.tui.diff_widget import DiffWidget
from console.tui.plan_charts import Window
from dispatch.model.plan import Plan
from dispatch.planning.step_costs import StepCost, step_costs
from gateway.api.protocol import Published

CHARTS = ((1, 1), (2, 3), (5, 3), (8, 2))  # first row and rows: price, load, import, SoC
TIMES_ROW, TEXT_ROW = 10, 11
SUMMARY_COLUMN, SUMMARY_WIDTH = 81, 39
TABLE_ROWS = 5  # below this the table is left out


class PlanView(DiffWidget):
    """Draws the plan in force; drawn again when the plan, the cursor or the minute changes, not at each snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._cursor_utc_s: int | None = None  # None: the step that runs, as time goes on
        self._drawn_key: object = None
        self._worths_key: object = None
        self._worths: tuple[StepCost, ...] = ()

    def watch_model(self) -> None:
        """A new model: draw only if anything this view shows has changed."""
        if self.model is not None and shown_key(self.model) != self._drawn_key:
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
        self._drawn_key = shown_key(model)
        plan, published = model.plan, model.published
        if plan is None or not plan.steps or published is None:
            plan_panels.draw_no_plan(canvas, model)
            return
        at = self.cursor(plan, model)
        step, window = plan.steps[at], Window(plan, at)
        worths = self._step_worths(plan, published, model)
        plan_panels.draw_plan_head(canvas, plan, model)
        prices, load, grid, soc = CHARTS
        plan_charts.draw_prices(canvas, prices[0], window, published.tariff.ends_utc_s)
        plan_charts.draw_load(canvas, *load, window)
        plan_charts.draw_import(canvas, *grid, window, published.month_peak_w, model.limit("contracted_peak_w"))
        plan_charts.draw_soc(canvas, *soc, window, model.limit("reserve_soc_pct"))
        plan_charts.draw_times(canvas, TIMES_ROW, window, step.start_utc_s, model)
        canvas.ink_column(AXIS_COLUMNS + window.column(step.start_utc_s), load[0], TIMES_ROW, Ink.REVERSE)
        plan_panels.draw_step(canvas, TEXT_ROW, step, worths[at], plan, model)
        if canvas.width >= SUMMARY_COLUMN + SUMMARY_WIDTH:
            plan_panels.draw_summary(canvas, SUMMARY_COLUMN, worths, plan, model)
        table_row = TEXT_ROW + plan_panels.TEXT_ROWS
        if canvas.height >= table_row + TABLE_ROWS:
            plan_panels.draw_table(canvas, table_row, plan, at, model)

    def _step_worths(self, plan: Plan, published: Published, model: Model) -> tuple[StepCost, ...]:
        """What each step buys, computed once for each plan and peak."""
        terms = (published.interval.length_s, published.month_peak_w, model.timezone, model.demand)
        if (plan.made_utc_s, terms) != self._worths_key:
            self._worths_key, self._worths = (plan.made_utc_s, terms), step_costs(plan, *terms)
        return self._worths


def shown_key(model: Model) -> object:
    """Everything of a model that this view draws, the time in whole minutes: while it is equal, nothing is redrawn."""
    published, plan = model.published, model.plan
    minute = None if model.now_utc_s is None else int(model.now_utc_s // 60)
    state = None if published is None else published.decision.island
    common = (minute, model.past is not None, model.stale, model.welcome, state)
    if published is None:
        return (*common, model.no_plan, model.events[-1:])
    if plan is None:
        return (*common, model.no_plan, published.decision.binding, model.events[-1:])
    peak_w, interval_s, done = round(published.month_peak_w, -2), published.interval.length_s, published.decision
    done_now = (done.binding, None if done.battery_w is None else round(done.battery_w, -3))  # the step that runs
    return (*common, plan.made_utc_s, published.tariff.ends_utc_s, interval_s, peak_w, published.reservations, done_now)
