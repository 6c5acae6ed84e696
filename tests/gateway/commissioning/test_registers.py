"""The registers of devices as a person sees them: those read anyway, decoded and raw, and others read once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from devices_on_loopback import BASE, Loopback
from sunspec_image import address_of, pcs_image

from gateway.commissioning.device_access import opened
from gateway.errors import CommandRefused
from gateway.register_access import RegisterAccess


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Loopback]:
    running = Loopback(tmp_path)
    async with running.server:
        yield running


async def test_what_was_read_is_shown_with_its_meaning_and_costs_no_request(devices: Loopback) -> None:
    async with opened(devices.site) as (drivers, _):
        access = RegisterAccess(drivers)
        assert access.last("pcs1") == []
        for driver in drivers:
            await driver.read()
        asked = len(devices.units.asked)
        rows = {row.name: row for row in access.last("pcs1") if row.name}
        assert len(devices.units.asked) == asked
        w = rows["701.W"]
        assert (w.value, w.quantity, w.raw) == (5000, "W", (500,))
        assert (w.unit, w.function, w.address) == (1, 3, address_of(pcs_image(), 701, "W"))
        assert 0 <= w.age_s < 20
        assert rows["1.Mn"].value == "Stranger"
        assert rows["701.InvSt"].value == "running"
        assert rows["713.SoC"].value == pytest.approx(55.12)
        meter = {row.name: row for row in access.last("grid") if row.name}
        assert (meter["203.W"].value, meter["203.PhVphA"].value) == (16_000, pytest.approx(230.5))


async def test_every_word_is_there_once(devices: Loopback) -> None:
    async with opened(devices.site) as (drivers, _):
        for driver in drivers:
            await driver.read()
        rows = RegisterAccess(drivers).last("pcs1")
    assert [row.name for row in rows if row.address == BASE] == [""], "the mark SunS has no name"
    seen: list[int] = [row.address + n for row in rows for n in range(len(row.raw))]
    assert sorted(set(seen)) == seen


async def test_other_registers_are_read_once_and_refusals_are_told(devices: Loopback) -> None:
    async with opened(devices.site) as (drivers, _):
        access = RegisterAccess(drivers)
        found = await access.read("grid", BASE, 2)
        assert [(row.address, row.raw, row.name) for row in found] == [(BASE, (0x5375,), ""), (BASE + 1, (0x6E53,), "")]
        with pytest.raises(CommandRefused, match="exception 2, illegal data address"):
            await access.read("grid", 5, 1)
        for address, count in ((-1, 1), (0, 0), (0, 126), (65_535, 2)):
            with pytest.raises(ValueError, match="expected"):
                await access.read("grid", address, count)
        with pytest.raises(ValueError, match="function 5"):
            await access.read("grid", BASE, 1, function=5)
        with pytest.raises(CommandRefused, match="no device 'x'; the site file has grid, load, pcs1, pv1"):
            access.last("x")
