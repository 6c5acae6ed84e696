"""The power reservations in force, shared by commands and control loop. The planner learns of every change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from dispatch.config.schema import DispatchConfig
from dispatch.model.clock import Clock
from dispatch.model.reservations import Reservation
from dispatch.orders.reservation_book import ReservationBook
from dispatch.planning.order_projection import local_time as clock_time
from dispatch.wording.formatting import kw, span
from gateway.event_sink import EventSink
from storage.audit import AuditLog


class ReservationsInForce:
    """Power promised to jobs. Reservations outlive the gateway: the audit row that grants one is its record."""

    def __init__(
        self,
        config: DispatchConfig,
        clock: Clock,
        events: EventSink,
        audit: AuditLog,
        on_change: Callable[[Sequence[Reservation]], None],
    ) -> None:
        """`on_change` is given all reservations, those that ended within the last hour too, when people change one."""
        self._config, self._clock, self._events, self._audit = config, clock, events, audit
        self._on_change = on_change
        self._book = ReservationBook()

    @property
    def kept(self) -> tuple[Reservation, ...]:
        """All of them, those that ended within the last hour too, by their start."""
        return self._book.kept

    def standing(self) -> tuple[Reservation, ...]:
        """Those that are not over, by their start."""
        return self._book.standing(self._clock.utc_s())

    def find(self, key: str) -> Reservation:
        """The reservation in force with this id or name. Raises LookupError; its text is for the user."""
        return self._book.find(key, self._clock.utc_s())

    def find_job(self, name: str, cluster: str, job_id: str) -> Reservation:
        """The one that stands for this job of a scheduler. Raises LookupError with a line for a person."""
        return self._book.find_job(name, cluster, job_id, self._clock.utc_s())

    def adopt(self, granted: Sequence[Reservation]) -> None:
        """Take over what an earlier run of the gateway granted."""
        for reservation in granted:
            self._book.put(reservation, self._clock.utc_s())
            text = f"{self.for_all(reservation)}, is kept over a restart"
            self._events.event("command", "info", "reservation", text)
        self._on_change(self.kept)

    def grant(self, reservation: Reservation) -> None:
        """Take one in that is on record."""
        self._book.put(reservation)
        self._on_change(self.kept)

    def renew(self, former: Reservation, reservation: Reservation) -> None:
        """Take one in that is on record, in place of a former one of the same job, which ends now."""
        with contextlib.suppress(LookupError):  # it ended while the disk wrote
            self._book.withdraw(former.id, self._clock.utc_s())
        text = f"{self.describe(former)}, is renewed by {reservation.id}"
        self._audit.spool({"kind": "end", "reservation_id": former.id, "who": "gateway", "text": text})
        self.grant(reservation)

    def withdraw(self, id: str) -> Reservation:
        """End one now; what it was. Raises LookupError where it is over already."""
        try:
            return self._book.withdraw(id, self._clock.utc_s())
        finally:
            self._on_change(self.kept)

    def advance(self) -> None:
        """Report which have begun and which are over, by the site's calendar."""
        utc_s = self._clock.utc_s()
        begun, over = self._book.turn(utc_s)
        for r in begun:
            text = f"reservation {r.id} begins: {kw(r.power_w)} for {span(r.end_utc_s - utc_s)}"
            self._events.event("plan", "info", "reservation", text)
        for r in over:
            text = f"reservation {r.id} is over: {kw(r.power_w)} are free again"
            self._events.event("plan", "info", "reservation", text)
            row = {"kind": "end", "reservation_id": r.id, "who": "gateway", "text": f"{self.describe(r)}, is over"}
            self._audit.spool(row)

    def describe(self, r: Reservation) -> str:
        """A reservation in words: whose, how much, from when to when. For the audit, its owner and operators."""
        named = r.name if r.name == r.id else f"{r.name} ({r.id})"
        return f"reservation {named} of {r.who}, {self._power(r)}"

    def for_all(self, r: Reservation) -> str:
        """The same for the event log, which every viewer reads: without the name of the job and its owner."""
        return f"reservation {r.id}, {self._power(r)}"

    def _power(self, r: Reservation) -> str:
        start, end = clock_time(r.start_utc_s, self._config), clock_time(r.end_utc_s, self._config)
        return f"{kw(r.power_w)} from {start} to {end}"
