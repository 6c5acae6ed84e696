"""Which of all limits binds the import at the PCC now, in one word. Pure."""

from __future__ import annotations

import math

from dispatch.model.metering_interval import Interval
from dispatch.model.orders import OrderKind
from gateway.api.protocol import Published
from gateway.outside_limits import OPERATOR, outside_limits

Limit = tuple[str, float]
# The word of each peak that an interval may be kept below (`Interval.guard_peak`).
PEAK_WORDS = {
    "peak.contracted": "contract",
    "peak.month": "month",
    "peak.year": "year",
    "peak.free_today": "day",
    "peak.charge": "charge",
}


def import_limit(published: Published, fuse_w: float | None, outside: tuple[Limit, ...] | None = None) -> Limit:
    """The word and W of the import limit that binds now. `outside`: the limits from outside, where they are of a past.

    fuse: the connection's. operator: a step or signal of the grid operator. Both outrank an order, "order", which
    outranks the others: a grid event, a signal of a market or fleet, and what the interval's mean is kept below
    (`interval_limit`).
    """
    outside = outside_limits(published) if outside is None else outside
    operators = [found for found in outside if found[0] == OPERATOR]
    hard = [*operators, *([("fuse", fuse_w)] if fuse_w is not None else [])]
    order = next((o for o in published.orders if o.kind is OrderKind.IMPORT_TARGET), None)
    others = [("order", order.value)] if order is not None else [interval_limit(published.interval), *outside]
    return min([*hard, *others], key=lambda found: found[1])


def interval_limit(interval: Interval) -> Limit:
    """What the mean of the interval is kept below: plan, contract, month (year, day), or the charge on peaks.

    "limit" from a gateway of an earlier version, which does not say, and from the record, where the peak is infinite.
    """
    if math.isinf(interval.peak_limit_w):
        return "limit", interval.limit_w
    if interval.limit_w < interval.peak_limit_w:
        return "plan", interval.limit_w
    return "limit" if interval.guard_peak is None else PEAK_WORDS[interval.guard_peak.code], interval.limit_w
