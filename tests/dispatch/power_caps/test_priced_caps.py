"""Priced caps, live: nodes with GPUs that follow their limits, a peak to keep, energy that is dear."""

from __future__ import annotations

import msgspec
import pytest
from small_site import a_snapshot, site_config

from dispatch.config.schema import CapsConfig, DispatchConfig, NodeTerms
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.equipment import Gpu, Node
from dispatch.model.events import Event
from dispatch.model.metering_interval import Interval
from dispatch.model.plan import PlanStep
from dispatch.model.power_caps import CapsView
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason
from dispatch.power_caps.cap_controller import CapController, GridSide, counted_on
from dispatch.power_caps.priced_caps import LATELY_S, for_energy, for_event, saved_eur_per_kwh
from dispatch.power_caps.throughput import DEFAULT, Curve
from dispatch.wording.catalogue import words

HOST_W = 600.0
CAPS = CapsConfig(price_eur_per_gpu_hour=2.0, max_share=0.5)


def gpu_node(id: str, **changes: object) -> NodeTerms:
    return msgspec.structs.replace(NodeTerms(id=id, cap_w=1_000, gpus=8, host_w=HOST_W, per_gpu=True), **changes)


NODES = (gpu_node("h100"), gpu_node("a40"))


def config(caps: CapsConfig = CAPS, nodes: tuple[NodeTerms, ...] = NODES, demand: float = 10.0) -> DispatchConfig:
    tariff = TariffTerms(demand_eur_per_kw_month=demand)
    return msgspec.structs.replace(site_config(), caps=caps, nodes=nodes, tariff=tariff)


class Farm:
    """Nodes of eight GPUs and 500 W of host, which draw what they want as far as their caps let them."""

    def __init__(self, config: DispatchConfig) -> None:
        self.caps, self.t_s = CapController(config), 0.0
        self.wanted_w = {"h100": [700.0] * 8, "a40": [300.0] * 8}
        self.import_max_w, self.energy_eur_per_kwh = 30_000.0, 0.0
        self.view: CapsView | None = None
        self.events: list[Event] = []

    def nodes(self) -> tuple[Node, ...]:
        caps = dict(self.view.nodes) if self.view else {}
        found = []
        for id, wanted_w in self.wanted_w.items():
            limit_w = (caps[id] - HOST_W) / 8 if id in caps else 1_000.0
            gpus_w = [w if w <= limit_w else 0.952 * limit_w for w in wanted_w]
            gpus = tuple(Gpu(n, "GPU", w=reading(w)) for n, w in enumerate(gpus_w))
            found.append(Node(id, w=reading(500 + sum(gpus_w)), gpus=gpus, gpus_total=8))
        return tuple(found)

    @property
    def net_w(self) -> float:
        return 21_000 + sum(node.w.good or 0.0 for node in self.nodes())

    def run(self, seconds: float) -> CapsView:
        for _ in range(round(seconds)):
            self.t_s += 1.0
            now = a_snapshot(self.t_s, grid_w=self.net_w, nodes=self.nodes())
            interval = Interval(now.utc_s, 900.0, 0.0, 0.0, 30_000.0, self.import_max_w)
            peak_w = self.import_max_w
            need = GridSide(self.net_w, 0.0, interval, peak_w, True, energy_eur_per_kwh=self.energy_eur_per_kwh)
            self.view, events = self.caps.step(now, need, frozenset())
            self.events += events
        assert self.view is not None
        return self.view


def test_the_peak_is_kept_where_it_costs_least_and_says_what_it_costs() -> None:
    farm = Farm(config())
    farm.import_max_w = 29_500.0  # of 30.0 kW: the H100 alone give 500 W for less than the A40
    view = farm.run(60)
    assert [id for id, _ in view.nodes] == ["h100"]
    assert farm.net_w <= 29_500
    (one,) = view.costs
    assert one.lost_gpus == pytest.approx(8 * one.slowdown)
    assert one.eur_per_h == pytest.approx(2 * one.lost_gpus)
    assert (one.node, one.basis) == ("h100", "curve")
    assert view.rent_eur == pytest.approx(one.eur_per_h * 59 / 3600, rel=0.05)
    said = words(view.reason)
    assert said.startswith("cap GPUs by 0.5 kW: the battery cannot hold 29.5 kW")
    cost = f"{one.lost_gpus:.2f} GPU-hours lost an hour, {one.eur_per_h:.2f} EUR"
    assert said.endswith(f"% slower, {cost}, by the published curve"), "what the cap in force costs"
    assert one.lost_gpus == pytest.approx(0.33, abs=0.01)
    farm.run(300)
    assert len(farm.events) == 1, "it stands still"
    farm.import_max_w = 40_000.0
    over = farm.run(20)
    assert (over.nodes, over.costs) == ((), ())


