"""Meters, PV, switch and nodes on the wire; discovery; a stranger's server (pymodbus' own) holding a SunSpec image."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from sunspec_image import COMMON, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer, Upstream
from waiting import until_done

from dispatch.model.equipment import DeviceIdentity
from dispatch.model.islanding import NodeOrder
from dispatch.model.readings import Quality
from drivers.config import IoConfig, MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.devices import Driver, Linked, make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import BadReply, DeviceError, ReadbackMismatch, WrongDevice
from drivers.node_config import NodeDevice

METER = {
    "W": -1234, "W_SF": 1, "Hz": 4998, "Hz_SF": -2, "PhVphA": 2301, "PhVphB": 2299, "PhVphC": 2305, "V_SF": -1,
    "AphA": -53, "AphB": 54, "AphC": 55, "A_SF": 0, "TotWhImp": 70_000, "TotWhExp": 1_200, "TotWh_SF": 2,
}  # fmt: skip


def floats(model_id: int, **values: float) -> list[int]:
    """A model of floats with values; all others NaN."""
    return model_words(model_id, **values)


def one_driver(server: ToxicServer, kind: str, config: Any) -> Driver:
    groups: dict[str, list[Any]] = {"meters": [], "pcs": [], "pv": [], "switches": [], "nodes": []}
    groups[kind].append(config)
    address = Address("tcp", server.host, server.port)
    (driver,) = make_drivers(**groups, io=IoConfig(deadline_s=1.0), resolve=lambda _id, _url, unit: (address, unit))
    return driver


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """serve(blocks, kind, config) -> (server, driver); everything is closed afterwards."""
    running: list[tuple[ToxicServer, Driver]] = []

    async def start(blocks: dict[int, list[int]], kind: str, config: Any) -> tuple[ToxicServer, Any]:
        server = ToxicServer(FakeDevice(blocks, unit=config.unit))
        await server.start()
        running.append((server, one_driver(server, kind, config)))
        return running[-1]

    yield start
    for server, driver in running:
        await driver.close()
        await server.stop()


def meter(**changes: Any) -> MeterDevice:
    return MeterDevice(id="grid", url="twin", **changes)


async def test_meter_reads_in_one_request(serve: Callable[..., Any]) -> None:
    server, driver = await serve({40000: image(model_words(1), model_words(203, **METER))}, "meters", meter())
    await driver.read()
    server.backend.reads.clear()
    read = await driver.read()
    assert len(server.backend.reads) == 1
    assert (driver.kind, read.id, read.w.good, read.hz.good) == ("meter", "grid", -12_340, 49.98)
    assert [v.good for v in read.v] == [230.1, 229.9, 230.5]
    assert [a.good for a in read.a] == [53, 54, 55]
    assert (read.import_wh.good, read.export_wh.good) == (7_000_000, 120_000)


async def test_a_meter_gives_its_phases_and_says_what_it_is(serve: Callable[..., Any]) -> None:
    phases = METER | {"WphA": -400, "WphB": -401, "WphC": -433}
    blocks = {40000: image(model_words(1, **COMMON), model_words(203, **phases))}
    _, driver = await serve(blocks, "meters", meter(invert=True))
    assert driver.identity is None, "not asked yet"
    read = await driver.read()
    assert [w.good for w in read.w_phases] == [4_000, 4_010, 4_330]
    assert driver.identity == DeviceIdentity(COMMON["Mn"], COMMON["Md"], COMMON["SN"], COMMON["Vr"])


async def test_inverted_meter(serve: Callable[..., Any]) -> None:
    _, driver = await serve({40000: image(model_words(203, **METER))}, "meters", meter(invert=True, role="load"))
    read = await driver.read()
    assert (driver.kind, read.w.good, read.import_wh.good, read.export_wh.good) == (
        "load_meter", 12_340, 120_000, 7_000_000,
    )  # fmt: skip


async def test_float_meter_at_base_0_and_another_unit(serve: Callable[..., Any]) -> None:
    registers = image(floats(213, W=8123.5, Hz=50.0, AphA=12.25, TotWhImp=1e6))
    _, driver = await serve({0: registers}, "meters", meter(unit=7))
    read = await driver.read()
    assert (read.w.good, read.hz.good, read.a[0].good, read.import_wh.good) == (8123.5, 50.0, 12.25, 1e6)
    assert read.a[1].quality is Quality.MISSING


async def test_single_phase_meter(serve: Callable[..., Any]) -> None:
    _, driver = await serve({50000: image(model_words(201, W=700, W_SF=0, PhVphA=230))}, "meters", meter())
    read = await driver.read()
    assert (read.w.good, [v.good for v in read.v]) == (700, [230])


@pytest.mark.parametrize("base", [40000, 0, 50000])
async def test_unknown_models_are_stepped_over(serve: Callable[..., Any], base: int) -> None:
    vendor = [64999, 300, *([0xABCD] * 300)]
    registers = image(model_words(1, **COMMON), vendor, [64998, 0], model_words(103, W=421, W_SF=1, St=4))
    server, driver = await serve({base: registers}, "pv", PvDevice(id="pv1", url="twin", peak_w=5000))
    read = await driver.read()
    assert (read.w.good, read.state.good) == (4210, "mppt")
    assert len(server.backend.reads) <= 7  # mark, three stretches, who it is, values


async def test_pv_by_701_and_its_draw_at_night(serve: Callable[..., Any]) -> None:
    registers = image(model_words(701, W=-3, W_SF=0, InvSt=1))
    _, driver = await serve({40000: registers}, "pv", PvDevice(id="pv1", url="twin", peak_w=5000))
    read = await driver.read()
    assert (read.w.good, read.state.good) == (0, "sleeping")


async def test_what_is_not_a_sunspec_meter_says_so(serve: Callable[..., Any]) -> None:
    _, driver = await serve({40000: [1, 2, 3, 4], 0: [5, 6]}, "meters", meter())
    with pytest.raises(WrongDevice, match="unit 1: no 'SunS' at register 40000, 0, 50000; check url, unit"):
        await driver.read()
    _, driver = await serve({40000: image(model_words(1), model_words(103))}, "meters", meter())
    with pytest.raises(WrongDevice, match=r"has no SunSpec model 203/213/.*, only 1, 103"):
        await driver.read()


async def test_chain_without_an_end(serve: Callable[..., Any]) -> None:
    _, driver = await serve({40000: [0x5375, 0x6E53] + [0] * 200}, "meters", meter())
    with pytest.raises(BadReply, match="register 40002: there is no model after 'SunS': it holds 0x0000 0x0000"):
        await driver.read()


def switch_registers(position: int, no: int, nc: int) -> list[int]:
    return [0x534B, 1, position, no, nc, 0, 1, 0, 0xFFFF, 0]


async def test_a_switch_that_does_not_keep_its_order(serve: Callable[..., Any]) -> None:
    server, driver = await serve({0: switch_registers(2, 1, 0)}, "switches", SwitchDevice(id="pcc", url="twin"))
    await driver.order("open")
    assert server.backend[7] == 1
    server.backend.on_write = lambda address, values: server.backend.registers.update({7: 0})
    with pytest.raises(ReadbackMismatch, match=r"pcc, register 7: open \(1\) was written and 0 is read"):
        await driver.order("open")


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ((2, 1, 0), "closed"),
        ((1, 0, 1), "open"),
        ((0, 0, 0), "moving"),
        ((2, 0, 1), "moving"),  # the contacts say otherwise
        ((1, 1, 1), "moving"),
        ((9, 1, 0), None),
    ],
)
async def test_switch(serve: Callable[..., Any], raw: tuple[int, int, int], word: str | None) -> None:
    _, driver = await serve({0: switch_registers(*raw)}, "switches", SwitchDevice(id="pcc", url="twin"))
    read = await driver.read()
    assert (read.position.good, read.control.good, read.grid_voltage.good) == (word, "remote", "present")


async def test_foreign_map(serve: Callable[..., Any]) -> None:
    _, driver = await serve({0: [0x1234, *switch_registers(1, 0, 1)[1:]]}, "switches", SwitchDevice(id="p", url="twin"))
    with pytest.raises(WrongDevice, match="register 0: holds 4660, but map skerry-switch expects 21323"):
        await driver.read()
    _, driver = await serve({0: [0x534B, 3, *switch_registers(1, 0, 1)[2:]]}, "switches", SwitchDevice(id="p", url="t"))
    with pytest.raises(WrongDevice, match="register 1: holds 3, but map skerry-switch expects 1 or 2"):
        await driver.read()


async def test_modbus_node(serve: Callable[..., Any]) -> None:
    config = NodeDevice(id="gpu-01", source="modbus", critical=True, unit=3)
    server, driver = await serve({0: [0x534E, 1, 1, 0x86A0, 375, 8, 5, 0xFFFF, 0, 0xFFFF]}, "nodes", config)
    read = await driver.read()
    assert (read.w.good, read.cpu_pct.good, read.gpus_total, read.gpus_busy.good) == (100_000, 37.5, 8, 5)
    assert read.memory_pct.quality is Quality.MISSING
    assert (read.critical, read.source, read.note) == (True, "modbus", "")
    server.backend[7], server.backend[8] = 2400, 1
    assert (await driver.read()).note == "capped at 2400 W, suspended"


async def test_what_a_node_cannot_mean_is_missing(serve: Callable[..., Any]) -> None:
    config = NodeDevice(id="gpu-01", source="modbus", unit=3)
    server, driver = await serve({0: [0x534E, 1, *[0xFFFF] * 8]}, "nodes", config)
    read = await driver.read()
    assert (read.w.value, read.cpu_pct.value, read.memory_pct.value, read.gpus_busy.value) == (None,) * 4
    assert (read.gpus_total, read.note) == (0, "")
    for n, (raw, note) in enumerate(
        [
            ({2: 0x7FFF, 3: 0xFFFF}, "power_w of 2.14748e+09 cannot be"),
            ({2: 0, 3: 800, 4: 0x7FFF}, "cpu_pct of 3276.7 cannot be"),
            ({4: 375, 5: 8, 6: 9}, "gpus_busy of 9 cannot be"),
            ({6: 5, 9: 1001}, "memory_pct of 100.1 cannot be"),
        ]
    ):
        for address, word in raw.items():
            server.backend[address] = word
        read = await driver.read()
        assert read.note == note
        assert read.w.value == (None if n == 0 else 800)


async def test_a_node_that_reports_fewer_gpus_than_declared_is_told(serve: Callable[..., Any]) -> None:
    config = NodeDevice(id="gpu-01", source="modbus", unit=3, gpus=8)
    server, driver = await serve({0: [0x534E, 1, 0, 800, 375, 7, 5, 0xFFFF, 0, 0xFFFF]}, "nodes", config)
    assert (await driver.read()).note == "7 of 8 GPUs are there"
    server.backend[5] = 8
    assert (await driver.read()).note == ""


async def test_a_node_is_written_only_what_it_does_not_hold(serve: Callable[..., Any]) -> None:
    config = NodeDevice(id="gpu-01", source="modbus", unit=3)
    server, driver = await serve({0: [0x534E, 1, 0, 800, 375, 8, 5, 0xFFFF, 0, 0xFFFF]}, "nodes", config)
    assert await driver.order(NodeOrder("gpu-01", cap_w=500.0)) == "written and read back"
    assert await driver.order(NodeOrder("gpu-01", cap_w=500.0)) == ""
    server.backend[7] = 0xFFFF  # it was restarted
    assert await driver.order(NodeOrder("gpu-01", cap_w=500.0)) == "written and read back"
    assert server.backend.writes == [(7, [500, 0])] * 2
    assert await driver.order(NodeOrder("gpu-01", cap_w=132_000.0)) == (
        "written and read back, 65534 W: the register holds no more"
    )


async def test_no_meter_reading_is_torn_or_from_an_earlier_request(serve: Callable[..., Any]) -> None:
    """Both words of a counter change together; whatever the peer does, a reading holds the words of now or none."""
    registers = image(model_words(203, **METER))
    server, driver = await serve({40000: registers}, "meters", meter())
    low = 40000 + 2 + 47  # low word of TotWhImp
    server.late_s = 1.5
    for n, toxic in enumerate(["late", "short", "wrong_tid", "garbage", "hang", "reset", "extra"], start=1):
        server.toxic = toxic
        server.backend[low - 1], server.backend[low] = n, n
        with pytest.raises(DeviceError):
            await driver.read()
        server.toxic = ""
        server.backend[low - 1], server.backend[low] = n + 100, n + 100
        read = await until_done(driver.read, DeviceError)
        assert read.import_wh.good == ((n + 100) << 16 | (n + 100)) * 100


@asynccontextmanager
async def strangers_server(registers: list[int], base: int = 40000) -> AsyncIterator[tuple[str, int]]:
    """pymodbus' own server with its own register store."""
    data = SimData(base, values=registers, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, simdata=[data]), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()
    finally:
        await server.shutdown()


