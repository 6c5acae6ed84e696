"""Keeps the history of many sites in one SQLite file at the hub: blocks, roll-ups, heads of audits, what was odd.

A block is there once for its site, incarnation, sequence and hash, however often it is sent. What a page brought and
how far the site has been read are one transaction: a kill leaves both or neither, and the next pull goes on from there.
Figures of roll-ups are in the unit of their signal.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from storage.audit_format import head_words
from storage.signals import Signal

FILE = "fleet.db"
APPLICATION_ID = 0x534B_464C  # "SKFL"
VERSION = 1
HASH_BYTES = 32
_OTHER = "{}: expected a fleet's file of version {}, found version {}"

SCHEMA = """
CREATE TABLE site (
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL,                -- as it calls itself now
  timezone TEXT NOT NULL,
  current TEXT NOT NULL,             -- the incarnation that is read; earlier ones are over
  seen_utc_s REAL NOT NULL           -- by the hub's clock
) STRICT;
CREATE TABLE source (
  site TEXT NOT NULL REFERENCES site(uuid),
  incarnation TEXT NOT NULL,         -- of the gateway that was asked
  address TEXT NOT NULL,             -- name of the site in the fleet
  seq INTEGER NOT NULL,              -- blocks are here up to this one
  own_sha256 BLOB NOT NULL,          -- of that one
  quarters_t INTEGER,                -- roll-ups by time are here up to this one; NULL: all of them are
  quarters_seq INTEGER NOT NULL,     -- and those of the blocks up to this one
  first_utc_s REAL NOT NULL,
  PRIMARY KEY (site, incarnation)
) STRICT;
CREATE TABLE dictionary (
  hash BLOB PRIMARY KEY,
  signals TEXT NOT NULL              -- JSON: [[name, unit, scale, kind], ...]
) STRICT;
CREATE TABLE block (
  site TEXT NOT NULL,
  incarnation TEXT NOT NULL,         -- that wrote the block, as it says itself
  seq INTEGER NOT NULL,
  own_sha256 BLOB NOT NULL,          -- of the block as the site keeps it
  t0_us INTEGER NOT NULL,
  step_us INTEGER NOT NULL,
  samples INTEGER NOT NULL,
  dictionary BLOB NOT NULL REFERENCES dictionary(hash),
  v BLOB NOT NULL,                   -- with the signals that left the site, see storage/blocks.py
  PRIMARY KEY (site, incarnation, seq, own_sha256)
) STRICT;
CREATE TABLE lost (
  site TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  why TEXT NOT NULL,
  utc_s REAL NOT NULL,
  PRIMARY KEY (site, first_seq, why)
) STRICT;
CREATE TABLE signal (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  unit TEXT NOT NULL,
  UNIQUE (name, unit)
) STRICT;
CREATE TABLE quarter (
  site TEXT NOT NULL,
  t INTEGER NOT NULL,                -- UTC s, start of the quarter hour by the site's clock
  signal INTEGER NOT NULL REFERENCES signal(id),
  mn REAL NOT NULL, mx REAL NOT NULL, mean REAL NOT NULL, last REAL NOT NULL,
  n INTEGER NOT NULL,                -- samples
  PRIMARY KEY (site, t, signal)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  seen_utc_s REAL NOT NULL,
  PRIMARY KEY (site, seq, hash)
) STRICT;
CREATE TABLE trouble (
  id INTEGER PRIMARY KEY,
  utc_s REAL NOT NULL,
  site TEXT NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE VIEW quarters AS
  SELECT strftime('%Y-%m-%dT%H:%M:%SZ', q.t, 'unixepoch') AS t, site.name AS site, s.name AS signal, s.unit AS unit,
         q.mean AS mean, q.mn AS min, q.mx AS max, q.last AS last, q.n AS samples
  FROM quarter AS q JOIN signal AS s ON s.id = q.signal JOIN site ON site.uuid = q.site;
"""


class NotAHub(Exception):
    """The file is none of a fleet's, or of a newer version. The text says which."""


class Source(msgspec.Struct, frozen=True):
    """How far an incarnation of a site has been read."""

    seq: int = 0
    own_sha256: bytes = bytes(HASH_BYTES)
    quarters_t: int | None = 0
    quarters_seq: int = 0


class KeptSite(msgspec.Struct, frozen=True):
    """What the hub knows of a site."""

    name: str
    current: str


class KeptBlock(msgspec.Struct, frozen=True):
    """A block as it is kept."""

    incarnation: str
    seq: int
    own_sha256: bytes
    t0_us: int
    step_us: int
    samples: int
    dictionary: bytes
    v: bytes


class KeptQuarter(msgspec.Struct, frozen=True):
    """One signal in one quarter hour, in its unit."""

    t: int
    signal: Signal
    mn: float
    mx: float
    mean: float
    last: float
    n: int


class Store(Protocol):
    """What a pull needs of whatever keeps the history. Each `put` is whole or not at all."""

    def site(self, uuid: str) -> KeptSite | None:
        """A site that was read before."""
        ...

    def is_known(self, uuid: str, incarnation: str) -> bool:
        """Whether this incarnation was read before."""
        ...

    def begin(self, uuid: str, incarnation: str, name: str, timezone: str, address: str, utc_s: float) -> Source:
        """Note a site as it calls itself now, and this incarnation as the current one; how far it was read."""
        ...

    def put_blocks(
        self,
        uuid: str,
        incarnation: str,
        blocks: Sequence[KeptBlock],
        dictionaries: Mapping[bytes, Sequence[Signal]],
        source: Source,
    ) -> int:
        """Keep blocks and how far the site is read by them; how many are new."""
        ...

    def put_quarters(self, uuid: str, incarnation: str, rows: Sequence[KeptQuarter], source: Source) -> None:
        """Keep roll-ups and how far they are read. A quarter hour that is sent again takes the place of the first."""
        ...

    def put_lost(self, uuid: str, first_seq: int, last_seq: int, why: str, utc_s: float) -> None:
        """Note blocks that will not come."""
        ...

    def head(self, uuid: str) -> tuple[int, bytes] | None:
        """The newest head of a site's audit that was collected."""
        ...

    def put_head(self, uuid: str, seq: int, digest: bytes, utc_s: float) -> None:
        """Keep a head for ever."""
        ...

    def note(self, uuid: str, kind: str, text: str, utc_s: float) -> None:
        """Keep what was odd; the same again in a row is kept once."""
        ...


class HubFile:
    """The store in a directory, for one thread."""

    def __init__(self, directory: Path) -> None:
        """Open it, make it where there is none. Raises NotAHub, sqlite3.Error, OSError."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.path = directory / FILE
        self._con = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._con.close()
            raise

    def _prepare(self) -> None:
        con = self._con
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            version = con.execute("PRAGMA user_version").fetchone()[0]
            application = con.execute("PRAGMA application_id").fetchone()[0]
            if version == 0 and con.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                for statement in SCHEMA.split(";\n"):
                    con.execute(statement)
                con.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                con.execute(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION_ID or version != VERSION:
                raise NotAHub(_OTHER.format(self.path, VERSION, version))

    def close(self) -> None:
        """Let go of the file."""
        self._con.close()

    def site(self, uuid: str) -> KeptSite | None:
        """A site that was read before."""
        row = self._con.execute("SELECT name, current FROM site WHERE uuid = ?", (uuid,)).fetchone()
        return None if row is None else KeptSite(*row)

    def is_known(self, uuid: str, incarnation: str) -> bool:
        """Whether this incarnation was read before."""
        sql = "SELECT 1 FROM source WHERE site = ? AND incarnation = ?"
        return self._con.execute(sql, (uuid, incarnation)).fetchone() is not None

    def begin(self, uuid: str, incarnation: str, name: str, timezone: str, address: str, utc_s: float) -> Source:
        """Note a site as it calls itself now, and this incarnation as the current one; how far it was read."""
        with self._transaction() as con:
            con.execute(
                "INSERT INTO site VALUES (?,?,?,?,?) ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, "
                "timezone = excluded.timezone, current = excluded.current, seen_utc_s = excluded.seen_utc_s",
                (uuid, name, timezone, incarnation, utc_s),
            )
            con.execute(
                "INSERT INTO source VALUES (?,?,?,0,?,0,0,?) ON CONFLICT DO UPDATE SET address = excluded.address",
                (uuid, incarnation, address, bytes(HASH_BYTES), utc_s),
            )
            row = con.execute(
                "SELECT seq, own_sha256, quarters_t, quarters_seq FROM source WHERE site = ? AND incarnation = ?",
                (uuid, incarnation),
            ).fetchone()
        return Source(*row)

    def put_blocks(
        self,
        uuid: str,
        incarnation: str,
        blocks: Sequence[KeptBlock],
        dictionaries: Mapping[bytes, Sequence[Signal]],
        source: Source,
    ) -> int:
        """Keep blocks and how far the site is read by them; how many are new."""
        with self._transaction() as con:
            for digest, signals in dictionaries.items():
                text = json.dumps([list(signal) for signal in signals], ensure_ascii=False)
                con.execute("INSERT OR IGNORE INTO dictionary VALUES (?,?)", (digest, text))
            before = con.total_changes
            con.executemany(
                "INSERT OR IGNORE INTO block VALUES (?,?,?,?,?,?,?,?,?)",
                [(uuid, *msgspec.structs.astuple(block)) for block in blocks],
            )
            new = con.total_changes - before
            self._read_up_to(con, uuid, incarnation, source)
        return new

    def put_quarters(self, uuid: str, incarnation: str, rows: Sequence[KeptQuarter], source: Source) -> None:
        """Keep roll-ups and how far they are read. A quarter hour that is sent again takes the place of the first."""
        with self._transaction() as con:
            ids = self._ids(con, {(row.signal.name, row.signal.unit) for row in rows})
            con.executemany(
                "INSERT OR REPLACE INTO quarter VALUES (?,?,?,?,?,?,?,?)",
                [
                    (uuid, row.t, ids[row.signal.name, row.signal.unit], row.mn, row.mx, row.mean, row.last, row.n)
                    for row in rows
                ],
            )
            self._read_up_to(con, uuid, incarnation, source)

    def put_lost(self, uuid: str, first_seq: int, last_seq: int, why: str, utc_s: float) -> None:
        """Note blocks that will not come."""
        with self._transaction() as con:
            con.execute("INSERT OR IGNORE INTO lost VALUES (?,?,?,?,?)", (uuid, first_seq, last_seq, why, utc_s))

    def head(self, uuid: str) -> tuple[int, bytes] | None:
        """The newest head of a site's audit that was collected."""
        sql = "SELECT seq, hash FROM head WHERE site = ? ORDER BY seen_utc_s DESC, seq DESC LIMIT 1"
        row = self._con.execute(sql, (uuid,)).fetchone()
        return None if row is None else (row[0], row[1])

    def put_head(self, uuid: str, seq: int, digest: bytes, utc_s: float) -> None:
        """Keep a head for ever."""
        with self._transaction() as con:
            con.execute("INSERT OR IGNORE INTO head VALUES (?,?,?,?)", (uuid, seq, digest, utc_s))

    def note(self, uuid: str, kind: str, text: str, utc_s: float) -> None:
        """Keep what was odd; the same again in a row is kept once."""
        with self._transaction() as con:
            sql = "SELECT kind, text FROM trouble WHERE site = ? ORDER BY id DESC LIMIT 1"
            if con.execute(sql, (uuid,)).fetchone() != (kind, text):
                con.execute("INSERT INTO trouble (utc_s, site, kind, text) VALUES (?,?,?,?)", (utc_s, uuid, kind, text))

    def _read_up_to(self, con: sqlite3.Connection, uuid: str, incarnation: str, source: Source) -> None:
        con.execute(
            "UPDATE source SET seq = ?, own_sha256 = ?, quarters_t = ?, quarters_seq = ? "
            "WHERE site = ? AND incarnation = ?",
            (*msgspec.structs.astuple(source), uuid, incarnation),
        )

    def _ids(self, con: sqlite3.Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for name, unit in sorted(names):
            con.execute("INSERT OR IGNORE INTO signal (name, unit) VALUES (?,?)", (name, unit))
            row = con.execute("SELECT id FROM signal WHERE name = ? AND unit = ?", (name, unit)).fetchone()
            found[name, unit] = row[0]
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        con = self._con
        con.execute("BEGIN IMMEDIATE")
        try:
            yield con
            con.execute("COMMIT")
        except BaseException:
            if con.in_transaction:
                con.execute("ROLLBACK")
            raise


def open_hub(directory: Path) -> sqlite3.Connection:
    """A connection that can only read a hub's file. Raises NotAHub."""
    path = directory / FILE
    if not path.is_file():
        raise NotAHub(f"{path}: there is no history of a fleet; make it with: skerry fleet pull")
    con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0)
    try:
        version = con.execute("PRAGMA user_version").fetchone()[0]
        application = con.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        con.close()
        raise NotAHub(f"{path}: {error}") from None
    if (application, version) != (APPLICATION_ID, VERSION):
        con.close()
        raise NotAHub(_OTHER.format(path, VERSION, version))
    return con


def collected_heads(directory: Path, uuid: str) -> list[str]:
    """Every head of a site's audit that a hub's file holds, as printed, the oldest first. Raises NotAHub."""
    sql = "SELECT seq, hash FROM head WHERE site = ? ORDER BY seen_utc_s, seq"
    with closing(open_hub(directory)) as con:
        return [head_words(seq, digest) for seq, digest in con.execute(sql, (uuid,))]
