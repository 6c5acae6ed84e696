"""What a larger terminal adds beside and below the overview: month, nodes, gateway, last events."""

from __future__ import annotations

from console.display.formats import age, clock, kw, local_times
from console.display.ink import Ink
from console.display.language import say
from console.display.status_text import clock_line, gpus_text, limiting_texts, old_title, peak_label, stale_word
from console.display.viewmodel import Model, not_kept, peak_is_lower_bound
from console.display.wrapping import cut, padded
from console.tui.canvas import Canvas
from console.tui.charts import bar
from console.tui.diff_widget import DiffWidget
from console.tui.list_view import spare_columns
from console.tui.reading_cells import reading_ink
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.charge_levels import ChargesNow
from dispatch.model.decision import Decision
from dispatch.model.equipment import Node
from dispatch.model.events import Event
from dispatch.model.plan import NEAR_W
from gateway.api.protocol import LoopStats, Published

SEVERITY_INK = {"alarm": Ink.HIGH, "warning": Ink.MEDIUM}
SEVERITY_MARK = {"alarm": "▲", "warning": "!"}
TOP_NODES = 5
SUBJECT_MORE = 16  # columns of a subject on a wide screen besides 16


class MonthPanel(DiffWidget):
    """The month's peak so far and what it costs."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and up to four rows."""
        if model.published is None:
            canvas.put(0, 0, say("panel.month"), Ink.DIM)
            return
        contracted_w = model.limit("contracted_peak_w")
        canvas.put(0, 0, say("panel.month" if model.demand.per == "month" else "panel.year"), Ink.DIM)
        if model.past is not None:
            x = draw_figure(canvas, 1, say("peak.then"), kw(model.published.month_peak_w, 7), " kW")
            draw_unmeasured(canvas, x, model.published)
            canvas.put(0, 3, say("panel.not_kept"), Ink.DIM)
        elif model.published.charges is None:
            self._draw_peak(canvas, model.published, model.demand)
        else:
            self._draw_limiting(canvas, model.published, model.published.charges, model.timezone)
        if contracted_w is not None:
            draw_figure(canvas, 2, say("panel.contracted"), kw(contracted_w, 7), " kW")
            draw_excess(canvas, 2, model.published.month_peak_w - contracted_w)
        if model.welcome is not None and model.published.charges is None and model.past is None:
            self._draw_charge(canvas, model.published, model.demand)
        if model.plan is not None:
            planned_w = model.plan.peak_target_w
            draw_figure(canvas, 4, say("panel.planned_peak"), kw(planned_w, 7), " kW")
            if contracted_w is not None and planned_w > contracted_w + NEAR_W:
                draw_excess(canvas, 4, planned_w - contracted_w)
        if old := old_title(model):
            canvas.put(6, 0, old.ljust(canvas.width - 6), Ink.MEDIUM)

    @staticmethod
    def _draw_peak(canvas: Canvas, published: Published, terms: DemandTerms) -> None:
        """The peak so far; where the mean of several days is billed, what is free to draw today."""
        label = peak_label(published) if terms.top_days == 1 else say("panel.free_today")
        x = draw_figure(canvas, 1, label, kw(published.month_peak_w, 7), " kW")
        draw_unmeasured(canvas, x, published)

    @staticmethod
    def _draw_limiting(canvas: Canvas, published: Published, now: ChargesNow, timezone: str) -> None:
        """Which of several charges limits import now and what it leaves free, and what all bill so far."""
        canvas.fit(6, 0, limiting_texts(now, timezone), Ink.DIM)
        free = kw(published.month_peak_w, 7) if now.charge else "      —"
        x = draw_figure(canvas, 1, say("peak.free_now"), free, " kW")
        draw_unmeasured(canvas, x, published)
        if now.count:
            draw_figure(canvas, 3, say("panel.charges"), f"{now.eur:7.0f}", f" EUR {say('panel.counted', n=now.count)}")

    @staticmethod
    def _draw_charge(canvas: Canvas, published: Published, terms: DemandTerms) -> None:
        """What the demand charge is so far."""
        billed_w = published.month_peak_w if published.billed_peak_w is None else published.billed_peak_w
        eur = billed_w / 1000 * terms.eur_per_kw
        draw_figure(canvas, 3, say("panel.charge"), f"{eur:7.0f}", f" EUR ({terms.eur_per_kw:g} EUR/kW)")
        if terms.top_days > 1:
            canvas.put(6, 0, say("panel.days_mean", n=terms.top_days, kw=f"{billed_w / 1000:.1f}"), Ink.DIM)


def draw_figure(canvas: Canvas, y: int, label: str, figure: str, unit: str) -> int:
    """Draw a row of label, figure and unit. Returns the column after it."""
    x = canvas.put(0, y, f"{padded(label, 15)}{figure}")
    return canvas.put(x, y, unit, Ink.DIM)


def draw_unmeasured(canvas: Canvas, x: int, published: Published) -> None:
    """How much of the billing period was not measured, behind the peak; nothing where all was."""
    if peak_is_lower_bound(published):
        canvas.put(x + 1, 1, say("panel.no_data", age=age(published.month_unmeasured_s)), Ink.DIM)


def draw_excess(canvas: Canvas, y: int, watts: float) -> None:
    """How far a peak is above the contracted one; nothing where it is not."""
    if watts > 0:
        canvas.put(26, y, f"▲H +{kw(watts).strip()} kW", Ink.MEDIUM)


