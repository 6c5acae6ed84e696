"""What a rule may look at, and how bounds of import become bounds of battery power."""

from __future__ import annotations

import msgspec

from dispatch.billing.import_allowance import Budget
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.control.pcs_limits import Unit
from dispatch.model.contacts import ContactView
from dispatch.model.islanding import Islanding, IslandState
from dispatch.model.plan import PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.signals import Limits
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing

# Of the aim: charging on our own account stays this far below it, so that it never makes the budget bind.
CHARGE_ROOM = 0.05


class Ramp(msgspec.Struct, frozen=True):
    """Import reference that moves towards its target no faster than the ramp limit, and the range allowed now."""

    import_w: float
    step_w: float


class Situation(msgspec.Struct, frozen=True):
    """All that the rules may look at."""

    config: DispatchConfig
    snapshot: Snapshot
    islanding: Islanding
    units: tuple[Unit, ...]
    net_w: float | None  # load - pv - what PCS do that take no part; None: not known
    budget: Budget
    soc_pct: float | None
    soc_high_pct: float | None  # the highest that it may be
    available_pct: float | None  # what of it is stored in batteries in service
    last_w: float  # the last total asked
    hold_s: float = 0.0  # how long the setpoint is meant to hold; 0 at tick rate
    export_w: float | None = None  # the site file allows the battery now, without `obliged`; None: its limit
    pv_export_w: float | None = None  # the same for PV: more after minutes with less, by `[grid] export_window_s`
    safe: tuple[float, Reason] | None = None  # battery power and reason when the net load is not known
    ramp: Ramp | None = None
    step: PlanStep | None = None
    recharging: bool = False  # the reserve was touched and is being refilled
    derived: Reason | None = None  # how the net load is known, where not by the grid meter
    topping: bool = False  # on the way back to rest SoC
    orders: Standing = Standing()
    contacts: tuple[ContactView, ...] = ()
    obliged: Limits = Limits()  # by the grid operator's contacts and signals
    wished: Limits = Limits()  # by market targets and fleet limits

    @property
    def site_net_w(self) -> float | None:
        """Load less PV, whichever PCS take part; None: not known."""
        return None if self.net_w is None else self.net_w + sum(u.fixed_w for u in self.units)

    @property
    def reserve_soc_pct(self) -> float:
        """The reserve in force: a person's, else the site file's."""
        order = self.orders.reserve
        return reserve_soc_pct(self.config) if order is None else order.value


def battery_window(net_w: float, import_min_w: float, import_max_w: float) -> tuple[float, float]:
    """Lowest and highest battery power that keep import within bounds: import = net load - battery."""
    return net_w - import_max_w, net_w - import_min_w


def surplus_w(net_w: float) -> float:
    """What PV gives beyond the load, W >= 0: charging it takes nothing from the grid."""
    return max(-net_w, 0.0)


def charge_ceiling_w(s: Situation) -> float:
    """Import up to which the rules charge the battery of their own accord."""
    if s.islanding.state is IslandState.GENSET:
        return 0.0 if s.config.genset is None else s.config.genset.charge_up_to_w
    return (1 - CHARGE_ROOM) * s.budget.kept.aim_w


def charge_room_w(s: Situation) -> float:
    """Charging power, >= 0, that keeps import under that; 0 when the net load is not known."""
    return 0.0 if s.net_w is None else max(charge_ceiling_w(s) - s.net_w, 0.0)
