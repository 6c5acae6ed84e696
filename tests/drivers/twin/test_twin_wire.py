"""The twin on real sockets, seen by strangers: pysunspec2 for the SunSpec devices, pymodbus' client for the maps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import waiting
from pymodbus.client import AsyncModbusTcpClient
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP
from twin_sites import order, running
from waiting import LIMIT_S

from drivers.twin.announcement import Announcement


class Stranger:
    """pysunspec2's synchronous client, in a thread."""

    def __init__(self, twin: Announcement, device: str) -> None:
        host, port, unit = twin.endpoints[device]
        self.device = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port, timeout=30.0)

    async def scan(self) -> list[int]:
        await asyncio.to_thread(self.device.scan)
        return [key for key in self.device.models if isinstance(key, int)]

    async def read(self, model: int) -> dict[str, Any]:
        """Every point of a model, scaled."""
        group = self.device.models[model][0]
        await asyncio.to_thread(group.read)
        return {name: point.cvalue for name, point in group.points.items()}

    async def write(self, model: int, **values: float) -> None:
        """Points of one model, in the order the client likes."""
        group = self.device.models[model][0]
        for name, value in values.items():
            group.points[name].cvalue = value
        await asyncio.to_thread(group.write)


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes. Raises TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        while not await what():  # noqa: ASYNC110  a device has no event
            await asyncio.sleep(0.05)


async def passed(twin: Announcement, site_s: float) -> None:
    """Wait until the twin's clock is so much further."""
    end_s = twin.clock.mono_s() + site_s
    await waiting.until(lambda: twin.clock.mono_s() >= end_s)


async def modbus(twin: Announcement, device: str) -> tuple[AsyncModbusTcpClient, int]:
    host, port, unit = twin.endpoints[device]
    client = AsyncModbusTcpClient(host, port=port, retries=0, timeout=2.0)
    assert await client.connect()
    return client, unit


async def test_stranger_scans_and_reads_every_model() -> None:
    expected = {
        "grid": [1, 203],
        "load": [1, 203],
        "pcs1": [1, 701, 702, 704, 713, 715, 802, 803],
        "pv1": [1, 103, 120, 121, 123],
    }
    async with running() as twin:
        for device, models in expected.items():
            stranger = Stranger(twin, device)
            assert await stranger.scan() == models
            values = {model: await stranger.read(model) for model in models}
            assert values[1]["SN"] == f"twin-{device}"
            if device == "pcs1":
                truth = (await order(twin, state={}))["state"]
                assert values[713]["SoC"] == values[802]["SoC"] == truth["soc_pct"]["bat1"] == 55
                assert values[802]["AChaMax"] * values[802]["V"] == pytest.approx(60_000 * 0.94, rel=0.01)
                assert values[802]["ADisChaMax"] * values[802]["V"] == pytest.approx(60_000 / 0.94, rel=0.01)
                assert (values[701]["InvSt"], values[701]["ConnSt"], values[701]["DERMode"]) == (3, 1, 1)
                assert values[701]["Var"] == 0
                assert values[703 - 1]["WChaRteMax"] == 60_000
        grid, load, pv = (Stranger(twin, name) for name in ("grid", "load", "pv1"))
        await asyncio.gather(grid.scan(), load.scan(), pv.scan())
        meter, site, sun = await asyncio.gather(grid.read(203), load.read(203), pv.read(103))
        assert site["W"] == pytest.approx(meter["W"] + sun["W"], abs=300)
        assert meter["Hz"] == pytest.approx(50, abs=0.05)
        assert meter["PhVphA"] == pytest.approx(230, abs=5)


@pytest.mark.parametrize("personality", ["compliant", "cosmetic-revert"])
async def test_stranger_commands_and_sees_it_revert_or_not(personality: str) -> None:
    async with running(personality=personality, speed=5.0) as twin:
        pcs = Stranger(twin, "pcs1")
        await pcs.scan()
        await pcs.write(704, WSetRvrtTms=30)
        await pcs.write(704, WSetMod=1, WSet=-20_000, WSetEna=1)
        written = await pcs.read(704)
        assert (written["WSet"], written["WSetEna"]) == (-20_000, 1)
        assert 0 < written["WSetRvrtRem"] <= 30

        async def charges() -> bool:
            return (await pcs.read(701))["W"] < -19_000

        async def run_out() -> bool:
            return (await pcs.read(704))["WSetRvrtRem"] == 0

        await until(charges)
        await until(run_out)
        after = await pcs.read(704)
        assert after["WSetEna"] == (0 if personality == "compliant" else 1)
        await passed(twin, 2.0)
        w = (await pcs.read(701))["W"]
        assert w == pytest.approx(0 if personality == "compliant" else -20_000, abs=500)


