"""Where commands are given: opens the strip, asks what is allowed, sends, and shows what came of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from textual.worker import Worker

from console.display.formats import hour_minute
from console.display.ink import Ink
from console.display.islanding_text import idle
from console.tui.form_fields import BadField, Form, form, minutes, wanted
from console.tui.order_form import CONFIRM, EDIT, SENT
from dispatch.model.islanding import Check
from dispatch.model.orders import Order
from dispatch.wording.formatting import span
from gateway.errors import LinkLost, RequestFailed

if TYPE_CHECKING:
    from console.tui.app import SkerryApp
    from dispatch.model.orders import Preview

LOOK_S = 1.0  # between two looks at what is allowed while a form is open
CHECK_S = 3.0  # and at what a drill would find while the Island view is open
ISLANDING = ("drill.start", "island.reset", "island.black_start")  # their methods on the link
REASON = "reason"  # the check that a drill has one: of what is typed, not of the site


class Desk:
    """Works on the app's strip. Everything it knows of the site is the app's model."""

    def __init__(self, app: SkerryApp) -> None:
        self._app = app
        self._looked_s = self._checked_s = float("-inf")
        self._asked: Worker[None] | None = None  # the look under way

    def open(self, id: str) -> None:
        """Show a command's form, or say why there is nothing to fill in."""
        made = form(id, self._app.model)
        if isinstance(made, str):
            self._app.say(made)
            return
        self._app.strip.model = self._app.model
        self._app.strip.open(made)
        self.ask()

    def ask(self, confirm: bool = False) -> None:
        """Find out what is allowed; with `confirm`, go on to the confirmation if this may be done."""
        self._looked_s = self._app.now_s()
        self._asked = self._app.beside(partial(self._look, confirm), "look")

    def tick(self, now_s: float) -> None:
        """Twice a second: what is allowed now and what a drill would find now changes with the site."""
        strip, model = self._app.strip, self._app.model
        answered = self._asked is None or self._asked.is_finished
        if strip.display and strip.stage != SENT and answered and now_s - self._looked_s >= LOOK_S:
            self.ask()
        if not strip.display and model.view == "island" and idle(model) and now_s - self._checked_s >= CHECK_S:
            self._checked_s = now_s
            self._app.beside(self._check, "check")

    async def _check(self) -> None:
        """What a drill would find now, for the Island view; silence when it cannot be asked."""
        try:
            answer = await self._app.feed.request("drill.check", minutes=self._app.model.checks_minutes)
        except (RequestFailed, LinkLost):
            self._app.show(checks=())
            return
        checks = msgspec.convert(answer["checks"], tuple[Check, ...])
        self._app.show(checks=tuple(c for c in checks if c.name != REASON))  # asked for when one is started

    async def _look(self, confirm: bool) -> None:
        strip, of = self._app.strip, self._app.strip.form
        refusal, ink = "", Ink.MEDIUM
        look: Preview | None = None
        checks: tuple[Check, ...] = ()
        try:
            if of.id == "drill.start":
                refusal, checks = await self._drill_checks(of)
            elif of.kind is not None:
                answer = await self._app.feed.request("order.preview", **wanted(of, self._app.model, not confirm))
                look = preview(answer)
            elif confirm and "reason" in (f.name for f in of.fields) and not of.text("reason"):
                refusal = "reason: it needs one, for whoever is next, and on record"
        except BadField as error:
            refusal, look, ink = str(error), strip.look, Ink.DIM
        except (RequestFailed, LinkLost) as error:
            refusal, look = str(error), strip.look
        if strip.form is not of or not strip.display or strip.stage == SENT:
            return  # another form by now
        if confirm:
            strip.replaces = look.standing.id if look is not None and look.standing is not None else None
            strip.become(EDIT if refusal else CONFIRM, refusal)
        strip.learn(look, checks, (refusal, ink) if refusal and not checks else None)

    async def _drill_checks(self, of: Form) -> tuple[str, tuple[Check, ...]]:
        """Why no drill can begin, and every check of the site: as many before a reason is typed as after."""
        answer = await self._app.feed.request("drill.check", minutes=minutes(of), reason=of.text("reason"))
        checks = msgspec.convert(answer["checks"], tuple[Check, ...])
        return "" if answer["ok"] else answer["text"], tuple(c for c in checks if c.name != REASON)

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def execute(self) -> None:
        """Send what is written and confirmed."""
        strip = self._app.strip
        strip.become(SENT)
        self._app.beside(partial(self._send, strip.form), "send")

    async def _send(self, of: Form) -> None:
        try:
            said = await self._sent(of)
        except (BadField, RequestFailed, LinkLost) as error:
            if self._app.strip.form is of:
                self._app.strip.become(EDIT, str(error))
            else:  # hold or stop has been opened since
                self._app.say(str(error))
            return
        if self._app.strip.form is of:
            self._app.close_strip()
        self._app.say(said)

    async def _sent(self, of: Form) -> str:
        """Do it; the gateway's answer in a line. Raises BadField, RequestFailed, LinkLost."""
        model, request, reason = self._app.model, self._app.feed.request, of.text("reason")
        seen: dict[str, Any] = {"seen_utc_s": model.now_utc_s}
        if of.id in ISLANDING:
            more: dict[str, Any] = {"minutes": minutes(of)} if of.id == "drill.start" else {}
            if of.id == "island.black_start":
                more = {"confirmed": True}
            return islanding_said(await request(of.id, reason=reason, **more, **seen))
        if of.id in ("order.end", "order.enable"):
            answer = await request("order.end", id=of.text("id"), reason=reason, **seen)
            ended = ", ".join(answer["ended"]) or "nothing: no such order was in force"
            return durable(f"ended {ended}; now {answer['effect']}", answer)
        if of.id == "order.stop":
            return order_said(await request("stop", reason="stop"), model.timezone)
        params = wanted(of, model)
        if self._app.strip.replaces is not None:
            params["replace"] = self._app.strip.replaces
        return order_said(await request("order.set", **params, **seen), model.timezone)

    async def abort(self) -> None:
        """Back to the grid, or withdraw a black start: one key, no question."""
        answer = await self._app.feed.ask("drill.abort")
        if answer is not None:
            self._app.say(durable(answer["text"], answer))


def preview(answer: Any) -> Preview:
    """What the gateway says an order would change."""
    from dispatch.model.orders import Preview  # loaded with the first order: a console that only looks starts sooner

    return msgspec.convert(answer, Preview)


def islanding_said(answer: dict[str, Any]) -> str:
    """The state machine's word. Raises RequestFailed when it is no."""
    if not answer["ok"]:
        raise RequestFailed(answer["text"], "refused")
    return durable(answer["text"], answer)


def order_said(answer: dict[str, Any], timezone: str) -> str:
    """What the gateway made of an order: its id, old → new, until when, and what the next tick does."""
    order = msgspec.convert(answer["order"], Order)
    until = f"until {hour_minute(order.ends_utc_s, timezone)} ({span(answer['for_s'])})"
    return durable(f"{order.id}: {answer['old']} → {answer['new']}, {until}; now {answer['effect']}", answer)


def durable(text: str, answer: dict[str, Any]) -> str:
    """The line, marked when it is not on disk."""
    return f"NOT DURABLE, {answer['not_durable']}: {text}" if answer.get("not_durable") else text
