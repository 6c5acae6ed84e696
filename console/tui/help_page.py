"""The help page: keys from the command registry, and what the marks mean."""

from __future__ import annotations

from console.tui.canvas import Canvas, Ink, cut
from console.tui.commands import LISTED, key_name
from console.tui.painted import Painted
from console.tui.viewmodel import Model

VIEW = "view."
MARKS = (
    ("▶ ◀", "into the site, out of it"),
    ("▲H ▼L", "above high, below low limit"),
    ("▲1 ▲2 ▲3", "alarm priority"),
    ("STALE 4s", "last value known, and its age"),
    ("— …", "no reading, nothing arrived yet"),
    ("┊ ┄", "limit on a bar, in a chart"),
    ("now │", "left the past, right the plan"),
    ("⡀⡄⡆⡇", "price not published yet"),
)


class HelpPage(Painted):
    """Keys and marks, side by side where there is room, else keys first."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Keys in the order of the registry; marks in what is left."""
        canvas.put(1, 0, "Keys", Ink.DIM)
        y = 1
        views = [c for c in LISTED if c.id.startswith(VIEW) and c.keys[0].isdigit()]
        canvas.put(2, y, f"{views[0].keys[0]} – {views[-1].keys[0]}", Ink.BOLD)
        canvas.put(12, y, " · ".join(f"{c.keys[0]} {c.label}" for c in views))
        y += 1
        for command in (c for c in LISTED if c not in views):
            canvas.put(2, y, " ".join(key_name(k) for k in command.keys), Ink.BOLD)
            canvas.put(12, y, command.label)
            canvas.put(28, y, cut(command.help, canvas.width - 29), Ink.DIM)
            y += 1
        canvas.put(2, y, "↑ ↓ pgup pgdn home end  a line · ← → [ ]  a quarter, an hour of the plan", Ink.DIM)
        left, top = (1, y + 2) if canvas.height >= y + 2 + len(MARKS) else (1, y + 1)
        if top + len(MARKS) < canvas.height:
            canvas.put(left, top, "Marks", Ink.DIM)
            for n, (mark, meaning) in enumerate(MARKS, start=top + 1):
                canvas.put(left + 1, n, mark)
                canvas.put(left + 11, n, meaning, Ink.DIM)
            return
        x = 2
        for n, (mark, meaning) in enumerate(MARKS[: 2 * (canvas.height - top)]):
            row, column = top + n // 2, n % 2
            x = 2 if column == 0 else 40
            x = canvas.put(x, row, mark) + 2
            canvas.put(x, row, cut(meaning, 38 - len(mark)), Ink.DIM)
