"""Gives commands to the gateway: opens the form, asks what is allowed, sends, and shows the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from textual.worker import Worker

from console.display.formats import hour_minute
from console.display.islanding_text import abort_outlook, in_normal_operation
from console.display.language import say, words
from console.tui.answers import (
    AlarmSuppressed,
    IslandAnswer,
    OrderEnded,
    OrderGiven,
    Requester,
    UnknownForm,
    asked,
)
from console.tui.form_fields import (
    ALARM_COMMANDS,
    ENDING,
    CommandForm,
    FieldError,
    alarm_parameters,
    drill_minutes,
    new_form,
    order_parameters,
)
from console.tui.gateway_feed import StartWorker
from console.tui.model_store import ModelStore
from console.tui.order_details import Assessment, typed_only
from console.tui.order_form import OrderForm, Stage
from dispatch.model.islanding import Check
from dispatch.model.orders import Preview
from dispatch.model.reasons import Reason, plain
from dispatch.wording.formatting import span
from gateway.errors import LinkLost, RequestFailed

ASSESS_PERIOD_S = 1.0  # between two questions what is allowed, while a form is open
ABORT_NOTICE_S = 15.0  # how long the answer to an abort stays
CHECK_PERIOD_S = 3.0  # between two questions what a drill would find, while the Island view is open
ISLANDING_COMMANDS = ("drill.start", "island.reset", "island.black_start")  # their methods on the link
# The check that a drill has a reason: of what is typed, not of the site. The second: of link versions 1 and 2.
REASON_CHECKS = (Reason("check.reason"), plain("reason"))


class OrderController:
    """Fills and reads the app's order form.

    requester: sends to the gateway.
    monotonic: the clock between two questions, s.
    """

    def __init__(
        self,
        order_form: OrderForm,
        store: ModelStore,
        requester: Requester,
        start_worker: StartWorker,
        monotonic: Callable[[], float],
    ) -> None:
        self._order_form, self._store, self._requester = order_form, store, requester
        self._start_worker, self._monotonic = start_worker, monotonic
        self._assessed_s = self._checked_s = float("-inf")
        self._assessing: Worker[None] | None = None

    def open(self, command_id: str, alarm: str = "") -> None:
        """Show a command's form, or say why there is nothing to fill in. `alarm`: the id of the one selected."""
        form = new_form(command_id, self._store.model, alarm)
        if isinstance(form, str):
            self._store.notify(form)
            return
        self._order_form.model = self._store.model
        self._order_form.open(form)
        self.assess()

    def assess(self, confirm: bool = False) -> None:
        """Ask what is allowed; with `confirm`, go on to the confirmation if the form may be sent as it is."""
        self._assessed_s = self._monotonic()
        self._assessing = self._start_worker(partial(self._assess, confirm), "assess")

    def poll(self) -> None:
        """Ask again what is allowed now, or what a drill would find now: both change with the site. Twice a second."""
        now_s = self._monotonic()
        if self._order_form.display:
            answered = self._assessing is None or self._assessing.is_finished
            if self._order_form.stage is not Stage.SENT and answered and now_s - self._assessed_s >= ASSESS_PERIOD_S:
                self.assess()
            return
        model = self._store.model
        if model.view == "island" and in_normal_operation(model) and now_s - self._checked_s >= CHECK_PERIOD_S:
            self._checked_s = now_s
            self._start_worker(self._load_drill_checks, "check")

    async def _load_drill_checks(self) -> None:
        """What a drill would find now, for the Island view; nothing when it cannot be asked."""
        try:
            answer = await self._drill_checked(self._store.model.checks_minutes)
        except (RequestFailed, LinkLost):
            self._store.update(checks=())
        else:
            self._store.update(checks=site_checks(answer.checks))

    async def _drill_checked(self, minutes: float, **more: str) -> IslandAnswer:
        """What a drill would find now. Raises RequestFailed, LinkLost."""
        return await asked(self._requester, IslandAnswer, "drill.check", minutes=minutes, **more)

    async def _assess(self, confirm: bool) -> None:
        """Show what the gateway says of the form; with `confirm`, let it be confirmed if nothing is against it."""
        order_form, form = self._order_form, self._order_form.form
        assessment = await self._assessment(form, confirm)
        if order_form.form is not form or not order_form.display or order_form.stage is Stage.SENT:
            return  # the form has changed since
        if confirm:
            standing = assessment.preview.standing if assessment.preview is not None else None
            order_form.replaced_order_id = standing.id if standing is not None else None
            order_form.set_stage(Stage.EDIT if assessment.refusal else Stage.CONFIRM, assessment.refusal)
        order_form.show_assessment(assessment)

    async def _assessment(self, form: CommandForm, confirm: bool) -> Assessment:
        """What the gateway says. Where the form cannot be read or is refused, the last preview stays."""
        preview = self._order_form.assessment.preview
        try:
            return await self._asked(form, confirm)
        except FieldError as error:
            return Assessment(preview, refusal=str(error), unreadable=True)
        except UnknownForm:
            return Assessment(preview, refusal=say("answer.unreadable"))
        except (RequestFailed, LinkLost) as error:
            return Assessment(preview, refusal=str(error))

    async def _asked(self, form: CommandForm, confirm: bool) -> Assessment:
        """The gateway's answer. Raises FieldError, RequestFailed, LinkLost."""
        if form.id == "drill.start":
            minutes, reason = drill_minutes(form), form.text("reason")
            answer = await self._drill_checked(minutes, reason=reason)
            refusal = "" if answer.ok else words(answer.reason)
            return Assessment(checks=site_checks(answer.checks), of_drill=answer.consequence, refusal=refusal)
        if form.kind is not None:
            params = order_parameters(form, self._store.model, incomplete=not confirm)
            return Assessment(typed_only(form, await asked(self._requester, Preview, "order.preview", **params)))
        if form.id in ALARM_COMMANDS:
            if confirm:
                alarm_parameters(form)
            return Assessment()
        if confirm and form.has("reason") and not form.text("reason"):
            return Assessment(refusal=say("field.reason_needed"))
        return Assessment()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def execute(self) -> None:
        """Send what is written and confirmed."""
        self._order_form.set_stage(Stage.SENT)
        self._start_worker(partial(self._execute, self._order_form.form), "send")

    async def _execute(self, form: CommandForm) -> None:
        try:
            answer = await self._send(form)
        except UnknownForm:
            answer = say("answer.sent", what=say("answer.unreadable"))
        except (FieldError, RequestFailed, LinkLost) as error:
            if self._order_form.form is form:
                self._order_form.set_stage(Stage.EDIT, str(error))
            else:  # hold or stop has been opened since
                self._store.notify(str(error))
            return
        if self._order_form.form is form:
            self._order_form.close()
        self._store.notify(answer)

    async def _send(self, form: CommandForm) -> str:
        """Send the command; the gateway's answer in a line. Raises FieldError, RequestFailed, LinkLost."""
        if form.id in ISLANDING_COMMANDS:
            return await self._send_islanding(form)
        if form.id in ALARM_COMMANDS:
            return await self._send_alarm(form)
        if form.id in ENDING:
            return await self._send_end(form)
        if form.id == "order.stop":
            method, params = "stop", {"reason": "stop"}
        else:
            method, params = "order.set", order_parameters(form, self._store.model) | self._seen()
            if self._order_form.replaced_order_id is not None:
                params["replace"] = self._order_form.replaced_order_id
        return order_text(await asked(self._requester, OrderGiven, method, **params), self._store.model.timezone)

    async def _send_islanding(self, form: CommandForm) -> str:
        params: dict[str, Any] = {"reason": form.text("reason")}
        if form.id == "drill.start":
            params["minutes"] = drill_minutes(form)
        if form.id == "island.black_start":
            params["confirmed"] = True
        answer = await asked(self._requester, IslandAnswer, form.id, **params, **self._seen())
        if not answer.ok:
            raise RequestFailed(words(answer.reason), "refused")
        return answer.marked(words(answer.reason))

    async def _send_alarm(self, form: CommandForm) -> str:
        answer = await asked(self._requester, AlarmSuppressed, form.id, **alarm_parameters(form), **self._seen())
        if form.id == "alarm.return":
            text = say("answer.listed_again", id=answer.id)
        elif answer.until_utc_s is None:
            text = say("answer.out_of_service", id=answer.id)
        else:
            until = hour_minute(answer.until_utc_s, self._store.model.timezone)
            text = say("answer.shelved", id=answer.id, time=until)
        return answer.marked(text)

    async def _send_end(self, form: CommandForm) -> str:
        params = {"id": form.text("id"), "reason": form.text("reason")}
        answer = await asked(self._requester, OrderEnded, "order.end", **params, **self._seen())
        ended = ", ".join(answer.ended) or say("answer.nothing_ended")
        return answer.marked(say("answer.ended", ids=ended, effect=words(answer.effect)))

    def _seen(self) -> dict[str, Any]:
        """The snapshot that was on screen when it was sent: it goes on record."""
        return {"seen_utc_s": self._store.model.now_utc_s}

    async def abort(self) -> None:
        """Abort the drill, or withdraw a black start: one key, no question. Says what happens then, and until when."""
        then = abort_outlook(self._store.model)
        try:
            answer = await asked(self._requester, IslandAnswer, "drill.abort")
        except UnknownForm:
            said = say("answer.sent", what=say("answer.unreadable"))
        except (RequestFailed, LinkLost) as error:
            self._store.notify(str(error))
            return
        else:
            said = answer.marked(say("answer.aborting", then=then) if then and answer.ok else words(answer.reason))
        self._store.notify(said, ABORT_NOTICE_S)


def site_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that are of the site: as many before a reason is typed as after."""
    return tuple(check for check in checks if check.name not in REASON_CHECKS)


def order_text(answer: OrderGiven, timezone: str) -> str:
    """What the gateway made of an order: its id, old → new, until when, and what the next tick does."""
    until = say("answer.until", time=hour_minute(answer.order.ends_utc_s, timezone), span=span(answer.for_s))
    old, new, effect = words(answer.old), words(answer.new), words(answer.effect)
    return answer.marked(say("answer.order", id=answer.order.id, old=old, new=new, until=until, effect=effect))
