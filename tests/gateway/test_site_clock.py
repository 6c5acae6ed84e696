"""The site's time on a machine whose clock cannot be right, and when it is known again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.kernel_clock import KernelClock
from gateway.alarm_inputs import clock_event
from gateway.site_clock import BEHIND_S, EARLIEST_UTC_S, SiteClock

NOW_S = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


class Machine:
    """A machine whose calendar a test sets."""

    speed = 1.0

    def __init__(self, utc_s: float, synchronised: bool | None = False, up_s: float = 3.0) -> None:
        self._utc_s, self._mono_s, self.synchronised = utc_s, up_s, synchronised

    def utc_s(self) -> float:
        return self._utc_s

    def mono_s(self) -> float:
        return self._mono_s

    def read(self) -> KernelClock:
        return KernelClock(self.synchronised)

    def passes(self, s: float) -> None:
        self._utc_s, self._mono_s = self._utc_s + s, self._mono_s + s

    def is_set(self, utc_s: float) -> None:
        self._utc_s = utc_s


def started(machine: Machine, record_ends_s: float | None = None, hardware_s: float | None = None) -> SiteClock:
    clock = SiteClock(machine, machine.read, hardware=lambda: hardware_s)
    if record_ends_s is not None:
        clock.not_before(record_ends_s)
    return clock


@pytest.mark.parametrize("synchronised", [True, False, None])
def test_a_machine_s_clock_past_the_record_is_believed(synchronised: bool | None) -> None:
    machine = Machine(NOW_S, synchronised)
    clock = started(machine, NOW_S - 7 * 86_400)  # off for a week
    assert clock.state().known
    assert clock.utc_s() == NOW_S
    machine.passes(1.5)
    assert clock.utc_s() == NOW_S + 1.5


@pytest.mark.parametrize("boots_at_s", [0.0, 1_000_000_000.0, NOW_S - 86_400])
def test_without_a_clock_time_goes_on_from_the_record_until_it_is_synchronised(boots_at_s: float) -> None:
    machine = Machine(boots_at_s)
    clock = started(machine, NOW_S)
    machine.passes(600)
    clock.look(machine.read())
    assert not clock.state().known
    assert clock.utc_s() == NOW_S + 600
    machine.is_set(NOW_S + 5_000)
    machine.synchronised = True
    clock.look(machine.read())
    assert clock.state().known
    assert clock.utc_s() == NOW_S + 5_000


def test_a_synchronised_clock_behind_the_record_is_right_and_the_record_was_ahead() -> None:
    clock = started(Machine(NOW_S, synchronised=True), NOW_S + 86_400)
    assert clock.state().known
    assert clock.utc_s() == NOW_S


def test_set_by_hand_on_a_site_without_a_time_server() -> None:
    machine = Machine(100.0)
    clock = started(machine)
    assert clock.utc_s() == EARLIEST_UTC_S
    machine.is_set(NOW_S)
    clock.look(machine.read())
    assert clock.state().known
    # a record of a clock that was ahead: whoever sets the machine's clock while the gateway runs is believed
    machine = Machine(NOW_S)
    clock = started(machine, NOW_S + 86_400)
    assert not clock.state().known
    machine.is_set(NOW_S + 3)
    clock.look(machine.read())
    assert clock.state().known


def test_a_little_behind_the_record_is_an_ordinary_restart() -> None:
    assert started(Machine(NOW_S, up_s=3_600), NOW_S + BEHIND_S - 1).state().known
    assert not started(Machine(NOW_S, up_s=3_600), NOW_S + BEHIND_S + 1).state().known


@pytest.mark.parametrize("saved_after_s", [-59.0, 0.0, 119.0])
def test_a_clock_that_booted_where_the_record_ended_may_be_hours_late(saved_after_s: float) -> None:
    """A machine without a clock of its own: systemd begins at the time that timesyncd saved."""
    machine = Machine(NOW_S + saved_after_s + 30, up_s=30)
    clock = started(machine, NOW_S)
    assert not clock.state().known
    machine.passes(3_600)
    clock.look(machine.read())
    assert not clock.state().known
    assert clock.utc_s() == pytest.approx(NOW_S + max(saved_after_s + 30, 0.0) + 3_600)
    machine.is_set(NOW_S + 20_000)
    machine.synchronised = True
    clock.look(machine.read())
    assert clock.state().known
    assert clock.utc_s() == NOW_S + 20_000


def test_a_quick_reboot_of_a_machine_with_a_clock_is_believed() -> None:
    now_s = NOW_S + 60
    assert started(Machine(now_s, up_s=30), NOW_S, hardware_s=now_s - 1).state().known
    assert not started(Machine(now_s, up_s=30), NOW_S, hardware_s=100.0).state().known, "its battery is empty"
    assert started(Machine(now_s, synchronised=True, up_s=30), NOW_S).state().known
    assert started(Machine(now_s, up_s=86_400), NOW_S).state().known, "only the gateway was restarted"
    assert started(Machine(NOW_S + 7_200, up_s=30), NOW_S).state().known, "it cannot have been saved so late"


async def test_others_are_asked_at_once_where_the_kernel_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And seldom once the time is known; a clock that is set meanwhile is noticed at the next look."""
    machine, asked_s = Machine(0.0), list[float]()

    async def sleep(s: float) -> None:
        machine.passes(s)
        if machine.mono_s() > 150:
            machine.is_set(NOW_S)
        if machine.mono_s() > 2_000:
            raise TimeoutError

    def ask(why: str) -> KernelClock:
        asked_s.append(machine.mono_s())
        return KernelClock(None, None, f"{why}; nobody answers")

    clock = SiteClock(machine, lambda: KernelClock(note="forbidden"), ask)
    monkeypatch.setattr("gateway.site_clock.asyncio.sleep", sleep)
    known_s = list[float]()
    look = clock.look

    def looked(kernel: KernelClock) -> None:
        look(kernel)
        known_s.extend([machine.mono_s()] if clock.state().known and not known_s else [])

    monkeypatch.setattr(clock, "look", looked)
    with pytest.raises(TimeoutError):
        await clock.run()
    assert asked_s[:3] == [8.0, 68.0, 128.0]
    assert known_s == [153.0]
    assert len(asked_s) == 6


