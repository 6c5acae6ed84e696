"""Keeps what priced caps take and cost: what each capped node would draw without its cap, and what its GPUs lose."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import msgspec

from dispatch.billing.peak_charges import peak_charges
from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import Node
from dispatch.model.plan import PlanStep
from dispatch.model.power_caps import CapCost
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.job_groups import Groups
from dispatch.power_caps.pricing import HOW, Chosen, Member, Prices, choose, cost, member_of, tier_pct, without_cap
from dispatch.power_caps.throughput import Curve

LATELY_S = 900.0


class _Held(msgspec.Struct, frozen=True):
    """A node under a cap, as it was before, and the limit of each of its GPUs, W."""

    member: Member
    limit_w: float
    together: tuple[str, ...]  # the nodes that have the same limit for one job


class GpuPeaks:
    """What each GPU of a node drew at most without a cap in the last `LATELY_S` to twice that, W.

    A job draws less for minutes, while it saves its state or waits for data: a cap by what it draws then would slow it
    down by much more afterwards.
    """

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {}  # since when; of it and before it

    def take(self, member: Member, mono_s: float, capped: bool) -> Member:
        """The node with its `most_w`. While it is capped, what was before the cap goes on counting."""
        since_s, most_w, before_w = self._of.get(member.id, (mono_s, (), ()))
        if not len(member.gpus_w) == len(most_w or member.gpus_w) == len(before_w or member.gpus_w):
            since_s, most_w, before_w = mono_s, (), ()
        if mono_s - since_s >= LATELY_S and not capped:
            since_s, most_w, before_w = mono_s, (), most_w
        most_w = _highest(member.gpus_w, most_w)
        self._of[member.id] = since_s, most_w, before_w
        return msgspec.structs.replace(member, most_w=_highest(most_w, before_w))


def _highest(some_w: tuple[float, ...], others_w: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(max, some_w, others_w)) if others_w else some_w


class PricedCaps:
    """Steps once per tick; the caps themselves are the controller's."""

    def __init__(self, config: DispatchConfig) -> None:
        self._caps = config.caps
        self._rise_eur_per_kw = sum(terms.rise_eur_per_kw for terms in peak_charges(config))
        self._terms = {term.id: term for term in config.nodes}
        self._prices = Prices(config.caps.price_eur_per_gpu_hour or 0.0, config.caps.value_eur_per_kwh)
        self._held: dict[str, _Held] = {}
        self._lately = GpuPeaks()
        self._job_pct: Mapping[str, int] = {}
        self._job_curves: Mapping[str, Curve] = {}
        self.shed_w: dict[str, float] = {}  # what each cap takes now, as readings show
        self.costs: tuple[CapCost, ...] = ()  # now

    def follow_tiers(self, slowdown_pct: Mapping[str, int]) -> None:
        """What the jobs on a node tolerate, where that is less than its own tier does."""
        self._job_pct = slowdown_pct

    def follow_curves(self, curves: Mapping[str, Curve]) -> None:
        """Throughput against power of the jobs on a node, where it was measured."""
        self._job_curves = curves

    def see(self, now: Snapshot) -> None:
        """Take in the readings of a tick."""
        members = self._members(now, self._held)
        drawn_w = {node.id: node.w.good or 0.0 for node in now.nodes if node.id in members}
        self.shed_w = {id: one.base_w - drawn_w[id] for id, one in members.items()}
        found = list[CapCost]()
        for together, limit_w in {(held.together, held.limit_w) for held in self._held.values()}:
            known = tuple(members[id] for id in together if id in members)
            if known:
                found += cost(known, limit_w, self._prices).costs()
        self.costs = tuple(sorted(found, key=lambda one: one.node))

    def stricter(self, now: Snapshot) -> bool:
        """Whether a capped node tolerates less now than when it was capped: by the jobs that it has come to run."""
        members = self._members(now, self._held)
        return any(one.tolerated < self._held[id].member.tolerated for id, one in members.items())

    def rent_eur_per_h(self, energy_eur_per_kwh: float) -> float:
        """What the caps cost now, less what the energy saves that is not drawn, EUR/h, >= 0."""
        saved_eur = sum(self.shed_w.values()) / 1000 * energy_eur_per_kwh
        return max(0.0, sum(one.eur_per_h for one in self.costs) - saved_eur)

    def choose(
        self,
        now: Snapshot,
        ids: Container[str],
        wanted_w: float,
        energy_eur_per_kwh: float,
        interval_s: float,
        groups: Groups,
        last: Iterable[str],
    ) -> tuple[Chosen, ...]:
        """The caps of these nodes that take `wanted_w`, and those that save energy worth more than they cost."""
        found = self._members(now, ids)
        members = {id: self._lately.take(one, now.mono_s, id in self._held) for id, one in found.items()}
        jobs = [tuple(self._of_job(group, members)) for group in groups]
        jobs = [job for job in jobs if job and all(member.curve is not None for member in job)]
        grouped = {member.id for job in jobs for member in job}
        offers = [*jobs, *((member,) for id, member in members.items() if id not in grouped)]
        prices = msgspec.structs.replace(
            self._prices,
            saved_eur_per_kwh=energy_eur_per_kwh,
            most_eur_per_kwh=self._rise_eur_per_kw * 3600 / interval_s + energy_eur_per_kwh,
        )
        return tuple(cost(one.members, one.limit_w, prices) for one in choose(offers, wanted_w, prices, last))

    def _of_job(self, group: frozenset[str], members: Mapping[str, Member]) -> Iterator[Member]:
        """The nodes of one job that may be capped. It is as slow as its slowest, so the strictest tier is of all."""
        tiers = [self._tier_pct(id) for id in group if id in self._terms]
        tolerated = min((pct for pct in tiers if pct is not None), default=100) / 100
        for id in sorted(group & members.keys()):
            yield msgspec.structs.replace(members[id], tolerated=tolerated)

    def _tier_pct(self, id: str) -> int | None:
        return tier_pct(self._terms[id], self._caps, self._job_pct.get(id))

    def hold(self, chosen: tuple[Chosen, ...]) -> None:
        """These caps hold from now on, and no other."""
        self._held = {
            member.id: _Held(member, math.ceil(one.limit_w), tuple(m.id for m in one.members))
            for one in chosen
            for member in one.members
        }

    def _members(self, now: Snapshot, ids: Container[str]) -> dict[str, Member]:
        """Those of these nodes whose power is known."""
        return {node.id: one for node in now.nodes if node.id in ids and (one := self._member(node)) is not None}

    def _member(self, node: Node) -> Member | None:
        drawn_w, held = node.w.good, self._held.get(node.id)
        if drawn_w is None:
            return None
        member = member_of(node, self._terms[node.id], self._caps, drawn_w, self._tier_pct(node.id))
        if member.curve is not None and node.id in self._job_curves:
            member = msgspec.structs.replace(member, curve=self._job_curves[node.id])
        return member if held is None else without_cap(member, held.member, held.limit_w)


