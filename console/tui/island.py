"""View 4: the road between grid and island, the values that count on it, pre-checks, stop criteria, the last drill."""

from __future__ import annotations

from console.display.formats import ABSENT, clock, countdown, duration, kw, number
from console.display.ink import Ink, Line
from console.display.islanding_text import (
    AWAY,
    abortable,
    check_lines,
    drill_of,
    elapsed,
    idle,
    lasts_words,
    left_grid_utc_s,
    next_words,
    node_counts,
    node_lines,
    record_lines,
    resting_words,
    spread,
    state_of,
    view_of,
)
from console.display.status_text import battery_word, stale_word
from console.display.viewmodel import TREND_STEP_S, Model, combined, series, soc_pct, soc_reading
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.charts import Raster, bar, mark_at
from console.tui.diff_widget import DiffWidget
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Reading

ROAD = ("preparing", "opening", "islanded", "synchronising", "closing", "grid-tied")
STEP = " ── "
DARK = (IslandState.BLACKOUT, IslandState.BLACK_START)
OFF_ROAD = (IslandState.FAULT, IslandState.BLACKOUT, IslandState.BLACK_START, IslandState.UNKNOWN)
VALUE = 10  # column of the first figure
BAR = 10
TRACK, TRACK_WIDTH = 50, 24  # first column and cells of the SoC track
HALF = 40  # two short checks share a row
NAME = 20  # columns of a check's mark and name
TIME = 10  # of an event's time


class Island(DiffWidget):
    """Everything at its place; the list at the foot scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self._top = 0
        self._listed = (0, 0)  # rows of the list, rows there is room for

    def move(self, by: int) -> None:
        """Scroll the list."""
        rows, room = self._listed
        self._top = max(0, min(self._top + by, rows - room))
        self.redraw()

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Head, road, values; below, checks or criteria, and the last drill."""
        if model.published is None:
            canvas.put(1, 0, "nothing has arrived yet", Ink.DIM)
            return
        draw_head(canvas, model)
        draw_road(canvas, 1, model)
        y = 4
        for draw in (draw_soc, draw_runtime, draw_grid):
            draw(canvas, y, model)
            y += 1
        draw_track(canvas, 4, model)
        if not idle(model):
            for draw in (draw_return, draw_bus, draw_nodes):
                draw(canvas, y, model)
                y += 1
        self._draw_list(canvas, y, model)

    def _draw_list(self, canvas: Canvas, top: int, model: Model) -> None:
        title, lines = listed(model)
        room = canvas.height - top - 1
        rows = packed(lines, canvas.width - 2)
        self._listed = (len(rows), room)
        self._top = max(0, min(self._top, len(rows) - room))
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        canvas.put(3, top, f" {title} ", Ink.DIM)
        if len(rows) > room:
            last = min(self._top + room, len(rows))
            canvas.right(canvas.width - 3, top, f" {self._top + 1}–{last} of {len(rows)} ↑ ↓ ", Ink.DIM)
        for y, parts in enumerate(rows[self._top : self._top + room], start=top + 1):
            for x, text, ink in parts:
                canvas.put(1 + x, y, text, ink)


# ── head and road ───────────────────────────────────────────────────────────────────────────────────────────────────


def draw_head(canvas: Canvas, model: Model) -> None:
    """Row 0: what is going on, since when, and the key that matters. Row 3: how far it is, and why."""
    state, view, drill = state_of(model), view_of(model), drill_of(model)
    key = "D drill" if idle(model) else ""
    if drill is not None:
        text, ink = f"Drill {drill.minutes:g} min by {drill.who}: {drill.reason}", Ink.BOLD
    elif state is IslandState.GRID_TIED:
        text, ink = resting_words(model)
    elif view is not None and state in AWAY:
        since = left_grid_utc_s(view)
        away_s = max(0.0, (model.now_utc_s or since) - since)
        text, ink = f"{state.value.upper()}: off the grid for {elapsed(away_s)}", Ink.HIGH
        key = {IslandState.FAULT: "F fault reset", IslandState.BLACKOUT: "B black start"}.get(state, "")
    else:
        text, ink = state.value.upper(), Ink.HIGH
    if abortable(model):
        key = "abort: press  !"
    canvas.put(1, 0, cut(text, canvas.width - 4 - len(key)), ink)
    canvas.right(canvas.width - 1, 0, key, Ink.BOLD if abortable(model) else Ink.DIM)
    if view is None:
        return
    if drill is not None and drill.hold_left_s is not None:
        total_s = 60 * drill.minutes
        x = canvas.put(1, 3, "hold", Ink.DIM)
        x = canvas.put(VALUE, 3, f"{countdown(total_s - drill.hold_left_s):>5} of {countdown(total_s)}", Ink.BOLD) + 2
        canvas.put(x, 3, f"{countdown(drill.hold_left_s):>5} left", Ink.PLAIN)
        return
    canvas.put(1, 3, cut(view.reason, canvas.width - 2))


