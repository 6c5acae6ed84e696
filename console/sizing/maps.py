"""The map of savings: as text, as a picture, as rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from console.replay.canvas import PITCH, Canvas, Colour
from console.sizing.sweep import Outcome, Point

COLUMNS = (
    "tariff", "pv_kwp", "energy_kwh", "power_kw", "saving_battery_pct", "saving_site_pct", "wanted_holds",
    "bare_eur", "no_battery_eur", "skerry_eur", "perfect_foresight_eur", "captured_pct", "peak_kw", "throughput_kwh",
    "note",
)  # fmt: skip
CELL = 8  # columns of a cell
BOX = (72, 36)  # pixels of a cell
MARGIN, TITLE = 90, 40
BLACK, HOLDS, FAILS, NONE = (48, 48, 48), (150, 205, 150), (222, 222, 222), (246, 246, 246)


def terminal(outcomes: Sequence[Outcome], points: Sequence[Point], want_pct: float | None, against: str) -> list[str]:
    """One table for each tariff and PV: rows battery energy, columns power, cells the saving in %.

    `*` marks where the wanted saving holds, `x` what cannot be built, `·` what was not played.
    """
    known = {one.point: one for one in outcomes}
    lines = []
    for tariff, pv_kwp in _sheets(points):
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


def _sheets(points: Sequence[Point]) -> list[tuple[str, float]]:
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
    savings = {one.point: saved for one in outcomes if (saved := one.saving_pct(against)) is not None}
    whose = "without the battery" if against == "battery" else "without battery and PV"
    if savings:
        best = max(savings, key=lambda p: (savings[p], -p.energy_kwh, -p.power_kw))
        yield f"most      {savings[best]:.1f} % of the bill {whose}: {_words(best)}"
    if want_pct is not None and savings:
        enough = [point for point, saved in savings.items() if saved >= want_pct]
        yield f"wanted    {want_pct:g} % holds at {len(enough)} of {len(savings)} points" + (" (*)" if enough else "")
        if enough:
            yield f"smallest  {_words(min(enough, key=lambda p: (p.energy_kwh, p.power_kw, p.pv_kwp)))}"
    for why in dict.fromkeys(one.why for one in outcomes if one.why):
        yield f"x         {why}"
    if len(outcomes) < len(points):
        yield f"partial   {len(outcomes)} of {len(points)} points were played"


def _words(point: Point) -> str:
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
            writer.writerow((point.tariff, point.pv_kwp, point.energy_kwh, point.power_kw, *shown, one.why))


def write_png(
    path: Path, outcomes: Sequence[Outcome], points: Sequence[Point], want_pct: float | None, against: str
) -> None:
    """The same maps below each other; green is where the wanted saving holds, or any saving if none is wanted."""
    known = {one.point: one for one in outcomes}
    powers, energies = sorted({p.power_kw for p in points}), sorted({p.energy_kwh for p in points}, reverse=True)
    sheets = _sheets(points)
    height = TITLE + len(energies) * BOX[1] + 16
    canvas = Canvas(max(MARGIN + len(powers) * BOX[0] + 16, 480), len(sheets) * height)
    for number, (tariff, pv_kwp) in enumerate(sheets):
        top = number * height
        canvas.text(4, top + 4, f"saving % {tariff} PV {pv_kwp:g} kWp", BLACK)
        for x, kw in enumerate(powers):
            canvas.text(MARGIN + x * BOX[0] + 4, top + TITLE - 14, f"{kw:g} kW", BLACK)
        for y, kwh in enumerate(energies):
            corner = top + TITLE + y * BOX[1]
            canvas.text(4, corner + 12, f"{kwh:g} kWh", BLACK)
            for x, kw in enumerate(powers):
                one = known.get(Point(tariff, pv_kwp, kwh, kw))
                saved = None if one is None else one.saving_pct(against)
                _box(canvas, MARGIN + x * BOX[0], corner, _colour(saved, want_pct or 0.0))
                words = "-" if saved is None else f"{saved:.1f}"
                canvas.text(MARGIN + x * BOX[0] + (BOX[0] - PITCH * len(words)) // 2, corner + 12, words, BLACK)
    path.write_bytes(canvas.png())


def _colour(saved: float | None, want_pct: float) -> Colour:
    return NONE if saved is None else HOLDS if saved >= want_pct else FAILS


def _box(canvas: Canvas, x: int, y: int, colour: Colour) -> None:
    for column in range(x + 1, x + BOX[0] - 1):
        canvas.column(column, y + 1, y + BOX[1] - 2, colour)
