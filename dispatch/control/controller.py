"""Decides at each tick: from snapshot and plan one setpoint per PCS, with the rules that led to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set

import msgspec

from dispatch.billing.billing_memory import Billing
from dispatch.billing.import_energy import REGISTER_FAULTS
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.billing.load_pulses import LoadPulses
from dispatch.billing.peak_charges import peak_charges
from dispatch.config.schema import DispatchConfig
from dispatch.control.balancing import BalanceWatch
from dispatch.control.contact_states import ContactStates, operator_limits, stop_reason
from dispatch.control.decision_building import decision_of, with_island
from dispatch.control.export_allowance import ExportAllowance
from dispatch.control.foreign_master import ForeignMasters
from dispatch.control.forming_doubt import FormingDoubt
from dispatch.control.import_source import ImportSource
from dispatch.control.meter_loss import MeterLoss
from dispatch.control.net_load_estimator import NetLoadEstimator, reliable_snapshot
from dispatch.control.pcs_allocation import Share, allocate
from dispatch.control.pcs_limits import Ready, enabled, units
from dispatch.control.proof_steps import given_to_proof, with_proof
from dispatch.control.proven_behaviour import proofs_of, response
from dispatch.control.pv_curtailment import PvCurtailment, site_of
from dispatch.control.pv_limit_monitor import PvLimitMonitor
from dispatch.control.ramp_reference import GridRamp
from dispatch.control.rules.order import run
from dispatch.control.rules.situation import Situation
from dispatch.control.setpoint_monitor import SetpointMonitor
from dispatch.control.soc_latches import SocLatches
from dispatch.control.write_permission import permitted
from dispatch.islanding.load_shedding import LoadShedding
from dispatch.islanding.observation import IslandMemory
from dispatch.islanding.shedding_memory import LoadSheddingMemory
from dispatch.islanding.state_machine import IslandMachine
from dispatch.model.balancing import BalanceMemory
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.charge_levels import ChargeLevel, ChargesNow
from dispatch.model.decision import Decision
from dispatch.model.equipment import DeviceProof
from dispatch.model.events import Event
from dispatch.model.islanding import Islanding, IslandRequest, IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import Order
from dispatch.model.plan import Plan
from dispatch.model.proofs import Proving, as_asked
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import LIMITS, Bounds, Outcome
from dispatch.model.signals import Signal, Sort, both, tightest
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing, standing
from dispatch.plausibility.checker import PlausibilityCheck
from dispatch.plausibility.energy_registers import EnergyRegisters
from dispatch.plausibility.soc import SocMemory
from dispatch.power_caps.cap_controller import CapController, CapsMemory, GridSide
from dispatch.power_caps.event_nodes import EventNodes
from dispatch.power_caps.priced_caps import saved_eur_per_kwh
from dispatch.wording.catalogue import words

WRITE_JITTER = 0.9  # a tick that comes this early still counts as the next write interval


class ControllerMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway gives its controller. Setpoints are not in it: they are read from the devices."""

    billing: Billing = Billing()
    pulses_seen: int = 0
    ride: LoadSheddingMemory = LoadSheddingMemory()
    caps: CapsMemory = CapsMemory()
    island: IslandMemory = IslandMemory()
    soc: dict[str, SocMemory] = {}  # of batteries whose SoC stands still
    balance: dict[str, BalanceMemory] = {}  # of batteries that are balanced from time to time
    contacts: tuple[str, ...] = ()  # that are latched, or steps of the grid operator's in force
    nodes: dict[str, tuple[str, ...]] = {}  # the gateway's: what may hold on nodes, by the fields of an order


