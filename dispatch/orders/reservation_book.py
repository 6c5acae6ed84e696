"""Keeps the power reservations, and estimates how much of the measured load belongs to them.

A reservation begins and ends on the site's calendar, not on the monotonic clock: plans are keyed by it, and a
reservation is kept over a restart of the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.reservations import Reservation, reserved_w

KEPT_S = 3600.0  # one that is over is remembered so long: the quarter hour it ended in is still to be learnt from


def with_reserved(forecast: Forecast, reservations: Sequence[Reservation], now_utc_s: float) -> Forecast:
    """A forecast of the load without reserved jobs, with them. Of the running quarter only the rest counts."""
    if not reservations:
        return forecast
    extra_w = []
    for k in range(len(forecast.load_w)):
        start_s = forecast.start_utc_s + k * QUARTER_S
        extra_w.append(reserved_w(reservations, max(float(start_s), now_utc_s), start_s + QUARTER_S))
    load_w, low_w, high_w = (
        tuple(a + b for a, b in zip(values, extra_w, strict=True))
        for values in (forecast.load_w, forecast.low_w, forecast.high_w)
    )
    return msgspec.structs.replace(forecast, load_w=load_w, low_w=low_w, high_w=high_w)


class ReservationBook:
    """Every reservation that stands, and those that ended of late. Holds no clock: the caller says what time it is."""

    def __init__(self) -> None:
        self._kept: dict[str, Reservation] = {}
        self._begun: set[str] = set()
        self._over: set[str] = set()

    @property
    def kept(self) -> tuple[Reservation, ...]:
        """All of them, those of the last hour too, by their start."""
        return tuple(sorted(self._kept.values(), key=lambda r: (r.start_utc_s, r.id)))

    def standing(self, utc_s: float) -> tuple[Reservation, ...]:
        """Those that are not over, by their start."""
        return tuple(r for r in self.kept if not r.over(utc_s))

    def find_job(self, name: str, cluster: str, job_id: str, utc_s: float) -> Reservation:
        """The one that stands for this job. Raises LookupError with a line for a person."""
        found = next((r for r in self.standing(utc_s) if r.of_job(name, cluster, job_id)), None)
        if found is None:
            raise LookupError(f"no reservation of job {job_id}{f' of {cluster}' if cluster else ''} stands")
        return found

    def find(self, key: str, utc_s: float) -> Reservation:
        """The one that stands with this id or name. Raises LookupError with a line for a person."""
        there = self.standing(utc_s)
        for reservation in sorted(there, key=lambda r: r.id != key):
            if key in (reservation.id, reservation.name):
                return reservation
        listed = ", ".join(f"{r.id} {r.name}" if r.name != r.id else r.id for r in there) or "there is none"
        raise LookupError(f"no reservation {key!r} stands: {listed}")

    def put(self, reservation: Reservation, utc_s: float | None = None) -> None:
        """Take one in. `utc_s`: it was made by an earlier run, and what it has begun by then is no news."""
        self._kept[reservation.id] = reservation
        if utc_s is not None and utc_s >= reservation.start_utc_s:
            self._begun.add(reservation.id)

    def withdraw(self, id: str, utc_s: float) -> Reservation:
        """End one now; what it was. Raises LookupError."""
        found = self.find(id, utc_s)
        if utc_s <= found.start_utc_s:
            del self._kept[found.id]
        else:
            self._kept[found.id] = msgspec.structs.replace(found, end_utc_s=utc_s)
            self._over.add(found.id)
        return found

    def turn(self, utc_s: float) -> tuple[tuple[Reservation, ...], tuple[Reservation, ...]]:
        """(those that have begun, those whose time is up) since the last call; forgets what is long over."""
        begun = tuple(r for r in self.kept if r.start_utc_s <= utc_s and not r.over(utc_s) and r.id not in self._begun)
        over = tuple(r for r in self.kept if r.over(utc_s) and r.id not in self._over)
        self._begun.update(r.id for r in begun)
        self._over.update(r.id for r in over)
        for reservation in [r for r in self._kept.values() if r.over(utc_s - KEPT_S)]:
            del self._kept[reservation.id]
            self._begun.discard(reservation.id)
            self._over.discard(reservation.id)
        return begun, over
