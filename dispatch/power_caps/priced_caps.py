"""Keeps what priced caps take and cost: what each capped node would draw without its cap, and what its GPUs lose."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import Node
from dispatch.model.power_caps import CapCost
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.job_groups import Groups
from dispatch.power_caps.pricing import HOW, Chosen, Member, Prices, choose, cost, member_of, tier_pct, without_cap
from dispatch.power_caps.throughput import Curve


class _Held(msgspec.Struct, frozen=True):
    """A node under a cap, as it was before, and the limit of each of its GPUs, W."""

    member: Member
    limit_w: float
    together: tuple[str, ...]  # the nodes that have the same limit for one job


class PricedCaps:
    """Steps once per tick; the caps themselves are the controller's."""

    def __init__(self, config: DispatchConfig) -> None:
        self._caps, self._demand = config.caps, config.tariff.demand_terms
        self._terms = {term.id: term for term in config.nodes}
        self._prices = Prices(config.caps.price_eur_per_gpu_hour or 0.0, config.caps.value_eur_per_kwh)
        self._held: dict[str, _Held] = {}
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
        nodes = [node for node in now.nodes if node.id in self._held]
        members = {node.id: one for node in nodes if (one := self._member(node)) is not None}
        self.shed_w = {node.id: members[node.id].base_w - (node.w.good or 0.0) for node in nodes if node.id in members}
        found = list[CapCost]()
        for together, limit_w in {(held.together, held.limit_w) for held in self._held.values()}:
            known = tuple(members[id] for id in together if id in members)
            if known:
                found += cost(known, limit_w, self._prices).costs()
        self.costs = tuple(sorted(found, key=lambda one: one.node))

    def rent_eur_per_h(self, energy_eur_per_kwh: float) -> float:
        """What the caps cost now, less what the energy saves that is not drawn, EUR/h, >= 0."""
        saved_eur = sum(self.shed_w.values()) / 1000 * energy_eur_per_kwh
        return max(0.0, sum(one.eur_per_h for one in self.costs) - saved_eur)

    def choose(
        self,
        now: Snapshot,
        ids: Collection[str],
        wanted_w: float,
        energy_eur_per_kwh: float,
        interval_s: float,
        groups: Groups,
        last: Iterable[str],
    ) -> tuple[Chosen, ...]:
        """The caps of these nodes that take `wanted_w`, and those that save energy worth more than they cost."""
        members = {node.id: one for node in now.nodes if node.id in ids and (one := self._member(node)) is not None}
        jobs = [tuple(members[id] for id in sorted(group & members.keys())) for group in groups]
        jobs = [job for job in jobs if job and all(member.curve is not None for member in job)]
        grouped = {member.id for job in jobs for member in job}
        offers = [*jobs, *((member,) for id, member in members.items() if id not in grouped)]
        prices = msgspec.structs.replace(
            self._prices,
            saved_eur_per_kwh=energy_eur_per_kwh,
            most_eur_per_kwh=self._demand.rise_eur_per_kw * 3600 / interval_s + energy_eur_per_kwh,
        )
        return tuple(cost(one.members, one.limit_w, prices) for one in choose(offers, wanted_w, prices, last))

    def hold(self, chosen: tuple[Chosen, ...]) -> None:
        """These caps hold from now on, and no other."""
        self._held = {
            member.id: _Held(member, math.ceil(one.limit_w), tuple(m.id for m in one.members))
            for one in chosen
            for member in one.members
        }

    def _member(self, node: Node) -> Member | None:
        drawn_w, held = node.w.good, self._held.get(node.id)
        if drawn_w is None:
            return None
        term = self._terms[node.id]
        tolerated_pct = tier_pct(term, self._caps, self._job_pct.get(node.id))
        member = member_of(node, term, self._caps, drawn_w, tolerated_pct)
        if member.curve is not None and node.id in self._job_curves:
            member = msgspec.structs.replace(member, curve=self._job_curves[node.id])
        return member if held is None else without_cap(member, held.member, held.limit_w)


def why(chosen: tuple[Chosen, ...], reason: Reason) -> Reason:
    """Why these caps are chosen, with what they cost and how that is known. `reason`: what needs them."""
    costs = [one for each in chosen for one in each.costs()]
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
