"""What the gateway tells the console: attach, listen, ask, and attach again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from console.display.audit_rows import folded
from console.display.viewmodel import (
    DAY_POINTS,
    DAY_STEP_S,
    STALE_AFTER_S,
    TREND_POINTS,
    TREND_STEP_S,
    Link,
    decision_events,
    lost,
    received,
    with_events,
    with_history,
)
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.islanding import DrillReport
from gateway.api.protocol import EventMessage, PlanMessage, Published, Welcome
from gateway.errors import LinkLost, RequestFailed

if TYPE_CHECKING:
    from console.tui.app import SkerryApp

FIRST_RETRY_S, LAST_RETRY_S = 0.25, 5.0
EVENTS_A_PAGE = 200
AUDIT_A_PAGE, AUDIT_KEPT = 100, 1000
AUDIT_AFTER_S = 0.5
DRILLS_LISTED = 24
COMMANDED = ("command", "island", "alarm", "gateway")  # events that come with rows of the audit
HISTORY_SIGNALS = ["site_load.w", "grid.w", "soc_pct"]


class Client(Protocol):
    """A live conversation with a gateway; `gateway.api.client.GatewayClient` is one."""

    @property
    def welcome(self) -> Welcome: ...

    def messages(self) -> AsyncIterator[Published | PlanMessage | EventMessage]: ...

    async def request(self, method: str, **params: Any) -> Any: ...

    async def close(self) -> None: ...


class Feed:
    """Folds the gateway's messages into the app's model. `connect` and `monotonic` are the app's."""

    def __init__(
        self, app: SkerryApp, connect: Callable[[], Awaitable[Client]], monotonic: Callable[[], float]
    ) -> None:
        self._app, self._connect, self._monotonic = app, connect, monotonic
        self._client: Client | None = None
        self._since_s = monotonic()  # the last snapshot, or the loss of the link
        self._history_wanted = False
        self._audit: dict[int, dict[str, Any]] = {}  # rows by their number

    async def follow(self) -> None:
        """Attach, listen, and attach again, for as long as the app runs."""
        delay_s = FIRST_RETRY_S
        while True:
            try:
                client = await self._connect()
            except LinkLost as error:
                self._app.show(link_note=str(error))
            except OSError as error:
                self._app.show(link_note=f"{error.filename}: {error.strerror}" if error.filename else str(error))
            else:
                delay_s = FIRST_RETRY_S
                try:
                    await self._converse(client)
                finally:
                    self._client = None
                    await client.close()
                self._since_s = self._monotonic()
                self._app.become(lost(self._app.model, str(getattr(client, "lost", None) or "the gateway hung up")))
            await asyncio.sleep(delay_s)
            delay_s = min(LAST_RETRY_S, delay_s * 2)

    async def _converse(self, client: Client) -> None:
        """Take messages until the gateway is gone."""
        app = self._app
        self._client, self._history_wanted, self._audit = client, True, {}
        app.show(welcome=client.welcome)
        async for message in client.messages():
            if isinstance(message, Published):
                self._since_s = self._monotonic()
                app.become(received(app.model, message))
                if self._history_wanted:
                    self._history_wanted = False
                    app.run_worker(self._recall(message.snapshot.utc_s), name="recall", exclusive=True, group="recall")
            elif isinstance(message, PlanMessage):
                app.show(plan=message.plan, no_plan="")
                if message.plan is None:
                    app.run_worker(self._why_no_plan(), name="no plan", exclusive=True, group="no plan")
            else:
                app.show(events=with_events(app.model.events, [message.event]))
                if message.event.kind in COMMANDED:
                    app.beside(self._newest_audit, "audit")
                if message.event.kind == "island":
                    app.beside(self._recall_drill, "drill")

    def age(self) -> None:
        """Count how old what is shown is."""
        age_s, model = self._monotonic() - self._since_s, self._app.model
        if model.link is not Link.LIVE or age_s > STALE_AFTER_S:
            self._app.show(age_s=float(int(age_s)) if age_s >= 3 else age_s)

    async def request(self, method: str, **params: Any) -> Any:
        """A request's answer. Raises RequestFailed with the gateway's line, LinkLost without a gateway."""
        if self._client is None:
            raise LinkLost("no gateway: nothing was sent")
        return await self._client.request(method, **params)

    async def ask(self, method: str, **params: Any) -> Any:
        """The same, or None with the refusal shown."""
        try:
            return await self.request(method, **params)
        except (RequestFailed, LinkLost) as error:
            self._app.say(str(error))
            return None

    async def _why_no_plan(self) -> None:
        """The gateway's own line on why there is no plan; nothing if one has come meanwhile."""
        if self._client is None:
            return
        try:
            await self._client.request("plan")
        except RequestFailed as error:
            self._app.show(no_plan=str(error))
        except LinkLost:
            return  # `follow` says so

    async def _recall_role(self) -> None:
        """The role as of now: each command looks it up anew."""
        try:
            answer = await self.request("role")
        except (RequestFailed, LinkLost):
            answer = {"role": ""}  # a gateway that does not tell, or `follow` says that the link is lost
        self._app.show(role=answer["role"])

    async def _recall_drill(self) -> None:
        """The last drill's report, and those on record before it."""
        try:
            status = await self.request("drill.status")
            report = msgspec.convert(status["report"], DrillReport | None)
            self._app.show(report=report, report_head=status.get("audit_head", ""))
            found = await self.request("drill.reports", limit=DRILLS_LISTED)
        except (RequestFailed, LinkLost):
            return  # not told, not known; `follow` says when the link is lost
        self._app.show(drills=tuple(msgspec.convert(record["report"], DrillReport) for record in found))

    async def _newest_audit(self) -> None:
        """The newest rows of the audit; those of a command are written a moment after its event."""
        await asyncio.sleep(AUDIT_AFTER_S)
        await self.load_audit()

    async def load_audit(self, before_seq: int | None = None) -> None:
        """A page of rows of the audit before that one; the newest for None. A gateway without one tells nothing."""
        before = {} if before_seq is None else {"before_seq": before_seq}
        try:
            found = await self.request("audit", limit=AUDIT_A_PAGE, **before)
        except (RequestFailed, LinkLost):
            return  # there is no audit yet, or `follow` says that the link is lost
        self._audit |= {row["seq"]: row for row in found}
        for seq in sorted(self._audit)[:-AUDIT_KEPT]:
            del self._audit[seq]
        self._app.show(audit=folded(self._audit.values()))

    async def load_older(self) -> None:
        """A page more of events and of the audit."""
        if self._app.model.events:
            await self.load_events(self._app.model.events[0].utc_s)
        if self._audit and min(self._audit) > 1:
            await self.load_audit(min(self._audit))

    async def _recall(self, now_utc_s: float) -> None:
        """What this console may do, and what the gateway remembers from before it came."""
        await self._recall_role()
        for name, step_s, points in (("trend", TREND_STEP_S, TREND_POINTS), ("day", DAY_STEP_S, DAY_POINTS)):
            answer = await self.ask(
                "history",
                signals=HISTORY_SIGNALS,
                start_utc_s=now_utc_s - points * step_s,
                end_utc_s=now_utc_s,
                step_s=step_s,
            )
            if answer:
                known = getattr(self._app.model, name)
                self._app.show(**{name: with_history(known, answer["t"], answer["signals"], step_s)})
        await self._recall_drill()
        await self.load_audit()
        await self.load_events(None)
        decisions = await self.ask(
            "decisions", start_utc_s=now_utc_s - 86_400, end_utc_s=now_utc_s, limit=EVENTS_A_PAGE
        )
        if decisions:
            made = sorted((msgspec.convert(d, Decision) for d in decisions), key=lambda d: d.utc_s)
            # the record is more exact, but a few seconds behind
            newest = made[-1]
            seen = [
                e
                for e in self._app.model.events
                if e.kind != "why"
                or e.utc_s < made[0].utc_s
                or (e.utc_s > newest.utc_s and e.subject != newest.binding)
            ]
            self._app.show(events=with_events(tuple(seen), decision_events(made)[1:]))

    async def load_events(self, before_utc_s: float | None) -> None:
        """A page of events before that time; the newest for None."""
        found = await self.ask(
            "events", limit=EVENTS_A_PAGE, **({} if before_utc_s is None else {"before_utc_s": before_utc_s})
        )
        if found:
            self._app.show(events=with_events(self._app.model.events, [msgspec.convert(e, Event) for e in found]))
