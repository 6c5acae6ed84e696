"""How many more nodes fit behind the contract: what a replay says of contract and caps, the map, the rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import pytest
from replay_cases import CONFIG

from console.replay.traces import Trace
from console.sizing.headroom import Headroom, headroom
from console.sizing.node_map import node_map, write_nodes_csv
from console.sizing.sweep import Base, Outcome, Point, load_factor, node_counts, play, points
from dispatch.billing.bill import Flow
from dispatch.billing.market_prices import NO_PRICES
from dispatch.config.schema import CapsConfig, DispatchConfig

CONTRACT_W = CONFIG.grid.contracted_peak_w


def flow(grid_w: list[float], shed_w: tuple[float, ...] = ()) -> Flow:
    """Quarter hours with this load and nothing else."""
    idle = [0.0] * len(grid_w)
    return Flow(
        start_utc_s=0, step_s=900, load_w=grid_w, pv_w=idle, eur_per_mwh=idle, battery_w=idle, shed_w=shed_w
    )  # fmt: skip


def with_caps(**terms: Any) -> DispatchConfig:
    return msgspec.structs.replace(CONFIG, caps=CapsConfig(**terms))


def test_without_caps_the_contract_alone_decides() -> None:
    kept = headroom(CONFIG, flow([CONTRACT_W, CONTRACT_W - 5_000]))
    assert (kept.fits, kept.over_kw, kept.capped_kwh, kept.capped_eur) == (True, 0.0, 0.0, 0.0)
    over = headroom(CONFIG, flow([CONTRACT_W + 3_000, CONTRACT_W, CONTRACT_W + 1_000]))
    assert (over.fits, over.over_kw, over.over_intervals) == (False, 3.0, 2)


def test_caps_take_what_is_above_the_contract_as_far_as_they_go() -> None:
    config = with_caps(max_share=0.2, idle_w=CONTRACT_W - 10_000, value_eur_per_kwh=2.0)
    kept = headroom(config, flow([CONTRACT_W + 2_000, CONTRACT_W]))  # 20 % of 12 kW
    assert kept.fits
    assert kept.capped_kwh == pytest.approx(0.5)
    assert kept.capped_h == 0.25
    assert kept.capped_eur == pytest.approx(1.0)
    assert kept.capped_pct == pytest.approx(100 * 500 / ((2 * CONTRACT_W + 2_000) / 4))
    deeper = headroom(config, flow([CONTRACT_W + 5_000]))  # 20 % of 15 kW
    assert deeper.over_kw == pytest.approx(2.0)
    assert not deeper.fits


def test_what_is_capped_for_the_peak_already_is_not_taken_twice() -> None:
    config = with_caps(max_share=0.2, idle_w=0.0)
    load_w = CONTRACT_W + 4_000
    shed_w = 0.2 * load_w
    found = headroom(config, flow([load_w + 0.0], (shed_w,)))
    assert found.capped_kwh == pytest.approx(shed_w / 4000)
    assert found.capped_eur is None  # no price
    load_w = 1.25 * (CONTRACT_W + 1_000)
    spent = headroom(config, flow([load_w], (0.2 * load_w,)))
    assert spent.over_kw == pytest.approx(1.0)


def a_base(**changed: Any) -> Base:
    load = [20_000.0 + 10_000.0 * (n % 8 < 4) for n in range(96)]
    terms: dict[str, Any] = {
        "config": msgspec.structs.replace(CONFIG, batteries=(), pcs=()), "tariffs": {"now": CONFIG.tariff},
        "prices": NO_PRICES, "load": Trace(0, 900, load), "pv": Trace(0, 900, [0.0] * 96), "pv_kwp": 0.0,
        "start_s": 0, "end_s": 7200, "step_s": 900, "node_w": 3_000.0,
    }  # fmt: skip
    return Base(**(terms | changed))


def test_nodes_are_as_busy_as_the_load() -> None:
    base = a_base()
    assert load_factor(base, 0) == 1.0
    assert load_factor(base, 2) == pytest.approx(1.2)  # 6 kW more at 30 kW


def test_a_point_with_nodes_says_what_they_mean_for_the_contract() -> None:
    base, few = a_base(), Point("now", 0.0, 0.0, 0.0, 0)
    found = play(base, few)
    assert found is not None
    assert found.headroom is not None
    assert found.best_eur is None
    nodes = int((CONTRACT_W - 30_000) // 3_000)
    for more in (nodes, nodes + 1):
        one = play(base, msgspec.structs.replace(few, nodes=more))
        assert one is not None
        assert one.headroom is not None
        assert one.headroom.fits == (more == nodes)
        assert one.peak_kw == pytest.approx(30 + 3 * more)


def outcome(nodes: int, kwh: float, own_eur: float, **changed: Any) -> Outcome:
    terms = {
        "over_kw": 0.0,
        "over_intervals": 0,
        "capped_kwh": 3.0,
        "capped_pct": 0.5,
        "capped_h": 1.5,
        "capped_eur": 6.0,
    }
    room = Headroom(**(terms | changed))
    return Outcome(point=Point("t", 0.0, kwh, 50.0, nodes), none_eur=1.0, own_eur=own_eur, headroom=room)


def test_the_map_and_what_fits() -> None:
    asked = points((50.0, 100.0), (50.0,), (0.0,), ["t"], (0, 1, 2))
    found = [
        outcome(0, 50.0, 1000.0), outcome(1, 50.0, 1100.0, over_kw=2.0, over_intervals=3), outcome(2, 50.0, 1e3),
        outcome(0, 100.0, 900.0), outcome(1, 100.0, 1000.0), outcome(2, 100.0, 1120.0),
    ]  # fmt: skip
    lines = list(node_map(found, asked))
    assert [line.split() for line in lines[2:5]] == [
        ["2", "0.50", "0.50"],
        ["1", "+2.0", "kW", "0.50"],
        ["0", "0.50", "0.50"],
    ]
    assert "fits      50 kWh, 50 kW: 0 more nodes" in lines  # two fit again: a gap is not passed
    assert "fits      100 kWh, 50 kW: 2 more nodes, the most that were asked for" in lines
    assert "          bill 1120.00 EUR, 110.00 EUR more for each node" in lines
    assert "          caps take 3.0 kWh, 0.50 % of the load, in 1.5 h, worth 6.00 EUR" in lines


def test_what_was_not_played_cannot_be_built_or_does_not_fit_at_all_is_said() -> None:
    asked = points((50.0,), (50.0,), (0.0,), ["t"], (1, 2, 3))
    unbuilt = Outcome(point=asked[1], why="reserve.hours = 9: expected less")
    lines = list(node_map([outcome(1, 50.0, 1.0, over_intervals=1, over_kw=0.5), unbuilt], asked))
    assert [line.split()[1:] for line in lines[2:5]] == [["·"], ["x"], ["+0.5", "kW"]]
    assert "fits      50 kWh, 50 kW: not even 1 more nodes" in lines
    assert "x         reserve.hours = 9: expected less" in lines
    assert lines[-1] == "partial   2 of 3 points were played"


def test_every_point_is_a_row(tmp_path: Path) -> None:
    write_nodes_csv(tmp_path / "s.csv", [outcome(1, 50.0, 1.0), Outcome(point=Point("t", 0.0, 9.0, 9.0, 0), why="no")])
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["nodes"] for row in rows] == ["0", "1"]
    assert (rows[0]["fits"], rows[0]["note"], rows[1]["fits"], rows[1]["capped_eur"]) == ("", "no", "true", "6.0000")


def test_counts_of_nodes_are_whole() -> None:
    assert node_counts("0..6/2") == (0, 2, 4, 6)
    assert node_counts("0,3") == (0, 3)
    with pytest.raises(ValueError, match="whole numbers"):
        node_counts("0..1/0.5")
