"""Defines an alarm as the catalogue has it, and the condition that makes it come and go."""

from __future__ import annotations

import msgspec

from dispatch.alarms.priorities import Consequence, Priority, priority_of
from dispatch.model.reasons import Reason


class Condition(msgspec.Struct, frozen=True):
    """Whether an alarm's condition holds now. `active` None: cannot be told; the alarm stays, its delays wait."""

    active: bool | None
    detail: Reason | None = None
    returned: Reason | None = None  # not active: what is known instead, where that is less than normal
    beyond: float | None = None  # how far beyond its limit, negative within: for the deadband
    act_within_s: float | None = None  # the time there is to act; None: as the catalogue says
    kind: str = ""  # of the device it is about


QUIET = Condition(False)  # one for all that do not hold


class Conditions(dict[str, Condition]):
    """By alarm id. One that is absent does not hold: on a site of a thousand nodes those would be thousands."""

    def __missing__(self, alarm_id: str) -> Condition:
        return QUIET


class AlarmDefinition(msgspec.Struct, frozen=True):
    """What an alarm is, and when its condition makes it come and go."""

    id: str  # without subject: "device-lost"
    priority: Priority
    on_delay_s: float = 0.0  # the condition must hold this long, without a break, before the alarm comes
    off_delay_s: float = 5.0  # and be gone this long before it goes
    by_name: bool = False  # acknowledging all at once leaves it: something starts again with it
    group: str = ""
    consequence: Consequence = Consequence.MAJOR
    act_within_s: float | None = None
    deadband: float = 0.0  # it goes only so far back inside its limit, in the unit of `Condition.beyond`
    may_shelve: bool = True
    helps: tuple[str, ...] = ()  # commands of the console and of the command line
    of: dict[str, tuple[Consequence, float]] = {}  # by kind of device: consequence, time to act

    def urgency(self, condition: Condition) -> tuple[Priority, float | None]:
        """Priority and time to act, s, as the state and the kind of device have them."""
        consequence, act_within_s = self.of.get(condition.kind, (self.consequence, self.act_within_s))
        if condition.act_within_s is not None:
            act_within_s = condition.act_within_s
        elif condition.kind not in self.of:
            return self.priority, act_within_s
        assert act_within_s is not None
        return priority_of(consequence, act_within_s), act_within_s