def draw_road(canvas: Canvas, top: int, model: Model) -> None:
    """The states in their order, the present one in reverse, and when each was entered on this journey."""
    state, view = state_of(model), view_of(model)
    entered = {name: utc_s for utc_s, name in view.road} if view is not None else {}
    if idle(model) and "preparing" not in entered and "islanded" not in entered:
        entered = {}
    x = 1
    for n, name in enumerate(ROAD):
        if n:
            x = canvas.put(x, top, STEP, Ink.DIM)
        here = name == state.value
        if name in entered:
            canvas.put(x, top + 1, clock(entered[name], model.timezone), Ink.PLAIN if here else Ink.DIM)
        else:
            canvas.put(x, top + 1, "·", Ink.DIM)
        ink = Ink.REVERSE if here else Ink.PLAIN if name in entered else Ink.DIM
        x = canvas.put(x, top, name, ink)
    if state in OFF_ROAD and view is not None:
        canvas.put(1, top, " " * (canvas.width - 2))
        canvas.put(1, top, f"▲ {state.value.upper()} ", Ink.HIGH)
        canvas.put(5 + len(state.value), top, f"since {clock(view.since_utc_s, model.timezone)}; {next_words(model)}")


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def label(canvas: Canvas, y: int, text: str) -> None:
    """A row's name."""
    canvas.put(1, y, text, Ink.DIM)


def draw_soc(canvas: Canvas, y: int, model: Model) -> None:
    """SoC, its bar with the reserve, and what the battery gives."""
    assert model.published is not None
    label(canvas, y, "SoC")
    soc, reserve = soc_reading(model.published), model.limit("reserve_soc_pct")
    x = canvas.put(VALUE, y, number(soc.value, 5), Ink.PLAIN if soc.good is not None else Ink.DIM)
    x = canvas.put(x, y, " % ", Ink.DIM)
    x = canvas.put(x, y, "▕", Ink.DIM)
    filled = bar(soc.value, 100, BAR)
    canvas.put(x, y, filled)
    if reserve is not None:
        at = mark_at(reserve, 100, BAR)
        canvas.put(x + at, y, "┊", Ink.PLAIN if filled[at] == " " else Ink.MARK)
    x = canvas.put(x + BAR, y, "▏", Ink.DIM)
    if stale := stale_word(soc, model.extra_age_s):
        canvas.put(x + 1, y, stale, Ink.MEDIUM)
        return
    total = combined([(p.w, 1.0) for p in model.published.snapshot.pcs])
    x = canvas.put(x + 1, y, kw(None if total.value is None else abs(total.value)))
    canvas.put(x, y, f" kW {battery_word(total.value)}", Ink.DIM)


def draw_runtime(canvas: Canvas, y: int, model: Model) -> None:
    """How long the battery lasts, low to best estimate; what is promised."""
    assert model.published is not None
    ride = model.published.decision.ride
    label(canvas, y, "Runtime")
    x = canvas.put(VALUE, y, lasts_words(model)) + 1
    if ride is not None and ride.promised_left_s is not None:
        canvas.put(x, y, f"promised {duration(ride.promised_left_s)} more", Ink.DIM)
    elif idle(model):
        canvas.put(x, y, "if the grid went now", Ink.DIM)


