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
    if not shares:
        return ()
    parts = [min(max(0.0, s.low_w), s.high_w) for s in shares]
    up = total_w >= sum(parts)
    weights = _weights(shares, up)
    # Each round fills at least one PCS to its limit or hands out everything.
    for _ in shares:
        room = [(s.high_w if up else s.low_w) - part for s, part in zip(shares, parts, strict=True)]
        rest = total_w - sum(parts)
        pull = [abs(r) * w for r, w in zip(room, weights, strict=True)]
        if abs(rest) < 1e-9 or sum(pull) <= 0:
            break
        scale = rest / sum(pull)
        moves = [scale * p for p in pull]
        parts = [part + (min(m, r) if up else max(m, r)) for part, m, r in zip(parts, moves, room, strict=True)]
    return tuple(min(max(p, s.low_w), s.high_w) for p, s in zip(parts, shares, strict=True))


def _weights(shares: Sequence[Share], discharging: bool) -> list[float]:
    known = [s.soc_pct for s in shares if s.soc_pct is not None]
    mean = sum(known) / len(known) if known else 0.0
    weights = []
    for share in shares:
        above = 0.0 if share.soc_pct is None else share.soc_pct - mean
        weight = 1.0 + EVENING_PER_PCT * (above if discharging else -above)
        weights.append(min(max(weight, 1 / MOST_EVENING), MOST_EVENING))
    return weights
