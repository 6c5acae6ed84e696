"""Runs `skerry devices prove` inside the gateway: one PCS at a time, stepped by the control loop.

The loop asks at each tick what the proof wants. Once the last step is done, the figures are estimated in a thread, and
a proof that passes is kept on disk. Nobody who asks how it goes for `UNHEARD_S` ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.commissioning.estimator import estimate
from dispatch.commissioning.peak_risk import peak_risk
from dispatch.commissioning.preconditions import Site as SiteNow
from dispatch.commissioning.preconditions import checks
from dispatch.commissioning.procedure import Procedure
from dispatch.commissioning.recording import TooLittle
from dispatch.commissioning.verdict import fault, timer_ended
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.clock import Clock
from dispatch.model.decision import Decision
from dispatch.model.equipment import DeviceIdentity
from dispatch.model.islanding import Check
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import ON_BATTERY, Order
from dispatch.model.proofs import MeasuredResponse, Proof, ProofReport, Proving
from dispatch.model.reasons import Reason, joined
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from gateway.event_sink import EventSink
from gateway.proofs_in_force import ProofsInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls
from storage.audit import AuditLog

log = logging.getLogger("skerry.gateway")

UNHEARD_S = 20.0  # of machine time
FREE = DemandTerms()  # a peak costs nothing
AGAIN_S = 60.0  # of machine time, between two tries to put proofs on disk


class ProvingService:
    """The proof under way, if any, and the last one's report."""

    def __init__(
        self,
        config: DispatchConfig,
        clock: Clock,
        *,
        tick_s: float,
        revert: Mapping[str, tuple[float, float]],
        renewed_s: Callable[[str], float | None],
        alarms: Callable[[], tuple[Alarm, ...]],
        proofs: ProofsInForce,
        events: EventSink,
        audit: AuditLog,
        calls: SupervisedCalls,
        machine_s: Callable[[], float] = time.monotonic,
        refresh_s: Mapping[str, float] = {},
        demand: DemandTerms = FREE,
    ) -> None:
        """`tick_s`: of site time. `revert`: the reversion asked of each PCS, s and W; `renewed_s`: of when.

        `refresh_s`: how often PCS and meters renew their own readings; not named: whenever they are read.
        `demand`: what a peak costs.
        """
        self._config, self._clock, self._tick_s, self._revert = config, clock, tick_s, revert
        self._renewed_s, self._alarms, self._proofs, self._events = renewed_s, alarms, proofs, events
        self._audit, self._calls, self._machine_s, self._refresh_s = audit, calls, machine_s, refresh_s
        self._demand = demand
        self.report: ProofReport | None = None
        self._procedure: Procedure | None = None
        self._now: SiteNow | None = None  # at the last tick
        self._completed: Procedure | None = None  # waits for its figures
        self._identity: DeviceIdentity | None = None
        self._heard_s = 0.0
        self._work = asyncio.Event()

    # ── in the tick ─────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, snapshot: Snapshot, orders: tuple[Order, ...]) -> Proving | None:
        """What the proof under way asks in this tick. Never waits."""
        procedure = self._procedure
        order = next((o.id for o in orders if o.kind in ON_BATTERY), "")
        decision = None if self._now is None else self._now.decision
        renewed_s = None if procedure is None else self._renewed_s(procedure.pcs_id)
        self._now = SiteNow(snapshot, decision, order, self._high_alarms(), renewed_s)
        self._watch_identities(snapshot)
        if procedure is None:
            return None
        unheard_s = self._machine_s() - self._heard_s
        if unheard_s > UNHEARD_S:
            procedure.stop(Reason("prove.unwatched", {"unheard_s": unheard_s}))
        try:
            proving = procedure.step(self._now)
        except Exception as error:  # a mistake in a proof must cost the proof, not the tick
            log.exception("proof of %s failed", procedure.pcs_id)
            proving = None
            procedure.stop(Reason("prove.mistake", {"error": repr(error)}))
        self._show(running=True)
        if procedure.ended is not None:
            self._end(procedure)
        return proving

    def _watch_identities(self, snapshot: Snapshot) -> None:
        """Say when a proven PCS is no longer what it was proven as, and when it is again."""
        for device_id, proof, change in self._proofs.look(snapshot.devices, snapshot.utc_s):
            self._work.set()
            was = proof.identity.firmware or "not told"
            if change is None:
                self._events.event("device", "info", device_id, f"as it was proven again: firmware {was}")
                continue
            was, now = f"firmware {was}", f"firmware {change.identity.firmware or 'not told'}"
            if change.identity.serial != proof.identity.serial:
                was, now = (f"serial number {of.serial or 'not told'}" for of in (proof.identity, change.identity))
            text = f"it says {now}; proven was {was}: half of its power until it is proven again"
            self._events.event("device", "warning", device_id, text)

    def decided(self, decision: Decision, interval: Interval | None = None, free_peak_w: float = 0.0) -> None:
        """Take note of what was decided in this tick, of the metering interval and the peak that costs nothing."""
        if self._now is not None:
            self._now = self._now._replace(decision=decision, interval=interval, free_peak_w=free_peak_w)

    def _high_alarms(self) -> tuple[str, ...]:
        return tuple(a.id for a in self._alarms() if a.priority is Priority.HIGH and a.state is not AlarmState.RETURNED)

    # ── for commands ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def pcs_ids(self) -> tuple[str, ...]:
        """The PCS that can be proven."""
        return tuple(p.id for p in self._config.pcs)

    def checks(self, pcs_id: str, on_site: str) -> tuple[tuple[Check, ...], Reason | None]:
        """Every condition for a proof now, and why it may not begin; None: it may."""
        if pcs_id not in self.pcs_ids:
            return (), Reason("prove.no_such_pcs", {"pcs": pcs_id, "known": ", ".join(self.pcs_ids)})
        if self._procedure is not None:
            return (), Reason("prove.running", {"pcs": self._procedure.pcs_id})
        if self._now is None or self._now.decision is None:
            return (), Reason("prove.not_yet")
        found = checks(self._config, pcs_id, self._now, on_site)
        failed = [
            Reason("check.failing", {"name": c.name, "figure": c.figure, "remedy": c.remedy}) for c in found if not c.ok
        ]
        return found, Reason("prove.check_failed", {"failed": joined(failed)}) if failed else None

    def peak_risk(self, pcs_id: str) -> Reason | None:
        """By how much a proof that begins now may raise the billed peak; None: it does not."""
        if self._now is None or pcs_id not in self._revert:
            return None
        return peak_risk(self._config, pcs_id, self._now, self._demand, self._revert[pcs_id][0])

    def start(self, pcs_id: str, who: str, on_site: str) -> None:
        """Begin at the next tick. Only after `checks`, in the same call of the event loop."""
        assert self._now is not None
        revert_s, revert_w = self._revert[pcs_id]
        device = next((d for d in self._now.snapshot.devices if d.id == pcs_id), None)
        self._identity = None if device is None else device.identity
        self._procedure = Procedure(
            self._config,
            pcs_id,
            tick_s=self._tick_s,
            revert_s=revert_s,
            revert_w=revert_w,
            who=who,
            started=self._now,
            refresh_s=self._refresh_s.get(pcs_id, 0.0),
        )
        began = Reason("prove.began", {"pcs": pcs_id, "who": who, "on_site": on_site})
        self._procedure.lines.append(began)
        self.report = ProofReport(
            pcs_id=pcs_id,
            who=who,
            on_site=on_site,
            started_utc_s=self._clock.utc_s(),
            lines=(began,),
            running=True,
        )
        self._proofs.under_way(pcs_id)
        self.heard()
        self._events.event("device", "info", pcs_id, words(began), who)

    def heard(self) -> None:
        """Somebody has asked how it goes."""
        self._heard_s = self._machine_s()

    def abort(self, why: Reason) -> bool:
        """End the proof under way; False: there is none."""
        if self._procedure is None:
            return False
        procedure = self._procedure
        procedure.stop(why)
        self._show(running=True)
        self._end(procedure)
        return True

    @property
    def _grid_id(self) -> str:
        return "" if self._now is None else self._now.snapshot.grid.id

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, *, running: bool, **changes: object) -> None:
        if self.report is not None and self._procedure is not None:
            changes["lines"] = tuple(self._procedure.lines)
        if self.report is not None:
            self.report = msgspec.structs.replace(self.report, running=running, **changes)

    def _end(self, procedure: Procedure) -> None:
        """The PCS is the rules' again; what was measured, if anything, is worked out outside the tick."""
        self._show(running=True, reversion=procedure.reversion, at_zero=procedure.at_zero)
        self._procedure = None
        self._proofs.under_way("")
        if procedure.completed:
            self._completed = procedure
            self._work.set()
            return
        self._tell(Reason("prove.failed", {"why": procedure.ended}))

    def end_killed(self, body: dict[str, Any]) -> None:
        """Say that a proof of an earlier run never ended, as its gateway was killed. `body`: its row in the audit."""
        pcs_id = str(body.get("pcs") or "a PCS")
        why = Reason("prove.gateway_killed", {"pcs": pcs_id})
        self.report = ProofReport(
            pcs_id=pcs_id,
            who=str(body.get("who") or ""),
            on_site=str(body.get("on_site") or ""),
            started_utc_s=datetime.fromisoformat(body["t"]).timestamp(),
            lines=(why,),
            running=False,
        )
        self._tell(Reason("prove.failed", {"why": why}), severity="alarm")

    def _tell(self, result: Reason, severity: str = "warning", **changes: object) -> None:
        """Put a result where people see it: report, event log, audit."""
        self._show(running=False, result=result, **changes)
        report = self.report
        assert report is not None
        self._events.event("device", "info" if report.proven else severity, report.pcs_id, words(result), report.who)
        row = {"kind": "proof", "who": report.who, "outcome": "passed" if report.proven else "failed"}
        self._audit.spool(row | {"text": f"proof of {report.pcs_id}: {words(result)}"})

    async def run(self) -> None:
        """Estimate and keep what was measured, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_S):
                    await self._work.wait()
            except TimeoutError:
                pass
            self._work.clear()
            procedure, self._completed = self._completed, None
            if procedure is not None:
                await self._figure_out(procedure)
            await self.keep()

    async def _figure_out(self, procedure: Procedure) -> None:
        try:
            refresh_s, meter_s = (self._refresh_s.get(id, 0.0) for id in (procedure.pcs_id, self._grid_id))
            response = await self._calls.call(estimate, procedure.recording, refresh_s, meter_s)
        except (TooLittle, PartHangs) as error:
            self._tell(Reason("prove.failed", {"why": Reason("prove.too_little", {"what": str(error)})}))
            return
        wrong = fault(response)
        if wrong is not None:
            self._tell(Reason("prove.failed", {"why": wrong}), response=response)
            return
        proof = self._proof(procedure, response)
        self._proofs.add(proof)
        why = await self._saved()
        result = Reason("prove.not_kept", {"error": why}) if why else Reason("prove.proven", {"pcs": proof.device_id})
        self._tell(result, response=response, reversion=proof.reversion, proven=True)

    def _proof(self, procedure: Procedure, response: MeasuredResponse) -> Proof:
        report, reversion, at_zero = self.report, procedure.reversion, procedure.at_zero
        assert report is not None
        assert reversion is not None
        assert at_zero is not None
        return Proof(
            device_id=procedure.pcs_id,
            driver=self._proofs.driver_of(procedure.pcs_id),
            identity=self._identity or DeviceIdentity(),
            utc_s=self._clock.utc_s(),
            who=report.who,
            on_site=report.on_site,
            response=response,
            reversion=timer_ended(reversion, response),
            at_zero=at_zero,
            largest_step_w=procedure.largest_w,
            poll_s=max(self._tick_s, self._refresh_s.get(procedure.pcs_id, 0.0)),
        )

    async def keep(self) -> None:
        """Put on disk what has changed; said where that fails, and tried again."""
        if why := await self._saved():
            self._events.event("gateway", "warning", "proofs", f"not on disk, tried again: {why}")

    async def _saved(self) -> str:
        """Save; why it failed, empty if it did not."""
        if not self._proofs.unsaved:
            return ""
        try:
            await self._calls.call(self._proofs.save)
        except (OSError, PartHangs) as error:
            return str(error)
        return ""
