"""PV by a device map on the wire: a hybrid's beside its PCS, a map of kind pv, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client.mixin import ModbusClientMixin
from toxic import FakeDevice, ToxicServer, Units

from dispatch.model.equipment import Meter, Pcs, Pv
from drivers.config import IoConfig, MeterDevice, PcsDevice, PvDevice
from drivers.devices import make_drivers
from drivers.maps.hybrid import ac_powers
from drivers.maps.loader import bundled, load
from drivers.maps.pcs import MapPcs
from drivers.maps.pv import MapPv, pv_part
from drivers.maps.schema import DeviceMap, Identity
from drivers.modbus.address import Address
from drivers.modbus.errors import DeviceException, WrongDevice
from drivers.register_view import register_values
from tests.drivers.maps.pcs_twins import GoodWeTwin

HYBRIDS = [name for name in bundled() if load(name).info.kind == "pcs" and "pv_w" in load(name).values]
OWN_MAP = """[map]
name = "mine"
title = "An inverter"
kind = "pv"
sources = ["by hand"]
no_identity = "for a test"
[value.w]
address = 10
type = "s32"
unit = "W"
nan = [0x80000000]
[value.state]
address = 12
type = "enum"
poll = "slow"
words = { 1 = "off", 2 = "running" }
"""
METER_MAP = OWN_MAP.replace('"pv"', '"meter"').replace('"mine"', '"meter"').partition("[value.state]")[0]
PV = {"id": "pv1", "peak_w": 12e3}
Start = Callable[..., Any]
TYPES = ModbusClientMixin.DATATYPE
KINDS = {
    "s16": TYPES.INT16, "u16": TYPES.UINT16, "s32": TYPES.INT32, "u32": TYPES.UINT32, "f32": TYPES.FLOAT32,
}  # fmt: skip


def hybrid(device_map: DeviceMap, powers: dict[str, float], unit: int = 1) -> FakeDevice:
    """A device with these powers of PV in W, known by its identity; 0xFFFF lies between. pymodbus encodes them."""
    words: dict[int, int] = {}
    for name, w in powers.items():
        value = device_map.values[name]
        kind = KINDS[value.type or ""]
        number = w if kind is TYPES.FLOAT32 else round(w)
        raw = ModbusClientMixin.convert_to_registers(number, kind, word_order=device_map.order_of(value))
        words |= dict(enumerate(raw, value.address or 0))
    for identity in device_map.identity:
        words |= dict(enumerate(_known_by(identity), identity.address))
    near = {a for address in words for a in range(address, min(address + 128, 1 << 16))}
    held = {**dict.fromkeys(near, 0xFFFF), **words}
    return FakeDevice({address: [word] for address, word in held.items()}, unit)


def _known_by(identity: Identity) -> list[int]:
    if identity.type == "string":
        begins = identity.starts_with
        text = begins if isinstance(begins, str) else next(iter(begins))
        return ModbusClientMixin.convert_to_registers(text.ljust(2 * identity.size, "\0"), TYPES.STRING)
    return [int(identity.one_of[0] if identity.one_of else identity.equals or 0)]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """start(backend, meters, pcs, pv, beside) -> server, drivers; everything is closed afterwards."""
    running: list[tuple[ToxicServer, list[Any]]] = []

    async def made(
        backend: Any, meters: Any = (), pcs: Any = (), pv: Any = (), beside: Path | None = None
    ) -> tuple[ToxicServer, list[Any]]:
        server = ToxicServer(backend)
        await server.start()
        drivers = make_drivers(
            meters,
            pcs,
            pv,
            [],
            [],
            IoConfig(deadline_s=5.0),
            lambda _, __, unit: (Address("tcp", server.host, server.port), unit),
            beside=beside,
        )
        running.append((server, drivers))
        return running[-1]

    yield made
    for server, drivers in running:
        for driver in drivers:
            await driver.close()
        await server.stop()


def test_there_are_hybrids() -> None:
    assert {"goodwe-et", "foxess-h3", "foxess-h3-pro", "huawei-luna2000", "sungrow-sh"} <= set(HYBRIDS)


async def test_the_balance_of_a_site_with_a_hybrid_closes(start: Start, tmp_path: Path) -> None:
    """5 kW of load, 3 kW of PV on the hybrid's strings; whatever the battery does, grid + PCS + PV is the load."""
    twin, load_w, pv_w = GoodWeTwin(), 5000.0, 3000.0
    (tmp_path / "meter.toml").write_text(METER_MAP)
    meter = FakeDevice({10: [0, 0]}, 2)

    def metered(address: int, values: list[int]) -> None:
        twin.obey()
        raw = ModbusClientMixin.convert_to_registers(round(load_w - pv_w - twin.battery_w), TYPES.INT32)
        meter.registers |= dict(enumerate(raw, 10))

    twin.main.on_write = metered
    metered(0, [])
    url = "tcp://x:1"
    ratings = {"battery": "bat1", "charge_w": 10e3, "discharge_w": 10e3, "accept_no_revert": True, "cap_w": 9e3}
    server, (grid, pcs, pv) = await start(
        Units(twin.main, meter),
        [MeterDevice(id="grid", url=url, unit=2, map="./meter.toml")],
        [PcsDevice(id="pcs1", url=url, unit=247, map="goodwe-et", **ratings)],
        [PvDevice(**PV, url=url, unit=247, map="goodwe-et")],
        tmp_path / "site.toml",
    )
    assert isinstance(pcs, MapPcs)
    assert isinstance(pv, MapPv)
    for now_s, w in enumerate((None, 2500.0, -4000.0, 0.0)):
        await pcs.command(w, float(now_s))
        read: tuple[Meter, tuple[Pcs, Any], Pv] = (await grid.read(), await pcs.read(), await pv.read())
        parts = (read[0].w.good, read[1][0].w.good, read[2].w.good)
        assert parts[1:] == (700.0 if w is None else w, pv_w)
        assert sum(part or 0.0 for part in parts) == pytest.approx(load_w)
    assert server.most_open == 1  # one connection for all that is behind one address
    assert pv.identity == pcs.identity
    assert pv.identity.model.startswith("GW10K-ET")


