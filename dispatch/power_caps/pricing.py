"""Chooses caps by what they cost: GPU-hours that are lost, at the site's price, the cheapest watt first.

All GPUs of a node, and of the nodes that run one job, get the same limit. How deep it may go: `cap_w` of each node,
`max_share` of [caps], and the slowdown that the node's tier tolerates. What a limit costs follows from throughput
against power (`throughput`): a node counts the sum of what its GPUs lose; a job over several nodes is as slow as its
slowest GPU. A node without GPUs costs `value_eur_per_kwh`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dispatch.config.schema import CapsConfig, NodeTerms
from dispatch.model.equipment import Node
from dispatch.model.power_caps import BINDING, LEAST_W, CapCost
from dispatch.model.reasons import Reason
from dispatch.power_caps.throughput import AT_LIMIT, DEFAULT, Curve, stated

STEPS = 12  # depths that are compared for each node or job
QUIET_W = 1.0  # less is rounding
ROUNDING = 1e-6  # EUR/kWh
HOW: dict[str, Reason] = {  # by `throughput.Basis`
    "curve": Reason("caps.by_curve"),
    "site": Reason("caps.by_site"),
    "measured": Reason("caps.by_jobs"),
}


class Prices(msgspec.Struct, frozen=True):
    """What decides, EUR. `saved_eur_per_kwh`: what energy that is not drawn saves now.

    `most_eur_per_kwh`: above it, letting the peak rise costs less even if nothing but this metering interval needs it.
    """

    eur_per_gpu_h: float
    value_eur_per_kwh: float
    saved_eur_per_kwh: float = 0.0
    most_eur_per_kwh: float = math.inf


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A node that takes a cap, W. `base_w`: what it would draw without; of it each GPU: `gpus_w`.

    `most_w`: what each drew at most lately, which it may want again; empty: what it draws now.
    `host_w`: of a cap, what is left to the host before its GPUs share it. `per_gpu`: the cap becomes a limit of each
    GPU. `curve`: None for a node without GPUs, which is capped as a whole. `tolerated`: share of throughput, 0 to 1.
    """

    id: str
    base_w: float
    gpus_w: tuple[float, ...]
    most_w: tuple[float, ...] = ()
    host_w: float = 0.0
    per_gpu: bool = False
    curve: Curve | None = DEFAULT
    tolerated: float = 1.0
    floor_w: float = 0.0  # the least that it may be capped to
    max_share: float = 1.0  # of `base_w`, that a cap may take

    def shed_w(self, limit_w: float) -> float:
        """How much less it draws with this limit for each GPU."""
        return sum(max(0.0, w - limit_w) for w in self.gpus_w)

    def cap_w(self, limit_w: float) -> float:
        """The cap of the node that gives its GPUs this limit; of a limit in whole watts, never a deeper one."""
        if self.per_gpu:
            return self.host_w + len(self.gpus_w) * math.ceil(limit_w - 1e-9)
        return LEAST_W * math.ceil((self.base_w - self.shed_w(limit_w)) / LEAST_W - 1e-9)

    def lowest_w(self) -> float:
        """The least limit of each GPU."""
        bounds = [level_w(self.gpus_w, self.max_share * self.base_w)]
        if self.per_gpu:
            bounds.append((self.floor_w - self.host_w) / len(self.gpus_w))
        else:
            bounds.append(level_w(self.gpus_w, self.base_w - self.floor_w))
        highest_w = max(self.gpus_w)
        if self.curve is not None:
            share = min(self.curve.lowest_share(self.tolerated) / AT_LIMIT, 1.0)
            bounds.append(share * max(self.gpus_w + self.most_w))
        elif self.tolerated <= 0:
            bounds.append(highest_w)
        return max(0.0, *bounds)

    def slowdowns(self, limit_w: float, planned: bool) -> Iterator[float]:
        """The share of its throughput that each GPU loses; none where it draws no more than the limit.

        `planned`: it is reckoned to draw all of the limit, and to want what it draws now. Otherwise it wants the most
        that it drew lately: of a GPU at its limit nobody sees what it wants.
        """
        if self.curve is None:
            return
        loss, lately_w = (self.curve.slowdown, ()) if planned else (self.curve.under_limit, self.most_w)
        for w, most_w in zip(self.gpus_w, lately_w or self.gpus_w, strict=True):
            yield loss(limit_w, max(w, most_w)) if w > limit_w else 0.0


