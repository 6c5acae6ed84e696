"""Every PCS family of the twin on the wire, commanded by its driver and by a stranger, pymodbus' client.

The stranger knows what `pcs_cases` says, which is taken from the sources. Site and driver share one clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from pcs_cases import (
    CASES,
    HUAWEI,
    SINEXCEL,
    SUNGROW,
    SUNNY_BOY,
    SUNNY_ISLAND,
    SUNSPEC,
    VICTRON,
    Case,
    Write,
    seen,
    u32,
    written,
)
from pcs_rig import OWN_LOAD_W, Rig, on
from twin_sites import BATTERY

from dispatch.config.battery_ratings import ac_of_dc_w
from drivers.maps.loader import bundled, load
from drivers.maps.reader import MapReader
from drivers.maps.schema import DEVICE
from drivers.modbus.errors import DeviceException, Timeout, WrongDevice
from drivers.twin.config import PCS_FAMILIES
from drivers.twin.faults import Fault
from drivers.twin.mapped_pcs import FAMILIES
from drivers.twin.server import TwinServer


@pytest.fixture(params=CASES, ids=lambda case: case.map)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with on(request.param) as running:
        yield running


@pytest.fixture(params=[*CASES, *SUNSPEC], ids=lambda case: case.map or case.personality)
async def any_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Also of the personalities that speak SunSpec."""
    async with on(request.param) as running:
        yield running


def test_every_family_has_a_case_and_may_be_named_in_a_site_file() -> None:
    assert [case.map for case in CASES] == list(FAMILIES) == list(PCS_FAMILIES)
    assert all(all(family.behaviour) for family in FAMILIES.values())


def test_every_map_that_commands_a_pcs_can_be_tried_on_the_twin() -> None:
    assert set(FAMILIES) == {name for name in bundled() if load(name).recipe is not None}


async def test_both_signs_and_zero_are_followed_and_measured(any_rig: Rig) -> None:
    rig = any_rig
    assert rig.w == rig.own_w
    for w in (6_000.0, -4_500.0, 0.0, -300.0, 3_000.0):
        await rig.command(w)
        assert rig.w == pytest.approx(w, abs=3)
        pcs, _ = await rig.driver.read()
        assert pcs.w.good == pytest.approx(w, abs=30)
        result = await rig.driver.command(w, rig.clock.mono_s())
        assert result.w == w
    assert (pcs.revert_after_s.good or 0) == rig.reverts_s


async def test_a_stranger_commands_it_as_its_source_says(rig: Rig) -> None:
    for w in (6_000, -4_500, 0, 3_000):
        for write in rig.case.order(w):
            assert await written(rig.stranger, rig.case, write) == 0
        await rig.passes(2.0)
        ac_w = ac_of_dc_w(BATTERY, w) if rig.case.takes_dc else w
        assert rig.w == pytest.approx(ac_w, abs=3)
    refused = [await written(rig.stranger, rig.case, write) for write, _ in rig.case.refused]
    assert refused == [code for _, code in rig.case.refused]
    await rig.passes(2.0)
    assert rig.w == pytest.approx(ac_w, abs=3)


async def test_in_the_wrong_mode_it_takes_an_order_and_does_nothing(rig: Rig) -> None:
    for write in rig.case.inert:
        assert await written(rig.stranger, rig.case, write) == 0
    await rig.passes(2.0)
    assert rig.w == rig.own_w


@pytest.mark.parametrize("w", [4_000.0, -6_000.0])
async def test_driver_and_stranger_read_the_same_in_every_value(rig: Rig, w: float) -> None:
    await rig.command(w)
    device_map = load(rig.case.map)
    units = {**device_map.units, **rig.config.units, DEVICE: rig.case.unit}
    ours = await MapReader(rig.driver.link, units, device_map).read("fast", "slow", "once")
    ours = {name: value for name, value in ours.items() if not name.startswith("x_")}
    assert ours.keys() == rig.case.values.keys()
    for name, at in rig.case.values.items():
        theirs = await seen(rig.stranger, rig.case, at)
        assert ours[name] == (pytest.approx(theirs) if isinstance(theirs, (int, float)) else theirs), name
    pcs, _ = await rig.driver.read()
    assert pcs.w.good == pytest.approx(w, abs=30)


async def test_what_is_refused_in_local_control_is_an_error_and_later_works(rig: Rig) -> None:
    await rig.driver.read()
    rig.site.pcs[0].local = True
    with pytest.raises(DeviceException):
        await rig.driver.command(5_000.0, rig.clock.mono_s())
    await rig.passes(1.0)
    assert rig.w == rig.own_w
    rig.site.pcs[0].local = False
    await rig.passes(15.0)
    await rig.command(5_000.0)
    assert rig.w == pytest.approx(5_000, abs=3)


