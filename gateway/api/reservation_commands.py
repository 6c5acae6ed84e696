"""Commands about power reservations: ask, list, withdraw; and the question which power could be carried.

The audit is also where reservations are kept: one is granted by the row that holds it, on disk before it is answered,
and stands until a row says otherwise or its time is up. A gateway that starts reads them back from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.control.contact_states import stop_reason
from dispatch.model.clock import Clock
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason, joined
from dispatch.model.reservations import Reservation
from dispatch.orders.refusal import OrderRefused
from dispatch.planning import job_offer
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import battery_holder, local_iso
from dispatch.planning.order_projection import local_time as clock_time
from dispatch.planning.power_admission import Grant, PowerRequest, grant, renewed, shortfall, without
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, span
from gateway.api.command_log import Command, CommandLog, Handler, printable, recordable
from gateway.api.interfaces import Loop, Planner
from gateway.api.job_names import nameless, shown_reservations
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink
from gateway.orders_in_force import OrdersInForce
from gateway.reservations_in_force import ReservationsInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls

_ASKED = frozenset(PowerRequest.__struct_fields__)


class _Asked(msgspec.Struct):
    """A request for power that is not answered yet."""

    request: PowerRequest
    who: str
    withdrawn: bool = False  # its job was withdrawn meanwhile

    def withdraw(self) -> None:
        """Its job is withdrawn: nothing is to be granted any more."""
        self.withdrawn = True


class Prospect(msgspec.Struct, frozen=True):
    """What the site can say of the hours to come. `inputs` None: SoC, load or PV is not known."""

    inputs: PlanInputs | None
    plan: Plan | None
    island: IslandState
    stopped: Reason | None = None  # a protective contact holds the battery: which


class _Withdrawal(msgspec.Struct, frozen=True):
    """Which reservation: by its `id` or the name of its job; or by the job of a scheduler and its restart."""

    id: str = ""
    reason: str = ""
    cluster: str = ""
    job_id: str = ""
    restart: int = 0


class ReservationCommands:
    """Takes the commands about one site's power reservations."""

    def __init__(
        self,
        config: DispatchConfig,
        clock: Clock,
        *,
        log: CommandLog,
        events: EventSink,
        orders: OrdersInForce,
        reservations: ReservationsInForce,
        loop: Loop,
        planner: Planner,
        calls: SupervisedCalls,
    ) -> None:
        """`calls`: what is computed for a reservation."""
        self._calls, self._asked = calls, list[_Asked]()
        self._looking = asyncio.Lock()  # who only asks waits behind others who do, and holds up no job
        self._config, self._clock, self._log, self._events = config, clock, log, events
        self._orders, self._reservations, self._loop, self._planner = orders, reservations, loop, planner
        self.handlers: dict[str, Handler] = {
            "reservation.ask": self._ask,
            "reservation.list": self._list,
            "reservation.withdraw": self._withdraw,
            "fleet.where": self._where,
        }

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Grant a job its start, or refuse. Params: a `PowerRequest`, and `seen_utc_s`. Raises CommandRefused."""
        asked = _asked(params)
        text = f"{asked.name or 'a job'}: {kw(asked.power_w)} for {span(asked.for_s)} within {span(asked.within_s)}"
        command = Command(peer=peer, name="reservation.ask", text=text, seen_utc_s=params.get("seen_utc_s"))
        pending = _Asked(asked, peer.who)
        self._asked.append(pending)
        try:
            return await self._grant(peer, command, pending)
        finally:
            self._asked.remove(pending)

    async def _grant(self, peer: Peer, command: Command, pending: _Asked) -> Any:
        asked, text = pending.request, command.text
        async with self._log.one_at_a_time:
            former = self._log.check(command, lambda: renewed(asked, peer.who, self._reservations.standing()))
            found = await self._evaluate(asked, former)

            def check() -> Grant:
                if isinstance(found, OrderRefused):
                    raise found
                if pending.withdrawn:
                    raise OrderRefused(Reason("refused.withdrawn_meanwhile"))
                return found

            granted = self._log.check(command, check)
            body = self._body(asked, granted, peer, former)
            intent = await self._log.record_intent(
                command,
                f"{text}: from {clock_time(granted.start_utc_s, self._config)}",
                reason=words(granted.why),
                why=None if granted.why is None else recordable(granted.why),
                reservation=body,
            )
            id = f"r{intent}"
            if pending.withdrawn:  # while the disk wrote
                gone = OrderRefused(Reason("refused.withdrawn_meanwhile"))
                await self._log.record_result(command, intent, "withdrawn", f"{text}: {gone}", reservation_id=id)
                raise CommandRefused(str(gone), gone.reason)
            reservation = msgspec.convert(body | {"id": id, "name": asked.name or id}, Reservation)
            if former is None:
                self._reservations.grant(reservation)
            else:
                self._reservations.renew(former, reservation)
        why = f": {words(granted.why)}" if granted.why else ""
        done = "is granted" if former is None else f"is granted and renews {former.id}"
        said = f"{self._reservations.describe(reservation)}, {done}{why}"
        event = f"{self._reservations.for_all(reservation)}, {done}{why}"
        self._events.event("command", "info", "reservation", event, peer.who)
        trouble = await self._log.record_result(command, intent, "granted", said)
        answer = msgspec.to_builtins(granted) | {"reservation": msgspec.to_builtins(reservation)}
        return answer | {"not_durable": trouble, "renews": "" if former is None else former.id}

    async def _where(self, peer: Peer, params: dict[str, Any]) -> Any:
        """From when, and at what cost, the site could carry `power_w` for `for_s`, beginning within `within_s`.

        Grants nothing, and names no person. A wait that is longer than the plan sees is cut, see `within_s`.
        """
        power_w, for_s = float(params["power_w"]), float(params["for_s"])
        within_s = min(float(params.get("within_s", 0.0)), max(0.0, self._config.plan.horizon_h * 3600 - for_s))
        asked = PowerRequest(power_w=power_w, for_s=for_s, within_s=within_s)
        async with self._looking:
            found = await self._evaluate(asked, None)
        said = job_offer.offer(found, self._planner.plan, self._clock.utc_s(), within_s, power_w, for_s)
        why = None if said.why is None else nameless(said.why)
        return msgspec.to_builtins(msgspec.structs.replace(said, why=why))

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Those that stand, each with `ready`, and with `why` where its power is not there yet; and the site's time."""
        now_s = self._clock.utc_s()
        standing = self._reservations.standing()
        held = battery_holder(self._orders.active, self._config, now_s) is not None
        needed = held or any(r.start_utc_s <= now_s for r in standing)
        prospect = self._prospect() if needed else Prospect(None, None, IslandState.UNKNOWN)
        listed, user = [], await self._log.named(peer)
        for reservation in standing:
            why: Reason | None
            if now_s < reservation.start_utc_s:
                why = await self._why_later(reservation, prospect, held)
            else:
                why = await self._why_not_ready(reservation, prospect)
            (shown,) = shown_reservations((reservation,), user)
            listed.append(msgspec.to_builtins(shown) | {"ready": why is None, "why": msgspec.to_builtins(why)})
        return {"utc_s": now_s, "reservations": listed}

    async def _withdraw(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Give the power back, or take it back; always runs. Params: a `_Withdrawal`. Another's takes an operator.

        One that the same job holds since it was started again stays: whoever withdraws speaks of an earlier start.
        """
        wanted = msgspec.convert(params, _Withdrawal)
        reason, asked = printable(wanted.reason), printable(wanted.id or f"job {wanted.job_id}")
        if self._names_anothers(wanted, peer):
            await self._log.permit(peer, "reservation.withdraw another's")
        pending = self._withdraw_pending(wanted)
        try:
            found = self._find(wanted)
        except LookupError as error:
            if pending:
                command = Command(peer=peer, name="reservation.withdraw", text=asked, reason=reason)
                said = f"{asked}: withdrawn before it was granted"
                intent = await self._log.record_intent(command)
                trouble = await self._log.record_result(command, intent, "withdrawn", said)
                return {"withdrawn": None, "kept": None, "not_durable": trouble}
            command = Command(peer=peer, name="reservation.withdraw", text=asked, reason=reason)
            self._log.record_refusal(command, str(error))
            raise CommandRefused(str(error)) from None
        described, for_all = self._reservations.describe(found), self._reservations.for_all(found)
        command = Command(peer=peer, name="reservation.withdraw", text=described, reason=reason)
        intent = await self._log.record_intent(command)
        if wanted.job_id and found.job_id and wanted.restart < found.restart:
            stays = f"stays: it is of restart {found.restart} of the job, restart {wanted.restart} is over"
            self._events.event("command", "info", "reservation", f"{for_all}, {stays}", peer.who)
            trouble = await self._log.record_result(command, intent, "kept", f"{described}, {stays}")
            return {"withdrawn": None, "kept": msgspec.to_builtins(found), "not_durable": trouble}
        done = f"is withdrawn by {peer.who}{': ' if reason else ''}{reason}"
        try:
            self._reservations.withdraw(found.id)
        except LookupError:  # over, or withdrawn by somebody else, while the disk wrote
            done = "was over already"
        self._events.event("command", "info", "reservation", f"{for_all}, {done}", peer.who)
        said = f"{described}, {done}"
        trouble = await self._log.record_result(command, intent, "withdrawn", said, reservation_id=found.id)
        return {"withdrawn": msgspec.to_builtins(found), "not_durable": trouble}

    def _names_anothers(self, wanted: _Withdrawal, peer: Peer) -> bool:
        """Whether it would take back, or end, what somebody else asked for."""
        whose = {pending.who for pending in self._pending(wanted)}
        with contextlib.suppress(LookupError):
            whose.add(self._find(wanted).who)
        return bool(whose - {peer.who})

    def _withdraw_pending(self, wanted: _Withdrawal) -> bool:
        """Take back requests of this job that are not answered yet; whether there are any."""
        found = self._pending(wanted)
        for pending in found:
            pending.withdraw()
        return bool(found)

    def _pending(self, wanted: _Withdrawal) -> list[_Asked]:
        """The requests of this job that are not answered yet."""
        if not wanted.job_id:
            return [one for one in self._asked if one.request.name and one.request.name == wanted.id]
        return [
            one
            for one in self._asked
            if (one.request.cluster, one.request.job_id) == (wanted.cluster, wanted.job_id)
            and one.request.restart <= wanted.restart
        ]

    def _find(self, wanted: _Withdrawal) -> Reservation:
        """Raises LookupError with a line for a person, ValueError for a request that names nothing."""
        if wanted.job_id:
            return self._reservations.find_job(wanted.id, wanted.cluster, wanted.job_id)
        if not wanted.id:
            raise ValueError("expected id, or job_id")
        return self._reservations.find(wanted.id)

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _evaluate(self, asked: PowerRequest, former: Reservation | None) -> Grant | OrderRefused:
        """What the site says to a job, with `former`, which it renews, given back; computed in a thread."""
        prospect = self._prospect()
        if prospect.stopped is not None:
            return OrderRefused(Reason("refused.contact", {"why": prospect.stopped}))
        if prospect.inputs is None:
            return OrderRefused(Reason("refused.unknown_site"))
        inputs, standing = prospect.inputs, self._reservations.standing()
        if former is not None:
            inputs, standing = without(former, inputs), tuple(r for r in standing if r.id != former.id)
        try:
            return await self._calls.call(grant, asked, inputs, prospect.plan, prospect.island, standing)
        except OrderRefused as refusal:
            return refusal
        except PartHangs as error:
            return OrderRefused(Reason("refused.part_hangs", {"error": str(error)}))

    def _prospect(self) -> Prospect:
        published = self._loop.published
        island = IslandState.UNKNOWN if published is None else published.decision.island
        stopped = None if published is None else stop_reason(published.decision.contacts)
        return Prospect(self._planner.inputs(), self._planner.plan, island, stopped)

    def _body(self, asked: PowerRequest, granted: Grant, peer: Peer, former: Reservation | None) -> dict[str, Any]:
        """A reservation as its row holds it; its id is the row's number."""
        now_s = self._clock.utc_s()
        return {
            "name": asked.name,
            "power_w": asked.power_w,
            "start_utc_s": granted.start_utc_s,
            "end_utc_s": granted.start_utc_s + asked.for_s,
            "latest_utc_s": max(granted.start_utc_s, now_s + asked.within_s),
            "who": peer.who,
            "given_utc_s": now_s,
            "cluster": asked.cluster,
            "job_id": asked.job_id,
            "restart": asked.restart,
        } | ({} if former is None else {"renews": former.id})

    async def _why_later(self, reservation: Reservation, prospect: Prospect, held: bool) -> Reason:
        """Why a reservation that has not begun is not ready: when it starts, and what may keep its power away then.

        held: a manual order has the battery. Then this is computed now, else it is what was found with the last plan.
        """
        risk = self._planner.at_risk.get(reservation.id)
        if held and prospect.inputs is not None:  # the plan in force may not know of the order yet
            risk = await self._shortfall(reservation, prospect.inputs, prospect.plan)
        starts = Reason("power.starts", {"start_local": local_iso(reservation.start_utc_s, self._config)})
        return starts if risk is None else joined([starts, Reason("power.at_risk", {"why": risk})])

    async def _why_not_ready(self, reservation: Reservation, prospect: Prospect) -> Reason | None:
        """Why the power of one that has begun is not there; None when it is."""
        if prospect.island is not IslandState.GRID_TIED:
            return Reason("power.site_state", {"state": prospect.island.value})
        if prospect.stopped is not None:
            return prospect.stopped
        if prospect.inputs is None:
            return Reason("power.not_known")
        return await self._shortfall(reservation, prospect.inputs, prospect.plan)

    async def _shortfall(self, reservation: Reservation, inputs: PlanInputs, plan: Plan | None) -> Reason | None:
        try:
            return await self._calls.call(shortfall, reservation, inputs, plan)
        except PartHangs as error:
            return Reason("refused.part_hangs", {"error": str(error)})


def _asked(params: dict[str, Any]) -> PowerRequest:
    """The job in a request's parameters. Raises ValueError."""
    unknown = params.keys() - _ASKED - {"seen_utc_s"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return msgspec.convert({key: value for key, value in params.items() if key in _ASKED}, PowerRequest)
