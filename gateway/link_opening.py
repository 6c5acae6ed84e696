"""Opens the gateway's link and hands its socket to the viewers' group. Control never waits for either.

A group of `[roles]` that cannot be found yet, such as one of a directory server that starts later, leaves the socket to
root and the gateway's own user, and nobody with the role of that group. It is looked up again until it is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno

from gateway import exit_codes
from gateway.api.roles import Roles
from gateway.api.server import LinkServer
from gateway.daemon_thread import may_hang
from gateway.errors import SocketInUse, StartRefused
from gateway.event_sink import EventSink

LOOK_UP_S = 2.0  # for the groups: the user database may be on another machine
AGAIN_S = 5.0
LIMITED = "not every user has the access that [roles] gives"


class LinkOpening:
    """Opens a link at the start of the gateway, and completes later what could not be done then."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self.trouble = ""  # why not everybody can connect, or has the role, who should; empty: they can

    async def open(self, link: LinkServer) -> None:
        """Try once; `trouble` says what is missing. Raises StartRefused where another gateway listens."""
        try:
            gid, missing = await asyncio.wait_for(may_hang(self._roles.viewers_gid), LOOK_UP_S)
        except TimeoutError:
            gid, missing = None, f"the groups of [roles] were not found within {LOOK_UP_S:g} s: does the server answer?"
        self.trouble = await _opened_for(link, gid) or missing

    async def complete(self, link: LinkServer, events: EventSink) -> None:
        """Say what is missing, and try again until nothing is."""
        if not self.trouble:
            return
        said = ""
        while self.trouble:
            if self.trouble != said:
                said = self.trouble
                state = LIMITED if link.listening else "no console can connect"
                text = f"{state}, control runs: {said}; tried again every {AGAIN_S:g} s"
                events.event("gateway", "alarm", "link", text)
            await asyncio.sleep(AGAIN_S)
            with contextlib.suppress(StartRefused):
                await self.open(link)
        events.event("gateway", "info", "link", f"consoles can connect: {link.path}")


async def _opened_for(link: LinkServer, gid: int | None) -> str:
    """Open the socket for a group, or for root and our own user alone; what could not be done."""
    try:
        if not link.listening:
            await link.start(gid)
        elif gid is not None:
            link.hand_over(gid)
    except SocketInUse as error:
        raise StartRefused(str(error), exit_codes.ALREADY_RUNNING) from None
    except OSError as error:
        if gid is not None and not link.listening and error.errno == errno.EPERM:
            return await _opened_for(link, None) or f"{link.path}: {error.strerror}"
        return f"{error.filename or link.path}: {error.strerror}"
    return ""
