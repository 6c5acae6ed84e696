"""Looks at a directory for files with signals. They are only read: who puts them there takes them away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple

from dispatch.orders.refusal import OrderRefused
from dispatch.wording.formatting import one_line
from drivers.signals.cloud_event import LONGEST, SignalNotRead
from gateway.event_sink import EventSink
from gateway.signal_refusals import SignalRefusals
from gateway.signals_in_force import SignalsInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls

LOOK_S = 2.0  # of machine time
MOST_FILES = 256

Signature = tuple[int, int, int]  # time of the last change, inode and size


class Found(NamedTuple):
    """The newest files of the directory, oldest first, and how many there are."""

    files: dict[Path, Signature]
    total: int


class SignalDirectory:
    """Hands each `*.json` in once, when it looks the same twice in a row: who writes it may be at it."""

    def __init__(
        self, path: Path, signals: SignalsInForce, events: EventSink, calls: SupervisedCalls, look_s: float = LOOK_S
    ) -> None:
        self._path, self._signals, self._events, self._calls = path, signals, events, calls
        self._refusals = SignalRefusals(events)
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
            found, total = await self._calls.call(files_in, self._path)
        except OSError as error:
            self._say(f"{self._path} cannot be read: {error.strerror}; expected a directory that the gateway may list")
            return
        full = f"{self._path} holds more than {MOST_FILES} *.json: only the newest are looked at; remove old ones"
        self._say(full if total > MOST_FILES else "")
        ready = [path for path, sign in found.items() if self._seen.get(path) == sign != self._done.get(path)]
        taken = [path for path in ready if await self._take(path)]
        self._done = {path: sign for path, sign in found.items() if path in taken or self._done.get(path) == sign}
        self._seen = found

    async def _take(self, path: Path) -> bool:
        """Hand a file in; False: not now, as the time is not known yet."""
        try:
            raw, owner = await self._calls.call(beginning_of, path)
            await self._signals.receive(raw, f"file {one_line(path.name)}", owner)
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
        self._refusals.tell(f"file {one_line(path.name)} is refused: {one_line(why)}")

    def _say(self, error: str) -> None:
        if error and error != self._error:
            self._events.event("command", "warning", "signal", error)
        self._error = error


def files_in(directory: Path) -> Found:
    """The `*.json` in it: the newest `MOST_FILES`. Raises OSError."""
    found: list[tuple[Signature, str]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".json"):
                with contextlib.suppress(OSError):  # it is gone meanwhile, or a link to nothing
                    seen = entry.stat()
                    found.append(((seen.st_mtime_ns, seen.st_ino, seen.st_size), entry.name))
    newest = sorted(nlargest(MOST_FILES, found))
    return Found({directory / name: sign for sign, name in newest}, len(found))


def beginning_of(path: Path) -> tuple[bytes, int | None]:
    """Its bytes, one more than a signal may have at most, and the uid of its owner; None where others may have had a
    hand in it: it may be written by group or others, has another name elsewhere, or is reached by a link.

    Raises OSError, also for what is no regular file.
    A pipe or a device is opened without waiting: what hangs here would hold up the signals of every way.
    """
    linked, flags = False, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        linked, descriptor = True, os.open(path, flags)
    with open(descriptor, "rb") as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode):
            raise OSError(0, "expected a regular file")
        alone = not linked and seen.st_nlink == 1 and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return file.read(LONGEST + 1), seen.st_uid if alone else None
