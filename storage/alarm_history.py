"""Finds when alarms came, were acknowledged and went, from their events on record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from dispatch.alarms.episodes import AlarmEpisode, Raised
from dispatch.model.events import Event
from storage.rows import to_us

EVENTS_READ = 20_000  # of one question: the newest


def episodes(con: sqlite3.Connection, since_utc_s: float, until_utc_s: float, limit: int) -> list[AlarmEpisode]:
    """Those that came in [since, until), the newest first. Raises those of `damage.DAMAGED`."""
    sql = (
        "SELECT ts_utc_us / 1e6, run, kind, severity, subject, text, who FROM event "
        "WHERE kind IN ('alarm', 'shelf', 'priority') AND ts_utc_us >= ? AND ts_utc_us < ? ORDER BY id DESC LIMIT ?"
    )
    newest = con.execute(sql, (to_us(since_utc_s), to_us(until_utc_s), EVENTS_READ)).fetchall()
    starts = dict(con.execute("SELECT id, started_utc_us / 1e6 FROM run"))
    found = _told(reversed(newest), starts)
    return sorted(found, key=lambda one: -one.came_utc_s)[:limit]


_Row = tuple[float, int, str, str, str, str, str]


def _told(rows: Iterable[_Row], starts: dict[int, float]) -> Iterator[AlarmEpisode]:
    """Episodes of rows in the order in which they were written."""
    open_: dict[str, AlarmEpisode] = {}
    last_run: int | None = None
    for utc_s, run, kind, severity, subject, text, who in rows:
        if last_run is not None and run != last_run:
            yield from (_restarted(one, starts.get(run)) for one in open_.values())
            open_.clear()
        last_run = run
        before = open_.get(subject)
        if kind == "alarm" and severity != "info":
            if before is not None:
                yield before
            open_[subject] = AlarmEpisode(subject, severity, text, utc_s)
        elif before is not None:
            told = Event(utc_s, kind, severity, subject, text, who)
            open_[subject] = _LATER[kind](before, told)
    yield from open_.values()


def _after(before: AlarmEpisode, told: Event) -> AlarmEpisode:
    """After somebody has acknowledged it, or after it has gone."""
    if told.who:
        return msgspec.structs.replace(before, acknowledged_utc_s=told.utc_s, acknowledged_by=told.who)
    return msgspec.structs.replace(before, gone_utc_s=told.utc_s) if before.gone_utc_s is None else before


def _raised(before: AlarmEpisode, told: Event) -> AlarmEpisode:
    """After it became more urgent. It waits for somebody again, unless it is off the list, which makes it a warning."""
    said = Raised(told.utc_s, told.text.removeprefix(f"{before.text.partition(':')[0]}: "))
    found = msgspec.structs.replace(before, severity="alarm", raised=(*before.raised, said))
    if told.severity == "warning":
        return found
    return msgspec.structs.replace(found, acknowledged_utc_s=None, acknowledged_by="")


def _shelved(before: AlarmEpisode, told: Event) -> AlarmEpisode:
    """After it was taken off the list, which is a warning: whoever did has seen it. Listed again it is as before."""
    if told.severity != "warning" or before.acknowledged_utc_s is not None:
        return before
    return msgspec.structs.replace(before, acknowledged_utc_s=told.utc_s, acknowledged_by=told.who)


_LATER = {"alarm": _after, "priority": _raised, "shelf": _shelved}  # by the kind of event


def _restarted(one: AlarmEpisode, started_utc_s: float | None) -> AlarmEpisode:
    """One that the next run of the gateway knows nothing of."""
    return one if one.gone_utc_s is not None else msgspec.structs.replace(one, restart_utc_s=started_utc_s)
