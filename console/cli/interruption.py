"""Long commands end at a first Ctrl-C in an orderly way: what was done so far is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code, 128 + SIGINT as shells have it


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within it the first Ctrl-C sets the event; a second one raises KeyboardInterrupt, as usual."""
    interrupted = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
