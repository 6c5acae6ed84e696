"""The list of sites: a line each, or three beside each other where a wide terminal has more sites than lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.display.fleet_text import (
    MARKS,
    alarm_words,
    cells,
    detail_text,
    last_text,
    state_text,
    sums_lines,
)
from console.display.formats import age
from console.display.ink import Ink
from console.display.language import say, say_of
from console.display.wrapping import columns as columns_of
from console.display.wrapping import cut
from console.tui.canvas import Canvas
from console.tui.charts import bar
from console.tui.keystrokes import EDITING, edited, printable
from fleet.table import ORDERS, SILENT, Row, matches, ordered, sums_of

TOP, BOTTOM = 3, 1  # lines of sums and header, of details
MIN_COLUMNS, MIN_ROWS = 80, 24
WIDE = 112
BLOCK = 39  # columns of a site in the short form
LAST = 1 << 20
MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "home": -LAST, "end": LAST}
PAGES = {"left": -1, "pageup": -1, "right": 1, "pagedown": 1}
OPEN, LEAVE = "open", "leave"
WISHES = {"enter": OPEN, "q": LEAVE}
INKS = {"high": Ink.HIGH, "medium": Ink.MEDIUM, "low": Ink.LOW}
# where the figures of a line end, and their heads, on a narrow and on a wide terminal
NARROW_ENDS = {"import": 31, "soc": 41, "pv": 47, "load": 54, "price": 60, "iq": 64}
WIDE_ENDS = {
    "import": 35,
    "peak": 50,
    "soc": 56,
    "stored": 63,
    "pv": 69,
    "load": 76,
    "price": 82,
    "iq": 86,
    "jobs": 91,
    "cost": 100,
}
HEADS = {
    "import": "fleet.import_kw",
    "peak": "fleet.peak",
    "soc": "fleet.soc",
    "stored": "fleet.kwh",
    "pv": "fleet.pv",
    "load": "fleet.load_head",
    "price": "fleet.ct",
    "iq": "fleet.iq",
    "jobs": "fleet.jobs_head",
    "cost": "fleet.cost",
}


class FleetPage:
    """What is on the screen, and what a key does to it. Which site is selected stays while the order changes."""

    def __init__(self) -> None:
        self.rows: tuple[Row, ...] = ()  # of every site
        self._sums: tuple[str, ...] = ()
        self._selected = ""  # name; empty: the first, whatever it is
        self._filter, self._typing = "", False
        self._tag = ""
        self._order = next(iter(ORDERS))
        self._short: bool | None = None  # None: where there are more sites than lines
        self._help = False
        self._top, self._lines, self._width = 0, 1, MIN_COLUMNS

    def show(self, rows: tuple[Row, ...], trouble: str = "") -> None:
        """What is known now, of every site. `trouble`: why nothing is heard of any; it takes the place of the sums."""
        self.rows, self._sums = rows, sums_lines(sums_of(rows))
        if trouble:
            self._sums = (say("fleet.bus_away"), trouble)

    # ── what is listed ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def listed(self) -> list[Row]:
        """The sites that tag and filter leave, in order."""
        tagged = [row for row in self.rows if not self._tag or self._tag in row.address.tags]
        if self._filter:
            tagged = [row for row in tagged if matches(row, self._filter, _shown)]
        return ordered(tagged, self._order)

    def _index(self, listed: Sequence[Row]) -> int:
        names = [row.name for row in listed]
        return names.index(self._selected) if self._selected in names else 0

    def _columns(self, width: int, lines: int, count: int) -> int:
        """How many sites stand beside each other."""
        fitting = max(1, width // BLOCK)
        if self._short is None:
            return fitting if count > lines and width >= 3 * BLOCK else 1
        return fitting if self._short else 1

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def takes_text(self, key: str, character: str | None) -> bool:
        """Whether a key is text now: a filter is being typed."""
        return self._typing and (key in EDITING or printable(character))

    def press(self, key: str, character: str | None) -> str:
        """Move, choose, filter; `OPEN` or `LEAVE` where that is wanted, else empty."""
        if self._typing:
            self._type(key, character)
            return ""
        if key in MOVES:
            self._move(MOVES[key])
        elif key in PAGES:
            self._move(PAGES[key] * self._lines)
        elif (act := self._actions().get(key)) is not None:
            act()
        return WISHES.get(key, "")

    def _type(self, key: str, character: str | None) -> None:
        if key in ("enter", "escape"):
            self._typing = False
            self._filter = "" if key == "escape" else self._filter
        elif key in ("up", "down"):
            self._move(MOVES[key])
        else:
            self._filter = edited(self._filter, key, character)

    def _actions(self) -> dict[str, Callable[[], None]]:
        return {
            "slash": self._begin_filter,
            "escape": self._clear,
            "t": self._next_tag,
            "s": self._next_order,
            "c": self._toggle_short,
            "question_mark": self._toggle_help,
        }

    def _move(self, by: int) -> None:
        if not (listed := self.listed):
            return
        index = max(0, min(len(listed) - 1, self._index(listed) + by))
        self._selected = "" if index == 0 else listed[index].name

    def _begin_filter(self) -> None:
        self._typing, self._help = True, False

    def _clear(self) -> None:
        self._filter, self._tag, self._help = "", "", False

    def _next_tag(self) -> None:
        tags = ["", *sorted({tag for row in self.rows for tag in row.address.tags})]
        self._tag = tags[(tags.index(self._tag) + 1) % len(tags)] if self._tag in tags else ""

    def _next_order(self) -> None:
        names = list(ORDERS)
        self._order = names[(names.index(self._order) + 1) % len(names)]

    def _toggle_short(self) -> None:
        count = len(self.listed)
        self._short = self._columns(self._width, self._lines, count) == 1

    def _toggle_help(self) -> None:
        self._help = not self._help

    @property
    def selected(self) -> Row | None:
        """The selected site; None where none is listed."""
        listed = self.listed
        return listed[self._index(listed)] if listed else None

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def painted(self, width: int, height: int) -> Canvas:
        """Sums, header, sites, and the selected one's details."""
        canvas = Canvas(width, height)
        self._width, self._lines = width, max(1, height - TOP - BOTTOM)
        if width < MIN_COLUMNS or height < MIN_ROWS:
            canvas.put(
                0, 0, cut(say("fleet.needs", columns=MIN_COLUMNS, rows=MIN_ROWS, width=width, height=height), width)
            )
            return canvas
        listed = self.listed
        for y, line in enumerate(self._sums):
            canvas.put(1, y, cut(line, width - 2), Ink.BOLD if y == 0 else Ink.PLAIN)
        columns = self._columns(width, self._lines, len(listed))
        self._draw_head(canvas, listed, columns)
        self._draw_sites(canvas, listed, columns)
        self._draw_bottom(canvas, listed)
        return canvas

    def _draw_head(self, canvas: Canvas, listed: Sequence[Row], columns: int) -> None:
        chosen = self._order != next(iter(ORDERS))
        says = [say("fleet.by", order=say(f"fleet_order.{self._order}"))] if chosen else []
        says += [f"#{self._tag}"] if self._tag else []
        room = self._lines * columns
        if len(listed) > room:
            says.append(say("fleet.at", n=self._index(listed) + 1, all=len(listed)))
        end = canvas.right(canvas.width - 1, 2, f"  {' · '.join(says)}", Ink.DIM) if says else canvas.width
        if columns == 1:
            _draw_heads(canvas, end)
        else:
            canvas.put(1, 2, say("fleet.short_head"), Ink.DIM)

    def _draw_sites(self, canvas: Canvas, listed: list[Row], columns: int) -> None:
        lines = self._lines
        if not listed:
            none = say("fleet.none_holds", text=self._filter) if self._filter else say("fleet.none")
            canvas.put(1, TOP, none, Ink.DIM)
            return
        at, room = self._index(listed), lines * columns
        self._top = max(0, min(self._top, len(listed) - room, at), at - room + 1)
        for n, row in enumerate(listed[self._top : self._top + room]):
            x, y = n // lines * BLOCK, TOP + n % lines
            if columns == 1:
                _draw_line(canvas, y, row)
            else:
                _draw_block(canvas, x, y, row)
            if self._top + n == at:
                end = canvas.width if columns == 1 else min(canvas.width, x + BLOCK)
                canvas.ink[y][x:end] = [Ink.REVERSE] * (end - x)

    def _draw_bottom(self, canvas: Canvas, listed: Sequence[Row]) -> None:
        y = canvas.height - 1
        if self._typing or self._filter:
            x = canvas.put(1, y, f"/{self._filter}")
            if self._typing:
                canvas.put(x, y, " ", Ink.REVERSE)
            canvas.right(canvas.width - 1, y, say("fleet.sites", n=len(listed), all=len(self.rows)), Ink.DIM)
        elif self._help:
            canvas.put(1, y, cut(say("fleet.keys"), canvas.width - 2), Ink.DIM)
        else:
            text = detail_text(listed[self._index(listed)]) if listed else ""
            canvas.put(1, y, cut(text, canvas.width - 11))
            canvas.right(canvas.width - 1, y, say("fleet.keys_hint"), Ink.DIM)