def test_no_node_loses_more_than_its_tier() -> None:
    nodes = (gpu_node("h100", slowdown_pct=10), gpu_node("a40"))
    farm = Farm(config(msgspec.structs.replace(CAPS, slowdown_pct=0), nodes))
    farm.import_max_w = 20_000.0
    view = farm.run(60)
    ((id, cap_w),) = view.nodes
    assert id == "h100", "the others tolerate nothing"
    assert cap_w == HOST_W + 8 * 568, "77 % of 700 W are drawn at it"
    assert view.costs[0].slowdown <= 0.10


def test_jobs_on_a_node_may_tolerate_less() -> None:
    farm = Farm(config())
    farm.caps.follow_tiers({"h100": 0, "a40": 25})
    farm.import_max_w = 29_500.0
    assert [id for id, _ in farm.run(60).nodes] == ["a40"]


def test_what_jobs_reported_goes_before_the_curve() -> None:
    farm = Farm(config())
    steep = Curve(((0.5, 0.1), (1.0, 1.0)), basis="measured")
    farm.caps.follow_curves({"h100": steep})
    farm.import_max_w = 29_500.0
    assert [id for id, _ in farm.run(60).nodes] == ["a40"]
    farm.caps.follow_curves({"a40": steep, "h100": Curve(((0.5, 0.95), (1.0, 1.0)), basis="measured")})
    view = farm.run(60)
    assert [id for id, _ in view.nodes] == ["h100"]
    assert words(view.reason).endswith("as such jobs reported")


def test_all_nodes_of_a_job_get_one_limit() -> None:
    farm = Farm(config())
    farm.wanted_w["a40"] = [650.0] * 8
    farm.caps.follow_jobs((frozenset({"h100", "a40"}),))
    farm.import_max_w = farm.net_w - 1_500
    caps = dict(farm.run(60).nodes)
    assert caps["h100"] == caps["a40"] < HOST_W + 8 * 650


@pytest.mark.parametrize(("strictest_pct", "gpu_w"), [(0, None), (10, 568)])
def test_a_job_loses_no_more_than_the_strictest_of_its_nodes_tolerates(strictest_pct: int, gpu_w: int | None) -> None:
    farm = Farm(config(nodes=(gpu_node("h100", slowdown_pct=50), gpu_node("a40", slowdown_pct=strictest_pct))))
    farm.caps.follow_jobs((frozenset({"h100", "a40"}),))
    farm.import_max_w = 20_000.0
    cap_w = None if gpu_w is None else HOST_W + 8 * gpu_w
    assert farm.run(60).nodes == (() if cap_w is None else (("a40", cap_w), ("h100", cap_w)))


def test_gpus_that_draw_less_for_minutes_are_not_capped_by_that() -> None:
    """A job that saves its state draws less for a while: by that a tier of 10 % would cost it more than half after."""
    farm = Farm(config(nodes=(gpu_node("h100", slowdown_pct=10),)))
    farm.wanted_w, farm.import_max_w = {"h100": [700.0] * 8}, 90_000.0
    farm.run(30)
    farm.wanted_w = {"h100": [600.0] * 8}
    farm.run(600)
    farm.import_max_w = farm.net_w - 300
    assert farm.run(60).nodes == (("h100", HOST_W + 8 * 568),)
    assert farm.view is not None
    (cost,) = farm.view.costs
    assert cost.slowdown == pytest.approx(Curve(DEFAULT.points).under_limit(568, 700))
    farm.wanted_w = {"h100": [700.0] * 8}
    farm.import_max_w = 20_000.0
    assert farm.run(60).nodes == (("h100", HOST_W + 8 * 568),)
    farm.import_max_w, farm.wanted_w = 90_000.0, {"h100": [300.0] * 8}
    farm.run(60)
    farm.import_max_w = farm.net_w - 300
    assert farm.run(60).nodes == ()
    farm.run(2 * LATELY_S)
    assert farm.run(60).nodes, "it is another job by now"


