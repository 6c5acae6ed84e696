"""Computes a day's Energy IQ from the record: which quarter hours are known, their prices, and when orders interfered.

Reads the one-minute roll-ups, a day at a time, read-only; loads numpy and highspy when it computes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.charges.energy_prices import ImportPrices, market_behind, uses_market
from dispatch.billing.market_prices import NO_PRICES, PriceSeries, filled, mean_published
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.config.tariff_terms import TariffTerms
from dispatch.evaluation.energy_iq import VERSION, Iq, Quarter, day_and_month
from dispatch.model.decoding import with_reasons
from dispatch.model.forecast import QUARTER_S
from storage.reader import Archive
from storage.signals import MARKET_PRICE

MINUTE_S = 60
LEAST_MINUTES = 8  # of a quarter hour on record: more than half of it
LOAD, PV, BATTERY, SOC, PRICE = "site_load.w", "pv.w", "pcs.w", "soc_pct", "price.eur_per_kwh"
GRID = "grid.w"
ORDERED, ABLE = "decision.ordered", "decision.able"  # shares of the time
TOUCHED = 0.01  # of a quarter hour: 9 s
ON_GENSET = "decision.on_genset"  # the same; only on a site with a generator
SIGNALS = (LOAD, GRID, PV, BATTERY, SOC, PRICE, MARKET_PRICE, ORDERED, ABLE, ON_GENSET)

Minutes = Mapping[str, Mapping[int, tuple[float, float]]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A day's Energy IQ and that of its month up to the day's end, and what they were computed from."""

    day: str  # "2025-09-16", of the site
    iq: Iq
    month: Iq
    made_utc_s: float
    inputs: str  # digest of what the site file said of battery, limits, tariff and reserve
    version: int = VERSION
    notes: tuple[str, ...] = ()

    def fits(self, config: DispatchConfig) -> bool:
        """Whether it was made by this definition, of this site file."""
        return self.version == VERSION and self.inputs == digest(config)


def kept_reports(kept: dict[str, Any]) -> dict[str, Report]:
    """The reports of the record's memory by day, as this or an earlier version wrote them.

    Raises msgspec.ValidationError.
    """
    by_day = msgspec.convert(kept, dict[str, Any])  # a damaged record may hold anything
    return {day: msgspec.convert(with_reasons(report, Report), Report) for day, report in by_day.items()}


# Of a PCS, what 0.1.0 counted; a key that says how to reach it is no reason to compute a day anew.
PCS_FIELDS = ("id", "battery", "charge_w", "discharge_w", "url", "unit", "revert_s")
# Keys of [tariff], [grid] and [[battery]] that change no figure; `digest` has co2_g_per_kwh where CO2 has a price.
WITHOUT_EFFECT = frozenset(
    {
        "prices_as_declared",
        "connection",
        "isolation_min_ohm",
        "co2_g_per_kwh",
        "co2_feed",
        "balance_every_days",
        "balance_soc_pct",
        "balance_hold_s",
    }
)
# Keys of [grid], [tariff] and [[battery]] that came after 0.1.0: at their defaults a day's figures are those of before.
LATER = frozenset(
    {
        "export_window_s",
        "export_margin_w",
        "charge_temp_min_c",
        "charge_temp_max_c",
        "discharge_temp_min_c",
        "discharge_temp_max_c",
        "unmonitored_w",
        "window",
        "charge",
        "holidays",
        "currency",
        "eur_per",
        "power_factor",
        "full_load_h",
        "feed",
        "file_column",
        "file_timezone",
        "co2_eur_per_tonne",
        "replacement_eur_per_kwh",
        "cycle_life",
        "calendar_soc_pct",
        "calendar_eur_per_kwh_day",
        "billed_peaks_kw",
        "battery_since",
    }
)


def digest(config: DispatchConfig) -> str:
    """What the figures depend on besides the record, as 12 hex digits."""
    pcs = [{name: getattr(one, name) for name in PCS_FIELDS if hasattr(one, name)} for one in config.pcs]
    grid, tariff = _counted(config.grid), _counted(config.tariff)
    if config.tariff.co2_eur_per_tonne:
        tariff["co2_g_per_kwh"] = config.tariff.co2_g_per_kwh
    parts = (grid, config.timezone, config.reserve, [_counted(b, BatteryConfig) for b in config.batteries], pcs, tariff)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]


