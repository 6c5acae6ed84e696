"""Keeps in the state directory how mapped PCS were found before the first write to them: `found-modes.json`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from drivers.maps.found_modes import FoundModes
from gateway.daemon_thread import may_hang
from gateway.damaged_file import set_aside
from storage import durable_file
from storage.ballast import Ballast

FILE = "found-modes.json"
SAVE_S = 2.0  # then the device is commanded all the same: control does not need the state directory
UNKNOWN = "in which mode devices were found before they were commanded is not known"


def open_found_modes(state_dir: Path, ballast: Ballast | None = None) -> tuple[FoundModes, str]:
    """The record, and what the log should say of it. One that is damaged is kept beside the new one.

    `ballast`: what is given up when the disk is full.
    """
    path = state_dir / FILE
    save = _saver(path, ballast or Ballast(state_dir, 0))
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return FoundModes(None, save), ""
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        return found_modes_not_read(why), f"{why}; {UNKNOWN}"
    modes = FoundModes(kept, save)
    if not modes.unknown:
        return modes, ""
    return modes, set_aside(path, modes.unknown, UNKNOWN)


def found_modes_not_read(why: str) -> FoundModes:
    """The record where its file could not be read; it is not replaced either."""

    async def refuse(_: bytes) -> str:
        return why

    return FoundModes(None, refuse, why)


def _saver(path: Path, ballast: Ballast) -> Callable[[bytes], Awaitable[str]]:
    """Puts the file in place; says why it is not on disk. One that hangs is waited for before the next is begun."""
    under_way: list[asyncio.Future[None]] = []

    async def save(content: bytes) -> str:
        try:
            async with asyncio.timeout(SAVE_S):
                while under_way:
                    await asyncio.shield(under_way[-1])
                    under_way.clear()
                write = partial(durable_file.write, path, content)
                under_way.append(asyncio.ensure_future(may_hang(ballast.with_room, write)))
                await asyncio.shield(under_way[-1])
        except TimeoutError:
            return f"{path} was not written within {SAVE_S:g} s"
        except OSError as error:
            under_way.clear()
            return f"{error.filename or path}: {error.strerror}"
        under_way.clear()
        return ""

    return save
