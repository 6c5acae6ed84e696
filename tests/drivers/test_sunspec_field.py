"""SunSpec as the field delivers it: maps that move, chains without an end, silence, limits, several in one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from device_doubles import registers_at
from hypothesis import given
from hypothesis import strategies as st
from sunspec_image import COMMON, address_of, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer
from waiting import until_done

from dispatch.model.readings import Quality
from drivers.config import IoConfig, MeterDevice, PcsDevice, PvDevice
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import BadReply, DeviceError, DeviceException, MapChanged, Timeout, WrongDevice
from drivers.node_config import NodeDevice
from drivers.pv import PvDriver
from drivers.sunspec.discovery import FoundModel
from drivers.sunspec.instances import instances

SILENCE_S = 0.3  # the deadline where silence is waited for
DEADLINE_S = 20.0  # elsewhere: longer than a busy machine takes
BASE = 40_000
INVERTER = {"W": 421, "W_SF": 1, "St": 4, "Hz": 4998, "Hz_SF": -2, "PhVphA": 2301, "V_SF": -1, "VA": 430, "VA_SF": 1}
METER = {"W": 1234, "W_SF": 1, "Hz": 4998, "Hz_SF": -2, "PhVphA": 2301, "V_SF": -1, "TotWhImp": 70_001, "TotWh_SF": 2}
PV = PvDevice(id="pv1", url="twin", peak_w=10e3)
GRID = MeterDevice(id="grid", url="twin")
PCS = PcsDevice(id="pcs1", battery="bat1", charge_w=60e3, discharge_w=60e3, url="twin")

Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """serve(registers, config, base, silent) -> (device, driver), each on a port of its own."""
    running: list[tuple[ToxicServer, Any]] = []

    async def start(
        registers: list[int], config: Any, base: int = BASE, silent: bool = False
    ) -> tuple[FakeDevice, Any]:
        device = FakeDevice({base: registers}, unit=config.unit)
        device.silent = silent
        server = ToxicServer(device)
        await server.start()
        kind = {MeterDevice: "meters", PcsDevice: "pcs", PvDevice: "pv", NodeDevice: "nodes"}[type(config)]
        groups: dict[str, list[Any]] = {"meters": [], "pcs": [], "pv": [], "switches": [], "nodes": []}
        groups[kind].append(config)
        resolve = lambda _id, _url, unit: (Address("tcp", server.host, server.port), unit)  # noqa: E731
        io = IoConfig(deadline_s=SILENCE_S if silent else DEADLINE_S, backoff_max_s=0.1)
        (driver,) = make_drivers(**groups, io=io, resolve=resolve)
        running.append((server, driver))
        return device, driver

    yield start
    for server, driver in running:
        await driver.close()
        await server.stop()


def told(driver: Any) -> str:
    """All new notices, one a line."""
    return "\n".join(notice.text for notice in driver.notices.take())


def inverter(vendor: int = 8, **changes: Any) -> list[int]:
    """Model 1, a vendor's model of this many registers, some of which could be headers of a model, 103."""
    body = ([50, 103] * vendor)[:vendor]
    return image(model_words(1, **COMMON), [64870, vendor, *body], model_words(103, **INVERTER | changes))


# ── the map moves ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("vendor", [0, 2, 4, 6, 9, 12, 60, 200])
async def test_a_map_that_moves_under_an_open_connection_never_gives_a_wrong_value(
    serve: Serve, vendor: int, silent: bool
) -> None:
    device, driver = await serve(inverter(), PV, silent=silent)
    assert (await driver.read()).w.good == 4210
    device.replace(BASE, inverter(vendor, W=399))
    with pytest.raises(DeviceError):
        await driver.read()
    read = await until_done(driver.read, DeviceError)
    assert (read.w.good, read.state.good) == (3990, "mppt")


async def test_the_move_is_told_once_with_its_register(serve: Serve) -> None:
    device, driver = await serve(inverter(), PV)
    await driver.read()
    told(driver)
    at = address_of(inverter(), 103, "ID")
    device.replace(BASE, inverter(12))
    with pytest.raises(MapChanged, match=f"register {at} holds 50 and length 103, expected") as caught:
        await driver.read()
    assert "models are looked for again" in str(caught.value)
    await driver.read()
    said = told(driver).splitlines()
    assert f"register {at} holds" in said[0]
    assert "expected SunSpec model 103 with length 50" in said[0]
    assert said[1:] == ["its SunSpec models were found anew: 1, 64870, 103"]


