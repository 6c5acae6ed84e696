"""Limits PV inverters so that export stays within its limit once the battery cannot charge more.

export = battery - net load, so the PV that may be limited can give at most
    what it gives now + net load - lowest battery power + allowed export.
On a generator its lowest load takes the place of the export, as an export below 0.
With the lowest battery power in it PV is limited only where the battery charges as much as it can: until then PV may
rise, export rises with it, and the fuse rule (`dispatch.control.rules.fuse`) has the battery take it.
In hours in which exported energy costs, by a published price, nothing is exported: load and battery take what they are
asked to take, by the plan, and the rest of the PV is limited. Where import pays, PV does not charge the battery either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from dispatch.config.schema import DispatchConfig, PvTerms
from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation
from dispatch.islanding.observation import IslandStep
from dispatch.model.decision import PvLimit
from dispatch.model.equipment import Pv
from dispatch.model.events import Event
from dispatch.model.islanding import COMMANDED, WITHOUT_GRID, IslandState
from dispatch.model.plan import PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Bounds
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

RAISE_S = 5.0  # between two steps up: a limit that follows each cloud and load is written all the time
FOLLOW_S = 5.0  # a battery asked for its most has followed by then: what it does is what it can
BAND = 0.02  # of the rated power of all inverters: a limit that is so close below the wanted one stays
REMEMBER_S = 300.0  # then it is tried again whether it can take more
NEAR = 0.9  # an inverter that gives this share of its limit may be held back by it
HEADROOM = 0.05  # of its rated power: what another may rise by until it is looked at again


class Site(msgspec.Struct, frozen=True):
    """What curtailment may look at. Powers in W; battery > 0 discharges."""

    snapshot: Snapshot
    state: IslandState
    joined: bool  # to the grid, as the devices show it at this tick, whatever the state
    on_battery: bool  # it lives on its battery, as far as anybody can tell
    net_w: float | None  # load - PV - what PCS do that take no part; None: not known
    battery_low_w: float  # the lowest power that the limits leave the PCS that take part
    battery_asked_w: float | None
    battery_does_w: float | None  # measured, of these PCS; None: not known
    allowed_w: float | None  # export; < 0: so much must be imported; None: not known
    production_w: float = math.inf  # the most that all inverters may give together
    prices: tuple[float, float] | None = None  # of import and export now, EUR/kWh, where exported energy costs


class PvCurtailment:
    """One step per tick. Limits only inverters with `curtail` that answer; off the grid none: there frequency rules.

    While nobody knows whether the site is on the grid, limits stay as they are; before the first decision none is made,
    and what an earlier gateway has left stays.
    """

    def __init__(self, config: DispatchConfig) -> None:
        self._terms = {pv.id: pv for pv in config.pv if pv.curtail}
        self._others = tuple(pv for pv in config.pv if not pv.curtail)
        self._rules = config.rules
        self._begun = False  # something has been decided
        self._held_w: float | None = None  # of all limited inverters together; None: not limited
        self._limits: dict[str, float] = {}
        self._raised_s = -math.inf
        self._net_known_s: float | None = None
        self._shared: tuple[float, float, frozenset[str]] | None = None  # when, of what total, among whom
        self._behind_s: float | None = None  # since when the battery has charged less than it is asked, or all it can
        self._told: dict[str, str | None] = {}  # why each inverter is limited, as told last
        self._news: list[PvLimit] = []
        self._can: tuple[float, float] | None = None  # the lowest power that it was seen to reach, and until when

    def step(self, site: Site) -> tuple[PvLimit, ...]:
        """The limit of each inverter that may be limited and answers now."""
        found = [pv for pv in site.snapshot.pv if pv.id in self._terms and pv.w.good is not None and not pv.asleep]
        if not found:
            return ()
        if not (site.joined or site.state in COMMANDED):
            return self._not_joined(site, found)
        if site.allowed_w is None:
            return self._as_before(found, Reason("curtail.genset_undeclared"))
        most_w = sum(self._terms[pv.id].most_w for pv in found)
        room_w, reason = self._room(site, found, site.allowed_w)
        if room_w is None:
            return self._as_before(found, reason)
        room_w, reason = self._within_production(site, found, room_w, reason)
        room_w, reason = _within_price(site, found, room_w, reason)
        self._begun = True
        self._hold(site.snapshot.mono_s, room_w, most_w)
        self._share(site.snapshot.mono_s, found)
        if self._held_w is None:
            reason = Reason("curtail.none", {"room_w": room_w})
            if site.state is IslandState.GENSET:
                reason = Reason("curtail.none_on_genset", {"room_w": room_w})
        else:  # what is in force, which is a little less than there is room for, or not raised yet
            reason = msgspec.structs.replace(reason, figures=reason.figures | {"limit_w": self._held_w})
        return self._tell(tuple(PvLimit(pv.id, self._limits.get(pv.id), reason) for pv in found))

    def _not_joined(self, site: Site, found: Sequence[Pv]) -> tuple[PvLimit, ...]:
        if not (site.on_battery or site.state in WITHOUT_GRID):
            return self._as_before(found, Reason("curtail.state_unknown", {"state": site.state.value}))
        self._forget()
        self._begun = True
        off_grid = Reason("curtail.off_grid", {"state": site.state.value})
        return self._tell(tuple(PvLimit(pv.id, None, off_grid) for pv in found))

    def _as_before(self, found: Sequence[Pv], reason: Reason) -> tuple[PvLimit, ...]:
        return tuple(PvLimit(pv.id, self._limits.get(pv.id), reason) for pv in found) if self._begun else ()

    def events(self, utc_s: float) -> tuple[Event, ...]:
        """What began or ended with the last step, for the event log."""
        told, self._news = self._news, []
        return tuple(Event(utc_s, "device", "info", limit.device_id, words(limit.reason)) for limit in told)

    def _tell(self, limits: tuple[PvLimit, ...]) -> tuple[PvLimit, ...]:
        for limit in limits:
            now = None if limit.w is None else limit.reason.code
            if self._told.get(limit.device_id) != now and limit.reason.code != "curtail.held":
                self._told[limit.device_id] = now
                self._news.append(limit)
        return limits

    def _forget(self) -> None:
        self._held_w, self._limits, self._shared, self._behind_s, self._net_known_s = None, {}, None, None, None

    def _room(self, site: Site, found: Sequence[Pv], allowed_w: float) -> tuple[float | None, Reason]:
        """What these inverters may give together, W, and why; None: as before."""
        mono_s = site.snapshot.mono_s
        if site.net_w is None:
            self._net_known_s = mono_s if self._net_known_s is None else self._net_known_s  # at the start, say
            if mono_s - self._net_known_s <= self._rules.meter_lost_hold_s:
                return None, Reason("curtail.held", {"hold_s": self._rules.meter_lost_hold_s})
            discharge_w = max(site.battery_does_w or 0.0, site.battery_asked_w or 0.0, 0.0)
            others_w = self._others_w(site.snapshot) + self._unread_w(site.snapshot, found)
            room_w = max(allowed_w - discharge_w - others_w, 0.0)
            if site.state is IslandState.GENSET:
                return room_w, Reason("curtail.genset_load_unknown", {"limit_w": room_w})
            return room_w, Reason("curtail.load_unknown", {"limit_w": room_w, "export_w": allowed_w})
        self._net_known_s = mono_s
        taken_w = sum(pv.w.good or 0.0 for pv in found) + site.net_w
        low_w = self._battery_w(site)
        room_w = max(taken_w - low_w + allowed_w, 0.0)
        charge_w = max(-low_w, 0.0)
        if site.state is IslandState.GENSET:
            least_w = -allowed_w
            return room_w, Reason(
                "curtail.genset", {"limit_w": room_w, "load_w": taken_w, "charge_w": charge_w, "least_w": least_w}
            )
        return room_w, Reason(
            "curtail.export",
            {"limit_w": room_w, "load_w": taken_w, "charge_w": charge_w, "export_w": allowed_w},
        )

    def _within_production(
        self, site: Site, found: Sequence[Pv], room_w: float, reason: Reason
    ) -> tuple[float, Reason]:
        """The same where PV as a whole may give no more than `production_w`."""
        if site.production_w == math.inf:
            return room_w, reason
        left_w = max(site.production_w - self._others_w(site.snapshot) - self._unread_w(site.snapshot, found), 0.0)
        if left_w >= room_w:
            return room_w, reason
        return left_w, Reason("curtail.production", {"limit_w": left_w, "production_w": site.production_w})

    def _battery_w(self, site: Site) -> float:
        """The lowest power that the battery can take: by its limits, but no lower than it was seen to reach of late."""
        mono_s, asked_w, low_w, does_w = (
            site.snapshot.mono_s,
            site.battery_asked_w,
            site.battery_low_w,
            site.battery_does_w,
        )
        if asked_w is None:  # it is not commanded: what it does now may end
            self._behind_s = None
            return max(does_w or 0.0, 0.0)
        if does_w is None:
            return low_w
        near_w = self._rules.deadband_w
        if asked_w > low_w + near_w and does_w <= asked_w + near_w:
            self._behind_s = None
        elif self._behind_s is None:
            self._behind_s = mono_s
        if self._behind_s is not None and mono_s - self._behind_s >= FOLLOW_S:
            self._can = does_w, mono_s + REMEMBER_S
        if self._can is not None and (mono_s >= self._can[1] or does_w < self._can[0] - near_w):
            self._can = None
        return low_w if self._can is None else max(low_w, self._can[0])

    def _others_w(self, snapshot: Snapshot) -> float:
        """What inverters that are not limited give, W; one that does not answer its most."""
        now = {pv.id: 0.0 if pv.asleep else pv.w.good for pv in snapshot.pv}
        return sum(pv.most_w if (w := now.get(pv.id)) is None else w for pv in self._others)

    def _unread_w(self, snapshot: Snapshot, found: Sequence[Pv]) -> float:
        """The most that inverters may give that are limited and do not answer, W: their limit, until its timer ends."""
        spoken = {pv.id for pv in found} | {pv.id for pv in snapshot.pv if pv.asleep}
        return sum(self._limits.get(id, pv.most_w) for id, pv in self._terms.items() if id not in spoken)

    def _hold(self, mono_s: float, room_w: float, most_w: float) -> None:
        """Lower the limit at once, raise or lift it at most every RAISE_S, keep one that is close enough below."""
        band_w = max(self._rules.deadband_w, BAND * most_w)
        held_w = self._held_w
        if room_w < most_w and (held_w is None or held_w > room_w):
            self._held_w, self._raised_s = max(room_w - band_w / 2, 0.0), mono_s
        elif held_w is not None and room_w > held_w + band_w and mono_s - self._raised_s >= RAISE_S:
            self._held_w, self._raised_s = (None if room_w >= most_w else room_w - band_w / 2), mono_s

    def _share(self, mono_s: float, found: Sequence[Pv]) -> None:
        """Share out what is held when that has changed, and every RAISE_S, as clouds go on."""
        if self._held_w is None:
            self._limits, self._shared = {}, None
            return
        among = frozenset(pv.id for pv in found)
        if self._shared is not None:
            at_s, total_w, before = self._shared
            if total_w == self._held_w and before == among and mono_s - at_s < RAISE_S:
                return
        self._limits = shares(self._held_w, found, self._terms, self._limits)
        self._shared = mono_s, self._held_w, among


def _within_price(site: Site, found: Sequence[Pv], room_w: float, reason: Reason) -> tuple[float, Reason]:
    """The same where exported energy costs: what the rest of the site takes, and the battery as it is asked."""
    if site.prices is None or site.net_w is None:
        return room_w, reason
    (buy, sell), load_w = site.prices, sum(pv.w.good or 0.0 for pv in found) + site.net_w
    charge_w = max(-(site.battery_asked_w or 0.0), 0.0) if buy >= 0 else 0.0
    left_w = max(load_w + charge_w, 0.0)
    if left_w >= room_w:
        return room_w, reason
    return left_w, Reason(
        "curtail.price",
        {"limit_w": left_w, "load_w": load_w, "charge_w": charge_w, "price_eur_per_kwh": sell},
    )


def site_of(s: Situation, hard: Bounds, total_w: float | None, island: IslandStep) -> Site:
    """What curtailment may look at. `hard`: what limits leave the battery; `total_w`: what it is asked."""
    ready = {u.id for u in s.units if u.ready is Ready.READY}
    powers = [pcs.w.good for pcs in s.snapshot.pcs if pcs.id in ready]
    known = [w for w in powers if w is not None]
    return Site(
        snapshot=s.snapshot,
        state=s.islanding.state,
        joined=island.joined,
        on_battery=island.on_battery,
        net_w=s.net_w,
        battery_low_w=hard.low_w,
        battery_asked_w=total_w,
        battery_does_w=sum(known) if len(known) == len(ready) else None,
        allowed_w=_allowed_w(s),
        production_w=math.inf if s.islanding.state is IslandState.GENSET else s.obliged.production_w,
        prices=prices_now(s.step, s.islanding.state),
    )


def prices_now(step: PlanStep | None, state: IslandState) -> tuple[float, float] | None:
    """Prices of import and export, EUR/kWh, where exported energy costs now by a published price; else None."""
    if step is None or step.assumed or step.sell_eur_per_kwh is None or state is not IslandState.GRID_TIED:
        return None
    return (step.price_eur_per_kwh, step.sell_eur_per_kwh) if step.sell_eur_per_kwh < 0 else None


def _allowed_w(s: Situation) -> float | None:
    if s.islanding.state is IslandState.GENSET:
        return None if s.config.genset is None else -s.config.genset.min_load_w
    own_w = s.config.grid.export_limit_w if s.pv_export_w is None else s.pv_export_w
    return min(own_w, s.obliged.export_w)


def shares(
    total_w: float, found: Sequence[Pv], terms: Mapping[str, PvTerms], limits: Mapping[str, float]
) -> dict[str, float]:
    """A limit for each inverter, together `total_w`: one that gives less than its limit leaves its share to others."""
    wants = {pv.id: _want_w(pv, terms[pv.id].most_w, limits.get(pv.id)) for pv in found}
    given: dict[str, float] = {}
    left_w, weight_w = total_w, sum(terms[id].most_w for id in wants)
    for id in sorted(wants, key=lambda id: wants[id] / terms[id].most_w):
        given[id] = min(wants[id], left_w * terms[id].most_w / weight_w)
        left_w, weight_w = left_w - given[id], weight_w - terms[id].most_w
    rated_w = sum(terms[id].most_w for id in wants)
    return {id: w + left_w * terms[id].most_w / rated_w for id, w in given.items()}


def _want_w(pv: Pv, most_w: float, limit_w: float | None) -> float:
    w = pv.w.good or 0.0
    if limit_w is None or w >= NEAR * limit_w:
        return most_w
    return min(w + HEADROOM * most_w, most_w)


def fallback_limits(config: DispatchConfig) -> dict[str, float]:
    """What each inverter that may be limited is to keep when it hears nothing more, W.

    Its share of the export limit, by the most that each inverter of the site can give: then the limit holds whatever
    the load is.
    """
    grid = config.grid
    most_w = sum(pv.most_w for pv in config.pv)
    limit_w = max(grid.export_limit_w - grid.export_margin_w, 0.0)
    return {pv.id: limit_w * pv.most_w / most_w for pv in config.pv if pv.curtail}
