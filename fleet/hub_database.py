"""Keeps the history of many sites in PostgreSQL. What a batch of messages brings is one transaction.

Sources are locked by row in the order of their site, so that several hubs neither mix up a site nor wait for each other
in a circle. A block is there once for its site, writer, sequence and hash, however often it is sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from fleet import hub_schema
from fleet.block_pages import Stopped
from fleet.bus import NotInstalled
from fleet.bus_messages import BlockSent, EventsSent, QuartersSent, Stored, TroubleSent
from fleet.hub_intake import Arrived, Verdict, judge_block, judge_incarnation
from fleet.hub_schema import OVERVIEW, SCHEMA, Month
from fleet.minutes import Minute
from fleet.site_text import one_line
from fleet.store import HASH_BYTES, Source
from gateway.api.site_overview import SiteOverview
from storage.audit_format import head_words

CONNECT_S = 10
Place = tuple[str, str]  # site, incarnation


class DatabaseFailed(Exception):
    """The database does not answer or cannot keep it now. The text says why. `of_data`: it takes no such values."""

    def __init__(self, text: str, of_data: bool = False) -> None:
        self.of_data = of_data
        super().__init__(text)


class Outcome(Enum):
    """What became of a message."""

    KEPT = "kept"
    KNOWN = "known"
    EARLY = "early"
    REFUSED = "refused"


class Applied(msgspec.Struct, frozen=True):
    """What became of each message, in order, and how far the sources are stored now: committed."""

    outcomes: tuple[Outcome, ...]
    stored: dict[Place, Stored]


class HubDatabase:
    """A connection, for one thread. Every method raises DatabaseFailed, after which it connects anew."""

    def __init__(self, url: str, utc: Callable[[], float] = time.time) -> None:
        self._url, self._utc = url, utc
        self._con: Any = None
        self._months: set[Month] = set()

    def open(self) -> None:
        """Connect, and bring the database to this version. Raises hub_schema.NewerDatabase."""
        with self._transaction() as con:
            hub_schema.migrate(con)

    def close(self) -> None:
        """Hang up."""
        if self._con is not None:
            self._con.close()
            self._con = None

    def sources(self) -> dict[Place, Stored]:
        """How far every source is stored."""
        sql = "SELECT site::text, incarnation::text, seq, own_sha256, quarters_t, quarters_seq, event_id FROM source"
        with self._transaction() as con:
            return {
                (site, incarnation): Stored(source=Source(*figures), event_id=event_id)
                for site, incarnation, *figures, event_id in con.execute(sql)
            }

    def apply(self, messages: Sequence[Arrived | Refusal]) -> Applied:
        """Keep what messages bring, all or nothing; those of a site are in order."""
        times_s = [t for message in messages if isinstance(message, Arrived) for t in _times_s(message)]
        self._add_months(hub_schema.months_of(times_s, self._utc()))
        order = sorted(range(len(messages)), key=lambda n: messages[n].site)
        outcomes = [Outcome.KNOWN] * len(messages)
        with self._transaction() as con:
            batch = _Batch(con)
            for n in order:
                outcomes[n] = batch.take(messages[n])
            batch.finish()
        return Applied(tuple(outcomes), batch.stored)

    def put_now(self, found: Mapping[str, tuple[float, SiteOverview]]) -> None:
        """Keep the newest overviews: by site, with the time (UTC s, of the bus) at which each came."""
        sql = (
            "INSERT INTO now VALUES (%s, %s, %s) ON CONFLICT (site) DO UPDATE SET received = excluded.received, "
            "overview = excluded.overview WHERE now.received < excluded.received"
        )
        rows = [
            (site, datetime.fromtimestamp(at_s, UTC), msgspec.json.encode(overview).decode())
            for site, (at_s, overview) in sorted(found.items())
        ]
        with self._transaction() as con, con.cursor() as cursor:
            cursor.executemany(sql, rows)

    def heads(self, site: str) -> list[str]:
        """Every head of a site's audit, as printed, the oldest first."""
        sql = "SELECT seq, hash FROM head WHERE site = %s ORDER BY seen, seq"
        with self._transaction() as con:
            return [head_words(seq, bytes(digest)) for seq, digest in con.execute(sql, (site,))]

    def note(self, site: str, kind: str, text: str) -> None:
        """Keep what is odd about a site."""
        with self._transaction() as con:
            _note(con, site, kind, text)

    def set_current(self, site: str, incarnation: str) -> bool:
        """Take an incarnation again whose time was over; False: the database knows no such one."""
        sql = (
            "UPDATE site SET current = %s WHERE uuid = %s "
            "AND EXISTS (SELECT 1 FROM source WHERE site = uuid AND incarnation = %s)"
        )
        with self._transaction() as con:
            return bool(con.execute(sql, (incarnation, site, incarnation)).rowcount)

    def forget_before(self, keep_months: int) -> None:
        """Delete blocks, minutes and events older than so many months."""
        with self._transaction() as con:
            hub_schema.drop_before(con, hub_schema.expired(self._utc(), keep_months))
        self._months.clear()

    def _add_months(self, months: set[Month]) -> None:
        missing = months - self._months
        if missing:
            with self._transaction() as con:
                hub_schema.add_partitions(con, missing)
            self._months |= missing

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Committed at the end. A connection on which anything failed is not used again."""
        try:
            import psycopg
        except ImportError as error:
            raise NotInstalled(error) from None
        try:
            if self._con is None:
                options = f"-c search_path={SCHEMA} -c statement_timeout=60s -c lock_timeout=30s"
                self._con = psycopg.connect(self._url, connect_timeout=CONNECT_S, options=options)
            with self._con.transaction():
                yield self._con
        except psycopg.Error as error:
            self.close()
            raise DatabaseFailed(one_line(str(error)), isinstance(error, psycopg.DataError)) from error
        except BaseException:
            self.close()
            raise


class Refusal(msgspec.Struct, frozen=True):
    """A message that is not sound: of which site, and why."""

    site: str
    kind: str
    text: str


class _Batch:
    """Applies messages inside a transaction."""

    def __init__(self, con: Any) -> None:
        self._con = con
        self.stored: dict[Place, Stored] = {}

    def take(self, message: Arrived | Refusal) -> Outcome:
        """Keep one message."""
        if isinstance(message, Refusal):
            _note(self._con, message.site, message.kind, message.text)
            return Outcome.REFUSED
        place = message.site, message.sent.incarnation
        try:
            if place not in self.stored:
                self.stored[place] = self._begin(message)
            return self._put(place, message)
        except Stopped as stop:
            _note(self._con, message.site, stop.kind, str(stop))
            refused = self.stored.get(place, Stored())
            self.stored[place] = msgspec.structs.replace(refused, refused=str(stop), kind=stop.kind)
            return Outcome.REFUSED

    def finish(self) -> None:
        """Write how far the sources are stored."""
        sql = (
            "UPDATE source SET seq = %s, own_sha256 = %s, quarters_t = %s, quarters_seq = %s, event_id = %s "
            "WHERE site = %s AND incarnation = %s"
        )
        for place, stored in self.stored.items():
            if stored.kind != "claimed-twice":
                self._con.execute(sql, (*msgspec.structs.astuple(stored.source), stored.event_id, *place))

    def _begin(self, message: Arrived) -> Stored:
        """Lock a source, made where there is none; how far it is stored. Raises Stopped."""
        con, site, sent = self._con, message.site, message.sent
        name, zone = one_line(sent.name), one_line(sent.timezone)
        con.execute("INSERT INTO site VALUES (%s, %s, %s, NULL) ON CONFLICT DO NOTHING", (site, name, zone))
        current, before = con.execute(
            "SELECT current::text, name FROM site WHERE uuid = %s FOR UPDATE", (site,)
        ).fetchone()
        sql = (
            "SELECT seq, own_sha256, quarters_t, quarters_seq, event_id FROM source "
            "WHERE site = %s AND incarnation = %s FOR UPDATE"
        )
        row = con.execute(sql, (site, sent.incarnation)).fetchone()
        remark = judge_incarnation(current, row is not None, sent.incarnation)
        if remark:
            _note(con, site, "incarnation", remark)
        if before != name:
            _note(con, site, "renamed", f"it calls itself {name} now, {before} before")
        con.execute(
            "UPDATE site SET current = %s, name = %s, timezone = %s, seen = now() WHERE uuid = %s",
            (sent.incarnation, name, zone, site),
        )
        if row is None:
            values = (site, sent.incarnation, bytes(HASH_BYTES))
            con.execute("INSERT INTO source VALUES (%s, %s, 0, %s, 0, 0, 0)", values)
            return Stored()
        *figures, event_id = row
        return Stored(source=Source(*figures), event_id=event_id)

    def _put(self, place: Place, message: Arrived) -> Outcome:
        """Raises Stopped."""
        body, stored = message.sent.body, self.stored[place]
        if stored.kind == "claimed-twice":
            return Outcome.REFUSED
        changes: dict[str, Any] | None
        if isinstance(body, BlockSent):
            return self._put_block(place, message, body)
        if isinstance(body, QuartersSent):
            changes = self._quarters(message, body, stored.source)
        elif isinstance(body, EventsSent):
            changes = self._events(message.site, body, stored.event_id)
        else:
            self._put_remark(message)
            return Outcome.KEPT
        if changes is None:
            return Outcome.EARLY
        self.stored[place] = msgspec.structs.replace(stored, **changes)
        return Outcome.KEPT

    def _put_remark(self, message: Arrived) -> None:
        body = message.sent.body
        if message.head is not None:
            sql = "INSERT INTO head VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
            self._con.execute(sql, (message.site, *message.head))
        elif isinstance(body, TroubleSent):
            _note(self._con, message.site, one_line(body.kind), one_line(body.text))

    def _put_block(self, place: Place, message: Arrived, body: BlockSent) -> Outcome:
        """Raises Stopped."""
        stored, site, block = self.stored[place], message.site, body.block
        source = stored.source
        writer = place[1] if message.block is None else message.block.incarnation
        here: Collection[bytes] = ()
        if block.seq < source.seq:
            sql = "SELECT own_sha256 FROM block WHERE site = %s AND incarnation = %s AND seq = %s"
            here = [row[0] for row in self._con.execute(sql, (site, writer, block.seq))]
        verdict = judge_block(source, body, here)
        if verdict is not Verdict.KEEP:
            return Outcome.EARLY if verdict is Verdict.EARLY else Outcome.KNOWN
        if 0 < source.seq < block.seq - 1:
            self._lose(site, source.seq + 1, block.seq - 1, "deleted at the site before it was sent")
        if message.block is None:
            self._lose(site, block.seq, block.seq, one_line(f"damaged at the site: {block.damaged}"))
        new = message.block is not None and self._insert(message, body)
        read = msgspec.structs.replace(source, seq=block.seq, own_sha256=block.own_sha256)
        self.stored[place] = msgspec.structs.replace(stored, source=read)
        return Outcome.KEPT if new else Outcome.KNOWN

    def _insert(self, message: Arrived, body: BlockSent) -> bool:
        """Whether the block is new."""
        assert message.block is not None
        signals = json.dumps([list(signal) for signal in body.signals], ensure_ascii=False)
        self._con.execute(
            "INSERT INTO dictionary VALUES (%s, %s) ON CONFLICT DO NOTHING", (message.block.dictionary, signals)
        )
        sql = "INSERT INTO block VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
        new = self._con.execute(sql, (message.site, *msgspec.structs.astuple(message.block))).rowcount
        if new:
            self._minutes(message.site, message.minutes)
        return bool(new)

    def _minutes(self, site: str, minutes: Sequence[Minute]) -> None:
        """Keep minutes; of one that two blocks share, the part with more samples."""
        columns = tuple(OVERVIEW.values())
        arrays = [[minute.t for minute in minutes], [minute.samples for minute in minutes]]
        means = [[minute.means.get(column) for minute in minutes] for column in columns]
        kinds = ", ".join(["%s::bigint[]", "%s::integer[]", *["%s::real[]"] * len(columns)])
        names = ", ".join(("samples", *columns))
        changed = ", ".join(f"{name} = excluded.{name}" for name in ("samples", *columns))
        self._con.execute(
            f"INSERT INTO minute (site, t, {names}) SELECT %s::uuid, * FROM unnest({kinds}) "
            f"ON CONFLICT (site, t) DO UPDATE SET {changed} WHERE excluded.samples >= minute.samples",
            (site, *arrays, *means),
        )

    def _quarters(self, message: Arrived, body: QuartersSent, source: Source) -> dict[str, Any] | None:
        """Keep roll-ups; what changes. None: those before are not here yet."""
        by_time = body.after_t is not None
        if not by_time and body.after_seq > source.quarters_seq:
            return None
        if body.after_t is not None and source.quarters_t is not None and body.after_t > source.quarters_t:
            return None
        self._insert_quarters(message)
        if not by_time:
            seq = max(source.quarters_seq, body.page.next_seq or 0)
            return {"source": msgspec.structs.replace(source, quarters_seq=seq)}
        if source.quarters_t is None:
            return {}
        page = body.page
        read = None if page.next_t is None else max(source.quarters_t, page.next_t)
        # what was on record at the first page is in the pages by time
        seq = max(source.quarters_seq, page.last_seq or 0) if body.after_t == 0 else source.quarters_seq
        return {"source": msgspec.structs.replace(source, quarters_t=read, quarters_seq=seq)}

    def _insert_quarters(self, message: Arrived) -> None:
        rows = message.quarters
        if not rows:
            return
        ids = self._signal_ids(sorted({(row.signal.name, row.signal.unit) for row in rows}))
        keys = ([row.t for row in rows], [ids[row.signal.name, row.signal.unit] for row in rows])
        figures = ([getattr(row, name) for row in rows] for name in ("mn", "mx", "mean", "last"))
        kinds = "%s::bigint[], %s::integer[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::bigint[]"
        changed = ", ".join(f"{name} = excluded.{name}" for name in ("mn", "mx", "mean", "last", "n"))
        self._con.execute(
            f"INSERT INTO quarter SELECT %s::uuid, * FROM unnest({kinds}) "
            f"ON CONFLICT (site, t, signal) DO UPDATE SET {changed}",
            (message.site, *keys, *figures, [row.n for row in rows]),
        )

    def _signal_ids(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        columns = ([name for name, _ in names], [unit for _, unit in names])
        given = "unnest(%s::text[], %s::text[]) AS g(name, unit)"
        self._con.execute(f"INSERT INTO signal (name, unit) SELECT * FROM {given} ON CONFLICT DO NOTHING", columns)
        rows = self._con.execute(
            f"SELECT s.name, s.unit, s.id FROM signal AS s JOIN {given} USING (name, unit)", columns
        )
        return {(name, unit): number for name, unit, number in rows}

    def _events(self, site: str, body: EventsSent, event_id: int) -> dict[str, Any] | None:
        """Keep events; what changes. None: those before are not here yet."""
        if body.after_id > event_id:
            return None
        rows = [(site, *msgspec.structs.astuple(event)) for event in body.events]
        with self._con.cursor() as cursor:
            cursor.executemany("INSERT INTO event VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", rows)
        return {"event_id": max([event_id, *(event.id for event in body.events)])}

    def _lose(self, site: str, first_seq: int, last_seq: int, why: str) -> None:
        sql = "INSERT INTO lost VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
        self._con.execute(sql, (site, first_seq, last_seq, why))


def _note(con: Any, site: str, kind: str, text: str) -> None:
    """Keep what is odd; the same again in a row is kept once."""
    last = "(SELECT kind, text FROM trouble WHERE site = %s ORDER BY id DESC LIMIT 1) AS last"
    con.execute(
        "INSERT INTO trouble (site, kind, text) SELECT %s::uuid, %s::text, %s::text "
        f"WHERE NOT EXISTS (SELECT 1 FROM {last} WHERE (last.kind, last.text) = (%s::text, %s::text))",
        (site, kind, text, site, kind, text),
    )


def _times_s(message: Arrived) -> Iterator[float]:
    """Of all that goes into a partition by month."""
    if message.block is not None:
        yield message.block.t0_us / 1e6
        yield from (minute.t for minute in message.minutes)
    yield from (row.t for row in message.quarters)
    if isinstance(message.sent.body, EventsSent):
        yield from (event.t_us / 1e6 for event in message.sent.body.events)
