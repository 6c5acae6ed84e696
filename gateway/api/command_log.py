"""What every command has in common: its role is checked, its intent recorded, its effect made, its result recorded.

A command that raises risk must come from a live console and be on disk before it takes effect; otherwise it is refused.
One that lowers risk (hold, stop, ending an order, abort) always runs: it is put on record if the disk answers in time,
else it is kept in memory, sent to syslog and answered as "not durable". The tick never waits for either.
`gateway/api/permissions.py` says which command raises risk.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from dispatch.model.clock import Clock
from dispatch.model.events import Event
from dispatch.model.orders import REASON_MAX
from dispatch.model.reasons import Reason
from dispatch.orders.refusal import OrderRefused
from dispatch.wording.formatting import one_line
from gateway.api.peer import Peer
from gateway.api.permissions import PERMISSIONS
from gateway.api.roles import Role, Roles, Standing
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink
from gateway.supervised_calls import PartHangs, SupervisedCalls
from storage.audit import AuditLog, NotDurable

STALE_S = 10.0  # machine seconds: a console that has seen nothing newer may not raise risk
RAISE_WAIT_S = 3.0  # for the disk, before a command that raises risk is refused
LOWER_WAIT_S = 0.5  # and before one that lowers it goes on without
TICK_WAIT_S = 2.0  # for the tick that obeys, before a command is answered without its effect
REFUSALS_PER_MIN = 60  # of each user put on record; a flood of refused commands must not fill the disk

Found = TypeVar("Found")
Handler = Callable[[Peer, dict[str, Any]], Awaitable[Any]]  # of a request; raises CommandRefused, ValueError


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command as somebody gave it."""

    peer: Peer
    name: str  # its row in the permission table
    text: str  # what is asked, for the record
    reason: str = ""
    seen_utc_s: Any = None  # the time of the newest state that the console says it has seen

    @property
    def raises_risk(self) -> bool:
        """As the permission table says."""
        return PERMISSIONS[self.name].raises_risk