async def test_with_the_inverters_ac_power_pcs_and_pv_are_exactly_it(start: Start) -> None:
    """3 kW of PV, the battery charges with 1 kW: of the 200 W lost a quarter is the battery's."""
    values = {"ac_w": 1800.0, "battery_w": -1000.0, "x_pv1_w": 2000.0, "x_pv2_w": 1000.0}
    values |= dict.fromkeys(("battery_v", "soc_pct", "battery_temp_c"), 25.0)
    _, (pcs, pv) = await start(
        hybrid(load("goodwe-et"), values),
        pcs=[
            PcsDevice(
                id="pcs1",
                url="tcp://x:1",
                map="goodwe-et",
                battery="bat1",
                charge_w=10e3,
                discharge_w=10e3,
                deadline_s=10.0,
            )
        ],
        pv=[PvDevice(**PV, url="tcp://x:1", map="goodwe-et", deadline_s=10.0)],
    )
    read, _ = await pcs.read()
    assert (read.w.good, read.w_estimated) == (pytest.approx(-1050.0), False)
    assert (await pv.read()).w.good == pytest.approx(2850.0)


@pytest.mark.parametrize(
    ("battery_w", "pv_w", "ac_w", "shares"),
    [
        (0.0, 4000.0, 3880.0, (0.0, 3880.0)),  # all losses are the PV's
        (5000.0, 0.0, 4800.0, (4800.0, 0.0)),  # at night
        (-3000.0, 3000.0, -90.0, (-3045.0, 2955.0)),
        (5000.0, 0.0, -4800.0, None),  # the sign of another meaning
        (5000.0, 4000.0, 0.0, None),  # a register that is not there
        (0.0, 0.0, -40.0, None),  # nothing is converted
        (5000.0, None, 4800.0, None),
    ],
)
def test_the_losses_of_an_inverter_are_shared(
    battery_w: float, pv_w: float | None, ac_w: float, shares: tuple[float, float] | None
) -> None:
    found = ac_powers(battery_w, pv_w, ac_w)
    assert found == (None if shares is None else pytest.approx(shares))


@pytest.mark.parametrize("name", HYBRIDS)
async def test_the_pv_of_every_hybrid_is_read_alone(start: Start, name: str) -> None:
    device_map = load(name)
    parts = device_map.values["pv_w"].sum_of or ("pv_w",)
    device = hybrid(device_map, {part: 1000.0 * n for n, part in enumerate(parts, 1)})
    _, (pv,) = await start(device, pv=[PvDevice(**PV, url="tcp://x:1", map=name)])
    assert (await pv.read()).w.good == sum(1000.0 * n for n in range(1, len(parts) + 1))
    needed = {name for name in pv_part(device_map).values if name not in ("maker", "model", "serial", "firmware")}
    ac = device_map.values["ac_w"]
    assert needed == {"pv_w", *device_map.values["pv_w"].sum_of, "ac_w", *ac.sum_of, "battery_w"}
    device.reads.clear()
    await pv.read()
    words = {address + n for address, count in device.reads for n in range(count)}
    assert len(device.reads) <= 3
    assert device_map.values["soc_pct"].address not in words
    shown = [v for v in register_values(pv, pv.link.traffic.registers(), 0.0) if v.name in parts]
    assert len(shown) == len(parts)


