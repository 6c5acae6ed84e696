"""Commands about manual orders: give, end, list, preview, stop."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.model.clock import Clock
from dispatch.model.orders import Order, OrderKind, Preview, Wanted
from dispatch.model.reasons import Reason
from dispatch.orders.book import words
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.validation import conflict, preview
from dispatch.wording import catalogue
from dispatch.wording.formatting import span
from gateway.api.command_log import TICK_WAIT_S, Command, CommandLog, Handler, printable, recordable
from gateway.api.interfaces import Loop, Nodes, Planner
from gateway.api.order_outlook import with_consequence
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink
from gateway.orders_in_force import OrdersInForce
from gateway.site.schema import Site

_WANTED = frozenset(Wanted.__struct_fields__)


class OrderCommands:
    """Takes the commands about one site's manual orders."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        *,
        log: CommandLog,
        events: EventSink,
        orders: OrdersInForce,
        loop: Loop,
        nodes: Nodes,
        planner: Planner,
    ) -> None:
        self._site, self._config, self._clock = site, site.dispatch, clock
        self._log, self._events, self._orders, self._loop, self._nodes = log, events, orders, loop, nodes
        self._planner = planner
        self._unrecorded = 0  # orders given while the audit could not be written
        self.handlers: dict[str, Handler] = {
            "order.set": self._set,
            "order.end": self._end,
            "order.list": self._list,
            "order.preview": self._preview,
            "stop": self._stop,
        }

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _set(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Give an order. Params: those of `Wanted`, `seen_utc_s`, and `replace`: the id of the order it replaces."""
        wanted, replace = _wanted(params), str(params.get("replace") or "")
        name = f"order.set {wanted.kind.value}"
        if wanted.kind is OrderKind.RESERVE_LEVEL and wanted.value < reserve_soc_pct(self._config):
            name = "order.set reserve-level below the declared"
        await self._log.permit(peer, name)
        if wanted.kind is OrderKind.HOLD:
            return await self._hold(peer, _valid_hold(wanted, self._site.orders.max_s))

        def check() -> Preview:
            found = self._evaluate(wanted)
            if found.standing is not None and found.standing.id != replace:
                raise conflict(found.standing, self._clock.mono_s())
            return found

        command = _command(peer, name, wanted, params.get("seen_utc_s"))
        async with self._log.one_at_a_time:
            found = self._log.check(command, check)
            text = f"{_change(found)}, for {span(found.for_s)}"
            intent = await self._log.record_intent(command, text, value=wanted.value)
            found = self._log.check(command, check, intent)  # the site has moved on while the disk wrote
            return await self._give(command, wanted, found, intent)

    async def _hold(self, peer: Peer, wanted: Wanted) -> Any:
        """Batteries to 0 kW, whoever holds them; always runs."""
        command = _command(peer, "order.set hold", wanted)
        found = self._log.check(command, lambda: self._evaluate(wanted))
        intent = await self._log.record_intent(command, _change(found))
        return await self._give(command, wanted, found, intent)

    async def _stop(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End every order but disabled devices, and hold for as long as the site allows; always runs."""
        most_s = self._site.orders.max_s
        wanted = _valid_hold(Wanted(OrderKind.HOLD, reason=str(params.get("reason") or "stop")), most_s)
        wanted = msgspec.structs.replace(wanted, for_s=most_s)
        command = _command(peer, "stop", wanted)
        found = self._log.check(command, lambda: self._evaluate(wanted))
        intent = await self._log.record_intent(command, f"{_change(found)}, orders withdrawn")
        for order in self._all_but_disabled():
            self._orders.end(order.id, f"withdrawn by {peer.who} with a stop", peer.who)
        return await self._give(command, wanted, found, intent)

    async def _end(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End an order by its id, or with "*" all but disabled devices. Always runs, unless it enables a device."""
        to_end = self._named(str(params["id"]))
        text = "; ".join(f"{o.id}: {words(o.kind, o.value, o.target)}" for o in to_end) or "nothing is in force"
        reason, name = printable(str(params.get("reason") or "")), "order.end"
        if any(o.kind is OrderKind.DISABLE for o in to_end):
            name = "order.end disable"
            await self._log.permit(peer, name)
        command = Command(peer=peer, name=name, text=text, reason=reason, seen_utc_s=params.get("seen_utc_s"))
        self._log.check(command, lambda: None)
        intent = await self._log.record_intent(command)
        ended = []
        for order in to_end:
            if self._orders.standing(order.slot) == order:  # nobody else has ended it meanwhile
                self._orders.end(order.id, f"ended by {peer.who}{': ' if reason else ''}{reason}", peer.who)
                ended.append(order.id)
        effect = await self._effect()
        now = catalogue.words(effect)
        trouble = await self._log.record_result(
            command, intent, "ended", f"{text}; now {now}", effect=recordable(effect)
        )
        return {"ended": ended, "effect": msgspec.to_builtins(effect), "not_durable": trouble}

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Every order in force, each with the seconds it has left."""
        mono_s = self._clock.mono_s()
        return [msgspec.to_builtins(o) | {"left_s": o.left_s(mono_s)} for o in self._orders.active]

    async def _preview(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What an order would change and what is allowed now, without giving it. Raises CommandRefused as it would."""
        wanted = _wanted(params)
        try:
            found = self._evaluate(wanted)
        except OrderRefused as refusal:
            raise CommandRefused(str(refusal), refusal.reason) from None
        site = self._config, self._loop.published, self._planner.plan
        return msgspec.to_builtins(with_consequence(found, wanted, *site))

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _evaluate(self, wanted: Wanted) -> Preview:
        """What an order would change now. Raises OrderRefused."""
        published = self._loop.published
        if published is None:
            raise OrderRefused(Reason("refused.no_tick"))
        snapshot, decision = published.snapshot, published.decision
        return preview(wanted, self._config, snapshot, decision, self._orders.active, self._nodes.cappable)

    def _all_but_disabled(self) -> list[Order]:
        return [order for order in self._orders.active if order.kind is not OrderKind.DISABLE]

    def _named(self, id: str) -> list[Order]:
        """The order of this id; with "*" all but disabled devices. Raises CommandRefused."""
        if id == "*":
            return self._all_but_disabled()
        try:
            return [self._orders.find(id)]
        except LookupError as error:
            raise CommandRefused(str(error)) from None

    async def _give(self, command: Command, wanted: Wanted, found: Preview, intent: int | None) -> Any:
        """Put the order in force, wait for the tick that obeys it, put the result on record, answer."""
        order = self._order(command, wanted, found, intent)
        before = self._orders.standing(order.slot)
        if before is not None:
            self._orders.end(before.id, f"replaced by {order.id} of {order.who}", command.peer.who)
        self._orders.put(order)
        what = f"{_change(found)}, for {span(found.for_s)}"
        why = f": {order.reason}" if order.reason else ""
        self._events.event("command", "info", "order", f"order {order.id}: {what}{why}", command.peer.who)
        effect = await self._effect()
        now = catalogue.words(effect)
        more = {"order": order.id, "order_kind": order.kind.value, "target": order.target, "effect": recordable(effect)}
        trouble = await self._log.record_result(command, intent, "in force", f"{what}; now {now}", **more)
        return {
            "order": msgspec.to_builtins(order),
            "old": msgspec.to_builtins(found.old),
            "new": msgspec.to_builtins(found.new),
            "for_s": found.for_s,
            "notes": msgspec.to_builtins(found.notes),
            "replaced": None if before is None else msgspec.to_builtins(before),
            "effect": msgspec.to_builtins(effect),
            "not_durable": trouble,
        }

    def _order(self, command: Command, wanted: Wanted, found: Preview, intent: int | None) -> Order:
        """The order itself; its id is the number of its row, or says that it has none."""
        if intent is None:
            self._unrecorded += 1
        utc_s = self._clock.utc_s()
        return Order(
            id=f"o{intent}" if intent is not None else f"n{self._unrecorded}",
            kind=wanted.kind,
            value=wanted.value,
            target=wanted.target,
            who=command.peer.who,
            reason=command.reason,
            given_utc_s=utc_s,
            ends_utc_s=utc_s + found.for_s,
            ends_mono_s=self._clock.mono_s() + found.for_s,
        )

    async def _effect(self) -> Reason:
        """What the tick that follows decides."""
        try:
            tick = await asyncio.wait_for(self._loop.next_tick(), TICK_WAIT_S)
        except TimeoutError:
            return Reason("order.no_tick", {"waited_s": TICK_WAIT_S})
        return tick.decision.reason


def _change(found: Preview) -> str:
    """What an order changes, in words for the record."""
    return f"{catalogue.words(found.old)} → {catalogue.words(found.new)}"


def _command(peer: Peer, name: str, wanted: Wanted, seen_utc_s: Any = None) -> Command:
    text = words(wanted.kind, wanted.value, wanted.target)
    return Command(peer=peer, name=name, text=text, reason=wanted.reason.strip(), seen_utc_s=seen_utc_s)


def _wanted(params: dict[str, Any]) -> Wanted:
    """The order in a request's parameters. Raises ValueError."""
    unknown = params.keys() - _WANTED - {"seen_utc_s", "replace"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return msgspec.convert({key: value for key, value in params.items() if key in _WANTED}, Wanted)


def _valid_hold(wanted: Wanted, max_s: float) -> Wanted:
    """A hold that nothing formal stands against: what is wrong with its words is mended, not refused."""
    for_s = wanted.for_s if wanted.for_s is not None and wanted.for_s > 0 else None
    for_s = None if for_s is None else min(for_s, max_s)
    return Wanted(OrderKind.HOLD, reason=printable(wanted.reason), for_s=for_s)