async def test_a_model_of_another_length_at_the_same_place_is_found_anew(serve: Serve) -> None:
    device, driver = await serve(inverter(), PV)
    await driver.read()
    longer = inverter(W=400)
    at = address_of(longer, 103, "L") - BASE
    device.replace(BASE, [*longer[:at], 52, *longer[at + 1 : -2], 0, 0, 0xFFFF, 0])
    with pytest.raises(MapChanged, match="holds 103 and length 52"):
        await driver.read()
    assert (await driver.read()).w.good == 4000


async def test_a_model_that_leaves_and_comes_back(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inverter that has no model 103 at night, on a connection that stays."""
    monkeypatch.setattr("drivers.sunspec.device.WALK_AGAIN_S", 0.0)
    device, driver = await serve(inverter(), PV)
    await driver.read()
    device.replace(BASE, image(model_words(1, **COMMON)))
    with pytest.raises(MapChanged):
        await driver.read()
    for _ in range(3):
        with pytest.raises(WrongDevice, match="has no SunSpec model 103/102"):
            await driver.read()
    device.replace(BASE, inverter(4))
    assert (await driver.read()).w.good == 4210


async def test_nothing_is_written_to_a_map_that_moved(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.sunspec.device.SEEN_S", -1.0)
    device, driver = await serve(pcs_image(), PCS)
    await driver.read()
    assert (await driver.command(5_000, now_s=0)).held
    device.writes.clear()
    moved = pcs_image(m1={"Md": "PCS 60"})
    device.replace(BASE, [*moved[:70], 64001, 3, 1, 2, 3, *moved[70:]])
    with pytest.raises(MapChanged):
        await driver.command(-5_000, now_s=1)
    assert device.writes == []
    assert (await driver.command(-5_000, now_s=2)).held
    pcs, _ = await driver.read()
    assert pcs.setpoint_w.good == -5_000


async def test_another_device_on_a_new_connection_is_named(serve: Serve) -> None:
    device, driver = await serve(inverter(), PV, silent=True)
    await driver.read()
    told(driver)
    other = image(model_words(1, **COMMON | {"SN": "0815"}), model_words(103, **INVERTER | {"W": 77}))
    device.replace(BASE, other)
    device.max_count = 0  # the connection is lost
    with pytest.raises(DeviceError):
        await driver.read()
    device.max_count = 125
    assert (await until_done(driver.read, DeviceError)).w.good == 770
    assert "another device answers: Stranger PCS 60 0815, was Stranger PCS 60 4711" in told(driver)


@given(st.lists(st.sampled_from(["same", "moved", "gone", "shifted", "back"]), max_size=6), st.integers(0, 130))
def test_whatever_a_map_does_a_reading_is_the_devices_or_none(moves: list[str], vendor: int) -> None:
    """The device has one power, at whatever place: a reading is that power, or there is none."""
    maps = {
        "moved": inverter(vendor),
        "gone": image(model_words(1, **COMMON)),
        "shifted": [0, *inverter()],
        "back": inverter(),
    }

    async def run() -> None:
        double = registers_at(BASE, inverter())
        driver = PvDriver(PV, double, 1)
        for move in ["same", *moves]:
            double.words = maps.get(move, double.words)
            for _ in range(2):
                with contextlib.suppress(DeviceError):
                    assert (await driver.read()).w.good == 4210

    asyncio.run(run())


# ── chains that do not end as they should, and what is at silent addresses ──────────────────────────────────────────

ENDS = {
    "nothing": [],
    "one zero": [0],
    "two zeros": [0, 0],
    "ones without a length": [0xFFFF],
    "zeros and a vendor's leftovers": [0, 0, 17, 4, 1, 2, 3, 4],
    "a lone number": [160],
}


@pytest.mark.parametrize(
    ("end", "silent"),  # where silence follows a lone number, nothing tells it from an answer that was lost
    [(end, silent) for end in ENDS for silent in (False, True) if not (silent and end == "a lone number")],
)
async def test_a_chain_without_its_end_is_read_up_to_there(serve: Serve, end: str, silent: bool) -> None:
    _, driver = await serve([*inverter()[:-2], *ENDS[end]], PV, silent=silent)
    read = await until_done(driver.read, DeviceError)
    assert (read.w.good, read.state.good) == (4210, "mppt")
    (said,) = told(driver).splitlines()
    assert said.startswith("the chain of SunSpec models has no proper end: register 40132 ")
    assert said.endswith("expected 0xFFFF 0x0000; the 3 models up to there are used")
    await driver.read()
    assert told(driver) == ""


async def test_models_behind_an_open_end_are_looked_for_on_the_next_connection(serve: Serve) -> None:
    """The battery's models did not answer when the PCS was first seen."""
    device, driver = await serve(pcs_image(), PCS, silent=True)
    hidden = [address_of(pcs_image(), 713, "ID"), address_of(pcs_image(), 713, "L")]
    device.refuse.update(dict.fromkeys(hidden, 2))
    pcs, battery = await until_done(driver.read, DeviceError)
    assert (pcs.w.good, battery) == (5_000, None)
    assert f"has no proper end: register {hidden[0]} is not there" in told(driver)
    device.refuse = {address_of(pcs_image(), 701, "W"): 2}  # the connection is lost
    with pytest.raises(Timeout):
        await driver.read()
    device.refuse.clear()
    pcs, battery = await until_done(driver.read, DeviceError)
    assert (pcs.w.good, battery.soc_pct.good) == (5_000, 55.12)


@pytest.mark.parametrize("length", [0, 0xFFFF])
async def test_a_proper_end_is_not_worth_a_word(serve: Serve, length: int) -> None:
    _, driver = await serve([*inverter()[:-1], length], PV)
    assert (await driver.read()).w.good == 4210
    assert told(driver) == ""


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
async def test_silence_where_there_are_no_registers(serve: Serve, base: int) -> None:
    _, driver = await serve(image(model_words(1, **COMMON), model_words(203, **METER)), GRID, base, silent=True)
    assert (await driver.read()).w.good == 12_340


async def test_a_device_that_is_silent_everywhere_says_where_it_was_asked(serve: Serve) -> None:
    device, driver = await serve(inverter(), PV, silent=True)
    device.max_count = 0
    with pytest.raises(Timeout, match="no answer within 300 ms at any of the registers 40000, 0, 50000"):
        await driver.read()


async def test_a_chain_that_never_ends_is_refused(serve: Serve) -> None:
    _, driver = await serve([*image(model_words(1))[:-2], *[64_001, 0] * 300], PV)
    with pytest.raises(BadReply, match="the chain of models does not end, after 200 of them"):
        await driver.read()


async def test_a_model_that_claims_more_than_there_can_be_is_refused(serve: Serve) -> None:
    _, driver = await serve([*image(model_words(1))[:-2], 64_001, 60_000, *[0] * 200], PV)
    with pytest.raises(BadReply, match="register 40070: model 64001 claims 60000 registers, beyond register 65535"):
        await driver.read()


@pytest.mark.parametrize("point", ["ID", "SoC"])
async def test_a_failure_in_the_middle_of_a_chain_is_not_its_end(serve: Serve, point: str) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.refuse[address_of(pcs_image(), 713, point)] = 4
    with pytest.raises(DeviceException, match="exception 4"):
        await driver.read()
    device.refuse.clear()
    assert (await driver.read())[1].soc_pct.good == 55.12


@pytest.mark.parametrize("code", [5, 6, 10, 11])
async def test_a_device_that_is_busy_is_not_one_without_sunspec(serve: Serve, code: int) -> None:
    device, driver = await serve(inverter(), PV)
    device.refuse[BASE] = code
    with pytest.raises(DeviceException, match=f"exception {code}"):
        await driver.read()
    device.refuse.clear()
    assert (await driver.read()).w.good == 4210


@pytest.mark.parametrize("every", [2, 3, 5])
async def test_a_device_that_is_busy_now_and_then_is_asked_again(serve: Serve, every: int) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.busy_every = every
    for n, w in enumerate((5_000, -7_000, 9_000)):
        assert (await driver.read())[0].w.good == 5_000
        assert (await driver.command(w, now_s=n)).held


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limit", "silent"),  # silent below 50: the same, by more steps of two timeouts each
    [(limit, False) for limit in (100, 64, 50, 30, 16, 8)] + [(limit, True) for limit in (100, 64, 50)],
)
async def test_long_blocks_are_read_in_parts_where_the_device_wants_it(serve: Serve, limit: int, silent: bool) -> None:
    device, driver = await serve(image(model_words(1, **COMMON), model_words(203, **METER)), GRID, silent=silent)
    device.max_count = limit
    read = await until_done(driver.read, DeviceError)
    assert (read.w.good, read.hz.good, read.v[0].good, read.import_wh.good) == (12_340, 49.98, 230.1, 7_000_100)
    device.reads.clear()
    await driver.read()
    assert max(count for _, count in device.reads) <= limit
    assert len(device.reads) <= (1 if limit >= 64 else 3 if limit == 50 else 8)


