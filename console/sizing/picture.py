"""Draws a sizing: savings over battery energy and PCS power, a map for each tariff and PV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from console.sizing.map_frame import MOST_MAPS, NOT_BUILT, NOT_PLAYED, has_figures, label, panels
from console.sizing.maps import baseline_text, best_point, point_text, savings_pct, sheets, smallest_point
from console.sizing.sweep import Outcome, Point

COLOURS = LinearSegmentedColormap.from_list("saving", ["#ffffe5", "#6cb56c"])  # light: what is on them is black


class SavingMap(NamedTuple):
    """Savings of one tariff and PV, %: a row per energy, a column per power, NaN where there is none."""

    tariff: str
    pv_kwp: float
    energies_kwh: list[float]
    powers_kw: list[float]
    saved_pct: np.ndarray
    played: np.ndarray  # of bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.energies_kwh), len(self.powers_kw)

    def cell(self, point: Point) -> tuple[int, int] | None:
        """Row and column of a point; None: it belongs to another map."""
        if (point.tariff, point.pv_kwp) != (self.tariff, self.pv_kwp):
            return None
        return self.energies_kwh.index(point.energy_kwh), self.powers_kw.index(point.power_kw)


class Mark(NamedTuple):
    """A point that is pointed out."""

    point: Point
    marker: str
    label: str


def draw(
    figure: Figure,
    title: str,
    outcomes: Sequence[Outcome],
    points: Sequence[Point],
    want_pct: float | None,
    against: str,
) -> None:
    """Set the figure's size and put the maps on it, with the highest saving and where the wanted saving holds."""
    names = sheets(points)
    maps = [saving_map(*name, outcomes, points, against) for name in names[:MOST_MAPS]]
    drawn = panels(figure, title, [one.shape for one in maps], len(names))
    if not maps:
        return
    saved = np.concatenate([one.saved_pct.ravel() for one in maps])
    saved = saved[~np.isnan(saved)]
    norm = Normalize(saved.min(), saved.max()) if saved.size else Normalize(0, 1)
    marks = list(_marks(outcomes, want_pct, against))
    for panel, one in zip(drawn, maps, strict=True):
        _draw_map(panel, one, norm)
        _draw_marks(panel, one, marks, want_pct)
    if saved.size:
        text = f"saving, % of the bill {baseline_text(against)}"
        figure.colorbar(ScalarMappable(norm, COLOURS), ax=figure.axes, label=text, fraction=0.05, aspect=40)
    if handles := list(_legend(maps, marks, want_pct)):
        figure.legend(handles=handles, loc="outside lower left")


def saving_map(
    tariff: str, pv_kwp: float, outcomes: Sequence[Outcome], points: Sequence[Point], against: str
) -> SavingMap:
    """The outcomes of this tariff and PV, over all the points that were asked for."""
    own = [point for point in points if (point.tariff, point.pv_kwp) == (tariff, pv_kwp)]
    energies_kwh, powers_kw = sorted({point.energy_kwh for point in own}), sorted({point.power_kw for point in own})
    shape = len(energies_kwh), len(powers_kw)
    made = SavingMap(tariff, pv_kwp, energies_kwh, powers_kw, np.full(shape, np.nan), np.zeros(shape, dtype=bool))
    for one in outcomes:
        if at := made.cell(one.point):
            saved = one.saving_pct(against)
            made.played[at] = True
            made.saved_pct[at] = np.nan if saved is None else saved
    return made


def _marks(outcomes: Sequence[Outcome], want_pct: float | None, against: str) -> Iterator[Mark]:
    saved = savings_pct(outcomes, against)
    if (best := best_point(outcomes, against)) is not None:
        yield Mark(best, "*", f"highest saving: {point_text(best)} ({saved[best]:.1f} %)")
    if want_pct is not None and (least := smallest_point(outcomes, want_pct, against)) is not None:
        label = f"smallest that saves at least {want_pct:g} %: {point_text(least)} ({saved[least]:.1f} %)"
        yield Mark(least, "D", label)


def _draw_map(panel: Axes, one: SavingMap, norm: Normalize) -> None:
    panel.pcolormesh(np.ma.masked_invalid(one.saved_pct), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.5)
    powers, energies = ([f"{value:g}" for value in values] for values in (one.powers_kw, one.energies_kwh))
    label(panel, one.tariff, f"PV {one.pv_kwp:g} kWp", ("PCS power, kW", powers), ("battery energy, kWh", energies))
    missing = np.isnan(one.saved_pct)
    for marker, cells in ((NOT_BUILT, missing & one.played), (NOT_PLAYED, ~one.played)):
        rows, columns = np.nonzero(cells)
        panel.plot(columns + 0.5, rows + 0.5, marker, color="black")
    if has_figures(one.shape):
        for row, column in np.argwhere(~missing):
            text = f"{one.saved_pct[row, column]:.1f}"
            panel.text(column + 0.5, row + 0.45, text, ha="center", va="center", fontsize="small")


def _draw_marks(panel: Axes, one: SavingMap, marks: Sequence[Mark], want_pct: float | None) -> None:
    """The marks of points in this map, above the figures of their cells, and a line around what saves enough."""
    for number, mark in enumerate(marks):
        if at := one.cell(mark.point):
            x, y = (20, 8) if has_figures(one.shape) else (4, 0)
            x = x if number else -x
            aside = offset_copy(panel.transData, panel.get_figure(root=True), x, y, units="points")
            panel.plot(at[1] + 0.5, at[0] + 0.5, mark.marker, color="black", markersize=7, transform=aside)
    if want_pct is not None:
        lines = _outline(np.nan_to_num(one.saved_pct, nan=-np.inf) >= want_pct)
        panel.add_collection(LineCollection(lines, colors="black", linewidths=2, clip_on=False), autolim=False)


def _outline(inside: np.ndarray) -> list[list[tuple[int, int]]]:
    """The edges between cells that are inside the area and cells that are not."""
    padded = np.pad(inside, 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # lines below a row
    along = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])  # lines left of a column
    return [[(x, y), (x + 1, y)] for y, x in across.tolist()] + [[(x, y), (x, y + 1)] for y, x in along.tolist()]


def _legend(maps: Sequence[SavingMap], marks: Sequence[Mark], want_pct: float | None) -> Iterator[Artist]:
    """What the signs mean, of those that are in the picture."""
    for mark in marks:
        yield Line2D([], [], marker=mark.marker, color="black", markersize=7, linestyle="", label=mark.label)
    if want_pct is not None and any((one.saved_pct >= want_pct).any() for one in maps):
        yield Line2D([], [], color="black", linewidth=2, label=f"at least {want_pct:g} %")
    if any((np.isnan(one.saved_pct) & one.played).any() for one in maps):
        yield Line2D([], [], marker=NOT_BUILT, color="black", linestyle="", label="cannot be built, or nothing to save")
    if not all(one.played.all() for one in maps):
        yield Line2D([], [], marker=NOT_PLAYED, color="black", linestyle="", label="not played")
