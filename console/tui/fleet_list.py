"""The widget of the fleet's screen: passes keys on to the page, and sends the terminal what changed of it."""

from __future__ import annotations

from textual.events import Key
from textual.message import Message

from console.tui.canvas import Canvas
from console.tui.diff_widget import CanvasWidget
from console.tui.fleet_page import LEAVE, OPEN, FleetPage
from fleet.sites import SiteAddress
from fleet.table import Row


class FleetList(CanvasWidget, can_focus=True):
    """Fills the screen, and has every key."""

    class Opened(Message):
        """The console of a site is wanted."""

        def __init__(self, address: SiteAddress) -> None:
            super().__init__()
            self.address = address

    class Left(Message):
        """The screen is to be left."""

    def __init__(self) -> None:
        super().__init__(id="sites")
        self.page = FleetPage()

    def show(self, rows: tuple[Row, ...], trouble: str = "") -> None:
        """What is known now; why nothing is heard of any site."""
        self.page.show(rows, trouble)
        self.redraw()

    def painted(self, width: int, height: int) -> Canvas:
        """The page."""
        return self.page.painted(width, height)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """While a filter is typed, what can be typed is text."""
        return self.page.takes_text(key, character)

    def on_key(self, event: Key) -> None:
        """Move, choose, filter, open, leave."""
        event.stop()
        event.prevent_default()
        wish, selected = self.page.press(event.key, event.character), self.page.selected
        if wish == LEAVE:
            self.post_message(self.Left())
        elif wish == OPEN and selected is not None:
            self.post_message(self.Opened(selected.address))
        self.redraw()
