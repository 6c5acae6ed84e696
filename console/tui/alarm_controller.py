"""Acknowledges alarms: the selected one, its group, or all that wait."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from console.display.language import alarm_text, say, say_of
from console.display.viewmodel import unacknowledged
from console.tui.answers import AlarmsAcknowledged
from console.tui.model_store import ModelStore
from dispatch.alarms.contact_conditions import starts_the_battery
from dispatch.alarms.shelving import SHELVED
from dispatch.alarms.states import Alarm, ShelvedAlarm


def id_of(selected: Hashable | None) -> str:
    """The id of the alarm that is selected; empty: none is."""
    if isinstance(selected, ShelvedAlarm):
        return selected.suppression.id
    return selected.id if isinstance(selected, Alarm) else ""


class Acknowledging(Protocol):
    """The link, as far as it is needed here."""

    async def acknowledge(self, **params: Any) -> AlarmsAcknowledged | None:
        """How many were; None where there is no answer, which is shown."""
        ...


class AlarmController:
    """`selected` below: the item that is selected in the list of alarms; None while another view is open."""

    def __init__(self, store: ModelStore, feed: Acknowledging) -> None:
        self._store, self._feed = store, feed

    @property
    def _waiting(self) -> list[Alarm]:
        published = self._store.model.published
        return unacknowledged(published.alarms if published else ())

    async def acknowledge_one(self, selected: Hashable | None) -> None:
        """The selected alarm; without one the first that waits."""
        waiting = self._waiting
        if isinstance(selected, ShelvedAlarm):
            self._store.notify(
                say(
                    "ack.listed_by_b",
                    kind=say("alarms.shelved" if selected.suppression.kind == SHELVED else "alarms.out_of_service"),
                )
            )
            return
        alarm = selected if selected in waiting else (waiting[0] if waiting and selected is None else None)
        if not isinstance(alarm, Alarm):
            self._store.notify(say("ack.already" if waiting else "ack.none_waits"))
            return
        seen = {"seen_utc_s": self._store.model.now_utc_s} if starts_the_battery(alarm.id) else {}
        answer = await self._feed.acknowledge(id=alarm.id, **seen)
        if answer is not None:
            self._store.notify(answer.marked(say("ack.done", title=alarm_text(alarm.id).title)))

    async def acknowledge_group(self, selected: Hashable | None) -> None:
        """Those that wait of the selected alarm's group; without one of the first that waits."""
        waiting = self._waiting
        alarm = selected if isinstance(selected, Alarm) else (waiting[0] if waiting else None)
        if alarm is None or not alarm.group:  # a gateway of an earlier version knows no groups
            self._store.notify(say("ack.none_waits" if alarm is None else "ack.no_groups"))
            return
        await self._acknowledge([one for one in waiting if one.group == alarm.group], alarm.group)

    async def acknowledge_every(self) -> None:
        """All that wait."""
        await self._acknowledge(self._waiting, "")

    async def _acknowledge(self, waiting: list[Alarm], group: str) -> None:
        name = say_of("group", group)
        if not waiting:
            self._store.notify(say("ack.none_of_group", group=name) if group else say("ack.none_waits"))
            return
        answer = await self._feed.acknowledge(id="*", **({"group": group} if group else {}))
        if answer is not None:
            left = len(waiting) - answer.acknowledged
            by_name = say("ack.by_name", n=left) if left > 0 else ""
            n = answer.acknowledged
            done = say("ack.many_of", n=n, group=name) if group else say("ack.many", n=n)
            self._store.notify(answer.marked(done + by_name))
