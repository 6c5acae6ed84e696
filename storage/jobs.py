"""Keeps what jobs drew and cost: finished runs, quarter hours of the site, the intervals that set a billed peak.

Names of a run are columns, what it drew is JSON. After a stated age the users of a calendar month become pseudonyms and
the names of their jobs go. A pseudonym is drawn by lot, one for each user and month, and is kept nowhere else: nobody
can tell later whose it is. The scheduler's id of the job stays.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from storage.rows import to_us

JOB_COLUMNS = "ts_utc_us, scheduler, job, started_utc_us, user, account, partition, name, energy_wh, cost_eur, record"
QUARTER_COLUMNS = "t, import_wh, load_wh, known_s, jobs_wh, idle_wh, gap_s, eur_per_kwh, co2_g_per_kwh"
PEAK_COLUMNS = "account, t, import_w, load_wh, eur, shares"
GROUPS = ("user", "account", "partition")  # columns by which runs are added up
MOST_GROUPS = 500
JOBS_WAITING = 20_000  # rows in memory, while the file cannot be written
MONTH_S = 32 * 86_400

Accounted = JobRecord | SiteQuarter | PeakInterval


class KeptJob(msgspec.Struct, frozen=True):
    """A run as it is kept."""

    number: int
    record: JobRecord
    pseudonym: bool  # its user is one


class Group(msgspec.Struct, frozen=True):
    """Runs of one user, account or partition together."""

    name: str
    runs: int
    energy_wh: float
    cost_eur: float | None  # of those that have one
    unpriced_wh: float
    co2_g: float | None
    capped_s: float
    withheld_wh: float
    gpu_h: float  # GPUs x hours allocated
    node_h: float
    lost_gpu_h: float = 0.0  # about what caps cost


class JobQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs: those that ended in [start, end). Empty text: any."""

    start_utc_s: float
    end_utc_s: float
    user: str | None = None
    account: str | None = None
    partition: str | None = None

    @property
    def everybody(self) -> bool:
        """Whether no run of that time is left out."""
        return self.user is None and self.account is None and self.partition is None


def insert(con: sqlite3.Connection, rows: Iterable[Accounted]) -> None:
    """Write rows within the caller's transaction; one that is there already is written anew. Raises sqlite3.Error."""
    for row in rows:
        table, columns, values = _row(row)
        marks = ",".join("?" * len(values))
        con.execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", values)


def _row(row: Accounted) -> tuple[str, str, tuple[Any, ...]]:
    if isinstance(row, JobRecord):
        return "job", JOB_COLUMNS, _job_row(row)
    if isinstance(row, SiteQuarter):
        values = (row.start_utc_s, row.import_wh, row.load_wh, row.known_s, row.jobs_wh, row.idle_wh, row.gap_s)
        return "job_quarter", QUARTER_COLUMNS, (*values, row.eur_per_kwh, row.co2_g_per_kwh)
    shares = [(_text(scheduler), _text(job), to_us(started), wh) for scheduler, job, started, wh in row.shares]
    values_ = (row.account, row.start_utc_s, row.import_w, row.load_wh, row.eur, msgspec.json.encode(shares).decode())
    return "job_peak", PEAK_COLUMNS, values_


def _job_row(r: JobRecord) -> tuple[Any, ...]:
    unnamed = msgspec.structs.replace(r, scheduler="", id="", user="", account="", partition="", name="")
    ended_us = to_us(r.started_utc_s if r.ended_utc_s is None else r.ended_utc_s)
    names = (r.user, r.account, r.partition, r.name)
    key = (_text(r.scheduler), _text(r.id), to_us(r.started_utc_s))
    record = msgspec.json.encode(unnamed).decode()
    return (ended_us, *key, *map(_text, names), r.energy_wh, r.cost_eur, record)


def _text(text: str) -> str:
    """Text that the file takes: half a surrogate pair, of a name that is no UTF-8, would be refused."""
    return text.encode("utf-8", "replace").decode()


def record_of(row: Sequence[Any]) -> KeptJob:
    """The run of its id, scheduler, job, user, account, partition, name, pseudonym and record.

    Raises msgspec.DecodeError.
    """
    number, scheduler, job, user, account, partition, name, pseudonym, text = row
    names = {"scheduler": scheduler, "id": job, "user": user, "account": account, "partition": partition, "name": name}
    return KeptJob(number, msgspec.structs.replace(_RECORD.decode(text), **names), bool(pseudonym))


_RECORD = msgspec.json.Decoder(JobRecord)
KEPT = "id, scheduler, job, user, account, partition, name, pseudonym, record"


def jobs(
    con: sqlite3.Connection, asked: JobQuestion, limit: int, before: tuple[float, int] | None = None
) -> list[KeptJob]:
    """Runs, the last to end first. `before`: end (UTC s) and number of the last one that was given."""
    where, values = _where(asked)
    if before is not None:
        where += " AND (ts_utc_us, id) < (:before_us, :before)"
        values |= {"before_us": to_us(before[0]), "before": before[1]}
    sql = f"SELECT {KEPT} FROM job WHERE {where} ORDER BY ts_utc_us DESC, id DESC LIMIT :limit"
    return [record_of(row) for row in con.execute(sql, values | {"limit": limit})]


def check_group(by: str) -> None:
    """Raise ValueError for what runs are not added up by."""
    if by not in GROUPS:
        raise ValueError(f"by {by!r}: expected one of {', '.join(GROUPS)}")


