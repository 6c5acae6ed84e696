"""The values of the Island view, a row each: SoC, runtime, switch, return to the grid, bus, nodes."""

from __future__ import annotations

from console.display.formats import ABSENT, countdown, duration, kw, number
from console.display.ink import Ink
from console.display.islanding_text import (
    extremes_text,
    in_normal_operation,
    island_state,
    islanding_view,
    node_counts,
    nodes_run_text,
    running_drill,
    runtime_is_old,
    runtime_text,
    too_much_text,
)
from console.display.language import say, say_of, words
from console.display.status_text import battery_direction, doubt_word, seen_text, stale_word
from console.display.viewmodel import TREND_STEP_S, Model, combined, not_kept, series, soc_gap, soc_reading
from console.display.wrapping import columns, cut
from console.tui.canvas import Canvas
from console.tui.charts import Raster
from console.tui.reading_cells import Gauge, draw_gauge, reading_ink
from dispatch.model.equipment import Switch
from dispatch.model.islanding import IslandState, Reconnect, RideThrough
from dispatch.model.readings import Reading

DEAD_BUS_STATES = (IslandState.BLACKOUT, IslandState.BLACK_START)
FIGURE_COLUMN = 10
BAR_COLUMNS = 10
TRACK_COLUMN, TRACK_COLUMNS = 50, 24  # of the SoC track
LEAST_SPAN_PCT = 0.5  # of the SoC track's scale


def draw_values(canvas: Canvas, top: int, model: Model) -> int:
    """All rows, fewer in normal operation. Returns the row below them."""
    if model.past is not None:
        draw_soc(canvas, top, model)
        draw_soc_track(canvas, top, model)
        kept = not not_kept(model, "ride")
        if kept:
            draw_runtime(canvas, top + 1, model)
        draw_label(canvas, top + 1 + kept, say("island.not_on_record" if kept else "island.not_on_record_runtime"))
        return top + 2 + kept
    rows = (draw_soc, draw_runtime, draw_switch, draw_return, draw_bus, draw_nodes)
    shown = rows[:3] if in_normal_operation(model) else rows
    for y, draw in enumerate(shown, start=top):
        draw(canvas, y, model)
    draw_soc_track(canvas, top, model)
    return top + len(shown)


def draw_label(canvas: Canvas, y: int, text: str) -> None:
    """A row's name."""
    canvas.put(1, y, text, Ink.DIM)


def draw_soc(canvas: Canvas, y: int, model: Model) -> None:
    """SoC, its bar with the reserve, and what the battery gives."""
    assert model.published is not None
    draw_label(canvas, y, say("island.soc"))
    soc = soc_reading(model)
    x = canvas.put(FIGURE_COLUMN, y, number(soc.value, 5), reading_ink(soc))
    x = canvas.put(x, y, " % ", Ink.DIM)
    x = draw_gauge(canvas, x, y, Gauge(soc, 100, model.limit("reserve_soc_pct")), BAR_COLUMNS) + 1
    if note := soc_gap(model) or stale_word(soc, model.extra_age_s):
        x = canvas.put(x, y, note, Ink.MEDIUM) + 1
        if soc.good is None:
            return
    total = combined([p.w for p in model.published.snapshot.pcs])
    x = canvas.put(x, y, kw(None if total.value is None else abs(total.value)), reading_ink(total))
    stale = "" if total.value is None else stale_word(total, model.extra_age_s)
    x = canvas.put(x, y, " kW ", Ink.DIM)
    canvas.put(x, y, stale or battery_direction(total.value), Ink.MEDIUM if stale else Ink.DIM)


def draw_runtime(canvas: Canvas, y: int, model: Model) -> None:
    """How long the battery lasts, low to best estimate; what is promised."""
    assert model.published is not None
    ride = model.published.decision.ride
    draw_label(canvas, y, say("island.runtime"))
    fed = in_normal_operation(model) or island_state(model) is IslandState.GENSET
    if fed and (too_much := too_much_text(model)):
        canvas.put(FIGURE_COLUMN, y, too_much, Ink.MEDIUM)
        return
    x = canvas.put(FIGURE_COLUMN, y, runtime_text(model), Ink.DIM if runtime_is_old(model) else Ink.PLAIN) + 1
    if runtime_is_old(model):
        canvas.put(x, y, say("island.runtime_old"), Ink.MEDIUM)
    elif ride is not None and ride.promised_left_s is not None:
        canvas.put(x, y, say("island.promised", duration=duration(ride.promised_left_s)), Ink.DIM)
    elif in_normal_operation(model):
        canvas.put(x, y, say("island.if_grid" if model.past is None else "island.if_grid_then"), Ink.DIM)
    elif fed:
        canvas.put(x, y, say("island.if_genset" if model.past is None else "island.if_genset_then"), Ink.DIM)