def draw_grid(canvas: Canvas, y: int, model: Model) -> None:
    """The switch by its contacts, its key, the grid's side of it, its recorder."""
    assert model.published is not None
    snapshot = model.published.snapshot
    label(canvas, y, "Switch")
    switch = next(iter(snapshot.switches), None)
    if switch is None:
        canvas.put(VALUE, y, "none declared: this site cannot island")
        return
    text = f"{switch.position.good or 'not read'}, control {switch.control.good or 'not read'}"
    if switch.grid_v.good is not None and switch.grid_hz.good is not None:
        text += f"; grid {switch.grid_v.good:.0f} V {switch.grid_hz.good:.2f} Hz"
    elif switch.grid_voltage.good is not None:
        text += f"; grid voltage {switch.grid_voltage.good}"
    drill = drill_of(model)
    if drill is not None and drill.transfer_gap:
        text += f"; gap {drill.transfer_gap}"
    canvas.put(VALUE, y, cut(text, canvas.width - VALUE - 1))


def draw_return(canvas: Canvas, y: int, model: Model) -> None:
    """The way back: the window of the grid code, the wait, what the synchro-check sees."""
    view = view_of(model)
    label(canvas, y, "Return")
    back = view.reconnect if view is not None else None
    if back is None:
        canvas.put(VALUE, y, ABSENT, Ink.DIM)
        return
    word = {True: "inside", False: "outside", None: "not known by"}[back.in_window]
    waits = f"wait {countdown(back.wait_s)}"
    if back.left_s is not None:
        waits = f"wait {countdown(back.left_s)} of {countdown(back.wait_s)} left" if back.left_s else f"{waits} is over"
    deltas = [
        f"{name} {value:+.{digits}f} {unit}"
        for name, value, digits, unit in (
            ("ΔV", back.delta_v, 1, "V"), ("Δf", back.delta_hz, 2, "Hz"), ("Δφ", back.delta_deg, 0, "°"),
        )
        if value is not None
    ]  # fmt: skip
    tries = f"; {back.attempts} failed" if back.attempts else ""
    text = f"grid {word} the window of {back.profile}; {waits}{tries}"
    x = canvas.put(VALUE, y, cut(text, canvas.width - VALUE - 1), Ink.PLAIN)
    rest = "; " + (", ".join(deltas) or "differences not measured")
    if x + len(rest) < canvas.width:
        canvas.put(x, y, rest, Ink.DIM)


def draw_bus(canvas: Canvas, y: int, model: Model) -> None:
    """Voltage and frequency of the bus as the PCS measure it, with the extremes of a drill."""
    assert model.published is not None
    label(canvas, y, "Bus")
    drill, pcs = drill_of(model), model.published.snapshot.pcs
    volts, hertz = _lowest(tuple(p.v for p in pcs)), _lowest(tuple(p.hz for p in pcs))
    x = canvas.put(VALUE, y, number(volts.value, 5, 0), Ink.PLAIN if volts.good is not None else Ink.DIM)
    x = canvas.put(x, y, " V ", Ink.DIM)
    if drill is not None:
        canvas.put(x, y, f"({spread(drill.v_min, drill.v_max, 0)})", Ink.DIM)
    x = canvas.put(VALUE + 20, y, number(hertz.value, 6, 2), Ink.PLAIN if hertz.good is not None else Ink.DIM)
    x = canvas.put(x, y, " Hz ", Ink.DIM)
    if drill is not None:
        x = canvas.put(x, y, f"({spread(drill.hz_min, drill.hz_max, 2)})", Ink.DIM)
    if pcs and (mode := pcs[0].mode.good) is not None:
        canvas.put(VALUE + 49, y, mode.replace("_", " "), Ink.DIM)


def _lowest(readings: tuple[Reading, ...]) -> Reading:
    return min((r for r in readings if r.value is not None), key=lambda r: r.value or 0.0, default=Reading())


