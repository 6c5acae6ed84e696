"""Finds the twin that runs for a site file, or starts one as a child process.

The child ends with the gateway, also when that is killed: its stdin is closed then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decoding import decoded
from drivers.twin.announcement import Announcement
from gateway.api.socket_file import listening
from gateway.site import paths

START_LIMIT_S = 15.0
_ANNOUNCEMENT = msgspec.json.Decoder(Announcement)


class TwinFailed(Exception):
    """The twin did not start; the text says why."""


def read_announcement(text: str | bytes, origin: str) -> Announcement:
    """Parse the JSON a twin prints. Raises TwinFailed."""
    try:
        return decoded(_ANNOUNCEMENT.decode, text)
    except msgspec.DecodeError as error:
        raise TwinFailed(f"{origin}: not a twin's announcement: {error}") from None


def running_twin(site_path: Path) -> Announcement | None:
    """The twin that runs for this site file, or None. A gateway's child counts; what a dead one left does not."""
    for file in paths.announcements(site_path):
        try:
            found = read_announcement(file.read_bytes(), str(file))
            if listening(Path(found.control)):
                return found
        except (TwinFailed, OSError, ValueError):  # ValueError: no path at all
            continue
    return None


class TwinChild:
    """`skerry twin SITE --stop-on-stdin-eof` as a child process in its own session."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, site_path: Path, options: list[str], log: Any) -> TwinChild:
        """Start the process; `announced` waits for it to be ready."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "skerry",
            "twin",
            str(site_path),
            "--stop-on-stdin-eof",
            *options,
        ]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True
        )
        return cls(process)

    async def announced(self) -> Announcement:
        """The announcement, the twin's first line. Raises TwinFailed."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_LIMIT_S)
        except TimeoutError:
            raise TwinFailed(f"the twin announced nothing within {START_LIMIT_S:g} s") from None
        if not line:
            code = await self._process.wait()
            raise TwinFailed(
                f"the twin ended at start with exit code {code}; its own message is above or in gateway.log"
            )
        return read_announcement(line, "twin")

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Close the twin's stdin and wait; after 5 s kill it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
