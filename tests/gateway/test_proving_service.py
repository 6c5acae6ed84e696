"""A proof as the gateway runs it, in lock-step: progress, result, what is kept and read again; who may end it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec
import pytest
from proof_bench import REVERT_S, TICK_S, ProofBench
from proven_pcs import PROOF
from small_gateway import SITE, Devices, Running, running
from test_slow_devices import Events
from waiting import LIMIT_S, until

from console.cli.main import run
from console.cli.prove import proof_lines, result_lines
from dispatch.alarms.states import Alarm
from dispatch.control.controller import Controller
from dispatch.model.decision import Setpoint
from dispatch.model.equipment import DeviceHealth, DeviceIdentity
from dispatch.model.proofs import Proofs, Proving
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from drivers.clock import SystemClock
from drivers.nodes.known_gpus import KnownGpus
from gateway import exit_codes
from gateway.api.client import GatewayClient
from gateway.device_io import DeviceIo
from gateway.errors import RequestFailed
from gateway.parts_in_trouble import PartsInTrouble
from gateway.proofs_in_force import ProofsInForce
from gateway.proving_service import UNHEARD_S, ProvingService
from gateway.site.loader import compose
from gateway.supervised_calls import SupervisedCalls
from storage import proofs as file

IDENTITY = DeviceIdentity("Skerry", "Skerry twin PCS", "twin-pcs1", "3.51")
UPDATED = msgspec.structs.replace(IDENTITY, firmware="3.60")


class Heard:
    """What goes to event log and audit."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.audited = asyncio.Event()

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.texts.append(text)

    def spool(self, row: dict[str, Any]) -> Future[int]:
        self.texts.append(row["text"])
        self.audited.set()
        return Future()


class ServedProof(ProofBench):
    """The twin with the gateway's service instead of a procedure alone."""

    def __init__(self, directory: Path, **twin: object) -> None:
        super().__init__(**twin)
        self.heard, self.machine_s, self.alarms = Heard(), 0.0, tuple[Alarm, ...]()
        self.proofs = ProofsInForce({"pcs1": "sunspec"}, lambda kept: file.write(directory, kept))
        self.service = ProvingService(
            self.config,
            self.lockstep.clock,
            tick_s=TICK_S,
            revert={"pcs1": (REVERT_S, 0.0)},
            renewed_s=self.lockstep.renewed_s.get,
            alarms=lambda: self.alarms,
            proofs=self.proofs,
            events=self.heard,  # type: ignore[arg-type]
            audit=self.heard,  # type: ignore[arg-type]
            calls=SupervisedCalls("proofs", 60.0, PartsInTrouble()),
            machine_s=lambda: self.machine_s,
            refresh_s={"pcs1": 0.4},
        )

    def tick_once(self) -> None:
        snapshot = self.look().snapshot
        devices = tuple(msgspec.structs.replace(d, identity=IDENTITY) for d in snapshot.devices)
        snapshot = msgspec.structs.replace(snapshot, devices=devices)
        proving = self.service.step(snapshot, ())
        self.decision = self.controller.step(snapshot, None, proving=proving)
        self.write(proving)
        self.service.decided(self.decision)

    def begin(self) -> None:
        for _ in range(20):
            self.tick_once()
        _, why = self.service.checks("pcs1", "Eve on site")
        assert why is None, words(why)
        self.service.start("pcs1", "eve", "Eve on site")


