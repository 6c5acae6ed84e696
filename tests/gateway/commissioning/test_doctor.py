"""`skerry doctor` on devices of a loopback server: what it finds, what it says, and that it writes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import small_gateway
from devices_on_loopback import BASE, TEXT, Loopback
from fake_broker import FakeBroker
from proven_pcs import PROOF
from sunspec_image import pcs_image

from console.cli.main import run
from dispatch.model.proofs import Proofs
from gateway.claims import Claims, site_claim
from gateway.commissioning import doctor
from gateway.commissioning.doctor import Examination, examine
from gateway.commissioning.findings import Level
from gateway.commissioning.output_findings import output_findings
from gateway.site.output_sections import MetricsConfig, MqttConfig, NotifyConfig
from storage import proofs


@pytest.fixture
async def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loopback]:
    monkeypatch.setattr(doctor, "EVERY_S", 0.02)
    monkeypatch.setattr(doctor, "machine_findings", lambda site: ())
    running = Loopback(tmp_path)
    async with running.server:
        yield running


async def examined(devices: Loopback) -> Examination:
    return await asyncio.to_thread(examine, devices.site)


def codes(found: Examination, *levels: Level) -> set[tuple[str, str]]:
    return {(f.subject, f.code) for f in found.findings if f.level in levels}


async def test_a_site_that_is_right_has_no_fault_and_is_not_written_to(devices: Loopback) -> None:
    found = await examined(devices)
    assert found.source == "devices"
    assert codes(found, Level.FAULT, Level.WARNING) - {("grid", "tick")} == {("bat1", "alarms")}
    passed = codes(found, Level.OK)
    assert {("site", "balance"), ("bat1", "soc"), ("grid", "voltage"), ("pcs1", "identity")} <= passed
    texts = {f.text for f in found.findings if f.code == "identity"}
    assert 'Meters M3 88, firmware 2.1; to accept no other, add serial = "88"' in texts
    every = (devices.pcs, devices.grid, devices.load, devices.pv)
    assert [write for device in every for write in device.writes] == []
    assert devices.server.connections == 1, "the devices take one connection"


async def test_outputs_that_do_not_reach_anybody_are_named(devices: Loopback) -> None:
    """Nothing listens at port 1; the page's address is free, or is not where a gateway is said to run."""
    mqtt, metrics = MqttConfig(host="127.0.0.1", port=1), MetricsConfig(listen="127.0.0.1:1")
    site = msgspec.structs.replace(devices.site, mqtt=mqtt, metrics=metrics)
    found = await asyncio.to_thread(lambda: [*output_findings(site, gateway_runs=True)])
    assert [(f.subject, f.level) for f in found] == [("metrics", Level.WARNING), ("mqtt", Level.WARNING)]
    assert all("refused" in f.text and f.advice for f in found)
    async with FakeBroker() as broker:
        at = msgspec.structs.replace(mqtt, port=broker.port)
        site = msgspec.structs.replace(site, mqtt=at, metrics=msgspec.structs.replace(metrics, listen="127.0.0.1:0"))
        with pytest.raises(ValueError, match="port 0"):
            _ = site.metrics and site.metrics.place
        site = msgspec.structs.replace(site, metrics=None)
        found = await asyncio.to_thread(lambda: [*output_findings(site, gateway_runs=False)])
        assert [f.level for f in found] == [Level.OK]
        assert {first >> 4 for first, _ in broker.packets} == {1, 14}  # it publishes nothing
    hook = NotifyConfig(id="chat", kind="webhook", url="http://127.0.0.1:1/hook")
    night = {"id": "night", "kind": "mail", "host": "127.0.0.1", "port": 1, "sender": "s@example.org"}
    told = (hook, NotifyConfig(**night, to=("a@example.org",)))  # type: ignore[arg-type]
    site = msgspec.structs.replace(site, mqtt=None, notify=told)
    found = await asyncio.to_thread(lambda: [*output_findings(site, gateway_runs=False)])
    assert [(f.subject, f.level) for f in found] == [("notify chat", Level.WARNING), ("notify night", Level.WARNING)]


