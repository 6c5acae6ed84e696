"""Holds the command to the switch: a level that stays until another replaces it or its withdrawal is confirmed."""

from __future__ import annotations

from typing import Literal

from dispatch.model.equipment import Switch
from dispatch.model.islanding import SwitchOrder
from dispatch.model.reasons import Reason

COMMAND_DELAY_S = 1.0  # an order may take so long to reach the switch and be read back

Action = Literal["open", "close", "none"]


class SwitchCommand:
    """At first nothing is asked."""

    def __init__(self) -> None:
        self._asked: tuple[Action, Reason] | None = None  # what, and why
        self._none_until_s = 0.0  # the withdrawal of an order stands at least until then

    def ask(self, action: Action, reason: Reason, mono_s: float) -> None:
        """Set the command. One given before may still reach the switch, so its withdrawal is kept for a while."""
        if action == "none" and self._asked is not None and self._asked[0] != "none":
            self._none_until_s = mono_s + COMMAND_DELAY_S
        self._asked = (action, reason)

    def order(self, switch: Switch | None, mono_s: float) -> SwitchOrder | None:
        """What stands; `none` only until the device says that it holds nothing any more."""
        if self._asked is None or switch is None:
            return None
        action, reason = self._asked
        if action == "none" and switch.command.good == "none" and mono_s >= self._none_until_s:
            self._asked = None
            return None
        return SwitchOrder(switch.id, action, reason)
