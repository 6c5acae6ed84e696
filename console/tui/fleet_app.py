"""`skerry fleet` as a screen. It follows the sites and shows them; a site is commanded from its own console only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from console.tui.appearance import Appearance
from console.tui.fleet_list import FleetList
from console.tui.terminal_app import TerminalApp
from fleet.sites import SiteAddress
from fleet.table import rows_of
from fleet.watch import Followed

DRAW_S = 1.0  # ages count on


class FleetApp(TerminalApp, inherit_bindings=False):
    """The sites of a fleet.

    console: the command that opens the console of a site; run in the terminal of this screen, which it gives back.
    """

    TITLE = "Skerry fleet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = """
    Screen { layout: vertical; overflow: hidden; background: ansi_default; color: ansi_default; }
    FleetList { height: 1fr; width: 1fr; }
    """

    def __init__(
        self,
        watch: Followed,
        console: Callable[[SiteAddress], Sequence[str]],
        run: Callable[[Sequence[str]], Any] = lambda command: subprocess.run(command, check=False),
        appearance: Appearance | None = None,
    ) -> None:
        super().__init__(appearance)
        self._watch, self._console, self._run_console = watch, console, run

    def compose(self) -> ComposeResult:
        """One widget, which draws all of it."""
        yield FleetList()

    def on_mount(self) -> None:
        """Begin to follow the sites."""
        self._list.focus()
        self._watch.start()
        self._draw()
        self.set_interval(DRAW_S, self._draw)

    async def on_unmount(self) -> None:
        """Hang up everywhere."""
        await self._watch.stop()

    @property
    def _list(self) -> FleetList:
        return self.query_one(FleetList)

    def _draw(self) -> None:
        """What is known now. A terminal that does not keep up gets the next one instead."""
        self._behind = self._must_wait()
        if not self._behind:
            self._list.show(rows_of(self._watch.states, self._watch.monotonic()), self._watch.trouble)

    def on_fleet_list_opened(self, message: FleetList.Opened) -> None:
        """Give the terminal to the console of a site until it is left. The sites are not followed meanwhile."""
        with self.suspend():
            try:
                self._run_console(self._console(message.address))
            except OSError as error:
                print(f"skerry: the console of {message.address.name} cannot be opened: {error.strerror}")
        self.action_repaint()

    def on_fleet_list_left(self) -> None:
        """Leave."""
        self.exit()
