"""Formats the map of savings as text and as rows. `picture` draws it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from console.sizing.sweep import Outcome, Point
from storage.csv_fields import field

COLUMNS = (
    "tariff", "pv_kwp", "energy_kwh", "power_kw", "saving_battery_pct", "saving_site_pct", "wanted_holds",
    "bare_eur", "no_battery_eur", "skerry_eur", "perfect_foresight_eur", "captured_pct", "peak_kw", "throughput_kwh",
    "note",
)  # fmt: skip
CELL = 8  # columns of a cell


def terminal(outcomes: Sequence[Outcome], points: Sequence[Point], want_pct: float | None, against: str) -> list[str]:
    """One table for each tariff and PV: rows battery energy, columns power, cells the saving in %.

    `*` marks where the wanted saving holds, `x` what cannot be built, `·` what was not played.
    """
    known = {one.point: one for one in outcomes}
    lines = []
    for tariff, pv_kwp in sheets(points):
        sheet = [p for p in points if (p.tariff, p.pv_kwp) == (tariff, pv_kwp)]
        powers = sorted({p.power_kw for p in sheet})
        lines.append(f"saving %, tariff {tariff}, PV {pv_kwp:g} kWp")
        lines.append(f"{'':<12}" + "".join(f"{f'{kw:g} kW':>{CELL}}" for kw in powers))
        for kwh in sorted({p.energy_kwh for p in sheet}, reverse=True):
            row = (_cell(known.get(Point(tariff, pv_kwp, kwh, kw)), want_pct, against) for kw in powers)
            lines.append(f"{f'{kwh:g} kWh':<12}" + "".join(f"{cell:>{CELL}}" for cell in row))
        lines.append("")
    lines += _verdict(outcomes, points, want_pct, against)
    return lines


def sheets(points: Sequence[Point]) -> list[tuple[str, float]]:
    """The tariffs and PV peak powers, a table for each."""
    return list(dict.fromkeys((p.tariff, p.pv_kwp) for p in points))


def _cell(one: Outcome | None, want_pct: float | None, against: str) -> str:
    if one is None:
        return "· "
    saved = one.saving_pct(against)
    if saved is None:
        return "x "
    return f"{saved:.1f}{'*' if want_pct is not None and saved >= want_pct else ' '}"


def _verdict(
    outcomes: Sequence[Outcome], points: Sequence[Point], want_pct: float | None, against: str
) -> Iterator[str]:
    """Where the wanted saving holds, the best there is, and what cannot be built."""
    savings = savings_pct(outcomes, against)
    if (best := best_point(outcomes, against)) is not None:
        yield f"most      {savings[best]:.1f} % of the bill {baseline_text(against)}: {point_text(best)}"
        if want_pct is not None:
            enough = sum(saved >= want_pct for saved in savings.values())
            yield f"wanted    {want_pct:g} % holds at {enough} of {len(savings)} points" + (" (*)" if enough else "")
            if (least := smallest_point(outcomes, want_pct, against)) is not None:
                yield f"smallest  {point_text(least)}"
    for why in dict.fromkeys(one.why for one in outcomes if one.why):
        yield f"x         {why}"
    if len(outcomes) < len(points):
        yield f"partial   {len(outcomes)} of {len(points)} points were played"


def savings_pct(outcomes: Sequence[Outcome], against: str) -> dict[Point, float]:
    """The saving of each point that has one, % of the bill."""
    return {one.point: saved for one in outcomes if (saved := one.saving_pct(against)) is not None}


def best_point(outcomes: Sequence[Outcome], against: str) -> Point | None:
    """The point that saves most, of several the smallest battery; None where no point has a saving."""
    savings = savings_pct(outcomes, against)
    return max(savings, key=lambda p: (savings[p], -p.energy_kwh, -p.power_kw), default=None)


def smallest_point(outcomes: Sequence[Outcome], want_pct: float, against: str) -> Point | None:
    """The smallest battery that saves at least `want_pct`; None where there is none."""
    enough = [point for point, saved in savings_pct(outcomes, against).items() if saved >= want_pct]
    return min(enough, key=lambda p: (p.energy_kwh, p.power_kw, p.pv_kwp), default=None)


def baseline_text(against: str) -> str:
    """Which bill the savings are a share of."""
    return "without the battery" if against == "battery" else "without battery and PV"


def point_text(point: Point) -> str:
    """A point for people."""
    return f"{point.energy_kwh:g} kWh, {point.power_kw:g} kW, PV {point.pv_kwp:g} kWp, tariff {point.tariff}"


def write_csv(path: Path, outcomes: Sequence[Outcome], want_pct: float | None, against: str) -> None:
    """A row for each point that was played."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in sorted(outcomes, key=lambda o: o.point):
            point, saved = one.point, one.saving_pct(against)
            held = "" if want_pct is None or saved is None else str(saved >= want_pct).lower()
            figures = (
                one.saving_pct("battery"), one.saving_pct("site"),
                held,
                one.bare_eur, one.none_eur, one.own_eur, one.best_eur, one.captured_pct, one.peak_kw,
                one.throughput_kwh,
            )  # fmt: skip
            shown = ("" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in figures)
            writer.writerow(
                (field(point.tariff), point.pv_kwp, point.energy_kwh, point.power_kw, *shown, field(one.why))
            )
