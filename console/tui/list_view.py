"""A list with a selected line: it scrolls, and the selection stays on its item while the list changes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, runtime_checkable

from console.display.formats import WAITING
from console.display.ink import Ink
from console.display.viewmodel import Model
from console.display.wrapping import columns
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget

NARROW = 80  # columns, for which lists are laid out


def spare_columns(width: int, wanted: int) -> int:
    """How many columns, up to `wanted`, a list on a wider screen has for its names, besides those at 80 columns."""
    return max(0, min(width - NARROW, wanted))


class ListView(DiffWidget):
    """Subclasses say which items there are (`items`) and how to draw one (`draw`).

    Not focusable: the app passes on the keys of the open view, and a change of focus would repaint it whole.
    """

    header = ""
    name_end = name_room = 0  # where in the header the column of the names ends, and how wide it is at 80 columns
    empty_text = "none"

    def __init__(self) -> None:
        super().__init__()
        self.filter_text = ""  # only items that hold it are listed
        self._selected: Hashable = None  # None: the first, whatever it is
        self._top = 0
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

    @property
    def selected(self) -> Hashable | None:
        """The selected item, or None in an empty list."""
        if self.model is None:
            return None
        listed = self.items(self.model)
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
        if self.model is None or not (listed := self.items(self.model)):
            return
        index = max(0, min(len(listed) - 1, self._index(listed) + by))
        self._selected = None if index == 0 else self.key(listed[index])
        self.redraw()
        if by > 0 and index == len(listed) - 1:
            self.at_end()

    def at_end(self) -> None:
        """The last line was reached."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Header, lines, and the selected one's detail."""
        listed, end = self.items(model), self.name_end
        longest = max((columns(self.listed_name(item)) for item in listed), default=0)
        self.spare = spare_columns(canvas.width, longest - self.name_room) if self.name_room else 0
        canvas.put(1, 0, self.header[:end] + " " * self.spare + self.header[end:], Ink.DIM)
        below = self.detail_rows(model, canvas.width, canvas.height)
        room = max(1, canvas.height - 1 - below)
        if not listed and model.published is None:
            canvas.put(1, 1, WAITING, Ink.DIM)
            return
        if not listed:
            canvas.put(1, 1, f'no line holds "{self.filter_text}"' if self.filter_text else self.empty_text)
            return
        at = self._index(listed)
        self._top = max(0, min(self._top, len(listed) - room, at), at - room + 1)
        for y, item in enumerate(listed[self._top : self._top + room], start=1):
            self.draw(canvas, y, item, model)
            if self._top + y - 1 == at:
                canvas.fill(y, Ink.REVERSE)
        if len(listed) > room:
            canvas.right(canvas.width - 1, 0, f"{at + 1} of {len(listed)}", Ink.DIM)
        if below:
            self.detail(canvas, 1 + room, listed[at], model)


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


@runtime_checkable
class Sorting(Protocol):
    """A view that lists in several orders."""

    def sort_next(self) -> None:
        """List in the next order."""