def _counted(section: msgspec.Struct, kind: type[msgspec.Struct] | None = None) -> dict[str, Any]:
    """The keys of a section that its days' figures depend on; `kind`: of all its keys those that dispatch uses."""
    return {
        field.name: getattr(section, field.name)
        for field in msgspec.structs.fields(kind or section)
        if field.name not in WITHOUT_EFFECT
        and not (field.name in LATER and getattr(section, field.name) == _default(field))
    }


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def local_day(day: date, timezone: str) -> tuple[int, int]:
    """(begin, end) of a local calendar day, POSIX seconds: 23, 24 or 25 h."""
    zone = ZoneInfo(timezone)
    begin, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (day, day + timedelta(days=1)))
    return int(begin.timestamp()), int(end.timestamp())


def today(utc_s: float, timezone: str) -> date:
    """The local calendar day of an instant."""
    return datetime.fromtimestamp(utc_s, ZoneInfo(timezone)).date()


def make_report(
    archive: Archive,
    config: DispatchConfig,
    day: date,
    now_utc_s: float,
    prices: PriceSeries = NO_PRICES,
    *,
    causes: bool = True,
) -> Report:
    """The report of a day from the record; a day that still runs is judged up to the last whole quarter hour.

    prices: the market's, for quarter hours whose price is not on record.
    Raises NoRecords, QueryTimeout, SolverFailed; ValueError for a day that has not begun.
    """
    begin_s, end_s = local_day(day, config.timezone)
    if begin_s > now_utc_s:
        raise ValueError(f"{day}: expected a day that has begun; at the site it is {today(now_utc_s, config.timezone)}")
    end_s = min(end_s, max(begin_s, int(now_utc_s // QUARTER_S) * QUARTER_S))
    month_s, _ = local_day(day.replace(day=1), config.timezone)
    quarters, notes = read_quarters(archive, config, month_s, end_s, prices)
    iq, month = day_and_month(config, quarters, (begin_s, end_s), month_s, causes=causes)
    return Report(
        day=day.isoformat(), iq=iq, month=month, made_utc_s=now_utc_s, inputs=digest(config), notes=tuple(notes)
    )


def read_quarters(
    archive: Archive, config: DispatchConfig, begin_s: int, end_s: int, prices: PriceSeries = NO_PRICES
) -> tuple[list[Quarter], list[str]]:
    """What is on record of [begin, end), whole quarter hours of UTC; and what is to be said of it.

    Quarter hours in which a generator fed the site are left out: what the grid meter showed was no import.
    """
    known: list[tuple[Quarter, float | None]] = []
    left_out: set[int] = set()
    for start_s in range(begin_s, end_s, 86400):
        until_s = min(start_s + 86400, end_s)
        minutes = archive.minutes(SIGNALS, start_s - MINUTE_S, until_s)
        left_out |= {t - t % QUARTER_S for t, (mean, _) in minutes[ON_GENSET].items() if mean > 0}
        known += _quarters(minutes, config.tariff, config.timezone, start_s, until_s)
    on_grid = [(quarter, price) for quarter, price in known if quarter.start_utc_s not in left_out]
    quarters, notes = _priced(on_grid, prices, config.timezone)
    if len(known) > len(on_grid):
        notes.append(f"{len(known) - len(on_grid)} quarter hours with the generator are left out: it is no import")
    return quarters, notes


def _quarters(
    minutes: Minutes, terms: TariffTerms, timezone: str, begin_s: int, end_s: int
) -> Iterator[tuple[Quarter, float | None]]:
    """Quarter hours with net load, battery and SoC on record for more than half of them, each with its import price.

    In a minute whose load is not known, because a PV inverter was silent, the net load stands for load and PV:
    the bill depends on nothing else.
    """
    loads, grids, pvs, powers, socs = (minutes[name] for name in (LOAD, GRID, PV, BATTERY, SOC))
    net = {t: (grids[t][0] + powers[t][0], 0.0) for t in grids.keys() & powers.keys() - loads.keys()}
    loads, pvs = {**loads, **net}, {t: row for t, row in pvs.items() if t not in net}
    for start_s in range(begin_s, end_s, QUARTER_S):
        span = range(start_s, start_s + QUARTER_S, MINUTE_S)
        whole = [t for t in span if t in loads and t in powers and t in socs]
        if len(whole) < LEAST_MINUTES:
            continue
        before = socs.get(start_s - MINUTE_S)
        yield (
            Quarter(
                start_utc_s=start_s,
                load_w=sum(loads[t][0] for t in whole) / len(whole),
                # where load is known PV is, too: it is part of the balance
                pv_w=sum(pvs[t][0] if t in pvs else 0.0 for t in whole) / len(whole),
                battery_w=sum(powers[t][0] for t in whole) / len(whole),
                begin_soc_pct=socs[whole[0]][0] if before is None else before[1],
                end_soc_pct=socs[whole[-1]][1],
                eur_per_mwh=0.0,
                unable=_share(minutes[ABLE], span, 1.0) < 1 - TOUCHED,
                ordered=_share(minutes[ORDERED], span, 0.0) > TOUCHED,
            ),
            _market_eur_per_mwh(
                terms, timezone, start_s, _means(minutes[MARKET_PRICE], span), _means(minutes[PRICE], span)
            ),
        )


def _share(minutes: Mapping[int, tuple[float, float]], span: range, unknown: float) -> float:
    """The mean over a quarter hour of what is 0 or 1; `unknown` where older records do not tell."""
    known = [minutes[t][0] for t in span if t in minutes]
    return sum(known) / len(known) if known else unknown


def _means(minutes: Mapping[int, tuple[float, float]], span: range) -> list[float]:
    """Of each minute of a quarter hour that is on record."""
    return [minutes[t][0] for t in span if t in minutes]


def _market_eur_per_mwh(
    terms: TariffTerms, timezone: str, start_s: int, recorded: list[float], import_eur_per_kwh: list[float]
) -> float | None:
    """The market's price of a quarter hour: as `recorded`, else as it is behind the recorded import prices (records of
    earlier versions have no other; wrong where [tariff] has changed since). None without one.

    Where no charge follows the market's price, any would do: 0.
    """
    if not uses_market(terms):
        return 0.0
    if recorded:
        return sum(recorded) / len(recorded)
    if not import_eur_per_kwh:
        return None
    price = sum(import_eur_per_kwh) / len(import_eur_per_kwh)
    if terms.charge:
        return market_behind(ImportPrices(terms, timezone), start_s, price)
    return 1000 * (price / (1 + terms.vat_pct / 100) - terms.fee_eur_per_kwh - terms.tax_eur_per_kwh)


def _published(prices: PriceSeries, start_utc_s: int) -> float | None:
    """The published price of a quarter hour, which may hold several."""
    return mean_published(prices, start_utc_s, start_utc_s + QUARTER_S)


def _priced(
    known: list[tuple[Quarter, float | None]], prices: PriceSeries, timezone: str
) -> tuple[list[Quarter], list[str]]:
    """Each with a price: as recorded, else as published, else the mean of that hour on known days."""
    starts = [quarter.start_utc_s for quarter, _ in known]
    market = [price if price is not None else _published(prices, q.start_utc_s) for q, price in known]
    series = PriceSeries(tuple(starts), tuple(market), starts[-1] + QUARTER_S if starts else 0)
    complete, missing = filled(series, starts, timezone)
    notes = []
    if complete is None and starts:
        complete = [0.0] * len(starts)
        notes.append("no market price on record or in the site's price file: judged by fees, tax and peak alone")
    elif missing:
        notes.append(
            f"{missing} of {len(starts)} quarter hours have no price, the mean of that hour on other days instead"
        )
    quarters = [msgspec.structs.replace(q, eur_per_mwh=p) for (q, _), p in zip(known, complete or [], strict=True)]
    return quarters, notes
