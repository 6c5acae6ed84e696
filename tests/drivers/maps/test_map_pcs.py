"""Mapped PCS on the wire, each against a device of its family: signs, faults, silence, reversion, foreign writes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dispatch.config.schema import BatteryConfig
from drivers.clock import VirtualClock
from drivers.config import PcsDevice
from drivers.maps.found_modes import FoundMode, FoundModes
from drivers.maps.loader import load
from drivers.maps.pcs import MapPcs
from drivers.modbus.errors import DeviceException, ReadbackMismatch, Timeout, WrongDevice
from drivers.modbus.transport import ModbusLink
from tests.drivers.maps.pcs_twins import GoodWeTwin, PcsTwin, SinexcelTwin, VictronTwin

UNIT = {"victron-gx": 100, "sinexcel-pws2": 1, "goodwe-et": 247}
STORE = BatteryConfig(id="bat1", energy_kwh=10, charge_efficiency=0.8, discharge_efficiency=0.9)
FAMILIES = [VictronTwin, SinexcelTwin, GoodWeTwin]


class Rig:
    """A device on loopback, the driver of its map, a clock that the test moves."""

    def __init__(
        self, twin: PcsTwin, store: BatteryConfig | None = None, own_bms: bool = False, **changes: object
    ) -> None:
        self.store, self.own_bms = store, own_bms
        self.twin, self.clock, self.found = twin, VirtualClock(), FoundModes()
        given = {"accept_no_revert": True, "cap_w": 9000.0, "units": twin.units, **changes}
        self.config = PcsDevice(
            id="pcs1", battery="bat1", charge_w=10e3, discharge_w=10e3, url="tcp://x:1", map=twin.name, **given
        )

    async def start(self) -> Rig:
        await self.twin.server.start()
        self.twin.obey()
        self.connect()
        return self

    def connect(self) -> None:
        """A new driver, as of a gateway that starts."""
        server = self.twin.server
        self.link = ModbusLink(server.host, server.port, deadline_s=0.5, backoff_max_s=0.2, device="pcs1")
        unit = UNIT[self.twin.name]
        self.driver = MapPcs(
            self.config,
            load(self.twin.name),
            self.link,
            unit,
            self.clock,
            found=self.found,
            battery=self.store,
            own_bms=self.own_bms,
        )

    async def settle(self) -> None:
        """Let the device's own time to show new values pass, and read."""
        self.clock.advance(2.0)
        await self.driver.read()

    async def command(self, w: float) -> str:
        """One order after a fresh reading; what was noted."""
        await self.driver.read()
        return (await self.driver.command(w, self.clock.mono_s())).note

    async def stop(self) -> None:
        await self.driver.close()
        await self.twin.server.stop()


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    running = await Rig(request.param()).start()
    yield running
    await running.stop()


async def test_both_signs_and_zero_reach_the_battery_and_are_measured(rig: Rig) -> None:
    for w in (3000.0, -6000.0, 0.0, 4500.0):
        await rig.command(w)
        assert rig.twin.battery_w == pytest.approx(w, abs=10)
        await rig.settle()
        pcs, _ = await rig.driver.read()
        assert pcs.w.good == pytest.approx(w, abs=30)
        assert (await rig.driver.command(w, rig.clock.mono_s())).held
        pcs, _ = await rig.driver.read()
        assert (pcs.setpoint_w.good, pcs.setpoint_enabled.good) == (w, 1)
        assert (pcs.revert_by_map, pcs.revert_after_s.good) == (
            True,
            {"victron-gx": 10, "goodwe-et": 0}.get(rig.twin.name, 60),
        )


async def test_it_is_clipped_to_cap_and_limits(rig: Rig) -> None:
    note = await rig.command(25e3)
    assert "clipped to 9000 W" in note
    assert rig.twin.battery_w == pytest.approx(9000, abs=10)


async def test_the_limits_it_tells_are_those_it_keeps() -> None:
    rig = await Rig(VictronTwin(), store=STORE).start()
    await rig.driver.read()
    rig.driver._values.slow["charge_limit_a"] = rig.driver._values.slow["discharge_limit_a"] = 50.0
    volts = rig.driver._values.sample("battery_v").number("battery_v")
    pcs, battery = rig.driver._pcs(), rig.driver._battery()
    assert volts is not None
    assert battery is not None
    assert (pcs.charge_limit_w.good, pcs.discharge_limit_w.good) == (None, None), "the limits are the battery's"
    assert battery.charge_limit_w.good == battery.discharge_limit_w.good == pytest.approx(50.0 * volts)
    assert (battery.charge_limit_a.good, battery.discharge_limit_a.good) == (50.0, 50.0)
    for ac_w in (50.0 * volts * 0.9, -50.0 * volts / 0.8):  # what the battery gives and takes at the AC terminals
        result = await rig.driver.command(1.001 * ac_w, rig.clock.mono_s())
        assert result.note == ""
        assert result.w == pytest.approx(ac_w, abs=4)
    assert "clipped to" in (await rig.driver.command(6000, rig.clock.mono_s())).note
    await rig.stop()


