"""`skerry devices list`, `scan` and `read` on devices of a loopback server, while no gateway runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from devices_on_loopback import BASE, Loopback
from toxic import FakeDevice

from console.cli.main import run
from gateway.claims import Claims, site_claim
from gateway.commissioning.scan import UNKNOWN, sunspec_kind

MAPPED, STRANGER = 5, 6  # units of devices that are no SunSpec


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Loopback]:
    running = Loopback(tmp_path)
    running.units.devices[MAPPED] = FakeDevice({0x0B: [1650]}, unit=MAPPED)  # identity of the map, as its source says
    running.units.devices[STRANGER] = FakeDevice({7: [1, 2, 3]}, unit=STRANGER)
    async with running.server:
        assert running.site.path == running.path, "the site file is written"
        yield running


async def skerry(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


async def test_scan_says_what_each_unit_is(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"{devices.server.host}:{devices.server.port}"
    code = await skerry("devices", "scan", where, "--units", "1-2,4-6", "--deadline", "20", "--json")
    units = {one["unit"]: one for one in json.loads(capsys.readouterr().out)}
    assert code == 0
    kinds = {1: "pcs", 2: "meter", 4: "pv", MAPPED: "meter", STRANGER: ""}
    assert {unit: one["kind"] for unit, one in units.items()} == kinds
    assert units[MAPPED]["map"] == "carlo-gavazzi-em24-e1"
    assert units[2]["found"] == "Meters M3 88, firmware 2.1, SunSpec 1, 203"
    assert units[STRANGER]["found"] == UNKNOWN
    every = (devices.pcs, devices.grid, devices.pv, devices.units.devices[STRANGER])
    assert [write for device in every for write in device.writes] == []
    assert await skerry("devices", "scan", where, "--units", "2", "--deadline", "20") == 0
    assert f'[[meter]] url = "tcp://{where}" unit = 2 serial = "88"' in capsys.readouterr().out


async def test_scan_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert await skerry("devices", "scan", "127.0.0.1:1", "--units", "1") == 1
    assert "cannot connect" in capsys.readouterr().err
    for units in ("a", "1-", "300", ""):
        assert await skerry("devices", "scan", "127.0.0.1:1", "--units", units) == 2
    assert await skerry("devices", "scan", "127.0.0.1:x") == 2


async def test_read_shows_values_and_registers(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    site = str(devices.path)
    assert await skerry("devices", "read", site, "pcs1", "701.w") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if " 701.W " in line)
    assert line.split()[-2:] == ["5000", "W"]
    assert await skerry("devices", "read", site, "grid", str(BASE), "2") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["2", str(BASE), "5375", "21365"],
        ["2", str(BASE + 1), "6E53", "28243"],
    ]
    assert await skerry("devices", "read", site, "grid", hex(BASE), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["raw"] == [0x5375]
    for arguments, said in (
        (("grid", "7"), "exception 2, illegal data address"),
        (("nothing",), "no device 'nothing'; the site file has grid, load, pcs1, pv1"),
        (("grid", "no-such-value"), "no value with 'no-such-value' in its name"),
        (("grid", "70000"), "expected 1..125 of 0..65535"),
    ):
        assert await skerry("devices", "read", site, *arguments) == 1
        assert said in capsys.readouterr().err
    assert devices.grid.writes == devices.pcs.writes == []


async def test_read_says_which_serial_number_answers(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{devices.site.path.read_text()}serial = 'PV-7'\n"  # of the last section, pv1
    devices.path.write_text(text)
    assert await skerry("devices", "read", str(devices.path), "pv1") == 1
    assert "tells serial number 4711, expected serial number PV-7: not read" in capsys.readouterr().err
    devices.path.write_text(text.replace("PV-7", "4711"))
    assert await skerry("devices", "read", str(devices.path), "pv1", "1.sn") == 0
    assert capsys.readouterr().out.split()[-2:] == ["1.SN", "4711"]


async def test_a_site_that_a_gateway_holds_is_not_read(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    claims = Claims()
    claims.take(site_claim(devices.path))
    try:
        assert await skerry("devices", "read", str(devices.path), "grid") == 5
    finally:
        claims.release()
    assert "a gateway already runs on this machine" in capsys.readouterr().err
    assert devices.server.connections == 0


async def test_list_is_of_the_site_file(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    assert await skerry("devices", "list", str(devices.path)) == 0
    url = f"tcp://{devices.server.host}:{devices.server.port}"
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [["grid", "meter", url], ["load", "meter", url], ["pcs1", "pcs", url], ["pv1", "pv", url]]
    assert await skerry("devices", "list", str(devices.path), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["health"] is None


@pytest.mark.parametrize(
    ("models", "kind"),
    [
        ((1, 203), "meter"),
        ((1, 701, 702, 704, 713, 802), "pcs"),
        ((1, 103, 120, 123, 160), "pv"),
        ((1, 103, 124), "pcs"),
        ((1, 701), "pv"),
        ((1, 103, 203), "pv"),
        ((1, 64_201), ""),
    ],
)
def test_the_section_of_a_chain(models: tuple[int, ...], kind: str) -> None:
    assert sunspec_kind(models) == kind
