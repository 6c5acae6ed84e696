"""The PCS driver on the wire: what it reads, in which order it writes, what it does when the device disagrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sunspec_image import address_of, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer
from waiting import until_done

from dispatch.model.readings import Quality
from drivers.clock import VirtualClock
from drivers.config import PcsDevice
from drivers.modbus.errors import ConnectionLost, DeviceError, ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.pcs import PcsDriver

CONFIG = PcsDevice(id="pcs1", battery="bat1", charge_w=60e3, discharge_w=60e3, url="twin", revert_s=60)


class Rig:
    """A PCS on loopback, its driver, and a clock that stands still."""

    def __init__(self, registers: list[int]) -> None:
        self.registers = registers
        self.device = FakeDevice({40000: registers})
        self.server = ToxicServer(self.device)
        self.server.late_s = 1.5
        self.clock = VirtualClock()

    async def start(self) -> Rig:
        await self.server.start()
        link = ModbusLink(self.server.host, self.server.port, deadline_s=1.0, backoff_max_s=0.2, device="pcs1")
        self.driver = PcsDriver(CONFIG, link, 1, self.clock)
        return self

    async def stop(self) -> None:
        await self.driver.close()
        await self.server.stop()

    def at(self, model_id: int, point: str) -> int:
        return address_of(self.registers, model_id, point)

    def take_writes(self) -> list[tuple[str, list[int]]]:
        """The writes since last asked, by the name of their first point."""
        points = ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms")
        names = {self.at(704, point): point for point in points} | {self.at(715, "ControllerHb"): "ControllerHb"}
        writes = [(names[address], values) for address, values in self.device.writes]
        self.device.writes.clear()
        return writes


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(pcs_image()).start()
    yield running
    await running.stop()


async def rig_with(**changes: dict[str, Any]) -> Rig:
    return await Rig(pcs_image(**changes)).start()


def beatless(writes: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    return [w for w in writes if w[0] != "ControllerHb"]


async def test_reads_pcs_and_battery(rig: Rig) -> None:
    pcs, battery = await rig.driver.read()
    assert battery is not None
    assert (pcs.w.good, pcs.hz.good, pcs.v.good, pcs.temp_c.good) == (5000, 50.012, 230.1, 31.5)
    assert (pcs.state.good, pcs.connection.good, pcs.mode.good, pcs.control.good) == (
        "running", "connected", "grid_following", "remote",
    )  # fmt: skip
    assert (pcs.charge_limit_w.good, pcs.discharge_limit_w.good) == (55_000, 60_000)
    assert (pcs.setpoint_w.good, pcs.setpoint_enabled.good, pcs.revert_remaining_s.good) == (0, 0, 0)
    assert battery.id == "bat1"
    assert (battery.soc_pct.good, battery.soh_pct.good, battery.energy_wh.good) == (55.12, 99, 100_000)
    assert battery.charge_limit_w.good == 60 * 700  # AChaMax x V is below WChaRteMax
    assert battery.discharge_limit_w.good == 60_000
    assert (battery.charge_limit_a.good, battery.discharge_limit_a.good) == (60, None)
    assert (battery.state.good, battery.alarms) == ("connected", ("over_temp_warning",))
    assert (battery.contactor.good, battery.isolation.good, battery.cooling.good) == ("closed", "ok", "ok")
    assert (battery.cell_v_min.good, battery.cell_v_max.good) == (3.281, 3.342)


async def test_coldest_and_warmest_module_of_803() -> None:
    """Laid out by hand by the table of model 803 (pysunspec2 makes none without strings): registers 4, 7 and 23."""
    bank = [803, 26, 0, 0, 310, 0xFFFF, 0xFFFF, 275, *[0xFFFF] * 14, 0, 0xFFFF, 0, 0, 0, 0]
    rig = await Rig([*pcs_image()[:-2], *bank, 0xFFFF, 0]).start()
    _, battery = await rig.driver.read()
    assert battery is not None
    assert (battery.temp_c.good, battery.cell_temp_min_c.good, battery.cell_temp_max_c.good) == (31, 27.5, 31)
    await rig.stop()


async def test_events_of_802_and_the_strings_of_803_tell_of_contactor_isolation_and_cooling() -> None:
    """State 1 disconnected; Evt1 bit 20 contactor, 21 fan, 22 ground fault; 803: NStr 2, NStrCon 0 (registers 2, 3)."""
    image = pcs_image(m802={"State": 3, "Evt1": 1 << 20 | 1 << 21 | 1 << 22})
    bank = [803, 26, 2, 0, 310, 0xFFFF, 0xFFFF, 275, *[0xFFFF] * 14, 0, 0xFFFF, 0, 0, 0, 0]
    rig = await Rig([*image[:-2], *bank, 0xFFFF, 0]).start()
    _, battery = await rig.driver.read()
    assert battery is not None
    assert battery.alarms == ("contactor_error", "fan_error", "ground_fault")
    assert (battery.contactor.good, battery.isolation.good, battery.cooling.good) == ("open", "fault", "fault")
    await rig.stop()


async def test_a_tick_costs_three_requests_and_slow_values_keep_their_age(rig: Rig) -> None:
    await rig.driver.read()
    counts = []
    for _ in range(20):
        rig.clock.advance(0.25)
        rig.device.reads.clear()
        pcs, battery = await rig.driver.read()
        counts.append(len(rig.device.reads))
        assert pcs.w.age_s == 0
        assert battery is not None
        assert 0 <= (battery.soc_pct.age_s or 0) <= 1.25
    assert max(counts) == 3
    assert sum(counts) >= 2 * 20 + 12


async def test_safe_write_order_on_the_wire(rig: Rig) -> None:
    await rig.driver.read()
    result = await rig.driver.command(12_340, now_s=10)
    assert (result.written, result.w, result.held) == (True, 12_340, True)
    assert rig.take_writes() == [
        ("ControllerHb", [0, 42]),
        ("WSetRvrt", [0, 0]),
        ("WSetEnaRvrt", [1, 0, 60]),
        ("WSetMod", [1, 0, 1234]),
        ("WSetEna", [1]),
    ]


async def test_writes_on_change_and_renews_at_half_the_timer(rig: Rig) -> None:
    await rig.driver.command(5_000, now_s=0)
    rig.take_writes()
    same = await rig.driver.command(5_004, now_s=5)  # the same in the device's resolution of 10 W
    assert (same.written, same.held) == (False, True)
    assert beatless(rig.take_writes()) == []
    assert (await rig.driver.command(-7_000, now_s=6)).action == "changed"
    assert beatless(rig.take_writes()) == [("WSetMod", [1, 0xFFFF, 0x10000 - 700]), ("WSetEna", [1])]
    assert (await rig.driver.command(-7_000, now_s=29.9)).written is False
    assert (await rig.driver.command(-7_000, now_s=30.0)).action == "renewed"
    assert beatless(rig.take_writes()) == [("WSetRvrtTms", [0, 60]), ("WSetEna", [1])]
    assert (await rig.driver.command(-7_000, now_s=59)).written is False
    assert (await rig.driver.command(2_000, now_s=60)).action == "changed"
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetRvrtTms", "WSetMod", "WSetEna"]


async def test_a_shorter_reversion_than_asked_for_that_was_proven_is_renewed_in_time(rig: Rig) -> None:
    await rig.driver.command(5_000, 0.0)
    rig.driver.renew_within(20.0)
    assert (await rig.driver.command(5_000, 9.0)).action == "nothing"
    assert (await rig.driver.command(5_000, 10.5)).action == "renewed"


async def test_none_sends_nothing_until_a_setpoint_was_given_then_the_heartbeat_goes_on(rig: Rig) -> None:
    nothing = await rig.driver.command(None, now_s=0)
    assert (nothing.written, nothing.held) == (False, False)
    assert rig.server.requests == 0
    await rig.driver.command(1_000, now_s=1)
    rig.take_writes()
    for n in range(1, 26):
        await rig.driver.command(None, now_s=1 + n / 5)
    assert rig.take_writes() == [("ControllerHb", [0, 43 + n]) for n in range(5)]


async def test_beyond_the_devices_limit_is_clipped_and_noted(rig: Rig) -> None:
    result = await rig.driver.command(-80_000, now_s=0)
    assert (result.w, result.held) == (-55_000, False)
    assert "-80000 W clipped to -55000 W" in result.note
    pcs, _ = await rig.driver.read()
    assert (pcs.setpoint_w.good, pcs.setpoint_enabled.good) == (-55_000, 1)


async def test_local_control_is_never_written() -> None:
    rig = await rig_with(m715={"LocRemCtl": 1})
    result = await rig.driver.command(1_000, now_s=0)
    assert (result.action, result.note, result.held) == ("nothing", "pcs1 is in local control: not written", False)
    assert rig.device.writes == []
    await rig.stop()


async def test_device_that_holds_something_else_is_reported_and_not_hammered(rig: Rig) -> None:
    held = rig.at(704, "WSet") + 1

    def derate(address: int, values: list[int]) -> None:
        rig.device[held] = 300

    rig.device.on_write = derate
    with pytest.raises(ReadbackMismatch, match=rf"model 704 WSet, register {held - 1}: wrote 9000, reads back 3000"):
        await rig.driver.command(9_000, now_s=0)
    rig.take_writes()
    waiting = await rig.driver.command(9_000, now_s=0.5)
    assert (waiting.written, waiting.held, waiting.w) == (False, False, None)
    assert "waiting" in waiting.note
    assert beatless(rig.take_writes()) == []
    assert (await rig.driver.command(3_000, now_s=0.6)).written  # another value may go at once
    rig.device.on_write = lambda address, values: None
    assert (await rig.driver.command(9_000, now_s=1.2)).written


async def test_setpoint_that_someone_else_changed_is_written_again_in_full(rig: Rig) -> None:
    await rig.driver.command(4_000, now_s=0)
    rig.take_writes()
    rig.device[rig.at(704, "WSetEna")] = 0
    await rig.driver.read()
    result = await rig.driver.command(4_000, now_s=1)
    assert "the device held 4000 W, disabled; ours was 4000 W" in result.note
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetRvrt", "WSetEnaRvrt", "WSetMod", "WSetEna"]


async def test_a_device_left_to_itself_may_revert_without_a_word(rig: Rig) -> None:
    """Off the grid nothing is asked of it and its timer runs out: at the return that is no other master's doing."""
    await rig.driver.command(4_000, now_s=0)
    await rig.driver.command(None, now_s=10)
    rig.device[rig.at(704, "WSet") + 1] = 0
    await rig.driver.read()
    rig.take_writes()
    back = await rig.driver.command(4_000, now_s=300)
    assert (back.action, back.held, back.note) == ("armed", True, "")
    rig.device[rig.at(704, "WSet") + 1] = 700  # and now somebody else does
    await rig.driver.read()
    assert "the device held 7000 W" in (await rig.driver.command(4_000, now_s=301)).note


