"""The four flows of the one-line diagram: grid, battery, PV, compute. Each value stays in its place."""

from __future__ import annotations

from console.display.formats import duration, hour_minute, kw, number
from console.display.ink import Ink
from console.display.islanding_text import (
    RIDING,
    lasts_words,
    left_grid_utc_s,
    node_counts,
    open_switch,
    state_of,
    view_of,
)
from console.display.status_text import arrow, battery_word, grid_word, stale_word
from console.display.viewmodel import Model, combined, soc_reading
from console.tui.canvas import Canvas
from console.tui.charts import bar, mark_at
from console.tui.diff_widget import DiffWidget
from dispatch.model.readings import Quality, Reading
from dispatch.model.snapshot import Snapshot

BAR = 8


class Flow(DiffWidget):
    """One column of the diagram: title, power, arrow, and three rows of its own."""

    title = ""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Six rows."""
        canvas.put(0, 0, self.title, Ink.DIM)
        if model.published is None:
            canvas.put(4, 1, "…", Ink.DIM)
            return
        self.fill_in(canvas, model)

    def fill_in(self, canvas: Canvas, model: Model) -> None:
        """Draw what is known."""
        raise NotImplementedError(f"{type(self).__name__} must say what it draws")


def power(canvas: Canvas, model: Model, reading: Reading, word: str, stale: str = "") -> None:
    """Row 1: the value, its unit, its direction; or that it is missing or stale, the last value kept and dim.

    stale: what to say of a value that stands still, in place of its age.
    """
    stale = stale or stale_word(reading, model.extra_age_s)
    x = canvas.put(0, 1, kw(None if reading.value is None else abs(reading.value)), Ink.DIM if stale else Ink.PLAIN)
    x = canvas.put(x, 1, " kW ", Ink.DIM)
    if reading.value is None:
        canvas.put(x, 1, "missing", Ink.MEDIUM)
    elif stale:
        canvas.put(x, 1, stale, Ink.MEDIUM)
    else:
        canvas.put(x, 1, word)


def fresh(reading: Reading) -> Ink:
    """Plain for a value that may be used, dim for one that is kept for display."""
    return Ink.PLAIN if reading.quality is Quality.GOOD else Ink.DIM


def gauge(canvas: Canvas, y: int, value: float | None, full: float, mark: float | None) -> int:
    """A bar in its frame with a limit mark; returns the column after it."""
    canvas.put(0, y, "▕", Ink.DIM)
    filled = bar(value, full, BAR)
    canvas.put(1, y, filled)
    if mark is not None:
        at = mark_at(mark, full, BAR)
        if filled[at] == " ":
            canvas.put(1 + at, y, "┊")
        else:
            canvas.put(1 + at, y, "┊", Ink.MARK)
    return canvas.put(1 + BAR, y, "▏", Ink.DIM)


class GridFlow(Flow):
    """Import at the PCC against the limit of this metering interval."""

    title = "Grid"

    def fill_in(self, canvas: Canvas, model: Model) -> None:
        """Power, arrow, limit, bar, voltage and frequency."""
        assert model.published is not None
        grid, limit_w = model.published.snapshot.grid, model.published.interval.limit_w
        opened = open_switch(model.published.snapshot.switches)
        frozen = model.published.decision.meter_frozen and not model.stale
        power(canvas, model, grid.w, "open" if opened else grid_word(grid.w.value), "FROZEN" if frozen else "")
        canvas.put(0, 2, "───   ───" if opened else arrow(grid.w.value), Ink.DIM)
        if opened:
            self._grid_side(canvas, model)
            return
        x = canvas.put(0, 3, "limit ", Ink.DIM)
        x = canvas.put(x, 3, kw(limit_w).strip())
        canvas.put(x, 3, " kW", Ink.DIM)
        if grid.w.good is not None and grid.w.good > model.published.interval.held_w(model.published.snapshot.utc_s):
            canvas.put(
                6, 0, "▲H", Ink.MEDIUM
            )  # held to the end of the interval, this import raises its mean above the limit
        gauge(canvas, 4, grid.w.value, 1.25 * limit_w, limit_w)
        lowest = min((v for v in grid.v if v.value is not None), key=lambda v: v.value or 0.0, default=Reading())
        x = canvas.put(0, 5, number(grid.hz.value, 5, 2), fresh(grid.hz))
        x = canvas.put(x, 5, " Hz ", Ink.DIM)
        x = canvas.put(x, 5, number(lowest.value, 4, 0), fresh(lowest))
        canvas.put(x, 5, " V", Ink.DIM)

    @staticmethod
    def _grid_side(canvas: Canvas, model: Model) -> None:
        """Since when the switch is open, and the grid beyond it as the switch sees it."""
        assert model.published is not None
        if (view := view_of(model)) is not None:
            canvas.put(0, 3, f"since {hour_minute(left_grid_utc_s(view), model.timezone)}", Ink.DIM)
        switch = next(iter(model.published.snapshot.switches))
        canvas.put(0, 4, f"grid {switch.grid_voltage.good or 'not read'}")
        if switch.grid_v.good is not None and switch.grid_hz.good is not None:
            x = canvas.put(0, 5, number(switch.grid_hz.good, 5, 2))
            x = canvas.put(x, 5, " Hz ", Ink.DIM)
            x = canvas.put(x, 5, number(switch.grid_v.good, 4, 0))
            canvas.put(x, 5, " V", Ink.DIM)


class BatteryFlow(Flow):
    """Battery power, state of charge with the reserve, and how long it would hold this load."""

    title = "Battery"

    def fill_in(self, canvas: Canvas, model: Model) -> None:
        """Power, arrow, SoC, bar, runtime."""
        assert model.published is not None
        snapshot = model.published.snapshot
        total = combined([(p.w, 1.0) for p in snapshot.pcs])
        power(canvas, model, total, battery_word(total.value))
        canvas.put(0, 2, arrow(total.value), Ink.DIM)
        soc, reserve = soc_reading(model.published), model.limit("reserve_soc_pct")
        x = canvas.put(0, 3, "SoC ", Ink.DIM)
        x = canvas.put(x, 3, number(soc.value, 5), fresh(soc))
        x = canvas.put(x, 3, " %", Ink.DIM)
        if soc.good is not None and reserve is not None and soc.good < reserve:
            canvas.put(x + 1, 3, "▼L", Ink.MEDIUM)
        elif stale := stale_word(soc, model.extra_age_s):
            canvas.put(x, 3, f" {stale}", Ink.MEDIUM)
        x = gauge(canvas, 4, soc.value, 100, reserve)
        if reserve is not None:
            canvas.put(x, 4, f" {reserve:.0f} reserve", Ink.DIM)
        if state_of(model) in RIDING:
            x = canvas.put(0, 5, "lasts ", Ink.DIM)
            canvas.put(x, 5, lasts_words(model))
            return
        x = canvas.put(0, 5, "holds load ", Ink.DIM)
        canvas.put(x, 5, duration(holds_s(model)))


def site_load(snapshot: Snapshot) -> tuple[Reading, str]:
    """The site's load and how it is known: by balance of flows that are all fresh, by the load meter, or not at all.

    A stale flow is never added to fresh ones: the sum would be of no moment that ever was.
    """
    parts = (snapshot.grid.w, *(p.w for p in snapshot.pcs), *(p.w for p in snapshot.pv))
    if all(r.good is not None for r in parts):
        return combined([(r, 1.0) for r in parts]), "load"
    if snapshot.load is not None and snapshot.load.w.good is not None:
        return snapshot.load.w, "by meter"
    return Reading(), "load"


def holds_s(model: Model) -> float | None:
    """How long the battery alone would carry the load of now, s: stored energy above the lowest SoC, losses included.

    None where SoC, rated energy or load is not known, or there is no load.
    """
    if model.published is None:
        return None
    snapshot = model.published.snapshot
    soc, load_w, energy_kwh = soc_reading(model.published).good, site_load(snapshot)[0].good, model.limit("energy_kwh")
    if soc is None or energy_kwh is None or load_w is None or load_w <= 0:
        return None
    usable_pct = max(0.0, soc - (model.limit("soc_min_pct") or 0.0))
    efficiency = model.limit("discharge_efficiency") or 1.0
    return usable_pct / 100 * energy_kwh * 1000 * efficiency / load_w * 3600


class PvFlow(Flow):
    """PV power of its rating."""

    title = "PV"

    def fill_in(self, canvas: Canvas, model: Model) -> None:
        """Power, arrow, rating, bar; that there is none on a site without."""
        assert model.published is not None
        inverters = model.published.snapshot.pv
        if not inverters:
            canvas.put(4, 1, "none", Ink.DIM)
            return
        total = combined([(p.w, 1.0) for p in inverters])
        power(canvas, model, total, "")
        canvas.put(0, 2, arrow(total.value), Ink.DIM)
        peak_w = model.limit("pv_peak_w")
        if peak_w:
            canvas.put(0, 3, f"of {kw(peak_w).strip()} kWp", Ink.DIM)
            gauge(canvas, 4, total.value, peak_w, None)


class ComputeFlow(Flow):
    """The site's load, and the nodes' part of it."""

    title = "Compute"

    def fill_in(self, canvas: Canvas, model: Model) -> None:
        """Load by balance, nodes, GPUs busy, critical share, a pulse while there is one."""
        assert model.published is not None
        published = model.published
        snapshot = published.snapshot
        power(canvas, model, *site_load(snapshot))
        nodes = snapshot.nodes
        drawn = [n.w.good for n in nodes if n.w.good is not None]
        run, capped, suspended, off = node_counts(model)
        if len(drawn) < len(nodes):
            x = canvas.put(0, 2, f"{len(drawn)}/{len(nodes)} nodes ", Ink.MEDIUM)
        elif run < len(nodes):
            x = canvas.put(0, 2, f"{run} of {len(nodes)} run ", Ink.MEDIUM)
        else:
            x = canvas.put(0, 2, f"{len(nodes)} node{'' if len(nodes) == 1 else 's'} ", Ink.DIM)
        x = canvas.put(x, 2, kw(sum(drawn) if drawn else None).strip())
        canvas.put(x, 2, " kW", Ink.DIM)
        if published.pulse_since_utc_s is not None:
            canvas.put(0, 3, f"PULSE since {hour_minute(published.pulse_since_utc_s, model.timezone)}", Ink.BOLD)
        else:
            canvas.put(0, 3, "no pulse", Ink.DIM)
        critical = [n.w.good for n in nodes if n.critical]
        known = [w for w in critical if w is not None]
        if critical:
            x = canvas.put(0, 4, "critical ", Ink.DIM)
            x = canvas.put(x, 4, kw(sum(known) if len(known) == len(critical) else None).strip())
            canvas.put(x, 4, " kW", Ink.DIM)
        if capped or suspended or off:
            canvas.put(0, 5, f"capped {capped} susp. {suspended}" if not off else f"shut down {off}", Ink.MEDIUM)
            return
        total = sum(n.gpus_total for n in nodes)
        busy = [n.gpus_busy.good for n in nodes if n.gpus_total]
        x = canvas.put(0, 5, "GPUs ", Ink.DIM)
        if total:
            counted = sum(b for b in busy if b is not None)
            x = canvas.put(x, 5, "—" if all(b is None for b in busy) else f"{counted:.0f}")
            canvas.put(x, 5, f" of {total} busy", Ink.DIM)
        else:
            canvas.put(x, 5, "none")
