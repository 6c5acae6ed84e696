"""Counts what cycling and holding a battery costs by its ageing, beside the flat wear of throughput.

A cycle of depth d uses up 1 / (cycles to the end of life at d) of the battery, so it costs `replacement_eur_per_kwh` x
rated energy x that share. Between the points of `cycle_life` the share is a straight line, and below the first one goes
through 0. Where each further % of depth costs as much as the one before it or more (a check of the site file), the
cost of any course of the SoC is counted exactly, without looking for its cycles: the store is taken as segments
of depth, each kWh taken out of a segment has the segment's price, discharging takes from the shallowest segment that
holds energy, charging fills the shallowest that has room, and charging costs nothing (B. Xu, J. Zhao, T. Zheng,
E. Litvinov, D. S. Kirschen: Factoring the Cycle Aging Cost of Batteries Participating in Electricity Markets. IEEE
Transactions on Power Systems 33 (2), 2018, pages 2248-2259). Once every cycle is closed that is the sum over the cycles
that rainflow counting finds (a test compares the two).

Holding: the loss of capacity over time rises with the SoC, of LFP cells with 0.60225 + 2.8575 x (SoC - 0.5)^3: a full
cell ages 1.6 times as fast as a half full one (M. Naumann, M. Schimpe, P. Keil, H. C. Hesse, A. Jossen: Analysis
and modeling of calendar aging of a commercial LiFePO4/graphite cell. Journal of Energy Storage 17, 2018, pages 153-169;
the constants as in SimSES, SonyLFPCalendarDegradation). Here it is a price on each kWh above an SoC. Temperature
is not counted.

Several batteries are taken as one that all cycle by the same share of their energy, as everywhere in plan and bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum

import msgspec

from dispatch.config.battery_ratings import full_kwh, mean_efficiency, reserve_soc_pct
from dispatch.config.schema import BatteryConfig, DispatchConfig


class Ageing(msgspec.Struct, frozen=True):
    """Prices of ageing of all batteries as one; energy is that in the cells."""

    widths_kwh: tuple[float, ...]  # of the segments of depth, the shallowest first; together the rated energy; or none
    eur_per_kwh: tuple[float, ...]  # taken out of each segment, not falling
    holds: tuple[tuple[float, float], ...] = ()  # (kWh stored, EUR per hour and kWh above it)

    def begin(self, stored_kwh: float) -> tuple[float, ...]:
        """Energy in each segment, kWh, with this much stored and nothing known of how: as if discharged from full."""
        filled, left = [], stored_kwh
        for width in reversed(self.widths_kwh):
            filled.append(min(max(left, 0.0), width))
            left -= filled[-1]
        filled[:1] = [kwh + left for kwh in filled[:1]]
        return tuple(reversed(filled))


def ageing_of(config: DispatchConfig) -> Ageing | None:
    """The prices of a site; None where its file states none."""
    batteries = [b for b in config.batteries if b.cycle_life]
    depths = sorted({0.0, 100.0, *(depth for b in batteries for depth, _ in b.cycle_life)}) if batteries else []
    holds = tuple(
        (
            b.calendar_soc_pct / 100 * config.energy_kwh,
            b.calendar_eur_per_kwh_day / 24 * b.energy_kwh / config.energy_kwh,
        )
        for b in config.batteries
        if b.calendar_eur_per_kwh_day > 0 and b.calendar_soc_pct < 100
    )
    if not depths and not holds:
        return None
    prices = [
        fsum(_slope_eur_per_kwh(b, (low + high) / 2) * b.energy_kwh for b in batteries) / config.energy_kwh
        for low, high in pairwise(depths)
    ]
    widths = [(high - low) / 100 * config.energy_kwh for low, high in pairwise(depths)]
    return Ageing(tuple(widths), tuple(prices), holds)


def least_eur_per_kwh(config: DispatchConfig) -> float:
    """What taking a kWh out of the store costs at least; 0 where no cycle has a price."""
    ageing = ageing_of(config)
    return ageing.eur_per_kwh[0] if ageing is not None and ageing.eur_per_kwh else 0.0


def full_cycle_eur_per_kwh(config: DispatchConfig) -> float:
    """What a cycle between soc_max and the reserve costs by ageing, EUR per kWh taken out."""
    ageing, top_kwh = ageing_of(config), full_kwh(config)
    depth_kwh = top_kwh - reserve_soc_pct(config) / 100 * config.energy_kwh
    if ageing is None or depth_kwh <= 0:
        return 0.0
    return CycleDepths(ageing, config.energy_kwh, ageing.widths_kwh).move(-depth_kwh) / depth_kwh


def _slope_eur_per_kwh(battery: BatteryConfig, depth_pct: float) -> float:
    """What a kWh more of depth costs in a cycle of this depth; beyond the deepest point as before it."""
    points = ((0.0, 0.0), *((depth, 1 / cycles) for depth, cycles in battery.cycle_life))
    (low, share), (high, more) = next(
        (pair for pair in pairwise(points) if depth_pct <= pair[1][0]), (points[-2], points[-1])
    )
    return battery.replacement_eur_per_kwh * (more - share) / (high - low) * 100


class CycleDepths:
    """Follows the energy in each segment of depth."""

    def __init__(self, ageing: Ageing, stored_kwh: float, filled_kwh: Sequence[float] = ()) -> None:
        """`filled_kwh`: of each segment; empty: not known (`Ageing.begin`)."""
        self._ageing = ageing
        self.filled_kwh = list(filled_kwh or ageing.begin(stored_kwh))

    def move(self, change_kwh: float) -> float:
        """Store this much more, < 0 takes it out; returns what that costs, EUR >= 0."""
        filled, cost_eur, deepest = self.filled_kwh, 0.0, len(self.filled_kwh) - 1
        for k, (width, price) in enumerate(zip(self._ageing.widths_kwh, self._ageing.eur_per_kwh, strict=True)):
            moved = min(change_kwh, width - filled[k]) if change_kwh > 0 else max(change_kwh, -filled[k])
            if k == deepest:  # an SoC that is off, below 0 or above 100 %, is its
                moved = change_kwh
            filled[k] += moved
            change_kwh -= moved
            if moved < 0:
                cost_eur -= moved * price
        return cost_eur

    def follow(self, stored_kwh: float) -> None:
        """The store holds this much now."""
        self.move(stored_kwh - sum(self.filled_kwh))


def ageing_eur(
    ageing: Ageing, stored_kwh: Sequence[float], hours: Sequence[float], filled_kwh: Sequence[float] = ()
) -> float:
    """What a course of the stored energy costs by ageing, EUR.

    stored_kwh: before the first step and after each; hours: of each step, in which the energy at its end is held.
    filled_kwh: by segment before the first step; empty: not known.
    """
    depths, cost_eur = CycleDepths(ageing, stored_kwh[0], filled_kwh), 0.0
    for (before, after), length_h in zip(pairwise(stored_kwh), hours, strict=True):
        cost_eur += depths.move(after - before)
        for above_kwh, price in ageing.holds:
            cost_eur += max(after - above_kwh, 0.0) * price * length_h
    return cost_eur


def schedule_ageing_eur(
    config: DispatchConfig, step_s: int, battery_w: Sequence[float], begin_kwh: float, drift_kwh: Sequence[float] = ()
) -> float:
    """What a battery power costs by ageing, EUR; 0 where the site file gives no price.

    begin_kwh: stored before the first step. drift_kwh: by how much each step changed it beside its power.
    """
    ageing = ageing_of(config)
    if ageing is None:
        return 0.0
    charging, discharging = mean_efficiency(config)
    course_kwh = [begin_kwh]
    for w, drift in zip(battery_w, drift_kwh or [0.0] * len(battery_w), strict=True):
        kwh = w * step_s / 3.6e6
        course_kwh.append(course_kwh[-1] - (kwh / discharging if kwh > 0 else kwh * charging) + drift)
    return ageing_eur(ageing, course_kwh, [step_s / 3600] * len(battery_w))
