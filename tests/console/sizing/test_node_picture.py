"""The map of nodes that fit as a picture: cells, units, the line below which they fit, what its signs mean."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from console.plotting import write_png
from console.sizing.headroom import Headroom
from console.sizing.node_picture import draw_nodes
from console.sizing.sweep import Outcome, Point


def point(nodes: int, kwh: float, tariff: str = "de") -> Point:
    return Point(tariff, 0.0, kwh, 20.0, nodes)


def outcome(at: Point, over_kw: float = 0.0, capped_pct: float = 0.0) -> Outcome:
    found = Headroom(
        over_kw=over_kw,
        over_intervals=int(over_kw > 0),
        capped_kwh=0.0,
        capped_pct=capped_pct,
        capped_h=0.0,
        capped_eur=None,
    )
    return Outcome(point=at, headroom=found)


POINTS = [point(nodes, kwh) for kwh in (0.0, 50.0, 100.0) for nodes in (0, 2, 4)]
OUTCOMES = [
    outcome(point(0, 0.0)),
    outcome(point(2, 0.0), over_kw=1.5),
    outcome(point(4, 0.0), over_kw=4.0),
    outcome(point(0, 50.0)),
    outcome(point(2, 50.0), capped_pct=0.25),
    outcome(point(4, 50.0), over_kw=0.5),
    outcome(point(0, 100.0)),
    Outcome(point=point(2, 100.0), why="too small"),
]  # one was not played


def drawn(points: list[Point], outcomes: list[Outcome]) -> Figure:
    figure = Figure()
    draw_nodes(figure, "Mill: nodes", outcomes, points)
    return figure


def test_cells_say_what_is_capped_or_too_much_and_a_line_what_fits() -> None:
    panel, bar = drawn(POINTS, OUTCOMES).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("battery energy, kWh", "more compute nodes")
    assert panel.get_title() == "tariff de, PV 0 kWp, 20 kW"
    texts = {(t.get_position()[0], t.get_position()[1]): t.get_text() for t in panel.texts}
    assert texts == {
        (0.5, 0.5): "0.00", (1.5, 0.5): "0.00", (2.5, 0.5): "0.00",
        (0.5, 1.5): "+1.5 kW", (1.5, 1.5): "0.25", (0.5, 2.5): "+4.0 kW", (1.5, 2.5): "+0.5 kW",
    }  # fmt: skip
    (line,) = [one for one in panel.collections if hasattr(one, "get_segments")]
    level = {tuple(sorted((x0, x1))): y0 for (x0, y0), (x1, y1) in line.get_segments() if y0 == y1}
    assert level == {(0, 1): 1, (1, 2): 2, (2, 3): 1}, "none above a gap fits"
    assert bar.get_ylabel() == "what caps take of the load's energy, %"
    assert bar.get_ylim() == (0, 0.25)
    assert sorted(mark.get_marker() for mark in panel.lines) == [".", "x"]


def test_the_legend_has_what_is_there() -> None:
    def legend(figure: Figure) -> list[str]:
        return [text.get_text() for one in figure.legends for text in one.get_texts()]

    fits = "below it they fit behind the contract"
    assert legend(drawn(POINTS, OUTCOMES)) == [
        fits, "too many: kW above the contract", "cannot be built", "not played",
    ]  # fmt: skip
    assert legend(drawn(POINTS[:1], OUTCOMES[:1])) == [fits]


def test_large_sheets_many_maps_and_nothing_at_all(tmp_path: Path) -> None:
    many = [point(n, 10.0) for n in range(40)]
    assert not drawn(many, [outcome(one) for one in many]).axes[0].texts
    several = [point(0, 10.0, tariff=f"t{n}") for n in range(20)]
    assert "12 of 20 maps" in drawn(several, []).get_suptitle()
    assert not drawn([], []).axes
    write_png(tmp_path / "map.png", lambda figure: draw_nodes(figure, "Mill $", OUTCOMES, POINTS))
    assert (tmp_path / "map.png").stat().st_size > 5_000
