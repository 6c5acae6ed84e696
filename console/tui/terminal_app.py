"""What the console does about its terminal: size, pace, theme, repainting, the clipboard."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
from textual.app import App
from textual.events import Resize

from console.display.language import say
from console.tui import theme
from console.tui.appearance import Appearance
from console.tui.diff_widget import CanvasWidget
from console.tui.driver import ConsoleDriver
from console.tui.output import Output
from console.tui.terminal_kind import copying

BACKLOG_FRAMES = 2  # a terminal this far behind is not given more


class TerminalApp(App[None], inherit_bindings=False):
    """An app of `CanvasWidget`s on the console's driver. A subclass says how it draws, and where it says something."""

    def __init__(self, appearance: Appearance | None) -> None:
        self.appearance = appearance or Appearance(theme.load(theme.DEFAULT))
        super().__init__(driver_class=ConsoleDriver, ansi_color=True)
        self._behind = False  # the terminal does not keep up: the present model is not drawn yet

    def _draw(self) -> None:
        """Give the model to every visible widget."""
        raise NotImplementedError(f"{type(self).__name__} must say how it draws")

    def _say(self, text: str) -> None:
        """Show a line for some seconds; a screen without a place for one shows none."""

    def _link_is(self, slow: bool) -> None:
        """Show whether the terminal takes what is painted with delay."""

    @property
    def _output(self) -> Output | None:
        """What goes to the terminal; None in a test without one."""
        return getattr(self._driver, "output", None)

    def on_resize(self, event: Resize) -> None:
        """What a terminal shows after a change of its size is its own affair: all is sent again.

        Also where it is as large as before: it was another size in between, or the console was suspended (ctrl+z).
        """
        if self._output is not None:
            self._output.forget(event.size.width, event.size.height)
            self.refresh(layout=True)

    def _must_wait(self) -> bool:
        """Whether the terminal has not taken what was sent before."""
        if getattr(self._driver, "backlog", 0) > BACKLOG_FRAMES:
            return True
        keys = getattr(self._driver, "keys", None)
        return self._output is not None and self._output.pace.must_wait(time.monotonic(), keys and keys.last_s)

    def on_link_answered(self) -> None:
        """The terminal has taken what was sent: say whether that took long; send what had to wait."""
        if self._output is not None:
            self._link_is(self._output.pace.slow)
        if self._behind:
            self._draw()

    def action_repaint(self) -> None:
        """Send the whole screen anew: something else has written on it."""
        if self._output is not None:
            self._output.forget(self.size.width, self.size.height)
        for widget in self.screen.query(CanvasWidget):
            widget.refresh()

    def action_next_theme(self) -> None:
        """Draw in the next theme, and keep it for this user."""
        folder = theme.user_folder(os.environ)
        names = theme.names(folder)
        now = self.appearance.theme.name
        name = names[(names.index(now) + 1) % len(names)] if now in names else names[0]
        try:
            chosen = theme.load(name, folder)
        except theme.ThemeError as error:
            self._say(str(error))
            return
        self.appearance = msgspec.structs.replace(self.appearance, theme=chosen)
        self.action_repaint()
        kept = theme.keep(chosen, folder) or say("theme.kept")
        self._say(say("theme.chosen", name=name, about=chosen.about, kept=kept))

    def copy_line(self, text: str) -> None:
        """Put a text on the terminal's clipboard, and say so: whether it arrived there, no terminal tells."""
        sequence = copying(text, os.environ)
        driver: Any = self._driver
        if sequence is None or driver is None:
            self._say(say("copy.no_clipboard"))
            return
        driver.write(sequence)
        self._say(say("copy.done", text=text))