async def test_a_pcs_without_soc_or_beside_a_bms_of_its_own_tells_the_limits_itself() -> None:
    """Amperes at the battery, as AC watts: discharging gives less, charging takes more."""
    rig = await Rig(SinexcelTwin(), store=STORE, own_bms=True).start()
    pcs, battery = await rig.driver.read()
    assert battery is None
    volts = rig.driver._values.sample("battery_v").number("battery_v") or 0.0
    amps = {
        way: rig.driver._values.sample(f"{way}_limit_a").number(f"{way}_limit_a") or 0.0
        for way in ("charge", "discharge")
    }
    assert min(volts, *amps.values()) > 0
    assert pcs.charge_limit_w.good == pytest.approx(amps["charge"] * volts / 0.8)
    assert pcs.discharge_limit_w.good == pytest.approx(amps["discharge"] * volts * 0.9)
    await rig.stop()
    rig = await Rig(GoodWeTwin(), own_bms=True).start()
    pcs, battery = await rig.driver.read()
    assert battery is None, "another device reads it"
    assert pcs.charge_limit_w.good is not None
    await rig.stop()


async def test_where_only_dc_is_known_ac_is_worked_out_of_it_and_asked_for_as_dc() -> None:
    rig = await Rig(GoodWeTwin(), store=STORE).start()
    place = 35137
    for ac_w, dc_w in ((2700.0, 3000), (-3000.0, -2400)):
        await rig.command(ac_w)
        assert rig.twin.battery_w == dc_w
        rig.twin.main[place], rig.twin.main[place + 1] = 0x7FFF, 0xFFFF  # it does not tell its AC power
        pcs, _ = await rig.driver.read()
        assert (pcs.w.good, pcs.w_estimated) == (pytest.approx(ac_w), True)
        assert pcs.setpoint_w.good == ac_w
    await rig.stop()


async def test_nothing_is_written_before_the_first_order_and_nothing_twice(rig: Rig) -> None:
    await rig.driver.read()
    assert not (await rig.driver.command(None, 0.0)).written
    assert rig.twin.writes() == []
    await rig.command(3000)
    assert rig.twin.writes()
    await rig.command(3000)
    assert rig.twin.writes() == []


async def test_a_setpoint_that_would_stand_for_ever_is_ended_once_nothing_is_asked(rig: Rig) -> None:
    """GoodWe has no watchdog, Sinexcel's is fed by reading; Victron's ends by itself what is not renewed."""
    left = {"goodwe-et": [(247, 16, 47511, [1, 0])], "sinexcel-pws2": [(1, 6, 135, [0])], "victron-gx": []}
    await rig.command(3000)
    rig.twin.writes()
    for at_s in (0.0, 30.0, 59.0):
        await rig.driver.command(None, at_s)
    assert rig.twin.writes() == []
    result = await rig.driver.command(None, 61.0)
    assert rig.twin.writes() == left[rig.twin.name]
    assert ("left: nothing was asked of it for 60 s" in result.note) == bool(left[rig.twin.name])
    for at_s in (62.0, 200.0):
        assert (await rig.driver.command(None, at_s)).note == ""
    assert rig.twin.writes() == [], "once"
    rig.clock.advance(210.0)
    await rig.command(2000)
    assert rig.twin.battery_w == pytest.approx(2000, abs=10)
    rig.twin.writes()
    await rig.driver.command(None, 300.0)
    await rig.driver.command(None, 359.0)
    assert rig.twin.writes() == [], "counted anew"