def test_a_clock_that_falls_back_to_1970_is_not_followed() -> None:
    machine = Machine(NOW_S, synchronised=True)
    clock = started(machine)
    clock.utc_s()
    machine.passes(10)
    machine.is_set(5.0)
    clock.look(machine.read())
    assert clock.state().known
    assert clock.utc_s() == NOW_S + 10
    machine.is_set(NOW_S + 86_400)
    assert clock.utc_s() == NOW_S + 86_400


@given(behind_s=st.floats(61, 1e8), parts=st.lists(st.floats(0, 1e6), max_size=5), off_s=st.floats(0, 1e7))
@settings(max_examples=50)
def test_the_time_is_a_lower_bound_until_it_is_known(behind_s: float, parts: list[float], off_s: float) -> None:
    machine = Machine(NOW_S - behind_s)
    clock, true_s = started(machine, NOW_S), NOW_S + off_s
    for s in parts:
        machine.passes(s)
        true_s += s
        clock.look(machine.read())
        if not clock.state().known:
            assert clock.utc_s() <= true_s + 1e-3
            assert clock.utc_s() >= NOW_S


def test_what_the_log_says() -> None:
    machine = Machine(0.0)
    clock = started(machine, NOW_S)
    lost = clock.state()
    machine.is_set(NOW_S + 3_600)
    clock.look(machine.read())
    known = clock.state()
    assert "it says 1970-01-01 00:00:00 UTC" in clock_event(known, lost, 0.0)
    assert "bears times that are 1 h too early" in clock_event(lost, known, 3_600.0)
    assert clock_event(known, known, -86_400.0) == "wall clock stepped by -86400.0 s; deadlines are unaffected"
    assert clock_event(known, known, 0.0) == clock_event(lost, lost, 0.0) == ""
