"""The help page: keys from the command registry, and what the marks mean."""

from __future__ import annotations

from console.display.ink import Ink
from console.display.language import say
from console.display.viewmodel import Model
from console.display.wrapping import cut
from console.tui.canvas import Canvas
from console.tui.commands import LISTED, key_name
from console.tui.diff_widget import DiffWidget

VIEW = "view."


class HelpPage(DiffWidget):
    """Keys, then marks; scrolled where they do not fit."""

    fresh_only = False

    def __init__(self) -> None:
        super().__init__()
        self._top = self._furthest = 0

    def move(self, by: int) -> None:
        """Scroll."""
        self._top = max(0, min(self._top + by, self._furthest))
        self.redraw()

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Keys in the order of the registry, then the marks."""
        rows = help_rows()
        room = canvas.height if len(rows) <= canvas.height else canvas.height - 1
        self._furthest = max(0, len(rows) - room)
        self._top = min(self._top, self._furthest)
        for y, (key, label, meaning) in enumerate(rows[self._top : self._top + room]):
            canvas.put(2, y, key, Ink.BOLD)
            x = canvas.put(12, y, label)
            x = max(28, x + 1) if meaning else x
            canvas.put(x, y, cut(meaning, canvas.width - x - 1), Ink.DIM)
        if self._furthest:
            scrolled = say("help.scrolled", first=self._top + 1, last=min(self._top + room, len(rows)), n=len(rows))
            canvas.right(canvas.width - 1, room, scrolled, Ink.DIM)


def marks() -> tuple[tuple[str, str], ...]:
    """Marks on the screen, and what they mean."""
    return (
        ("▶ ◀", say("help.flow")),
        ("▲H ▼L", say("help.limits")),
        ("▲1 ▲2 ▲3", say("help.priority")),
        (say("age.stale", age="4s"), say("help.stale")),
        ("— …", say("help.missing")),
        ("┊ ┄", say("help.bars")),
        (f"{say('chart.now')} │", say("help.now")),
        ("⡀⡄⡆⡇", say("help.prices")),
    )


def help_rows() -> list[tuple[str, str, str]]:
    """Key, label, what it does; the views on one row, the movements on another, then the marks."""
    views = [c for c in LISTED if c.id.startswith(VIEW) and c.keys[0].isdigit()]
    keys = f"{views[0].keys[0]} – {views[-1].keys[0]}"
    rows = [(keys, "  ".join(f"{c.keys[0]} {c.label}" for c in views), "")]
    rows += [(" ".join(key_name(k) for k in c.keys), c.label, c.help) for c in LISTED if c not in views]
    rows.append(("↑ ↓", say("help.line"), say("help.line_keys")))
    return rows + [(mark, meaning, "") for mark, meaning in marks()]
