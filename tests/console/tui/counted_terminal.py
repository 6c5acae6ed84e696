"""A terminal of cells in this process, with the console on it: what it would show, and how many bytes that took."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from textual import events
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Size
from textual.pilot import Pilot

from benchmarks.screen_cells import ScreenCells
from console.tui.app import SkerryApp
from console.tui.output import Output

BLANK = (" ", "")


class Cells(ScreenCells):
    """Cells of a window that somebody drags."""

    def resize(self, columns: int, rows: int) -> None:
        """Another size: what stands there is cut, or blanks come beside it."""
        self.cells = [(row + [BLANK] * columns)[:columns] for row in self.cells[:rows]]
        self.cells += [[BLANK] * columns for _ in range(rows - len(self.cells))]
        self.columns, self.rows = columns, rows
        self._x, self._y = min(self._x, columns - 1), min(self._y, rows - 1)


class CountedDriver(HeadlessDriver):
    """Sends what the console's driver sends, into `cells`."""

    def __init__(self, app: Any, *, debug: bool = False, mouse: bool = True, size: Any = None) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        columns, rows = self._get_terminal_size()
        self.output = Output(early=False)
        self.output.forget(columns, rows)
        self.cells = Cells(columns, rows)
        self.count = 0  # bytes

    @property
    def is_headless(self) -> bool:
        """Textual paints nothing on one that is."""
        return False

    def write(self, data: str) -> None:
        """Send and count."""
        sent = self.output.sent(data, 0.0).encode()
        self.count += len(sent)
        self.cells.feed(sent)

    def resize(self, columns: int, rows: int) -> None:
        """Somebody drags the window; the console is told."""
        self._size = (columns, rows)
        self.cells.resize(columns, rows)
        size = Size(columns, rows)
        self.send_message(events.Resize(size, size))


@contextlib.asynccontextmanager
async def counted(app: SkerryApp, size: tuple[int, int]) -> AsyncIterator[tuple[Pilot[None], CountedDriver]]:
    """The console on such a terminal."""
    app.driver_class = CountedDriver
    async with app.run_test(headless=False, size=size) as pilot:
        driver = app._driver
        assert isinstance(driver, CountedDriver)
        yield pilot, driver
