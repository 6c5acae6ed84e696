"""The islanding state machine against devices that do anything: Hypothesis drives contacts, modes, grid and people."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_site import T0, a_battery, a_pcs, site_config

from dispatch.config.off_grid import IslandConfig
from dispatch.config.schema import DispatchConfig
from dispatch.islanding.grid_code import PROFILES, ReconnectionWindow, grid_code
from dispatch.islanding.observation import IslandMemory, IslandStep
from dispatch.islanding.state_machine import IslandMachine
from dispatch.model.equipment import Meter, Pv, Switch
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.readings import Quality, reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState
EXAMPLES = int(os.environ.get("SKERRY_SOAK_ISLAND", "250"))
STEPS = 14
CODE = PROFILES["vde-ar-n-4105"]


def config(**island: object) -> DispatchConfig:
    return msgspec.structs.replace(site_config(), island=IslandConfig(**island), switches=("pcc",))  # type: ignore[arg-type]


class Devices:
    """Contacts, modes and voltages as somebody sets them; no physics, so that nothing is impossible."""

    def __init__(self) -> None:
        self.t_s = 0.0
        self.contact: str | None = "closed"
        self.mode: str | None = "grid_following"
        self.pcs_state = "running"
        self.bus_v = 230.0
        self.v, self.hz = 230.0, 50.0
        self.key = "remote"
        self.grid_w: float | None = 300.0
        self.delta_deg: float | None = 1.0
        self.command = "none"
        self.soc_pct = 80.0

    def snapshot(self) -> Snapshot:
        forming = self.mode == "grid_forming"
        pcs = a_pcs(
            0.0,
            mode=status(self.mode),
            state=status(self.pcs_state),
            v=reading(self.bus_v),
            hz=reading(50.0),
            connection=status("disconnected" if forming else "connected"),
            discharge_limit_w=reading(60_000.0),
        )
        # voltage and frequency flicker in the last digit, as real ones do
        wobble = 0.001 * (round(self.t_s * 10) % 7)
        switch = Switch(
            "pcc",
            position=status(self.contact),
            control=status(self.key),
            grid_voltage=status("present" if self.v > 115 else "absent"),
            command=status(self.command),
            delta_deg=reading(self.delta_deg),
        )
        return Snapshot(
            seq=round(self.t_s * 10),
            utc_s=T0 + self.t_s,
            mono_s=self.t_s,
            grid=Meter("grid", w=reading(self.grid_w), v=(reading(self.v + wobble),) * 3, hz=reading(self.hz + wobble)),
            pcs=(pcs,),
            batteries=(a_battery(self.soc_pct, discharge_limit_w=reading(60_000.0)),),
            pv=(Pv("pv1", w=reading(0.0)),),
            switches=(switch,),
        )


class Islanding(RuleBasedStateMachine):
    """Everything devices and people can do, in any order."""

    @initialize(reclose=st.sampled_from(["permit", "device"]))
    def start(self, reclose: str) -> None:
        self.machine, self.devices = IslandMachine(config(reclose=reclose)), Devices()
        self.fit_since_s: float | None = None
        self.was: IslandState = S.UNKNOWN
        self.step: IslandStep | None = None
        self.asked = "none"
        self.refused_setpoint = True
        self._tick(0.2)

    def _tick(self, dt_s: float, *requests: IslandRequest) -> IslandStep:
        d = self.devices
        d.t_s += dt_s
        fit = CODE.v_low_pct <= d.v / 2.3 <= CODE.v_high_pct and CODE.hz_low <= d.hz + 0.006 and d.hz <= CODE.hz_high
        if d.contact == "closed" or not fit:
            self.fit_since_s = None
        elif self.fit_since_s is None:
            self.fit_since_s = d.t_s
        was, self.was = self.machine.state, self.machine.state
        step = self.step = self.machine.step(d.snapshot(), requests)
        d.command = d.command if step.switch is None else step.switch.action
        if step.seen.state is not was:
            assert any(f"→ {step.seen.state.value}: " in e.text for e in step.events), "a transition without an event"
        self._closing(step)
        return step

    def _closing(self, step: IslandStep) -> None:
        asks = "none" if step.switch is None else step.switch.action
        if asks == "close":
            assert step.seen.state is S.CLOSING
            assert step.view.permit_close
            d = self.devices
            if d.contact != "closed":
                assert d.mode == "grid_forming", "closing asked for on a bus that is not ours"
                assert d.key == "remote"
                assert d.delta_deg is None or d.delta_deg <= CODE.delta_deg, "closing asked for out of step"
                assert self.fit_since_s is not None, "closing asked for onto a grid outside the window"
                assert d.t_s - self.fit_since_s >= CODE.wait_s - 1e-6, "closing asked for before the wait is over"
        self.asked = asks

    @rule(dt_s=st.sampled_from([0.2, 1.0, 5.0, 20.0, 61.0]), n=st.integers(1, 4))
    def time(self, dt_s: float, n: int) -> None:
        for _ in range(n):
            self._tick(dt_s)

    @rule(contact=st.sampled_from(["closed", "open", "open", "moving", None]))
    def contact(self, contact: str | None) -> None:
        self.devices.contact = contact
        self._tick(0.2)

    @rule(
        mode=st.sampled_from(["grid_following", "grid_forming", "grid_forming", None]),
        state=st.sampled_from(["running", "running", "fault", "off"]),
        bus_v=st.sampled_from([0.0, 230.0, 230.0]),
    )
    def pcs(self, mode: str | None, state: str, bus_v: float) -> None:
        self.devices.mode = mode if state == "running" else "grid_following"
        self.devices.pcs_state, self.devices.bus_v = state, bus_v
        self._tick(0.2)

    @rule(
        grid=st.sampled_from([(230.0, 50.0), (230.0, 50.0), (0.0, 0.0), (170.0, 50.0), (230.0, 51.2), (262.0, 50.0)]),
        deg=st.sampled_from([0.0, 1.0, 45.0, None]),
    )
    def grid(self, grid: tuple[float, float], deg: float | None) -> None:
        (self.devices.v, self.devices.hz), self.devices.delta_deg = grid, deg
        self._tick(0.2)

    @rule(key=st.sampled_from(["remote", "remote", "local"]), w=st.sampled_from([300.0, 20_000.0, None]))
    def hands(self, key: str, w: float | None) -> None:
        self.devices.key, self.devices.grid_w = key, w
        self._tick(0.2)

    @rule()
    def island_now(self) -> None:
        """An outage as it should go: gone, open, formed."""
        d = self.devices
        d.v = d.hz = 0.0
        d.contact, d.mode, d.pcs_state, d.bus_v = "open", "grid_forming", "running", 230.0
        self._tick(0.2)

    @rule(deg=st.sampled_from([1.0, 45.0, None]))
    def grid_back(self, deg: float | None) -> None:
        self.devices.v, self.devices.hz, self.devices.delta_deg, self.devices.key = 230.0, 50.0, deg, "remote"
        for _ in range(4):
            self._tick(20.0)

    @rule(minutes=st.sampled_from([1.0, 10.0]))
    def drill(self, minutes: float) -> None:
        was = self.machine.state
        reply = self._tick(0.2, IslandRequest(id="d", kind="drill", who="a", reason="r", minutes=minutes)).replies[0]
        assert not reply.ok or was is S.GRID_TIED or self.machine.state is S.PREPARING
        assert reply.ok or all(c.remedy for c in reply.checks if not c.ok)

    @rule()
    def abort(self) -> None:
        running = self.machine.drill is not None
        reply = self._tick(0.2, IslandRequest(id="x", kind="abort", who="a")).replies[0]
        if running:
            assert reply.ok, "abort must be heard in every state of a drill"
            drill = self.machine.drill
            assert drill is None or not drill.holding or drill.aborted

    @rule(confirmed=st.booleans())
    def black_start(self, confirmed: bool) -> None:
        step = self._tick(0.2, IslandRequest(id="b", kind="black-start", who="e", confirmed=confirmed))
        assert confirmed or not step.replies[0].ok

    @rule()
    def reset(self) -> None:
        self._tick(0.2, IslandRequest(id="r", kind="reset", who="a", reason="seen"))

    @rule()
    def all_well(self) -> None:
        """From anywhere, devices that agree on a joined grid, and a reset, lead back to grid-tied."""
        fresh = Devices()
        fresh.t_s, fresh.command = self.devices.t_s, self.devices.command
        self.devices = fresh
        for _ in range(20):
            self._tick(5.0)
            if self.machine.state is S.FAULT:
                self.reset()
        assert self.machine.state is S.GRID_TIED or self.machine.drill is not None, self.machine.state

    @invariant()
    def only_a_drill_opens(self) -> None:
        step = self.step
        if step is not None and step.switch is not None and step.switch.action == "open":
            assert self.machine.state in (S.OPENING, S.ISLANDED, S.SYNCHRONISING, S.UNKNOWN)

    @invariant()
    def no_setpoint_unless_joined(self) -> None:
        if self.step is not None and self.devices.contact == "open":
            assert not self.step.seen.commands_battery

    @invariant()
    def starts_need_a_word(self) -> None:
        if self.step is not None and self.step.pcs_orders:
            assert self.machine.state is S.BLACK_START


TestIslanding = Islanding.TestCase
TestIslanding.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestIslanding.pytestmark = [pytest.mark.timeout(max(300, EXAMPLES // 4))]  # type: ignore[attr-defined]


def islanded(**island: object) -> tuple[IslandMachine, Devices]:
    """A machine that has seen an outage."""
    machine, devices = IslandMachine(config(**island)), Devices()
    machine.step(devices.snapshot())
    devices.v = devices.hz = 0.0
    devices.contact, devices.mode = "open", "grid_forming"
    devices.t_s += 0.2
    assert machine.step(devices.snapshot()).seen.state is S.ISLANDED
    return machine, devices


def play(machine: IslandMachine, devices: Devices, seconds: float, dt_s: float = 0.2) -> IslandStep:
    step = machine.step(devices.snapshot())
    for _ in range(round(seconds / dt_s)):
        devices.t_s += dt_s
        step = machine.step(devices.snapshot())
    return step


def test_closing_is_permitted_exactly_after_the_wait() -> None:
    machine, devices = islanded()
    play(machine, devices, 30)
    devices.v, devices.hz = 230.0, 50.0
    back_s = devices.t_s
    step = play(machine, devices, 59)
    assert (step.seen.state, step.switch) == (S.SYNCHRONISING, None)
    while not step.view.permit_close:
        step = play(machine, devices, 0.2)
    assert devices.t_s - back_s == pytest.approx(60, abs=0.5)
    assert step.switch is not None
    assert step.switch.action == "close"


@pytest.mark.parametrize(
    ("name", "wrong", "right"), [("v", 0.0, 230.0), ("hz", 47.0, 50.0), ("key", "local", "remote")], ids=str
)
def test_one_sample_that_speaks_for_closing_does_not_permit_it(name: str, wrong: object, right: object) -> None:
    """Without any wait in the site file, and with all else fit to close."""
    machine, devices = islanded(wait_s=0.0)
    devices.v, devices.hz = 230.0, 50.0
    setattr(devices, name, wrong)
    play(machine, devices, 5)
    setattr(devices, name, right)
    assert not play(machine, devices, 0).view.permit_close
    setattr(devices, name, wrong)
    devices.t_s += 0.2
    assert not play(machine, devices, 5).view.permit_close
    setattr(devices, name, right)
    devices.t_s += 0.2
    began_s = devices.t_s
    while not play(machine, devices, 0.2).view.permit_close:
        assert devices.t_s - began_s < 3
    assert devices.t_s - began_s >= 1.0


def test_a_doubted_voltage_keeps_the_window_but_permits_no_closing() -> None:
    machine, devices = islanded(wait_s=0.0)
    devices.v, devices.hz = 230.0, 50.0
    for n in range(40):
        devices.t_s += 0.2
        snapshot = devices.snapshot()
        if n < 30:
            doubted = tuple(msgspec.structs.replace(v, quality=Quality.SUSPECT) for v in snapshot.grid.v)
            snapshot = msgspec.structs.replace(snapshot, grid=msgspec.structs.replace(snapshot.grid, v=doubted))
        step = machine.step(snapshot)
        assert step.view.permit_close is (n >= 35)


def test_a_black_start_needs_a_bus_that_has_read_dead_for_a_while_and_no_meter_that_says_otherwise() -> None:
    machine, devices = islanded()
    devices.mode, devices.pcs_state, devices.bus_v = "grid_following", "standby", 0.0
    while play(machine, devices, 0.2).seen.state is not S.BLACKOUT:
        assert devices.t_s < 60
    devices.bus_v = 229.0
    play(machine, devices, 1)
    devices.bus_v = 0.0
    devices.t_s += 0.2
    request = IslandRequest(id="b", kind="black-start", who="e", confirmed=True)
    reply = machine.step(devices.snapshot(), [request]).replies[0]
    assert (reply.ok, words(reply.reason)) == (
        False,
        "the bus must read dead for 2 s, so far 0.0 s: ask again then",
    )
    play(machine, devices, 5)
    load = Meter("load", w=reading(9_000.0), v=(reading(229.0),) * 3)
    snapshot = msgspec.structs.replace(devices.snapshot(), load=load)
    reply = machine.step(snapshot, [request]).replies[0]
    assert not reply.ok
    assert "load meter load reads 229 V" in words(reply.reason)
    devices.t_s += 0.2
    assert machine.step(devices.snapshot(), [request]).replies[0].ok


def test_a_switch_that_closes_without_permission_is_said_to() -> None:
    machine, devices = islanded()
    devices.v, devices.hz = 230.0, 50.0
    devices.contact, devices.mode = "closed", "grid_following"
    play(machine, devices, 5)
    assert (machine.state, machine.reason.code) == (S.GRID_TIED, "go.closed_by_device")


def test_a_grid_that_flaps_has_to_wait_longer_each_time() -> None:
    machine, devices = islanded()
    waits = []
    for _ in range(4):
        devices.v, devices.hz = 230.0, 50.0
        step = play(machine, devices, 0.4)
        assert step.view.reconnect is not None
        waits.append(step.view.reconnect.wait_s)
        play(machine, devices, waits[-1] + 1)
        assert machine.state is S.CLOSING
        devices.contact, devices.mode = "closed", "grid_following"
        play(machine, devices, 5)
        assert (machine.state, machine.reason.code) == (S.GRID_TIED, "go.closed_as_permitted")
        devices.v = devices.hz = 0.0
        devices.contact, devices.mode = "open", "grid_forming"
        play(machine, devices, 1)
        assert machine.state is S.ISLANDED
    assert waits == [60, 120, 240, 480]


def drilled() -> tuple[IslandMachine, Devices]:
    """A machine in a drill of a minute that holds."""
    machine, devices = IslandMachine(config()), Devices()
    play(machine, devices, 1)
    request = IslandRequest(id="d", kind="drill", who="a", reason="monthly", minutes=1.0)
    devices.grid_w = 0.0
    assert machine.step(devices.snapshot(), [request]).replies[0].ok
    while machine.state is not S.OPENING:
        play(machine, devices, 0.2)
    devices.contact, devices.mode = "open", "grid_forming"
    assert play(machine, devices, 1).seen.state is S.ISLANDED
    return machine, devices


def back_by_permission(machine: IslandMachine, devices: Devices) -> None:
    """Until the switch may close, and closes."""
    for _ in range(30):
        if machine.state is S.CLOSING:
            break
        play(machine, devices, 10)
    assert machine.state is S.CLOSING
    devices.contact, devices.mode = "closed", "grid_following"
    assert play(machine, devices, 120).seen.state is S.GRID_TIED
    assert machine.drill is None


def outage(machine: IslandMachine, devices: Devices) -> IslandStep:
    devices.v = devices.hz = 0.0
    devices.contact, devices.mode = "open", "grid_forming"
    assert play(machine, devices, 1).seen.state is S.ISLANDED
    devices.v, devices.hz = 230.0, 50.0
    return play(machine, devices, 0.4)


def test_an_outage_soon_after_a_drill_is_no_flapping_grid() -> None:
    machine, devices = drilled()
    back_by_permission(machine, devices)
    step = outage(machine, devices)
    assert step.view.reconnect is not None
    assert step.view.reconnect.wait_s == CODE.wait_s

    play(machine, devices, CODE.wait_s + 1)
    back_by_permission(machine, devices)
    step = outage(machine, devices)  # this one does follow a return of the grid
    assert step.view.reconnect is not None
    assert step.view.reconnect.wait_s == 2 * CODE.wait_s


def test_a_grid_that_went_during_a_drill_and_again_after_it_does_flap() -> None:
    machine, devices = drilled()
    devices.v = devices.hz = 0.0
    play(machine, devices, 5)
    devices.v, devices.hz = 230.0, 50.0
    back_by_permission(machine, devices)
    step = outage(machine, devices)
    assert step.view.reconnect is not None
    assert step.view.reconnect.wait_s == 2 * CODE.wait_s


def test_a_window_left_in_the_middle_of_the_wait_starts_it_anew() -> None:
    machine, devices = islanded()
    devices.v, devices.hz = 230.0, 50.0
    play(machine, devices, 50)
    devices.hz = 50.4  # above 50.1
    assert play(machine, devices, 1).seen.state is S.ISLANDED
    devices.hz = 50.0
    assert not play(machine, devices, 58).view.permit_close


def test_what_speaks_against_closing_is_told() -> None:
    machine, devices = islanded()
    devices.v, devices.hz, devices.delta_deg = 230.0, 50.0, 45.0
    view = play(machine, devices, 30).view.reconnect
    assert view is not None
    assert "s of the wait of 60 s are left" in words(view.against)
    view = play(machine, devices, 40).view.reconnect
    assert view is not None
    assert words(view.against) == f"not in step: phase differs by 45.00 deg, at most {CODE.delta_deg:g}"
    devices.delta_deg = 1.0
    step = play(machine, devices, 0.4)
    assert step.view.reconnect is not None
    assert (step.seen.state, step.view.reconnect.against) == (S.CLOSING, None)


def test_a_meter_that_stands_still_is_not_believed() -> None:
    window, devices = ReconnectionWindow(CODE, 230.0), Devices()
    snapshot = devices.snapshot()
    assert window.check(snapshot, None).ok is True
    assert window.check(msgspec.structs.replace(snapshot, mono_s=40.0), None).ok is None


def test_own_figures_replace_the_profiles() -> None:
    code = grid_code(IslandConfig(profile="en-50549-1", wait_s=120, hz_high=50.15))
    assert (code.wait_s, code.hz_high, code.hz_low) == (120, 50.15, 49.5)
    assert all("check with your operator" in c.source for c in PROFILES.values())


def test_a_foreign_bus_is_a_fault_and_a_dead_one_a_blackout() -> None:
    machine, devices = islanded()
    devices.mode = "grid_following"
    play(machine, devices, 6)
    assert machine.state is S.FAULT
    machine, devices = islanded()
    devices.mode, devices.bus_v, devices.pcs_state = "grid_following", 0.0, "fault"
    play(machine, devices, 6)
    assert machine.state is S.BLACKOUT


@pytest.mark.parametrize(("pcs_state", "after_s", "state"), [("fault", 1.4, S.BLACKOUT), ("off", 4.6, S.ISLANDED)])
def test_only_a_pcs_without_fault_is_given_time_to_form(pcs_state: str, after_s: float, state: S) -> None:
    machine, devices = IslandMachine(config(form_timeout_s=5.0)), Devices()
    play(machine, devices, 1)
    devices.v = devices.hz = devices.bus_v = 0.0
    devices.contact, devices.pcs_state = "open", pcs_state
    assert play(machine, devices, after_s).seen.state is state


def test_a_fresh_machine_behind_an_open_switch_waits_for_the_pcs_and_never_calls_a_dead_site_islanded() -> None:
    machine, devices = IslandMachine(config()), Devices()
    devices.v = devices.hz = devices.bus_v = 0.0
    devices.contact, devices.mode = "open", None
    play(machine, devices, 1)
    assert machine.state is S.UNKNOWN
    devices.mode, devices.pcs_state = "grid_following", "fault"
    play(machine, devices, 0.5)
    assert machine.state is S.UNKNOWN
    play(machine, devices, 1)
    assert machine.state is S.BLACKOUT
    machine, devices = IslandMachine(config()), Devices()
    devices.contact, devices.mode = "open", None
    play(machine, devices, 6)
    assert machine.state in (S.ISLANDED, S.SYNCHRONISING), "a PCS that never speaks is not waited for"


def test_a_fault_outlives_the_gateway_until_it_is_reset() -> None:
    machine, devices = islanded()
    devices.mode = "grid_following"
    play(machine, devices, 6)
    assert machine.state is S.FAULT
    kept = machine.memory()
    for _ in range(2):
        machine = IslandMachine(config())
        machine.restore(kept)
        step = machine.step(devices.snapshot())
        assert step.seen.state is S.FAULT
        assert words(step.view.reason).count("a restart of the gateway does not reset it") == 1
        kept = machine.memory()
    devices.contact, devices.v, devices.hz = "closed", 230.0, 50.0
    play(machine, devices, 5)
    assert machine.state is S.FAULT
    machine.step(devices.snapshot(), [IslandRequest(id="r", kind="reset", who="e", reason="looked")])
    play(machine, devices, 1)
    assert machine.state is S.GRID_TIED
    assert machine.memory().fault is None


def test_a_fault_that_version_0_1_0_kept_is_kept_with_its_sentence() -> None:
    machine, devices = islanded()
    machine = IslandMachine(config())
    kept = "the bus is foreign: it has 230 V and no PCS of ours forms it (a restart of the gateway does not reset it)"
    machine.restore(msgspec.json.decode(msgspec.json.encode({"fault": kept, "failures": 2}), type=IslandMemory))
    step = machine.step(devices.snapshot())
    assert step.seen.state is S.FAULT
    assert words(step.view.reason) == kept
    machine.restore(msgspec.json.decode(b'{"fault": "", "failures": 0}', type=IslandMemory))
    assert machine.memory().fault is not None, "it is in fault still"
    fresh = IslandMachine(config())
    fresh.restore(msgspec.json.decode(b'{"fault": "", "failures": 0}', type=IslandMemory))
    assert fresh.memory().fault is None


def test_device_mode_only_watches() -> None:
    machine, devices = islanded(reclose="device")
    devices.v, devices.hz = 230.0, 50.0
    step = play(machine, devices, 300, 1.0)
    assert (step.seen.state, step.switch) == (S.SYNCHRONISING, None)
    devices.contact, devices.mode = "closed", "grid_following"
    assert play(machine, devices, 0.4).seen.state is S.GRID_TIED
