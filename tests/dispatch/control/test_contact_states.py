"""Contacts in control: what stops the battery, what latches, what limits the PCC, what a person releases."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import a_battery, a_pcs, a_plan, a_snapshot, an_order, site_config, trace

from dispatch.config.contact_terms import PROTECTIVE, ContactTerms
from dispatch.config.schema import PvTerms, ReserveConfig
from dispatch.control.controller import Controller, ControllerMemory
from dispatch.model.contacts import Contact
from dispatch.model.decision import Decision, Mode
from dispatch.model.equipment import Pv
from dispatch.model.islanding import IslandRequest
from dispatch.model.orders import OrderKind
from dispatch.model.proofs import Proving
from dispatch.model.readings import MISSING, UNKNOWN, Quality, Reading, Status, reading, status
from dispatch.wording.catalogue import words

TICK_S = 0.2
EXPORTS = an_order(OrderKind.SETPOINT, 20_000.0)


class Bench:
    """A controller at 5 Hz on a steady site, whose contacts say what the test sets."""

    def __init__(
        self, *terms: ContactTerms, memory: ControllerMemory | None = None, pv: tuple[PvTerms, ...] = ()
    ) -> None:
        config = msgspec.structs.replace(site_config(export_limit_w=20_000), contacts=terms, pv=pv)
        self.controller = Controller(config)
        if memory is not None:
            self.controller.restore(memory)
        self.says: dict[str, Status] = {t.id: status("inactive") for t in terms}
        self.load_w, self.pcs_w, self.t_s = 20_000.0, 0.0, 0.0
        self.switch: str | None = "closed"
        self.changes: dict[str, object] = {}
        self.texts: list[str] = []

    def run(self, ticks: int = 15, plan_w: float | None = None, *orders: object) -> Decision:
        """The decision after some ticks; the PCS follows at once."""
        for _ in range(ticks):
            self.t_s = round(self.t_s + TICK_S, 6)
            contacts = tuple(Contact(id, said) for id, said in self.says.items())
            base = {"contacts": contacts, "pcs": a_pcs(self.pcs_w), "switch": self.switch, **self.changes}
            snapshot = a_snapshot(self.t_s, self.load_w - self.pcs_w, battery=a_battery(60.0), **base)  # type: ignore[arg-type]
            plan = None if plan_w is None else a_plan(plan_w)
            decision = self.controller.step(snapshot, plan, orders=orders)  # type: ignore[arg-type]
            self.pcs_w = decision.battery_w or 0.0
            self.texts += [event.text for event in decision.events]
        return decision


def epo(purpose: str = "epo", **keys: object) -> ContactTerms:
    return ContactTerms(id="c1", purpose=purpose, **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("purpose", sorted(PROTECTIVE))
@pytest.mark.parametrize("said", ["active", "broken"])
def test_a_protective_contact_stops_the_battery_until_it_is_acknowledged(purpose: str, said: str) -> None:
    bench = Bench(epo(purpose))
    assert bench.run(plan_w=10_000).battery_w == 10_000
    bench.says["c1"] = status(said)
    assert bench.run(1, 10_000).battery_w == 10_000, "one sample may be a bounce"
    stopped = bench.run(1, 10_000)
    assert (stopped.battery_w, stopped.mode, stopped.binding.value) == (0.0, Mode.SAFE, "protection")
    assert words(stopped.reason).startswith("battery at 0 kW — protection: battery to 0 kW: ")
    bench.says["c1"] = status("inactive")
    back = bench.run(50, 10_000)
    assert back.battery_w == 0.0
    assert "is back and not acknowledged yet" in words(back.reason)
    bench.controller.contacts.release("c1")
    assert bench.run(plan_w=10_000).battery_w == 10_000
    assert "acknowledged: the battery may be operated again" in bench.texts


def test_an_acknowledgement_while_it_is_active_releases_nothing() -> None:
    bench = Bench(epo())
    bench.run()
    bench.says["c1"] = status("active")
    bench.run()
    bench.controller.contacts.release("c1")
    bench.run()
    bench.says["c1"] = status("inactive")
    assert bench.run(50, 10_000).battery_w == 0.0


def test_nobody_overrules_it() -> None:
    bench = Bench(epo())
    bench.run()
    bench.says["c1"] = status("active")
    bench.run(3)
    bench.load_w = 90_000.0  # far above the peak
    order = an_order(OrderKind.SETPOINT, 15_000.0)
    decision = bench.run(15, 20_000, order)
    assert decision.battery_w == 0.0
    assert decision.setpoints[0].w == 0.0


def test_a_bounce_stops_nothing_and_a_sample_shown_again_is_no_second_one() -> None:
    bench = Bench(epo(debounce_s=0.5))
    bench.run(plan_w=10_000)
    for _ in range(5):
        bench.says["c1"] = status("active")
        bench.run(2, 10_000)
        bench.says["c1"] = status("inactive")
        assert bench.run(1, 10_000).battery_w == 10_000
    for age in range(20):
        bench.says["c1"] = Status("active", age * TICK_S, Quality.GOOD)
        assert bench.run(1, 10_000).battery_w == 10_000
    assert bench.controller.contacts.latched == ()


def test_a_debounce_of_0_acts_at_the_first_sample() -> None:
    bench = Bench(epo(debounce_s=0.0))
    bench.run(plan_w=10_000)
    bench.says["c1"] = status("active")
    assert bench.run(1, 10_000).battery_w == 0.0


@pytest.mark.parametrize("said", [UNKNOWN, Status("inactive", 9.0, Quality.STALE)])
def test_a_protective_contact_that_is_not_read_stops_the_battery_without_latching(said: Status) -> None:
    bench = Bench(epo())
    bench.says["c1"] = said
    assert bench.run(plan_w=10_000).battery_w == 0.0, "from the first tick on"
    bench.says["c1"] = status("inactive")
    assert bench.run(plan_w=10_000).battery_w == 10_000
    bench.says["c1"] = said
    lost = bench.run(1, 10_000)
    assert lost.battery_w == 0.0
    assert "emergency stop c1 is not read" in words(lost.reason)


def test_a_proof_under_way_is_stopped_too() -> None:
    """Also where it lets a PCS go silent, which would keep the setpoint that it holds."""
    controller = Controller(msgspec.structs.replace(site_config(export_limit_w=20_000), contacts=(epo(),)))
    for n in range(20):
        said = "active" if n >= 10 else "inactive"
        snapshot = a_snapshot(n * TICK_S, 20_000, contacts=(Contact("c1", status(said)),))
        proving = Proving(pcs_id="pcs1", w=5_000.0, who="ada", silent=n > 15)
        decision = controller.step(snapshot, None, proving=proving)
        if n == 9:
            assert decision.setpoints[0].w == 5_000
    assert decision.setpoints[0].w == 0.0


@pytest.mark.parametrize("lost", [MISSING, Reading(8_000.0, 9.0, Quality.STALE)])
def test_a_pcs_that_cannot_be_read_is_asked_for_0_too_and_stays_there(lost: Reading) -> None:
    """It may hear all the same, or be back with its connection at any moment: nothing is to be left for it then."""
    bench = Bench(epo())
    assert bench.run(plan_w=10_000).setpoints[0].w == 10_000
    bench.changes = {"pcs": a_pcs(lost)}
    assert bench.run(plan_w=10_000).setpoints[0].w == 10_000
    bench.says["c1"] = status("active")
    assert bench.run(plan_w=10_000).setpoints[0].w == 0.0
    bench.says["c1"] = status("inactive")
    assert bench.run(plan_w=10_000).setpoints[0].w == 0.0
    bench.controller.contacts.release("c1")
    assert bench.run(plan_w=10_000).setpoints[0].w == 0.0, "until it can be read again"
    bench.changes = {}
    assert bench.run(plan_w=10_000).setpoints[0].w == 10_000


def test_a_latch_outlives_the_gateway() -> None:
    bench = Bench(epo())
    bench.run()
    bench.says["c1"] = status("active")
    bench.run()
    memory = bench.controller.memory()
    assert memory.contacts == ("c1",)
    kept = msgspec.json.decode(msgspec.json.encode(memory), type=ControllerMemory)
    again = Bench(epo(), memory=kept)
    assert again.run(plan_w=10_000).battery_w == 0.0
    again.controller.contacts.release("c1")
    assert again.run(plan_w=10_000).battery_w == 10_000
    late = Bench(epo("door"), epo_named("c2"))
    late.run()
    late.controller.recover(msgspec.structs.replace(kept, contacts=("c1", "c2", "gone")))
    assert late.controller.contacts.latched == ("c2",), "what the site file has become decides"


def epo_named(id: str) -> ContactTerms:
    return ContactTerms(id=id, purpose="epo")


def test_a_pcs_that_forms_the_grid_is_not_commanded() -> None:
    bench = Bench(epo())
    bench.run()
    forming = a_pcs(20_000.0, mode=status("grid_forming"), connection=status("disconnected"))
    bench.switch = "open"
    bench.changes = {"pcs": forming}
    bench.run(20)
    bench.says["c1"] = status("active")
    decision = bench.run(5)
    assert decision.island.value == "islanded"
    assert decision.setpoints[0].w is None
    assert decision.battery_w is None


@pytest.mark.parametrize("kind", ["black-start", "drill", "check"])
def test_neither_drill_nor_black_start_begins(kind: str) -> None:
    bench = Bench(epo())
    bench.run()
    bench.says["c1"] = status("active")
    bench.run(5)
    request = IslandRequest(id="r", kind=kind, who="ada", reason="a good reason", minutes=5, confirmed=True)  # type: ignore[arg-type]
    snapshot = a_snapshot(bench.t_s + 1, 20_000, contacts=(Contact("c1", status("active")),))
    (reply,) = bench.controller.step(snapshot, None, [request]).replies
    assert not reply.ok
    assert "emergency stop c1 is active" in words(reply.reason) or "no protective contact" in words(reply.reason)


# ── the grid operator ───────────────────────────────────────────────────────────────────────────────────────────────


def step(id: str, **limits: float) -> ContactTerms:
    return ContactTerms(id=id, purpose="grid_operator", **limits)


def test_steps_of_the_grid_operator_limit_export_as_long_as_they_are_active() -> None:
    """Export limit 20 kW, load 5 kW: the order exports 15 kW."""
    bench = Bench(step("s30", export_limit_w=6_000.0), step("s0", export_limit_w=0.0))
    bench.load_w = 5_000.0
    assert bench.run(15, None, EXPORTS).battery_w == 20_000
    bench.says["s30"] = status("active")
    limited = bench.run(15, None, EXPORTS)
    assert limited.battery_w == pytest.approx(11_000)
    why = words(trace(limited, "fuse").reason)
    assert why.startswith(
        "grid operator (s30): export at most 6.0 kW; otherwise import at most 110.4 kW, export at most 20"
    )
    bench.says["s0"] = status("active")
    assert bench.run(15, None, EXPORTS).battery_w == pytest.approx(5_000), "the tightest of all"
    bench.says = {id: status("inactive") for id in bench.says}
    assert bench.run(15, None, EXPORTS).battery_w == 20_000


def test_an_import_limit_is_held_by_the_battery() -> None:
    bench = Bench(step("p14a", import_limit_w=4_200.0))
    bench.says["p14a"] = status("active")
    assert bench.run().battery_w == pytest.approx(15_800)


def test_an_import_limit_leaves_the_reserve_to_the_critical_load() -> None:
    bench = Bench(step("import", import_limit_w=4_200.0))
    reserve = ReserveConfig(hours=5, critical_load_w=12_000.0)
    bench.controller = Controller(msgspec.structs.replace(bench.controller.config, reserve=reserve))
    bench.says["import"] = status("active")
    limited = bench.run()
    assert (limited.battery_w or 0.0) <= 0.0, "60 % is below the reserve of 60 kWh and the floor"
    assert "discharge at most 0.0 kW, the reserve is kept" in words(trace(limited, "fuse").reason)


def test_a_charge_limit_is_of_the_battery_and_not_of_the_import() -> None:
    bench = Bench(step("p14a", charge_limit_w=4_200.0))
    charges = an_order(OrderKind.SETPOINT, -30_000.0)
    bench.says["p14a"] = status("active")
    limited = bench.run(15, None, charges)
    assert limited.battery_w == pytest.approx(-4_200), "on top of a load of 20 kW"
    assert limited.contacts[0].limits


def test_a_production_limit_holds_whatever_the_load_takes() -> None:
    bench = Bench(step("s30", production_limit_w=24_000.0), pv=(PvTerms(id="pv1", peak_w=80_000, curtail=True),))
    bench.says["s30"] = status("active")
    bench.load_w = 5_000.0
    bench.changes = {"pv": (Pv("pv1", w=reading(40_000.0), state=status("running")),)}
    (limit,) = bench.run(30).pv_limits
    assert limit.w is not None
    assert 23_000 <= limit.w <= 24_000
    assert "the grid operator allows 24.0 kW of all inverters" in words(limit.reason)


def test_a_step_limits_pv_that_may_be_limited_too() -> None:
    def limit_w(said: str) -> float:
        bench = Bench(step("s0", export_limit_w=0.0), pv=(PvTerms(id="pv1", peak_w=120_000, curtail=True),))
        bench.says["s0"] = status(said)
        bench.load_w = -70_000.0
        bench.changes = {"pv": (Pv("pv1", w=reading(80_000.0), state=status("running")),)}
        (limit,) = bench.run(30).pv_limits
        assert limit.w is not None
        return limit.w

    assert limit_w("active") == pytest.approx(limit_w("inactive") - 20_000)


def test_a_step_whose_input_is_lost_stays_in_force_and_says_so() -> None:
    bench = Bench(step("s0", export_limit_w=0.0))
    bench.load_w = 5_000.0
    bench.says["s0"] = status("active")
    bench.run(15, None, EXPORTS)
    bench.says["s0"] = UNKNOWN
    decision = bench.run(15, None, EXPORTS)
    assert decision.battery_w == pytest.approx(5_000)
    (view,) = decision.contacts
    assert (view.state, view.read, view.export_limit_w) == ("active", False, 0.0)


def test_a_step_in_force_outlives_the_gateway_until_its_input_is_read() -> None:
    bench = Bench(step("s0", export_limit_w=0.0))
    bench.says["s0"] = status("active")
    bench.run()
    kept = msgspec.json.decode(msgspec.json.encode(bench.controller.memory()), type=ControllerMemory)
    again = Bench(step("s0", export_limit_w=0.0), memory=kept)
    again.load_w, again.says["s0"] = 5_000.0, UNKNOWN
    limited = again.run(15, None, EXPORTS)
    assert limited.battery_w == pytest.approx(5_000)
    assert not limited.contacts[0].read
    again.says["s0"] = status("inactive")
    assert again.run(15, None, EXPORTS).battery_w == 20_000
    assert again.controller.memory().contacts == ()


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["active", "inactive", "broken", None]), min_size=1, max_size=20),
    st.sampled_from(["epo", "grid_operator", "door"]),
)
def test_no_contact_ever_widens_what_is_allowed(said: list[str | None], purpose: str) -> None:
    terms = ContactTerms(id="c1", purpose=purpose, export_limit_w=3_000.0, import_limit_w=50_000.0)  # type: ignore[arg-type]
    bench, free = Bench(terms), Bench()
    for word in said:
        bench.says["c1"] = status(word)
        with_contact, without = bench.run(1, 20_000), free.run(1, 20_000)
        hard, wide = trace(with_contact, "fuse"), trace(without, "fuse")
        assert hard.low_w >= wide.low_w - 1e-6 or hard.low_w == hard.high_w
        assert hard.high_w <= wide.high_w + 1e-6 or hard.low_w == hard.high_w
        if any(view.stops for view in with_contact.contacts):
            assert with_contact.battery_w in (0.0, None)
