"""`skerry devices release`: what a killed gateway left in a PCS ends; a site that may be off the grid is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from devices_on_loopback import BASE, Loopback
from sunspec_image import address_of, pcs_image
from transfer_switches import RemoteSwitch

from console.cli.main import run
from dispatch.model.equipment import Pcs, Pv, Switch
from dispatch.model.readings import UNKNOWN, Status, status
from drivers.maps.found_modes import FoundMode
from drivers.modbus.errors import ConnectionLost
from gateway.commissioning import release as releasing
from gateway.commissioning.release import release

ENABLE = address_of(pcs_image(), 704, "WSetEna")


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Loopback]:
    running = Loopback(tmp_path)
    async with running.server:
        assert running.site.path == running.path, "the site file is written"
        yield running


def holding(**points: Any) -> list[int]:
    return pcs_image(m704={"WSetEna": 1, "WSet": 500, **points})


async def released(devices: Loopback) -> int:
    return await asyncio.to_thread(run, ["devices", "release", str(devices.path)])


async def test_a_setpoint_that_nothing_ends_is_disabled(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    devices.pcs.replace(BASE, holding())
    assert await released(devices) == 0
    assert devices.pcs.writes == [(ENABLE, [0])]
    assert capsys.readouterr().out == "pcs1  its setpoint of 5 kW was switched off\n"
    assert await released(devices) == 0
    assert capsys.readouterr().out == "pcs1  holds no setpoint\n"
    assert len(devices.pcs.writes) == 1


async def test_a_timer_that_runs_is_left_to_end_it(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    devices.pcs.replace(BASE, holding(WSetRvrtTms=60, WSetRvrtRem=41, WSetEnaRvrt=1))
    assert await released(devices) == 0
    assert devices.pcs.writes == []
    assert capsys.readouterr().out == "pcs1  its own timer ends its setpoint of 5 kW in 41 s\n"


def test_without_the_gateways_state_directory_a_mapped_pcs_is_not_said_to_be_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nname = "s"\n[grid]\nfuse_a = 63\ncontracted_peak_w = 30e3\n'
        '[[meter]]\nid = "grid"\nurl = "tcp://127.0.0.1:1"\n'
        '[[battery]]\nid = "bat1"\nenergy_kwh = 20\n[[pcs]]\nid = "pcs1"\nbattery = "bat1"\ncharge_w = 12e3\n'
        'discharge_w = 12e3\nurl = "tcp://127.0.0.1:1"\nmap = "victron-gx"\nunits = { vebus = 227, battery = 225 }\n'
    )
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "other"))
    assert run(["devices", "release", str(site)]) == 1
    assert "other: how a PCS was found is not known; if the gateway ran" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    assert run(["devices", "release", str(site)]) == 0
    told = capsys.readouterr()
    assert told.out == "pcs1  not commanded, as the state directory has it\n"
    assert f"state directory {tmp_path / 'other'}; if the gateway ran" in told.err


async def test_a_pcs_that_forms_the_grid_is_left_alone(devices: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    image = pcs_image(m701={"DERMode": 2}, m704={"WSetEna": 1, "WSet": 500})
    devices.pcs.replace(BASE, image)
    assert await released(devices) == 1
    assert devices.pcs.writes == []
    assert "left as it is: it forms the grid" in capsys.readouterr().out


async def test_a_pcs_that_is_away_is_told(
    devices: Loopback, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "TRY_S", 0.0)
    devices.pcs.unit = 99
    assert await released(devices) == 1
    assert "not released: pcs1 at " in capsys.readouterr().out


SWITCH_MAP = Path(__file__).parents[2] / "drivers" / "transfer-switch.toml"


async def test_a_switch_that_a_killed_gateway_left_in_remote_control_is_set_back(
    devices: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    switch = RemoteSwitch()
    switch.unit, switch[RemoteSwitch.MODE] = 5, 1
    devices.units.devices[5] = switch
    with devices.path.open("a") as file:
        file.write(f'[[switch]]\nid = "ats"\nurl = "{devices.site.pcs[0].url}"\nunit = 5\nmap = "{SWITCH_MAP}"\n')
    state = devices.path.parent / "state"
    state.mkdir()
    record = state / "found-modes.json"
    record.write_bytes(msgspec.json.encode({"ats": FoundMode("transfer-switch")}))
    assert await released(devices) == 0
    assert switch.writes == [(RemoteSwitch.MODE, [0])]
    assert "ats  in automatic control" in capsys.readouterr().out
    assert record.read_bytes() == b"{}"
    assert await released(devices) == 0
    assert "ats" not in capsys.readouterr().out


class Stub:
    """A driver that answers `part`, or nothing."""

    def __init__(self, id: str, kind: str, part: Any) -> None:
        self.id, self.kind, self.part, self.released = id, kind, part, 0

    async def read(self) -> Any:
        if self.part is None:
            raise ConnectionLost(self.id, "unplugged")
        return self.part

    async def release(self) -> None:
        self.released += 1

    async def close(self) -> None:
        """Nothing to close."""


class StubPv(Stub):
    taken_over = False


class StubSwitch(Stub):
    """A switch in remote control, perhaps by a gateway."""

    def __init__(self, position: str, *, taken_over: bool) -> None:
        super().__init__("ats", "switch", Switch("ats", position=status(position), control=status("remote")))
        self.taken_over = taken_over


async def test_a_switch_that_was_taken_over_is_given_back_on_the_grid_after_the_pcs() -> None:
    pcs, ours = Stub("pcs1", "pcs", (Pcs("pcs1"), None)), StubSwitch("closed", taken_over=True)
    assert [(one.id, one.ok) for one in await release([ours, pcs])] == [("pcs1", True), ("ats", True)]
    assert ours.released == 1
    theirs = StubSwitch("closed", taken_over=False)
    assert [one.id for one in await release([theirs, pcs])] == ["pcs1"]
    away = StubSwitch("open", taken_over=True)
    assert [(one.id, one.ok) for one in await release([away, pcs])] == [("pcs1", False), ("ats", False)]
    assert theirs.released == away.released == 0


async def test_pv_that_was_limited_is_freed_wherever_the_site_is_and_other_pv_is_not_touched() -> None:
    for position, ok in (("closed", True), ("open", False)):
        pcs, switch = Stub("pcs1", "pcs", (Pcs("pcs1"), None)), Stub("pcc", "switch", Switch("pcc", status(position)))
        limited, free = (StubPv(name, "pv", Pv(name)) for name in ("pv1", "pv2"))
        limited.taken_over = True
        found = {one.id: one.ok for one in await release([switch, limited, free, pcs])}
        assert found == {"pcs1": ok, "pv1": True}
        assert (limited.released, free.released) == (1, 0)


@pytest.mark.parametrize("position", [status("open"), status("moving"), UNKNOWN, None])
async def test_nothing_is_released_unless_every_switch_is_closed(
    position: Status | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "TRY_S", 0.0)
    pcs = Stub("pcs1", "pcs", (Pcs("pcs1"), None))
    switch = Stub("pcc", "switch", None if position is None else Switch("pcc", position=position))
    (found,) = await release([pcs, switch])
    assert (found.ok, pcs.released) == (False, 0)
    assert "the site may be off the grid" in found.text
    (found,) = await release([pcs, Stub("pcc", "switch", Switch("pcc", position=status("closed")))])
    assert (found.ok, pcs.released, found.text) == (True, 1, "left as it was found")


async def test_a_pcs_that_follows_a_generator_is_released_and_one_that_forms_is_not() -> None:
    switch = Stub("ats", "switch", Switch("ats", position=status("open"), source=status("genset")))
    follows, forms = (
        Stub("pcs1", "pcs", (Pcs("pcs1"), None)),
        Stub("pcs2", "pcs", (Pcs("pcs2", mode=status("grid_forming")), None)),
    )
    assert [(one.id, one.ok) for one in await release([follows, forms, switch])] == [("pcs1", True), ("pcs2", False)]
    assert (follows.released, forms.released) == (1, 0)
