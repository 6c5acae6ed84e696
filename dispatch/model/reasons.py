"""Why something is as it is, as data: a code with named figures; and the rules by name.

Words are made only where they are shown or kept as text, by `dispatch.wording.catalogue`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """A code with its figures. Units are in their names: `soc_pct`, `limit_w`, `left_s`, `price_eur_per_kwh`.

    A figure may be a reason itself, or several. Text is for names that people gave: devices, nodes, users.
    """

    code: str
    figures: dict[str, float | str | Reason | list[Reason] | None] = {}

    def __hash__(self) -> int:
        return hash((self.code, frozenset(self.figures)))


Phrase = Reason  # one whose code is composed; its words are in `Language.phrases`


def plain(text: str) -> Reason:
    """A sentence that nobody has a code for: of a device, of an older record."""
    return Reason("text", {"text": text})


def joined(reasons: Iterable[Reason]) -> Reason:
    """Several as one."""
    parts = list(reasons)
    return parts[0] if len(parts) == 1 else Reason("several", {"parts": parts})


class RuleId(enum.Enum):
    """The rules, by the names that people see, in the order in which they run: `dispatch.control.rules.order`."""

    RATINGS = "ratings"  # no rule: what the PCS are rated for
    PROTECTION = "protection"
    DEVICE_LIMITS = "device limits"
    SAFE_VALUE = "safe value"
    ISLANDING = "islanding"
    FUSE = "fuse"
    RESERVE = "reserve"
    MANUAL = "manual"
    SIGNALS = "signals"
    INTERVAL_BUDGET = "interval budget"
    GRID_RAMP = "grid ramp"
    PLAN = "plan"
    REST = "rest"
    IDLE = "idle"

    __hash__ = object.__hash__  # as that of `Quality`
