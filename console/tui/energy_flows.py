"""The four flows of the one-line diagram: grid, battery, PV, compute. Each value stays in its place."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import ABSENT, duration, hour_minute, kw, number
from console.display.import_limit import import_limit
from console.display.ink import Ink
from console.display.islanding_text import (
    island_state,
    islanding_view,
    left_grid_utc_s,
    node_counts,
    off_grid,
    runtime_is_old,
    runtime_texts,
    silent_nodes,
    switch_open,
)
from console.display.language import say, say_n
from console.display.status_text import battery_direction, doubt_word, flow_arrow, grid_direction, seen_text, stale_word
from console.display.viewmodel import Model, combined, not_kept, soc_gap, soc_reading
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget
from console.tui.reading_cells import Gauge, draw_gauge, reading_ink
from dispatch.model.equipment import Meter, Node, Switch
from dispatch.model.islanding import OPEN_STATES, IslandState
from dispatch.model.readings import Reading, total
from dispatch.model.snapshot import Snapshot
from gateway.api.protocol import Published

BAR_COLUMNS = 8


class EnergyFlow(DiffWidget):
    """One column of the diagram: title, power, arrow, and three rows of its own."""

    title = ""  # code of a label

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Six rows."""
        canvas.put(0, 0, say(self.title), Ink.DIM)
        if model.published is None:
            canvas.put(4, 1, ABSENT if model.past else "…", Ink.DIM)
            return
        self.draw_values(canvas, model, model.published)

    def draw_values(self, canvas: Canvas, model: Model, published: Published) -> None:
        """Draw what the last snapshot says."""
        raise NotImplementedError(f"{type(self).__name__} must say what it draws")


def draw_power(
    canvas: Canvas, model: Model, reading: Reading, direction: str, stale: str = "", ink: Ink = Ink.PLAIN
) -> None:
    """Row 1: the value, its unit, its direction; or that it is missing or stale, with the last value dim.

    stale: what to write for a value that does not change any more, in place of its age. ink: of the direction.
    """
    stale = stale or stale_word(reading, model.extra_age_s)
    x = canvas.put(0, 1, kw(None if reading.value is None else abs(reading.value)), Ink.DIM if stale else Ink.PLAIN)
    x = canvas.put(x, 1, " kW ", Ink.DIM)
    if reading.value is None:
        canvas.fit(x, 1, [say("flow.missing")], Ink.MEDIUM)
    elif stale:
        canvas.fit(x, 1, [stale, stale.split()[0]], Ink.MEDIUM)
    else:
        canvas.fit(x, 1, [direction], ink)


def draw_hz_and_volts(canvas: Canvas, y: int, hz: Reading, volts: Reading) -> None:
    """A row of frequency and voltage."""
    x = canvas.put(0, y, number(hz.value, 5, 2), reading_ink(hz))
    x = canvas.put(x, y, " Hz ", Ink.DIM)
    x = canvas.put(x, y, number(volts.value, 4, 0), reading_ink(volts))
    canvas.put(x, y, " V", Ink.DIM)


