"""Names what a wrong gain of a meter most likely comes from: current transformers, their ratio, their phases.

With voltage and current of two different phases a meter at unity power factor sees cos 120 degrees = -1/2 of the power.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.model.reasons import Reason

NEAR = 0.2  # a gain is taken for one of the figures below if it is so near to it
SILENT = 0.1
SINGLE_PHASE = 3.0  # of a device on one phase, whose power is set against a third
ALL = (0, 1, 2)


def meter_fault(total: float, phases: Sequence[float]) -> Reason:
    """The likely cause of a meter's gain (1: right), by phase where it gives phases. A right gain has none."""
    if len(phases) == len(ALL):
        found = _by_phase(phases)
        if found is not None:
            return found
    if abs(total - 1) <= NEAR / 2:
        return Reason("prove.meter_right")
    if abs(total) <= SILENT:
        return Reason("prove.meter_blind")
    if _is(total, -1.0):
        return Reason("prove.meter_reversed")
    if _is(total, 1 / 3):
        return Reason("prove.one_ct_reversed")
    if _is(total, -1 / 3):
        return Reason("prove.two_cts_reversed")
    if _is(total, -0.5):
        return Reason("prove.phases_rotated")
    return Reason("prove.ct_ratio", {"gain": total})


def _by_phase(phases: Sequence[float]) -> Reason | None:
    """What the three phases together look like; None: like nothing known."""
    right, reversed_, crossed = (_near(phases, gain) for gain in (1.0, -1.0, -0.5))
    counts = len(right), len(reversed_), len(crossed)
    wrong = [n for n in ALL if n not in right]
    if counts == (3, 0, 0):
        return Reason("prove.meter_right")
    if counts == (0, 3, 0):
        return Reason("prove.meter_reversed")
    if counts == (0, 0, 3):
        return Reason("prove.phases_rotated")
    if counts in ((2, 1, 0), (1, 2, 0)):
        return Reason("prove.cts_reversed_on", {"phases": _named(reversed_)})
    if counts == (1, 0, 2):
        return Reason("prove.phases_swapped", {"phases": _named(crossed)})
    if len(right) == 2:
        return Reason("prove.ct_ratio_on", {"phases": _named(wrong), "gain": phases[wrong[0]]})
    return _on_one_phase(phases)


def _on_one_phase(phases: Sequence[float]) -> Reason | None:
    on = [n for n in ALL if abs(phases[n]) > SINGLE_PHASE / 2]
    if len(on) == 1 and abs(sum(phases) - phases[on[0]]) < NEAR * SINGLE_PHASE:
        return Reason("prove.single_phase", {"phases": _named(on), "gain": phases[on[0]] / SINGLE_PHASE})
    return None


def _near(phases: Sequence[float], gain: float) -> list[int]:
    return [n for n in ALL if _is(phases[n], gain)]


def _is(found: float, expected: float) -> bool:
    return abs(found - expected) <= NEAR * max(abs(expected), 0.5)


def _named(phases: Sequence[int]) -> str:
    return ", ".join(f"L{n + 1}" for n in phases)