def _draw_heads(canvas: Canvas, end: int) -> None:
    """The names of the columns, each where its figures end; that of the alarms where it fits before `end`."""
    wide = canvas.width >= WIDE
    names, ends = _line(wide)
    canvas.put(1, 2, say("fleet.site"), Ink.DIM)
    canvas.put(2 + names, 2, say("fleet.state"), Ink.DIM)
    for name, at in ends.items():
        canvas.right(at, 2, say(HEADS[name]), Ink.DIM)
    if _text_column(wide) + columns_of(say("fleet.alarm")) <= end:
        canvas.put(_text_column(wide), 2, say("fleet.alarm"), Ink.DIM)


def _line(wide: bool) -> tuple[int, dict[str, int]]:
    """Columns of a name, and where figures end."""
    return (16, WIDE_ENDS) if wide else (12, NARROW_ENDS)


def _shown(row: Row) -> str:
    """What a filter looks through besides name and tags."""
    return f"{state_text(row)} {alarm_words(row)} {'' if row.overview is None else row.overview.site}"


def _ink(row: Row) -> Ink:
    return Ink.PLAIN if row.fresh else Ink.DIM


def _state_ink(row: Row) -> Ink:
    if row.link == SILENT:
        return Ink.MEDIUM
    tied = row.overview is None or row.overview.island == "grid-tied"
    return _ink(row) if tied else Ink.BOLD


