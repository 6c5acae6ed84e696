"""Draws how many more nodes fit behind the contract: nodes over battery energy, a map for each tariff, PV and power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
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

from console.sizing.picture import ABREAST, CELL_IN, LONGEST_NAME, MARGIN_IN, MOST_LABELS, MOST_MAPS, SMALL_CELL_IN
from console.sizing.sweep import Outcome, Point

COLOURS = LinearSegmentedColormap.from_list("capped", ["#ffffff", "#e8a33d"])  # light: what is on them is black
TOO_MANY = "#bdbdbd"  # cells that do not fit
NOT_BUILT, NOT_PLAYED = "x", "."  # markers


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
    def has_figures(self) -> bool:
        """Whether there is room for figures in the cells."""
        return max(len(self.nodes), len(self.energies_kwh)) <= MOST_LABELS


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
    if len(every) > len(shown):
        title += f"\n{len(shown)} of {len(every)} maps; all points are in sizing.csv"
    figure.suptitle(title)
    if not shown:
        return
    down, across = ceil(len(shown) / ABREAST), min(ABREAST, len(shown))
    width, height = CELL_IN if all(one.has_figures for one in shown) else SMALL_CELL_IN
    figure.set_size_inches(
        max(across * (MARGIN_IN[0] + width * max(len(one.energies_kwh) for one in shown)) + 1.5, 8.0),
        max(down * (MARGIN_IN[1] + height * max(len(one.nodes) for one in shown)) + 1.5, 4.0),
    )
    capped = [pct for one in shown for _, _, cell in one.places() if (pct := _capped_pct(cell)) is not None]
    norm = Normalize(0, max([*capped, 0.01]))
    panels = figure.subplots(down, across, squeeze=False)
    for panel, one in zip(panels.flat, shown, strict=False):
        _draw(panel, one, norm)
    for panel in panels.flat[len(shown) :]:
        panel.remove()
    label = "what caps take of the load's energy, %"
    figure.colorbar(ScalarMappable(norm, COLOURS), ax=figure.axes, label=label, fraction=0.05, aspect=40)
    figure.legend(handles=list(_legend(shown)), loc="outside lower left")


def _capped_pct(one: Outcome | None) -> float | None:
    return one.headroom.capped_pct if one is not None and one.headroom is not None and one.headroom.fits else None


def _draw(panel: Axes, sheet: Sheet, norm: Normalize) -> None:
    capped = np.full((len(sheet.nodes), len(sheet.energies_kwh)), np.nan)
    for row, column, one in sheet.places():
        if (pct := _capped_pct(one)) is not None:
            capped[row, column] = pct
        _draw_cell(panel, row, column, one)
        if sheet.has_figures and (text := _text(one)):
            panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize="small")
    panel.pcolormesh(np.ma.masked_invalid(capped), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.5)
    panel.add_collection(LineCollection(_boundary(sheet), colors="black", linewidths=2, clip_on=False), autolim=False)
    panel.grid(False)
    tariff = sheet.tariff if len(sheet.tariff) <= LONGEST_NAME else f"{sheet.tariff[:LONGEST_NAME]}…"
    panel.set_title(f"tariff {tariff}, PV {sheet.pv_kwp:g} kWp, {sheet.power_kw:g} kW", fontsize="medium")
    for axis, names, label in (
        (panel.xaxis, [f"{kwh:g}" for kwh in sheet.energies_kwh], "battery energy, kWh"),
        (panel.yaxis, [str(nodes) for nodes in sheet.nodes], "more compute nodes"),
    ):
        ticks = range(0, len(names), ceil(len(names) / MOST_LABELS))
        axis.set_ticks([k + 0.5 for k in ticks], [names[k] for k in ticks])
        axis.set_label_text(label)
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