def of_nodes(chosen: tuple[Chosen, ...]) -> tuple[dict[str, float], dict[str, float], list[CapCost]]:
    """By node the cap, and what it would draw without, W; and what it costs."""
    members = [(member, one.limit_w) for one in chosen for member in one.members]
    caps_w = {member.id: member.cap_w(limit_w) for member, limit_w in members}
    return caps_w, {member.id: member.base_w for member, _ in members}, [cost for one in chosen for cost in one.costs()]


def saved_eur_per_kwh(step: PlanStep | None, grid_w: float | None) -> float:
    """What a kWh saves that a node does not draw: the price of import; 0 where none is known or nothing is imported."""
    return 0.0 if step is None or step.assumed or (grid_w or 0.0) <= 0 else max(0.0, step.price_eur_per_kwh)


def why(costs: Sequence[CapCost], reason: Reason) -> Reason:
    """Why these caps are in force, with what they cost and how that is known. `reason`: what needs them."""
    eur_per_h, bases = sum(one.eur_per_h for one in costs), {one.basis for one in costs if one.basis}
    if not bases:
        return Reason("caps.priced_kwh", {"reason": reason, "eur_per_h": eur_per_h})
    return Reason(
        "caps.priced",
        {
            "reason": reason,
            "slowdown_pct": 100 * max(one.slowdown for one in costs),
            "lost_gpus": sum(one.lost_gpus for one in costs),
            "eur_per_h": eur_per_h,
            "basis": HOW[min(bases)] if len(bases) == 1 else Reason("caps.by_several"),
        },
    )


def for_energy(reason: Reason) -> bool:
    """Whether caps with this reason are there for the energy that they save, and for nothing else."""
    return _rests_on(reason, "caps.energy")


def for_event(reason: Reason) -> bool:
    """Whether caps with this reason are there for a grid event, or another limit of import for a time."""
    return _rests_on(reason, "caps.event")


def _rests_on(reason: Reason, code: str) -> bool:
    inner = reason.figures.get("reason")
    return reason.code == code or (isinstance(inner, Reason) and _rests_on(inner, code))