async def test_what_another_controller_has_set_is_not_ended() -> None:
    rig = await Rig(GoodWeTwin()).start()
    await rig.command(3000)
    await rig.settle()
    await rig.command(3000)
    rig.twin.main[47511] = 2
    rig.twin.obey()
    await rig.settle()
    rig.twin.writes()
    for at_s in (0.0, 61.0, 130.0):
        await rig.driver.command(None, at_s)
    assert rig.twin.writes() == []
    rig.twin.main[35187] = 2  # off the grid: it forms one
    rig.twin.main[47511] = 12
    await rig.settle()
    await rig.driver.command(None, 200.0)
    assert rig.twin.writes() == []
    rig.twin.main[35187] = 1
    await rig.settle()
    await rig.driver.command(None, 270.0)
    assert rig.twin.writes() == [(247, 16, 47511, [1, 0])]
    await rig.stop()


@pytest.mark.parametrize("reconnects", [False, True])
async def test_what_another_controller_has_set_before_ours_was_looked_at_is_not_ended(reconnects: bool) -> None:
    """Nothing was read back yet, or the connection was made anew since."""
    rig = await Rig(GoodWeTwin()).start()
    await rig.command(3000)
    await rig.driver.command(None, 0.0)
    ours, rig.twin.main[47512] = rig.twin.main[47512], 5000
    if reconnects:
        rig.twin.server.toxic = "hang"
        with pytest.raises(Timeout):
            await rig.settle()
        rig.twin.server.toxic = ""
        await rig.settle()
    rig.twin.writes()
    await rig.driver.command(None, 61.0)
    assert rig.twin.writes() == []
    rig.twin.main[47512] = ours
    await rig.driver.command(None, 130.0)
    assert rig.twin.writes() == [(247, 16, 47511, [1, 0])]
    await rig.stop()


async def test_an_end_that_fails_is_tried_again_as_long_afterwards() -> None:
    rig = await Rig(GoodWeTwin()).start()
    await rig.command(3000)
    rig.twin.writes()
    await rig.driver.command(None, 0.0)
    rig.twin.main.refuse[47511] = 4
    with pytest.raises(DeviceException):
        await rig.driver.command(None, 60.0)
    for at_s in (61.0, 119.0):
        assert not (await rig.driver.command(None, at_s)).written
    rig.twin.main.refuse.clear()
    rig.twin.writes()
    await rig.driver.command(None, 121.0)
    assert rig.twin.writes() == [(247, 16, 47511, [1, 0])]
    await rig.stop()


async def test_another_controller_is_seen_told_and_overwritten(rig: Rig) -> None:
    await rig.command(3000)
    await rig.settle()
    await rig.command(3000)
    place = {"victron-gx": (100, 2902), "sinexcel-pws2": (1, 135), "goodwe-et": (247, 47511)}[rig.twin.name]
    rig.twin.devices[place[0]][place[1]] = 2
    rig.twin.obey()
    await rig.settle()
    assert (await rig.driver.read())[0].setpoint_w.good is None
    note = await rig.command(3000)
    assert "the device held 2" in note
    assert "ours was 3000 W: written again" in note
    assert rig.twin.battery_w == pytest.approx(3000, abs=10)


async def test_a_refused_write_is_refused(rig: Rig) -> None:
    await rig.driver.read()
    place = {"victron-gx": (227, 41), "sinexcel-pws2": (1, 135), "goodwe-et": (247, 47512)}[rig.twin.name]
    device = rig.twin.devices[place[0]]
    device.refuse[place[1]] = 1
    with pytest.raises(DeviceException):
        await rig.driver.command(3000, 0.0)
    assert set(device.write_functions) == ({6} if rig.twin.name == "sinexcel-pws2" else {16})  # by no other function
    assert rig.twin.battery_w != 3000
    assert "waiting" in (await rig.driver.command(2000, 0.5)).note
    device.refuse.clear()
    assert (await rig.driver.command(3000, 1.0)).w == 3000


async def test_while_a_step_is_refused_it_is_tried_seldom_and_flash_is_not_worn() -> None:
    rig = await Rig(VictronTwin()).start()
    rig.twin.devices[227].refuse[41] = 3
    tries = 0
    for n in range(300):
        try:
            await rig.driver.command(3000 + n, n / 5)
        except DeviceException:
            tries += 1
    assert tries <= 9
    assert [address for _, _, address, _ in rig.twin.writes()] == [2902]
    rig.twin.devices[227].refuse.clear()
    assert (await rig.driver.command(3000, 70.0)).w == 3000
    await rig.stop()
    assert rig.twin.devices[100][2902] == 1


async def test_the_time_out_of_a_pcs_is_left_as_it_was_found() -> None:
    """Zero: it runs without an EMS. With our time-out it would be a fault a minute after the end."""
    rig = await Rig(SinexcelTwin()).start()
    rig.twin.main[327] = 0
    await rig.command(3000)
    assert rig.twin.main[327] != 0
    await rig.stop()
    assert (rig.twin.main[135], rig.twin.main[327]) == (0, 0)