@pytest.mark.parametrize("limit", [100, 30, 4])
async def test_no_more_is_asked_than_the_site_file_allows(serve: Serve, limit: int) -> None:
    """Nothing has to be refused first, so nothing is told."""
    config = MeterDevice(id="grid", url="twin", max_registers=limit)
    device, driver = await serve(image(model_words(1, **COMMON), model_words(203, **METER)), config)
    for _ in range(2):
        read = await until_done(driver.read, DeviceError)
        assert (read.w.good, read.hz.good, read.v[0].good, read.import_wh.good) == (12_340, 49.98, 230.1, 7_000_100)
    assert max(count for _, count in device.reads) <= limit
    assert "parts" not in told(driver)


async def test_a_pcs_of_fifty_registers_is_read_and_commanded(serve: Serve) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.max_count = 50
    pcs, battery = await driver.read()
    assert (pcs.w.good, pcs.hz.good, battery.soc_pct.good) == (5_000, 50.012, 55.12)
    assert (await driver.command(-20_000, now_s=0)).held
    assert max(count for _, count in device.reads) <= 50
    assert "longer blocks are read in parts of at most 50" in told(driver)


async def test_a_scale_factor_that_changes_between_two_parts_gives_no_value(serve: Serve) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.max_count = 50
    await driver.read()
    scale = address_of(pcs_image(), 701, "W_SF")
    exchange, flips = device.exchange, [0]

    async def flipping(frame: bytes) -> bytes:
        reply = await exchange(frame)
        address, count = int.from_bytes(frame[8:10], "big"), int.from_bytes(frame[10:12], "big")
        if frame[7] == 3 and address <= scale < address + count:  # right after each read of the scale factor
            flips[0] += 1
            device[scale] = 1 + flips[0] % 2
            device[address_of(pcs_image(), 701, "W")] = 500 if flips[0] % 2 == 0 else 50
        return reply

    device.exchange = flipping  # type: ignore[method-assign]
    with pytest.raises(BadReply, match=r"model 701, register \d+: a scale factor changed from 1 to 2"):
        await driver.read()
    device.exchange = exchange  # type: ignore[method-assign]
    device[scale], device[address_of(pcs_image(), 701, "W")] = 1, 500
    assert (await driver.read())[0].w.good == 5_000


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_whatever_exception_refuses_a_single_register(serve: Serve, code: int) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.single_by, device.refuses_with = 6, code
    assert (await driver.command(5_000, now_s=0)).held


