"""Queries of somebody who looks after many sites: the overview of this one, blocks, roll-ups, events, audit's head.

No name of a user, job or compute node is in an answer: of nodes there is the sum. They change nothing; `fleet.hold`
delays what retention deletes, within its bounds (storage/retention.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from gateway.api.command_log import Handler, printable
from gateway.api.interfaces import Loop, Records
from gateway.api.peer import Peer
from gateway.api.protocol import Welcome
from gateway.api.site_overview import overview
from gateway.errors import CommandRefused
from gateway.site.schema import Site
from storage.audit_reader import head_and_row
from storage.inbox import NotRecorded
from storage.outgoing import OutgoingEvent
from storage.signals import Signal

PAGE_BYTES = 512 << 10  # of blocks in one answer, half of a frame
HOLD_S = 5.0  # for the disk to note a hold
MOST_HUB = 60  # characters of a hub's name
Hold = Callable[[str, int], Future[None]]  # of `storage.inbox`
SUMS = frozenset({"grid", "load", "month"})  # heads of measured and other signals that are of no single device
SUBJECTS = frozenset({"rule", "island"})  # kinds of events whose subject is a word of Skerry's own


class FleetQueries:
    """Answers them."""

    def __init__(
        self,
        site: Site,
        welcome: Callable[[Peer], Welcome],
        state_dir: Path,
        *,
        loop: Loop,
        records: Records,
        hold: Hold,
    ) -> None:
        self._welcome, self._state_dir, self._loop, self._records = welcome, state_dir, loop, records
        self._hold_blocks = hold
        self._devices = SUMS | _power_devices(site)
        self.handlers: dict[str, Handler] = {
            "fleet.now": self._now,
            "fleet.blocks": self._blocks,
            "fleet.quarters": self._quarters,
            "fleet.events": self._events,
            "fleet.head": self._head,
            "fleet.hold": self._hold,
        }

    async def _now(self, peer: Peer, params: dict[str, Any]) -> Any:
        """The site in one line."""
        published = self._loop.published
        if published is None:
            raise CommandRefused("the gateway has not completed a tick yet; ask again in a second")
        return msgspec.to_builtins(overview(published, self._welcome(peer)))

    async def _blocks(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Blocks after `after_seq`; with `offset`, the next one from that byte on."""
        after_seq, offset = _number(params["after_seq"]), max(0, _number(params.get("offset", 0)))
        page = await self._records.ask(
            lambda archive: archive.outgoing_blocks(after_seq, self._may_leave, PAGE_BYTES, offset)
        )
        return msgspec.to_builtins(page, builtin_types=(bytes,))

    async def _quarters(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Roll-ups of the quarter hours of the blocks after `after_seq`; with `after_t`, of all after that time."""
        after_t = params.get("after_t")
        after = _number(params["after_seq"] if after_t is None else after_t)
        page = await self._records.ask(
            lambda archive: archive.outgoing_quarters(after, self._may_leave, by_time=after_t is not None)
        )
        return msgspec.to_builtins(page)

    async def _events(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Events after `after_id`, without text and without who: both may name users, jobs and nodes."""
        after_id = _number(params["after_id"])
        found = await self._records.ask(lambda archive: archive.outgoing_events(after_id))
        return msgspec.to_builtins(tuple(map(self._told, found)))

    async def _head(self, peer: Peer, params: dict[str, Any]) -> Any:
        """The head of the audit, and the hash of row `seq`: whoever kept it sees whether it still is what it was."""
        seq = _number(params.get("seq", 0))
        return await self._records.ask(lambda archive: head_and_row(self._state_dir, seq))

    async def _hold(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Keep the blocks after `seq` for `hub`, a name of the asking user's, which has those up to it."""
        seq, hub = max(0, _number(params["seq"])), printable(str(params["hub"]))[:MOST_HUB]
        noted = asyncio.wrap_future(self._hold_blocks(f"{peer.user}/{hub}", seq))
        try:
            await asyncio.wait_for(noted, HOLD_S)
        except NotRecorded as error:
            raise CommandRefused(f"the hold is not on record: {error}") from None
        except TimeoutError:
            raise CommandRefused(f"the hold is not on record: the disk has not answered for {HOLD_S:g} s") from None
        return {"seq": seq}

    def _told(self, event: OutgoingEvent) -> OutgoingEvent:
        """An event with its subject where that is the kind of an alarm, a rule, or a device of the power side."""
        subject = event.subject
        if event.kind == "alarm":
            subject = subject.partition(":")[0]
        elif not (event.kind in SUBJECTS or (event.kind == "device" and subject in self._devices)):
            subject = ""
        return msgspec.structs.replace(event, subject=subject)

    def _may_leave(self, signal: Signal) -> bool:
        """Whether a signal is none of a compute node."""
        return signal.kind != "measured" or _head_of(signal.name) in self._devices


def _number(value: Any) -> int:
    """Raises ValueError, TypeError for what is no number of 64 bits, which the record would call a damaged row."""
    number = int(value)
    if number.bit_length() > 63:
        raise ValueError("expected a number of 64 bits")
    return number


def _head_of(name: str) -> str:
    return name.rpartition(".")[0].removeprefix("device:")


def _power_devices(site: Site) -> frozenset[str]:
    """Ids of the devices of the power side."""
    sections = (site.battery, site.pcs, site.meter, site.pv, site.switch, site.ups)
    return frozenset(device.id for section in sections for device in section)
