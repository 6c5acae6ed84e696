"""Looks at a directory for files with signed signals. They are only read: who puts them there takes them away."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from dispatch.orders.refusal import OrderRefused
from dispatch.wording.formatting import one_line
from drivers.signals.cloud_event import LONGEST, SignalNotRead
from gateway.event_sink import EventSink
from gateway.signals_in_force import SignalsInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls

LOOK_S = 2.0  # of machine time
MOST_FILES = 256

Signature = tuple[int, int, int]  # inode, size and time of the last change


class SignalDirectory:
    """Hands each `*.json` in once, when it looks the same twice in a row: who writes it may be at it."""

    def __init__(
        self, path: Path, signals: SignalsInForce, events: EventSink, calls: SupervisedCalls, look_s: float = LOOK_S
    ) -> None:
        self._path, self._signals, self._events, self._calls = path, signals, events, calls
        self._look_s = look_s
        self._seen: dict[Path, Signature] = {}  # at the last look
        self._done: dict[Path, Signature] = {}
        self._error = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(PartHangs):  # said by its alarm
                await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look once; take in what is new and has stood still."""
        try:
            found = await self._calls.call(files_in, self._path)
        except OSError as error:
            self._say(f"{self._path} cannot be read: {error.strerror}; expected a directory that the gateway may list")
            return
        self._say("")
        ready = [path for path, sign in found.items() if self._seen.get(path) == sign != self._done.get(path)]
        taken = [path for path in ready if await self._take(path)]
        self._done = {path: sign for path, sign in found.items() if path in taken or self._done.get(path) == sign}
        self._seen = found

    async def _take(self, path: Path) -> bool:
        """Hand a file in; False: not now, as the time is not known yet."""
        try:
            raw = await self._calls.call(beginning_of, path)
            await self._signals.receive(raw, f"file {one_line(path.name)}")
        except OSError as error:
            self._refuse(path, f"cannot be read: {error.strerror}")
        except SignalNotRead as error:
            self._refuse(path, str(error))
        except OrderRefused as error:
            if error.reason.code == "refused.signal_clock":
                return False
            self._refuse(path, str(error))
        return True

    def _refuse(self, path: Path, why: str) -> None:
        self._events.event("command", "warning", "signal", f"file {one_line(path.name)} is refused: {one_line(why)}")

    def _say(self, error: str) -> None:
        if error and error != self._error:
            self._events.event("command", "warning", "signal", error)
        self._error = error


def files_in(directory: Path) -> dict[Path, Signature]:
    """The `*.json` in it, the first `MOST_FILES` by name. Raises OSError."""
    found = {}
    for path in sorted(directory.iterdir())[:MOST_FILES]:
        if path.suffix == ".json":
            with contextlib.suppress(OSError):  # it is gone meanwhile
                stat = path.stat()
                found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def beginning_of(path: Path) -> bytes:
    """Its bytes, one more than a signal may have at most. Raises OSError."""
    with path.open("rb") as file:
        return file.read(LONGEST + 1)