async def test_a_proof_is_run_figured_out_kept_and_read_again(tmp_path: Path) -> None:
    bench = ServedProof(tmp_path)
    bench.begin()
    assert bench.proofs.proven("pcs1", "any-map", IDENTITY), "while it is being proven it may be written to"
    work = asyncio.create_task(bench.service.run())
    try:
        for _ in range(1_500):
            bench.tick_once()
            if bench.service.report is not None and bench.service.report.at_zero and not bench.service._procedure:
                break
        await asyncio.wait_for(bench.heard.audited.wait(), LIMIT_S)
    finally:
        work.cancel()
    report = bench.service.report
    assert report.proven, words(report.result) if report.result else ""
    assert report.response.dead_time_s.high >= 0.2, "no better than the device renews its readings"
    shown = "\n".join(result_lines(report))
    assert "reverts after 8." in shown
    assert "proven: pcs1 follows its setpoint" in shown
    assert any(text.startswith("proof of pcs1: proven") for text in bench.heard.texts), "in the audit"
    kept = file.read(tmp_path)
    assert kept == bench.proofs.kept
    proof = kept.proofs["pcs1"]
    assert (proof.identity, proof.who, proof.on_site) == (IDENTITY, "eve", "Eve on site")
    assert "firmware 3.51" in "\n".join(proof_lines(proof, ZoneInfo("Europe/Berlin")))
    again = ProofsInForce({"pcs1": "sunspec"}, lambda kept: None)
    again.adopt(kept)
    assert again.proven("pcs1", "sunspec", IDENTITY)
    assert not again.proven("pcs1", "sunspec", UPDATED)
    assert not again.proven("pcs1", "another-map", IDENTITY)


def test_a_proof_whose_gateway_was_killed_is_told_of_by_the_next_one(tmp_path: Path) -> None:
    bench = ServedProof(tmp_path)
    bench.service.end_killed({"t": "2026-03-12T10:00:00Z", "who": "eve", "pcs": "pcs1", "on_site": "Eve on site"})
    report = bench.service.report
    assert report is not None
    assert (report.pcs_id, report.running, report.proven) == ("pcs1", False, False)
    told, audited = bench.heard.texts
    assert "NOT proven: the gateway was killed in its middle, and pcs1 held what was asked last" in told
    assert told in audited
    assert bench.service.checks("pcs1", "Eve")[1].code == "prove.not_yet", "another one may be begun"


def health(identity: DeviceIdentity | None, online: bool = True) -> DeviceHealth:
    return DeviceHealth("pcs1", "pcs", online, 0.0, 1, 0, 0, identity=identity)


def test_another_firmware_than_proven_is_noticed_once_and_gone_when_it_is_back(tmp_path: Path) -> None:
    proofs = ProofsInForce({"pcs1": "sunspec"}, lambda kept: file.write(tmp_path, kept))
    proofs.adopt(Proofs(proofs={"pcs1": a_proof()}))
    assert proofs.look([health(IDENTITY)], 100.0) == []
    assert proofs.look([health(None), health(UPDATED, online=False)], 101.0) == [], "silence says nothing"
    (found,) = proofs.look([health(UPDATED)], 102.0)
    assert found[2] is not None
    assert (found[2].identity, found[2].since_utc_s) == (UPDATED, 102.0)
    assert proofs.look([health(UPDATED)], 103.0) == []
    note = proofs.note("pcs1")
    assert note is not None
    assert (note.changed_utc_s, note.again_by) == (102.0, "1970-01-08T00:01:42+00:00")
    proofs.save()
    assert file.read(tmp_path).changed["pcs1"].since_utc_s == 102.0
    assert proofs.look([health(IDENTITY)], 104.0)[0][2] is None
    note = proofs.note("pcs1")
    assert note is not None
    assert note.changed_utc_s is None


def test_another_serial_number_than_proven_is_noticed_and_no_longer_counts_as_proven(tmp_path: Path) -> None:
    proofs = ProofsInForce({"pcs1": "sunspec"}, lambda kept: file.write(tmp_path, kept))
    proofs.adopt(Proofs(proofs={"pcs1": a_proof()}))
    other = msgspec.structs.replace(IDENTITY, serial=f"{IDENTITY.serial}0")
    assert proofs.proven("pcs1", "sunspec", IDENTITY)
    assert not proofs.proven("pcs1", "sunspec", other)
    (found,) = proofs.look([health(other)], 102.0)
    assert found[2] is not None
    note = proofs.note("pcs1")
    assert note is not None
    assert (note.changed_utc_s, note.serial) == (102.0, IDENTITY.serial)


def a_proof() -> Any:
    return msgspec.structs.replace(PROOF, identity=IDENTITY)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"proofs": {"pcs1": {}}}', b"\xff" * 10])
