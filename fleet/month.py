"""Adds up a month of each site from the roll-ups that the hub has. Reads the hub's file only, and asks no site."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from dispatch.accounting.energy_year import EnergyYear, QuarterPowers, energy_year
from dispatch.model.forecast import QUARTER_S
from fleet.store import open_hub
from storage.signals import CARBON

GRID, PV, LOAD, NODES, GENSET = "grid.w", "pv.w", "site_load.w", "nodes.w", "decision.on_genset"
PRICE = "price.eur_per_kwh"
NAMES = (GRID, PV, LOAD, NODES, GENSET, PRICE, CARBON)

Means = Mapping[str, Mapping[int, float]]  # signal -> start of the quarter hour, UTC s -> mean


class DayImport(msgspec.Struct, frozen=True):
    """The import of a day by the site's calendar, of the quarter hours that are known."""

    day: str  # 2026-11-30
    known_h: float
    import_kwh: float


class SiteMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One site's month, from the quarter hours that are at the hub. Nothing is extrapolated."""

    name: str
    site: str  # UUID
    energy: EnergyYear  # of this month
    peak_w: float | None  # highest mean import of a quarter hour
    peak_utc_s: int | None
    energy_eur: float | None  # import at its price; no charge on peaks, nothing for export
    priced_kwh: float  # import whose price is known
    days: tuple[DayImport, ...] = ()


def months(directory: Path, year: int, month: int, now_utc_s: float) -> list[SiteMonth]:
    """Every site of a hub's file, by name, each by its own calendar, as far as the month has passed.

    Raises fleet.store.NotAHub.
    """
    with closing(open_hub(directory)) as con:
        found = con.execute("SELECT uuid, name, timezone FROM site ORDER BY name, uuid").fetchall()
        return [_site(con, uuid, name, _calendar(zone), (year, month), now_utc_s) for uuid, name, zone in found]


def _calendar(zone: str) -> ZoneInfo:
    """UTC if the zone is not known."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _span(calendar: ZoneInfo, year: int, month: int, now_utc_s: float) -> range:
    """The starts of a month's quarter hours that have passed, by a site's calendar."""
    following = (year + month // 12, month % 12 + 1)
    begin_s, end_s = (int(datetime(*ym, 1, tzinfo=calendar).timestamp()) for ym in ((year, month), following))
    return range(begin_s, min(end_s, int(now_utc_s // QUARTER_S) * QUARTER_S), QUARTER_S)


def _site(
    con: sqlite3.Connection, uuid: str, name: str, calendar: ZoneInfo, month: tuple[int, int], now_utc_s: float
) -> SiteMonth:
    span = _span(calendar, *month, now_utc_s)
    sql = (
        "SELECT s.name, q.t, q.mean FROM quarter AS q JOIN signal AS s ON s.id = q.signal "
        f"WHERE q.site = ? AND q.t >= ? AND q.t < ? AND s.name IN ({','.join('?' * len(NAMES))})"
    )
    means: dict[str, dict[int, float]] = {signal: {} for signal in NAMES}
    for signal, t, mean in con.execute(sql, (uuid, span.start, max(span.start, span.stop), *NAMES)):
        means[signal][t] = mean
    sql = "SELECT EXISTS (SELECT 1 FROM quarter WHERE site = ? AND signal = (SELECT id FROM signal WHERE name = ?))"
    (with_pv,) = con.execute(sql, (uuid, PV)).fetchone()
    found = summed(name, uuid, means, span, with_pv=bool(with_pv))
    return msgspec.structs.replace(found, days=tuple(_days(means, span, calendar)))


def _days(means: Means, span: Sequence[int], calendar: ZoneInfo) -> Iterator[DayImport]:
    for day, starts in groupby(span, key=lambda t: datetime.fromtimestamp(t, calendar).date()):
        known = [(w, means[GENSET].get(t)) for t in starts if (w := means[GRID].get(t)) is not None]
        imported_ws = sum(w * QUARTER_S for w, genset in known if w > 0 and not genset)
        yield DayImport(day.isoformat(), len(known) * QUARTER_S / 3600, imported_ws / 3.6e6)


def summed(name: str, uuid: str, means: Means, span: Sequence[int], *, with_pv: bool) -> SiteMonth:
    """A month from the means of its quarter hours. `with_pv`: the site has PV, so without it nothing is known."""
    imports = {t: w for t in span if (w := means[GRID].get(t)) is not None and w > 0 and not means[GENSET].get(t)}
    peak_s = max(imports, key=lambda t: (imports[t], -t), default=None)
    priced = [(w * QUARTER_S / 3.6e6, means[PRICE][t]) for t, w in imports.items() if t in means[PRICE]]
    return SiteMonth(
        name=name,
        site=uuid,
        energy=energy_year(_powers(means, span, with_pv=with_pv), None),
        peak_w=None if peak_s is None else imports[peak_s],
        peak_utc_s=peak_s,
        energy_eur=sum(kwh * price for kwh, price in priced) if priced else None,
        priced_kwh=sum(kwh for kwh, _ in priced),
    )


def _powers(means: Means, span: Sequence[int], *, with_pv: bool) -> Iterator[QuarterPowers]:
    for t in span:
        pv_w = means[PV].get(t) if with_pv else 0.0
        genset = (means[GENSET].get(t) or 0.0) > 0
        yield QuarterPowers(
            means[GRID].get(t), pv_w, means[LOAD].get(t), means[NODES].get(t), genset, means[CARBON].get(t)
        )