def test_energy_that_is_dear_is_saved_without_a_peak_and_leaves_the_peaks_budget_alone() -> None:
    farm = Farm(config(demand=0.0))
    assert farm.caps.allowed
    assert not counted_on(config(demand=0.0), None)
    farm.import_max_w, farm.energy_eur_per_kwh = 90_000.0, 0.7
    view = farm.run(60)
    assert [id for id, _ in view.nodes] == ["h100"]
    assert view.costs[0].eur_per_h <= view.shed_w / 1000 * 0.7
    assert view.rent_eur == 0.0
    assert words(view.reason).startswith("the energy saved, at 0.700 EUR/kWh, is worth more than what is lost; at most")
    farm.energy_eur_per_kwh = 0.3
    assert farm.run(20).nodes == ()


def test_the_minutes_of_a_day_bound_caps_for_energy_too() -> None:
    farm = Farm(config(msgspec.structs.replace(CAPS, minutes_per_day=5.0)))
    farm.import_max_w, farm.energy_eur_per_kwh = 90_000.0, 0.7
    assert farm.run(60).nodes
    view = farm.run(600)
    assert view.nodes == ()
    assert 4.5 < view.minutes <= 5.2


def test_a_job_that_ends_under_a_cap_costs_nothing_more() -> None:
    farm = Farm(config())
    farm.import_max_w = 29_500.0
    farm.run(60)
    farm.wanted_w["h100"] = [80.0] * 8
    farm.run(1)
    assert farm.view is not None
    assert sum(one.lost_gpus for one in farm.view.costs) == 0.0
    assert farm.view.shed_w == 0.0


@pytest.mark.parametrize(
    ("assumed", "grid_w", "eur"), [(False, 5.0, 0.3), (True, 5.0, 0.0), (False, -5.0, 0.0), (False, None, 0.0)]
)
def test_energy_saves_what_import_costs_where_that_is_known(assumed: bool, grid_w: float | None, eur: float) -> None:
    step = PlanStep(0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0, assumed=assumed)
    assert saved_eur_per_kwh(step, grid_w) == eur
    assert saved_eur_per_kwh(None, grid_w) == 0.0


def test_a_job_that_tolerates_less_is_not_slowed_down_by_a_cap_from_before_it_came() -> None:
    nodes = tuple(gpu_node(f"n{n}") for n in range(12))
    farm = Farm(config(nodes=nodes))
    farm.wanted_w = {node.id: [700.0] * 8 for node in nodes}
    farm.import_max_w = farm.net_w - 60_000
    assert len(farm.run(60).nodes) == 12
    farm.caps.follow_tiers({"n3": 10})
    assert dict(farm.run(20).nodes)["n3"] == HOST_W + 8 * 568, "77 % of 700 W are drawn at it"


def test_caps_in_memory_that_wears_stay_for_a_while_with_what_they_cost() -> None:
    farm = Farm(config(nodes=(gpu_node("h100", cap_wears=True), gpu_node("a40"))))
    farm.import_max_w = 29_000.0
    held = farm.run(60)
    farm.import_max_w = 40_000.0
    view = farm.run(60)
    assert (view.nodes, view.costs) == (held.nodes, held.costs)
    said = words(view.reason)
    assert "caps stay 15 min" in said
    assert f"{view.costs[0].lost_gpus:.2f} GPU-hours lost an hour" in said
    farm.caps.follow_tiers({"h100": 0})
    assert farm.run(20).nodes == (), "but not against a job's tier"
    farm.caps.follow_tiers({})
    farm.import_max_w = 29_000.0
    assert farm.run(60).nodes
    farm.import_max_w = 40_000.0
    assert farm.run(960).nodes == ()


def test_what_caps_are_there_for_is_found_in_their_reason_however_it_is_wrapped() -> None:
    event, energy = Reason("caps.event", {"cap_w": 1.0, "limit_w": 2.0}), Reason("caps.energy", {"eur_per_kwh": 0.3})
    resting = Reason("caps.rests", {"reason": Reason("caps.priced_kwh", {"reason": event}), "rest_s": 900.0})
    assert [for_event(r) for r in (event, resting, energy, Reason("caps.cap"))] == [True, True, False, False]
    assert [for_energy(r) for r in (energy, resting)] == [True, False]