async def test_busy_is_no_refusal() -> None:
    rig = await Rig(VictronTwin()).start()
    rig.twin.devices[227].refuse[41] = 6
    with pytest.raises(DeviceException):
        await rig.command(3000)
    rig.twin.devices[227].refuse.clear()
    assert (await rig.driver.command(3000, 0.1)).w == 3000
    await rig.stop()


async def test_a_forming_pcs_is_not_written_to_at_all() -> None:
    twin = VictronTwin()
    rig = await Rig(twin).start()
    await rig.command(3000)
    twin.devices[227][29], twin.devices[227][31] = 240, 9  # the AC input is gone, it inverts
    twin.writes()
    with pytest.raises(WrongDevice, match="forms the grid"):
        await rig.driver.release()
    assert "forms the grid" in await rig.command(-3000)
    assert twin.writes() == []
    rig.connect()  # a gateway that starts now, and has read nothing yet
    assert "forms the grid" in (await rig.driver.command(3000, 0.0)).note
    assert twin.writes() == []
    await rig.stop()


async def test_what_forms_the_grid_and_then_does_not_tell_its_mode_is_not_written_to() -> None:
    twin = VictronTwin()
    rig = await Rig(twin).start()
    vebus = twin.devices[227]
    vebus[29], vebus[31] = 240, 9
    await rig.settle()
    vebus.refuse[31] = 2
    assert "formed the grid when it last told its mode" in await rig.command(-3000)
    assert (await rig.driver.read())[0].mode.good is None
    with pytest.raises(WrongDevice, match="forms the grid"):
        await rig.driver.release()
    assert twin.writes() == []
    vebus.refuse.clear()
    vebus[29], vebus[31] = 0, 3
    assert await rig.command(-3000) == ""
    await rig.stop()


async def test_what_is_no_number_is_no_order(rig: Rig) -> None:
    await rig.command(3000)
    rig.twin.writes()
    with pytest.raises(ValueError, match="not a number"):
        await rig.driver.command(float("nan"), rig.clock.mono_s())
    assert rig.twin.writes() == []


async def test_it_is_left_at_the_end_also_after_a_new_connection(rig: Rig) -> None:
    """The new connection has written nothing yet; the device still holds what the one before has written."""
    await rig.command(3000)
    rig.twin.server.toxic = "hang"
    rig.clock.advance(1.0)
    with pytest.raises(Timeout):
        await rig.driver.read()
    rig.twin.server.toxic = ""
    await rig.driver.read()
    await rig.driver.close()
    left = {"victron-gx": (100, 2902, 1), "sinexcel-pws2": (1, 135, 0), "goodwe-et": (247, 47511, 1)}[rig.twin.name]
    assert rig.twin.devices[left[0]][left[1]] == left[2]
    rig.connect()


async def test_after_a_damaged_record_our_own_mode_is_not_what_was_found() -> None:
    rig = Rig(VictronTwin())
    rig.found = FoundModes(b"{")
    await rig.start()
    rig.twin.devices[100][2902] = 3  # left so by a gateway that was killed
    await rig.command(3000)
    await rig.stop()
    assert rig.twin.devices[100][2902] == 1


async def test_a_battery_that_takes_no_current_is_not_charged_whatever_its_voltage() -> None:
    twin = GoodWeTwin()
    rig = await Rig(twin).start()
    await rig.driver.read()
    rig.driver._values.slow["charge_limit_a"] = 0.0
    rig.driver._values.fast["battery_v"] = None
    assert "clipped to 0 W" in (await rig.driver.command(-3000, rig.clock.mono_s())).note
    await rig.stop()


async def test_silence_is_an_error_and_afterwards_everything_is_written_again(rig: Rig) -> None:
    await rig.command(3000)
    rig.twin.server.toxic = "hang"
    rig.clock.advance(1.0)
    with pytest.raises(Timeout):
        await rig.driver.read()
    rig.twin.revert()
    rig.twin.server.toxic = ""
    rig.twin.writes()
    await rig.command(3000)
    assert rig.twin.writes()
    assert rig.twin.battery_w == pytest.approx(3000, abs=10)