class Controller:
    """Steps once per tick. Deterministic: all time comes from the snapshots, which must not go back in `mono_s`.

    step_s: how long a setpoint is meant to hold: 0 at tick rate, the step of a replay, whose setpoints must be fit for
    the whole of it.
    """

    def __init__(self, config: DispatchConfig, step_s: float = 0.0) -> None:
        self.config, self._step_s = config, step_s
        self._interval = MeteringInterval(
            config.grid, config.timezone, config.rules.deadband_w, peak_charges(config), replayed=step_s > 0
        )
        grid = config.grid
        ids = [p.id for p in config.pcs]
        self._net = NetLoadEstimator(
            grid.meter_delay_min_s, grid.meter_delay_max_s, ids, may_hang=step_s == 0, site_side=config.meters_on_bus
        )
        self._import_source = ImportSource(config)
        self._setpoint_monitor, self._foreign = SetpointMonitor(config), ForeignMasters()
        self._forming_doubt = FormingDoubt(config)
        self._registers = EnergyRegisters()
        self._export, self._curtailment = ExportAllowance(grid), PvCurtailment(config)
        self._pv_limits = PvLimitMonitor(config)
        self._pulses = LoadPulses(grid.contracted_peak_w)
        self._pulses_before = 0
        self._budget = self._interval.budget(None)
        self._setpoints: dict[str, float] = {}  # the last asked, by PCS
        self._changed_mono_s: float | None = None
        self._meter_loss = MeterLoss(config.rules)
        self._ready: frozenset[str] = frozenset()  # the PCS that could be commanded at the last tick
        self._ramp = GridRamp(config, self._step_s)
        self._soc_latches = SocLatches(config)
        self.balance = BalanceWatch(config)
        self._order: Order | None = None  # the battery order the last decision obeyed
        self.contacts = ContactStates(config.contacts, config.contact_steps)
        self.island = IslandMachine(config)
        self.ride = LoadShedding(config)
        self.caps = CapController(config)
        self._event_nodes = EventNodes(config)
        self._plausibility = PlausibilityCheck(config, steps=step_s == 0)
        self._proving: Proving | None = None
        self._proofs: dict[str, DeviceProof] = {}  # of PCS, as they were when the site was last grid-tied
        self._raw: Snapshot | None = None
        self._checked: Snapshot | None = None  # the same, checked
        self._pv_w = 0.0  # last known; only shifts the load in which pulses are looked for

    # ── what others read ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def interval(self) -> Interval:
        """The running metering interval."""
        return self._interval.view(self._budget)

    @property
    def month_peak_w(self) -> float:
        """Largest interval mean of this month (site time zone) that was measured, W: the true one is at least this.

        More generally what the running interval may reach at no cost: `dispatch.billing.charge_peaks`.
        """
        return self._interval.month_peak_w

    @property
    def charge_levels(self) -> tuple[ChargeLevel, ...]:
        """What each charge on peaks leaves free now, the main one's first."""
        return self._interval.levels

    @property
    def charges_now(self) -> ChargesNow | None:
        """Which of the listed charges on peaks limits import now; None where none is listed."""
        return self._interval.charges_now

    @property
    def next_day_peak_w(self) -> float:
        """The same for a later day of this month, W."""
        return self.charge_levels[0].later_w

    @property
    def billed_peak_w(self) -> float:
        """What the demand charge is on so far, W: at least."""
        return self.charge_levels[0].billed_w

    @property
    def billed_before_w(self) -> dict[str, float]:
        """What the main charge's earlier months (or years) on record were billed, W, by period."""
        return self._interval.billed_before_w

    @property
    def interval_least_w(self) -> float:
        """The lowest mean with which the running metering interval can still end, W: below it no plan may aim."""
        return self._interval.least_mean_w

    @property
    def month_unmeasured_s(self) -> float:
        """How much of this month, up to the running interval, was not measured: 0 when `month_peak_w` is sure."""
        return self._interval.month_unmeasured_s

    @property
    def pulse_since_utc_s(self) -> float | None:
        """When the running load pulse began, None between pulses."""
        return self._pulses.since_utc_s

    @property
    def pulses_seen(self) -> int:
        """Load pulses seen so far."""
        return self._pulses_before + self._pulses.seen

    def memory(self) -> ControllerMemory:
        """What to keep for a restart."""
        return ControllerMemory(
            billing=self._interval.billing(),
            pulses_seen=self.pulses_seen,
            ride=self.ride.memory(),
            caps=self.caps.memory(),
            island=self.island.memory(),
            soc=self._plausibility.soc.memory(),
            balance=self.balance.memory(),
            contacts=self.contacts.kept,
        )

    def restore(self, memory: ControllerMemory) -> None:
        """Take over what was kept; call before the first step."""
        self._interval.restore(memory.billing)
        self._pulses_before = memory.pulses_seen
        self.ride.restore(memory.ride)
        self.caps.restore(memory.caps)
        self.island.restore(memory.island)
        self._plausibility.soc.restore(memory.soc)
        self.balance.restore(memory.balance)
        self.contacts.adopt(memory.contacts)

    def recover(self, memory: ControllerMemory) -> None:
        """Join what was kept, and could not be read before the first step, to what is known by now; between steps."""
        self._interval.recover(memory.billing)
        self._pulses_before += memory.pulses_seen
        self.ride.recover(memory.ride)
        self.caps.recover(memory.caps)
        self.island.recover(memory.island)
        self._plausibility.soc.recover(memory.soc)
        self.balance.restore(memory.balance)
        self.contacts.adopt(memory.contacts)

    # ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def checked(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot as far as it can be believed: what rules, records, consoles and plans are to use.

        A snapshot that was asked for last is not checked again.
        """
        if self._raw is not snapshot or self._checked is None:
            self._raw, self._checked = snapshot, self._plausibility.check(snapshot, self._setpoints)
        return self._checked

    def account(self, snapshot: Snapshot) -> None:
        """Take in the grid meter ahead of `step`, so that a plan made in between knows which interval has closed."""
        self._account(self.checked(snapshot))

    def _account(self, snapshot: Snapshot) -> None:
        source = self._import_source.update(snapshot, self.island.state)
        if source != "grid":
            import_w = 0.0 if source == "genset" else None
            self._interval.advance_without_register(snapshot.utc_s, snapshot.mono_s, import_w, snapshot.utc_known)
            return
        grid, frozen = snapshot.grid, self._net.frozen
        import_w, register_wh = (None, None) if frozen else (grid.w.confirmed, grid.import_wh.confirmed)
        self._interval.advance(
            snapshot.utc_s,
            snapshot.mono_s,
            import_w,
            register_wh,
            self._net.import_by_others_w(snapshot),
            snapshot.utc_known,
        )

    def step(
        self,
        snapshot: Snapshot,
        plan: Plan | None,
        requests: Sequence[IslandRequest] = (),
        *,
        orders: Iterable[Order] = (),
        signals: Sequence[Signal] = (),
        failing: Set[str] = frozenset(),
        proving: Proving | None = None,
    ) -> Decision:
        """Decide. A snapshot with anything missing gives a decision too: the safe value, or no setpoint.

        requests: drill, abort, fault reset and black start asked for since the last tick; answered in `replies`.
        orders: what people ordered and is in force now. signals: those in force. failing: nodes that have
        not taken their last order.
        proving: what the proof under way asks of one PCS; the others keep their setpoints meanwhile.
        """
        snapshot = self.checked(snapshot)
        self.balance.update(snapshot)
        load_was_frozen = self._net.load_meter_frozen
        relied_on = reliable_snapshot(snapshot, self._net.frozen, load_was_frozen)
        contacts, told = self.contacts.step(snapshot)
        island = self.island.step(relied_on, requests, stop_reason(contacts))
        ride = self.ride.step(relied_on, island.on_battery, island.seen.state, island.drilling)
        seen = island.seen
        if not seen.commands_battery:
            self._let_go()
        self._adopt(snapshot)
        self._proving = None if any(contact.stops for contact in contacts) else proving
        if seen.state is IslandState.GRID_TIED and (proofs := proofs_of(snapshot.devices)) != self._proofs:
            self._proofs = proofs
            self._net.use({id: response(self.config.grid, proof) for id, proof in proofs.items()})
        found = self._situation(snapshot, plan, seen, standing(orders, snapshot.mono_s))
        obliged = both(operator_limits(contacts), tightest(s for s in signals if s.sort is Sort.OBLIGATION))
        situation = msgspec.structs.replace(
            found,
            contacts=contacts,
            obliged=obliged,
            wished=tightest(s for s in signals if s.sort is not Sort.OBLIGATION),
        )
        self._watch_pulses(snapshot, seen.state)
        outcome, hard = run(situation)
        total_w = self._settle(outcome, hard, situation)
        setpoints = self._split(situation, total_w)
        self._remember(situation, outcome.w, setpoints)
        need = self._need(situation, outcome, signals)
        caps, capped = self.caps.step(snapshot, need, failing)
        event_nodes, asked_of_nodes = self._event_nodes.step(snapshot, need)
        asked = self._asked(situation, total_w, setpoints)
        decision = decision_of(situation, outcome, total_w, asked)
        contested = self._setpoint_monitor.update(snapshot, asked)
        self._foreign.update(snapshot.mono_s, self._setpoint_monitor.looks)
        self._registers.update(snapshot.mono_s, (snapshot.grid, *([snapshot.load] if snapshot.load else [])))
        pv_limits = self._curtailment.step(site_of(situation, hard, total_w, island))
        of_nodes = (*island.events, *ride.events, *capped, *asked_of_nodes)
        events = (*self._plausibility.events(snapshot.utc_s), *told, *of_nodes)
        return msgspec.structs.replace(
            with_island(decision, island, ride, event_nodes),
            meter_frozen=self._net.frozen,
            load_meter_frozen=self._net.load_meter_frozen,
            contested=contested,
            foreign=self._foreign.found(snapshot.mono_s),
            energy_apart=self._registers.found,
            caps=caps,
            pv_limits=pv_limits,
            pv_over=self._pv_limits.update(snapshot, pv_limits),
            events=(*events, *self._meter_events(snapshot, load_was_frozen), *self._curtailment.events(snapshot.utc_s)),
            implausible=self._plausibility.often,
            contacts=contacts,
        )

    def _meter_events(self, snapshot: Snapshot, load_was_frozen: bool) -> tuple[Event, ...]:
        """What the import register told of intervals that are over; a load meter that begins or ends to stand still."""
        id, utc_s, frozen = snapshot.grid.id, snapshot.utc_s, self._net.load_meter_frozen
        events = [
            Event(utc_s, "device", "warning" if notice.code in REGISTER_FAULTS else "info", id, words(notice))
            for notice in self._interval.notices()
        ]
        if frozen != load_was_frozen and snapshot.load is not None:
            told = Reason("lost.load_meter_frozen") if frozen else Reason("lost.load_meter_moves")
            events.append(Event(utc_s, "device", "warning" if frozen else "info", snapshot.load.id, words(told)))
        return tuple(events)

    def _need(self, situation: Situation, outcome: Outcome, signals: Sequence[Signal]) -> GridSide:
        """Input of the decision on caps: the import that remains if the battery gives all that it may.

        Fleet limits and failsafes cap nobody: they may stand for days.
        """
        events = (s for s in signals if s.sort is not Sort.FLEET and not s.failsafe)
        most_w = next((t.high_w for t in reversed(outcome.traces) if t.rule in LIMITS), 0.0)
        return GridSide(
            net_w=situation.net_w,
            battery_most_w=most_w,
            interval=self.interval,
            month_peak_w=self.month_peak_w,
            levels=self.charge_levels,
            grid_tied=situation.islanding.state is IslandState.GRID_TIED,
            utc_known=situation.snapshot.utc_known,
            energy_eur_per_kwh=saved_eur_per_kwh(situation.step, situation.snapshot.grid.w.good),
            limit_w=tightest(events).import_w,
        )

    def _let_go(self) -> None:
        """Not grid-tied: the ramp and the setpoints from before do not carry over to the return of the grid."""
        self._net.restart()
        self._setpoints.clear()
        self._meter_loss.forget()
        self._ramp.forget()

    def _adopt(self, snapshot: Snapshot) -> None:
        """Take a PCS we have not commanded yet as it is: the setpoint it holds if it is enabled, else its power."""
        for pcs in snapshot.pcs:
            if pcs.id not in self._setpoints:
                held_w = pcs.setpoint_w.good if pcs.setpoint_enabled.good == 1 else None
                w = held_w if held_w is not None else pcs.w.good
                if w is not None:
                    self._setpoints[pcs.id] = w

    def _situation(self, snapshot: Snapshot, plan: Plan | None, seen: Islanding, orders: Standing) -> Situation:
        was_frozen, site_net_w = self._net.frozen, self._net.update(snapshot)
        if self._net.frozen and not was_frozen:
            self._interval.doubt(self._net.frozen_since_s, self._net.open_since_s)
        self._account(snapshot)
        derived = None
        if site_net_w is None and (site_net_w := self._net.by_load_meter_w(snapshot)) is not None:
            derived = Reason("net.by_load_meter", {"meter": snapshot.grid.id, "net_w": site_net_w})
        step = plan.at(snapshot.utc_s) if plan is not None and snapshot.utc_known else None
        self._budget = self._interval.budget(plan if step is not None else None)
        config = self.balance.in_step(step, snapshot.utc_s, seen.state, orders)
        there = units(config, snapshot, self._setpoints, self._net.proven_pcs_w, self._proofs)
        withheld = self._foreign.withheld(snapshot.mono_s) | self._forming_doubt.withheld(snapshot)
        found = permitted(enabled(there, orders), snapshot.grid, self._plausibility, withheld)
        ready = [u.id for u in found if u.ready is Ready.READY]
        if not self._ready >= set(ready):  # what is held without a meter is what a PCS is found to hold
            self._meter_loss.forget()
        self._ready = frozenset(ready)
        if self._proving is not None and self._proving.pcs_id in self._ready:
            orders = with_proof(orders, self._proving, self._setpoints, found, snapshot)
        last_w = sum(self._setpoints.get(name, 0.0) for name in ready)
        net_w = None if site_net_w is None else site_net_w - sum(u.fixed_w for u in found)
        pv_export_w = self._export.measure(snapshot.mono_s, snapshot.grid, self._net.frozen)
        bank = BatteryBank(self.config, snapshot)
        soc_pct, available_pct = bank.soc_pct, bank.available_pct
        self._soc_latches.update(soc_pct, available_pct, orders.reserve)
        return Situation(
            config=self.config,
            snapshot=reliable_snapshot(snapshot, frozen=derived is not None),
            islanding=seen,
            units=found,
            net_w=net_w,
            derived=derived,
            budget=self._budget,
            soc_pct=soc_pct,
            soc_high_pct=bank.soc_high_pct,
            available_pct=available_pct,
            last_w=last_w,
            export_w=min(pv_export_w, self._export.limit_w),
            pv_export_w=pv_export_w,
            hold_s=self._step_s,
            safe=self._meter_loss.safe(
                snapshot,
                None if self._raw is None else self._raw.grid,
                net_w,
                last_w,
                self._net.frozen,
                on_genset=seen.state is IslandState.GENSET,
            ),
            ramp=self._ramp.reference(snapshot.mono_s, net_w, last_w),
            step=step,
            recharging=self._soc_latches.recharging,
            topping=self._soc_latches.topping,
            orders=orders,
        )

    def _watch_pulses(self, snapshot: Snapshot, state: IslandState) -> None:
        """Look for pulses in load, not net load: a cloud over the PV is not a job, nor is power that is back."""
        if state in (IslandState.BLACKOUT, IslandState.BLACK_START):
            return
        pv_w = snapshot.pv_w
        self._pv_w = self._pv_w if pv_w is None else pv_w
        if self._net.w is not None and self._net.band is not None:
            self._pulses.update(snapshot.utc_s, snapshot.mono_s, self._net.w + self._pv_w)

    def _settle(self, outcome: Outcome, hard: Bounds, situation: Situation) -> float | None:
        """Stay at the last total while it is close enough, or just changed, and no hard limit is against it."""
        w, last_w, rules = outcome.w, situation.last_w, self.config.rules
        if situation.orders.battery != self._order:  # a person's order takes effect at this tick, to the watt
            self._order = situation.orders.battery
            if self._order is not None:
                return w
        if w is None or not hard.low_w <= last_w <= hard.high_w:
            return w
        close = abs(w - last_w) <= rules.deadband_w and not w == 0 != last_w
        changed_s = self._changed_mono_s
        since_s = math.inf if changed_s is None else situation.snapshot.mono_s - changed_s
        return last_w if close or since_s < WRITE_JITTER * rules.min_write_interval_s else w

    def _split(self, situation: Situation, total_w: float | None) -> dict[str, float]:
        """Setpoints of the PCS that take part. A split that is still good enough stays: fewer writes."""
        if total_w is None:
            return {}
        ready = [u for u in situation.units if u.ready is Ready.READY]
        if self._proving is not None and (given := given_to_proof(self._proving, ready, self._setpoints, total_w)):
            return given
        parts = allocate(total_w, [Share(u.id, u.low_w, u.high_w, u.soc_pct) for u in ready])
        last = [self._setpoints.get(u.id, 0.0) for u in ready]
        same_total = abs(sum(last) - sum(parts)) < 1e-6
        allowed = all(u.low_w <= w <= u.high_w for u, w in zip(ready, last, strict=True))
        near = all(abs(a - b) <= self.config.rules.deadband_w for a, b in zip(parts, last, strict=True))
        stopped = any(contact.stops for contact in situation.contacts)
        chosen = last if same_total and allowed and near and not stopped else parts
        return {u.id: w for u, w in zip(ready, chosen, strict=True)}

    def _remember(self, situation: Situation, wanted_w: float | None, setpoints: dict[str, float]) -> None:
        mono_s, stopped = situation.snapshot.mono_s, any(contact.stops for contact in situation.contacts)
        if any(self._setpoints.get(name) != w for name, w in setpoints.items()):
            self._changed_mono_s = mono_s
        for unit in situation.units:
            if unit.ready is Ready.WITHHELD:  # whoever commands it now may leave it anywhere: adopt it when it is back
                self._setpoints.pop(unit.id, None)
            elif unit.ready is Ready.LOST and stopped:  # what it does is not known: it may hear this all the same
                self._setpoints[unit.id] = 0.0
        for name, w in setpoints.items():
            self._setpoints[name] = w
            self._net.asked(mono_s, name, w)
        self._ramp.follow(mono_s, situation.ramp, situation.net_w, wanted_w if setpoints else None)

    def _asked(
        self, situation: Situation, total_w: float | None, setpoints: dict[str, float]
    ) -> dict[str, float | None]:
        """What each PCS is asked: its setpoint; one that cannot be read its last; one that takes no part nothing."""
        asked: dict[str, float | None] = dict.fromkeys((p.id for p in self.config.pcs), None)
        if total_w is not None:
            asked.update(setpoints)
            asked.update({u.id: self._setpoints.get(u.id) for u in situation.units if u.ready is Ready.LOST})
        proving = self._proving
        if proving is not None and proving.silent and as_asked(proving, asked.get(proving.pcs_id)):
            asked[proving.pcs_id] = None  # what a limit makes of it is asked all the same, and ends the proof
        return asked
