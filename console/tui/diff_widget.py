"""A widget that draws on a canvas and sends only the cells that changed.

Textual repaints a dirty region whole; it does not compare cells. Here every new model is drawn on a fresh canvas,
compared with the last, and only rows and columns that differ are marked dirty: a second costs what changed in it.
"""

from __future__ import annotations

from typing import Protocol, cast

from rich.segment import Segment
from textual.events import Resize
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from console.display.viewmodel import Model
from console.tui.appearance import Appearance
from console.tui.canvas import Canvas


class Shown(Protocol):
    """The app, as far as widgets ask it."""

    @property
    def appearance(self) -> Appearance:
        """How the console looks on this terminal."""


class CanvasWidget(Widget):
    """Draws something on a canvas. Subclasses say what in `painted`, and call `redraw` when it may have changed."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._canvas = Canvas(0, 0)
        self._due = False  # something changed while there was no room to draw it: a view out of sight has none

    def painted(self, width: int, height: int) -> Canvas | None:
        """The whole widget, drawn anew; None: there is nothing to draw yet."""
        raise NotImplementedError(f"{type(self).__name__} must say what it draws")

    @property
    def appearance(self) -> Appearance:
        """How the console looks on this terminal."""
        return cast(Shown, self.app).appearance

    def copied(self) -> str:
        """The text of the line or value under the cursor; empty: nothing is selected here."""
        return ""

    def on_resize(self, event: Resize) -> None:
        """A new size: nothing that was drawn holds. Shown again at the same size, what is drawn still does."""
        if self._due or self.size != (self._canvas.width, self._canvas.height):
            self.redraw()

    def redraw(self) -> None:
        """Draw again and mark the cells that changed as dirty."""
        width, height = self.size
        self._due = not width or not height
        canvas = None if self._due else self.painted(width, height)
        if canvas is None:
            return
        if self.appearance.ascii:
            canvas.to_ascii()
        last, self._canvas = self._canvas, canvas
        if (last.width, last.height) != (width, height):
            self.refresh()
        elif spans := canvas.changed(last):
            self.refresh(*(Region(start, y, end - start, 1) for y, start, end in spans))

    def render_line(self, y: int) -> Strip:
        """One row, as the fewest segments."""
        if y >= self._canvas.height:
            return Strip.blank(self.size.width)
        styles = self.appearance.theme.styles
        return Strip([Segment(text, styles.get(ink)) for text, ink in self._canvas.runs(y)], self._canvas.width)


class DiffWidget(CanvasWidget):
    """Draws the model. Subclasses say how in `paint`, and set `fresh_only` if their values go dim when stale."""

    DEFAULT_CSS = "DiffWidget { height: auto; width: 1fr; }"
    fresh_only = True
    model: reactive[Model | None] = reactive(None, repaint=False, init=False)

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Draw the whole widget."""
        raise NotImplementedError(f"{type(self).__name__} must say what it draws")

    def painted(self, width: int, height: int) -> Canvas | None:
        """The model, dim where it is no longer fresh."""
        if self.model is None:
            return None
        canvas = Canvas(width, height)
        self.paint(canvas, self.model)
        if self.fresh_only and self.model.stale:
            canvas.dim()
        return canvas

    def watch_model(self) -> None:
        """A new model: draw what differs."""
        self.redraw()