def draw_switch(canvas: Canvas, y: int, model: Model) -> None:
    """Draw the switch: contacts, local or remote control, voltage on the grid side, transfer time it recorded."""
    assert model.published is not None
    draw_label(canvas, y, say("island.switch"))
    switch = next(iter(model.published.snapshot.switches), None)
    if switch is None:
        canvas.put(FIGURE_COLUMN, y, say("island.no_switch"))
        return
    drill = running_drill(model)
    gap = say("island.gap", gap=words(drill.transfer_gap)) if drill is not None and drill.transfer_gap else ""
    x, ink = FIGURE_COLUMN, Ink.PLAIN
    read = (switch.position, switch.source, switch.control, switch.genset_voltage, switch.grid_voltage)
    if doubt := doubt_word((*read, switch.grid_v, switch.grid_hz)):
        x, ink = canvas.put(x, y, f"{doubt} ", Ink.MEDIUM), Ink.DIM
    canvas.put(x, y, cut(_switch_text(switch) + gap, canvas.width - x - 1), ink)


def _switch_text(switch: Switch) -> str:
    source = "" if switch.source.value is None else say("island.source", source=seen_text(switch.source.good))
    position, control = seen_text(switch.position.good), seen_text(switch.control.good)
    text = say("island.switch_text", position=position, source=source, control=control)
    if switch.genset_voltage.good is not None:
        text = say("island.genset_voltage", what=text, voltage=seen_text(switch.genset_voltage.good))
    if switch.grid_v.good is not None and switch.grid_hz.good is not None:
        return say("island.grid_measured", what=text, v=f"{switch.grid_v.good:.0f}", hz=f"{switch.grid_hz.good:.2f}")
    if switch.grid_voltage.good is None:
        return text
    return say("island.grid_voltage", what=text, voltage=seen_text(switch.grid_voltage.good))


def draw_return(canvas: Canvas, y: int, model: Model) -> None:
    """The return to the grid: the window of the grid code, the wait, the differences that the synchro-check reports."""
    view = islanding_view(model)
    draw_label(canvas, y, say("island.return"))
    reconnect = view.reconnect if view is not None else None
    if reconnect is None:
        canvas.put(FIGURE_COLUMN, y, ABSENT, Ink.DIM)
        return
    text = cut(_window_text(reconnect), canvas.width - FIGURE_COLUMN - 1)
    x = canvas.put(FIGURE_COLUMN, y, text, Ink.PLAIN)
    differences = f"; {_differences_text(reconnect)}"
    if x + columns(differences) < canvas.width:
        canvas.put(x, y, differences, Ink.DIM)


def _window_text(reconnect: Reconnect) -> str:
    """Whether the grid is inside the window, and how long it must stay there, if the switch waits for that."""
    if reconnect.in_window is None:
        inside = say("island.not_known_by")
    else:
        inside = say("island.inside" if reconnect.in_window else "island.outside")
    if reconnect.by_device:
        return say("island.by_device", inside=inside, profile=reconnect.profile)
    whole = countdown(reconnect.wait_s)
    wait = say("island.wait" if reconnect.left_s is None else "island.wait_over", wait=whole)
    if reconnect.left_s:
        wait = say("island.wait_left", left=countdown(reconnect.left_s), wait=whole)
    tries = say("island.tries", n=reconnect.attempts) if reconnect.attempts else ""
    return say("island.window", inside=inside, profile=reconnect.profile, wait=wait) + tries


def _differences_text(reconnect: Reconnect) -> str:
    deltas = (
        ("ΔV", reconnect.delta_v, 1, "V"),
        ("Δf", reconnect.delta_hz, 2, "Hz"),
        ("Δφ", reconnect.delta_deg, 0, "°"),
    )
    known = [f"{name} {value:+.{digits}f} {unit}" for name, value, digits, unit in deltas if value is not None]
    return ", ".join(known) or say("island.no_differences")