async def test_proofs_of_a_gateway_with_another_state_directory(
    devices: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the service has one; the site file's own is not looked into then."""
    other = tmp_path / "var"
    other.mkdir()
    proofs.write(other, Proofs(proofs={"pcs1": PROOF}))
    arguments = ["doctor", str(devices.site.path), "--all", "--json"]
    for more, said in ((["--state-dir", str(other)], "was proven as Maker PCS 60"), ([], "has not been proven")):
        await asyncio.to_thread(run, arguments + more)
        found = json.loads(capsys.readouterr().out)["findings"]
        texts = [f["text"] for f in found if (f["subject"], f["code"]) == ("pcs1", "proof")]
        assert len(texts) == 1
        assert said in texts[0]


async def test_a_device_that_is_away_is_one_line(devices: Loopback) -> None:
    devices.pv.unit = 99  # it answers exception 11: a gateway without its device
    found = await examined(devices)
    assert [(f.level, f.code) for f in found.findings if f.subject == "pv1"] == [(Level.FAULT, "unreachable")]
    assert ("site", "balance") in codes(found, Level.NOTE)


async def test_a_grid_meter_with_its_sign_reversed(devices: Loopback) -> None:
    devices.grid_reads(-16_000)
    found = await examined(devices)
    fault = next(f for f in found.findings if f.code == "balance")
    assert fault.level is Level.FAULT
    assert fault.advice == "set invert on the grid meter: then the balance closes"


async def test_wiring_faults_of_a_meter(devices: Loopback) -> None:
    devices.grid_reads(16_000, PhVphB=30, PhVphC=3990, AphA=100, AphB=100, AphC=100)
    assert {("grid", "phase-missing"), ("grid", "phase-to-phase"), ("grid", "v-times-i")} <= codes(
        await examined(devices), Level.FAULT
    )


async def test_another_controller_is_seen(devices: Loopback) -> None:
    devices.pcs.replace(BASE, pcs_image(m704={"WSetEna": 1, "WSet": 100}))
    assert ("pcs1", "setpoint") in codes(await examined(devices), Level.WARNING)


async def test_while_a_gateway_holds_the_site_nothing_is_read(devices: Loopback) -> None:
    claims = Claims()
    site = devices.site
    claims.take(site_claim(site.path))
    try:
        found = await examined(devices)
    finally:
        claims.release()
    assert (found.source, devices.server.connections) == ("none", 0)
    assert codes(found, Level.FAULT) == {("devices", "not-read")}


def test_the_command_says_what_is_away_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "EVERY_S", 0.0)
    site = tmp_path / "site.toml"
    site.write_text(TEXT.format(url="tcp://127.0.0.1:1"))
    assert run(["doctor", str(site)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Loopback, {site}: read from the devices; no gateway runs"
    for device in ("grid", "load", "pcs1", "pv1"):
        (line,) = [line for line in lines if line.startswith(f"✗ {device} ")]
        assert "cannot connect" in line
    assert lines[-1].startswith("4 faults, ")
    assert run(["doctor", str(site), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["source"], document["faults"]) == (False, "devices", 4)
    site.write_text("[site]\n")
    assert run(["doctor", str(site)]) == 2


async def test_a_running_gateway_is_asked_instead_of_its_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "machine_findings", lambda site: ())
    monkeypatch.setattr(doctor, "ASKED_EVERY_S", 0.0)
    socket = tmp_path / "gateway.sock"
    monkeypatch.setattr(doctor, "find_socket", lambda site: socket)
    async with small_gateway.running(tmp_path, socket) as there:
        there.devices.offline.add("here")
        found = await asyncio.to_thread(examine, small_gateway.small_site(tmp_path))
    assert found.source == "gateway"
    assert {("grid", "power"), ("pcs1", "power"), ("bat1", "soc"), ("pcc", "position")} <= codes(found, Level.OK)
    assert ("pcs1", "setpoint") not in codes(found, *Level), "its own setpoint is no other master's"
    found = await asyncio.to_thread(examine, small_gateway.small_site(tmp_path))
    assert (found.source, codes(found, Level.FAULT)) == ("none", {("gateway", "not-read")}), "it has gone meanwhile"
