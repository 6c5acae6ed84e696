"""The picture of a replay: what its panels say, in site time, and that the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib
import msgspec
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from replay_cases import CONFIG

from console.plotting import write_png
from console.replay.engine import Case, Schedule
from console.replay.picture import MOST_COLUMNS, draw, in_columns
from console.replay.traces import Trace
from dispatch.billing.charges.energy_prices import import_price
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig

ZONE = ZoneInfo(CONFIG.timezone)


def seconds(local: str) -> int:
    return int(datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp())


def a_run(
    begin: str, end: str, step_s: int = 900, priced_h: int = 10_000, config: DispatchConfig = CONFIG
) -> tuple[Case, Schedule]:
    """Load 20 kW and one pulse of 30 kW, PV 3 kW, discharge 5 kW, GPU caps 1 kW; a price per hour, not for all."""
    start_s, end_s = seconds(begin), seconds(end)
    schedule = Schedule(start_s, step_s)
    steps = (end_s - start_s) // step_s
    for k in range(steps):
        schedule.add(5_000.0, 30_000.0 if k == steps // 2 else 20_000.0, 3_000.0, 60.0 - k % 30, 1_000.0)
    starts = range(start_s, end_s, 3600)[:priced_h]
    prices = PriceSeries(tuple(starts), tuple(80.0 + k % 24 for k in range(len(starts))), start_s + 3600 * len(starts))
    load, pv = Trace(start_s, step_s, schedule.load_w), Trace(start_s, step_s, schedule.pv_w)
    case = Case(config=config, prices=prices, load=load, pv=pv, start_s=start_s, end_s=end_s, step_s=step_s)
    return case, schedule


def drawn(case: Case, schedule: Schedule, billed_w: Mapping[str, float]) -> Figure:
    figure = Figure()
    draw(figure, "Mill $2 $", case, schedule, billed_w)
    return figure


def labels(panel: Axes) -> list[str]:
    legend = panel.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_panels_have_units_legends_and_site_time() -> None:
    figure = drawn(*a_run("2025-09-17T00:00", "2025-09-18T00:00"), {"2025-09": 21_000.0})
    prices, power, battery, soc = figure.axes
    assert figure.get_suptitle() == "Mill $2 $: replay of 2025-09-17 00:00 to 2025-09-18 00:00, steps of 15 min"
    assert [panel.get_ylabel() for panel in figure.axes] == ["price, ct/kWh", "power, kW", "battery, kW", "SoC, %"]
    assert soc.get_xlabel() == "time, Europe/Berlin"
    assert labels(prices) == ["import, all included"]
    assert labels(power) == [
        "load",
        "PV",
        "taken by GPU caps",
        "grid\n(above 0: import)",
        "contract 40 kW",
        "billed demand of the month\n21.0 kW",
    ]
    assert labels(battery) == ["battery\n(above 0: discharge)"]
    assert labels(soc) == ["SoC", f"reserve {reserve_soc_pct(CONFIG):.0f} %"]
    shown = {patch.get_label(): patch.get_data().values for patch in power.patches if isinstance(patch, StepPatch)}
    assert set(shown["grid\n(above 0: import)"]) == {20 - 1 - 3 - 5, 30 - 1 - 3 - 5}
    (first,) = (patch.get_data().values[0] for patch in prices.patches if isinstance(patch, StepPatch))
    price = import_price(CONFIG.tariff, CONFIG.timezone, 0.0, 80.0)
    assert price is not None
    assert first == pytest.approx(100 * price)


def test_lines_of_a_panel_differ_without_colour() -> None:
    case, schedule = a_run("2025-09-17T00:00", "2025-09-18T00:00", priced_h=6)
    prices, power, _, soc = drawn(case, schedule, {"2025-09": 21_000.0}).axes
    for panel in (prices, power, soc):
        styles = []
        for artist in (*panel.patches, *panel.lines):
            assert isinstance(artist, StepPatch | Line2D)
            weight = artist.get_color() == "black" if isinstance(artist, Line2D) else artist.get_fill()
            styles.append((artist.get_linestyle(), isinstance(artist, Line2D), weight))
        assert len(set(styles)) == len(styles) == len(labels(panel))


@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
def test_on_the_days_of_the_clock_change_ticks_are_at_full_local_hours(day: str) -> None:
    following = f"{day[:-2]}{int(day[-2:]) + 1}"
    figure = drawn(*a_run(f"{day}T00:00", f"{following}T00:00"), {day[:7]: 21_000.0})
    axis = figure.axes[-1].xaxis
    ticks = axis.get_majorticklocs()
    texts = axis.get_major_formatter().format_ticks(list(ticks))
    local = [num2date(tick, tz=ZONE) for tick in ticks]
    begin, *between, end = texts
    assert (local[0].isoformat(), local[-1].date().isoformat()) == (
        datetime.fromisoformat(day).replace(tzinfo=ZONE).isoformat(),
        following,
    )
    assert f"\n{day[-2:]} " in begin
    assert f"\n{following[-2:]} " in end
    assert between == [f"{hour:02}:00" for hour in range(3, 24, 3)] == [f"{at:%H:%M}" for at in local[1:-1]]


def test_prices_that_nobody_published_are_dotted() -> None:
    case, schedule = a_run("2025-09-17T00:00", "2025-09-18T00:00", priced_h=6)
    prices = drawn(case, schedule, {"2025-09": 21_000.0}).axes[0]
    known, assumed = (patch.get_data().values for patch in prices.patches if isinstance(patch, StepPatch))
    assert np.flatnonzero(np.isfinite(known)).tolist() == list(range(6 * 4))
    assert np.flatnonzero(np.isfinite(assumed)).tolist() == list(range(6 * 4, 24 * 4))
    assert labels(prices)[1] == "import, assumed:\nnot published"


def test_each_month_has_a_line_at_its_billed_demand() -> None:
    case, schedule = a_run("2025-09-30T00:00", "2025-10-02T00:00")
    power = drawn(case, schedule, {"2025-09": 21_000.0, "2025-10": 25_000.0}).axes[1]
    lines = [line for line in power.lines if line.get_linestyle() == "-."]
    spans = [[f"{num2date(x, tz=ZONE):%m-%d %H:%M}" for x in line.get_xdata()] for line in lines]
    assert spans == [["09-30 00:00", "10-01 00:00"], ["10-01 00:00", "10-02 00:00"]]
    assert [set(line.get_ydata()) for line in lines] == [{21.0}, {25.0}]
    assert labels(power)[-1] == "billed demand of the month"


def test_of_a_long_replay_the_extremes_stay_visible() -> None:
    figure = drawn(*a_run("2025-01-01T00:00", "2026-01-01T00:00", step_s=300), {"2025-01": 21_000.0})
    assert figure.get_suptitle().endswith("\nlines: means over 24 h; bands: the lowest and the highest step in it")
    load, band = [patch.get_data() for patch in figure.axes[1].patches if isinstance(patch, StepPatch)][:2]
    assert len(load.values) == 365 <= MOST_COLUMNS
    assert (band.values.max(), np.median(band.values), np.min(band.baseline)) == (30, 20, 20)


def test_columns_hold_mean_lowest_and_highest() -> None:
    edges_s, mean, low, high = in_columns(np.array([1.0, 2.0, 6.0, 4.0, 0.0]), np.arange(0, 60, 10), 3)
    assert (edges_s.tolist(), mean.tolist(), low.tolist(), high.tolist()) == ([0, 30, 50], [3, 2], [1, 0], [6, 4])


def test_the_same_replay_gives_the_same_bytes_whatever_the_user_has_set(tmp_path: Path) -> None:
    """Of the shortest replay there is: one step, a site without batteries, no price."""
    config = msgspec.structs.replace(CONFIG, batteries=(), pcs=())
    case, schedule = a_run("2025-09-17T00:00", "2025-09-17T00:15", priced_h=0, config=config)
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    write_png(one, lambda figure: draw(figure, "Mühle 東", case, schedule, {}))
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20, "timezone": "Asia/Tokyo"}):
        write_png(two, lambda figure: draw(figure, "Mühle 東", case, schedule, {}))
        assert matplotlib.rcParams["font.size"] == 30
    assert one.read_bytes() == two.read_bytes()
