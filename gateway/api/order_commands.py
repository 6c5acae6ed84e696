"""Commands: who may give them, what they are put on record as, and what they do.

A command that raises risk is on disk before it takes effect, and is refused when it cannot be. One that lowers risk
(hold, stop, ending an order) always runs: it is put on record if the disk answers in time, else it is kept in memory,
sent to syslog and answered as "not durable". The tick never waits for either.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from dispatch.model.events import Event
from dispatch.model.orders import Order, OrderKind, OrderRefused, Preview, Wanted
from dispatch.orders.book import words
from dispatch.orders.validation import conflict, preview
from dispatch.wording.formatting import span
from gateway.api.peer import Peer
from gateway.api.permissions import COMMANDS
from gateway.api.roles import Roles, Standing
from gateway.control_loop import Gateway
from gateway.errors import CommandRefused
from storage.audit import AuditLog, NotDurable

STALE_S = 10.0  # machine seconds: a console that has seen nothing newer may not raise risk
RAISE_WAIT_S = 3.0  # for the disk, before a command that raises risk is refused
LOWER_WAIT_S = 0.5  # and before one that lowers it goes on without
TICK_WAIT_S = 2.0
REFUSALS_PER_MIN = 60  # put on record; a flood of refused commands must not fill the disk
_WANTED = frozenset(Wanted.__struct_fields__)


class Commands:
    """Takes the commands of one gateway."""

    def __init__(self, gateway: Gateway, roles: Roles, audit: AuditLog) -> None:
        self._gateway, self._roles, self._audit = gateway, roles, audit
        self._one_at_a_time = asyncio.Lock()  # of those that raise risk; nothing that lowers it ever waits here
        self._stopping = False
        self._unrecorded = 0  # orders given while the audit could not be written
        self._refused: list[float] = []
        self.methods: dict[str, Callable[[Peer, dict[str, Any]], Any]] = {
            "order.set": self._set,
            "order.end": self._end,
            "order.list": self._list,
            "order.preview": self._preview,
            "stop": self._stop,
            "alarm.acknowledge": self._acknowledge,
        }
        gateway.order_over = self._over
        gateway.audit_error, gateway.audit_found = lambda: audit.error, audit.found

    def refuse(self) -> None:
        """From now on every command is refused: the gateway is stopping."""
        self._stopping = True

    def begin(self, left: list[dict[str, Any]]) -> None:
        """Put the start on record. `left`: orders of the run before that nothing has ended; they are dropped."""
        self._audit.spool(
            {"kind": "start", "who": "gateway", "text": f"gateway of {self._gateway.site.site.name} started"}
        )
        for body in left:
            text = f"order {body['order']} of {body['who']} is dropped, the gateway was restarted: {body['text']}"
            self._gateway.event("command", "warning", "order", text)
            self._audit.spool({"kind": "end", "order": body["order"], "who": "gateway", "text": text})
            if body.get("order_kind") == OrderKind.NODE_CAP.value:
                self._gateway.hands.free(body.get("target", ""))

    def finish(self) -> None:
        """Put the end on record, of every order and of the run."""
        for order in self._gateway.orders.active:
            self._gateway.end_order(order.id, "the gateway stops")
        self._audit.spool({"kind": "stop", "who": "gateway", "text": "gateway stopped"})

    def close(self) -> None:
        """Let the audit write what waits and sign its head. Waits for the disk, at most 5 s."""
        self._audit.close()

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _set(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Give an order. Params: those of `Wanted`, `seen_utc_s`, and `replace`: the id of the order it replaces."""
        wanted, replace = _wanted(params), str(params.get("replace") or "")
        if wanted.kind is OrderKind.HOLD:
            return await self._hold(peer, _tame(wanted, self._gateway.site.orders.max_s))
        name = f"order.set {wanted.kind.value}"
        declared_pct = self._gateway.site.dispatch.reserve_soc_pct
        if wanted.kind is OrderKind.RESERVE_LEVEL and wanted.value < declared_pct:
            name = "order.set reserve-level below the declared"
        await self._permit(peer, name)
        async with self._one_at_a_time:

            def check() -> Preview:
                self._fresh(params)
                found = self._look(wanted)
                if found.standing is not None and found.standing.id != replace:
                    raise conflict(found.standing, self._gateway.clock.mono_s())
                return found

            found = self._checked(peer, name, wanted, check)
            intent = await self._intent(peer, name, found, wanted)
            found = self._checked(peer, name, wanted, check, of=intent)  # the site has moved on while the disk wrote
            return await self._give(peer, name, wanted, found, intent)

    async def _hold(self, peer: Peer, wanted: Wanted) -> Any:
        """Batteries to 0 kW, whoever holds them; always runs."""
        name = "order.set hold"
        await self._permit(peer, name)
        found = self._checked(peer, name, wanted, lambda: self._look(wanted))
        intent = await self._intent_if_it_can(peer, name, f"{found.old} → {found.new}", wanted)
        return await self._give(peer, name, wanted, found, intent)

    async def _stop(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Withdraw every order but disabled devices, and hold for as long as the site allows; always runs."""
        await self._permit(peer, "stop")
        gateway = self._gateway
        wanted = _tame(Wanted(OrderKind.HOLD, reason=str(params.get("reason") or "stop")), gateway.site.orders.max_s)
        wanted = msgspec.structs.replace(wanted, for_s=gateway.site.orders.max_s)
        found = self._checked(peer, "stop", wanted, lambda: self._look(wanted))
        intent = await self._intent_if_it_can(peer, "stop", f"{found.old} → {found.new}, orders withdrawn", wanted)
        for order in gateway.orders.active:
            if order.kind is not OrderKind.DISABLE:
                gateway.end_order(order.id, f"withdrawn by {peer.who} with a stop", peer.who)
        return await self._give(peer, "stop", wanted, found, intent)

    async def _end(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End an order by its id, or with "*" all but disabled devices. Withdrawal always runs."""
        gateway, id_ = self._gateway, str(params["id"])
        await self._permit(peer, "order.end")
        try:
            doomed = [gateway.orders.find(id_)] if id_ != "*" else list(gateway.orders.active)
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        if id_ == "*":
            doomed = [o for o in doomed if o.kind is not OrderKind.DISABLE]
        reason = printable(str(params.get("reason") or ""))
        raises = any(o.kind is OrderKind.DISABLE for o in doomed)
        name = "order.end disable" if raises else "order.end"
        if raises:
            await self._permit(peer, name)
        said = "; ".join(f"{o.id}: {words(o.kind, o.value, o.target)}" for o in doomed) or "nothing is in force"
        if raises:
            self._checked(peer, name, said, lambda: self._fresh(params))
            intent: int | None = await self._durable(peer, self._row("intent", peer, name, said, reason))
        else:
            intent = await self._intent_if_it_can(peer, name, said, reason)
        ended = []
        for order in doomed:
            if gateway.orders.standing(order.slot) == order:  # nobody else has ended it meanwhile
                gateway.end_order(order.id, f"ended by {peer.who}{': ' if reason else ''}{reason}", peer.who)
                ended.append(order.id)
        effect = await self._effect()
        trouble = await self._result(peer, name, intent, "ended", f"{said}; now {effect}")
        return {"ended": ended, "effect": effect, "not_durable": trouble}

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Every order in force, each with the seconds it has left."""
        mono_s = self._gateway.clock.mono_s()
        return [msgspec.to_builtins(o) | {"left_s": o.left_s(mono_s)} for o in self._gateway.orders.active]

    async def _preview(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What an order would change and what is allowed now, without giving it. Raises CommandRefused as it would."""
        try:
            return msgspec.to_builtins(self._look(_wanted(params)))
        except OrderRefused as refusal:
            raise CommandRefused(str(refusal)) from None

    def _look(self, wanted: Wanted) -> Preview:
        gateway = self._gateway
        published = gateway.published
        if published is None:
            raise OrderRefused("not ready", "the gateway has not completed a tick yet; try again in a second")
        snapshot, decision = published.snapshot, published.decision
        active, nodes = gateway.orders.active, gateway.hands.cappable
        return preview(wanted, gateway.site.dispatch, snapshot, decision, active, nodes)

    async def _give(self, peer: Peer, name: str, wanted: Wanted, found: Preview, intent: int | None) -> Any:
        """Put the order in force, wait for the tick that obeys it, put the result on record, answer."""
        gateway, clock = self._gateway, self._gateway.clock
        if intent is None:
            self._unrecorded += 1
        order = Order(
            id=f"o{intent}" if intent is not None else f"n{self._unrecorded}",
            kind=wanted.kind,
            value=wanted.value,
            target=wanted.target,
            who=peer.who,
            reason=wanted.reason.strip(),
            given_utc_s=clock.utc_s(),
            ends_utc_s=clock.utc_s() + found.for_s,
            ends_mono_s=clock.mono_s() + found.for_s,
        )
        before = gateway.orders.standing(order.slot)
        if before is not None:
            gateway.end_order(before.id, f"replaced by {order.id} of {order.who}", peer.who)
        gateway.orders.put(order)
        what = f"{found.old} → {found.new}, for {span(found.for_s)}"
        why = f": {order.reason}" if order.reason else ""
        gateway.event("command", "info", "order", f"order {order.id}: {what}{why}", peer.who)
        effect = await self._effect()
        more = {"order": order.id, "order_kind": order.kind.value, "target": order.target}
        trouble = await self._result(peer, name, intent, "in force", f"{what}; now {effect}", **more)
        return {
            "order": msgspec.to_builtins(order),
            "old": found.old,
            "new": found.new,
            "for_s": found.for_s,
            "notes": list(found.notes),
            "replaced": None if before is None else msgspec.to_builtins(before),
            "effect": effect,
            "not_durable": trouble,
        }

    async def _effect(self) -> str:
        """What the tick that follows decides."""
        try:
            return (await asyncio.wait_for(self._gateway.next_tick(), TICK_WAIT_S)).decision.reason
        except TimeoutError:
            return f"no tick within {TICK_WAIT_S:g} s"

    def _over(self, order: Order, why: str, who: str) -> None:
        what = words(order.kind, order.value, order.target)
        text = f"{order.id} of {order.who}, {what}, is over: {why}"
        self._audit.spool({"kind": "end", "order": order.id, "who": who or "gateway", "text": text})

    # ── alarms ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _acknowledge(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Acknowledge one alarm, or all with "*"; answered once it is on record, or why it is not."""
        name, id_ = "alarm.acknowledge", str(params["id"])
        await self._permit(peer, name)
        gateway = self._gateway
        if id_ != "*" and id_ not in {alarm.id for alarm in gateway.alarms.active()}:
            raise CommandRefused(f"no alarm {id_!r} is listed")
        intent = await self._intent_if_it_can(peer, name, id_, "")
        try:
            events = gateway.alarms.acknowledge(id_, peer.who, gateway.clock.utc_s())
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        written = [asyncio.wrap_future(gateway.note(event, durable=True)) for event in events]
        results = await asyncio.gather(*written, return_exceptions=True)
        lost = next((str(result) for result in results if isinstance(result, BaseException)), "")
        trouble = await self._result(peer, name, intent, "acknowledged", f"{len(events)} acknowledged")
        return {"acknowledged": len(events), "not_durable": lost or trouble}

    # ── permission and record ───────────────────────────────────────────────────────────────────────────────────────

    async def standing(self, peer: Peer) -> Standing:
        """The peer's role by its groups as of now."""
        return await asyncio.to_thread(self._roles.of, peer)

    async def _permit(self, peer: Peer, name: str) -> None:
        """Raise CommandRefused unless the peer's groups, as of now, allow this."""
        if self._stopping:
            raise CommandRefused("the gateway is stopping; no command is taken any more")
        needed, words_ = COMMANDS[name].role, COMMANDS[name].words
        standing = await self.standing(peer)
        if standing.role < needed:
            line = f"{words_ or name} takes {needed.one}; {peer.who} is {standing.role.one} ({standing.why})"
            self._note_refusal(peer, name, line, None)
            raise CommandRefused(line)

    def _fresh(self, params: dict[str, Any]) -> None:
        """Raise OrderRefused when the console has not seen the site lately."""
        seen_s, clock = params.get("seen_utc_s"), self._gateway.clock
        if isinstance(seen_s, bool) or not isinstance(seen_s, (int, float)) or not math.isfinite(seen_s):
            raise OrderRefused(
                "stale console", "expected seen_utc_s, the time of the newest state this console has seen"
            )
        age_s = abs(clock.utc_s() - seen_s) / clock.speed
        if age_s > STALE_S:
            line = f"the newest state it has seen is {age_s:.0f} s old, at most {STALE_S:g} s; look again, then order"
            raise OrderRefused("stale console", line)

    def _checked(
        self, peer: Peer, name: str, wanted: Wanted | str, check: Callable[[], Any], of: int | None = None
    ) -> Any:
        """What `check` returns; its refusal goes on record."""
        try:
            return check()
        except OrderRefused as refusal:
            asked = wanted if isinstance(wanted, str) else words(wanted.kind, wanted.value, wanted.target)
            self._note_refusal(peer, name, f"{asked}: {refusal}", of)
            raise CommandRefused(str(refusal)) from None

    def _note_refusal(self, peer: Peer, name: str, line: str, of: int | None, **more: Any) -> None:
        """Put a refusal on record, unless there were very many of late; an intent always gets its result."""
        now_s = asyncio.get_running_loop().time()
        self._refused = [at_s for at_s in self._refused if now_s - at_s < 60]
        if of is None and len(self._refused) >= REFUSALS_PER_MIN:
            return
        self._refused.append(now_s)
        kind = "refused" if of is None else "result"
        which = {} if of is None else {"of": of}
        self._audit.spool(self._row(kind, peer, name, line, "") | {"outcome": "refused", **which, **more})
        self._gateway.note(Event(self._gateway.clock.utc_s(), "command", "warning", "refused", line, peer.who))

    def _row(self, kind: str, peer: Peer, name: str, text: str, reason: str) -> dict[str, Any]:
        row: dict[str, Any] = {"kind": kind, "who": peer.who, "uid": peer.uid, "pid": peer.pid, "command": name}
        return row | {"text": text, "reason": reason}

    async def _intent(self, peer: Peer, name: str, found: Preview, wanted: Wanted) -> int:
        """Put an order that raises risk on record; its row. Raises CommandRefused when the disk does not have it."""
        text = f"{found.old} → {found.new}, for {span(found.for_s)}"
        row = self._row("intent", peer, name, text, wanted.reason.strip()) | {"value": wanted.value}
        return await self._durable(peer, row)

    async def _durable(self, peer: Peer, row: dict[str, Any]) -> int:
        """Put the intent of what raises risk on record; its row. Raises CommandRefused when the disk does not have it.

        The refusal goes on record once the disk can: as the result of the intent, should that be written after all.
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
            self._note_refusal(peer, row["command"], f"{row['text']}: {line}", late, **granted)

        if written.done():
            refuse(written)
        else:
            written.add_done_callback(refuse)
        raise CommandRefused(line)

    async def _intent_if_it_can(self, peer: Peer, name: str, text: str, wanted: Wanted | str) -> int | None:
        """Put a command that lowers risk on record if the disk answers soon; its row, or None."""
        reason = wanted if isinstance(wanted, str) else wanted.reason.strip()
        row, _ = await self._soon(self._audit.spool(self._row("intent", peer, name, text, reason)))
        return row

    async def _result(self, peer: Peer, name: str, intent: int | None, outcome: str, text: str, **more: Any) -> str:
        """Put the result on record; empty once the disk has it, else why it has not."""
        row = self._row("result", peer, name, text, "") | {"of": intent, "outcome": outcome, **more}
        wait_s = LOWER_WAIT_S if intent is None else RAISE_WAIT_S
        _, trouble = await self._soon(self._audit.spool(row), wait_s)
        return trouble or ("" if intent is not None else "the intent was not on disk before the command took effect")

    async def _soon(self, future: Future[int], wait_s: float = LOWER_WAIT_S) -> tuple[int | None, str]:
        """The row, or why there is none yet; the row itself goes on waiting for the disk."""
        row = asyncio.wrap_future(future)
        row.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # nobody may be left to ask
        try:
            return await asyncio.wait_for(asyncio.shield(row), wait_s), ""
        except NotDurable as error:
            return None, str(error)
        except TimeoutError:
            return None, f"the disk has not answered for {wait_s:g} s"


def _wanted(params: dict[str, Any]) -> Wanted:
    """The order in a request's parameters. Raises ValueError."""
    unknown = params.keys() - _WANTED - {"seen_utc_s", "replace"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return msgspec.convert({key: value for key, value in params.items() if key in _WANTED}, Wanted)


def _tame(wanted: Wanted, max_s: float) -> Wanted:
    """A hold that nothing formal stands against: what is wrong with its words is mended, not refused."""
    for_s = wanted.for_s if wanted.for_s is not None and wanted.for_s > 0 else None
    for_s = None if for_s is None else min(for_s, max_s)
    return Wanted(OrderKind.HOLD, reason=printable(wanted.reason), for_s=for_s)


def printable(text: str) -> str:
    """What a person typed, fit for one line of the record: at most 200 characters."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]