async def test_it_is_renewed_in_time(rig: Rig) -> None:
    recipe = load(rig.twin.name).recipe
    assert recipe is not None
    await rig.command(3000)
    rig.twin.writes()
    for _ in range(int(recipe.renew_s) + 1):
        rig.clock.advance(1.0)
        await rig.command(3000)
    assert rig.twin.writes()
    assert rig.twin.battery_w == pytest.approx(3000, abs=10)


async def test_another_device_is_neither_read_nor_written(rig: Rig) -> None:
    await rig.command(3000)
    other = {"victron-gx": (100, 800), "sinexcel-pws2": (1, 17), "goodwe-et": (247, 35003)}[rig.twin.name]
    rig.twin.devices[other[0]][other[1]] = 0x5A5A
    rig.connect()  # the gateway starts anew: what it found before is still known
    rig.twin.writes()
    for _ in range(2):
        with pytest.raises(WrongDevice, match="serial number"):
            await rig.driver.read()
        with pytest.raises(WrongDevice):
            await rig.driver.command(3000, 0.0)
    assert rig.twin.writes() == []


async def test_at_the_end_it_works_by_itself_again(rig: Rig) -> None:
    await rig.command(3000)
    assert rig.found.devices == ("pcs1",)
    await rig.driver.close()
    rig.twin.obey()
    left = {"victron-gx": (100, 2902, 1), "sinexcel-pws2": (1, 135, 0), "goodwe-et": (247, 47511, 1)}[rig.twin.name]
    assert rig.twin.devices[left[0]][left[1]] == left[2]
    assert rig.found.devices == ()


async def test_a_gateway_that_was_killed_is_cleaned_up_after(rig: Rig) -> None:
    await rig.command(3000)
    await rig.link.close()  # no last write
    rig.connect()
    await rig.driver.release()
    left = {"victron-gx": (100, 2902, 1), "sinexcel-pws2": (1, 135, 0), "goodwe-et": (247, 47511, 1)}[rig.twin.name]
    assert rig.twin.devices[left[0]][left[1]] == left[2]


async def test_a_forming_pcs_is_left_alone_at_the_end() -> None:
    rig = await Rig(VictronTwin()).start()
    await rig.command(3000)
    rig.twin.devices[227][29], rig.twin.devices[227][31] = 240, 9  # the AC input is gone, it inverts
    await rig.driver.read()
    rig.twin.writes()
    await rig.stop()
    assert rig.twin.writes() == []


async def test_without_the_owners_word_a_pcs_that_never_reverts_is_not_written() -> None:
    rig = await Rig(GoodWeTwin(), accept_no_revert=False).start()
    assert "set accept_no_revert and cap_w" in await rig.command(3000)
    assert rig.twin.writes() == []
    await rig.stop()


async def test_loads_on_the_output_are_followed() -> None:
    twin = VictronTwin()
    rig = await Rig(twin).start()
    await rig.command(-3000)
    twin.out_w = (3000, 100, 0)
    twin.obey()
    assert twin.battery_w != -3000
    rig.clock.advance(1.0)
    await rig.command(-3000)
    assert twin.battery_w == pytest.approx(-3000, abs=10)
    await rig.stop()


async def test_a_record_of_before_is_not_replaced() -> None:
    rig = Rig(VictronTwin())
    await rig.found.keep("pcs1", FoundMode("victron-gx", "HQ2133ABCD", {"system 2902": (2,)}))
    await rig.start()
    rig.twin.devices[100][2902] = 3  # left so by a gateway that was killed
    await rig.command(3000)
    await rig.stop()
    assert rig.twin.devices[100][2902] == 2


async def test_after_an_exchange_the_serial_number_is_said_and_the_old_record_does_not_count() -> None:
    twin = VictronTwin()
    rig = Rig(twin, serial="HQ2133ABCD")
    await rig.found.keep("pcs1", FoundMode("victron-gx", "OLD", {"system 2902": (2,)}))
    await rig.start()
    await rig.command(3000)
    kept = rig.found.of("pcs1")
    assert kept is not None
    assert (kept.identity, kept.registers) == ("HQ2133ABCD", {"system 2902": (1,)})
    await rig.stop()
    assert twin.devices[100][2902] == 1


async def test_a_device_that_takes_no_write_is_told() -> None:
    rig = await Rig(SinexcelTwin()).start()
    rig.twin.main.on_write = lambda address, values: rig.twin.main.__setitem__(135, 0)
    await rig.driver.read()
    with pytest.raises(ReadbackMismatch, match=r"register 135.*wrote 30, reads back 0"):
        await rig.driver.command(3000, 0.0)
    await rig.stop()
