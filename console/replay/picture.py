"""Draws a replay: price, power, battery and SoC over site time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from console.plotting import period
from console.replay.engine import Case, Schedule
from dispatch.billing.charges.energy_prices import energy_prices, uses_market
from dispatch.billing.market_prices import filled, published
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.wording.formatting import span

SIZE_IN = (14.0, 10.0)
MOST_STEPS = 3000  # of more, several are drawn as one column
MOST_COLUMNS = 750
COLUMNS_S = (60, 300, 900, 3600, 6 * 3600, 86400)
PRICE_STEP_S = 900  # prices change on the quarter hour
# Of ticks a year, month, day, hour, minute, second apart; and of those that begin the next longer unit.
FORMATS = ["%Y", "%b\n%Y", "%a\n%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
ZERO_FORMATS = ["%Y", "%b\n%Y", "%b\n%Y", "%a\n%d %b", "%H:%M", "%H:%M:%S"]


class Columns(NamedTuple):
    """Values over time: each holds from its edge, POSIX seconds, to the next one."""

    edges_s: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def draw(figure: Figure, site: str, case: Case, schedule: Schedule, billed_w: Mapping[str, float]) -> None:
    """Set the figure's size and put the panels on it; they share the time axis.

    `site`: its name. `billed_w`: the billed demand, W, of each period ("2025-09" or "2025").
    """
    zone = ZoneInfo(case.config.timezone)
    figure.set_size_inches(*SIZE_IN)
    prices, power, battery, soc = figure.subplots(4, 1, sharex=True, height_ratios=(2, 4, 2, 2))
    _prices(prices, case, schedule)
    _power(power, case.config, schedule, billed_w)
    battery.axhline(0, color="black", linewidth=0.8)
    _series(battery, schedule, _kw(schedule.battery_w), color="tab:green", label="battery\n(above 0: discharge)")
    _series(soc, schedule, np.asarray(schedule.soc_pct), color="tab:blue", label="SoC")
    if case.config.batteries:
        reserve_pct = reserve_soc_pct(case.config)
        soc.axhline(reserve_pct, color="black", linestyle="--", label=f"reserve {reserve_pct:.0f} %")
    soc.set_ylim(0, 100)
    for panel, label in ((prices, "price, ct/kWh"), (power, "power, kW"), (battery, "battery, kW"), (soc, "SoC, %")):
        panel.set_ylabel(label)
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.align_ylabels()
    figure.suptitle(_title(site, schedule, zone))
    _time_axis(soc, schedule, zone)


def _title(site: str, schedule: Schedule, zone: ZoneInfo) -> str:
    title = f"{site}: replay of {period(schedule.start_s, schedule.end_s, zone)}, steps of {span(schedule.step_s)}"
    column_s = schedule.step_s * steps_per_column(schedule)
    if column_s > schedule.step_s:
        title += f"\nlines: means over {span(column_s)}; bands: the lowest and the highest step in it"
    return title


def _time_axis(panel: Axes, schedule: Schedule, zone: ZoneInfo) -> None:
    locator = AutoDateLocator(tz=zone)
    formatter = ConciseDateFormatter(locator, tz=zone, formats=FORMATS, zero_formats=ZERO_FORMATS, show_offset=False)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(formatter)
    panel.set_xlim(*_days((schedule.start_s, schedule.end_s)))
    panel.set_xlabel(f"time, {zone.key}")


def _prices(panel: Axes, case: Case, schedule: Schedule) -> None:
    """What an imported kWh costs, fees and taxes included; dotted where no price was published."""
    first = schedule.start_s // PRICE_STEP_S + 1
    starts = [schedule.start_s, *(k * PRICE_STEP_S for k in range(first, -(-schedule.end_s // PRICE_STEP_S)))]
    market, _ = filled(case.prices, starts, case.config.timezone)
    tariff = case.config.tariff
    ct = 100 * np.array(energy_prices(tariff, case.config.timezone, starts, market or [0.0] * len(starts)).buy)
    missing = np.array([uses_market(tariff) and published(case.prices, t) is None for t in starts])
    rows = max(1, round(schedule.step_s * steps_per_column(schedule) / PRICE_STEP_S))
    edges_s = np.array([*starts, schedule.end_s])
    shown, assumed = in_columns(ct, edges_s, rows), in_columns(missing, edges_s, rows).high > 0
    if not assumed.all():
        _stairs(panel, shown, ~assumed, color="black", label="import, all included")
    if assumed.any():
        _stairs(panel, shown, assumed, color="0.4", linestyle=":", label="import, assumed:\nnot published")


def _power(panel: Axes, config: DispatchConfig, schedule: Schedule, billed_w: Mapping[str, float]) -> None:
    load, pv, battery, shed = map(_kw, (schedule.load_w, schedule.pv_w, schedule.battery_w, schedule.shed_w))
    _series(panel, schedule, load, color="0.8", fill=True, label="load")
    if pv.any():
        _series(panel, schedule, pv, band=False, color="tab:orange", linestyle=":", label="PV")
    if shed.any():
        _series(panel, schedule, shed, band=False, color="tab:red", linestyle="-.", label="taken by GPU caps")
    _series(panel, schedule, load - shed - pv - battery, color="tab:blue", label="grid\n(above 0: import)")
    contract_kw = config.grid.contracted_peak_w / 1000
    panel.axhline(contract_kw, color="black", linestyle="--", label=f"contract {contract_kw:g} kW")
    if config.tariff.demand_terms.eur_per_kw > 0:
        _billed(panel, config, schedule, billed_w)


def _billed(panel: Axes, config: DispatchConfig, schedule: Schedule, billed_w: Mapping[str, float]) -> None:
    """A line over each month, or year, at the demand that it is billed."""
    per, zone = config.tariff.demand_terms.per, ZoneInfo(config.timezone)
    label = f"billed demand of the {per}"
    if len(billed_w) == 1:
        label += f"\n{next(iter(billed_w.values())) / 1000:.1f} kW"
    for number, (name, w) in enumerate(billed_w.items()):
        year, month = int(name[:4]), int(name[5:] or 1)
        after = (year + month // 12, month % 12 + 1) if per == "month" else (year + 1, 1)
        begin_s, end_s = (datetime(*at, 1, tzinfo=zone).timestamp() for at in ((year, month), after))
        inside = _days((max(begin_s, schedule.start_s), min(end_s, schedule.end_s)))
        panel.plot(inside, [w / 1000] * 2, color="tab:purple", linestyle="-.", label="" if number else label)


# ── from values to lines ────────────────────────────────────────────────────────────────────────────────────────────


def steps_per_column(schedule: Schedule) -> int:
    """How many steps share a column of the picture; more than 1 are drawn as mean, lowest and highest."""
    if len(schedule) <= MOST_STEPS:
        return 1
    length_s = schedule.step_s * len(schedule)
    column_s = next((s for s in COLUMNS_S if length_s <= s * MOST_COLUMNS), COLUMNS_S[-1])
    return max(1, round(column_s / schedule.step_s))


def in_columns(values: np.ndarray, edges_s: np.ndarray, rows: int) -> Columns:
    """So many values together; the last column may have fewer. `edges_s` has one more than there are values."""
    first = np.arange(0, len(values), rows)
    last = np.append(first, len(values))
    mean = np.add.reduceat(values.astype(float), first) / np.diff(last)
    return Columns(edges_s[last], mean, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first))


def _series(panel: Axes, schedule: Schedule, values: np.ndarray, band: bool = True, **style: Any) -> None:
    """A value per step of the schedule, held over it."""
    edges_s = schedule.start_s + schedule.step_s * np.arange(len(values) + 1)
    shown = in_columns(values, edges_s, steps_per_column(schedule))
    _stairs(panel, shown, np.full(len(shown.mean), True), band, **style)


def _stairs(panel: Axes, shown: Columns, where: np.ndarray, band: bool = True, **style: Any) -> None:
    """A line at the means, of those only that are chosen, and a band where low and high differ."""
    edges = _days(shown.edges_s)
    mean, low, high = (np.where(where, values, np.nan) for values in (shown.mean, shown.low, shown.high))
    panel.stairs(mean, edges, baseline=0.0 if style.get("fill") else None, **style)
    if band and (shown.high > shown.low).any():
        panel.stairs(high, edges, baseline=low, fill=True, color=style["color"], alpha=0.35)


def _kw(watts: Sequence[float]) -> np.ndarray:
    return np.asarray(watts) / 1000


def _days(instants_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """POSIX seconds as matplotlib counts time."""
    return np.asarray(date2num((1000 * np.asarray(instants_s)).astype("datetime64[ms]")))