class GridFlow(EnergyFlow):
    """Import at the PCC against the limit of this metering interval; on a generator its power against its rating.

    Behind an open switch, the grid as the switch sees it.
    """

    title = "flow.grid"

    def draw_values(self, canvas: Canvas, model: Model, published: Published) -> None:
        """Power, arrow, limit, bar, voltage and frequency."""
        grid = published.snapshot.grid
        frozen = say("flow.frozen") if published.decision.meter_frozen and not model.stale else ""
        if island_state(model) is IslandState.GENSET:
            word = say("flow.generator" if (grid.w.value or 0.0) >= 0 else "flow.backwards")
            draw_power(canvas, model, grid.w, word, frozen)
            canvas.put(0, 2, flow_arrow(grid.w.value), Ink.DIM)
            self._draw_rating(canvas, model, grid.w)
            self._draw_bus(canvas, grid)
            return
        if model.past is not None and island_state(model) in OPEN_STATES:  # the switch's own words are not on record
            draw_power(canvas, model, grid.w, say("flow.open"))
            canvas.put(0, 2, "───   ───", Ink.DIM)
            canvas.put(0, 3, say("flow.side_not_kept"), Ink.DIM)
            return
        ink = Ink.DIM if _switch_doubt(published.snapshot.switches) else Ink.PLAIN
        if switch_open(published.snapshot.switches):
            draw_power(canvas, model, grid.w, say("flow.open"), frozen, ink)
            self._draw_open(canvas, published.snapshot.switches)
            self._draw_grid_side(canvas, model, published.snapshot.switches[0])
            return
        draw_power(canvas, model, grid.w, grid_direction(grid.w.value), frozen, ink)
        canvas.put(0, 2, flow_arrow(grid.w.value), Ink.DIM)
        if off_grid(model):  # the contact does not say open: no limit of import counts
            canvas.fit(0, 3, [say("flow.not_closed_long"), say("flow.not_closed")], Ink.MEDIUM)
        else:
            self._draw_limit(canvas, model, published)
        self._draw_bus(canvas, grid)

    @staticmethod
    def _draw_open(canvas: Canvas, switches: Sequence[Switch]) -> None:
        """The line that an open switch breaks; what it says of itself may be doubted."""
        if doubt := _switch_doubt(switches):
            canvas.fit(0, 2, [f"── {doubt}", doubt], Ink.MEDIUM)
        else:
            canvas.put(0, 2, "───   ───", Ink.DIM)

    @staticmethod
    def _draw_bus(canvas: Canvas, grid: Meter) -> None:
        """Frequency, and the lowest voltage of a phase."""
        lowest = min((v for v in grid.v if v.value is not None), key=lambda v: v.value or 0.0, default=Reading())
        draw_hz_and_volts(canvas, 5, grid.hz, lowest)

    @staticmethod
    def _draw_rating(canvas: Canvas, model: Model, w: Reading) -> None:
        """What the generator is rated at, and the bar."""
        rated_w = model.limit("genset_w")
        if rated_w is None:
            canvas.put(0, 3, say("flow.rating_unknown"), Ink.DIM)
            return
        draw_kw(canvas, canvas.put(0, 3, f"{say('flow.rated')} ", Ink.DIM), 3, rated_w)
        draw_gauge(canvas, 0, 4, Gauge(w, 1.25 * rated_w, rated_w), BAR_COLUMNS)

    @staticmethod
    def _draw_limit(canvas: Canvas, model: Model, published: Published) -> None:
        """Which limit of import binds, and the bar; a mark where this import would raise the interval's mean above the
        contract or the month's peak.
        """
        grid_w, interval = published.snapshot.grid.w, published.interval
        outside = None if model.past is None else model.past.outside_w
        word, limit_w = import_limit(published, model.limit("fuse_w"), outside)
        draw_kw(canvas, canvas.put(0, 3, f"{say(f'limit.{word}')} ", Ink.DIM), 3, limit_w)
        if grid_w.good is not None and grid_w.good > interval.held_w(published.snapshot.utc_s):
            canvas.put(6, 0, "▲H", Ink.MEDIUM)
        draw_gauge(canvas, 0, 4, Gauge(grid_w, 1.25 * max(interval.limit_w, limit_w), limit_w), BAR_COLUMNS)

    @staticmethod
    def _draw_grid_side(canvas: Canvas, model: Model, switch: Switch) -> None:
        """Since when the switch is open, and the grid beyond it as the switch sees it."""
        if (view := islanding_view(model)) is not None:
            canvas.put(0, 3, say("flow.since", time=hour_minute(left_grid_utc_s(view), model.timezone)), Ink.DIM)
        ink = Ink.DIM if switch.grid_voltage.doubted else Ink.PLAIN
        canvas.put(0, 4, say("flow.grid_voltage", voltage=seen_text(switch.grid_voltage.good)), ink)
        if switch.grid_v.good is not None and switch.grid_hz.good is not None:
            draw_hz_and_volts(canvas, 5, switch.grid_hz, switch.grid_v)


def _switch_doubt(switches: Sequence[Switch]) -> str:
    """ "SUSPECT" where a switch says something that is not believed."""
    return doubt_word(part for s in switches for part in (s.position, s.source, s.grid_voltage))


