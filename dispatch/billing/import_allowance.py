"""What a limit on the mean of a metering interval allows now: how import may run inside the interval.

`Allowance.import_max_w`, with aim = limit - margin:

* unused energy (credit) may be used at the rate credit / time left, at most `SURGE` of the aim above it, fading out
  over `FADE_S` before the end, and not in the guard band at either end, where the utility's clock may be in the other
  interval. This spares the battery, and import neither rises to the fuse nor drops suddenly at the end.
* overdrawn energy (debt) is paid back evenly until the guard band before the end, and not faster than in `SETTLE_S`
  (an integrator with a slower time constant than meter and PCS together cannot oscillate).
"""

from __future__ import annotations

import msgspec

from dispatch.billing.counted_energy import Counted
from dispatch.config.schema import GridConfig
from dispatch.model.reasons import Reason

SURGE = 0.25
CREDIT_S = 60.0  # unused energy is not taken back faster than over this
FADE_S = 30.0
SETTLE_S = 15.0
REACT_S = 1.0  # until a PCS has begun to follow what was decided
MARGIN = 0.01  # of the contract: keeps the meter's class (1 %) from exceeding it


class Allowance(msgspec.Struct, frozen=True):
    """What one limit allows now."""

    limit_w: float
    peak: Reason  # which peak the limit is
    aim_w: float  # limit less the margin: where import may stay for the whole interval
    import_max_w: float
    left_wh: float  # before the mean exceeds the limit; negative once it has
    left_s: float


class Budget(msgspec.Struct, frozen=True):
    """What the running interval allows now."""

    guard: Allowance  # contract or the month's peak
    target: Allowance | None = None  # the plan's, where that is lower

    @property
    def kept(self) -> Allowance:
        """The lower one: what is aimed at as long as the ramp limit leaves room for it."""
        return self.guard if self.target is None else self.target


def margin_w(grid: GridConfig, deadband_w: float, limit_w: float) -> float:
    """How far below a limit import is held: the deadband, and against the contract the meter's class.

    The month's peak was measured by the very meter that is to keep it.
    """
    class_w = MARGIN * limit_w if limit_w >= grid.contracted_peak_w else 0.0
    return min(max(deadband_w, class_w), limit_w / 2)


def allow(
    grid: GridConfig,
    deadband_w: float,
    limit_w: float,
    peak: Reason,
    counted: Counted,
    elapsed_s: float,
    left_s: float,
) -> Allowance:
    """What a limit, W, allows in an interval of which this was counted, so long after its start and before its end."""
    aim_w, used_ws = limit_w - margin_w(grid, deadband_w, limit_w), counted.counted_ws
    # Credit comes only from time that was measured; debt also from what had to be assumed.
    credit_ws = min(aim_w * elapsed_s - used_ws, aim_w * counted.known_s - counted.known_ws)
    guard_s = grid.interval_guard_s
    if credit_ws < 0:
        import_max_w = max(0.0, aim_w + credit_ws / max(left_s - guard_s, SETTLE_S))
    else:
        fade = min(max((left_s - guard_s) / FADE_S, 0.0), 1.0) if elapsed_s > guard_s else 0.0
        import_max_w = aim_w + min(credit_ws / max(left_s, CREDIT_S), fade * SURGE * aim_w)
    return Allowance(
        limit_w=limit_w,
        peak=peak,
        aim_w=aim_w,
        import_max_w=min(import_max_w, grid.fuse_w),
        left_wh=(limit_w * grid.metering_interval_s - used_ws) / 3600,
        left_s=left_s,
    )


def least_mean_w(grid: GridConfig, now_w: float, counted_ws: float, left_s: float) -> float:
    """The lowest mean with which an interval can still end, W.

    Import stays at `now_w` until meter and PCS react, then falls at the ramp limit. The nearer the end, the less it
    falls, and in the last `FADE_S` not at all: a deep cut of import would hardly change the mean there.
    """
    share, rate_w_per_s = min(max((left_s - FADE_S) / CREDIT_S, 0.0), 1.0), grid.ramp_w_per_s
    begins_s = min(grid.meter_delay_max_s + REACT_S, left_s)
    left_s -= begins_s
    fall_s = min(share * now_w / rate_w_per_s, left_s) if rate_w_per_s > 0 else 0.0
    end_w = now_w - rate_w_per_s * fall_s if rate_w_per_s > 0 else (1 - share) * now_w
    ahead_ws = now_w * begins_s + (now_w + end_w) / 2 * fall_s + end_w * (left_s - fall_s)
    return (counted_ws + ahead_ws) / grid.metering_interval_s
