"""View 4: islanding. The states in their order, the values that count; a list of checks, criteria, events, reports."""

from __future__ import annotations

from collections.abc import Mapping

from console.display.formats import clock, countdown, elapsed
from console.display.ink import Ink, Line
from console.display.islanding_text import (
    abortable,
    check_lines,
    drill_record_lines,
    drill_schedule_line,
    in_normal_operation,
    island_state,
    islanding_view,
    lacking_lines,
    left_grid_utc_s,
    next_step_text,
    node_order_lines,
    running_drill,
)
from console.display.language import say, words
from console.display.status_text import state_head
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut, split_at, wrap
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget
from console.tui.island_values import FIGURE_COLUMN, draw_values
from dispatch.model.events import Event
from dispatch.model.islanding import OFF_GRID_STATES, DrillStatus, IslandState, IslandView

STATE_SEQUENCE = ("preparing", "opening", "islanded", "synchronising", "closing", "grid-tied")
OUT_OF_SEQUENCE = (
    IslandState.FAULT,
    IslandState.BLACKOUT,
    IslandState.BLACK_START,
    IslandState.GENSET,
    IslandState.UNKNOWN,
)
CONNECTOR = " ── "
STATE_KEYS = {IslandState.FAULT: "island.reset_key", IslandState.BLACKOUT: "island.black_start_key"}
VALUES_ROW = 4
SECOND_COLUMN = 40  # two short checks share a row
CHECK_NAME_COLUMNS = 20  # a check's mark and name
EVENT_TIME_COLUMNS = 10


class Island(DiffWidget):
    """Everything at its place; the list at the bottom scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self._top = 0
        self._list_rows = self._list_room = 0

    def move(self, by: int) -> None:
        """Scroll the list."""
        self._top = max(0, min(self._top + by, self._list_rows - self._list_room))
        self.redraw()

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Head, states, values; below them the list."""
        if model.published is None:
            canvas.put(1, 0, say("list.nothing_then" if model.past else "list.nothing_yet"), Ink.DIM)
            return
        draw_head(canvas, model)
        draw_states(canvas, 1, model)
        draw_progress(canvas, 3, model)
        self._draw_list(canvas, draw_values(canvas, VALUES_ROW, model), model)

    def _draw_list(self, canvas: Canvas, top: int, model: Model) -> None:
        title, lines = list_content(model)
        room = canvas.height - top - 1
        rows = packed_rows(lines, canvas.width - 2)
        self._list_rows, self._list_room = len(rows), room
        self._top = max(0, min(self._top, len(rows) - room))
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        canvas.put(3, top, f" {title} ", Ink.DIM)
        if len(rows) > room:
            last = min(self._top + room, len(rows))
            scrolled = say("help.scrolled", first=self._top + 1, last=last, n=len(rows))
            canvas.right(canvas.width - 3, top, f" {scrolled} ", Ink.DIM)
        for y, parts in enumerate(rows[self._top : self._top + room], start=top + 1):
            for x, text, ink in parts:
                canvas.put(1 + x, y, text, ink)


# ── head and states ─────────────────────────────────────────────────────────────────────────────────────────────────


def draw_head(canvas: Canvas, model: Model) -> None:
    """Row 0: what is going on, and the key that matters."""
    text, ink = head_line(model)
    key = head_key(model)
    canvas.put(1, 0, cut(text, canvas.width - 4 - columns(key)), ink)
    canvas.right(canvas.width - 1, 0, key, Ink.BOLD if abortable(model) else Ink.DIM)


def head_line(model: Model) -> Line:
    """The head line: the drill under way, else when the next is due; off the grid, for how long."""
    state, view, drill = island_state(model), islanding_view(model), running_drill(model)
    if model.past is not None:
        return say("island.past", state=state_head(state)), Ink.PLAIN
    if drill is not None:
        return say("island.drill", minutes=f"{drill.minutes:g}", who=drill.who, reason=drill.reason), Ink.BOLD
    if state is IslandState.GRID_TIED:
        return drill_schedule_line(model)
    if view is None or state not in OFF_GRID_STATES:
        return state_head(state), Ink.HIGH
    since_s = left_grid_utc_s(view)
    off_grid_s = max(0.0, (model.now_utc_s or since_s) - since_s)
    return say("island.off_grid", state=state_head(state), elapsed=elapsed(off_grid_s)), Ink.HIGH


def head_key(model: Model) -> str:
    """The key that ends what is going on, or that begins what may be begun."""
    if model.past is not None:
        return ""
    if abortable(model):
        return say("island.abort_key")
    if in_normal_operation(model):
        return say("island.drill_key")
    key = STATE_KEYS.get(island_state(model)) if islanding_view(model) is not None else None
    return "" if key is None else say(key)


def draw_states(canvas: Canvas, top: int, model: Model) -> None:
    """The states in their order, the present one in reverse; below each, when it was entered since leaving the grid."""
    state, view, entered = island_state(model), islanding_view(model), states_entered(model)
    if state in OUT_OF_SEQUENCE and view is not None:
        draw_state_out_of_sequence(canvas, top, state, view, model)
    else:
        draw_sequence(canvas, top, state, entered)
    for name, column in state_columns().items():
        text = clock(entered[name], model.timezone) if name in entered else "·"
        canvas.put(column, top + 1, text, Ink.PLAIN if name in entered and name == state.value else Ink.DIM)