async def test_while_the_device_is_silent_it_is_an_error_and_afterwards_everything_is_written_again(
    any_rig: Rig,
) -> None:
    rig = any_rig
    await rig.command(5_000.0)
    link = rig.driver.link
    link._caller = link._caller._replace(deadline_s=0.02)
    rig.site.faults.put(Fault("hung", "pcs1"))
    with pytest.raises(Timeout):
        await rig.driver.read()
    rig.site.faults.clear()
    link._caller = link._caller._replace(deadline_s=5.0)
    rig.site.pcs[0].control.enable(False)  # it has restarted meanwhile
    await rig.passes(1.0)
    await rig.command(5_000.0)
    assert rig.w == pytest.approx(5_000, abs=3)


async def test_a_silent_gateway_ends_the_setpoint_where_the_map_says_so_and_nowhere_else(any_rig: Rig) -> None:
    rig = any_rig
    case = rig.case
    await rig.command(5_000.0)
    for _ in range(13):  # as long as the gateway works, it stays
        await rig.passes(10.0)
        await rig.driver.read()
        await rig.driver.command(5_000.0, rig.clock.mono_s())
    assert rig.w == pytest.approx(5_000, abs=3)
    await rig.passes((case.reverts_s or 1_800.0) - rig.renewed_within_s - 1.0, 5.0)
    assert rig.w == pytest.approx(5_000, abs=3)
    await rig.passes(rig.renewed_within_s + 3.0)
    if not case.reverts_s:
        assert rig.w == pytest.approx(5_000, abs=3)
    else:
        assert rig.w == (rig.own_w if case.silent_w is None else case.silent_w)


async def test_without_the_owners_word_a_device_that_never_reverts_is_not_commanded(rig: Rig) -> None:
    rig.config = msgspec.structs.replace(rig.config, accept_no_revert=False)
    rig.connect()
    await rig.driver.read()
    result = await rig.driver.command(5_000.0, rig.clock.mono_s())
    assert (result.w is None) == (not rig.case.reverts_s)
    assert ("accept_no_revert" in result.note) == (not rig.case.reverts_s)


async def test_after_a_restart_of_the_device_everything_is_written_again(any_rig: Rig) -> None:
    rig = any_rig
    await rig.command(5_000.0)
    await rig.switch_off()
    await rig.switch_on()
    await rig.passes(30.0)  # longer than the back-off
    assert rig.w == rig.own_w
    await rig.command(5_000.0)
    assert rig.w == pytest.approx(5_000, abs=3)


async def test_another_device_is_neither_read_nor_commanded(rig: Rig) -> None:
    await rig.command(5_000.0)
    await rig.switch_off()
    await rig.switch_on()
    await rig.server.stop()
    name, register = rig.case.identity
    image = rig.images[rig.case.units.get(name, rig.case.unit)]
    image.start[register - image.base] ^= 0x0101
    rig.server = TwinServer({unit: ("pcs1", each) for unit, each in rig.images.items()}, rig.site)
    await rig.server.start(rig.port)
    await rig.passes(30.0)
    with pytest.raises(WrongDevice):
        await rig.driver.read()
    with pytest.raises(WrongDevice):
        await rig.driver.command(5_000.0, rig.clock.mono_s())
    assert rig.site.written == {}


async def test_at_the_end_it_is_as_it_was_found(rig: Rig) -> None:
    """By the gateway that ends, and after one that was killed."""
    for killed in (False, True):
        await rig.command(-5_000.0)
        assert rig.w == pytest.approx(-5_000, abs=3)
        await rig.end(killed=killed)
        await rig.passes(rig.case.left_after_s)
        assert await seen(rig.stranger, rig.case, rig.case.own) == rig.case.own_raw
        assert rig.w == rig.own_w


@pytest.mark.parametrize(
    ("case", "other"),
    [(VICTRON, Write(16, 2902, [2])), (SINEXCEL, Write(6, 327, [90]))],
    ids=lambda each: each.map if isinstance(each, Case) else "",
)
@pytest.mark.parametrize("killed", [False, True])
async def test_a_mode_that_is_not_the_delivered_one_is_restored_too(case: Case, other: Write, killed: bool) -> None:
    """Whether the gateway ends, or was killed and `skerry devices release` cleans up after it."""
    async with on(case) as rig:
        assert await written(rig.stranger, case, other) == 0
        await rig.command(-5_000.0)
        mode = case.own._replace(address=other.address)
        assert await seen(rig.stranger, case, mode) != other.words[0]
        await rig.end(killed=killed)
        await rig.passes(3.0)
        assert await seen(rig.stranger, case, mode) == other.words[0]