async def test_power_at_night_is_not_negative_and_none_is_none(start: Start) -> None:
    device = hybrid(load("huawei-luna2000"), {"pv_w": -12.0})
    _, (pv,) = await start(device, pv=[PvDevice(**PV, url="tcp://x:1", map="huawei-luna2000")])
    assert (await pv.read()).w.good == 0.0
    device.registers |= {32064: 0x7FFF, 32065: 0xFFFF}
    assert (await pv.read()).w.good is None


async def test_without_its_power_it_is_not_read(start: Start) -> None:
    device = hybrid(load("huawei-luna2000"), {"pv_w": 0.0})
    device.refuse[32064] = 2
    _, (pv,) = await start(device, pv=[PvDevice(**PV, url="tcp://x:1", map="huawei-luna2000")])
    with pytest.raises(DeviceException):
        await pv.read()


async def test_a_map_of_kind_pv_tells_the_state_too_and_takes_no_limit(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(OWN_MAP)
    device = FakeDevice({10: [0, 7000, 2]}, 1)
    given = PvDevice(**PV, url="tcp://x:1", map="./mine.toml")
    _, (pv,) = await start(device, pv=[given], beside=tmp_path / "site.toml")
    read = await pv.read()
    assert (pv.kind, read.id, read.w.good, read.state.good) == ("pv", "pv1", 7000.0, "running")
    assert not (await pv.command(None, 0.0)).written
    with pytest.raises(WrongDevice, match="takes no limit"):
        await pv.command(1000.0, 0.0)
    assert device.writes == []


SMA = {30051: [0, 8001], 30053: [0, 9285], 30201: [0, 307], 30231: [0, 25000], 30775: [0, 20000]}
SET = {40016: [0xFFFF], 40210: [0, 1079], 41193: [0, 2507], 41195: [0, 300]}


async def limited(start: Start, registers: dict[int, list[int]]) -> tuple[FakeDevice, Any]:
    """A Sunny Tripower 25000TL-30 on loopback, by the maker's sheet, and its driver after a reading."""
    near = {address: [0xFFFF] for address in range(30000, 30900)}
    whole = {address + n: [word] for address, words in (SMA | registers).items() for n, word in enumerate(words)}
    device = FakeDevice(near | whole, 3)
    pv = PvDevice(**PV, url="tcp://x:1", unit=3, map="sma-sunny-tripower", curtail=True, deadline_s=10.0)
    _, (driver,) = await start(device, pv=[pv])
    await driver.read()
    return device, driver


async def test_a_limit_is_a_share_of_the_rated_power_renewed_before_its_time_out(start: Start) -> None:
    device, pv = await limited(start, SET)
    for now_s, w, taken_w, writes in (
        (0.0, 15_000.0, 15_000.0, [(40016, [60])]),
        (1.0, 15_000.0, 15_000.0, []),
        (2.0, 15_240.0, 15_000.0, []),  # 60.96 %: whole percents, never more than allowed
        (3.0, 0.0, 0.0, [(40016, [0])]),
        (152.0, 0.0, 0.0, []),
        (153.0, 0.0, 0.0, [(40016, [0])]),  # half of 300 s
        (154.0, 90_000.0, 25_000.0, [(40016, [100])]),
        (155.0, None, None, []),  # full power already
        (304.0, None, None, [(40016, [100])]),  # without it the fallback would count
        (305.0, 12_500.0, 12_500.0, [(40016, [50])]),
        (306.0, None, None, [(40016, [100])]),
    ):
        result = await pv.command(w, now_s)
        assert (result.w, result.note, device.writes) == (taken_w, "", writes), now_s
        device.writes.clear()
    assert set(device.write_functions) == {16}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({40210: [0, 1077]}, "not set to take limits"),
        ({41193: [0, 2506]}, "one of ours would stand for ever"),
        ({41195: [0, 0]}, "one of ours would stand for ever"),
        ({30231: [0xFFFF, 0xFFFF]}, "its rated power is not read"),
    ],
)
async def test_an_inverter_that_is_not_set_for_it_is_not_written(
    start: Start, change: dict[int, list[int]], part: str
) -> None:
    device, pv = await limited(start, SET | change)
    result = await pv.command(9_000.0, 0.0)
    assert (result.w, result.written) == (None, False)
    assert part in result.note
    assert (await pv.command(None, 1.0)).note == ""
    assert device.writes == []


async def test_an_inverter_without_a_fallback_is_read_and_not_limited(start: Start) -> None:
    device, pv = await limited(start, {})  # a TL-10 has no such registers
    assert (await pv.read()).w.good == 20_000.0
    assert "not set to take limits" in (await pv.command(9_000.0, 0.0)).note
    assert device.writes == []
