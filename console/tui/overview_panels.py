"""What a larger terminal adds beside and below the overview: month, nodes, gateway, last events."""

from __future__ import annotations

from console.display.formats import age, clock, kw
from console.display.ink import Ink
from console.display.viewmodel import Model
from console.display.wrapping import cut
from console.tui.canvas import Canvas
from console.tui.charts import bar
from console.tui.diff_widget import DiffWidget
from dispatch.model.equipment import Node
from dispatch.model.events import Event

SEVERITY_INK = {"alarm": Ink.HIGH, "warning": Ink.MEDIUM}
SEVERITY_MARK = {"alarm": "▲", "warning": "!"}
TOP_NODES = 5
NEAR_W = 50.0  # a planned peak this much above the contract is at it, as shown


class MonthPanel(DiffWidget):
    """The month's peak so far and what it costs."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and up to four rows."""
        if model.published is None:
            canvas.put(0, 0, "Month", Ink.DIM)
            return
        peak = model.published.month_peak_w
        contracted, terms, billed = model.limit("contracted_peak_w"), model.demand, model.published.billed_peak_w
        missing_s = model.published.month_unmeasured_s
        bound = missing_s >= 1
        canvas.put(0, 0, "Month" if terms.per == "month" else "Year", Ink.DIM)
        so_far = "peak at least" if bound else "peak so far"
        canvas.put(0, 1, f"{so_far if terms.top_days == 1 else 'free today':<15}{kw(peak, 7)}")
        x = canvas.put(22, 1, " kW", Ink.DIM)
        if bound:
            canvas.put(x + 1, 1, f"{age(missing_s)} missing", Ink.DIM)
        if contracted is not None:
            canvas.put(0, 2, f"contracted     {kw(contracted, 7)}")
            canvas.put(22, 2, " kW", Ink.DIM)
            if peak > contracted:
                canvas.put(26, 2, f"▲H +{kw(peak - contracted).strip()} kW", Ink.MEDIUM)
        if model.welcome is not None:
            billed_kw = (peak if billed is None else billed) / 1000
            canvas.put(0, 3, f"demand charge  {billed_kw * terms.eur_per_kw:7.0f}")
            canvas.put(22, 3, f" EUR at {terms.eur_per_kw:g} /kW", Ink.DIM)
            if terms.top_days > 1:
                canvas.put(6, 0, f"{terms.top_days} highest days' mean {billed_kw:.1f} kW", Ink.DIM)
        if model.plan is not None:
            planned = model.plan.peak_target_w
            canvas.put(0, 4, f"planned peak   {kw(planned, 7)}")
            canvas.put(22, 4, " kW", Ink.DIM)
            if contracted is not None and planned > contracted + NEAR_W:
                canvas.put(26, 4, f"▲H +{kw(planned - contracted).strip()} kW", Ink.MEDIUM)


class TopNodes(DiffWidget):
    """The nodes that draw most."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and five rows."""
        canvas.put(0, 0, "Nodes", Ink.DIM)
        canvas.put(14, 0, "   kW              GPU", Ink.DIM)
        if model.published is None:
            return
        for y, node in enumerate(top_nodes(model.published.snapshot.nodes), start=1):
            canvas.put(0, y, cut(node.id, 13))
            canvas.put(14, y, kw(node.w.value), Ink.DIM if node.w.good is None else Ink.PLAIN)
            full = max((n.w.value or 0.0) for n in model.published.snapshot.nodes)
            canvas.put(20, y, bar(node.w.good, full, 10))
            if node.gpus_total:
                busy = node.gpus_busy.good
                canvas.right(36, y, f"{'—' if busy is None else f'{busy:.0f}'}/{node.gpus_total}")


def top_nodes(nodes: tuple[Node, ...]) -> list[Node]:
    """The five that draw most, those with no reading last."""
    return sorted(nodes, key=lambda n: (n.w.value is None, -(n.w.value or 0.0), n.id))[:TOP_NODES]


class GatewayPanel(DiffWidget):
    """How punctual the gateway is, and which devices do not answer."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title and rows of devices."""
        canvas.put(0, 0, "Gateway", Ink.DIM)
        if model.published is None:
            return
        loop, devices = model.published.loop, model.published.snapshot.devices
        canvas.put(
            0, 1, f"tick {1 / loop.period_s:.3g} Hz  late p99.9 {loop.lateness_p999_ms:.0f} ms" if loop.period_s else ""
        )
        canvas.put(0, 2, f"overruns {loop.overruns}  consoles {loop.consoles}")
        online = sum(d.online for d in devices)
        canvas.put(
            0, 3, f"devices {online} of {len(devices)} answer", Ink.PLAIN if online == len(devices) else Ink.MEDIUM
        )
        for y, device in enumerate((d for d in devices if not d.online), start=4):
            canvas.put(0, y, cut(f"{device.id} {age(device.age_s)}: {device.error}", canvas.width))


class RecentEvents(DiffWidget):
    """The last five events."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A row each, the newest first."""
        canvas.put(1, 0, "Events", Ink.DIM)
        for y, event in enumerate(reversed(model.events[-(canvas.height - 1) :]), start=1):
            event_row(canvas, y, event, clock(event.utc_s, model.timezone))


def event_row(canvas: Canvas, y: int, event: Event, when: str) -> None:
    """One event: when, mark of its severity, kind, subject, text, who."""
    mark = SEVERITY_MARK.get(event.severity, " "), SEVERITY_INK.get(event.severity, Ink.PLAIN)
    who = f"  {event.who}" if event.who else ""
    line_row(canvas, y, when, mark, event.kind, event.subject, event.text + who)


def line_row(canvas: Canvas, y: int, when: str, mark: tuple[str, Ink], kind: str, subject: str, text: str) -> None:
    """One line of a log at its fixed columns."""
    x = canvas.put(1, y, when, Ink.DIM) + 1
    canvas.put(x, y, *mark)
    canvas.put(x + 2, y, cut(kind, 7), Ink.DIM)
    canvas.put(x + 10, y, cut(subject, 16))
    x += 28
    canvas.put(x, y, cut(text, canvas.width - x - 1))