async def test_a_device_that_takes_orders_and_does_not_follow_shows_it_in_its_power(rig: Rig) -> None:
    rig.family.obeys = False
    await rig.command(-5_000.0)
    pcs, _ = await rig.driver.read()
    assert pcs.w.good != pytest.approx(-5_000, abs=500)


@pytest.mark.parametrize("case", [case for case in CASES if "pv_w" in case.values], ids=lambda case: case.map)
async def test_the_pv_of_a_hybrid_is_no_part_of_its_battery(case: Case) -> None:
    """A FoxESS is told the power of both, the others that of the battery."""
    async with on(case, sun=True) as rig:
        for w in (4_000.0, -6_000.0, 0.0):
            await rig.command(w)
            await rig.driver.command(w, rig.clock.mono_s())  # the PV has changed since
            await rig.passes(1.0)
            pcs, _ = await rig.driver.read()
            panels_w = rig.site.pv[0].w
            assert panels_w > 1_000
            assert await seen(rig.stranger, case, case.values["pv_w"]) == pytest.approx(panels_w, abs=1)
            assert pcs.w.good == pytest.approx(w, abs=300)  # the sun moves on between reading and order
            assert rig.site.grid_w == pytest.approx(OWN_LOAD_W - rig.w - panels_w, abs=1)


async def test_a_sinexcel_that_hears_nothing_is_in_fault_until_a_person_clears_it() -> None:
    async with on(SINEXCEL) as rig:
        await rig.command(5_000.0)
        await rig.passes(50.0)
        assert await seen(rig.stranger, SINEXCEL, SINEXCEL.values["w"]) == 5_000  # reading feeds it, too
        await rig.passes(50.0)
        assert rig.w == pytest.approx(5_000, abs=3)
        await rig.passes(20.0)
        assert rig.w == 0
        assert (await rig.driver.read())[0].state.good == "fault"
        assert await seen(rig.stranger, SINEXCEL, SINEXCEL.values["state"]) == "fault"
        await rig.command(5_000.0)
        assert rig.w == 0
        assert await written(rig.stranger, SINEXCEL, Write(6, 650, [1])) == 0  # start: not before the fault is cleared
        await rig.passes(5.0)
        assert rig.w == 0
        for register in (652, 650):
            assert await written(rig.stranger, SINEXCEL, Write(6, register, [1])) == 0
        await rig.passes(5.0)
        assert rig.w == pytest.approx(5_000, abs=3)


async def test_a_huawei_that_may_not_charge_from_the_grid_charges_what_the_sun_gives() -> None:
    async with on(HUAWEI) as rig:
        assert await written(rig.stranger, HUAWEI, Write(6, 47087, [0])) == 0
        await rig.command(-5_000.0)
        assert rig.w == 0


async def test_the_heartbeat_of_a_sungrow_counts_down_and_its_forced_mode_has_none() -> None:
    async with on(SUNGROW) as rig:
        left = SUNGROW.own._replace(address=13079)
        await rig.command(5_000.0)
        await rig.passes(30.0)
        assert await seen(rig.stranger, SUNGROW, left) == 28
        assert await seen(rig.stranger, SUNGROW, SUNGROW.own) == 3
        await rig.passes(30.0)
        assert [await seen(rig.stranger, SUNGROW, at) for at in (left, SUNGROW.own)] == [0, 0]
        assert await written(rig.stranger, SUNGROW, Write(6, 13049, [3])) == 0  # without a heartbeat
        await rig.passes(2.0)
        assert await seen(rig.stranger, SUNGROW, SUNGROW.own) == 0
        for write in (Write(6, 13049, [2]), Write(6, 13050, [0xAA]), Write(6, 13051, [4_000])):
            assert await written(rig.stranger, SUNGROW, write) == 0
        await rig.passes(600.0, 5.0)
        assert rig.w == pytest.approx(ac_of_dc_w(BATTERY, -4_000.0), abs=3)


@pytest.mark.parametrize("case", [SUNNY_BOY, SUNNY_ISLAND], ids=lambda case: case.map)
async def test_an_sma_with_a_fallback_set_at_commissioning_uses_it(case: Case) -> None:
    async with on(case, silence_s=60) as rig:
        for w in (5_000, 0):
            for write in case.order(w):
                assert await written(rig.stranger, case, write) == 0
            await rig.passes(59.0)
            assert rig.w == pytest.approx(w, abs=3)
            await rig.passes(2.0)
            assert rig.w == rig.own_w


async def test_what_an_sma_only_takes_cannot_be_read() -> None:
    async with on(SUNNY_ISLAND) as rig:
        answer = await rig.stranger.read_holding_registers(40149, count=2, device_id=3)
        assert answer.exception_code == 2
        assert await written(rig.stranger, SUNNY_ISLAND, Write(16, 40149, u32(0))) == 0