def draw_nodes(canvas: Canvas, y: int, model: Model) -> None:
    """The step of the ladder, and what it asks of the nodes."""
    assert model.published is not None
    label(canvas, y, "Nodes")
    ride = model.published.decision.ride
    step = "" if ride is None else f"step {ride.rung} of 4, {ride.rung_name}" if ride.rung else "step 0 of 4"
    run, capped, suspended, off = node_counts(model)
    text = f"{step} · {run} of {len(model.published.snapshot.nodes)} run"
    if state_of(model) in DARK:
        text = f"{step} · no power"
    elif off:  # the last step: what was capped or suspended before matters no more
        text += f" · shut down {off}"
    else:
        text += f" · capped {capped} · suspended {suspended}"
    abnormal = ride is not None and ride.rung > 0
    canvas.put(VALUE, y, cut(text, canvas.width - VALUE - 1), Ink.MEDIUM if abnormal else Ink.PLAIN)


def draw_track(canvas: Canvas, y: int, model: Model) -> None:
    """SoC over the last minutes, two rows, scaled to what is seen."""
    if model.now_utc_s is None or canvas.width < TRACK + TRACK_WIDTH + 6 or model.published is None:
        return
    end = int(model.now_utc_s // TREND_STEP_S) * TREND_STEP_S
    values = series(model.trend, "soc_pct", end, 2 * TRACK_WIDTH, TREND_STEP_S)
    known = [v for v in values if v is not None]
    if len(known) < 2 or soc_pct(model.published) is None:
        return
    low, high = min(known), max(known)
    raster = Raster(TRACK_WIDTH, 2, low, max(high, low + 0.5))
    raster.line(values)
    for n, row in enumerate(raster.rows()):
        canvas.put(TRACK, y + n, row)
    canvas.put(TRACK + TRACK_WIDTH, y, number(max(high, low + 0.5), 5), Ink.DIM)
    canvas.put(TRACK + TRACK_WIDTH, y + 1, number(low, 5), Ink.DIM)


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(model: Model) -> tuple[str, list[Line]]:
    """What stands at the foot: a drill's criteria, else its pre-checks, else the events of the outage; the report."""
    drill = drill_of(model)
    report = record_lines(model)
    if drill is not None and drill.criteria:
        began = [("it began with", Ink.DIM), *check_lines(drill.checks)] if drill.checks else []
        return "Stop if one of these fails", [*check_lines(drill.criteria), *node_lines(model), *began]
    if drill is not None:
        return "It began with", check_lines(drill.checks)
    if idle(model):
        failed = sum(not c.ok for c in model.checks)
        said = "are looked at" if not model.checks else "all hold" if not failed else f"{failed} would fail"
        return f"Pre-checks of a drill of {model.checks_minutes:g} min: {said}", [*check_lines(model.checks), *report]
    told = [e for e in reversed(model.events) if e.kind in ("island", "node")]
    lines: list[Line] = [(_told(e, model.timezone), Ink.PLAIN) for e in told]
    return "What happened", [*node_lines(model), *lines, *report]


def _told(event: Event, timezone: str) -> str:
    """A line of what happened; of a node its name."""
    whose = f"{event.subject}: " if event.kind == "node" else ""
    return f"{clock(event.utc_s, timezone)}  {whose}{event.text}"


def packed(lines: list[Line], width: int) -> list[list[tuple[int, str, Ink]]]:
    """Rows of (column, text, ink): two short lines share one, a long one takes as many as it needs."""
    rows: list[list[tuple[int, str, Ink]]] = []
    beside = False  # the last row has room on its right
    for text, ink in lines:
        short = len(text) <= HALF - 3 and text[:1] in "✓✗"
        if short and beside:
            rows[-1].append((HALF, text, ink))
            beside = False
            continue
        rows += [[(x, part, ink)] for x, part in hung(text, width)]
        beside = short
    return rows


def hung(text: str, width: int) -> list[tuple[int, str]]:
    """`text` in rows of `width` as (column, text): what a check's name leaves over stands under its figure."""
    if len(text) <= width:
        return [(0, text)]
    hang = NAME if text[:1] in "✓✗" else TIME if text[8:10] == "  " else 2
    first, *more = wrap(text[hang:], width - hang, 3)
    return [(0, text[:hang] + first), *((hang, line) for line in more)]