class BatteryFlow(EnergyFlow):
    """Battery power, state of charge with the reserve, and how long it would hold this load."""

    title = "flow.battery"

    def draw_values(self, canvas: Canvas, model: Model, published: Published) -> None:
        """Power, arrow, SoC, bar, runtime; that there is none on a site without."""
        if not published.snapshot.pcs and not published.snapshot.batteries:
            canvas.put(4, 1, say("flow.none"), Ink.DIM)
            return
        power = combined([p.w for p in published.snapshot.pcs])
        draw_power(canvas, model, power, battery_direction(power.value))
        canvas.put(0, 2, flow_arrow(power.value), Ink.DIM)
        self._draw_soc(canvas, model, soc_reading(model))
        if island_state(model) in OPEN_STATES:
            x = canvas.put(0, 5, f"{say('flow.lasts')} ", Ink.DIM)
            canvas.fit(x, 5, runtime_texts(model), Ink.MEDIUM if runtime_is_old(model) else Ink.PLAIN)
        elif above_rating(model):
            canvas.put(0, 5, say("flow.cannot_hold"), Ink.MEDIUM)
        elif doubt := doubt_word((soc_reading(model), site_load(published.snapshot)[0])):
            held = duration(holds_s(model))
            texts = [
                f"{say('flow.holds')} {held} {doubt}",
                f"{say('flow.holds_short')} {held} {doubt}",
                f"{held} {doubt}",
            ]
            canvas.fit(0, 5, texts, Ink.MEDIUM)
        else:
            x = canvas.put(0, 5, f"{say('flow.holds')} ", Ink.DIM)
            canvas.put(x, 5, duration(holds_s(model)))

    @staticmethod
    def _draw_soc(canvas: Canvas, model: Model, soc: Reading) -> None:
        """SoC, whether it is below the reserve, stale or not known of all batteries, and its bar with the reserve."""
        reserve = model.limit("reserve_soc_pct")
        x = canvas.put(0, 3, f"{say('flow.soc')} ", Ink.DIM)
        x = canvas.put(x, 3, number(soc.value, 5), reading_ink(soc))
        x = canvas.put(x, 3, " %", Ink.DIM)
        if note := soc_gap(model) or stale_word(soc, model.extra_age_s):
            canvas.fit(x, 3, [f" {note}", f" {note.replace(' of ', '/')}", f" {note.split()[0]}"], Ink.MEDIUM)
        elif soc.good is not None and reserve is not None and soc.good < reserve:
            canvas.put(x + 1, 3, "▼L", Ink.MEDIUM)
        x = draw_gauge(canvas, 0, 4, Gauge(soc, 100, reserve), BAR_COLUMNS)
        if reserve is not None:
            canvas.put(x, 4, f" {say('flow.reserve', pct=f'{reserve:.0f}')}", Ink.DIM)


def site_load(snapshot: Snapshot) -> tuple[Reading, str]:
    """The site's load and how it is known: by balance of flows that are all fresh, by the load meter, or not at all.

    Where only the PV is not known, it is the load less PV, and says so.

    A stale flow is never added to fresh ones: the sum would be of no moment that ever was.
    """
    parts = (snapshot.grid.w, *(p.w for p in snapshot.pcs), *(p.w for p in snapshot.pv))
    if all(r.good is not None for r in parts):
        return combined(parts), say("flow.load")
    if snapshot.load is not None and snapshot.load.w.good is not None:
        return snapshot.load.w, say("flow.by_meter")
    if snapshot.net_load_w is not None:
        return combined((snapshot.grid.w, *(p.w for p in snapshot.pcs))), say("flow.net_load")
    return Reading(), say("flow.load")


def holds_s(model: Model) -> float | None:
    """How long the battery alone would carry the load of now, s: stored energy above the lowest SoC, losses included.

    None where SoC, rated energy or load is not known, or there is no load; in a past of which it is not on record what
    the PCS could give.
    """
    if model.published is None or not_kept(model, "ride"):
        return None
    snapshot = model.published.snapshot
    soc, load_w, energy_kwh = soc_reading(model).good, site_load(snapshot)[0].good, model.limit("energy_kwh")
    if soc is None or energy_kwh is None or load_w is None or load_w <= 0:
        return None
    usable_pct = max(0.0, soc - (model.limit("soc_min_pct") or 0.0))
    efficiency = model.limit("discharge_efficiency") or 1.0
    return usable_pct / 100 * energy_kwh * 1000 * efficiency / load_w * 3600


def above_rating(model: Model) -> bool:
    """Whether the load of now is more than PCS and battery can give; False where one of them is not known."""
    ride = model.published.decision.ride if model.published else None
    load_w = site_load(model.published.snapshot)[0].good if model.published else None
    return ride is not None and ride.most_w is not None and load_w is not None and load_w > ride.most_w


class PvFlow(EnergyFlow):
    """PV power of its rating."""

    title = "flow.pv"

    def draw_values(self, canvas: Canvas, model: Model, published: Published) -> None:
        """Power, arrow, rating, bar; that there is none on a site without."""
        inverters = published.snapshot.pv
        if not inverters:
            canvas.put(4, 1, say("flow.none"), Ink.DIM)
            return
        power = combined([p.w for p in inverters])
        draw_power(canvas, model, power, say("flow.asleep") if all(pv.asleep for pv in inverters) else "")
        canvas.put(0, 2, flow_arrow(power.value), Ink.DIM)
        peak_w = model.limit("pv_peak_w")
        if peak_w:
            canvas.put(0, 3, say("flow.of_kwp", kw=kw(peak_w).strip()), Ink.DIM)
            draw_gauge(canvas, 0, 4, Gauge(power, peak_w), BAR_COLUMNS)


