"""A generator in the islanding state machine: what devices say while the site changes over, in any order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import site_config
from soak_sizes import examples
from test_state_machine import Devices

from dispatch.config.off_grid import GensetConfig, IslandConfig
from dispatch.config.schema import DispatchConfig, MeterTerms
from dispatch.islanding.grid_code import PROFILES, ReconnectionWindow
from dispatch.islanding.observation import IslandStep, observe
from dispatch.islanding.state_machine import IslandMachine
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.readings import status
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState


def config() -> DispatchConfig:
    return msgspec.structs.replace(
        site_config(),
        island=IslandConfig(reclose="device"),
        switches=("pcc",),
        meters=(MeterTerms(id="grid", side="site"),),
        genset=GensetConfig(rated_w=30_000),
    )


class Site:
    """The machine and its devices; a source of None is not read."""

    def __init__(self) -> None:
        self.machine, self.devices, self.source = IslandMachine(config()), Devices(), "grid"
        self.connected = False  # also while it forms

    def snapshot(self) -> Snapshot:
        found = self.devices.snapshot()
        switches = tuple(msgspec.structs.replace(s, source=status(self.source)) for s in found.switches)
        if self.connected:
            pcs = tuple(msgspec.structs.replace(p, connection=status("connected")) for p in found.pcs)
            found = msgspec.structs.replace(found, pcs=pcs)
        return msgspec.structs.replace(found, switches=switches)

    def say(self, source: str | None, contact: str | None, mode: str | None = None, bus_v: float = 230.0) -> Site:
        self.source, self.devices.contact, self.devices.bus_v = source, contact, bus_v  # type: ignore[assignment]
        self.devices.mode = mode or self.devices.mode
        return self

    def run(self, seconds: float, *requests: IslandRequest) -> IslandStep:
        for n in range(round(seconds / 0.2)):
            self.devices.t_s += 0.2
            step = self.machine.step(self.snapshot(), requests if n == 0 else ())
        return step


def state(source: str | None, contact: str | None, mode: str = "grid_following") -> tuple[IslandState, str]:
    found = observe(Site().say(source, contact, mode).snapshot(), 230.0, genset=True)
    return found.state, found.reason.code


def test_what_is_seen() -> None:
    assert state("grid", "closed") == (S.GRID_TIED, "seen.switches")
    assert state("genset", "open") == state("genset", None) == (S.GENSET, "seen.genset")
    assert state("none", "open") == (S.ISLANDED, "seen.switch_open")
    assert state("none", None) == (S.ISLANDED, "seen.no_source")
    assert state("grid", "open") == (S.ISLANDED, "seen.switch_open")
    assert state("genset", "closed") == state("genset", "moving") == (S.UNKNOWN, "seen.genset_and_grid")
    assert state(None, "closed") == state(None, None) == (S.UNKNOWN, "seen.source_unread")
    assert state("genset", "open", "grid_forming") == (S.ISLANDED, "seen.pcs_forms_own")


def test_without_a_generator_a_switch_that_tells_no_source_says_as_much_as_before() -> None:
    found = Site().say(None, None).snapshot()
    assert observe(found, 230.0).state is S.GRID_TIED


def test_a_pcs_that_follows_before_the_switch_tells_the_generator_is_no_fault() -> None:
    site = Site()
    site.run(1)
    assert site.say("none", "open", "grid_forming").run(20).seen.state is S.ISLANDED
    assert site.say("none", "open", "grid_following").run(4).seen.state is S.ISLANDED
    assert site.say("genset", "open").run(0.2).seen.state is S.GENSET


def test_a_generator_that_stops_after_hours_is_no_fault() -> None:
    site = Site().say("genset", "open")
    assert site.run(60).seen.state is S.GENSET
    assert site.say("none", "open").run(2).seen.state is S.ISLANDED
    assert site.say("none", "open", "grid_forming").run(10).seen.state is S.ISLANDED
    assert site.say("none", "open", "grid_following", bus_v=0.0).run(2).seen.state is S.BLACKOUT
    assert site.say("genset", "open").run(0.2).seen.state is S.GENSET


def test_a_silent_switch_and_a_pcs_that_forms_end_the_generators_limits() -> None:
    site = Site().say("genset", "open")
    site.run(1)
    assert site.say(None, None).run(30).seen.state is S.GENSET
    found = site.say(None, None, "grid_forming").run(0.2).seen
    assert (found.state, found.commands_battery) == (S.ISLANDED, False)
    site = Site().say("genset", "open")
    site.run(1)
    site.connected = True  # it forms beside another source
    assert not site.say(None, None, "grid_forming").run(0.2).seen.commands_battery


def test_import_ramps_back_from_the_generator_as_from_the_battery() -> None:
    site = Site()
    site.run(1)
    assert site.say("genset", "open").run(5).seen.import_high_w is None
    back = site.say("grid", "closed").run(0.2).seen
    assert back.state is S.GRID_TIED
    assert back.import_high_w is not None


def test_the_switch_is_asked_for_nothing_on_the_generator() -> None:
    site = Site()
    site.run(1)
    site.say("genset", "open")
    orders = {step.switch.action for _ in range(400) if (step := site.run(0.2)).switch is not None}
    assert orders <= {"none"}
    view = site.run(0.2).view
    assert view.reconnect is not None
    assert view.reconnect.against is not None
    assert words(view.reconnect.against) == "pcc says that the generator feeds the site: it changes back by itself"


def test_a_drill_ends_when_the_generator_takes_over() -> None:
    site = Site()
    site.run(1)
    request = IslandRequest(id="1", kind="drill", who="ann", reason="monthly", minutes=5)
    begun = site.run(0.2, request)
    assert begun.replies[0].ok, words(begun.replies[0].reason)
    ended = site.say("genset", "open").run(0.2)
    assert ended.seen.state is S.GENSET
    assert ended.report is not None
    assert ended.report.result == "failed"


def test_a_meter_on_the_bus_says_nothing_of_the_grid_behind_an_open_switch() -> None:
    window = ReconnectionWindow(PROFILES["vde-ar-n-4105"], 230.0, frozenset({"grid"}))
    site = Site()
    for contact, ok in (("closed", True), ("open", None)):
        now = site.say("grid", contact).snapshot()
        assert window.check(now, now.switches[0]).ok is ok


SAYS = st.tuples(
    st.sampled_from(["grid", "genset", "none", None]),
    st.sampled_from(["closed", "open", "moving", None]),
    st.sampled_from(["grid_following", "grid_forming"]),
    st.sampled_from([230.0, 0.0]),
    st.sampled_from([0.2, 1.2, 6.0]),
)


@pytest.mark.soak
@settings(max_examples=examples(25))
@given(st.lists(SAYS, max_size=10))
def test_whatever_devices_say_a_forming_pcs_is_left_alone_and_no_closing_is_permitted_on_the_generator(
    said: list[tuple[str | None, str | None, str, float, float]],
) -> None:
    site = Site()
    for source, contact, mode, bus_v, seconds in said:
        step = site.say(source, contact, mode, bus_v).run(seconds)
        forming = mode == "grid_forming"
        if step.seen.state is S.GENSET:
            assert not forming
            assert not step.on_battery
        if step.seen.commands_battery and forming:
            raise AssertionError(f"{step.seen} commands a forming PCS")
        if source == "genset":
            assert not step.view.permit_close
