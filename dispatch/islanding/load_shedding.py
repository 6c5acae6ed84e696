"""Decides what nodes give up off the grid to carry the critical ones as long as promised.

Steps: 1 stop new starts, 2 cap deferrable nodes, 3 save and requeue their jobs, 4 power off empty nodes, 5 cap critical
nodes, 6 orderly shutdown in time to finish on battery (`shedding_steps`). Off the grid the steps only increase, one at
a time so that each shows its effect; an overload takes the next step that sheds power at once. Jobs are requeued, once
they have had the time stated for saving, only while what calls for it goes on: once the grid is back none is. Back
on the grid, with the battery recovered, the steps are undone in reverse order. The draw is all the power
that the battery gives, cooling and network included. A generator is no outage: there only a load above its rating takes
a step, and one is undone where it has room, unless it was overloaded before.

Off the grid no step is undone. So what calls for one must have held for a while: HOLD_S for the steps that end jobs or
touch critical nodes. A trip or a limit that a single sample tells calls for none. These steps are timed by an SoC that
energy, the BMS's limits or its lowest cell confirm (`confirmed_soc`). One that only its own report tells of leads, one
step after the other, to the steps before them, and the energy counted from before times the others. Where nothing is
counted either, after a start, it must have stood for UNWITNESSED_S.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.islanding.held import Held
from dispatch.islanding.requeue import Requeue
from dispatch.islanding.runtime_estimator import RuntimeEstimator
from dispatch.islanding.shedding_memory import LoadSheddingMemory
from dispatch.islanding.shedding_steps import (
    CODES,
    FORMER,
    SHUTDOWN,
    STEPS,
    STOP_STARTS,
    first_firm,
    lacking,
    names_of,
    newly_with_gpus,
    order_of,
    steps_of,
    with_gpus,
)
from dispatch.model.battery_bank import BatteryBank, in_service
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState, NodeOrder, RideThrough
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

DRAW_S = 60.0  # the draw is smoothed with this time constant, so that a pulse is not taken for the new load
LEAST_W = 50.0  # a draw below this lasts for ever
OVERLOAD_S = 1.0  # an overload holds for so long before a step, and between two of them;
OVERLOAD_FIRM_S = 5.0  # and for so long before jobs end or critical nodes are capped
DOUBT_S = 15.0  # a slow BMS has given a second sample by then: what is still doubted holds nothing up any more
HOLD_S = 10.0  # too little runtime holds for so long before jobs end, critical nodes are capped, or shut down
UNWITNESSED_S = 300.0  # the same where only the SoC's own report tells of it and no energy is counted: after a start
GENSET_SETTLE_S = 5.0  # on a generator, between two steps: its meter must show what the last one has changed
GENSET_ROOM = 0.8  # of its rating: above it no step is taken back
SHUTDOWN_MARGIN = 1.25  # shutdown begins with this much more runtime than it takes


class LoadSheddingResult(msgspec.Struct, frozen=True):
    """What came out of a tick."""

    view: RideThrough
    orders: tuple[NodeOrder, ...]
    events: tuple[Event, ...]


class LoadShedding:
    """Steps once per tick."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config, self._terms = config, config.ride_through
        self.energy = RuntimeEstimator(config)
        self.stage = self._deepest = 0
        self._have_gpus = with_gpus(config)
        self._steps, self._lacks = steps_of(config, self._have_gpus), lacking(config, self._have_gpus)
        self._names, self._firm, self._requeue = names_of(config), first_firm(config), Requeue(config)
        self._engaged = False  # nodes have been asked for something; orders go on until they are free again
        self._why: Reason | None = None
        self._since: tuple[float, float] | None = None  # utc, mono: start of this islanding
        self._since_utc_s: float | None = None  # of an islanding that a gateway before us saw begin
        self._was_tied = False  # since the start
        self._moved_s = -math.inf  # last change of the stage
        self._draw_w: float | None = None
        self._draw_s = 0.0  # for how long it has been seen
        self._last_s: float | None = None
        self._low, self._sure, self._short, self._overload = Held(), Held(), Held(), Held()
        self._doubted, self._unsure = Held(), False  # which PCS and batteries serve, and what they may give
        self._genset = False  # on a generator; then, since it took over:
        self._too_much = False  # its rating was exceeded
        self._waits = False  # it has been said that only the SoC's report calls for a shutdown

    def memory(self) -> LoadSheddingMemory:
        """What to keep for a restart."""
        since = None if self._since is None else self._since[0]
        return LoadSheddingMemory(
            former=FORMER[self.stage],
            engaged=self._engaged,
            since_utc_s=since,
            energy=self.energy.memory(),
            step=STEPS[self.stage].code,
            deepest=STEPS[self._deepest].code,
            have_gpus=tuple(sorted(self._have_gpus)),
        )

    def restore(self, memory: LoadSheddingMemory) -> None:
        """Take over what was kept; call before the first step. With load shedding off, nodes are freed."""
        self.stage = memory.stage if self._terms.enabled else 0
        self._deepest = max(self.stage, CODES.get(memory.deepest, 0) if self.stage else 0)
        self._engaged, self._since_utc_s = memory.engaged, memory.since_utc_s
        self._why = Reason("ride.kept") if self.stage else None
        self._learn_gpus(frozenset(memory.have_gpus))
        self.energy.restore(memory.energy)

    def recover(self, memory: LoadSheddingMemory) -> None:
        """Join what was kept and could not be read before the first step; between two steps.

        The nodes are still as the deeper stage left them: it is taken over, and undone step by step. An islanding goes
        on since then only if the grid was not there meanwhile.
        """
        if self._terms.enabled and memory.stage > self.stage:
            self.stage, self._why = memory.stage, Reason("ride.kept")
            self._deepest = max(self._deepest, self.stage, CODES.get(memory.deepest, 0))
        self._learn_gpus(frozenset(memory.have_gpus))
        self._engaged = self._engaged or memory.engaged
        if memory.since_utc_s is not None and self._since is not None and not self._was_tied:
            utc_s, mono_s = self._since
            begun_utc_s = min(memory.since_utc_s, utc_s)
            self._since = (begun_utc_s, mono_s - (utc_s - begun_utc_s))
        self.energy.recover(memory.energy)

    def step(
        self, snapshot: Snapshot, on_battery: bool, state: IslandState, drilling: bool = False
    ) -> LoadSheddingResult:
        """Take in a tick. `on_battery`: the site lives on its battery as far as anybody can tell.

        drilling: for a drill, with a grid to go back to. Its own criteria end it before hours run short, so nothing
            is given up for those promised.
        """
        now, events = snapshot, []
        self._mark(now, on_battery)
        self._learn_gpus(newly_with_gpus(self._have_gpus, now))
        on_genset = state is IslandState.GENSET
        if on_genset is not self._genset or not (on_genset or on_battery):
            self._genset, self._overload, self._too_much = on_genset, Held(), False
        bank = BatteryBank(self._config, now)
        if found := self.energy.update(now, bank.soc_pct):
            events.append(_event(now, "info", found))
        self._smooth(now, on_battery)
        if self._terms.enabled:
            if on_battery:
                wanted = self._shed_more(now, drilling)
            elif on_genset:
                wanted = self._on_genset(now, bank)
            else:
                wanted = self._shed_less(now, bank, state)
            if wanted is not None:
                events.append(self._move(now, *wanted))
            self._requeue.update(self.stage, on_battery or (on_genset and self._too_much), now.mono_s)
            events += self._tell_waiting(now)
        return LoadSheddingResult(self._view(now), self._orders(), tuple(events))

    def _learn_gpus(self, nodes: frozenset[str]) -> None:
        """These have GPUs, too."""
        if not nodes <= self._have_gpus:
            self._have_gpus |= nodes
            self._steps, self._lacks = steps_of(self._config, self._have_gpus), lacking(self._config, self._have_gpus)

    # ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _mark(self, now: Snapshot, on_battery: bool) -> None:
        """When this islanding began; a gateway before us may have seen it."""
        self._was_tied = self._was_tied or not on_battery
        if not on_battery:
            self._low, self._sure, self._short = Held(), Held(), Held()
            self._waits = False
            self._since, self._draw_w = None, (None if self._since is not None else self._draw_w)
        elif self._since is None:
            begun_utc_s = now.utc_s if self._since_utc_s is None else min(self._since_utc_s, now.utc_s)
            self._since = (begun_utc_s, now.mono_s - (now.utc_s - begun_utc_s))
            self._draw_w, self._moved_s = None, now.mono_s
        self._since_utc_s = None

    def _smooth(self, now: Snapshot, on_battery: bool) -> None:
        """Islanded, what the PCS give; else what they would have to: load less PV."""
        w = now.pcs_w
        if not on_battery:
            load_w, pv_w = now.load_w, now.pv_w
            w = None if load_w is None or pv_w is None else load_w - pv_w
        dt_s = 0.0 if self._last_s is None else now.mono_s - self._last_s
        self._last_s = now.mono_s
        if w is None:
            return
        if self._draw_w is None:
            self._draw_w, self._draw_s, dt_s = w, 0.0, 0.0
        self._draw_s += dt_s
        share = 1 - math.exp(-dt_s / DRAW_S)
        if self._draw_s > 0:  # at first the mean: the sample with which it began counts no more than another
            share = max(share, dt_s / self._draw_s)
        self._draw_w += (w - self._draw_w) * share

    def _lasts_s(self, wh: float | None) -> float | None:
        if wh is None or self._draw_w is None or self._draw_w < LEAST_W:
            return None
        return 3600 * wh / self._draw_w

    def _promised_left_s(self, now: Snapshot) -> float | None:
        if self._since is None:
            return None
        return max(self._config.reserve.hours * 3600 - (now.mono_s - self._since[1]), 0.0)

    def _view(self, now: Snapshot) -> RideThrough:
        low_s, shutdown_in_s = self._lasts_s(self.energy.low_wh()), None
        if low_s is not None and self._since is not None and self.stage < SHUTDOWN and self._terms.enabled:
            sure_s = self._lasts_s(self.energy.low_wh(confirmed=True)) or 0.0
            wait_s = UNWITNESSED_S - max(self._sure.held_s(now.mono_s), 0.0) if self._unwitnessed else 0.0
            shutdown_in_s = max(sure_s - self._need_s, wait_s, 0.0)
        return RideThrough(
            runtime_s=self._lasts_s(self.energy.usable_wh()),
            low_s=low_s,
            promised_left_s=self._promised_left_s(now),
            draw_w=self._draw_w,
            most_w=BatteryBank(self._config, now).discharge_w,
            wh_per_pct=self.energy.wh_per_pct,
            learnt_pct=self.energy.learnt_pct,
            rung=self.stage,
            rung_name=self._names[self.stage],
            why=self._why,
            shutdown_in_s=shutdown_in_s,
            rungs=SHUTDOWN,
            lacks=self._lacks,
        )

    # ── the ladder ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _need_s(self) -> float:
        return SHUTDOWN_MARGIN * self._terms.shutdown_s

    def _shed_more(self, now: Snapshot, drilling: bool) -> tuple[int, Reason] | None:
        """The step to take while living on the battery, and why."""
        above, since_s = self._next_stage(), now.mono_s - self._moved_s
        self._unsure = 0 <= self._doubted.update(_once_told(now), now.mono_s) < DOUBT_S
        low = self._shut_down(now, above)
        overload = self._relieve(now)
        short = self._keep_promise(now, drilling, above)
        if self.stage >= SHUTDOWN:
            return None
        if low is not None:
            return low
        if above is None:
            return None
        sheds = self._next_stage(max(self.stage, STOP_STARTS)) or above
        overload_s = OVERLOAD_FIRM_S if sheds >= self._firm else OVERLOAD_S
        if overload[0] >= overload_s and since_s >= OVERLOAD_S:
            return sheds, overload[1]
        short_s = self._hold_s if above >= self._firm else 0.0
        if short[0] >= short_s and self._settled(now):
            return above, short[1]
        return None

    def _settled(self, now: Snapshot) -> bool:
        """Whether the last step has shown its effect; jobs that save before they are requeued still draw power."""
        moved_s = max(self._moved_s, self._requeue.last_s)
        return not self._requeue.waits and now.mono_s - moved_s >= self._terms.settle_s

    @property
    def _unwitnessed(self) -> bool:
        """Whether only the report tells of the SoC, and not even a count speaks against it."""
        return self.energy.confirmed.alone and self.energy.confirmed.counted_pct is None

    @property
    def _hold_s(self) -> float:
        """For how long too little runtime holds before jobs end or critical nodes are touched."""
        return UNWITNESSED_S if self._unwitnessed else HOLD_S

    def _shut_down(self, now: Snapshot, above: int | None) -> tuple[int, Reason] | None:
        """Shutdown in time; where only the SoC itself says so, the steps that end no job and spare critical nodes."""
        need_s, lasts_s, unsure = self._need_s, self._lasts_s(self.energy.low_wh()), self._unsure
        sure_s = self._lasts_s(self.energy.low_wh(confirmed=True))
        low_for_s = self._low.update(lasts_s is not None and lasts_s <= need_s, now.mono_s, unsure)
        if self._sure.update(sure_s is not None and sure_s <= need_s, now.mono_s, unsure) >= self._hold_s:
            return SHUTDOWN, Reason("ride.shutdown", {"lasts_s": sure_s or 0.0, "shutdown_s": need_s})
        alone = self.energy.confirmed.alone and low_for_s >= 0
        if alone and above is not None and above < self._firm and self._settled(now):
            return above, Reason("ride.low_by_report", {"lasts_s": lasts_s or 0.0, "shutdown_s": need_s})
        return None

    def _tell_waiting(self, now: Snapshot) -> Iterator[Event]:
        """Once: that only the SoC's own report calls for a shutdown, and what that waits for."""
        alone = self.energy.confirmed.alone and self._low.held_s(now.mono_s) >= HOLD_S and self.stage < SHUTDOWN
        if alone and not self._waits:
            lasts_s = self._lasts_s(self.energy.usable_wh()) or 0.0
            counted_s = self._lasts_s(self.energy.usable_wh(confirmed=True)) or 0.0
            why = Reason("ride.waits", {"lasts_s": lasts_s, "counted_s": counted_s})
            if self._unwitnessed:
                why = Reason("ride.waits_long", {"lasts_s": lasts_s, "for_s": UNWITNESSED_S})
            yield _event(now, "warning", f"ride-through: {words(why)}")
        self._waits = alone

    def _relieve(self, now: Snapshot) -> tuple[float, Reason]:
        """For how long more has been drawn than PCS and battery can give, and the figures."""
        most_w, w = BatteryBank(self._config, now).discharge_w, now.pcs_w
        over = most_w is not None and w is not None and w > self._terms.overload * most_w
        reason = Reason("ride.overload", {"drawn_w": w or 0.0, "most_w": most_w or 0.0})
        return self._overload.update(over, now.mono_s, self._unsure), reason

    def _keep_promise(self, now: Snapshot, drilling: bool, above: int | None) -> tuple[float, Reason]:
        """For how long the runtime has been too short for the hours promised, and the figures."""
        left_s = None if drilling else self._promised_left_s(now)
        # what costs little gives way early, jobs and critical work only when they must
        early = above is not None and above < self._firm
        lasts_s = self._lasts_s(self.energy.low_wh() if early else self.energy.usable_wh(confirmed=True))
        short = bool(left_s) and lasts_s is not None and lasts_s < self._terms.margin * (left_s or 0.0)
        reason = Reason(
            "ride.too_short",
            {"left_s": lasts_s or 0.0, "drawn_w": self._draw_w or 0.0, "promised_s": left_s or 0.0},
        )
        return self._short.update(short, now.mono_s, self._unsure), reason

    def _on_genset(self, now: Snapshot, bank: BatteryBank) -> tuple[int, Reason] | None:
        """Above the generator's rating the next step, never the shutdown; well below it back, unless it was overloaded.

        The battery helps first, and holds the rating within the deadband: the meter shows what it leaves of the load.
        """
        genset, w = self._config.genset, now.grid.w.good
        if genset is None or w is None:
            self._overload.update(False, now.mono_s)
            return None
        above = self._next_stage(max(self.stage, STOP_STARTS)) or self._next_stage()
        held_s = self._overload.update(w > genset.rated_w + self._config.rules.deadband_w, now.mono_s)
        needed_s = OVERLOAD_FIRM_S if above is not None and above >= self._firm else OVERLOAD_S
        if above is not None and held_s >= needed_s and now.mono_s - self._moved_s >= GENSET_SETTLE_S:
            self._too_much = True
            return above, Reason("ride.genset_overload", {"drawn_w": w, "rated_w": genset.rated_w})
        if self._too_much or w > GENSET_ROOM * genset.rated_w:
            return None
        return self._step_back(now, bank, on_genset=True)

    def _shed_less(self, now: Snapshot, bank: BatteryBank, state: IslandState) -> tuple[int, Reason] | None:
        """The step back once the grid is there and the battery has recovered."""
        return self._step_back(now, bank) if state is IslandState.GRID_TIED else None

    def _step_back(self, now: Snapshot, bank: BatteryBank, on_genset: bool = False) -> tuple[int, Reason] | None:
        soc_pct, available_pct = bank.soc_pct, bank.available_pct
        if self.stage == 0 or soc_pct is None or available_pct is None:
            return None
        mark_pct = reserve_soc_pct(self._config)
        if available_pct < mark_pct or now.mono_s - self._moved_s < self._terms.undo_s:
            return None
        below = max((step for step in self._steps if step < self.stage), default=0)
        soc = in_service(soc_pct, available_pct)
        if on_genset:
            return below, Reason("ride.recovered_on_genset", {"soc": soc, "reserve_pct": mark_pct})
        return below, Reason("ride.recovered", {"soc": soc, "reserve_pct": mark_pct})

    def _next_stage(self, beyond: int | None = None) -> int | None:
        beyond = self.stage if beyond is None else beyond
        return min((step for step in self._steps if step > beyond), default=None)

    def _move(self, now: Snapshot, stage: int, why: Reason) -> Event:
        was, self.stage, self._why, self._moved_s = self.stage, stage, why, now.mono_s
        self._deepest = max(self._deepest, stage) if stage else 0
        self._engaged = True
        up = stage > was
        text = f"ride-through {'step' if up else 'back to step'} {stage}, {words(self._names[stage])}: {words(why)}"
        return _event(now, "alarm" if stage == SHUTDOWN else "warning" if up else "info", text)

    def _orders(self) -> tuple[NodeOrder, ...]:
        return tuple(self._order(node) for node in self._config.nodes) if self._engaged else ()

    def _order(self, node: NodeTerms) -> NodeOrder:
        told, due = self._requeue.told, node.id in self._requeue.due
        order = order_of(node, self.stage, self._have_gpus, self._deepest, told, due)
        return msgspec.structs.replace(order, reason=self._why)


def _once_told(now: Snapshot) -> bool:
    """Whether only one sample says which PCS and batteries serve, or what they may give."""
    batteries = any(r.doubted for b in now.batteries for r in (b.state, b.contactor, b.discharge_limit_w))
    return batteries or any(r.doubted for p in now.pcs for r in (p.state, p.discharge_limit_w))


def _event(now: Snapshot, severity: str, text: str) -> Event:
    return Event(now.utc_s, "island", severity, "ride-through", text)