@pytest.mark.parametrize("function", [6, 16])
async def test_a_single_register_is_written_by_the_function_that_the_device_takes(serve: Serve, function: int) -> None:
    device, driver = await serve(pcs_image(), PCS)
    device.single_by = function
    for n, w in enumerate((5_000, -7_000, 9_000)):
        assert (await driver.command(w, now_s=n)).held
    assert (await driver.read())[0].setpoint_w.good == 9_000
    single = [len(values) == 1 for _, values in device.writes]
    assert any(single)
    assert (6 in device.write_functions) is (function == 6)
    assert device.write_functions.count(16) >= single.count(False)
    if function == 6:
        assert device.write_functions.count(16) == single.count(False) + 1  # tried once, then remembered
        assert told(driver) == "takes a single register by function 6 only: written so from now on"


async def test_if_both_functions_are_refused_both_are_named(serve: Serve) -> None:
    device, driver = await serve(pcs_image(), PCS)
    enable = address_of(pcs_image(), 704, "WSetEna")
    device.single_by = 5
    with pytest.raises(DeviceException) as caught:
        await driver.command(5_000, now_s=0)
    assert "functions 16 and 6 were both tried: exception 1, illegal function; then exception 1" in str(caught.value)
    assert f"register {enable}" in str(caught.value)
    assert not any(len(values) == 1 for _, values in device.writes)


# ── several in one chain ────────────────────────────────────────────────────────────────────────────────────────────