def _draw_line(canvas: Canvas, y: int, row: Row) -> None:
    """One site on a line of its own."""
    wide = canvas.width >= WIDE
    names, ends = _line(wide)
    canvas.put(1, y, cut(row.name, names), _ink(row))
    canvas.put(2 + names, y, state_text(row), _state_ink(row))
    texts = cells(row)
    for name, end in ends.items():
        canvas.right(end, y, texts[name], _ink(row))
    _draw_bar(canvas, ends["import"] + 1, y, row, 7 if wide else 5)
    canvas.put(_text_column(wide), y, cut(last_text(row), canvas.width - 1 - _text_column(wide)), _alarm_ink(row))


def _text_column(wide: bool) -> int:
    return 102 if wide else 66


def _alarm_ink(row: Row) -> Ink:
    top = row.top_alarm
    if not row.fresh or top is None or not top.waiting:
        return Ink.DIM
    return INKS.get(top.priority, Ink.PLAIN)


def _draw_bar(canvas: Canvas, x: int, y: int, row: Row, width: int) -> None:
    """Import against the peak; a full bar is at the peak."""
    share = row.peak_share
    over = share is not None and share > 1
    canvas.put(x, y, bar(share, 1.0, width), Ink.HIGH if over and row.fresh else _ink(row))


def _draw_block(canvas: Canvas, x: int, y: int, row: Row) -> None:
    """One site in the short form: mark of its alarm or its silence, name, import, bar, SoC, state."""
    top, texts = row.top_alarm, cells(row)
    if row.link == SILENT:
        canvas.put(x + 1, y, age(row.age_s).rjust(3), Ink.MEDIUM)
    elif top is not None:
        canvas.put(x + 1, y, MARKS.get(top.priority, "·"), _alarm_ink(row))
    canvas.put(x + 5, y, cut(row.name, 12), _ink(row))
    canvas.right(x + 24, y, texts["import"], _ink(row))
    _draw_bar(canvas, x + 25, y, row, 4)
    canvas.right(x + 33, y, texts["soc"], _ink(row))
    if row.overview is not None and row.overview.island != "grid-tied":
        canvas.put(x + 34, y, cut(say_of("fleet_state", row.overview.island), 4), _state_ink(row))
