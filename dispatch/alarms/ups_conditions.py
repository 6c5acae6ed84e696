"""Determines the alarm conditions of a UPS from the words of its status."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.alarms.points import Condition
from dispatch.model.equipment import Ups
from dispatch.model.reasons import Reason

# alarm -> words of ups.status. FSD is to be treated as OB LB (NUT, docs/net-protocol.txt).
WORDS = {
    "ups-on-battery": ("OB", "FSD"),
    "ups-battery-low": ("LB", "FSD"),
    "ups-overload": ("OVER",),
    "ups-bypass": ("BYPASS", "OFF"),
    "ups-replace-battery": ("RB",),
}
BY_RUNTIME = ("ups-on-battery", "ups-battery-low")  # the time to act is what the battery lasts by its own estimate


def ups_conditions(ups: Ups) -> Iterator[tuple[str, Condition]]:
    """One condition for each alarm of this UPS; it cannot be told while its status is not known."""
    seen = Reason(
        "alarm.ups",
        {"status": ups.status.good or "", "charge": _charge(ups), "runtime": _runtime(ups), "power": _power(ups)},
    )
    for alarm, words in WORDS.items():
        holds = ups.says(*words)
        left_s = ups.runtime_s.good if alarm in BY_RUNTIME else None
        yield f"{alarm}:{ups.id}", Condition(holds, seen if holds else None, act_within_s=left_s)


def _charge(ups: Ups) -> Reason | None:
    pct = ups.charge_pct.good
    return None if pct is None else Reason("alarm.ups_charge", {"charge_pct": pct})


def _runtime(ups: Ups) -> Reason | None:
    runtime_s = ups.runtime_s.good
    return None if runtime_s is None else Reason("alarm.ups_runtime", {"runtime_s": runtime_s})


def _power(ups: Ups) -> Reason | None:
    w = ups.w.good
    return None if w is None else Reason("alarm.ups_power", {"power_w": w})