def two_meters() -> list[int]:
    production = model_words(1, **COMMON | {"Opt": "Production", "SN": "11"})
    both = model_words(1, **COMMON | {"Opt": "Export+Import", "SN": "12"})
    return image(
        model_words(1, **COMMON),
        model_words(103, **INVERTER),
        production,
        model_words(203, **METER | {"W": -77}),
        both,
        model_words(203, **METER),
    )


@pytest.mark.parametrize(("instance", "w"), [(1, -770), (2, 12_340)])
async def test_the_site_file_says_which_of_two_meters(serve: Serve, instance: int, w: float) -> None:
    _, driver = await serve(two_meters(), MeterDevice(id="grid", url="twin", instance=instance))
    assert (await driver.read()).w.good == w
    assert told(driver) == ""


async def test_of_two_meters_and_no_word_the_first_is_read_and_said_so(serve: Serve) -> None:
    _, driver = await serve(two_meters(), GRID)
    assert (await driver.read()).w.good == -770
    (notice,) = driver.notices.take()
    assert notice.severity == "warning"
    assert notice.text.startswith("its map holds 2 of the models of a meter: 1 'PCS 60' 'Production' '11' (model 203,")
    assert "2 'PCS 60' 'Export+Import' '12'" in notice.text
    assert notice.text.endswith("the first is read. Say which with the key instance in the site file")


async def test_an_instance_that_is_not_there_is_refused(serve: Serve) -> None:
    _, driver = await serve(two_meters(), MeterDevice(id="grid", url="twin", instance=3))
    with pytest.raises(WrongDevice, match=r"has 2 of the SunSpec models of a meter, not 3; set instance to 1\.\.2"):
        await driver.read()
    _, driver = await serve(inverter(), PvDevice(id="pv1", url="twin", peak_w=1e4, instance=2))
    with pytest.raises(WrongDevice, match="has 1 of the SunSpec models of a PV inverter, not 2; set instance to 1"):
        await driver.read()


def found(*ids: int) -> tuple[FoundModel, ...]:
    return tuple(FoundModel(model_id, 2 + 100 * n, 98) for n, model_id in enumerate(ids))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ((1, 203), [(1, 203)]),
        ((1, 103, 203), [(1, 103, 203)]),
        ((1, 203, 1, 203), [(1, 203), (1, 203)]),
        ((1, 203, 203, 160), [(1, 203), (203, 160)]),
        ((1, 203, 1, 213), [(1, 203), (1, 213)]),
        ((1, 203, 213), [(1, 203, 213)]),  # one meter that describes itself twice
        ((203, 203), [(203,), (203,)]),
        ((1, 103), []),
        ((), []),
    ],
)
def test_instances(ids: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    assert [tuple(f.id for f in one) for one in instances(found(*ids), (203, 213))] == expected


# ── values that are none ────────────────────────────────────────────────────────────────────────────────────────────


async def test_registers_of_all_ones_are_no_power(serve: Serve) -> None:
    for config, registers in (
        (PV, image(model_words(1, **COMMON), [103, 50, *[0xFFFF] * 50])),
        (GRID, image(model_words(1, **COMMON), [203, 105, *[0xFFFF] * 105])),
        (GRID, image(model_words(1, **COMMON), [213, 124, *[0xFFFF] * 124])),
    ):
        _, driver = await serve(registers, config)
        assert (await driver.read()).w.quality is Quality.MISSING


@pytest.mark.parametrize("scale", [0x8000, 11, -11, 0x7FFF, 100])
async def test_power_without_a_usable_scale_factor_is_missing(serve: Serve, scale: int) -> None:
    signed = scale - 0x10000 if scale >= 0x8000 else scale
    _, driver = await serve(inverter(W_SF=signed), PV)
    read = await driver.read()
    assert (read.w.quality, read.state.good) == (Quality.MISSING, "mppt")


async def test_a_node_that_does_not_know_its_power_says_nothing(serve: Serve) -> None:
    config = NodeDevice(id="gpu-01", source="modbus")
    _, driver = await serve([0x534E, 1, 0xFFFF, 0xFFFF, *[0xFFFF] * 6], config, 0)
    read = await driver.read()
    assert read.w.quality is Quality.MISSING
    assert (read.cpu_pct.quality, read.memory_pct.quality) == (Quality.MISSING, Quality.MISSING)
    assert read.gpus_total == 0