def groups(con: sqlite3.Connection, asked: JobQuestion, by: str) -> list[Group]:
    """Runs added up by one of `GROUPS`, those that drew most first."""
    where, values = _where(asked)
    hours = "(ts_utc_us - started_utc_us) / 3.6e9"
    sums = ["sum(energy_wh)", "sum(cost_eur)"]
    sums += ["total(record ->> 'unpriced_wh')", "sum(record ->> 'co2_g')"]
    sums += [f"total(record ->> '{name}')" for name in ("capped_s", "withheld_wh")]
    sums += [f"total({hours} * (record ->> '{name}'))" for name in ("gpus", "nodes")]
    sums.append("total(record ->> 'lost_gpu_h')")
    sql = f"SELECT {by}, count(*), {', '.join(sums)} FROM job WHERE {where} GROUP BY 1 ORDER BY 3 DESC LIMIT :most"
    values["most"] = MOST_GROUPS
    return [Group(*row) for row in con.execute(sql, values)]


def group_peaks(con: sqlite3.Connection, asked: JobQuestion, by: str, accounts: Sequence[str]) -> dict[str, float]:
    """What the runs of each group caused of the billed peaks of these accounts, EUR."""
    where, values = _where(asked)
    listed = ",".join(f":account{n}" for n in range(len(accounts)))
    sql = (
        f"SELECT j.{by}, sum(p.eur * (s.value ->> 3) / p.load_wh) "
        "FROM job_peak AS p, json_each(p.shares) AS s, job AS j "
        f"WHERE p.account IN ({listed}) AND p.load_wh > 0 AND j.scheduler = s.value ->> 0 AND j.job = s.value ->> 1 "
        f"AND j.started_utc_us = s.value ->> 2 AND {where} GROUP BY 1"
    )
    return dict(con.execute(sql, values | {f"account{n}": account for n, account in enumerate(accounts)}))


def quarters(con: sqlite3.Connection, start_utc_s: float, end_utc_s: float) -> dict[str, float]:
    """The quarter hours that began in [start, end), added up, by column; `n` of them, `t` of the first."""
    names = ("import_wh", "load_wh", "known_s", "jobs_wh", "idle_wh", "gap_s")
    sums = ", ".join(f"total({name})" for name in names)
    where = "t >= ? AND t < ?"
    sql = f"SELECT count(*), coalesce(min(t), 0), coalesce(max(t), 0), {sums} FROM job_quarter WHERE {where}"
    row = con.execute(sql, (start_utc_s, end_utc_s)).fetchone()
    return dict(zip(("n", "first_s", "last_s", *names), row, strict=True))


def peaks(con: sqlite3.Connection) -> list[PeakInterval]:
    """The highest interval of each account. Raises msgspec.DecodeError."""
    found = []
    for account, t, import_w, load_wh, eur, shares in con.execute(f"SELECT {PEAK_COLUMNS} FROM job_peak"):
        told = [(scheduler, job, us / 1e6, wh) for scheduler, job, us, wh in _SHARES.decode(shares)]
        found.append(
            PeakInterval(
                account=account, start_utc_s=t, import_w=import_w, load_wh=load_wh, eur=eur, shares=tuple(told)
            )
        )
    return found


_SHARES = msgspec.json.Decoder(list[tuple[str, str, int, float]])


def _where(asked: JobQuestion) -> tuple[str, dict[str, Any]]:
    where, values = "ts_utc_us >= :start AND ts_utc_us < :end", _span(asked)
    for name in GROUPS:
        value = getattr(asked, name)
        if value is not None:
            where += f" AND {name} = :{name}"
            values[name] = value
    return where, values


def _span(asked: JobQuestion) -> dict[str, Any]:
    return {"start": to_us(asked.start_utc_s), "end": to_us(asked.end_utc_s)}


def pseudonymise(con: sqlite3.Connection, before_utc_s: float) -> int:
    """Give the users of each calendar month (UTC) that ended before then pseudonyms; how many rows were changed.

    Raises sqlite3.Error.
    """
    changed = 0
    while (found := _oldest_named_month(con, before_utc_s)) is not None:
        for (user,) in con.execute("SELECT DISTINCT user FROM job WHERE " + _NAMED, found).fetchall():
            sql = f"UPDATE job SET user = :as, name = '', pseudonym = 1 WHERE {_NAMED} AND user = :user"
            changed += con.execute(sql, {**found, "as": f"~{secrets.token_hex(6)}", "user": user}).rowcount
    return changed


_NAMED = "pseudonym = 0 AND ts_utc_us >= :begin AND ts_utc_us < :end"


def _oldest_named_month(con: sqlite3.Connection, before_utc_s: float) -> Mapping[str, int] | None:
    """Begin and end of the oldest month that ended before then and has users by name, UTC us."""
    sql = "SELECT min(ts_utc_us) FROM job WHERE pseudonym = 0 AND ts_utc_us < ?"
    (oldest_us,) = con.execute(sql, (to_us(before_utc_s),)).fetchone()
    if oldest_us is None:
        return None
    begin = datetime.fromtimestamp(oldest_us / 1e6, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = datetime.fromtimestamp(begin.timestamp() + MONTH_S, UTC).replace(day=1, hour=0)
    if end.timestamp() > before_utc_s:
        return None
    return {"begin": to_us(begin.timestamp()), "end": to_us(end.timestamp())}
