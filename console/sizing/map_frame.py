"""Lays out maps beside each other in a picture: sizes, panels, labels of axes. What is in the cells others draw."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_MAPS = 12  # in one picture; sizing.csv has all points
ABREAST = 3  # maps beside each other
MOST_LABELS = 12  # of an axis; where there are more values, cells have colours only
CELL_IN, SMALL_CELL_IN = (0.75, 0.42), (0.22, 0.22)  # with and without a figure in it
MARGIN_IN = (1.8, 1.4)  # of a map, for its labels
LONGEST_NAME = 30  # of a tariff in a title
NOT_BUILT, NOT_PLAYED = "x", "."  # markers


def has_figures(shape: tuple[int, int]) -> bool:
    """Whether there is room for figures in the cells of so many rows and columns."""
    return max(shape) <= MOST_LABELS


def panels(figure: Figure, title: str, shapes: Sequence[tuple[int, int]], of: int) -> list[Axes]:
    """Set title and size of the figure; a panel for each map, so that what is written in a cell fits.

    `shapes`: rows and columns of each map that is drawn, of so many.
    """
    if of > len(shapes):
        title += f"\n{len(shapes)} of {of} maps; all points are in sizing.csv"
    figure.suptitle(title)
    if not shapes:
        return []
    down, across = ceil(len(shapes) / ABREAST), min(ABREAST, len(shapes))
    width, height = CELL_IN if all(map(has_figures, shapes)) else SMALL_CELL_IN
    figure.set_size_inches(
        max(across * (MARGIN_IN[0] + width * max(columns for _, columns in shapes)) + 1.5, 8.0),
        max(down * (MARGIN_IN[1] + height * max(rows for rows, _ in shapes)) + 1.5, 4.0),
    )
    made = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in made[len(shapes) :]:
        spare.remove()
    return made[: len(shapes)]


def label(panel: Axes, tariff: str, rest: str, across: tuple[str, list[str]], up: tuple[str, list[str]]) -> None:
    """Title of a map, and of both axes what they show and the name of each column or row."""
    short = tariff if len(tariff) <= LONGEST_NAME else f"{tariff[:LONGEST_NAME]}…"
    panel.set_title(f"tariff {short}, {rest}", fontsize="medium")
    panel.grid(False)
    for axis, (text, names) in ((panel.xaxis, across), (panel.yaxis, up)):
        shown = range(0, len(names), ceil(len(names) / MOST_LABELS))
        axis.set_ticks([k + 0.5 for k in shown], [names[k] for k in shown])
        axis.set_label_text(text)
