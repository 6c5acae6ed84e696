"""Defines the caps on compute nodes for the month's peak, and their state as shown. Part of a `Decision`."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason

FOLLOWS = 1.10  # what is capped may draw this much of its cap
LEAST_W = 10.0  # of one node's cap
BINDING = 0.95  # what draws this share of its cap would draw more without it
SETTLE_S = 20.0  # within which a node must have come down to its cap


def exceeds(drawn_w: float, cap_w: float) -> bool:
    """Whether what is drawn is more than a cap allows."""
    return drawn_w > FOLLOWS * cap_w + LEAST_W


class NodeCap(msgspec.Struct, frozen=True):
    """A cap that is to hold on a node, whoever asks for it, W at the node."""

    node: str
    cap_w: float
    typical_s: float | None  # from the order of a cap until the node's power showed it; None: none was seen yet
    longest_s: float | None
    seen: int  # the caps that this rests on, the last ones since the gateway started


class CapCost(msgspec.Struct, frozen=True):
    """What a cap costs a node's users, where GPU-hours have a price."""

    node: str
    slowdown: float  # share of throughput lost, 0 to 1, of its slowest GPU or the slowest of its job
    lost_gpus: float  # GPU-hours lost an hour
    eur_per_h: float
    basis: str  # how it is known: `throughput.Basis`; empty: no GPU


class CapsView(msgspec.Struct, frozen=True):
    """Caps now. Powers at the nodes, W."""

    nodes: tuple[tuple[str, float], ...]  # (node, the power it is capped to); empty: none is capped
    asked_w: float  # what the caps are to take from them
    shed_w: float  # what they take, as the nodes' readings show
    reason: Reason
    since_utc_s: float | None  # None: nothing is capped
    minutes: float  # capped on this day
    rent_eur: float  # what that was worth to the nodes' users this month
    not_counted: tuple[str, ...] = ()  # nodes that take no cap now: they fail, or do not follow
    costs: tuple[CapCost, ...] = ()  # of each capped node; empty: GPU-hours have no price