class Chosen(msgspec.Struct, frozen=True):
    """Nodes that get one limit for each GPU, W, and what that costs."""

    members: tuple[Member, ...]
    limit_w: float
    shed_w: float
    lost_gpus: float  # GPU-hours an hour
    slowdown: float  # of the slowest GPU, 0 to 1
    eur_per_h: float

    def costs(self) -> Iterator[CapCost]:
        """Of each node; a job's over its nodes by their GPUs."""
        gpus = sum(len(member.gpus_w) for member in self.members)
        for member in self.members:
            part = len(member.gpus_w) / gpus
            basis = "" if member.curve is None else member.curve.basis
            yield CapCost(member.id, self.slowdown, part * self.lost_gpus, part * self.eur_per_h, basis)


def choose(
    offers: Sequence[tuple[Member, ...]], wanted_w: float, prices: Prices, last: Iterable[str] = ()
) -> tuple[Chosen, ...]:
    """The caps that take `wanted_w`, as far as they are worth it, and all that cost less than the energy they save.

    `offers`: nodes that get one limit together. Those of `last` are capped only once the others can give no more.
    """
    late = frozenset(last)
    ways = [list(_depths(members, prices)) for members in offers]
    steps = sorted(
        (any(member.id in late for member in offers[n]), eur_per_kwh, n, depth)
        for n, way in enumerate(ways)
        for eur_per_kwh, depth in _marginal(way)
    )
    taken_w, found = 0.0, dict[int, Chosen]()
    for _, eur_per_kwh, n, depth in steps:
        needed = taken_w < wanted_w - QUIET_W and eur_per_kwh <= prices.most_eur_per_kwh
        if needed or eur_per_kwh < prices.saved_eur_per_kwh:
            taken_w += ways[n][depth].shed_w - (found[n].shed_w if n in found else 0.0)
            found[n] = ways[n][depth]
    return tuple(found[n] for n in sorted(found) if found[n].shed_w > LEAST_W)


def cost(members: tuple[Member, ...], limit_w: float, prices: Prices, planned: bool = False) -> Chosen:
    """What a limit of each GPU of these nodes costs.

    `planned`: as if they drew all of the limit, as what it takes is reckoned, so that prices of a watt are right. In
    fact they draw a little less, and lose more.
    """
    shed_w = sum(member.shed_w(limit_w) for member in members)
    if members[0].curve is None:
        return Chosen(members, limit_w, shed_w, 0.0, 0.0, shed_w / 1000 * prices.value_eur_per_kwh)
    losses = [loss for member in members for loss in member.slowdowns(limit_w, planned)]
    slowdown = max(losses)
    lost_gpus = sum(losses) if len(members) == 1 else slowdown * len(losses)
    return Chosen(members, limit_w, shed_w, lost_gpus, slowdown, lost_gpus * prices.eur_per_gpu_h)


def member_of(node: Node, term: NodeTerms, caps: CapsConfig, drawn_w: float, tolerated_pct: int | None) -> Member:
    """A node as its readings show it.

    GPUs whose power is not known singly count with equal parts of what its host leaves of the node's power.
    """
    tolerated = 1.0 if tolerated_pct is None else tolerated_pct / 100
    count = max(term.gpus, node.gpus_total, len(node.gpus))
    curve = stated(term.throughput, caps.throughput) if count else None
    gpus_w = [w for gpu in node.gpus if (w := gpu.w.good) is not None] if count else [drawn_w]
    if count and len(gpus_w) != count:
        gpus_w = [max(0.0, drawn_w - term.host_w) / count] * count
    return Member(
        id=node.id,
        base_w=drawn_w,
        gpus_w=tuple(gpus_w),
        host_w=term.host_w,
        per_gpu=term.per_gpu and curve is not None,
        curve=curve,
        tolerated=tolerated,
        floor_w=least_cap_w(node, term),
        max_share=caps.max_share,
    )