async def test_another_master_is_overwritten_at_every_tick_and_each_time_is_noted(rig: Rig) -> None:
    await rig.driver.command(4_000, now_s=0)
    for n in range(1, 6):
        rig.device[rig.at(704, "WSet") + 1] = 700
        await rig.driver.read()
        result = await rig.driver.command(4_000, now_s=0.2 * n)
        assert (result.written, result.held) == (True, True)
        assert result.note == "the device held 7000 W, enabled; ours was 4000 W: written again"


async def test_another_master_that_is_quicker_than_the_readback_is_answered_at_once(rig: Rig) -> None:
    """A value that the device held before is not taken for refused at the first mismatch; at the second it is."""
    await rig.driver.command(4_000, now_s=0)
    held = rig.at(704, "WSet") + 1

    def overwrite(address: int, values: list[int]) -> None:
        rig.device[held] = 700

    rig.device[held] = 700
    await rig.driver.read()
    rig.device.on_write = overwrite
    with pytest.raises(ReadbackMismatch):
        await rig.driver.command(4_000, now_s=0.2)
    with pytest.raises(ReadbackMismatch):
        await rig.driver.command(4_000, now_s=0.4)
    rig.take_writes()
    assert not (await rig.driver.command(4_000, now_s=0.6)).held
    assert beatless(rig.take_writes()) == []
    rig.device.on_write = lambda address, values: None
    assert (await rig.driver.command(4_000, now_s=1.5)).held


