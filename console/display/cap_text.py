"""What is said of the power caps that are to hold: what is asked, what is set where, what is drawn."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.formats import kw
from console.display.language import say
from dispatch.model.equipment import Limit, Node
from gateway.api.protocol import Published

MOST_LINES = 8


def cap_lines(published: Published) -> Iterator[str]:
    """A line for each node that is to hold a cap, and how many are left out."""
    nodes = {node.id: node for node in published.snapshot.nodes}
    for cap in published.node_caps[:MOST_LINES]:
        node = nodes.get(cap.node, Node(cap.node))
        drawn = say("cap.not_known") if node.w.good is None else say("cap.draws", kw=kw(node.w.good).strip())
        shows = "" if cap.typical_s is None else say("cap.shows", s=f"{cap.typical_s:.0f}")
        held, cap_kw = held_text(node), kw(cap.cap_w).strip()
        yield say("cap.line", node=cap.node, kw=cap_kw, held=held, drawn=drawn, shows=shows)
    if (more := len(published.node_caps) - MOST_LINES) > 0:
        yield say("cap.more", n=more)


def held_text(node: Node) -> str:
    """The limits that are set for a cap and, where that is another one, followed."""
    if node.limit is not None:
        return limit_text(node.limit)
    set_w = [gpu.limit_w.good for gpu in node.gpus]
    if not set_w or None in set_w:
        return say("cap.set_not_read")
    lower = [
        held for gpu in node.gpus if (held := gpu.enforced_w.good) is not None and held < (gpu.limit_w.good or 0) - 1
    ]
    followed = f" {say('cap.follow', n=len(lower), range=_range(lower))}" if lower else ""
    return say("cap.gpus_set", range=_range([w for w in set_w if w is not None])) + followed


def limit_text(limit: Limit | None) -> str:
    """The power limit that a node's BMC follows, or why it is never set; nothing where Skerry sets none there."""
    if limit is None:
        return ""
    if limit.why:
        return say("cap.bmc_why", why=limit.why)
    return say("cap.no_bmc") if limit.w.value is None else say("cap.bmc", kw=kw(limit.w.value).strip())


def _range(watts: list[float]) -> str:
    low, high = f"{min(watts):.0f}", f"{max(watts):.0f}"
    return f"{low} W" if low == high else say("cap.range", low=low, high=high)