def state_columns() -> dict[str, int]:
    """Where the name of each state in the sequence begins."""
    found, x = {}, 1
    for name in STATE_SEQUENCE:
        found[name] = x
        x += max(columns(say(f"sequence.{name}")), len("00:00:00") - 2) + len(CONNECTOR)
    return found


def draw_sequence(canvas: Canvas, y: int, state: IslandState, entered: Mapping[str, float]) -> None:
    """The names of the states, joined."""
    for name, column in state_columns().items():
        ink = Ink.REVERSE if name == state.value else Ink.PLAIN if name in entered else Ink.DIM
        end = canvas.put(column, y, say(f"sequence.{name}"), ink)
        if name != STATE_SEQUENCE[-1]:
            canvas.put(end, y, CONNECTOR, Ink.DIM)


def states_entered(model: Model) -> dict[str, float]:
    """When each state was entered since the site left the grid, UTC s; empty once it has reconnected."""
    view = islanding_view(model)
    entered = {name: utc_s for utc_s, name in view.road} if view is not None else {}
    under_way = not in_normal_operation(model) or "preparing" in entered or "islanded" in entered
    return entered if under_way else {}


def draw_state_out_of_sequence(canvas: Canvas, y: int, state: IslandState, view: IslandView, model: Model) -> None:
    """Draw a state outside the normal sequence (fault, blackout): since when, and what comes next."""
    x = canvas.put(1, y, f"▲ {state_head(state)} ", Ink.HIGH) + 1
    since = clock(view.since_utc_s, model.timezone)
    canvas.put(x, y, say("island.since", time=since, next=next_step_text(model)))


def draw_progress(canvas: Canvas, y: int, model: Model) -> None:
    """How much of the hold is over, while a drill holds; else why the state is as it is."""
    view, drill = islanding_view(model), running_drill(model)
    if drill is not None and drill.hold_left_s is not None:
        total_s = 60 * drill.minutes
        canvas.put(1, y, say("island.hold"), Ink.DIM)
        held = say("island.held", held=f"{countdown(total_s - drill.hold_left_s):>5}", total=countdown(total_s))
        x = canvas.put(FIGURE_COLUMN, y, held, Ink.BOLD) + 2
        canvas.put(x, y, say("island.left", left=f"{countdown(drill.hold_left_s):>5}"), Ink.PLAIN)
    elif view is not None:
        canvas.put(1, y, cut(words(view.reason), canvas.width - 2))


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_content(model: Model) -> tuple[str, list[Line]]:
    """Title and lines of the list: stop criteria or pre-checks of a drill; off the grid events; then past drills."""
    drill = running_drill(model)
    if drill is not None:
        return _drill_content(drill, model)
    if model.past is None and in_normal_operation(model):
        return _prechecks_title(model), [
            *check_lines(model.checks),
            *lacking_lines(model),
            *drill_record_lines(model),
        ]
    events = [e for e in reversed(model.events) if e.kind in ("island", "node")]
    lines = [_event_line(e, model.timezone) for e in events]
    title = say("island.happened" if model.past is None else "island.had_happened")
    return title, [*node_order_lines(model), *lacking_lines(model), *lines, *drill_record_lines(model)]


def _drill_content(drill: DrillStatus, model: Model) -> tuple[str, list[Line]]:
    checks = check_lines(drill.checks)
    if not drill.criteria:
        return say("island.began_with_title"), checks
    began_with: list[Line] = [(say("island.began_with"), Ink.DIM), *checks] if checks else []
    return say("island.stop_if"), [*check_lines(drill.criteria), *node_order_lines(model), *began_with]


def _prechecks_title(model: Model) -> str:
    failed = sum(not c.ok for c in model.checks)
    result = say("island.would_fail", n=failed) if failed else say("island.all_hold")
    if not model.checks:
        result = say("island.looked_at")
    return say("island.prechecks", minutes=f"{model.checks_minutes:g}", result=result)


def _event_line(event: Event, timezone: str) -> Line:
    """An event; one of a node with the node's name."""
    subject = f"{event.subject}: " if event.kind == "node" else ""
    return f"{clock(event.utc_s, timezone)}  {subject}{event.text}", Ink.PLAIN


def packed_rows(lines: list[Line], width: int) -> list[list[tuple[int, str, Ink]]]:
    """Rows of (column, text, ink): two short checks share one, a long line takes as many as it needs."""
    rows: list[list[tuple[int, str, Ink]]] = []
    right_free = False  # the last row has room for a second check
    for text, ink in lines:
        short = _is_check(text) and columns(text) <= SECOND_COLUMN - 3
        if short and right_free:
            rows[-1].append((SECOND_COLUMN, text, ink))
            right_free = False
            continue
        rows += [[(x, part, ink)] for x, part in hanging_rows(text, width)]
        right_free = short
    return rows


def hanging_rows(text: str, width: int) -> list[tuple[int, str]]:
    """`text` in rows of `width` as (column, text): the rest of a check stands below its figure, not below its name."""
    if columns(text) <= width:
        return [(0, text)]
    is_event = text[8:10] == "  "
    indent = CHECK_NAME_COLUMNS if _is_check(text) else EVENT_TIME_COLUMNS if is_event else 2
    name, rest = split_at(text, indent)
    first, *more = wrap(rest, width - indent, 3)
    return [(0, name + first), *((indent, line) for line in more)]


def _is_check(text: str) -> bool:
    return text[:1] in ("✓", "✗")
