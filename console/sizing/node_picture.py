"""Draws how many more nodes fit behind the contract: nodes over battery energy, a map for each tariff, PV and power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from console.sizing.map_frame import MOST_MAPS, NOT_BUILT, NOT_PLAYED, has_figures, label, panels
from console.sizing.sweep import Outcome, Point

COLOURS = LinearSegmentedColormap.from_list("capped", ["#ffffff", "#e8a33d"])  # light: what is on them is black
TOO_MANY = "#bdbdbd"  # cells that do not fit


class Sheet(NamedTuple):
    """The outcomes of one tariff, PV and PCS power; None: not played."""

    tariff: str
    pv_kwp: float
    power_kw: float
    nodes: list[int]
    energies_kwh: list[float]
    cells: Mapping[tuple[int, float], Outcome | None]

    def at(self, row: int, column: int) -> Outcome | None:
        """By nodes and energy."""
        return self.cells.get((self.nodes[row], self.energies_kwh[column]))

    def places(self) -> Iterator[tuple[int, int, Outcome | None]]:
        """Row, column and outcome of each cell."""
        for row in range(len(self.nodes)):
            for column in range(len(self.energies_kwh)):
                yield row, column, self.at(row, column)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.nodes), len(self.energies_kwh)


def sheets(outcomes: Sequence[Outcome], points: Sequence[Point]) -> list[Sheet]:
    """A map for each tariff, PV and power that was asked for."""
    known = {one.point: one for one in outcomes}
    found = []
    for tariff, pv_kwp, power_kw in dict.fromkeys((p.tariff, p.pv_kwp, p.power_kw) for p in points):
        own = [p for p in points if (p.tariff, p.pv_kwp, p.power_kw) == (tariff, pv_kwp, power_kw)]
        nodes, energies_kwh = sorted({p.nodes for p in own}), sorted({p.energy_kwh for p in own})
        cells = {(p.nodes, p.energy_kwh): known.get(p) for p in own}
        found.append(Sheet(tariff, pv_kwp, power_kw, nodes, energies_kwh, cells))
    return found


def draw_nodes(figure: Figure, title: str, outcomes: Sequence[Outcome], points: Sequence[Point]) -> None:
    """Set the figure's size and put the maps on it. Below the black line the nodes fit."""
    every = sheets(outcomes, points)
    shown = every[:MOST_MAPS]
    drawn = panels(figure, title, [one.shape for one in shown], len(every))
    if not shown:
        return
    capped = [pct for one in shown for _, _, cell in one.places() if (pct := _capped_pct(cell)) is not None]
    norm = Normalize(0, max([*capped, 0.01]))
    for panel, one in zip(drawn, shown, strict=True):
        _draw(panel, one, norm)
    text = "what caps take of the load's energy, %"
    figure.colorbar(ScalarMappable(norm, COLOURS), ax=figure.axes, label=text, fraction=0.05, aspect=40)
    figure.legend(handles=list(_legend(shown)), loc="outside lower left")


def _capped_pct(one: Outcome | None) -> float | None:
    return one.headroom.capped_pct if one is not None and one.headroom is not None and one.headroom.fits else None


def _draw(panel: Axes, sheet: Sheet, norm: Normalize) -> None:
    capped = np.full(sheet.shape, np.nan)
    for row, column, one in sheet.places():
        if (pct := _capped_pct(one)) is not None:
            capped[row, column] = pct
        _draw_cell(panel, row, column, one)
        if has_figures(sheet.shape) and (text := _text(one)):
            panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize="small")
    panel.pcolormesh(np.ma.masked_invalid(capped), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.5)
    panel.add_collection(LineCollection(_boundary(sheet), colors="black", linewidths=2, clip_on=False), autolim=False)
    energies, nodes = [f"{kwh:g}" for kwh in sheet.energies_kwh], [str(count) for count in sheet.nodes]
    rest = f"PV {sheet.pv_kwp:g} kWp, {sheet.power_kw:g} kW"
    label(panel, sheet.tariff, rest, ("battery energy, kWh", energies), ("more compute nodes", nodes))
    panel.set_xlim(0, len(sheet.energies_kwh))
    panel.set_ylim(0, len(sheet.nodes))


def _draw_cell(panel: Axes, row: int, column: int, one: Outcome | None) -> None:
    """What has no share of caps: too many nodes, or nothing played."""
    if one is None or one.headroom is None:
        panel.plot(column + 0.5, row + 0.5, NOT_PLAYED if one is None else NOT_BUILT, color="black")
    elif not one.headroom.fits:
        corners = [column, column + 1, column + 1, column], [row, row, row + 1, row + 1]
        panel.fill(*corners, facecolor=TOO_MANY, edgecolor="white", linewidth=0.5)


def _text(one: Outcome | None) -> str:
    if one is None or one.headroom is None:
        return ""
    return f"{one.headroom.capped_pct:.2f}" if one.headroom.fits else f"+{one.headroom.over_kw:.1f} kW"


def _boundary(sheet: Sheet) -> list[list[tuple[float, float]]]:
    """Above the most nodes that fit with each battery, with none below that does not fit."""
    lines: list[list[tuple[float, float]]] = []
    before = None
    for column in range(len(sheet.energies_kwh)):
        fits = 0
        while fits < len(sheet.nodes) and _capped_pct(sheet.at(fits, column)) is not None:
            fits += 1
        lines.append([(column, fits), (column + 1, fits)])
        if before is not None and before != fits:
            lines.append([(column, before), (column, fits)])
        before = fits
    return lines


def _legend(shown: Sequence[Sheet]) -> Iterator[Artist]:
    """What the signs mean, of those that are in the picture."""
    cells = [one for sheet in shown for _, _, one in sheet.places()]
    yield Line2D([], [], color="black", linewidth=2, label="below it they fit behind the contract")
    if any(one is not None and one.headroom is not None and not one.headroom.fits for one in cells):
        yield Patch(facecolor=TOO_MANY, label="too many: kW above the contract")
    if any(one is not None and one.headroom is None for one in cells):
        yield Line2D([], [], marker=NOT_BUILT, color="black", linestyle="", label="cannot be built")
    if any(one is None for one in cells):
        yield Line2D([], [], marker=NOT_PLAYED, color="black", linestyle="", label="not played")
