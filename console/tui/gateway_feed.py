"""Attaches to the gateway, and again when the link is lost; turns its messages into the model; sends requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from textual.worker import Worker

from console.display.audit_rows import audit_lines
from console.display.language import rule_name, say
from console.display.viewmodel import (
    DAY_POINTS,
    DAY_STEP_S,
    STALE_AFTER_S,
    TREND_POINTS,
    TREND_SIGNALS,
    TREND_STEP_S,
    Link,
    decision_events,
    lost,
    received,
    with_events,
    with_history,
)
from console.tui.answers import AlarmsAcknowledged, Requester, asked
from console.tui.model_store import ModelStore
from dispatch.accounting.records import JobRecord
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.islanding import DrillReport
from dispatch.model.proofs import Proofs
from drivers.register_view import RegisterValue
from gateway.api.protocol import EventMessage, PlanMessage, Published, Welcome
from gateway.errors import LinkLost, RequestFailed

FIRST_RETRY_S, LAST_RETRY_S = 0.25, 5.0
UNKNOWN_METHOD = "unknown method"  # so a gateway begins its answer to what it does not know
EVENTS_PER_PAGE = 200
AUDIT_ROWS_PER_PAGE, AUDIT_ROWS_KEPT = 100, 1000
AUDIT_DELAY_S = 0.5  # from an event to the request for its rows: the result is written a moment after the event
DRILLS_LISTED = 24
JOBS_S = 10.0  # between two requests for what the jobs have drawn
ALARM_HISTORY_S = 10.0  # between two requests when alarms came and went
ALARM_HISTORY_DAYS = 7
MOST_JOBS = 500
PROOFS_S = 30.0  # between two requests for what has been proven
REGISTERS_S = 3.0  # between two requests for the registers that are shown
AUDITED_KINDS = ("command", "island", "alarm", "gateway")  # of events that come with rows of the audit
DAY_S = 86_400
T = TypeVar("T")

# Starts a coroutine that runs while the console goes on drawing. Of one name only the latest goes on.
StartWorker = Callable[[Callable[[], Coroutine[Any, Any, None]], str], Worker[None]]


class _Jobs(msgspec.Struct):
    jobs: tuple[JobRecord, ...]


class _Role(msgspec.Struct):
    role: str


class _DrillStatus(msgspec.Struct):
    report: DrillReport | None
    audit_head: str = ""


class _DrillRecord(msgspec.Struct):
    report: DrillReport


class _History(msgspec.Struct):
    t: list[float]
    signals: dict[str, list[float | None]]


class Client(Requester, Protocol):
    """An open link to a gateway; `gateway.api.client.GatewayClient` is one."""

    @property
    def welcome(self) -> Welcome: ...

    def messages(self) -> AsyncIterator[Published | PlanMessage | EventMessage]: ...

    async def close(self) -> None: ...


class GatewayFeed:
    """Changes the model in the store by what the gateway sends.

    connect: gives a client, or raises LinkLost or OSError with a line to show.
    monotonic: the clock that the age of what is shown is counted on, s.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Client]],
        store: ModelStore,
        start_worker: StartWorker,
        monotonic: Callable[[], float],
    ) -> None:
        self._connect, self._store, self._start_worker, self._monotonic = connect, store, start_worker, monotonic
        self._client: Client | None = None
        self._since_s = monotonic()  # the last snapshot, or the loss of the link
        self._history_loaded = False
        self._registers_s = self._proofs_s = self._jobs_s = float("-inf")  # when they were last asked for
        self._alarms_s = float("-inf")
        self._audit_rows: dict[int, dict[str, Any]] = {}  # by their number

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Attach, listen, and attach again, for as long as the app runs."""
        delay_s = FIRST_RETRY_S
        while True:
            client = await self._attached()
            if client is not None:
                delay_s = FIRST_RETRY_S
                await self._converse(client)
            await asyncio.sleep(delay_s)
            delay_s = min(LAST_RETRY_S, delay_s * 2)

    async def _attached(self) -> Client | None:
        """A client, or None with the reason shown."""
        try:
            return await self._connect()
        except LinkLost as error:
            self._store.update(link_note=str(error))
        except OSError as error:
            self._store.update(link_note=f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return None

    async def _converse(self, client: Client) -> None:
        """Take messages until the gateway is gone, and say that it is."""
        try:
            await self._listen(client)
        finally:
            self._client = None
            await client.close()
        self._since_s = self._monotonic()
        reason = str(getattr(client, "lost", None) or say("feed.hung_up"))
        self._store.replace(lost(self._store.model, reason))

    async def _listen(self, client: Client) -> None:
        """Take messages until there are no more."""
        self._client, self._history_loaded, self._audit_rows = client, False, {}
        self._store.update(welcome=client.welcome)
        async for message in client.messages():
            if isinstance(message, Published):
                self._take_snapshot(message)
            elif isinstance(message, PlanMessage):
                self._take_plan(message)
            else:
                self._take_event(message.event)

    def _take_snapshot(self, published: Published) -> None:
        self._since_s = self._monotonic()
        self._store.replace(received(self._store.model, published))
        if not self._history_loaded:
            self._history_loaded = True
            self._start_worker(partial(self._load_history, published.snapshot.utc_s), "history")

    def _take_plan(self, message: PlanMessage) -> None:
        self._store.update(plan=message.plan, no_plan="")
        if message.plan is None:
            self._start_worker(self._load_no_plan_reason, "no plan")

    def _take_event(self, event: Event) -> None:
        self._store.update(events=with_events(self._store.model.events, [event]))
        if event.kind in AUDITED_KINDS:
            self._start_worker(self._load_new_audit_rows, "audit")
        if event.kind == "island":
            self._start_worker(self._load_drill_reports, "drill")

    def update_age(self) -> None:
        """Count how old what is shown is."""
        age_s = self._monotonic() - self._since_s
        if self._store.model.link is not Link.LIVE or age_s > STALE_AFTER_S:
            self._store.update(age_s=float(int(age_s)) if age_s >= 3 else age_s)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, method: str, **params: Any) -> Any:
        """A request's answer. Raises RequestFailed with the gateway's line, LinkLost without a gateway."""
        if self._client is None:
            raise LinkLost(say("feed.nothing_sent"))
        return await self._client.request(method, **params)

    async def acknowledge(self, **params: Any) -> AlarmsAcknowledged | None:
        """Acknowledge alarms; None with what was raised shown in the footer."""
        return await self._asked_or_notify(AlarmsAcknowledged, "alarm.acknowledge", **params)

    async def _asked(self, shape: type[T], method: str, **params: Any) -> T:
        """An answer of this shape. Raises RequestFailed, LinkLost."""
        return await asked(self, shape, method, **params)

    async def _asked_or_notify(self, shape: type[T], method: str, **params: Any) -> T | None:
        """The same, or None with what was raised shown in the footer."""
        try:
            return await self._asked(shape, method, **params)
        except (RequestFailed, LinkLost) as error:
            self._store.notify(say("feed.earlier_gateway") if UNKNOWN_METHOD in str(error) else str(error))
            return None

    def show_registers(self, device_id: str) -> None:
        """Ask for the registers of a device, as the gateway last read them."""
        self._registers_s = self._monotonic()
        self._start_worker(partial(self._load_registers, device_id), "registers")

    def refresh_registers(self, device_id: str) -> None:
        """The same again, if it is time: they are some kilobytes."""
        if self._monotonic() - self._registers_s >= REGISTERS_S:
            self.show_registers(device_id)

    def refresh_proofs(self) -> None:
        """Ask what has been proven, if it is time."""
        if self._monotonic() - self._proofs_s >= PROOFS_S:
            self._proofs_s = self._monotonic()
            self._start_worker(self._load_proofs, "proofs")

    def refresh_jobs(self) -> None:
        """Ask what the jobs that run have drawn, if it is time."""
        if self._monotonic() - self._jobs_s >= JOBS_S:
            self._jobs_s = self._monotonic()
            self._start_worker(self._load_jobs, "jobs")

    async def _load_jobs(self) -> None:
        drawn: tuple[JobRecord, ...] = ()
        try:
            drawn = (await self._asked(_Jobs, "jobs.list", limit=MOST_JOBS)).jobs
        except (RequestFailed, LinkLost):
            pass  # no scheduler, a gateway of an earlier version, or `run` shows that the link is lost
        self._store.update(drawn=drawn)

    def refresh_alarm_history(self) -> None:
        """Ask when alarms came and went, if it is time."""
        if self._monotonic() - self._alarms_s >= ALARM_HISTORY_S:
            self._alarms_s = self._monotonic()
            self._start_worker(self._load_alarm_history, "alarm history")

    async def _load_alarm_history(self) -> None:
        now_utc_s = self._store.model.now_utc_s
        if now_utc_s is None:
            return
        span = {"since_utc_s": now_utc_s - ALARM_HISTORY_DAYS * DAY_S, "until_utc_s": now_utc_s + 1.0}
        try:
            found = await self._asked(tuple[AlarmEpisode, ...], "alarm.history", **span)
        except (RequestFailed, LinkLost):
            return  # a gateway of an earlier version, or `run` shows that the link is lost
        self._store.update(alarm_history=found)

    async def _load_proofs(self) -> None:
        try:
            proofs = await self._asked(Proofs, "prove.list")
        except (RequestFailed, LinkLost):
            return  # a gateway of an earlier version, or `run` shows that the link is lost
        self._store.update(proofs=proofs)

    async def _load_registers(self, device_id: str) -> None:
        rows: tuple[RegisterValue, ...] = ()
        note = say("feed.nothing_read")
        try:
            rows = await self._asked(tuple[RegisterValue, ...], "device.registers", id=device_id)
        except (RequestFailed, LinkLost) as error:
            note = str(error)
        self._store.update(registers=rows, registers_of=device_id, registers_note=note)

    async def _load_no_plan_reason(self) -> None:
        """The gateway's line on why there is no plan; nothing if one has come meanwhile."""
        try:
            await self.request("plan")
        except RequestFailed as error:
            self._store.update(no_plan=str(error))
        except LinkLost:
            return  # `run` shows that

    async def _load_role(self) -> None:
        """The role now: the gateway looks it up anew for each command."""
        try:
            answer = await self._asked(_Role, "role")
        except (RequestFailed, LinkLost):
            answer = _Role("")  # a gateway that does not say, or `run` shows that the link is lost
        self._store.update(role=answer.role)

    async def _load_drill_reports(self) -> None:
        """The last drill's report, and those on record before it."""
        try:
            status = await self._asked(_DrillStatus, "drill.status")
            self._store.update(report=status.report, report_head=status.audit_head)
            found = await self._asked(tuple[_DrillRecord, ...], "drill.reports", limit=DRILLS_LISTED)
        except (RequestFailed, LinkLost):
            return  # this gateway has none, or `run` shows that the link is lost
        self._store.update(drills=tuple(record.report for record in found))

    async def _load_new_audit_rows(self) -> None:
        """The newest rows of the audit, once the result is written."""
        await asyncio.sleep(AUDIT_DELAY_S)
        await self._load_audit_rows()

    async def _load_audit_rows(self, before_seq: int | None = None) -> None:
        """A page of rows of the audit before that one; the newest for None. Nothing from a gateway without an audit."""
        before = {} if before_seq is None else {"before_seq": before_seq}
        try:
            found = await self._asked(list[dict[str, Any]], "audit", limit=AUDIT_ROWS_PER_PAGE, **before)
        except (RequestFailed, LinkLost):
            return  # there is no audit yet, or `run` shows that the link is lost
        self._audit_rows |= {row["seq"]: row for row in found if row.keys() >= {"seq", "kind", "t"}}
        for seq in sorted(self._audit_rows)[:-AUDIT_ROWS_KEPT]:
            del self._audit_rows[seq]
        self._store.update(audit=audit_lines(self._audit_rows.values()))

    async def load_older(self) -> None:
        """One more page of events and of the audit."""
        if self._store.model.events:
            await self._load_events(self._store.model.events[0].utc_s)
        if self._audit_rows and min(self._audit_rows) > 1:
            await self._load_audit_rows(min(self._audit_rows))

    async def _load_history(self, now_utc_s: float) -> None:
        """What this console may do, and what the gateway has on record from before it attached."""
        await self._load_role()
        await self._load_trends(now_utc_s)
        await self._load_drill_reports()
        await self._load_audit_rows()
        await self._load_events(None)
        await self._load_decisions(now_utc_s)

    async def _load_trends(self, now_utc_s: float) -> None:
        """The past of the charts."""
        for name, step_s, points in (("trend", TREND_STEP_S, TREND_POINTS), ("day", DAY_STEP_S, DAY_POINTS)):
            span = {"start_utc_s": now_utc_s - points * step_s, "end_utc_s": now_utc_s, "step_s": step_s}
            answer = await self._asked_or_notify(_History, "history", signals=list(TREND_SIGNALS), **span)
            if answer:
                known = getattr(self._store.model, name)
                self._store.update(**{name: with_history(known, answer.t, answer.signals, step_s)})

    async def _load_events(self, before_utc_s: float | None) -> None:
        """A page of events before that time; the newest for None."""
        before = {} if before_utc_s is None else {"before_utc_s": before_utc_s}
        events = await self._asked_or_notify(list[Event], "events", limit=EVENTS_PER_PAGE, **before)
        if events:
            self._store.update(events=with_events(self._store.model.events, events))

    async def _load_decisions(self, now_utc_s: float) -> None:
        """Why the setpoint changed in the last day. The record is more exact than what was seen, but seconds behind."""
        span = {"start_utc_s": now_utc_s - DAY_S, "end_utc_s": now_utc_s}
        found = await self._asked_or_notify(list[Decision], "decisions", **span, limit=EVENTS_PER_PAGE)
        if not found:
            return
        decisions = sorted(found, key=lambda d: d.utc_s)
        oldest, newest = decisions[0], decisions[-1]
        kept = [
            e
            for e in self._store.model.events
            if e.kind != "why"
            or e.utc_s < oldest.utc_s
            or (e.utc_s > newest.utc_s and e.subject != rule_name(newest.binding))
        ]
        self._store.update(events=with_events(tuple(kept), decision_events(decisions)[1:]))
