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

DROPPED_S = 900.0  # how long the alarm that says so is active; it stays listed until somebody acknowledges it


class OrdersInForce:
    """At most one order per slot. Orders do not outlive the gateway: they end with it, or are dropped at its start."""

    def __init__(self, clock: Clock, events: EventSink, audit: AuditLog) -> None:
        self._clock, self._events, self._audit = clock, events, audit
        self._book = OrderBook()
        self._dropped: list[str] = []
        self._dropped_until_s = float("-inf")

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
        self._dropped.append(text)
        self._dropped_until_s = self._clock.mono_s() + DROPPED_S

    @property
    def dropped(self) -> str:
        """Which orders the restart cost, for some time after it; empty: none."""
        return "; ".join(self._dropped) if self._clock.mono_s() < self._dropped_until_s else ""

    def _report_end(self, order: Order, why: str, who: str = "", **more: float) -> None:
        lasted = span(max(self._clock.utc_s() - order.given_utc_s, 0.0))
        what = words(order.kind, order.value, order.target)
        text = f"order {order.id} of {order.who} is over after {lasted}: {what}; {why}"
        self._events.event("command", "info", "order", text, who)
        row = {"kind": "end", "order": order.id, "who": who or "gateway"}
        self._audit.spool(row | {"text": f"{order.id} of {order.who}, {what}, is over: {why}"} | more)
