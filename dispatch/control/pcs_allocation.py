"""Divides a battery power among several PCS, within the limits of each, so that their SoC become equal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

# One per cent of SoC above the mean makes a PCS take this much more of a discharge than its headroom alone.
EVENING_PER_PCT = 0.05
MOST_EVENING = 3.0  # and never more than this many times its share, nor less than the inverse


class Share(msgspec.Struct, frozen=True):
    """One PCS that takes part: its limits in AC watts (discharge > 0) and its battery's SoC, None if unknown."""

    id: str
    low_w: float
    high_w: float
    soc_pct: float | None = None

    def within(self, w: float) -> float:
        """The power nearest to `w` that the limits allow."""
        return min(max(w, self.low_w), self.high_w)


def allocate(total_w: float, shares: Sequence[Share]) -> tuple[float, ...]:
    """Split `total_w`, in the order of `shares`. The parts sum to it, or to the nearest power the limits allow.

    Parts are in proportion to headroom in the direction asked, weighted so that fuller batteries discharge more and
    charge less; what one cannot take goes to the others. Nobody charges while another discharges, unless a limit
    makes it.

    Raises:
        ValueError: a share's low_w is above its high_w.
    """
    for share in shares:
        if share.low_w > share.high_w:
            raise ValueError(f"{share.id}: low_w {share.low_w:g} is above high_w {share.high_w:g}")
    parts = [share.within(0.0) for share in shares]
    up = total_w >= sum(parts)
    weights, ends = _weights(shares, up), [s.high_w if up else s.low_w for s in shares]
    for _ in shares:  # each round fills at least one PCS to its limit or hands out everything
        parts = _round(total_w - sum(parts), parts, ends, weights)
    return tuple(share.within(part) for part, share in zip(parts, shares, strict=True))


def _round(rest_w: float, parts: list[float], ends: list[float], weights: list[float]) -> list[float]:
    """Hand out the rest in proportion to weighted room towards the ends; what would go beyond an end stays there."""
    room = [end - part for end, part in zip(ends, parts, strict=True)]
    pull = [abs(r) * weight for r, weight in zip(room, weights, strict=True)]
    if abs(rest_w) < 1e-9 or sum(pull) <= 0:
        return parts
    scale = rest_w / sum(pull)
    moves = [min(scale * p, r) if r > 0 else max(scale * p, r) for p, r in zip(pull, room, strict=True)]
    return [part + move for part, move in zip(parts, moves, strict=True)]


def _weights(shares: Sequence[Share], discharging: bool) -> list[float]:
    """How readily each takes more. The mean SoC is only where more turns into less; it is no SoC of the site."""
    known = [s.soc_pct for s in shares if s.soc_pct is not None]
    mean = sum(known) / len(known) if known else 0.0
    weights = []
    for share in shares:
        above = 0.0 if share.soc_pct is None else share.soc_pct - mean
        weight = 1.0 + EVENING_PER_PCT * (above if discharging else -above)
        weights.append(min(max(weight, 1 / MOST_EVENING), MOST_EVENING))
    return weights