@pytest.mark.parametrize(("personality", "enabled"), [("compliant", 0), ("deaf-heartbeat", 1)])
async def test_controller_heartbeat_that_stops(personality: str, enabled: int) -> None:
    async with running(personality=personality, heartbeat_timeout_s=3.0) as twin:
        pcs = Stranger(twin, "pcs1")
        await pcs.scan()
        began_s, first = twin.clock.mono_s(), (await pcs.read(715))["DERHb"]
        await pcs.write(704, WSetMod=1, WSet=5_000, WSetEna=1)
        beat = 0
        while twin.clock.mono_s() < began_s + 4:  # beats keep it going for longer than it lasts without
            beat += 1
            await pcs.write(715, ControllerHb=beat)
            assert (await pcs.read(715))["ControllerHb"] == beat
            assert (await pcs.read(704))["WSetEna"] == 1
            await passed(twin, 0.1)
        await passed(twin, 4.0)
        assert (await pcs.read(704))["WSetEna"] == enabled
        elapsed_s = twin.clock.mono_s() - began_s
        assert (await pcs.read(715))["DERHb"] - first == pytest.approx(elapsed_s, abs=2)


async def test_writes_the_device_refuses() -> None:
    async with running() as twin:
        client, unit = await modbus(twin, "pcs1")
        mark = await client.read_holding_registers(40000, count=2, device_id=unit)
        assert mark.registers == [0x5375, 0x6E53]
        readonly = await client.write_register(40004, 1, device_id=unit)  # model 1, Mn
        assert readonly.exception_code == 2
        address = 40002 + 68 + 155 + 52  # ID of model 704, after models 1, 701, 702
        assert (await client.read_holding_registers(address, count=1, device_id=unit)).registers == [704]
        too_much = await client.write_registers(address + 24, [1, 0], device_id=unit)  # WSet = 65536 W of 60000
        assert too_much.exception_code == 3
        await order(twin, local="pcs1")
        locked = await client.write_registers(address + 24, [0, 1000], device_id=unit)
        assert locked.exception_code == 4
        await order(twin, remote="pcs1")
        before_s = time.monotonic()
        accepted = await client.write_registers(address + 24, [0, 1000], device_id=unit)
        assert not accepted.isError()
        state = (await order(twin, state={}))["state"]
        assert before_s <= state["written_mono_s"]["pcs1.704.WSet"] <= time.monotonic()
        client.close()


async def test_switch_map_and_a_drill() -> None:
    async with running() as twin:
        client, unit = await modbus(twin, "pcc")

        async def registers() -> list[int]:
            return (await client.read_holding_registers(0, count=10, device_id=unit)).registers

        assert await registers() == [0x534B, 2, 2, 1, 0, 0, 1, 0, 0xFFFF, 0]
        assert not (await client.write_register(7, 1, device_id=unit)).isError()

        async def is_open() -> bool:
            return (await registers())[2:5] == [1, 0, 1]

        await until(is_open)
        assert (await order(twin, state={}))["state"]["islanded"]
        assert (await client.write_register(7, 3, device_id=unit)).exception_code == 3
        client.close()


async def test_node_map_shares_one_port_and_obeys_a_cap() -> None:
    async with running(host_node=True) as twin:
        client, unit = await modbus(twin, "gpu-1")
        assert twin.endpoints["gpu-2"][1:] == (twin.endpoints["gpu-1"][1], 2)
        first = (await client.read_holding_registers(0, count=10, device_id=unit)).registers
        assert first[:2] == [0x534E, 1]
        assert (first[5], first[7], first[8]) == (8, 0xFFFF, 0)
        power_w = first[2] << 16 | first[3]
        assert power_w > 3_000
        assert not (await client.write_register(7, 3_000, device_id=unit)).isError()

        async def capped() -> bool:
            now = (await client.read_holding_registers(0, count=10, device_id=unit)).registers
            return now[3] <= 3_000 and now[7] == 3_000

        await until(capped)
        host_unit = twin.endpoints["twin-host"][2]
        host = (await client.read_holding_registers(0, count=10, device_id=host_unit)).registers
        assert host_unit == 9
        assert 60 <= host[3] <= 200
        assert 0 < host[9] <= 1000
        client.close()


