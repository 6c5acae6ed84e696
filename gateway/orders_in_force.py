"""The manual orders in force, shared by commands and control loop. Every end of one is an event and an audit row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dispatch.model.clock import Clock
from dispatch.model.orders import Order
from dispatch.orders.book import OrderBook, words
from dispatch.wording.formatting import span
from gateway.event_sink import EventSink
from storage.audit import AuditLog


class OrdersInForce:
    """At most one order per slot. Orders do not outlive the gateway: they end with it, or are dropped at its start."""

    def __init__(self, clock: Clock, events: EventSink, audit: AuditLog) -> None:
        self._clock, self._events, self._audit = clock, events, audit
        self._book = OrderBook()

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

    def end_all(self, why: str) -> None:
        """End every order."""
        for order in self.active:
            self.end(order.id, why)

    def expire(self) -> None:
        """End the orders whose time is up by the monotonic clock."""
        for order in self._book.expire(self._clock.mono_s()):
            self._report_end(order, "its time is up")

    def drop(self, left: Iterable[dict[str, Any]]) -> None:
        """Report as dropped the orders that an earlier run did not end; `left`: their audit rows."""
        for body in left:
            text = f"order {body['order']} of {body['who']} is dropped, the gateway was restarted: {body['text']}"
            self._events.event("command", "warning", "order", text)
            self._audit.spool({"kind": "end", "order": body["order"], "who": "gateway", "text": text})

    def _report_end(self, order: Order, why: str, who: str = "") -> None:
        lasted = span(max(self._clock.utc_s() - order.given_utc_s, 0.0))
        what = words(order.kind, order.value, order.target)
        text = f"order {order.id} of {order.who} is over after {lasted}: {what}; {why}"
        self._events.event("command", "info", "order", text, who)
        row = {"kind": "end", "order": order.id, "who": who or "gateway"}
        self._audit.spool(row | {"text": f"{order.id} of {order.who}, {what}, is over: {why}"})