def test_a_damaged_file_is_said_kept_aside_and_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / file.NAME).write_bytes(content)
    with pytest.raises(file.ProofsNotRead, match=r"proofs\.json.*counts as not proven"):
        file.read(tmp_path)
    file.write(tmp_path, Proofs(proofs={"pcs1": a_proof()}))
    assert file.read(tmp_path).proofs["pcs1"].identity == IDENTITY
    assert (tmp_path / file.DAMAGED).read_bytes() == content


async def test_a_setpoint_other_than_the_proof_asks_for_is_written_at_once() -> None:
    """Also while nothing is to be written, or only later within the tick: it comes of a limit or a stop."""
    small = Devices()
    site = compose(Path("site.toml"), SITE)
    io = DeviceIo(site, SystemClock(), small.drivers(), Events(), KnownGpus())
    await io.first_contact()
    first = Controller(site.dispatch).step(io.snapshot(1), None)
    sending = asyncio.create_task(dict(io.background())["setpoints of pcs1"]())

    def submit(w: float, proving: Proving) -> None:
        io.submit(msgspec.structs.replace(first, setpoints=(Setpoint("pcs1", w),)), [], proving)

    asked = Proving(pcs_id="pcs1", w=3_000.0, who="eve")
    submit(3_000.0, asked)
    await until(lambda: small.pcs_w == 3_000.0)
    submit(-2_000.0, msgspec.structs.replace(asked, w=-2_000.0, silent=True))
    for _ in range(5):
        await asyncio.sleep(0)
    submit(0.0, msgspec.structs.replace(asked, silent=True))
    await until(lambda: small.pcs_w == 0.0)
    submit(500.0, msgspec.structs.replace(asked, after_s=3_600.0))
    await until(lambda: small.pcs_w == 500.0)
    assert [w for _, w in small.writes] == [3_000.0, 0.0, 500.0], "what it asks in silence is not written"
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await io.close()


async def test_a_proof_that_nobody_watches_ends(tmp_path: Path) -> None:
    bench = ServedProof(tmp_path)
    bench.begin()
    bench.tick_once()
    bench.machine_s += UNHEARD_S + 1
    bench.tick_once()
    report = bench.service.report
    assert report is not None
    assert not report.running
    assert report.result is not None
    assert "nobody has asked" in words(report.result)
    assert not bench.proofs.proven("pcs1", "any-map", IDENTITY)


async def test_a_mistake_in_a_proof_costs_the_proof_and_not_the_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServedProof(tmp_path)
    bench.begin()
    monkeypatch.setattr("dispatch.commissioning.procedure.against", lambda *_: 1 / 0)
    bench.tick_once()
    report = bench.service.report
    assert report is not None
    assert report.result is not None
    assert "ZeroDivisionError" in words(report.result)
    assert bench.decision is not None
    assert "proof of" not in words(bench.decision.reason)