async def test_outage_by_command_islands_the_site() -> None:
    async with running(speed=5.0, reconnect_wait_s=2.0) as twin:
        pcs = Stranger(twin, "pcs1")
        await pcs.scan()
        assert (await order(twin, fault="outage", for_s=20))["ok"]

        async def forms() -> bool:
            values = await pcs.read(701)
            return (values["ConnSt"], values["DERMode"]) == (0, 2) and values["Alrm"] == 1 << 4

        async def follows() -> bool:
            values = await pcs.read(701)
            return (values["ConnSt"], values["DERMode"], values["Alrm"]) == (1, 1, 0)

        await until(forms)
        await until(follows)


async def test_faults_of_a_device() -> None:
    async with running() as twin:
        client, unit = await modbus(twin, "grid")

        async def watts() -> Any:
            return await client.read_holding_registers(40070, count=107, device_id=unit)

        assert (await watts()).registers[0] == 203
        await order(twin, fault="exception", device="grid", code=6)
        assert (await watts()).exception_code == 6
        await order(twin, fault="not_implemented", device="grid")
        assert (await watts()).registers[18] == 0x8000
        await order(twin, fault="frozen", device="grid")
        await order(twin, load_step_w=50_000)
        frozen = (await watts()).registers[18]
        await passed(twin, 0.2)
        assert frozen == (await watts()).registers[18]
        await order(twin, clear="grid")

        async def moved() -> bool:
            return (await watts()).registers[18] == pytest.approx(
                frozen + 5_000 if frozen < 0x8000 else 5_000, abs=4_000
            )

        await until(moved)
        await order(twin, fault="slow", device="grid", delay_s=0.15)
        start_s = time.monotonic()
        assert not (await watts()).isError()
        assert time.monotonic() - start_s >= 0.15
        await order(twin, fault="hung", device="grid")
        with pytest.raises(Exception, match="No response"):
            await watts()
        client.close()
        await order(twin, clear="all")
        client, unit = await modbus(twin, "grid")
        assert (await watts()).registers[0] == 203
        client.close()


async def test_a_slow_answer_keeps_its_transaction() -> None:
    """Two requests in flight: each late answer must carry the id of the request it answers."""
    async with running() as twin:
        host, port, unit = twin.endpoints["grid"]
        await order(twin, fault="slow", device="grid", delay_s=0.2)
        reader, writer = await asyncio.open_connection(host, port)
        for transaction, address in ((1, 40000), (2, 40002)):
            head = bytes([0, transaction, 0, 0, 0, 6, unit, 3])
            writer.write(head + address.to_bytes(2, "big") + b"\x00\x01")
            await asyncio.sleep(0.05)
        answers = [await reader.readexactly(11) for _ in range(2)]
        assert [(a[1], a[9:]) for a in answers] == [(1, b"\x53\x75"), (2, b"\x00\x01")]
        writer.close()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"fault": "hungry"}, "one of outage, frozen"),
        ({"fault": "hung", "device": "nobody"}, "device to be one of grid, load, pcs1"),
        ({"fault": "outage", "for_s": "long"}, "for_s to be a number"),
        ({"fault": "exception", "device": "grid", "code": 99}, "code to be a Modbus exception code"),
        ({"state": {}, "clear": "all"}, "exactly one of"),
        ({"local": "grid"}, "local to name a PCS or a switch"),
        ({}, "found none"),
    ],
)
async def test_orders_that_cannot_be_carried_out(command: dict[str, Any], expected: str) -> None:
    async with running() as twin:
        reply = await order(twin, **command)
        assert not reply["ok"]
        assert expected in reply["error"]


async def test_site_time_is_shared_and_everything_is_released() -> None:
    async with running(speed=10.0) as twin:
        await passed(twin, 3.0)

        async def agree() -> bool:
            before_s = twin.clock.mono_s()
            state = (await order(twin, state={}))["state"]
            assert state["t_s"] <= twin.clock.mono_s()
            assert state["utc_s"] - twin.clock.t0_utc_s == pytest.approx(state["t_s"], abs=1e-3)
            return bool(state["t_s"] >= before_s - 1.0)  # it follows in steps, later on a busy machine

        await until(agree)
        host, port, _ = twin.endpoints["grid"]
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await asyncio.open_connection(host, port)
    with pytest.raises(OSError, match="No such file"):
        await asyncio.open_unix_connection(twin.control)