async def test_a_setpoint_in_another_mode_is_not_ours(rig: Rig) -> None:
    await rig.driver.command(4_000, now_s=0)
    rig.device[rig.at(704, "WSetMod")] = 0
    await rig.driver.read()
    result = await rig.driver.command(4_000, now_s=0.2)
    assert (result.written, result.held) == (True, True)
    assert "written again" in result.note


@pytest.mark.parametrize(("point", "offset", "value"), [("WSetRvrtTms", 1, 0), ("WSetMod", 0, 0), ("WSetEna", 0, 0)])
async def test_each_point_written_is_read_back(rig: Rig, point: str, offset: int, value: int) -> None:
    """A device that keeps no reversion time, mode or enable does not hold the setpoint as it must."""
    at = rig.at(704, point) + offset

    def drop(address: int, values: list[int]) -> None:
        rig.device[at] = value

    rig.device.on_write = drop
    with pytest.raises(ReadbackMismatch, match=f"model 704 {point}"):
        await rig.driver.command(4_000, now_s=0)
    rig.device.on_write = lambda address, values: None
    assert (await rig.driver.command(4_000, now_s=2)).held


async def test_device_without_a_reversion_timer_says_so() -> None:
    rig = await rig_with(m704={"WSetRvrtTms": None, "WSetEnaRvrt": None, "WSetRvrt": None})
    result = await rig.driver.command(4_000, now_s=0)
    assert (result.action, result.note) == ("armed", "this device has no reversion timer")
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetMod", "WSetEna"]
    assert (await rig.driver.command(4_000, now_s=31)).action == "renewed"
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetMod", "WSetEna"]
    assert (await rig.driver.command(4_000, now_s=32)).written is False
    await rig.stop()