def draw_bus(canvas: Canvas, y: int, model: Model) -> None:
    """Voltage and frequency of the bus as the PCS measure it, with the extremes of a drill."""
    assert model.published is not None
    draw_label(canvas, y, say("island.bus"))
    drill, pcs = running_drill(model), model.published.snapshot.pcs
    volts, hertz = _lowest(tuple(p.v for p in pcs)), _lowest(tuple(p.hz for p in pcs))
    x = canvas.put(FIGURE_COLUMN, y, number(volts.value, 5, 0), reading_ink(volts))
    x = canvas.put(x, y, " V ", Ink.DIM)
    if drill is not None:
        canvas.put(x, y, f"({extremes_text(drill.v_min, drill.v_max, 0)})", Ink.DIM)
    x = canvas.put(FIGURE_COLUMN + 20, y, number(hertz.value, 6, 2), reading_ink(hertz))
    x = canvas.put(x, y, " Hz ", Ink.DIM)
    if drill is not None:
        canvas.put(x, y, f"({extremes_text(drill.hz_min, drill.hz_max, 2)})", Ink.DIM)
    if stale := stale_word(volts, model.extra_age_s) or stale_word(hertz, model.extra_age_s):
        canvas.fit(FIGURE_COLUMN + 49, y, [stale, stale.split()[0]], Ink.MEDIUM)
    elif pcs and (mode := pcs[0].mode.good) is not None:
        canvas.put(FIGURE_COLUMN + 49, y, say_of("pcs_mode", mode).replace("_", " "), Ink.DIM)


def _lowest(readings: tuple[Reading, ...]) -> Reading:
    return min((r for r in readings if r.value is not None), key=lambda r: r.value or 0.0, default=Reading())


def draw_nodes(canvas: Canvas, y: int, model: Model) -> None:
    """The step of load shedding, and what it asks of the nodes."""
    assert model.published is not None
    draw_label(canvas, y, say("island.nodes"))
    ride = model.published.decision.ride
    shedding = ride is not None and ride.rung > 0
    text = f"{_step_text(ride)} · {_nodes_text(model)}"
    canvas.put(FIGURE_COLUMN, y, cut(text, canvas.width - FIGURE_COLUMN - 1), Ink.MEDIUM if shedding else Ink.PLAIN)


def _step_text(ride: RideThrough | None) -> str:
    if ride is None:
        return ""
    return say("island.step", rung=ride.rung, rungs=ride.rungs) + (f", {words(ride.rung_name)}" if ride.rung else "")


def _nodes_text(model: Model) -> str:
    if island_state(model) in DEAD_BUS_STATES:
        return say("island.no_power")
    _, capped, suspended, off = node_counts(model)
    if off:
        asked = say("island.shut_down", n=off)
    else:
        also = f" · {say('island.suspended', n=suspended)}" if suspended else ""
        asked = say("island.capped", n=capped) + also
    return f"{nodes_run_text(model)} · {asked}"


def draw_soc_track(canvas: Canvas, y: int, model: Model) -> None:
    """SoC over the last minutes, two rows, scaled to what is seen."""
    if model.now_utc_s is None or canvas.width < TRACK_COLUMN + TRACK_COLUMNS + 6 or model.published is None:
        return
    end = int(model.now_utc_s // TREND_STEP_S) * TREND_STEP_S
    values = series(model.trend, "soc_pct", end, 2 * TRACK_COLUMNS, TREND_STEP_S)
    known = [v for v in values if v is not None]
    if len(known) < 2 or soc_reading(model).good is None:
        return
    low = min(known)
    high = max(*known, low + LEAST_SPAN_PCT)
    raster = Raster(TRACK_COLUMNS, 2, low, high)
    raster.line(values)
    for n, row in enumerate(raster.rows()):
        canvas.put(TRACK_COLUMN, y + n, row)
    canvas.put(TRACK_COLUMN + TRACK_COLUMNS, y, number(high, 5), Ink.DIM)
    canvas.put(TRACK_COLUMN + TRACK_COLUMNS, y + 1, number(low, 5), Ink.DIM)
