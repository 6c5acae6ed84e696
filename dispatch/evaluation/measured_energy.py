"""Makes energy per interval of recorded power, and says what of the time was not measured and how it is taken.

An interval of which at least half is on record has the mean of that half over its whole length. One of which less is on
record is not measured: its energy is left out, not estimated, and told. Import and export within one step of the record
cancel, over more than one step they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import msgspec

from dispatch.evaluation.meter_clock import Power

LEAST_SHARE = 0.5  # of an interval on record, or it counts as not measured


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A time that is not billed because nothing of it, or too little, is on record."""

    begin_utc_s: int
    end_utc_s: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Energy of evenly spaced intervals, kWh >= 0; one that was not measured has 0 and lies in `unmeasured`."""

    start_utc_s: int
    step_s: int
    import_kwh: list[float]
    export_kwh: list[float]
    unmeasured: tuple[Unmeasured, ...]
    filled_s: float  # not on record, in intervals of which the rest is: taken at its mean

    @property
    def unmeasured_s(self) -> float:
        """How long nothing was measured."""
        return sum(one.end_utc_s - one.begin_utc_s for one in self.unmeasured)


def measured(power: Power, step_s: int) -> Measured:
    """The energy of each interval of `step_s`, from the begin of the record's power on.

    Raises ValueError where the record's step does not divide the interval, or does not lie on its clock.
    """
    if step_s % power.step_s or power.start_utc_s % step_s or len(power.w) % (step_s // power.step_s):
        raise ValueError(f"expected power in steps that divide whole intervals of {step_s} s, found {power.step_s} s")
    each = step_s // power.step_s
    hours = step_s / 3600
    bought: list[float] = []
    sold: list[float] = []
    whole: list[bool] = []
    filled_s = 0.0
    for k in range(0, len(power.w), each):
        known = power.w[k : k + each]
        if math.isnan(sum(known)):
            known = [w for w in known if not math.isnan(w)]
        enough = len(known) >= LEAST_SHARE * each
        whole.append(enough)
        if enough:
            filled_s += (each - len(known)) * power.step_s
            bought.append(sum([w for w in known if w > 0]) / len(known) * hours / 1000)
            sold.append(-sum([w for w in known if w < 0]) / len(known) * hours / 1000)
        else:
            bought.append(0.0)
            sold.append(0.0)
    return Measured(
        start_utc_s=power.start_utc_s,
        step_s=step_s,
        import_kwh=bought,
        export_kwh=[kwh + 0.0 for kwh in sold],
        unmeasured=tuple(_unmeasured(power.start_utc_s, step_s, whole)),
        filled_s=filled_s,
    )


def _unmeasured(start_utc_s: int, step_s: int, whole: Sequence[bool]) -> list[Unmeasured]:
    """The stretches of intervals that are not measured."""
    found = []
    at_s = start_utc_s
    for known, run in groupby(whole):
        end_s = at_s + step_s * len(list(run))
        if not known:
            found.append(Unmeasured(begin_utc_s=at_s, end_utc_s=end_s))
        at_s = end_s
    return found