class CommandLog:
    """Checks roles and keeps the record of commands, for every group of commands."""

    def __init__(
        self, roles: Roles, audit: AuditLog, clock: Clock, events: EventSink, lookups: SupervisedCalls
    ) -> None:
        """`lookups` of users and their groups, which may ask a directory server."""
        self._roles, self._audit, self._clock, self._events = roles, audit, clock, events
        self._lookups = lookups
        self.one_at_a_time = asyncio.Lock()  # of those that raise risk; nothing that lowers it ever waits here
        self._stopping = False
        self._refusals: dict[int, list[float]] = {}  # event loop times of the last minute's, by uid

    # ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, site_name: str) -> None:
        """Put the start of the gateway on record."""
        self._audit.spool({"kind": "start", "who": "gateway", "text": f"gateway of {site_name} started"})

    def refuse_all(self) -> None:
        """From now on every command is refused: the gateway is stopping."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Commands are no longer taken."""
        return self._stopping

    def finish(self) -> None:
        """Put the end of the run on record."""
        self._audit.spool({"kind": "stop", "who": "gateway", "text": "gateway stopped"})

    # ── permission ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def standing(self, peer: Peer) -> Standing:
        """The peer's role by its groups as of now. Raises CommandRefused where they cannot be looked up."""
        if (known := self._roles.without_lookup(peer)) is not None:
            return known
        try:
            return await self._lookups.call(self._roles.of, peer)
        except PartHangs as error:
            line = f"the groups of {peer.who} cannot be looked up now: {error}; root may do everything all the same"
            raise CommandRefused(line) from None

    async def named(self, peer: Peer) -> str | None:
        """The user whose jobs a peer sees by name, of others no name, user or account; None: it sees all.

        Operators see all. Where groups cannot be looked up it is the own user.
        """
        try:
            standing = await self.standing(peer)
        except CommandRefused:
            return peer.user
        return None if standing.role >= Role.OPERATOR else peer.user

    async def permit(self, peer: Peer, name: str) -> None:
        """Raise CommandRefused unless the peer's groups, as of now, allow this row of the permission table."""
        if self._stopping:
            raise CommandRefused("the gateway is stopping; no command is taken any more")
        needed = PERMISSIONS[name]
        standing = await self.standing(peer)
        if standing.role < needed.role:
            takes = f"{needed.description or name} takes {needed.role.one}"
            line = f"{takes}; {peer.who} is {standing.role.one} ({standing.why})"
            self.record_refusal(Command(peer=peer, name=name, text=""), line)
            raise CommandRefused(line)

    def check(self, command: Command, check: Callable[[], Found], intent: int | None = None) -> Found:
        """What `check` returns. Raises CommandRefused for its OrderRefused, which goes on record.

        A command that raises risk is refused, too, when its console has not seen the site lately. `intent`: the row of
        one that is on record already.
        """
        try:
            if command.raises_risk:
                self._check_console(command.seen_utc_s)
            return check()
        except OrderRefused as refusal:
            self.record_refusal(command, f"{command.text}: {refusal}", intent, why=recordable(refusal.reason))
            raise CommandRefused(str(refusal), refusal.reason) from None

    def _check_console(self, seen_utc_s: Any) -> None:
        """Raise OrderRefused when the console has not seen the site lately."""
        if isinstance(seen_utc_s, bool) or not isinstance(seen_utc_s, (int, float)) or not math.isfinite(seen_utc_s):
            raise OrderRefused(Reason("refused.no_state_seen"))
        age_s = abs(self._clock.utc_s() - seen_utc_s) / self._clock.speed
        if age_s > STALE_S:
            raise OrderRefused(Reason("refused.stale_console", {"age_s": age_s, "most_s": STALE_S}))

    # ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def record_intent(self, command: Command, text: str = "", **more: Any) -> int | None:
        """Put a command on record before it takes effect; its row number.

        What raises risk has one, or CommandRefused is raised; what lowers it has None if the disk takes too long.
        `text` instead of the command's own; `more`: what else the row holds.
        """
        row = _row("intent", command, text or command.text) | {"reason": command.reason} | more
        if command.raises_risk:
            return await self._on_disk(command, row)
        number, _ = await _soon(self._audit.spool(row), LOWER_WAIT_S)
        return number

    async def record_result(self, command: Command, intent: int | None, outcome: str, text: str, **more: Any) -> str:
        """Put the result of a command on record. Returns an empty text once it is on disk, else why it is not."""
        row = _row("result", command, text) | {"of": intent, "outcome": outcome, **more}
        _, trouble = await _soon(self._audit.spool(row), LOWER_WAIT_S if intent is None else RAISE_WAIT_S)
        return trouble or ("" if intent is not None else "the intent was not on disk before the command took effect")

    def record_refusal(self, command: Command, line: str, intent: int | None = None, **more: Any) -> None:
        """Put a refusal on record, unless there were very many of late; an intent always gets its result."""
        if not self._counts(command.peer.uid, intent):
            return
        row = _row("refused", command, line) if intent is None else _row("result", command, line) | {"of": intent}
        self._audit.spool(row | {"outcome": "refused", **more})
        who = command.peer.who
        self._events.note(Event(self._clock.utc_s(), "command", "warning", "refused", line, who))

    def _counts(self, uid: int, intent: int | None) -> bool:
        """Whether a refusal of this user goes on record; those of the last minute are counted by user."""
        now_s = asyncio.get_running_loop().time()
        lately = {of: [at_s for at_s in times if now_s - at_s < 60] for of, times in self._refusals.items()}
        self._refusals = {of: times for of, times in lately.items() if times}
        mine = self._refusals.setdefault(uid, [])
        if intent is None and len(mine) >= REFUSALS_PER_MIN:
            return False
        mine.append(now_s)
        return True

    async def _on_disk(self, command: Command, row: dict[str, Any]) -> int:
        """Write the intent of a command that raises risk; its row number once it is on disk.

        Raises CommandRefused if that fails or takes longer than `RAISE_WAIT_S`. The refusal is recorded when the write
        has ended: as the result of the intent if this was written after all, else as a row of its own.
        """
        written = asyncio.wrap_future(self._audit.write(row))
        try:
            return await asyncio.wait_for(asyncio.shield(written), RAISE_WAIT_S)
        except NotDurable as error:
            why = str(error)
        except TimeoutError:
            why = f"the disk has not answered for {RAISE_WAIT_S:g} s"
        line = f"audit: not on record, so not done: {why}; hold, stop, end and abort work all the same"

        def refuse(done: asyncio.Future[int]) -> None:
            late = None if done.cancelled() or done.exception() is not None else done.result()
            granted = {} if late is None or "reservation" not in row else {"reservation_id": f"r{late}"}
            self.record_refusal(command, f"{row['text']}: {line}", late, **granted)

        if written.done():
            refuse(written)
        else:
            written.add_done_callback(refuse)
        raise CommandRefused(line)


def _row(kind: str, command: Command, text: str) -> dict[str, Any]:
    peer = command.peer
    row = {"kind": kind, "who": peer.who, "uid": peer.uid, "pid": peer.pid, "command": command.name}
    return row | {"text": text, "reason": ""}


async def _soon(future: Future[int], wait_s: float) -> tuple[int | None, str]:
    """The row, or why there is none yet; the row itself goes on waiting for the disk."""
    row = asyncio.wrap_future(future)
    row.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # nobody may be left to ask
    try:
        return await asyncio.wait_for(asyncio.shield(row), wait_s), ""
    except NotDurable as error:
        return None, str(error)
    except TimeoutError:
        return None, f"the disk has not answered for {wait_s:g} s"


def recordable(reason: Reason) -> Any:
    """A reason as the audit keeps it, beside the words: JSON, in which an open bound is null."""
    return msgspec.json.decode(msgspec.json.encode(reason))


def printable(text: str) -> str:
    """What a person typed, fit for one line of the record: at most 200 characters."""
    return one_line(text)[:REASON_MAX]