async def test_a_strangers_simulator_serves_our_driver() -> None:
    config = PcsDevice(id="pcs1", battery="bat1", charge_w=60e3, discharge_w=60e3, url="twin")
    async with strangers_server(pcs_image()) as address, ToxicServer(upstream := Upstream(*address)) as proxy:
        proxy.late_s = 1.5
        driver: Any = one_driver(proxy, "pcs", config)
        pcs, battery = await driver.read()
        assert (pcs.w.good, battery.soc_pct.good) == (5000, 55.12)
        assert (await driver.command(-20_000, now_s=0)).written
        pcs, _ = await driver.read()
        assert (pcs.setpoint_w.good, pcs.setpoint_enabled.good) == (-20_000, 1)
        for toxic in ("hang", "late", "short", "wrong_tid", "wrong_function", "exception"):
            proxy.toxic = toxic
            with pytest.raises(DeviceError):
                await driver.read()
            proxy.toxic = ""
            pcs, _ = await until_done(driver.read, DeviceError)
            assert pcs.w.good == 5000
        await driver.close()
        await upstream.close()


async def test_every_device_gets_its_own_link_and_says_what_it_is() -> None:
    asked: list[tuple[str, str, int]] = []

    def resolve(device_id: str, url: str, unit: int) -> tuple[str, int, int] | tuple[Address, int]:
        asked.append((device_id, url, unit))
        return ("plc.site", 502, unit) if device_id == "pv1" else (Address("tcp", "plc.site", 502), unit)

    url = "tcp://plc.site:502"
    drivers = make_drivers(
        [MeterDevice(id="grid", url=url), MeterDevice(id="load", url=url, role="load", unit=2)],
        [PcsDevice(id="pcs1", battery="b", charge_w=1, discharge_w=1, url=url)],
        [PvDevice(id="pv1", url=url, peak_w=1)],
        [SwitchDevice(id="pcc", url=url)],
        [NodeDevice(id="n1", source="modbus", url=url), NodeDevice(id="me", source="psutil")],
        IoConfig(),
        resolve,
    )
    assert [(d.id, d.kind) for d in drivers] == [
        ("grid", "meter"), ("load", "load_meter"), ("pcs1", "pcs"), ("pv1", "pv"), ("pcc", "switch"),
        ("n1", "node"), ("me", "node"),
    ]  # fmt: skip
    assert ("load", url, 2) in asked
    assert {d.link.at for d in drivers if isinstance(d, Linked)} == {"plc.site:502"}
    assert "me" not in [a[0] for a in asked]


def test_float_image_is_what_the_wire_carries() -> None:
    """Guards the test's own oracle: floats go out as IEEE 754, high word first."""
    words = floats(213, W=8123.5)
    assert struct.unpack(">f", struct.pack(">2H", *words[28:30])) == (8123.5,)
