"""A list with a selected line: it scrolls, and the selection stays on its item while the list changes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from textual.events import Click

from console.display.formats import WAITING
from console.display.ink import Ink, Line
from console.display.language import say
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut, ending, padded, split_at
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget

LEAST_ROWS = 3  # of items; with fewer there is no row for what narrows the list
COPIED_COLUMNS = 400  # of a line that is copied
NARROW = 80  # columns, for which lists are laid out


def spare_columns(width: int, wanted: int) -> int:
    """How many columns, up to `wanted`, a list on a wider screen has for its names, besides those at 80 columns."""
    return max(0, min(width - NARROW, wanted))


def heads(*parts: tuple[str, int]) -> str:
    """The names of columns: each label with the columns that it has, 0 for the last."""
    return "".join(padded(say(code), width) for code, width in parts)


def right_head(code: str, width: int) -> str:
    """The name of a column of figures, which ends with it."""
    return ending(say(code), width)


class ListView(DiffWidget):
    """Subclasses say which items there are (`items`) and how to draw one (`draw`).

    Not focusable: the app passes on the keys of the open view, and a change of focus would repaint it whole.
    """

    name_end = name_room = 0  # where in the header the column of the names ends, and how wide it is at 80 columns
    orders: ClassVar[tuple[str, ...]] = ()  # in which items can be listed, labels `by.…`; the first is that of `items`
    empty = "list.none"  # the label of an empty list
    past = "list.nothing_then"  # the label in an empty list of a moment of the record

    def __init__(self) -> None:
        super().__init__()
        self.header = ""  # the columns' names, as the subclass writes them before it draws
        self.filter_text = ""  # only items that hold it are listed
        self._selected: Hashable = None  # None: the first, whatever it is
        self._top = self._order = 0
        self._room = 1  # rows of items
        self.spare = 0  # columns that names have besides those at 80 columns; what follows them moves by as much

    def items(self, model: Model) -> list[Hashable]:
        """What is listed, in order, filtered by `filter_text`."""
        raise NotImplementedError(f"{type(self).__name__} must say what it lists")

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """Draw one item on row `y`."""
        raise NotImplementedError(f"{type(self).__name__} must say how it draws an item")

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """Draw the details of the selected item, from row `top` down."""

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """How many rows `detail` needs in a widget of that size."""
        return 0

    # ── order and filter ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def order(self) -> str:
        """In which order items are listed."""
        return self.orders[self._order] if self.orders else ""

    def sort_next(self) -> None:
        """List in the next order."""
        if self.orders:
            self._order = (self._order + 1) % len(self.orders)
            self.redraw()

    def sort_key(self, item: Hashable, order: str) -> Any:
        """What items are sorted by in any order but the first; those alike stay as they are."""
        raise NotImplementedError(f"{type(self).__name__} must say what it sorts by")

    def listed(self, model: Model) -> list[Hashable]:
        """What is listed, filtered and in the order chosen."""
        items = self.items(model)
        return sorted(items, key=lambda item: self.sort_key(item, self.order)) if self._order else items

    def notes(self, model: Model, listed: Sequence[Hashable]) -> Iterator[str]:
        """What narrows or orders the list, for the row below it."""
        if self.filter_text:
            yield f"/{self.filter_text}  {say('list.shown_of', n=len(listed), all=self._unfiltered(model))}"
        if self._order:
            yield say("list.sorted_by", order=say(f"by.{self.order}"))

    def _unfiltered(self, model: Model) -> int:
        text, self.filter_text = self.filter_text, ""
        try:
            return len(self.items(model))
        finally:
            self.filter_text = text

    # ── selection ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def selected(self) -> Hashable | None:
        """The selected item, or None in an empty list."""
        if self.model is None:
            return None
        listed = self.listed(self.model)
        return listed[self._index(listed)] if listed else None

    def _index(self, listed: list[Hashable]) -> int:
        keys = [self.key(item) for item in listed]
        return keys.index(self._selected) if self._selected in keys else 0

    def key(self, item: Hashable) -> Hashable:
        """What stays the same of an item while its values change."""
        return item

    def listed_name(self, item: Hashable) -> str:
        """What stands in the column of the names."""
        return ""

    def move(self, by: int) -> None:
        """Move the selection; reaching the last line asks for more."""
        if self.model is None or not (listed := self.listed(self.model)):
            return
        index = max(0, min(len(listed) - 1, self._index(listed) + by))
        self._selected = None if index == 0 else self.key(listed[index])
        self.redraw()
        if by > 0 and index == len(listed) - 1:
            self.at_end()

    def page(self, by: int) -> None:
        """Move the selection by as many lines as are shown, less one."""
        self.move(by * max(1, self._room - 1))

    def at_end(self) -> None:
        """The last line was reached."""

    def copied(self) -> str:
        """The selected line, not cut."""
        if self.model is None or (item := self.selected) is None:
            return ""
        line = Canvas(COPIED_COLUMNS, 1)
        self.draw(line, 0, item, self.model)
        return " ".join("".join(line.text[0]).split())

    def on_click(self, event: Click) -> None:
        """With the mouse reported: select the line."""
        if self.model is None or not (listed := self.listed(self.model)):
            return
        row = event.y - 1
        if 0 <= row < self._room and self._top + row < len(listed):
            self.move(self._top + row - self._index(listed))

    # ── what is drawn ───────────────────────────────────────────────────────────────────────────────────────────────

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Header, lines, what narrows the list and what of it is out of sight, and the selected one's detail."""
        listed = self.listed(model)
        self._draw_header(canvas, listed)
        below = self.detail_rows(model, canvas.width, canvas.height)
        noted = self._draw_notes(canvas, model, listed, max(1, canvas.height - 1 - below))
        if not listed:
            canvas.put(1, 1, *self._nothing(model))
            return
        room, at = self._room, self._index(listed)
        self._top = max(0, min(self._top, len(listed) - room, at), at - room + 1)
        for y, item in enumerate(listed[self._top : self._top + room], start=1):
            self.draw(canvas, y, item, model)
            if self._top + y - 1 == at:
                canvas.fill(y, Ink.REVERSE)
        if len(listed) > room:
            canvas.right(canvas.width - 1, 0, say("list.shown_of", n=at + 1, all=len(listed)), Ink.DIM)
        if noted and (more := len(listed) - self._top - room) > 0:
            canvas.right(canvas.width - 1, 1 + room, say("list.more", n=more), Ink.DIM)
        if below:
            self.detail(canvas, 1 + room + noted, listed[at], model)

    def _draw_header(self, canvas: Canvas, listed: Sequence[Hashable]) -> None:
        """The columns' names; on a wider screen that of the names has more room."""
        end = self.name_end
        longest = max((columns(self.listed_name(item)) for item in listed), default=0)
        self.spare = spare_columns(canvas.width, longest - self.name_room) if self.name_room else 0
        before, behind = split_at(self.header, end)
        canvas.put(1, 0, before + " " * self.spare + behind, Ink.DIM)

    def _draw_notes(self, canvas: Canvas, model: Model, listed: Sequence[Hashable], room: int) -> bool:
        """A row below the items for what narrows them, if there is any or they do not fit; whether there is one."""
        notes = " · ".join(self.notes(model, listed))
        noted = room > LEAST_ROWS and (notes != "" or len(listed) > room)
        self._room = room - noted
        if noted:
            canvas.put(1, 1 + self._room, cut(notes, canvas.width - 14), Ink.BOLD)
        return noted

    def _nothing(self, model: Model) -> Line:
        """What stands in an empty list."""
        if model.past is not None and not (self.filter_text and self._unfiltered(model)):
            return say(ListView.past if model.published is None else self.past), Ink.DIM
        if model.published is None:
            return WAITING, Ink.DIM
        return say("list.no_line", text=self.filter_text) if self.filter_text else self.empty_text(model), Ink.PLAIN

    def empty_text(self, model: Model) -> str:
        """What stands in an empty list of the present."""
        return say(self.empty)


@runtime_checkable
class ByKind(Protocol):
    """A list of which one kind can be shown."""

    def next_kind(self) -> None:
        """Show the next kind; after the last all of them."""


@runtime_checkable
class Opening(Protocol):
    """A view that may be opened on one of its items."""

    @property
    def opened(self) -> str:
        """The item; empty: none."""

    def open_selected(self) -> str:
        """Open it on the selected item, which is returned; empty: there is none."""

    def close_opened(self) -> bool:
        """Back to the list; False: it is shown already."""
