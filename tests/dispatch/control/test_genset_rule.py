"""What the battery does beside a generator, for any load, PV, limit and meter that is late or lost."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import a_battery, a_pcs, a_snapshot, site_config
from soak_sizes import examples

from dispatch.config.contact_terms import ContactTerms
from dispatch.config.cross_checks import inconsistencies
from dispatch.config.off_grid import GensetConfig
from dispatch.config.schema import DispatchConfig, MeterTerms, RulesConfig
from dispatch.control.controller import Controller
from dispatch.control.rules.genset import window_w
from dispatch.model.contacts import Contact
from dispatch.model.equipment import Meter, Switch
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Quality, Reading, reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

GENSET = GensetConfig(rated_w=30_000, min_load_w=6_000)
ON_GENSET = (Switch("pcc", position=status("open"), source=status("genset")),)
WATTS = st.floats(-60_000, 90_000)


def config(genset: GensetConfig | None = GENSET, **rules: float) -> DispatchConfig:
    base = site_config(delay_max_s=0.0, reserve_h=2, rules=RulesConfig(**rules))
    meters = (MeterTerms(id="grid", side="site"),)
    return msgspec.structs.replace(base, genset=genset, switches=("pcc",), meters=meters)


@given(net_w=WATTS, rated_w=st.floats(1_000, 50_000), least=st.floats(0, 1), margin_pct=st.floats(0, 90))
def test_the_window_keeps_the_generator_inside_its_range(
    net_w: float, rated_w: float, least: float, margin_pct: float
) -> None:
    spare = GensetConfig(rated_w=rated_w, margin_pct=margin_pct)
    genset = msgspec.structs.replace(spare, min_load_w=least * spare.charge_up_to_w)
    low_w, high_w = window_w(genset, net_w)
    assert low_w <= high_w + 1e-6
    assert net_w - high_w == pytest.approx(genset.min_load_w, abs=1e-6)
    assert net_w - low_w <= rated_w + 1e-6
    assert low_w >= 0 or net_w - low_w <= genset.charge_up_to_w + 1e-6


class Plant:
    """A site on its generator whose PCS does at once what it is asked."""

    def __init__(self) -> None:
        self.controller, self.t_s, self.battery_w = Controller(config()), 0.0, 0.0
        self.found: list[float] = []  # what the battery was asked
        for n in range(8):  # until two samples of meter and PCS agree
            self.step(20_000.0 + n, Quality.GOOD, 60.0, 60_000.0)

    def step(self, net_w: float, quality: Quality | None, soc_pct: float, charge_w: float) -> None:
        """One tick with a grid meter that reads `net_w` less the battery; `quality` None: no reading."""
        self.t_s += 0.2
        at_meter = Reading(net_w - self.battery_w, 0.0, quality) if quality else Reading()
        pcs = a_pcs(self.battery_w, charge_limit_w=reading(charge_w))
        snapshot: Snapshot = a_snapshot(
            self.t_s, None, pcs, a_battery(soc_pct), grid=Meter("grid", w=at_meter), switches=ON_GENSET
        )
        decision = self.controller.step(snapshot, None)
        assert decision.island is IslandState.GENSET
        if decision.battery_w is None:  # not confirmed yet
            return
        w, net_w = decision.battery_w, decision.net_load_w if decision.net_load_w is not None else float("nan")
        if decision.net_load_w is None:
            assert w == 0, "nothing is held beside a generator whose load is not known"
        if w > 0:
            assert net_w - w >= GENSET.min_load_w - 1e-6
        if w < 0:
            assert net_w - w <= GENSET.charge_up_to_w + 1e-6
        assert -charge_w <= w
        self.battery_w = w
        self.found.append(w)


TICKS = st.tuples(
    WATTS, st.sampled_from([Quality.GOOD] * 5 + [Quality.STALE, None]), st.floats(0, 100), st.floats(0, 60_000)
)


@pytest.mark.soak
@settings(max_examples=examples(15))
@given(st.lists(TICKS, min_size=1, max_size=8))
def test_the_battery_never_takes_the_generator_out_of_its_range(
    ticks: list[tuple[float, Quality | None, float, float]],
) -> None:
    plant = Plant()
    for tick in ticks:
        for _ in range(4):  # a step of the load is believed with its second sample
            plant.step(*tick)
    assert len(plant.found) >= 4 * len(ticks), "it was commanded throughout"


def test_a_step_of_the_grid_operator_limits_nothing_on_the_generator() -> None:
    """An import limit of 4.2 kW would have the battery carry the rest of 20 kW."""
    step = ContactTerms(id="p14a", purpose="grid_operator", import_limit_w=4_200.0)
    controller = Controller(msgspec.structs.replace(config(), contacts=(step,)))
    active = (Contact("p14a", status("active")),)
    for n in range(12):
        now = a_snapshot(0.2 * n, 20_000.0 + n, switches=ON_GENSET, contacts=active)
        decision = controller.step(now, None)
    assert [view.state for view in decision.contacts] == ["active"]
    assert decision.battery_w == 0.0


def test_a_generator_that_the_site_file_does_not_know_leaves_the_battery_at_rest() -> None:
    controller = Controller(config(None))
    for n in range(8):
        decision = controller.step(a_snapshot(0.2 * n, 20_000.0 + n, switches=ON_GENSET), None)
    assert (decision.island, decision.battery_w) == (IslandState.GENSET, 0.0)
    assert "the site file has no [genset]" in words(decision.reason)


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ({"genset": msgspec.structs.replace(GENSET, min_load_w=28_000)}, "genset.min_load_w", "at most 27000"),
        ({"rules": RulesConfig(meter_lost_w=5_000)}, "rules.meter_lost_w", "reverts to it on the generator as well"),
        ({"switches": ()}, "genset.rated_w", "found 0"),
        ({"switches": ("a", "b")}, "genset.rated_w", "found 2"),
    ],
)
def test_a_site_file_that_contradicts_its_generator_is_refused(change: dict[str, object], key: str, says: str) -> None:
    found = list(inconsistencies(msgspec.structs.replace(config(), **change)))
    assert [(k, says in expected) for k, _, expected in found if k == key] == [(key, True)]
    assert not list(inconsistencies(config()))
