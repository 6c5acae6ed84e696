"""Controls caps: how deep, on which nodes, how long. `ski_rental` decides whether to cap for the month's peak,
`event_caps` what a grid event takes.

Where GPU-hours have a price, `priced_caps` says which nodes and how deep, also where the energy alone is worth it.

Only deferrable nodes with a `cap_w` in the site file are capped, and never below it. The power removed by a cap is
measured at the node: while the node draws its cap, the difference to what it drew before. A node whose order fails, or
that draws more than its cap, is left alone and not counted on. Caps are for a site on the grid; off the grid, load
shedding has its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import msgspec

from dispatch.billing.peak_charges import main_charge, peak_charges
from dispatch.config.schema import DispatchConfig
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.events import Event
from dispatch.model.metering_interval import Interval
from dispatch.model.power_caps import BINDING, LEAST_W, SETTLE_S, CapsView, exceeds
from dispatch.model.readings import MISSING
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.event_caps import Short, with_event
from dispatch.power_caps.job_groups import Groups, NodeShare, among, capped_in_part, with_one_limit
from dispatch.power_caps.priced_caps import PricedCaps, of_nodes, why
from dispatch.power_caps.pricing import least_cap_w
from dispatch.power_caps.ski_rental import CapInputs, CapsLedger, decide
from dispatch.power_caps.throughput import Curve
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, span

PERIOD_S = 10.0  # between two decisions: nodes and meters take seconds to show what a cap did
BLIND_S = 60.0  # caps stay so long while import is not known
OFF_S = 3600.0  # a node that did not follow is tried again after this
EASE = 0.10  # caps are left as they are while what is wanted is less by no more than this
FADES = 2.0  # periods ahead of the battery that a cap has to take its part over
REST_S = 900.0  # caps in BMCs' memories are eased no more often, and made deeper by EASE more than is wanted


class CapsMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway must know: what was spent, and who may still be capped."""

    ledger: CapsLedger = CapsLedger()
    nodes: tuple[str, ...] = ()


class GridSide(msgspec.Struct, frozen=True):
    """The grid side of a tick. None: not known."""

    net_w: float | None  # load less PV, as metered: with the caps in force
    battery_most_w: float  # what devices and reserve let it give
    interval: Interval  # its budget, and what was imported in it so far
    month_peak_w: float
    grid_tied: bool
    utc_known: bool = True  # False: day and month, whose caps and peak count, are not known
    energy_eur_per_kwh: float = 0.0  # what an imported kWh costs now; 0: nothing is imported, or it is not known
    levels: tuple[ChargeLevel, ...] = ()  # what each charge on peaks leaves free; empty: `month_peak_w` is all
    limit_w: float = math.inf  # import that grid events, market targets and obligations allow now