async def test_one_that_may_raise_the_billed_peak_begins_only_if_that_is_accepted(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: dict[str, Any] = {"reach_w": 22_000.0, "peak_w": 20_000.0, "by_w": 2_000.0, "eur": 20.0}
    monkeypatch.setattr(ProvingService, "peak_risk", lambda *_: Reason("prove.raises_peak", figures))
    answer = await client.request("prove.check", pcs="pcs1", on_site="Eve")
    assert answer["ok"]
    assert answer["peak"]["figures"]["by_w"] == 2_000.0
    asked = {"pcs": "pcs1", "on_site": "Eve", "seen_utc_s": there.gateway.clock.utc_s()}
    with pytest.raises(RequestFailed, match=r"not accepted: .* 2.0 kW above .* about 20.00 EUR; .*--accept-peak"):
        await client.request("prove.start", **asked)
    assert (await client.request("prove.start", **asked, accept_peak=True))["ok"]
    await client.request("prove.abort")


def test_yes_does_not_accept_a_higher_peak(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that a person is on site. Without --yes both are asked."""
    figures: dict[str, Any] = {"reach_w": 22_000.0, "peak_w": 20_000.0, "by_w": 2_000.0, "eur": 20.0}
    peak = msgspec.to_builtins(Reason("prove.raises_peak", figures))
    asked: list[str] = []

    class Link:
        welcome = SimpleNamespace(user="eve")

        def request(self, name: str, **params: Any) -> dict[str, Any]:
            assert name == "prove.check", "nothing is begun"
            return {"ok": True, "text": "", "reason": None, "checks": [], "peak": peak}

    @contextlib.contextmanager
    def no_gateway(_: str | None) -> Iterator[Any]:
        yield SimpleNamespace(link=Link(), now_utc_s=lambda: 0.0)

    monkeypatch.setattr("console.cli.prove.gateway", no_gateway)
    assert run(["devices", "prove", "pcs1", "--yes"]) == exit_codes.REFUSED
    assert "2.0 kW above" in capsys.readouterr().err

    def no(text: str, **_: Any) -> None:
        asked.append(text)
        raise click.Abort

    monkeypatch.setattr("click.confirm", no)
    assert run(["devices", "prove", "pcs1"]) == 130
    assert "about 20.00 EUR. Go on?" in asked[0]


async def test_over_the_link_it_begins_shows_progress_and_is_aborted(there: Running, client: GatewayClient) -> None:
    seen = there.gateway.clock.utc_s()
    refused = await client.request("prove.check", pcs="pcs1", on_site="")
    assert not refused["ok"]
    assert "a person on site" in refused["text"]
    with pytest.raises(RequestFailed, match="no PCS nobody"):
        await client.request("prove.start", pcs="nobody", on_site="Eve", seen_utc_s=seen)
    with pytest.raises(RequestFailed, match="stale console"):
        await client.request("prove.start", pcs="pcs1", on_site="Eve", seen_utc_s=seen - 60)
    assert (await client.request("prove.start", pcs="pcs1", on_site="Eve", seen_utc_s=seen))["ok"]
    with pytest.raises(RequestFailed, match="is under way"):
        await client.request("prove.start", pcs="pcs1", on_site="Eve", seen_utc_s=seen)
    await there.gateway.loop.next_tick()
    status = await client.request("prove.status", watch=True)
    assert status["running"]
    assert "watched by Eve" in status["texts"][0]
    await client.request("prove.abort")
    status = await client.request("prove.status")
    assert not status["running"]
    assert "ended by" in status["texts"][-1]
    published = await there.gateway.loop.next_tick()
    assert "proof of" not in words(published.decision.reason)
    assert (await client.request("prove.list"))["proofs"] == {}
    with pytest.raises(RequestFailed, match="no proof is under way"):
        await client.request("prove.abort")


async def test_what_was_proven_is_with_the_device_for_control_and_consoles(place: Path) -> None:
    proofs = ProofsInForce({"pcs1": "sunspec"}, lambda kept: None)
    proofs.adopt(Proofs(proofs={"pcs1": PROOF}))
    async with running(place, place / "s.sock", proofs=proofs) as there:
        (device,) = [d for d in (await there.gateway.loop.next_tick()).snapshot.devices if d.id == "pcs1"]
    assert device.proof is not None
    assert (device.proof.revert_after_s, device.proof.firmware) == (61.0, "3.51")
    assert device.proof.delay_low_s == pytest.approx(0.37)
    other = ProofsInForce({"pcs1": "a-map"}, lambda kept: None)
    other.adopt(proofs.kept)
    assert other.note("pcs1") is None, "what was proven by another driver says nothing"


async def test_the_command_shows_checks_and_progress_and_fails_when_it_is_ended(
    there: Running, client: GatewayClient, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["devices", "prove", "pcs1", "--yes", "--on-site", "Eve", "--site", str(there.socket)]
    ended = asyncio.create_task(asyncio.to_thread(run, command))
    async with asyncio.timeout(LIMIT_S):
        while (status := await client.request("prove.status")) is None or not status["running"]:
            await there.gateway.loop.next_tick()
    await client.request("prove.abort")
    assert await asyncio.wait_for(ended, LIMIT_S) == exit_codes.FAILED
    shown = capsys.readouterr()
    assert "✓ room for steps" in shown.out
    assert "proving pcs1 for" in shown.out
    assert "NOT proven: ended by" in shown.out
    assert await asyncio.to_thread(run, ["devices", "prove", "--list", "--site", str(there.socket)]) == exit_codes.OK
    assert "Nothing has been proven yet" in capsys.readouterr().out
