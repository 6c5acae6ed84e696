"""Ends the console on SIGTERM and SIGHUP so that its last picture does not stay on the terminal like a live one.

A terminal that is gone counts as SIGHUP: the kernel sends that to the leader of the session only, which may ignore it.
So does a parent that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType

PARENT_MS = 1000  # between two looks at whether our parent is there
LIMIT_S = 5.0  # for the app to leave; a terminal that takes nothing more would keep it for ever


@contextlib.contextmanager
def leaving_on_signals(leave: Callable[[], None]) -> Iterator[list[signal.Signals]]:
    """Within, the signals call `leave` in the event loop of this thread; the list holds those that came.

    leave: makes the app end in order, which restores the terminal. Does it not end in time, the process does,
    after the terminal's settings are as they were.
    """
    came: list[signal.Signals] = []
    before = _terminal_settings()

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        timer = threading.Timer(LIMIT_S, _end_process, (number, before))
        timer.daemon = True
        timer.start()
        try:
            asyncio.get_running_loop().call_soon_threadsafe(leave)
        except RuntimeError:  # it has not begun, or has ended
            raise SystemExit(128 + number) from None

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    with contextlib.suppress(AttributeError, OSError, ValueError):
        terminal = sys.__stdin__.fileno()  # type: ignore[union-attr]
        if os.isatty(terminal):
            threading.Thread(target=_watch, args=(terminal,), name="terminal-watch", daemon=True).start()
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _watch(terminal: int) -> None:
    """Wait until nobody holds the other end of the terminal any more, or our parent is gone; then act as on SIGHUP.

    A console whose shell or sudo was killed would read the keys of whoever uses the terminal next.
    """
    poll, parent = select.poll(), os.getppid()
    poll.register(terminal, 0)  # that it hangs up is told in any case
    while not poll.poll(PARENT_MS) and os.getppid() == parent:
        pass
    os.kill(os.getpid(), signal.SIGHUP)


def _terminal_settings() -> list[object] | None:
    with contextlib.suppress(termios.error, AttributeError, OSError, ValueError):
        return termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr]
    return None


def _end_process(number: int, settings: list[object] | None) -> None:
    with contextlib.suppress(termios.error, AttributeError, OSError, ValueError):
        if settings is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, settings)  # type: ignore[union-attr, arg-type]
    os._exit(128 + number)