class CapController:
    """Steps once per tick."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config, self._terms = config, {n.id: n for n in config.nodes if not n.critical and n.cap_w is not None}
        self._priced = PricedCaps(config) if config.caps.price_eur_per_gpu_hour is not None else None
        self._ledger = CapsLedger()
        self._caps: dict[str, float] = {}  # in force
        self._before: dict[str, float] = {}  # what each of them drew without
        self._since: dict[str, float] = {}  # mono_s of the order, or of that which made it deeper
        self._off: dict[str, float] = {}  # nodes that did not follow, and until when they are left alone, mono_s
        self._wears = frozenset(id for id, term in self._terms.items() if term.cap_wears)
        self._changed_s = -math.inf  # mono_s, when caps were last changed
        self._groups: Groups = ()  # nodes of one job each
        self._grouped: frozenset[frozenset[str]] = frozenset()  # those of them that the caps were made for
        self._asked_w = 0.0
        self._begun_utc_s: float | None = None
        self._reason = Reason("caps.none")
        self._last_s: float | None = None
        self._due_s = -math.inf
        self._limit_w = math.inf  # of the tick before
        self._battery_w = 0.0  # what the battery could give at the last decision under a limit
        self._known_s: float | None = None  # when import was last known
        self._spared_wh = 0.0  # what caps took of the running metering interval
        self._interval_s = 0.0  # its start

    @property
    def allowed(self) -> bool:
        """Whether the site allows caps at all."""
        return can_cap(self._config)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that are capped now."""
        return tuple(self._caps)

    def follow_jobs(self, groups: Groups) -> None:
        """Which nodes run the same jobs, from the next decision on; empty: not known, each is on its own."""
        self._groups = groups

    def follow_tiers(self, slowdown_pct: Mapping[str, int]) -> None:
        """What the jobs on a node tolerate, where that is less than its own tier does; from the next decision on."""
        if self._priced is not None:
            self._priced.follow_tiers(slowdown_pct)

    def follow_curves(self, curves: Mapping[str, Curve]) -> None:
        """Throughput against power of the jobs on a node, where they reported it; from the next decision on."""
        if self._priced is not None:
            self._priced.follow_curves(curves)

    def memory(self) -> CapsMemory:
        """What to keep for a restart."""
        return CapsMemory(self._ledger, self.nodes)

    def restore(self, memory: CapsMemory) -> None:
        """Take over what was kept; call before the first step. The caps themselves are decided anew."""
        self._ledger = msgspec.structs.replace(memory.ledger, cap_w=0.0)

    def recover(self, memory: CapsMemory) -> None:
        """Add what an earlier process spent of the same day and month; between two steps."""
        ours, kept = self._ledger, memory.ledger
        if ours.day in ("", kept.day):
            ours = msgspec.structs.replace(ours, day=kept.day, minutes=ours.minutes + kept.minutes)
        if ours.month in ("", kept.month):
            rent_eur, would_be_w = ours.rent_eur + kept.rent_eur, max(ours.would_be_w, kept.would_be_w)
            ours = msgspec.structs.replace(
                ours,
                month=kept.month,
                rent_eur=rent_eur,
                would_be_w=would_be_w,
                paid_eur=ours.paid_eur + kept.paid_eur,
            )
        self._ledger = ours

    def step(self, now: Snapshot, need: GridSide, failing: Set[str]) -> tuple[CapsView | None, tuple[Event, ...]]:
        """Take in a tick. `failing`: nodes that have not taken their last order. None where the site allows no caps."""
        if not (self.allowed or self._caps or (need.limit_w < math.inf and may_cap(self._config))):
            return None, ()
        events: list[Event] = []
        shed_w = self._account(now, need)
        if need.net_w is not None:
            self._known_s = now.mono_s
        events += self._watch(now, failing)
        if not need.grid_tied:
            events += self._lift(now, Reason("caps.off_grid"))
        elif not need.utc_known:
            events += self._lift(now, Reason("caps.clock_not_known"))
        elif need.net_w is None:
            if self._known_s is None or now.mono_s - self._known_s > BLIND_S:
                events += self._lift(now, Reason("caps.import_unknown", {"unknown_s": BLIND_S}))
        elif now.mono_s >= self._due_s or need.limit_w < self._limit_w:
            self._due_s = now.mono_s + PERIOD_S
            events += self._decide(now, need.net_w, need, shed_w, failing)
        self._limit_w = need.limit_w
        self._battery_w = self._battery_w if need.limit_w < math.inf else 0.0
        return self._view(shed_w, failing), tuple(events)

    # ── what caps have done ─────────────────────────────────────────────────────────────────────────────────────────

    def _account(self, now: Snapshot, need: GridSide) -> float:
        """Count minutes, rent and energy since the last tick; the power that caps take now, W."""
        dt_s = 0.0 if self._last_s is None else min(max(now.mono_s - self._last_s, 0.0), PERIOD_S)
        self._last_s = now.mono_s
        if need.interval.start_utc_s != self._interval_s:
            self._interval_s, self._spared_wh = need.interval.start_utc_s, 0.0
        if not self._caps:
            return 0.0
        if self._priced is None:
            shed_w = sum(self._shed_w(now).values())
            eur_per_h = shed_w / 1000 * self._config.caps.value_eur_per_kwh
        else:
            self._priced.see(now)
            shed_w = sum(self._priced.shed_w.values())
            eur_per_h = self._priced.rent_eur_per_h(need.energy_eur_per_kwh)
        self._spared_wh += shed_w * dt_s / 3600
        self._ledger = msgspec.structs.replace(
            self._ledger,
            minutes=self._ledger.minutes + dt_s / 60,
            rent_eur=self._ledger.rent_eur + dt_s / 3600 * eur_per_h,
        )
        return shed_w

    def _shed_w(self, now: Snapshot) -> dict[str, float]:
        """Power that each cap takes away, W; 0 for a node that would not draw more without it or is not read."""
        drawn = _drawn(now)
        result = {}
        for id, cap_w in self._caps.items():
            w = drawn.get(id)
            result[id] = max(0.0, self._before[id] - w) if w is not None and w >= BINDING * cap_w else 0.0
        return result

    def _watch(self, now: Snapshot, failing: Set[str]) -> list[Event]:
        """Find nodes that do not follow their cap."""
        events = []
        drawn = {node.id: node.w for node in now.nodes if node.id in self._caps}
        self._off = {id: until_s for id, until_s in self._off.items() if now.mono_s < until_s}
        for id, cap_w in self._caps.items():
            read = drawn.get(id, MISSING)  # of a BMC it may be from before the order
            w, late = read.good, now.mono_s - (read.age_s or 0.0) - self._since[id] > SETTLE_S
            if late and w is not None and exceeds(w, cap_w) and id not in self._off and id not in failing:
                self._off[id] = now.mono_s + OFF_S
                text = f"{id} draws {kw(w)}, capped to {kw(cap_w)} for {span(SETTLE_S)}; caps do not count on it"
                events.append(_event(now, "warning", id, text))
        return events

    # ── what caps are to do ─────────────────────────────────────────────────────────────────────────────────────────

    def _decide(self, now: Snapshot, net_w: float, need: GridSide, shed_w: float, failing: Set[str]) -> list[Event]:
        config, step_s, load_w = self._config, PERIOD_S, now.load_w if now.load_w is not None else net_w
        import_w = net_w + shed_w - need.battery_most_w
        ask = CapInputs(
            utc_s=now.utc_s,
            step_s=step_s,
            load_w=load_w + shed_w,
            import_w=import_w,
            import_max_w=need.interval.left_w,
            month_peak_w=need.month_peak_w,
            levels=need.levels,
            mean_w=self._mean_w(now, need.interval, import_w),
        )
        decided = decide(config.caps, peak_charges(config), config.timezone, ask, self._ledger)
        if need.limit_w < math.inf:
            short = Short(need.limit_w, import_w + self._fades_w(need.battery_most_w), load_w + shed_w)
            decided = with_event(decided, config.caps, short, step_s, self._ledger.cap_w)
        if decided.cap_w <= 0:
            self._ledger = decided.ledger
            if self._priced is not None:
                return self._share_by_price(self._priced, now, 0.0, decided.reason, need, failing)
            return self._rest(decided.reason) if self._stays(now, decided.reason) else self._lift(now, decided.reason)
        # minutes and rent are counted as they pass, by what the nodes show, not ahead by what is asked
        ahead_eur = decided.cap_w / 1000 * step_s / 3600 * config.caps.value_eur_per_kwh
        self._ledger = msgspec.structs.replace(
            decided.ledger,
            minutes=decided.ledger.minutes - step_s / 60,
            rent_eur=decided.ledger.rent_eur - ahead_eur,
        )
        if self._priced is not None:
            return self._share_by_price(self._priced, now, decided.cap_w, decided.reason, need, failing)
        return self._share(now, decided.cap_w, decided.reason, failing)

    def _fades_w(self, battery_w: float) -> float:
        """What the battery will no longer give once a cap shows, W >= 0: near the reserve it gives less and less."""
        falls_w, self._battery_w = max(0.0, self._battery_w - battery_w), battery_w
        return min(battery_w, FADES * falls_w)

    def _mean_w(self, now: Snapshot, interval: Interval, import_w: float) -> float:
        """The mean import of the running metering interval if nothing were, or had been, capped in it, W."""
        left_s = min(max(interval.start_utc_s + interval.length_s - now.utc_s, 0.0), interval.length_s)
        return (3600 * (interval.energy_wh + self._spared_wh) + max(0.0, import_w) * left_s) / interval.length_s

    @property
    def _spent(self) -> bool:
        """Whether this day's minutes are used up."""
        return self._ledger.minutes + PERIOD_S / 60 > self._config.caps.minutes_per_day

    def _rests(self, now: Snapshot) -> bool:
        """Whether caps were changed a short while ago that BMCs keep in memory that wears out."""
        return now.mono_s - self._changed_s < REST_S and not self._wears.isdisjoint(self._caps)

    def _stays(self, now: Snapshot, reason: Reason) -> bool:
        """Whether caps that nothing needs stay for a while. `reason`: why none is needed."""
        return reason.code == "caps.battery_holds" and self._rests(now) and not self._spent

    def _rest(self, reason: Reason) -> list[Event]:
        """Leave the caps as they are, deeper than is needed."""
        self._ledger = msgspec.structs.replace(self._ledger, cap_w=self._asked_w)
        self._reason = Reason("caps.rests", {"reason": reason, "rest_s": REST_S})
        return []

    def _resting(self, now: Snapshot, asked_w: float, reason: Reason) -> bool:
        """Whether caps stay for a while although much less is asked."""
        if asked_w >= (1 - EASE) * self._asked_w:
            return False
        return self._rests(now) and (asked_w > LEAST_W or self._stays(now, reason))

    def _near(self, wanted_w: float) -> bool:
        """Whether the caps in force take what is wanted, by at most EASE too much, from the same groups of nodes."""
        close = (1 - EASE) * self._asked_w <= wanted_w <= self._asked_w
        return close and among(self._groups, self._caps) == self._grouped

    def _share(self, now: Snapshot, wanted_w: float, reason: Reason, failing: Set[str]) -> list[Event]:
        """Spread what is wanted over the nodes that can give it, by how much each can."""
        lost = self._caps.keys() & (self._off.keys() | failing)
        if self._caps and not lost and self._near(wanted_w):
            self._reason = reason
            return []
        if self._rests(now) and not lost:
            if wanted_w < self._asked_w:
                return self._rest(reason)
            wanted_w *= 1 + EASE
        able = self._chosen(self._available(now, failing), wanted_w, failing)
        total_w = sum(share.room_w for share in able.values())
        if total_w <= LEAST_W:
            return self._lift(now, Reason("caps.no_node", {"reason": reason}))
        part = min(1.0, wanted_w / total_w)
        caps_w = {id: LEAST_W * round((one.base_w - part * one.room_w) / LEAST_W) for id, one in able.items()}
        caps_w = with_one_limit(caps_w, able, self._groups)
        asked_w = part * total_w
        if self._groups:
            asked_w = sum(max(able[id].base_w - cap_w, 0.0) for id, cap_w in caps_w.items())
        return self._cap(now, caps_w, {id: share.base_w for id, share in able.items()}, asked_w, reason)

    def _share_by_price(
        self, priced: PricedCaps, now: Snapshot, wanted_w: float, reason: Reason, need: GridSide, failing: Set[str]
    ) -> list[Event]:
        """Cap where the fewest GPU-hours are lost; and where the energy is worth more than they are."""
        saved_eur_per_kwh = 0.0 if self._spent else need.energy_eur_per_kwh
        takes = self._terms.keys() - failing - self._off.keys()
        last = capped_in_part(self._groups, takes, takes)
        length_s = need.interval.length_s
        chosen = priced.choose(now, takes, wanted_w, saved_eur_per_kwh, length_s, self._groups, last)
        asked_w = sum(one.shed_w for one in chosen)
        kept = self._caps.keys() <= takes and not priced.stricter(now)
        if kept and self._resting(now, asked_w, reason):
            return self._rest(why(priced.costs, reason))
        if asked_w <= LEAST_W:
            return self._lift(now, Reason("caps.no_node", {"reason": reason}) if wanted_w > 0 else reason)
        if wanted_w <= 0:
            reason = Reason("caps.energy", {"eur_per_kwh": saved_eur_per_kwh})
        caps_w, base_w, costs = of_nodes(chosen)
        if kept and (self._rests(now) or caps_w.keys() == self._caps.keys()) and self._near(asked_w):
            self._reason = why(priced.costs, reason)
            return []
        priced.hold(chosen)
        return self._cap(now, caps_w, base_w, asked_w, why(costs, reason))

    def _cap(
        self, now: Snapshot, caps_w: dict[str, float], base_w: dict[str, float], asked_w: float, reason: Reason
    ) -> list[Event]:
        """These caps hold from now on. `base_w`: what their nodes would draw without."""
        begins, were_w = not self._caps, self._caps
        self._since = {
            id: self._since[id] if id in were_w and cap_w >= were_w[id] else now.mono_s for id, cap_w in caps_w.items()
        }
        self._caps, self._before, self._asked_w, self._reason = caps_w, base_w, asked_w, reason
        self._changed_s, self._grouped = now.mono_s, among(self._groups, caps_w)
        self._ledger = msgspec.structs.replace(self._ledger, cap_w=asked_w)
        if not begins:
            return []
        self._begun_utc_s = now.utc_s
        text = f"{', '.join(caps_w)} capped by {kw(asked_w)}: {words(reason)}"
        return [_event(now, "warning", "caps", text)]

    def _available(self, now: Snapshot, failing: Set[str]) -> dict[str, NodeShare]:
        """Each node that can be counted on and can give something."""
        drawn, nodes, result = _drawn(now), {node.id: node for node in now.nodes}, {}
        for id, term in self._terms.items():
            if id in failing or id in self._off or id not in drawn:
                continue
            base_w = max(self._before[id], drawn[id]) if self._binds(id, drawn[id]) else drawn[id]
            room_w = base_w - max(least_cap_w(nodes[id], term), (1 - self._config.caps.max_share) * base_w)
            if room_w > LEAST_W:
                result[id] = NodeShare(
                    base_w, room_w, term.gpus or nodes[id].gpus_total or len(nodes[id].gpus), term.host_w
                )
        return result

    def _chosen(self, able: dict[str, NodeShare], wanted_w: float, failing: Set[str]) -> dict[str, NodeShare]:
        """Those that are enough for what is wanted, if any are: jobs of which some nodes take no cap come last."""
        last = capped_in_part(self._groups, able, self._terms.keys() - failing - self._off.keys())
        first = {id: share for id, share in able.items() if id not in last}
        return first if sum(share.room_w for share in first.values()) >= wanted_w else able

    def _binds(self, id: str, w: float) -> bool:
        return id in self._caps and w >= BINDING * self._caps[id]

    def _lift(self, now: Snapshot, reason: Reason) -> list[Event]:
        """Nothing is capped from now on."""
        was, asked_w = self._caps, self._asked_w
        self._caps, self._before, self._since, self._asked_w = {}, {}, {}, 0.0
        if self._priced is not None:
            self._priced.hold(())
            self._priced.see(now)
        self._reason = reason
        self._ledger = msgspec.structs.replace(self._ledger, cap_w=0.0)
        begun_utc_s, self._begun_utc_s = self._begun_utc_s, None
        if not was:
            return []
        lasted = span(max(now.utc_s - (begun_utc_s or now.utc_s), 0.0))
        spent = f"{self._ledger.minutes:.0f} min today, {self._ledger.rent_eur:.2f} EUR this month"
        text = f"caps by {kw(asked_w)} are lifted after {lasted}: {words(reason)}; {spent}"
        return [_event(now, "info", "caps", text)]

    def _view(self, shed_w: float, failing: Set[str]) -> CapsView:
        return CapsView(
            nodes=tuple(self._caps.items()),
            asked_w=self._asked_w,
            shed_w=shed_w,
            reason=self._reason,
            since_utc_s=self._begun_utc_s,
            minutes=self._ledger.minutes,
            rent_eur=self._ledger.rent_eur,
            not_counted=tuple(sorted((self._off.keys() | failing) & self._terms.keys())),
            costs=self._priced.costs if self._priced is not None else (),
        )


def can_cap(config: DispatchConfig) -> bool:
    """Whether a site allows caps, has something that they may save, and deferrable nodes that take one."""
    saves = main_charge(config).eur_per_kw > 0 or config.caps.price_eur_per_gpu_hour is not None
    return saves and may_cap(config)


def may_cap(config: DispatchConfig) -> bool:
    """Whether a site allows caps and has deferrable nodes that take one."""
    return config.caps.max_share > 0 and any(not n.critical and n.cap_w is not None for n in config.nodes)


def counted_on(config: DispatchConfig, view: CapsView | None) -> bool:
    """Whether a plan may count on caps: the site allows them, and not every node that takes one fails."""
    if main_charge(config).eur_per_kw <= 0:
        return False
    able = {n.id for n in config.nodes if not n.critical and n.cap_w is not None}
    return can_cap(config) and not able <= set(view.not_counted if view is not None else ())


def _drawn(now: Snapshot) -> dict[str, float]:
    """Power of each node that is known well enough, W."""
    return {n.id: w for n in now.nodes if (w := n.w.good) is not None}


def _event(now: Snapshot, severity: str, subject: str, text: str) -> Event:
    return Event(now.utc_s, "node", severity, subject, text)
