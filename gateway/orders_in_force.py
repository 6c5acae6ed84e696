"""The manual orders in force, shared by commands and control loop. Every end of one is an event and an audit row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dispatch.model.clock import Clock
from dispatch.model.orders import Order
from dispatch.orders.book import OrderBook, words
from dispatch.wording.formatting import span
from gateway.event_sink import EventSink
from storage.audit import AuditLog

DROPPED = "dropped_orders"  # under which the record keeps those that nobody has been seen to know of
MOST_DROPPED = 20


class OrdersInForce:
    """At most one order per slot. Orders do not outlive the gateway: they end with it, or are dropped at its start."""

    def __init__(
        self,
        clock: Clock,
        events: EventSink,
        audit: AuditLog,
        save: Callable[[str, Any], object] = lambda key, value: None,
    ) -> None:
        """`save` puts on disk what a restart has cost, until somebody knows of it."""
        self._save = save
        self._clock, self._events, self._audit = clock, events, audit
        self._book = OrderBook()
        self._dropped: list[str] = []

    @property
    def active(self) -> tuple[Order, ...]:
        """Every order in force, in the order in which they were given."""
        return self._book.active

    def standing(self, slot: str) -> Order | None:
        """The order that occupies a slot."""
        return self._book.standing(slot)

    def find(self, id: str) -> Order:
        """The order of this id. Raises LookupError with a line for a person."""
        return self._book.find(id)

    def put(self, order: Order) -> None:
        """Put an order in force, from the next tick on. Whoever calls this has ended the one in its slot."""
        self._book.put(order)

    def end(self, id: str, why: str, who: str = "") -> Order:
        """Take an order out of force, from the next tick on. `who`: a person who ends it. Raises LookupError."""
        order = self._book.end(id)
        self._report_end(order, why, who)
        return order

    def stop(self) -> None:
        """End every order, because the gateway stops; the next one says so to whoever watches the site then."""
        for order in self.active:
            self._report_end(self._book.end(order.id), "the gateway stops", stopped_until_utc_s=order.ends_utc_s)

    def expire(self) -> None:
        """End the orders whose time is up by the monotonic clock."""
        for order in self._book.expire(self._clock.mono_s()):
            self._report_end(order, "its time is up")

    def follow_clock(self) -> None:
        """The wall clock was set: orders end when they would have, and say so by the new time."""
        self._book.follow_clock(self._clock.utc_s(), self._clock.mono_s())

    def drop(self, left: Iterable[dict[str, Any]]) -> None:
        """Report as dropped the orders that an earlier run did not end; `left`: their audit rows."""
        for body in left:
            what = body["text"].partition("; now ")[0]  # what followed from it then is not so any more
            text = f"order {body['order']} of {body['who']} is dropped, the gateway was restarted: {what}"
            self._events.event("command", "warning", "order", text)
            self._audit.spool({"kind": "end", "order": body["order"], "who": "gateway", "text": text})
            self._note_dropped(f"{body['order']} of {body['who']}, {what}")

    def note_stopped(self, left: Iterable[dict[str, Any]]) -> None:
        """Those that ended because the last gateway stopped, though their time is not up; `left`: their audit rows."""
        for body in left:
            if body["stopped_until_utc_s"] > self._clock.utc_s():
                self._note_dropped(body["text"])

    def _note_dropped(self, text: str) -> None:
        if text not in self._dropped:
            self._dropped = [*self._dropped, text][-MOST_DROPPED:]
            self._save(DROPPED, self._dropped)

    @property
    def dropped(self) -> str:
        """Which orders restarts cost, until somebody has acknowledged the alarm that says so; empty: none."""
        return "; ".join(self._dropped)

    def adopt_dropped(self, kept: Iterable[str]) -> None:
        """What an earlier restart cost, and nobody has acknowledged since."""
        self._dropped = [*(text for text in kept if text not in self._dropped), *self._dropped][-MOST_DROPPED:]

    def dropped_seen(self) -> None:
        """Somebody has acknowledged that they were dropped."""
        self._dropped = []
        self._save(DROPPED, self._dropped)

    def _report_end(self, order: Order, why: str, who: str = "", **more: float) -> None:
        lasted = span(max(self._clock.utc_s() - order.given_utc_s, 0.0))
        what = words(order.kind, order.value, order.target)
        text = f"order {order.id} of {order.who} is over after {lasted}: {what}; {why}"
        self._events.event("command", "info", "order", text, who)
        row = {"kind": "end", "order": order.id, "who": who or "gateway"}
        self._audit.spool(row | {"text": f"{order.id} of {order.who}, {what}, is over: {why}"} | more)
