"""Formats how many more nodes fit behind the contract: a map of nodes and battery energy, and its rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from console.sizing.sweep import Outcome, Point
from storage.csv_fields import field

COLUMNS = (
    "tariff", "pv_kwp", "energy_kwh", "power_kw", "nodes", "fits", "over_kw", "over_intervals", "capped_kwh",
    "capped_pct", "capped_h", "capped_eur", "no_battery_eur", "skerry_eur", "peak_kw", "throughput_kwh", "note",
)  # fmt: skip
CELL = 11  # columns of a cell


def node_map(outcomes: Sequence[Outcome], points: Sequence[Point]) -> Iterator[str]:
    """One table for each tariff, PV and power: rows nodes, columns battery energy.

    Cells: the share of the load's energy that caps take where the nodes fit, `+` and what is above the contract where
    they do not, `x` what cannot be built, `·` what was not played.
    """
    known = {one.point: one for one in outcomes}
    for tariff, pv_kwp, power_kw in dict.fromkeys((p.tariff, p.pv_kwp, p.power_kw) for p in points):
        sheet = [p for p in points if (p.tariff, p.pv_kwp, p.power_kw) == (tariff, pv_kwp, power_kw)]
        yield f"more nodes, tariff {tariff}, PV {pv_kwp:g} kWp, {power_kw:g} kW: capped %, or kW above contract"
        yield from _table(sheet, known)
        yield ""
        for kwh in sorted({p.energy_kwh for p in sheet}):
            yield from _verdict([one for p in sheet if p.energy_kwh == kwh and (one := known.get(p)) is not None])
    if len(outcomes) < len(points):
        yield f"partial   {len(outcomes)} of {len(points)} points were played"


def _table(sheet: Sequence[Point], known: Mapping[Point, Outcome]) -> Iterator[str]:
    cells = {(p.nodes, p.energy_kwh): _cell(known.get(p)) for p in sheet}
    energies = sorted({kwh for _, kwh in cells})
    yield f"{'':<12}" + "".join(f"{f'{kwh:g} kWh':>{CELL}}" for kwh in energies)
    for nodes in sorted({nodes for nodes, _ in cells}, reverse=True):
        yield f"{nodes:<12}" + "".join(f"{cells[nodes, kwh]:>{CELL}}" for kwh in energies)


def _cell(one: Outcome | None) -> str:
    if one is None:
        return "·"
    if one.headroom is None:
        return "x"
    return f"{one.headroom.capped_pct:.2f}" if one.headroom.fits else f"+{one.headroom.over_kw:.1f} kW"


def _verdict(column: Sequence[Outcome]) -> Iterator[str]:
    """The most nodes that fit with one battery, and what they cost beyond none."""
    for why in dict.fromkeys(one.why for one in column if one.why):
        yield f"x         {why}"
    by_nodes = sorted((one for one in column if one.headroom is not None), key=lambda one: one.point.nodes)
    if not by_nodes:
        return
    name = f"{by_nodes[0].point.energy_kwh:g} kWh, {by_nodes[0].point.power_kw:g} kW"
    best = _most(by_nodes)
    if best is None or best.headroom is None:
        yield f"fits      {name}: not even {by_nodes[0].point.nodes} more nodes"
        return
    more = "" if best is not by_nodes[-1] else ", the most that were asked for"
    yield f"fits      {name}: {best.point.nodes} more nodes{more}"
    h = best.headroom
    worth = "at no stated price" if h.capped_eur is None else f"worth {h.capped_eur:.2f} EUR"
    yield f"          caps take {h.capped_kwh:.1f} kWh, {h.capped_pct:.2f} % of the load, in {h.capped_h:g} h, {worth}"
    yield f"          {_bill_text(by_nodes[0], best)}"


def _most(by_nodes: Sequence[Outcome]) -> Outcome | None:
    """The last of those that fit without a gap: with more nodes, none below may not fit."""
    best = None
    for one in by_nodes:
        if one.headroom is None or not one.headroom.fits:
            break
        best = one
    return best


def _bill_text(first: Outcome, best: Outcome) -> str:
    own_eur = best.own_eur or 0.0
    added = best.point.nodes - first.point.nodes
    if first.point.nodes or not added or first.own_eur is None:
        return f"bill {own_eur:.2f} EUR"
    return f"bill {own_eur:.2f} EUR, {(own_eur - first.own_eur) / added:.2f} EUR more for each node"


def write_nodes_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A row for each point that was played."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in sorted(outcomes, key=lambda o: o.point):
            p, h = one.point, one.headroom
            caps = (None,) * 7 if h is None else (
                h.fits, h.over_kw, h.over_intervals, h.capped_kwh, h.capped_pct, h.capped_h, h.capped_eur
            )  # fmt: skip
            figures = (*caps, one.none_eur, one.own_eur, one.peak_kw, one.throughput_kwh)
            shown = ("" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v).lower() for v in figures)
            writer.writerow((field(p.tariff), p.pv_kwp, p.energy_kwh, p.power_kw, p.nodes, *shown, field(one.why)))
