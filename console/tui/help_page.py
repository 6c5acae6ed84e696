"""The help page: keys from the command registry, and what the marks mean."""

from __future__ import annotations

from console.display.ink import Ink
from console.display.viewmodel import Model
from console.display.wrapping import cut
from console.tui.canvas import Canvas
from console.tui.commands import LISTED, key_name
from console.tui.diff_widget import DiffWidget

VIEW = "view."
MARKS = (
    ("▶ ◀", "into the site, out of it"),
    ("▲H ▼L", "above high, below low limit"),
    ("▲1 ▲2 ▲3", "alarm priority"),
    ("STALE 4s", "last value known, and its age"),
    ("— …", "no reading, nothing arrived yet"),
    ("┊ ┄", "limit on a bar, in a chart"),
    ("now │", "left the past, right the plan"),
    ("⡀⡄⡆⡇", "price not published"),
)


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
            canvas.put(max(28, x + 1) if meaning else x, y, cut(meaning, canvas.width - 29), Ink.DIM)
        if self._furthest:
            last = min(self._top + room, len(rows))
            canvas.right(canvas.width - 1, room, f"{self._top + 1}–{last} of {len(rows)} ↑ ↓", Ink.DIM)


def help_rows() -> list[tuple[str, str, str]]:
    """Key, label, what it does; the views on one row, the movements on another, then the marks."""
    views = [c for c in LISTED if c.id.startswith(VIEW) and c.keys[0].isdigit()]
    keys = f"{views[0].keys[0]} – {views[-1].keys[0]}"
    rows = [(keys, "  ".join(f"{c.keys[0]} {c.label}" for c in views), "")]
    rows += [(" ".join(key_name(k) for k in c.keys), c.label, c.help) for c in LISTED if c not in views]
    rows.append(("↑ ↓", "Line", "k j too; pgup pgdn home G; ← → (shift) in the plan"))
    return rows + [(mark, meaning, "") for mark, meaning in MARKS]