async def test_after_a_reconnect_the_models_are_found_and_the_timer_armed_again(rig: Rig) -> None:
    await rig.driver.command(4_000, now_s=0)
    rig.take_writes()
    await rig.server.stop()
    with pytest.raises(ConnectionLost):
        await rig.driver.read()
    # it comes back as another unit: one model more, so everything has moved
    moved = pcs_image()
    rig.registers = image(model_words(1, Mn="Other"), model_words(120), moved[2 + 68 : -2])
    rig.device.registers = {40000 + n: w for n, w in enumerate(rig.registers)}
    await rig.server.start()
    result = await until_done(lambda: rig.driver.command(4_000, now_s=2), DeviceError)
    assert result.action == "armed"
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetRvrt", "WSetEnaRvrt", "WSetMod", "WSetEna"]


async def test_refused_model_grows_stale_and_holds_up_nobody(rig: Rig) -> None:
    await rig.driver.read()
    rig.device.refuse[rig.at(713, "SoC")] = 6
    for _ in range(24):
        rig.clock.advance(0.25)
        pcs, battery = await rig.driver.read()
    assert battery is not None
    assert battery.soc_pct.quality is Quality.STALE
    assert battery.soc_pct.age_s == pytest.approx(6, abs=0.3)
    assert battery.charge_limit_w.quality is Quality.GOOD
    assert pcs.w.quality is Quality.GOOD


async def test_not_implemented_values_are_missing() -> None:
    rig = await rig_with(m701={"W": None, "TmpCab": None}, m713={"SoC": None}, m802={"SoC": None, "AChaMax": None})
    pcs, battery = await rig.driver.read()
    assert battery is not None
    assert pcs.w.quality is pcs.temp_c.quality is battery.soc_pct.quality is Quality.MISSING
    assert battery.charge_limit_w.good == 50_000
    await rig.stop()


@pytest.mark.parametrize("hundredths", [10_000, 10_040, 10_100, 10_500, 11_000])
async def test_a_full_battery_may_report_more_than_100_pct(hundredths: int) -> None:
    rig = await rig_with(m713={"SoC": hundredths}, m802={"SoC": None})
    _, battery = await rig.driver.read()
    assert battery is not None
    assert battery.soc_pct.good == 100.0
    await rig.stop()
    rig = await rig_with(m713={"SoC": None}, m802={"SoC": hundredths // 10})
    _, battery = await rig.driver.read()
    assert battery is not None
    assert battery.soc_pct.good == 100.0
    await rig.stop()


async def test_impossible_soc_is_missing() -> None:
    rig = await rig_with(m713={"SoC": 12_000}, m802={"SoC": None})
    _, battery = await rig.driver.read()
    assert battery is not None
    assert battery.soc_pct.quality is Quality.MISSING
    await rig.stop()


@pytest.mark.parametrize("toxic", ["hang", "late", "short", "wrong_tid", "wrong_function", "exception"])
async def test_toxic_write_leaves_nothing_taken_for_granted(rig: Rig, toxic: str) -> None:
    await rig.driver.command(4_000, now_s=0)
    rig.server.toxic = toxic
    with pytest.raises(DeviceError):
        await rig.driver.command(5_000, now_s=0.5)
    rig.server.toxic = ""
    rig.take_writes()
    result = await until_done(lambda: rig.driver.command(5_000, now_s=2), DeviceError)
    assert result.written
    assert [w[0] for w in beatless(rig.take_writes())] == ["WSetRvrt", "WSetEnaRvrt", "WSetMod", "WSetEna"]


async def test_device_that_takes_no_setpoint() -> None:
    rig = await Rig(image(model_words(1), model_words(701, W=1))).start()
    _, battery = await rig.driver.read()
    assert battery is None
    with pytest.raises(WrongDevice, match="no SunSpec model 704, only 1, 701"):
        await rig.driver.command(1_000, now_s=0)
    await rig.stop()


@pytest.mark.parametrize("seconds", [0, 20])
async def test_a_timer_that_somebody_else_stops_or_shortens_is_written_again(rig: Rig, seconds: int) -> None:
    await rig.driver.command(4_000, now_s=0)
    rig.take_writes()
    rig.device[rig.at(704, "WSetRvrtTms") + 1] = seconds
    await rig.driver.read()
    assert (await rig.driver.command(4_000, now_s=1)).action == "renewed"
    assert beatless(rig.take_writes()) == [("WSetRvrtTms", [0, 60]), ("WSetEna", [1])]
