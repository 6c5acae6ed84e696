"""Defines the tables of a hub's PostgreSQL database: migrations, and partitions by month.

Times are UTC microseconds (`t0_us`, `t_us`) or UTC seconds (`t`) by the site's clock, as in the site's record; those of
the hub's clock are `timestamptz`. What comes by time is partitioned by month. A time that no partition is made for,
such as that of a clock which is years off, goes into the table's default partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

SCHEMA = "skerry"
FIRST_MONTH = (2020, 1)  # partitions are made from here on
AHEAD_MONTHS = 1  # and up to so many months after the hub's own
LOCK = 0x534B_464C  # advisory, "SKFL": hubs make tables one after the other

# table -> column that it is partitioned by, and units of that in a second
BY_MONTH: dict[str, tuple[str, int]] = {
    "block": ("t0_us", 1_000_000),
    "event": ("t_us", 1_000_000),
    "minute": ("t", 1),
    "quarter": ("t", 1),
}
EXPIRING = ("block", "event", "minute")  # what `--keep-months` deletes; quarter hours and heads stay

# signal of the record -> column of `minute`: what an overview of a fleet is made of
OVERVIEW: dict[str, str] = {
    "grid.w": "grid_w",
    "grid.hz": "grid_hz",
    "grid.v1": "grid_v1",
    "grid.import_wh": "grid_import_wh",
    "grid.export_wh": "grid_export_wh",
    "load.w": "load_w",
    "site_load.w": "site_load_w",
    "nodes.w": "nodes_w",
    "pv.w": "pv_w",
    "pcs.w": "pcs_w",
    "soc_pct": "soc_pct",
    "decision.battery_w": "battery_setpoint_w",
    "decision.import_target_w": "import_target_w",
    "decision.on_genset": "on_genset",
    "interval.left_w": "interval_left_w",
    "interval.limit_w": "interval_limit_w",
    "month.peak_w": "month_peak_w",
    "price.eur_per_kwh": "price_eur_per_kwh",
    "carbon.g_per_kwh": "carbon_g_per_kwh",
    "tick.lateness_ms": "tick_lateness_ms",
}

_FIRST = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    """CREATE TABLE site (
      uuid uuid PRIMARY KEY,
      name text NOT NULL,                -- as it calls itself now
      timezone text NOT NULL,
      current uuid,                      -- the incarnation that is taken; earlier ones are over
      seen timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE source (
      site uuid NOT NULL REFERENCES site, incarnation uuid NOT NULL,  -- of the gateway that was asked
      seq bigint NOT NULL,               -- every block up to this one is here, or in `lost`
      own_sha256 bytea NOT NULL,         -- of that one
      quarters_t bigint,                 -- roll-ups by time are here up to this one; NULL: all of them are
      quarters_seq bigint NOT NULL,      -- and those of the blocks up to this one
      event_id bigint NOT NULL,          -- events are here up to this one
      first_seen timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (site, incarnation))""",
    """CREATE TABLE dictionary (
      hash bytea PRIMARY KEY,
      signals jsonb NOT NULL)            -- [[name, unit, scale, kind], ...]""",
    """CREATE TABLE block (
      site uuid NOT NULL, incarnation uuid NOT NULL,  -- that wrote the block, as it says itself
      seq bigint NOT NULL,
      own_sha256 bytea NOT NULL,         -- of the block as the site keeps it
      t0_us bigint NOT NULL, step_us bigint NOT NULL, samples integer NOT NULL,
      dictionary bytea NOT NULL REFERENCES dictionary,
      v bytea NOT NULL,                  -- with the signals that left the site, see storage/blocks.py
      PRIMARY KEY (site, incarnation, seq, own_sha256, t0_us)) PARTITION BY RANGE (t0_us)""",
    "ALTER TABLE block ALTER v SET STORAGE EXTERNAL",  # it is compressed
    f"""CREATE TABLE minute (
      site uuid NOT NULL, t bigint NOT NULL,
      samples integer NOT NULL,          -- of which the figures are means
      {", ".join(f"{column} real" for column in OVERVIEW.values())},
      PRIMARY KEY (site, t)) PARTITION BY RANGE (t)""",
    "CREATE TABLE signal (id serial PRIMARY KEY, name text NOT NULL, unit text NOT NULL, UNIQUE (name, unit))",
    """CREATE TABLE quarter (
      site uuid NOT NULL, t bigint NOT NULL, signal integer NOT NULL REFERENCES signal,
      mn float8 NOT NULL, mx float8 NOT NULL, mean float8 NOT NULL, last float8 NOT NULL, n bigint NOT NULL,
      PRIMARY KEY (site, t, signal)) PARTITION BY RANGE (t)""",
    """CREATE TABLE event (
      site uuid NOT NULL, id bigint NOT NULL, t_us bigint NOT NULL,
      kind text NOT NULL, severity text NOT NULL, subject text NOT NULL,
      PRIMARY KEY (site, id, t_us, kind, subject)) PARTITION BY RANGE (t_us)""",
    """CREATE TABLE head (                 -- of audits, kept for ever
      site uuid NOT NULL, seq bigint NOT NULL, hash bytea NOT NULL, seen timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (site, seq, hash))""",
    """CREATE TABLE lost (
      site uuid NOT NULL, first_seq bigint NOT NULL, last_seq bigint NOT NULL, why text NOT NULL,
      seen timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (site, first_seq, why))""",
    """CREATE TABLE trouble (
      id bigserial PRIMARY KEY, seen timestamptz NOT NULL DEFAULT now(),
      site uuid NOT NULL, kind text NOT NULL, text text NOT NULL)""",
    "CREATE INDEX trouble_site ON trouble (site, id)",
    """CREATE TABLE now (
      site uuid PRIMARY KEY, received timestamptz NOT NULL, overview jsonb NOT NULL)""",
    *(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT" for name in BY_MONTH),
    """CREATE VIEW quarters AS
      SELECT to_timestamp(q.t) AS t, site.name AS site, s.name AS signal, s.unit AS unit,
             q.mean, q.mn AS min, q.mx AS max, q.last, q.n AS samples
      FROM quarter AS q JOIN signal AS s ON s.id = q.signal JOIN site ON site.uuid = q.site""",
)
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)  # a later version appends; none is ever changed
VERSION = len(MIGRATIONS)

Month = tuple[int, int]


def months_of(times_s: Iterable[float], now_s: float) -> set[Month]:
    """The months of these times (UTC s) that get a partition, seen from the hub's own clock."""
    last = _after(month_of(now_s), AHEAD_MONTHS)
    spans = (_start_s(FIRST_MONTH), _start_s(_after(last, 1)))
    return {month_of(t) for t in times_s if spans[0] <= t < spans[1]}


def month_of(utc_s: float) -> Month:
    """Year and month, UTC."""
    at = datetime.fromtimestamp(utc_s, UTC)
    return at.year, at.month


def partition(table: str, month: Month) -> str:
    """The name of a month's partition."""
    return f"{table}_{month[0]:04d}_{month[1]:02d}"


def bounds(table: str, month: Month) -> tuple[int, int]:
    """First and end of a month, in the units of the table's column."""
    per_s = BY_MONTH[table][1]
    return _start_s(month) * per_s, _start_s(_after(month, 1)) * per_s


def expired(now_s: float, keep_months: int) -> Month:
    """The first month that is kept of so many, the present one among them."""
    return _after(month_of(now_s), 1 - keep_months)


def migrate(con: Any) -> None:
    """Bring a database to this version; one hub at a time. `con` is a connection of psycopg in a transaction.

    Raises NewerDatabase for one of a later release.
    """
    con.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    con.execute("CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, at timestamptz DEFAULT now())")
    (version,) = con.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    if version > VERSION:
        raise NewerDatabase(f"the database is of version {version}, this release knows {VERSION}: install a later one")
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        for statement in statements:
            con.execute(statement)
        con.execute("INSERT INTO migration (version) VALUES (%s)", (number,))


def add_partitions(con: Any, months: Iterable[Month]) -> None:
    """Make the partitions of these months where there are none; rows of the default partition move into them.

    One hub at a time. `con` is in a transaction.
    """
    con.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    for month in sorted(months):
        for table, (column, _) in BY_MONTH.items():
            name = partition(table, month)
            if con.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{name}",)).fetchone() != (None,):
                continue
            begin, end = bounds(table, month)
            within = f"{column} >= {begin} AND {column} < {end}"
            con.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
            con.execute(
                f"WITH moved AS (DELETE FROM {table}_default WHERE {within} RETURNING *) "
                f"INSERT INTO {name} SELECT * FROM moved"
            )
            con.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})")


def drop_before(con: Any, month: Month) -> None:
    """Delete blocks, minutes and events from before a month. `con` is in a transaction."""
    con.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    for table in EXPIRING:
        sql = (
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass"
        )
        for (name,) in con.execute(sql, (f"{SCHEMA}.{table}",)).fetchall():
            if not name.endswith("_default") and name < partition(table, month):
                con.execute(f"DROP TABLE {name}")
        con.execute(f"DELETE FROM {table}_default WHERE {BY_MONTH[table][0]} < {bounds(table, month)[0]}")


class NewerDatabase(Exception):
    """The database is of a later release. The text says which."""


def _after(month: Month, count: int) -> Month:
    months = month[0] * 12 + month[1] - 1 + count
    return months // 12, months % 12 + 1


def _start_s(month: Month) -> int:
    return int(datetime(*month, 1, tzinfo=UTC).timestamp())