class ComputeFlow(EnergyFlow):
    """The site's load, and the nodes' part of it."""

    title = "flow.compute"

    def draw_values(self, canvas: Canvas, model: Model, published: Published) -> None:
        """Load by balance, nodes, pulse, critical share; GPUs busy, or what load shedding asks of the nodes."""
        nodes = published.snapshot.nodes
        draw_power(canvas, model, *site_load(published.snapshot))
        run, capped, suspended, off = node_counts(model)
        self._draw_nodes(canvas, nodes, run)
        doubted = doubt_word(part for n in nodes for part in (n.w, n.gpus_busy))
        canvas.fit(8, 0, [say("flow.nodes_doubted", doubt=doubted) if doubted else "", doubted], Ink.MEDIUM)
        if published.pulse_since_utc_s is not None:
            canvas.put(0, 3, say("flow.pulse", time=hour_minute(published.pulse_since_utc_s, model.timezone)), Ink.BOLD)
        elif not not_kept(model, "pulse"):
            canvas.put(0, 3, say("flow.no_pulse"), Ink.DIM)
        self._draw_critical(canvas, [n for n in nodes if n.critical])
        if texts := asked_texts(capped, suspended, off):
            if silent_nodes(model):  # what nodes do that do not answer is not known
                texts = [say("flow.asked", what=text) for text in texts]
            canvas.fit(0, 5, texts, Ink.MEDIUM)
        else:
            self._draw_gpus(canvas, nodes)

    @staticmethod
    def _draw_nodes(canvas: Canvas, nodes: Sequence[Node], run: int) -> None:
        """How many nodes there are, of how many the power is known, and their sum. run: not suspended or shut down."""
        known_w = [n.w.good for n in nodes if n.w.good is not None]
        if len(known_w) < len(nodes):
            text, ink = say("flow.nodes_known", known=len(known_w), n=len(nodes)), Ink.MEDIUM
        elif run < len(nodes):
            text, ink = say("flow.nodes_run", run=run, n=len(nodes)), Ink.MEDIUM
        else:
            text, ink = say_n("flow.nodes", len(nodes)), Ink.DIM
        x = canvas.put(0, 2, f"{text} ", ink)
        ink = Ink.DIM if doubt_word(n.w for n in nodes) else Ink.PLAIN
        canvas.fit(x, 2, [f"{kw(sum(known_w) if known_w else None).strip()} kW"], ink)

    @staticmethod
    def _draw_critical(canvas: Canvas, critical: Sequence[Node]) -> None:
        """What the critical nodes draw together; a dash if one of them is not known."""
        if critical:
            x = canvas.put(0, 4, f"{say('flow.critical')} ", Ink.DIM)
            doubted = doubt_word(n.w for n in critical)
            draw_kw(canvas, x, 4, total([n.w for n in critical]), Ink.DIM if doubted else Ink.PLAIN)

    @staticmethod
    def _draw_gpus(canvas: Canvas, nodes: Sequence[Node]) -> None:
        """How many GPUs are busy of those that are known, and how many of all those are."""
        count = sum(n.gpus_total for n in nodes)
        known = [n for n in nodes if n.gpus_total and n.gpus_busy.good is not None]
        busy, of = [n.gpus_busy.good or 0.0 for n in known], sum(n.gpus_total for n in known)
        x = canvas.put(0, 5, "GPUs ", Ink.DIM)
        if not count:
            canvas.put(x, 5, say("flow.gpus_none"))
            return
        doubted = doubt_word(n.gpus_busy for n in known)
        x = canvas.put(x, 5, f"{sum(busy):.0f}" if busy else ABSENT, Ink.DIM if doubted else Ink.PLAIN)
        if busy and of < count:
            unread = count - of
            texts = [
                f" {say('flow.gpus_unread_long', of=of, n=unread)}",
                say("flow.gpus_unread", n=unread),
                f", {unread} —",
            ]
            canvas.fit(x, 5, texts, Ink.MEDIUM)
            return
        canvas.fit(x, 5, [f" {say('flow.gpus_busy_long', n=count)}", f" {say('flow.gpus_busy', n=count)}"], Ink.DIM)


def asked_texts(capped: int, suspended: int, off: int) -> list[str]:
    """What load shedding asks of how many nodes, the longest text first; none where it asks nothing."""
    if off:
        return [say("flow.shut_down", n=off), say("flow.off", n=off)]
    if suspended:
        counts = {"capped": capped, "suspended": suspended}
        return [say("flow.capped_suspended", **counts), say("flow.cap_susp", **counts), say("flow.susp", n=suspended)]
    return [say("flow.capped", n=capped)] if capped else []


def draw_kw(canvas: Canvas, x: int, y: int, watts: float | None, ink: Ink = Ink.PLAIN) -> None:
    """A power in kW with its unit, not aligned."""
    x = canvas.put(x, y, kw(watts).strip(), ink)
    canvas.put(x, y, " kW", Ink.DIM)
