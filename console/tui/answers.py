"""Asks the gateway and reads its answers: what a console needs of each, and what is said of one in another form."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from console.display.language import say
from dispatch.model.islanding import Check
from dispatch.model.orders import Order
from dispatch.model.reasons import Reason
from gateway.errors import RequestFailed

T = TypeVar("T")


class UnknownForm(RequestFailed):
    """The gateway has answered, in a form that this console does not know."""


class Requester(Protocol):
    """Who sends requests to the gateway."""

    async def request(self, method: str, **params: Any) -> Any:
        """The answer. Raises RequestFailed with the gateway's line, LinkLost without a gateway."""


async def asked(requester: Requester, shape: type[T], method: str, **params: Any) -> T:
    """An answer of this shape. Raises RequestFailed and LinkLost as `request` does, UnknownForm for another shape."""
    answer = await requester.request(method, **params)
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise UnknownForm(f"{method}: {say('answer.unreadable')}: {error}") from None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every command is answered with. `not_durable`: why it is not on disk; empty: it is."""

    not_durable: str = ""

    def marked(self, text: str) -> str:
        """What was done, marked where it is not on disk."""
        return say("answer.not_durable", why=self.not_durable, text=text) if self.not_durable else text


class OrderGiven(Answer, frozen=True):
    """To an order: the setpoint before and after, how long it stands, and what the next tick does."""

    order: Order
    old: Reason
    new: Reason
    effect: Reason
    for_s: float


class OrderEnded(Answer, frozen=True):
    """To the end of orders: their ids, and what the next tick does."""

    ended: tuple[str, ...]
    effect: Reason


class IslandAnswer(Answer, frozen=True):
    """Of the state machine: whether it will, why, and what it has checked."""

    ok: bool
    reason: Reason
    checks: tuple[Check, ...] = ()
    consequence: tuple[Reason, ...] = ()  # of a drill that is thought of


class AlarmSuppressed(Answer, frozen=True):
    """To shelving an alarm, taking it out of service or listing it again. No end: until it is taken back."""

    id: str
    until_utc_s: float | None = None


class AlarmsAcknowledged(Answer, frozen=True):
    """How many."""

    acknowledged: int