def least_cap_w(node: Node, term: NodeTerms) -> float:
    """What it may be capped to: by the site, and by the least limit that its BMC takes."""
    allowed_w = None if node.limit is None else node.limit.low_w
    return max(term.cap_w or 0.0, allowed_w or 0.0)


def tier_pct(term: NodeTerms, caps: CapsConfig, jobs_pct: int | None = None) -> int | None:
    """The slowdown that a node tolerates, by its own tier or that of all, and by that of its jobs; None: any."""
    own = caps.slowdown_pct if term.slowdown_pct is None else term.slowdown_pct
    return min((pct for pct in (own, jobs_pct) if pct is not None), default=None)


def without_cap(now: Member, before: Member, limit_w: float) -> Member:
    """A node that is capped as it would be if it were not: GPUs at their limit draw what they drew `before` the cap."""
    if len(now.gpus_w) != len(before.gpus_w):
        return now
    pairs = zip(now.gpus_w, before.gpus_w, strict=True)
    gpus_w = tuple(max(w, was_w) if w >= BINDING * limit_w else w for w, was_w in pairs)
    base_w = now.base_w + sum(gpus_w) - sum(now.gpus_w)
    return msgspec.structs.replace(now, base_w=base_w, gpus_w=gpus_w, most_w=before.most_w)


def level_w(gpus_w: Sequence[float], shed_w: float) -> float:
    """The limit of each GPU by which they draw so much less together, W. `gpus_w`: what each draws."""
    total_w, limit_w = 0.0, 0.0
    falling = sorted(gpus_w, reverse=True)
    for n, w in enumerate(falling):
        total_w += w
        limit_w = (total_w - shed_w) / (n + 1)
        if n + 1 < len(falling) and limit_w >= falling[n + 1]:
            break
    return limit_w


def linear(caps: CapsConfig) -> CapsConfig:
    """The same terms for what sees no GPU, such as a plan or a replay: a price per kWh, and the depth that tiers allow.

    The price is the average over a cap of that depth on GPUs that draw `gpu_w`; the first watts of it cost less. Terms
    without a price of GPU-hours stay as they are.
    """
    if caps.price_eur_per_gpu_hour is None or caps.max_share <= 0:
        return caps
    curve = stated((), caps.throughput)
    lowest = curve.lowest_share(1.0 if caps.slowdown_pct is None else caps.slowdown_pct / 100)
    share = min(caps.max_share, 1.0 - lowest)
    if share <= 0:
        return msgspec.structs.replace(caps, max_share=0.0)
    lost = curve.slowdown((1.0 - share) * caps.gpu_w, caps.gpu_w)
    eur_per_kwh = caps.price_eur_per_gpu_hour * lost / (share * caps.gpu_w / 1000)
    return msgspec.structs.replace(caps, max_share=share, value_eur_per_kwh=eur_per_kwh)


def _depths(members: tuple[Member, ...], prices: Prices) -> Iterator[Chosen]:
    """From no cap to the deepest that all of them take."""
    highest_w = max(max(member.gpus_w) for member in members)
    lowest_w = max(member.lowest_w() for member in members)
    if lowest_w >= highest_w:
        return
    for n in range(STEPS + 1):
        yield cost(members, highest_w + (lowest_w - highest_w) * n / STEPS, prices, planned=True)


def _marginal(way: Sequence[Chosen]) -> list[tuple[float, int]]:
    """What a further kWh costs from depth to depth, EUR, rising: a depth from which the next is cheaper is left out."""
    kept: list[tuple[float, int]] = []
    for n in range(1, len(way)):
        eur_per_kwh = _slope(way, kept[-1][1] if kept else 0, n)
        while kept and kept[-1][0] > eur_per_kwh + ROUNDING:
            kept.pop()
            eur_per_kwh = _slope(way, kept[-1][1] if kept else 0, n)
        kept.append((max(eur_per_kwh, kept[-1][0]) if kept else eur_per_kwh, n))
    return kept


def _slope(way: Sequence[Chosen], a: int, b: int) -> float:
    more_w = way[b].shed_w - way[a].shed_w
    return 1000 * (way[b].eur_per_h - way[a].eur_per_h) / more_w if more_w > 0 else math.inf