class TopNodes(DiffWidget):
    """The nodes that draw most."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and five rows."""
        nodes = model.published.snapshot.nodes if model.published else ()
        many = len(nodes) > TOP_NODES
        title = say("panel.nodes_of", shown=TOP_NODES, n=len(nodes)) if many else say("panel.nodes")
        canvas.put(0, 0, title, Ink.DIM)
        canvas.put(14, 0, "   kW              GPU", Ink.DIM)
        canvas.put(20, 0, old_title(model), Ink.MEDIUM)
        if model.published is None:
            return
        full = max((n.w.good or 0.0 for n in nodes), default=0.0)
        for y, node in enumerate(top_nodes(nodes), start=1):
            self._draw_node(canvas, y, node, full)

    @staticmethod
    def _draw_node(canvas: Canvas, y: int, node: Node, full: float) -> None:
        """Name, power, its bar of `full` watts, GPUs; in place of the bar that the power is doubted."""
        canvas.put(0, y, cut(node.id, 13))
        canvas.put(14, y, kw(node.w.value), reading_ink(node.w))
        doubt = stale_word(node.w, 0.0) if node.w.doubted else ""
        canvas.put(20, y, doubt or bar(node.w.good, full, 10), Ink.MEDIUM if doubt else Ink.PLAIN)
        if node.gpus_total:
            canvas.right(36, y, gpus_text(node), Ink.DIM if node.gpus_busy.doubted else Ink.PLAIN)


def top_nodes(nodes: tuple[Node, ...]) -> list[Node]:
    """The five that draw most, those with no reading that may be used last."""
    return sorted(nodes, key=lambda n: (n.w.good is None, -(n.w.good or 0.0), n.id))[:TOP_NODES]


class GatewayPanel(DiffWidget):
    """How punctual the gateway is, and which devices do not answer."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and rows of devices."""
        x = canvas.put(0, 0, say("panel.gateway"), Ink.DIM) + 2
        if not_kept(model, "links"):
            canvas.put(0, 1, say("panel.links_then"), Ink.DIM)
            return
        if model.published is None:
            return
        if old := old_title(model):
            canvas.fit(x, 0, [old], Ink.MEDIUM)
        elif model.published.clock is not None and model.published.clock.machine_utc_s is not None:
            text, ink = clock_line(model.published.clock)
            canvas.fit(x, 0, [text, ""], ink)
        devices = model.published.snapshot.devices
        self._draw_tick(canvas, model.published.loop, past=model.past is not None)
        asleep = {pv.id for pv in model.published.snapshot.pv if pv.asleep}
        lost = [d for d in devices if not d.online and d.id not in asleep]
        online = sum(d.online for d in devices)
        text = say("panel.devices", online=online, n=len(devices))
        x = canvas.put(0, 3, text, Ink.MEDIUM if lost else Ink.PLAIN)
        if asleep:
            x = canvas.put(x, 3, f"  {say('panel.pv_asleep', n=len(asleep))}", Ink.DIM)
        canvas.fit(x, 3, [pv_limited_text(model.published.decision), ""], Ink.MEDIUM)
        for y, device in enumerate(lost, start=4):
            canvas.put(0, y, cut(f"{device.id} {age(device.age_s)}: {device.error}", canvas.width))

    @staticmethod
    def _draw_tick(canvas: Canvas, loop: LoopStats, past: bool) -> None:
        """How punctual it is, and how many consoles listen; of a past that is not kept."""
        if past:
            canvas.put(0, 1, say("panel.tick_then"), Ink.DIM)
            return
        if loop.period_s:
            hz, late = f"{1 / loop.period_s:.3g}", f"{loop.lateness_p999_ms:.0f}"
            canvas.put(0, 1, say("panel.tick", hz=hz, late=late))
        canvas.put(0, 2, say("panel.overruns", overruns=loop.overruns, consoles=loop.consoles))


def pv_limited_text(decision: Decision) -> str:
    """How many PV inverters are limited; empty: none."""
    limited = sum(limit.w is not None for limit in decision.pv_limits)
    return f"  {say('panel.pv_limited', n=limited)}" if limited else ""


class RecentEvents(DiffWidget):
    """The last five events."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A row each, the newest first."""
        canvas.put(1, 0, say("panel.events"), Ink.DIM)
        for y, event in enumerate(reversed(model.events[-(canvas.height - 1) :]), start=1):
            event_row(canvas, y, event, clock(event.utc_s, model.timezone), model.timezone)


def event_row(canvas: Canvas, y: int, event: Event, when: str, timezone: str) -> None:
    """One event: when, mark of its severity, kind, subject, text, who. Times in its text are the site's."""
    mark = SEVERITY_MARK.get(event.severity, " "), SEVERITY_INK.get(event.severity, Ink.PLAIN)
    who = f"  {event.who}" if event.who else ""
    line_row(canvas, y, when, mark, event.kind, event.subject, local_times(event.text, timezone) + who)


def line_row(canvas: Canvas, y: int, when: str, mark: tuple[str, Ink], kind: str, subject: str, text: str) -> None:
    """One line of a log at its fixed columns."""
    x = canvas.put(1, y, when, Ink.DIM) + 1
    canvas.put(x, y, *mark)
    canvas.put(x + 2, y, cut(kind, 7), Ink.DIM)
    end = canvas.put(x + 10, y, cut(subject, 16 + spare_columns(canvas.width, SUBJECT_MORE)))
    x = max(x + 28, end + 2)
    canvas.put(x, y, cut(text, canvas.width - x - 1))
