"""What manual orders leave a plan to decide: while one has the battery, the plan takes what it does as given.

Rule 5 follows an order before peak and plan, and after protection, limits, fuse and reserve. So the steps that an order
touches are worked out here as the rules would have it, and the program plans the others, from the SoC that it leaves. A
quarter hour that it ends in is left idle after it: when it ends a plan is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config import DispatchConfig
from dispatch.forecast import STEP_S
from dispatch.orders import BATTERY, Order, OrderKind, soc_power_w, words
from dispatch.plan_lp import Problem

if TYPE_CHECKING:
    from dispatch.planner import PlanInputs

NEAR_W = 50.0  # an order that gets all but this gets what it asks


@dataclass(frozen=True)
class Taken:
    """What orders take of the steps. Sequences hold one value for each step."""

    battery_w: tuple[float, ...]  # mean over the step, > 0 discharges; 0 where the plan decides
    reasons: tuple[str, ...]  # whose order has the battery; empty where none
    charge_kw: tuple[float, ...]  # what is left to plan with
    discharge_kw: tuple[float, ...]
    soc_pct: float  # once the order is over

    def limit(self, problem: Problem) -> Problem:
        """The problem with no more than what is left."""
        charge_kw = tuple(map(min, problem.charge_kw, self.charge_kw))
        discharge_kw = tuple(map(min, problem.discharge_kw, self.discharge_kw))
        return replace(problem, charge_kw=charge_kw, discharge_kw=discharge_kw)


def kept_back(config: DispatchConfig, orders: Sequence[Order]) -> DispatchConfig:
    """The site with the reserve that an order has raised, as if it stood for ever; one that lowers it frees nothing."""
    asked_pct = max((o.value for o in orders if o.kind is OrderKind.RESERVE_LEVEL), default=0.0)
    more_pct = min(asked_pct, config.full_soc_pct) - config.reserve_soc_pct
    if more_pct <= 0:
        return config
    raised = (msgspec.structs.replace(b, soc_min_pct=b.soc_min_pct + more_pct) for b in config.batteries)
    return msgspec.structs.replace(config, batteries=tuple(raised))


def taken(inputs: PlanInputs, starts: Sequence[int], net_w: Sequence[float]) -> Taken | None:
    """What the standing orders take of a plan's steps; None when they leave it all of the battery.

    starts: of the steps, POSIX s; net_w: load less PV in each, W.
    """
    now_s, config = inputs.now_utc_s, inputs.config
    order = next((o for o in inputs.orders if o.kind in BATTERY and o.ends_utc_s > now_s), None)
    disabled = [o for o in inputs.orders if o.kind is OrderKind.DISABLE and o.ends_utc_s > now_s]
    if not config.batteries or not (order or disabled):
        return None
    soc_pct = min(100.0, max(0.0, inputs.soc_pct or 0.0))
    battery_w, reasons, charge_kw, discharge_kw = [], [], [], []
    for start, net in zip(starts, net_w, strict=True):
        out = {o.target for o in disabled if o.ends_utc_s > start}
        charge_w = sum(p.charge_w for p in config.pcs if p.id not in out)
        discharge_w = sum(p.discharge_w for p in config.pcs if p.id not in out)
        w, reason = 0.0, ""
        if order is not None and order.ends_utc_s > start:
            begin_s, end_s = max(float(start), now_s), float(start + STEP_S)
            seconds = min(order.ends_utc_s, end_s) - begin_s
            asked_w = _asked_w(order, net, soc_pct, max(1.0, order.ends_utc_s - begin_s), config)
            given_w, limit = _given_w(asked_w, net, soc_pct, seconds, (charge_w, discharge_w), config)
            soc_pct += _rise_pct(given_w, seconds, config)
            w, reason = given_w * seconds / max(1.0, end_s - begin_s), f"{_whose(order, config)}{limit}"
            charge_w = discharge_w = 0.0
        battery_w.append(w)
        reasons.append(reason)
        charge_kw.append(charge_w / 1000)
        discharge_kw.append(discharge_w / 1000)
    return Taken(tuple(battery_w), tuple(reasons), tuple(charge_kw), tuple(discharge_kw), soc_pct)


def _asked_w(order: Order, net_w: float, soc_pct: float, left_s: float, config: DispatchConfig) -> float:
    """The power that the order asks of all batteries together, W."""
    match order.kind:
        case OrderKind.SETPOINT:
            return order.value
        case OrderKind.IMPORT_TARGET:
            return net_w - order.value
        case OrderKind.SOC_TARGET:
            return soc_power_w(config, soc_pct, order.value, left_s)
    return 0.0


def _given_w(
    asked_w: float, net_w: float, soc_pct: float, seconds: float, pcs_w: tuple[float, float], config: DispatchConfig
) -> tuple[float, str]:
    """(the power that PCS, fuse, reserve and room allow of it, W; in words what sets it, empty when nothing does)."""
    energy_wh, grid = 1000 * config.energy_kwh, config.grid
    hours = max(1.0, seconds) / 3600
    if asked_w < 0:
        room_wh = max(0.0, config.full_soc_pct - soc_pct) / 100 * energy_wh
        most = [
            (pcs_w[0], "the PCS"),
            (max(0.0, grid.fuse_w - net_w), "the fuse"),
            (room_wh / _charging(config) / hours, "a full battery"),
        ]
    else:
        stored_wh = max(0.0, soc_pct - config.reserve_soc_pct) / 100 * energy_wh
        most = [
            (pcs_w[1], "the PCS"),
            (max(0.0, grid.export_limit_w + net_w), "the export limit"),
            (stored_wh * _discharging(config) / hours, "the reserve"),
        ]
    limit_w, name = min(most)
    if abs(asked_w) <= limit_w + NEAR_W:
        return max(-limit_w, min(asked_w, limit_w)), ""
    return (-limit_w if asked_w < 0 else limit_w), f"; {name} allows {limit_w / 1000:.1f} kW"


def _rise_pct(w: float, seconds: float, config: DispatchConfig) -> float:
    """What the SoC rises by, %, at this power."""
    wh = -w * seconds / 3600
    return 100 * (wh * _charging(config) if w < 0 else wh / _discharging(config)) / (1000 * config.energy_kwh)


def _charging(config: DispatchConfig) -> float:
    return sum(b.charge_efficiency * b.energy_kwh for b in config.batteries) / config.energy_kwh


def _discharging(config: DispatchConfig) -> float:
    return sum(b.discharge_efficiency * b.energy_kwh for b in config.batteries) / config.energy_kwh


def _whose(order: Order, config: DispatchConfig) -> str:
    until = datetime.fromtimestamp(order.ends_utc_s, UTC).astimezone(ZoneInfo(config.timezone))
    return f"order {order.id} of {order.who}, {words(order.kind, order.value, order.target)}, until {until:%H:%M}"
