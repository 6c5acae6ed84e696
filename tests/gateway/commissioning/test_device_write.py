"""`skerry devices write`: only what is in the list, by an engineer, on record before it is done, read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from devices_on_loopback import BASE, Loopback
from sunspec_image import address_of, pcs_image

from console.cli.main import run
from drivers.sunspec.model import model
from drivers.sunspec.writable import SETPOINTS, SETTINGS
from gateway.commissioning.device_access import opened
from gateway.errors import CommandRefused
from gateway.register_access import RegisterAccess, parsed_value
from storage.audit_reader import rows

W_MAX = address_of(pcs_image(), 702, "WMax")
NEVER = ("OpCtl", "Conn", "AntiIslEna", "DA", "LocRemCtl", "AlarmReset", "ES", "PFWInj")


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Loopback]:
    running = Loopback(tmp_path)
    async with running.server:
        assert running.site.path == running.path, "the site file is written"
        yield running


async def write(devices: Loopback, assignment: str, *more: str, device: str = "pcs1") -> int:
    arguments = ["devices", "write", str(devices.path), device, assignment, "--reason", "limit of the feeder", *more]
    return await asyncio.to_thread(run, arguments)


def on_record(devices: Loopback) -> list[dict[str, Any]]:
    return rows(devices.path.parent / "state", 10)


async def test_a_limit_is_written_read_back_and_on_record(
    devices: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await write(devices, "702.WMax=50000", "--yes") == 0
    assert capsys.readouterr().out == "702.WMax was 60000, is 50000\n"
    assert devices.pcs.writes == [(W_MAX, [500])]
    intent, result = (row for row in on_record(devices) if row["command"] == "device.write")
    assert (intent["kind"], intent["text"]) == ("intent", "pcs1: 702.WMax = 50000.0, no gateway runs")
    assert intent["reason"] == "limit of the feeder"
    assert (result["outcome"], result["text"]) == ("written", "pcs1: 702.WMax was 60000, is 50000")


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("pcs1", "715.OpCtl"),
        ("pcs1", "701.W"),
        ("pcs1", "1.DA"),
        ("pcs1", str(W_MAX)),
        ("grid", "203.W"),
        ("pv1", "103.W"),
        ("pcs1", "123.WMaxLimPct"),  # in the list, and the device lacks the model
    ],
)
async def test_whatever_is_not_in_the_list_is_refused(
    devices: Loopback, capsys: pytest.CaptureFixture[str], device: str, name: str
) -> None:
    assert await write(devices, f"{name}=1", "--yes", device=device) == 1
    assert f"{name} of {device} is not written by hand" in capsys.readouterr().err
    every = (devices.pcs, devices.grid, devices.pv)
    assert [write for device in every for write in device.writes] == []


def test_the_list_holds_points_of_power_only() -> None:
    listed = [(id, name) for lists in (SETTINGS, SETPOINTS) for id, names in lists.items() for name in names]
    assert {name for _, name in listed}.isdisjoint(NEVER)
    assert {id for id, _ in listed} == {702, 704, 123, 124}
    for id, name in listed:
        point = model(id).points[name]  # it exists
        assert point.type in ("uint16", "int16", "uint32", "int32", "enum16"), f"{id}.{name} is a {point.type}"


async def test_a_value_that_does_not_fit_is_refused_and_on_record(
    devices: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("1e9", "nan", "much"):
        assert await write(devices, f"702.WMax={value}", "--yes") == 1
        assert "702.WMax" in on_record(devices)[-1]["text"]
        assert on_record(devices)[-1]["outcome"] == "failed"
    assert devices.pcs.writes == []
    assert "WMax" in capsys.readouterr().err


async def test_a_device_that_does_not_keep_it_is_told(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    devices.pcs.on_write = lambda address, values: devices.pcs.registers.update({W_MAX: 600})
    assert await write(devices, "702.WMax=50000", "--yes") == 1
    assert "wrote 50000.0, reads back 60000" in capsys.readouterr().err


async def test_usage(devices: Loopback) -> None:
    for assignment in ("702.WMax", "=1", "702.WMax="):
        assert await write(devices, assignment, "--yes") == 2
    assert await write(devices, "702.WMax=1", device="nothing") == 1
    assert not (devices.path.parent / "state").exists()


async def test_the_name_of_the_device_confirms(
    devices: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["pcs2", "pcs1"]
    monkeypatch.setattr("click.prompt", lambda *_, **__: typed.pop(0))
    assert await write(devices, "702.WMax=50000") == 130
    assert devices.pcs.writes == []
    assert await write(devices, "702.WMax=50000", "--json") == 0
    assert json.loads(capsys.readouterr().out)["after"] == 50_000
    assert len(devices.pcs.writes) == 1


async def test_beside_a_gateway_no_setpoint_is_written(devices: Loopback) -> None:
    devices.pcs.replace(BASE, pcs_image())
    async with opened(devices.site) as (drivers, _):
        access = RegisterAccess(drivers)
        for driver in drivers:
            await driver.read()
        with pytest.raises(CommandRefused, match="is commanded by the gateway; give it an order instead"):
            await access.write("pcs1", "704.WSet", 5000.0, setpoints=False)
        written = await access.write("pcs1", "702.WMax", 50_000.0, setpoints=False)
        assert (written.before, written.after) == (60_000, 50_000)
        written = await access.write("pcs1", "704.WSetMod", "watts", setpoints=True)
        assert written.after == "watts"


def test_values_as_typed() -> None:
    assert (parsed_value("5e4"), parsed_value("-1"), parsed_value(" Watts ")) == (50_000.0, -1.0, "watts")
