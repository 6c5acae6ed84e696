"""The map of savings as a picture: cells, units, marks, and maps that have little to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import inf, nan
from pathlib import Path

import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from console.plotting import write_png
from console.sizing.picture import MOST_MAPS, draw
from console.sizing.sweep import Outcome, Point


def asked(
    energies_kwh: Sequence[float] = (0, 50, 100),
    powers_kw: Sequence[float] = (20, 40),
    tariffs: Sequence[str] = ("de",),
) -> list[Point]:
    return [Point(tariff, 10.0, float(kwh), float(kw)) for tariff, kwh, kw in product(tariffs, energies_kwh, powers_kw)]


def played(points: Sequence[Point], own_eur: Callable[[Point], float | None]) -> list[Outcome]:
    return [
        Outcome(point=one, why="" if own_eur(one) is not None else "too small", none_eur=100.0, own_eur=own_eur(one))
        for one in points
    ]


def cost_eur(point: Point) -> float | None:
    """0 kWh cannot be built; 50 kWh saves 10 %, 100 kWh 20 % and with 40 kW 21 %."""
    return (
        None if not point.energy_kwh else 100 - point.energy_kwh / 5 - (point.energy_kwh > 50 and point.power_kw > 20)
    )


def drawn(points: Sequence[Point], outcomes: Sequence[Outcome], want_pct: float | None) -> Figure:
    figure = Figure()
    draw(figure, "Mill: savings", outcomes, points, want_pct, "battery")
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_a_map_has_units_figures_and_marks() -> None:
    points = asked()
    figure = drawn(points, played(points[:-2], cost_eur) + played(points[-1:], cost_eur), 15.0)
    panel, bar = figure.axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("PCS power, kW", "battery energy, kWh")
    assert panel.get_title() == "tariff de, PV 10 kWp"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["20", "40"]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["0", "50", "100"]
    assert bar.get_ylabel() == "saving, % of the bill without the battery"
    assert bar.get_ylim() == (10, 21)
    (mesh,) = (one for one in panel.collections if isinstance(one, QuadMesh))
    assert mesh.get_array().tolist() == [[None, None], [10, 10], [None, 21]]
    assert sorted(text.get_text() for text in panel.texts) == ["10.0", "10.0", "21.0"]
    (outline,) = (one for one in panel.collections if isinstance(one, LineCollection))
    edges = {frozenset(map(tuple, segment.tolist())) for segment in outline.get_segments()}
    corners = [(1, 2), (2, 2), (2, 3), (1, 3)]  # of the only cell that saves enough
    assert edges == {frozenset((corners[k - 1], corners[k])) for k in range(4)}
    places = {line.get_marker(): list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in panel.lines}
    cell = [(1.5, 2.5)]
    assert places == {"x": [(0.5, 0.5), (1.5, 0.5)], ".": [(0.5, 2.5)], "*": cell, "D": cell}
    assert legend(figure) == [
        "highest saving: 100 kWh, 40 kW, PV 10 kWp, tariff de (21.0 %)",
        "smallest that saves at least 15 %: 100 kWh, 40 kW, PV 10 kWp, tariff de (21.0 %)",
        "at least 15 %",
        "cannot be built, or nothing to save",
        "not played",
    ]


@pytest.mark.parametrize(
    ("points", "own_eur", "said"),
    [
        ([], cost_eur, []),
        (asked((50,), (20,)), cost_eur, ["highest saving: 50 kWh, 20 kW, PV 10 kWp, tariff de (10.0 %)"]),
        (asked((50, 100), (20,)), lambda _: 110.0, ["highest saving: 50 kWh, 20 kW, PV 10 kWp, tariff de (-10.0 %)"]),
        (asked((50,), (20, 40)), lambda _: None, ["cannot be built, or nothing to save"]),
        (asked((50,), (20, 40)), lambda _: nan, ["cannot be built, or nothing to save"]),
        (asked((50,), (20, 40)), lambda _: -inf, ["cannot be built, or nothing to save"]),
    ],
    ids=["no points", "one point", "one column, all alike, a loss", "nothing can be built", "nan", "infinite"],
)
def test_maps_with_little_to_show_are_drawn(
    points: list[Point], own_eur: Callable[[Point], float | None], said: list[str], tmp_path: Path
) -> None:
    write_png(tmp_path / "map.png", lambda f: draw(f, "Mill", played(points, own_eur), points, None, "battery"))
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert legend(drawn(points, played(points, own_eur), None)) == said


def test_before_any_point_is_played_there_is_no_colour_bar() -> None:
    figure = drawn(asked(), [], 15.0)
    assert len(figure.axes) == 1
    assert legend(figure) == ["not played"]


def test_maps_that_fill_no_row_leave_no_empty_panel() -> None:
    points = asked((50, 100), (20,), "abcd")
    *panels, bar = drawn(points, played(points, cost_eur), None).axes
    assert [panel.get_title() for panel in panels] == [f"tariff {name}, PV 10 kWp" for name in "abcd"]
    assert bar.get_ylim() == (10, 20)


def test_more_maps_than_fit_are_counted() -> None:
    points = asked((50,), (20,), [f"tariff-{'x' * 80}-{k}" for k in range(MOST_MAPS + 2)])
    figure = drawn(points, played(points, cost_eur), None)
    assert figure.get_suptitle() == f"Mill: savings\n{MOST_MAPS} of {MOST_MAPS + 2} maps; all points are in sizing.csv"
    assert len(figure.axes) == MOST_MAPS + 1
    assert figure.axes[0].get_title() == f"tariff tariff-{'x' * 23}…, PV 10 kWp"


def test_many_values_are_colours_with_some_of_the_labels() -> None:
    points = asked(range(0, 500, 10), range(10, 60, 10))
    panel, _ = drawn(points, played(points, cost_eur), 15.0).axes
    assert len(panel.texts) == 0
    assert [text.get_text() for text in panel.get_yticklabels()] == [f"{kwh}" for kwh in range(0, 500, 50)]
