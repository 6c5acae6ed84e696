"""Caps for the month's peak, live: which nodes, how deep, how long; what is not counted on; what a restart knows."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import a_snapshot, site_config
from soak_sizes import examples

from dispatch.config.schema import CapsConfig, DispatchConfig, NodeTerms
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.equipment import Limit, Node
from dispatch.model.events import Event
from dispatch.model.metering_interval import Interval
from dispatch.model.power_caps import CapsView
from dispatch.model.readings import Quality, Reading
from dispatch.power_caps.cap_controller import PERIOD_S, SETTLE_S, CapController, GridSide, counted_on
from dispatch.wording.catalogue import words

NODES = (
    NodeTerms(id="head", critical=True, cap_w=1_000),
    NodeTerms(id="one", cap_w=2_000),
    NodeTerms(id="two", cap_w=2_000),
    NodeTerms(id="free"),  # takes no cap
)
CAPS = CapsConfig(value_eur_per_kwh=0.3, max_share=0.5, idle_w=10_000)


def config(caps: CapsConfig = CAPS, demand: float = 10.0) -> DispatchConfig:
    return msgspec.structs.replace(
        site_config(), caps=caps, nodes=NODES, tariff=TariffTerms(demand_eur_per_kw_month=demand)
    )


class Farm:
    """20 kW that nobody caps and four nodes that draw what they want as far as their caps let them."""

    def __init__(self, keeper: CapController) -> None:
        self.keeper, self.t_s = keeper, 0.0
        self.wanted_w = {n.id: 5_000.0 for n in NODES}
        self.deaf: set[str] = set()
        self.limits: dict[str, Limit] = {}  # of their BMCs
        self.failing: set[str] = set()
        self.battery_w, self.import_max_w = 6_000.0, 30_000.0
        self.grid_tied, self.metered = True, True
        self.limit_w = math.inf  # of a grid event
        self.into_s = self.energy_wh = 0.0  # of the metering interval
        self.read_every_s, self.read_s, self.read_w = 0.0, 0.0, dict[str, float]()
        self.view: CapsView | None = None
        self.events: list[Event] = []

    def drawn_w(self) -> dict[str, float]:
        caps = dict(self.view.nodes) if self.view else {}
        held = self.deaf | self.failing
        return {id: w if id in held else min(w, caps.get(id, w)) for id, w in self.wanted_w.items()}

    @property
    def net_w(self) -> float:
        return 20_000 + sum(self.drawn_w().values())

    def run(self, seconds: float) -> CapsView:
        for _ in range(round(seconds)):
            self.t_s += 1.0
            if not self.read_w or self.t_s >= self.read_s + self.read_every_s:
                self.read_s, self.read_w = self.t_s, self.drawn_w()
            age_s = self.t_s - self.read_s
            read = {id: Reading(w, age_s, Quality.GOOD) for id, w in self.read_w.items()}
            nodes = tuple(Node(id, w=w, limit=self.limits.get(id)) for id, w in read.items())
            now = a_snapshot(self.t_s, grid_w=self.net_w, nodes=nodes)
            net_w = self.net_w if self.metered else None
            interval = Interval(now.utc_s - self.into_s, 900.0, self.energy_wh, 0.0, 30_000.0, self.import_max_w)
            need = GridSide(net_w, self.battery_w, interval, 30_000.0, self.grid_tied, limit_w=self.limit_w)
            self.view, events = self.keeper.step(now, need, self.failing)
            self.events += events
        assert self.view is not None
        return self.view


@pytest.fixture
def farm() -> Farm:
    return Farm(CapController(config()))


def test_deferrable_nodes_take_what_the_battery_cannot_and_it_stands_still(farm: Farm) -> None:
    view = farm.run(60)  # 40 kW, 6 of them by the battery, 30 allowed: 4 kW, of two nodes that can give 2.5 each
    assert view.nodes == (("one", 3_000.0), ("two", 3_000.0))
    assert (view.asked_w, view.shed_w) == (4_000.0, 4_000.0)
    assert farm.net_w - farm.battery_w == 30_000
    assert len(farm.events) == 1, "announced once, not at each look"
    assert farm.events[0].text.startswith("one, two capped by 4.0 kW: cap GPUs by 4.0 kW: the battery cannot hold")
    assert view.rent_eur == pytest.approx(4 * 0.3 * 59 / 3600, rel=0.03)
    assert view.minutes == pytest.approx(59 / 60, rel=0.03)
    farm.run(600)
    assert len(farm.events) == 1


def test_over_when_the_jobs_end_or_the_battery_can_again(farm: Farm) -> None:
    farm.run(120)
    farm.wanted_w = dict.fromkeys(farm.wanted_w, 1_000.0)
    view = farm.run(2 * PERIOD_S)
    assert (view.nodes, view.asked_w, view.since_utc_s) == ((), 0.0, None)
    said = "caps by 4.0 kW are lifted after 2 min: the battery holds the peak; 2 min today"
    assert farm.events[-1].text.startswith(said)
    farm.wanted_w = dict.fromkeys(farm.wanted_w, 5_000.0)
    farm.run(2 * PERIOD_S)
    farm.battery_w = 20_000.0
    assert farm.run(2 * PERIOD_S).nodes == ()
    assert len(farm.events) == 4


def test_never_deeper_than_the_share_or_the_nodes_own_cap(farm: Farm) -> None:
    farm.battery_w = 0.0
    assert farm.run(60).nodes == (("one", 2_500.0), ("two", 2_500.0))
    farm.wanted_w["one"] = 3_000.0
    farm.keeper = CapController(config())
    farm.view = None
    assert dict(farm.run(60).nodes)["one"] == 2_000.0


def test_a_ramp_deepens_step_by_step() -> None:
    farm = Farm(CapController(config(msgspec.structs.replace(CAPS, ramp_w_per_s=100.0))))
    asked = [farm.run(PERIOD_S).asked_w for _ in range(6)]
    assert asked == [1_000, 2_000, 3_000, 4_000, 4_000, 4_000]


def test_the_minutes_of_a_day_end_it() -> None:
    farm = Farm(CapController(config(msgspec.structs.replace(CAPS, minutes_per_day=5.0))))
    view = farm.run(600)
    assert view.nodes == ()
    assert 4.5 < view.minutes <= 5.01
    assert words(view.reason) == "caps are used up for today: 5 min"


def test_no_more_rent_than_the_peak_is_worth() -> None:
    farm = Farm(CapController(config(msgspec.structs.replace(CAPS, value_eur_per_kwh=100.0))))
    view = farm.run(3600)  # 400 EUR an hour against 40 EUR for 4 kW: six minutes
    assert view.nodes == ()
    assert words(view.reason).startswith("let the peak rise: caps have cost 4")
    assert view.rent_eur == pytest.approx(40, abs=400 * PERIOD_S / 3600 + 0.2)


def test_little_is_paid_where_the_interval_is_nearly_over() -> None:
    """4 kW for the last 45 s raise its mean by 0.2 kW, 2 EUR; at 400 EUR an hour caps are worth that for 18 s."""
    farm = Farm(CapController(config(msgspec.structs.replace(CAPS, value_eur_per_kwh=100.0))))
    farm.into_s, farm.energy_wh = 855.0, 30_000 * 855 / 3600
    view = farm.run(40)
    assert view.nodes == ()
    assert view.rent_eur == pytest.approx(2.2, abs=1.2)
    assert words(view.reason).startswith("let the peak rise")


def test_a_node_whose_order_fails_is_not_counted_on(farm: Farm) -> None:
    farm.failing = {"one"}
    view = farm.run(30)
    assert view.nodes == (("two", 2_500.0),)
    assert view.not_counted == ("one",)
    farm.failing = set()
    assert dict(farm.run(30).nodes) == {"one": 3_000.0, "two": 3_000.0}
    farm.failing = {"two"}  # it goes on drawing what it wants
    view = farm.run(30)
    assert view.nodes == (("one", 2_500.0),)
    assert view.shed_w == pytest.approx(2_500)


def test_a_node_that_does_not_follow_is_left_alone_and_said_once(farm: Farm) -> None:
    farm.deaf = {"two"}
    view = farm.run(SETTLE_S + 3 * PERIOD_S)
    assert view.nodes == (("one", 2_500.0),)
    assert view.not_counted == ("two",)
    farm.run(600)
    said = [e.text for e in farm.events if e.subject == "two"]
    assert said == ["two draws 5.0 kW, capped to 3.0 kW for 20 s; caps do not count on it"]
    assert view.rent_eur <= 4 * 0.3 / 60


def test_nothing_is_capped_off_the_grid_or_blindly_for_long(farm: Farm) -> None:
    farm.run(30)
    farm.metered = False
    assert farm.run(30).nodes
    view = farm.run(60)
    assert view.nodes == ()
    assert words(view.reason) == "import is not known for 1 min"
    farm.metered = True
    assert farm.run(30).nodes
    farm.grid_tied = False
    assert farm.run(1).nodes == ()
    assert "the site is not on the grid" in farm.events[-1].text


def test_a_restart_goes_on_with_what_was_spent_and_knows_who_may_be_capped() -> None:
    short = config(msgspec.structs.replace(CAPS, minutes_per_day=5.0))
    farm = Farm(CapController(short))
    before = farm.run(180)
    memory = farm.keeper.memory()
    assert memory.nodes == ("one", "two")
    heir = Farm(CapController(short))
    heir.t_s = farm.t_s
    heir.keeper.restore(msgspec.json.decode(msgspec.json.encode(memory), type=type(memory)))
    view = heir.run(20)
    assert view.rent_eur > before.rent_eur
    assert view.minutes > before.minutes
    assert words(heir.run(180).reason) == "caps are used up for today: 5 min"


@pytest.mark.parametrize("none", [config(CapsConfig()), config(demand=0.0)])
def test_a_site_that_allows_no_caps_or_pays_no_peak_has_none(none: DispatchConfig) -> None:
    keeper, interval = CapController(none), Interval(0.0, 900.0, 0.0, 0.0, 30_000.0, 30_000.0)
    assert not keeper.allowed
    assert keeper.step(a_snapshot(1.0), GridSide(90_000.0, 0.0, interval, 30_000.0, True), frozenset()) == (None, ())
    bare = msgspec.structs.replace(config(), nodes=NODES[:1])
    assert not CapController(bare).allowed, "critical nodes only"


def test_a_plan_counts_on_caps_while_one_node_takes_them(farm: Farm) -> None:
    assert counted_on(config(), None)
    assert not counted_on(config(CapsConfig()), None)
    farm.failing = {"one"}
    assert counted_on(config(), farm.run(1))
    farm.failing = {"one", "two"}
    assert not counted_on(config(), farm.run(1))


@pytest.mark.soak
@settings(max_examples=examples(15), deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9_000), st.floats(0, 20_000), st.floats(20_000, 40_000)), min_size=1, max_size=12)
)
def test_whatever_happens_the_bounds_hold(hours: list[tuple[float, float, float]]) -> None:
    caps: Any = msgspec.structs.replace(CAPS, minutes_per_day=20.0, value_eur_per_kwh=5.0)
    farm = Farm(CapController(config(caps)))
    for wanted_w, battery_w, import_max_w in hours:
        farm.wanted_w = dict.fromkeys(farm.wanted_w, wanted_w)
        farm.battery_w, farm.import_max_w = battery_w, import_max_w
        for _ in range(6):
            view = farm.run(30)
            for id, cap_w in view.nodes:
                assert id in ("one", "two")
                assert cap_w >= 1_990
            assert view.minutes <= 20 + 2 * PERIOD_S / 60


def with_gpus(*counts: int) -> DispatchConfig:
    """Nodes n0, n1 … of so many GPUs; 200 W of a cap are left to each host."""
    nodes = tuple(NodeTerms(id=f"n{n}", cap_w=500, gpus=gpus, host_w=200) for n, gpus in enumerate(counts))
    return msgspec.structs.replace(config(), nodes=nodes)


def limits_w(farm: Farm, view: CapsView) -> dict[str, float]:
    gpus = {term.id: term.gpus for term in farm.keeper._config.nodes}
    return {id: (cap_w - 200) / gpus[id] for id, cap_w in view.nodes}


def test_the_nodes_of_a_job_get_one_limit_for_each_gpu_and_others_stay_as_they_are() -> None:
    farm = Farm(CapController(with_gpus(8, 4, 4)))
    farm.wanted_w = {"n0": 5_800.0, "n1": 3_000.0, "n2": 4_000.0}
    farm.battery_w = 0.0
    apart = limits_w(farm, farm.run(PERIOD_S))
    assert apart["n0"] != apart["n1"]
    farm.keeper.follow_jobs((frozenset({"n0", "n1"}),))
    farm.import_max_w += 1.0  # 1 W less to take: more than EASE apart it would stay as it is
    farm.keeper._asked_w = 0.0
    together = limits_w(farm, farm.run(PERIOD_S))
    assert together["n0"] == together["n1"]
    assert farm.view is not None
    before_w = {id: farm.wanted_w[id] - cap_w for id, cap_w in farm.view.nodes}
    assert sum(before_w.values()) == pytest.approx(farm.view.asked_w, abs=30)


def test_a_job_with_a_node_that_takes_no_cap_comes_last() -> None:
    farm = Farm(CapController(with_gpus(8, 8)))
    farm.wanted_w = {"n0": 6_000.0, "n1": 6_000.0, "elsewhere": 500.0}
    farm.keeper.follow_jobs((frozenset({"n0", "elsewhere"}),))
    farm.battery_w = 20_000 + 12_500 - 30_000 - 2_000.0  # 2 kW to take: n1 alone has 3 kW
    assert dict(farm.run(60).nodes) == {"n1": 4_000.0}
    farm.battery_w -= 2_000.0
    assert dict(farm.run(60).nodes).keys() == {"n0", "n1"}, "it does not suffice"


def test_a_node_that_is_read_every_half_minute_is_not_taken_for_one_that_does_not_follow(farm: Farm) -> None:
    farm.read_every_s = 33.0
    assert farm.run(200).not_counted == ()
    farm.deaf.add("one")
    assert farm.run(100).not_counted == ("one",)


WORN = tuple(msgspec.structs.replace(term, cap_wears=True) for term in NODES)


def worn_farm(caps: CapsConfig = CAPS) -> Farm:
    return Farm(CapController(msgspec.structs.replace(config(caps), nodes=WORN)))


def test_caps_in_memory_that_wears_are_rarely_written_however_the_load_moves() -> None:
    farm, rolls, held = worn_farm(), random.Random(1), list[Any]()
    for _ in range(360):  # an hour of a load that is another one at each decision
        farm.wanted_w = {id: 5_000.0 * (1 + rolls.gauss(0, 0.05)) for id in farm.wanted_w}
        held.append(farm.run(PERIOD_S).nodes)
    assert 4 <= sum(a != b for a, b in itertools.pairwise(held)) <= 15
    assert farm.view is not None
    assert farm.view.nodes


def test_caps_in_memory_that_wears_stay_for_a_while_and_say_so() -> None:
    farm = worn_farm(msgspec.structs.replace(CAPS, minutes_per_day=30.0))
    held = farm.run(60).nodes
    farm.battery_w = 20_000.0
    view = farm.run(60)
    assert view.nodes == held
    said = "the battery holds the peak; caps stay 15 min where BMCs keep them: their memory wears out by writing"
    assert words(view.reason) == said
    farm.battery_w = 8_500.0
    view = farm.run(60)
    assert view.nodes == held
    assert "caps stay 15 min" in words(view.reason)
    farm.battery_w = 20_000.0
    assert farm.run(900).nodes == ()
    farm.battery_w = 6_000.0
    assert farm.run(60).nodes
    farm.grid_tied = False
    assert farm.run(1).nodes == (), "nothing keeps them off the grid"
    farm.grid_tied = True
    farm.battery_w = 6_000.0
    farm.run(720)
    farm.battery_w = 20_000.0
    assert farm.run(180).nodes == (), "nor beyond the minutes of the day"


def test_a_job_that_starts_under_caps_gets_one_limit(farm: Farm) -> None:
    farm.keeper = CapController(msgspec.structs.replace(config(), nodes=tuple(_with_gpus(term) for term in NODES)))
    farm.wanted_w["two"] = 4_600.0
    caps = dict(farm.run(60).nodes)
    assert caps["one"] != caps["two"]
    farm.keeper.follow_jobs((frozenset({"one", "two", "free"}), frozenset({"elsewhere"})))
    caps = dict(farm.run(20).nodes)
    assert caps["one"] == caps["two"]


def _with_gpus(term: NodeTerms) -> NodeTerms:
    return msgspec.structs.replace(term, gpus=4)


def test_no_node_is_capped_below_what_its_bmc_takes(farm: Farm) -> None:
    farm.limits["one"] = Limit(low_w=4_000.0)
    view = farm.run(60)
    assert dict(view.nodes) == {"one": 4_000.0, "two": 2_500.0}
    assert view.not_counted == ()


# ── for a grid event ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_battery_cannot_give_of_a_grid_event_is_taken_from_nodes_at_once_and_given_back_after_it() -> None:
    """40 kW without caps, 6 kW from the battery; deferrable nodes can give 5 kW of their 10."""
    farm = Farm(CapController(config(demand=0.0)))
    assert not farm.keeper.allowed
    farm.import_max_w = 100_000.0
    now = a_snapshot(0.0, grid_w=40_000.0)
    interval = Interval(now.utc_s, 900.0, 0.0, 0.0, 100_000.0, 100_000.0)
    assert farm.keeper.step(now, GridSide(40_000.0, 6_000.0, interval, 0.0, True), frozenset()) == (None, ())
    farm.limit_w = 35_000.0
    assert farm.run(1).nodes == (), "the battery gives it"
    farm.limit_w = 31_000.0
    view = farm.run(1)
    assert dict(view.nodes) == {"one": 3_500, "two": 3_500}, "in the tick in which the limit falls"
    assert farm.net_w - farm.battery_w == pytest.approx(31_000)
    assert words(view.reason) == "3.0 kW to be taken to keep import below 31.0 kW: the battery cannot give it alone"
    farm.limit_w = 0.0
    assert farm.run(1).asked_w == pytest.approx(5_000), "half of what they draw, by max_share, and no more"
    farm.limit_w = math.inf
    for _ in range(12):
        farm.t_s += 1.0
        now = a_snapshot(farm.t_s, grid_w=farm.net_w)
        farm.view, events = farm.keeper.step(now, GridSide(farm.net_w, 6_000.0, interval, 0.0, True), frozenset())
        farm.events += events
    assert farm.view is None
    assert "lifted" in farm.events[-1].text


def test_caps_for_an_event_end_with_the_minutes_of_the_day_and_go_no_deeper_than_the_ramp() -> None:
    farm = Farm(CapController(config(msgspec.structs.replace(CAPS, minutes_per_day=1.0, ramp_w_per_s=100.0))))
    farm.limit_w = 30_000.0
    assert farm.run(1).asked_w == pytest.approx(1_000), "100 W/s in 10 s"
    assert farm.run(10).asked_w == pytest.approx(2_000)
    view = farm.run(60)
    assert view.nodes == ()
    assert "used up for today: 1 min" in words(view.reason)
