"""The meter on port P1: its telegrams by hand, cut, glued, damaged and endless; over a serial port and over TCP."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p1_telegrams import (
    BELGIUM,
    BELGIUM_VALUES,
    DSMR_5,
    DSMR_5_VALUES,
    SWEDEN,
    SWEDEN_VALUES,
    crc_by_division,
    sent,
    telegram,
)
from waiting import LIMIT_S, until, until_done

from dispatch.model.equipment import Meter
from drivers.config import IoConfig, MeterDevice
from drivers.devices import Listening, make_drivers
from drivers.modbus.address import parse as address_of
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout, WrongDevice
from drivers.p1 import arrivals, receiver
from drivers.p1.arrivals import MOST_BYTES_A_SECOND, Arrivals
from drivers.p1.meter import P1Meter
from drivers.p1.telegram import MOST_BYTES, PIECE_BYTES, BadTelegram, Splitter, as_written, crc16, parse, time_of
from gateway.commissioning.scan import scan
from gateway.errors import CommandRefused
from gateway.register_access import RegisterAccess


def cut(data: bytes) -> list[bytes]:
    return list(Splitter().feed(data))


# ── one telegram ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "values", "identity"),
    [
        (DSMR_5, DSMR_5_VALUES, ("ISK", "2MT382-1000", "K8EG004046395507", "50", "101209113020W")),
        (BELGIUM, BELGIUM_VALUES, ("FLU", "253770234_A", "1SAG1100057729", "50217", "221220204556W")),
        (SWEDEN, SWEDEN_VALUES, ("ELL", "253833635_A", "", "", "210407111627W")),
    ],
)
def test_values_by_hand(lines: bytes, values: dict[str, float], identity: tuple[str, ...]) -> None:
    (raw,) = cut(sent(lines))
    found = parse(raw)
    assert found.values == values
    assert (found.maker, found.model, found.serial, found.version, found.time) == identity


def test_values_that_follow_their_time_are_read_with_it() -> None:
    assert as_written("101209112500W)(12785.123*m3") == (12785.123, "m3")
    assert time_of("101209112500W)(12785.123*m3") == "2010-12-09 11:25:00"
    for other in ("00003", "01.193*kW", "1012091125W)(1*m3", "101209112500X)(1*m3"):
        assert time_of(other) == ""
    assert as_written("101209112500W)(12785.123") == ("101209112500W)(12785.123", "")


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc16(b"123456789") == crc_by_division(b"123456789") == 0xBB3D  # the check value of CRC-16/ARC


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"(01.193*kW)", b"(01.194*kW)", "checksum is"),
        (b"!", b"!XYZW\n", "no four hexadecimal digits"),
        (b"!", b"!\n", "DSMR 2 and 3"),
    ],
)
def test_a_telegram_that_is_damaged_or_unprotected(old: bytes, new: bytes, why: str) -> None:
    right = sent(DSMR_5)
    raw = right.replace(old, new) if old != b"!" else DSMR_5.replace(b"!", new).replace(b"\n", b"\r\n")
    with pytest.raises(BadTelegram, match=why):
        parse(*cut(raw))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"1-0:2.7.0(00.000*kW)\n", b"", "holds no power"),
        (b"(01.193*kW)", b"(01.193*kvar)", "holds no power"),
        (b"(01.193*kW)", b"(1e3*kW)", "holds no power"),
        (b"1-0:2.7.0(00", b"1-0:1.7.0(09.000*kW)\n1-0:2.7.0(00", "stands twice"),
        (b"/ISk5\\2MT382-1000", b"/", "no identification"),
    ],
)
def test_a_telegram_with_a_right_checksum_that_is_not_used(old: bytes, new: bytes, why: str) -> None:
    with pytest.raises(BadTelegram, match=why):
        parse(*cut(sent(DSMR_5.replace(old, new))))


def test_every_single_bit_counts() -> None:
    right = sent(DSMR_5)
    for at in range(0, 8 * (len(right) - 2), 61):
        wrong = bytearray(right)
        wrong[at // 8] ^= 1 << at % 8
        for raw in cut(bytes(wrong)):
            if raw[raw.index(b"!") :].lower() != right[right.index(b"!") :].lower():
                continue  # the checksum itself, of which a digit has two cases
            with pytest.raises(BadTelegram):
                parse(raw)


# ── a stream of them ────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.binary(max_size=30))
def test_any_pieces_give_the_same_telegrams(sizes: list[int], noise: bytes) -> None:
    noise = noise.replace(b"/", b"").replace(b"!", b"") + b"\n"
    stream, splitter, found, at = noise + telegram(100) + noise + telegram(-200), Splitter(), [], 0
    while at < len(stream):
        for size in sizes:
            found += list(splitter.feed(stream[at : at + size]))
            at += size
    assert [parse(raw).values["w"] for raw in found] == [100.0, -200.0]


def test_one_that_is_cut_off_costs_only_itself() -> None:
    whole = telegram(1)
    for at in range(len(whole) // 10, len(whole) - 8, len(whole) // 10):
        found = []
        for raw in cut(telegram(7) + whole[:at] + b"\r\n" + telegram(2) + telegram(3)):
            found.append(parse(raw).values["w"])
        assert found == [7.0, 2.0, 3.0]


def test_a_stream_without_an_end_is_not_kept() -> None:
    for endless in (b"x" * PIECE_BYTES, b"1-0:1.7.0(01.193*kW)\r\n" * 200, b"\n/ab\r\n" * 700, b"\n!" * 2_000):
        splitter = Splitter()
        list(splitter.feed(b"/ISk5\\2MT382-1000\r\n"))
        for _ in range(100):
            list(splitter.feed(endless))
            assert len(splitter._kept) <= MOST_BYTES + PIECE_BYTES
        assert [parse(raw).values["w"] for raw in splitter.feed(b"\r\n" + telegram(5))][-1] == 5.0


# ── when they arrive ────────────────────────────────────────────────────────────────────────────────────────────────


def arrived(*telegrams: tuple[float, bytes]) -> Arrivals:
    came = Arrivals()
    came.begin(telegrams[0][0] - 1.0)
    for at_s, data in telegrams:
        assert came.take(data, at_s)
    return came


def test_a_telegram_a_second_is_used_until_it_is_too_old() -> None:
    came = arrived((100.0, telegram(1, 0)), (101.0, telegram(2, 1)))
    found = came.current(101.2)
    assert found is not None
    assert (found.telegram.values["w"], found.at_s) == (2.0, 101.0)
    assert came.current(102.6) is None
    assert came.why(104.0)[0] == "no telegram for 3.0 s"


def test_one_alone_may_be_that_of_a_slow_meter_and_is_not_used() -> None:
    assert arrived((100.0, telegram(1, 0))).current(100.0) is None
    lost_one = arrived((100.0, telegram(1, 0)), (102.1, telegram(2, 2)))
    assert lost_one.current(102.1) is not None


def test_a_meter_of_ten_seconds_is_refused_with_what_to_do() -> None:
    came = arrived(*((100.0 + 10 * n, telegram(n, n)) for n in range(5)))
    assert came.current(140.0) is None
    what, advice = came.why(140.5)
    assert what == "its telegrams come 10 s apart"
    assert "use a Modbus meter" in advice
    assert "use a Modbus meter" in came.why(146.0)[1]


def test_a_telegram_that_a_bridge_repeats_grows_old() -> None:
    came = arrived(*((100.0 + n, telegram(1, min(n, 1))) for n in range(5)))
    assert came.current(104.0) is None
    assert came.why(104.0)[0] == "no telegram for 3.0 s"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (telegram(3, 2).replace(b"220.1", b"220.7"), "no usable telegram for 3.0 s: its checksum is"),
        (DSMR_5.replace(b"\n", b"\r\n") + b"\r\n", "no usable telegram for 3.0 s: it has no checksum"),
        (telegram(3, 2)[:500], "no telegram for 3.0 s"),
        (bytes(range(128, 256)) * 9, "no telegram for 3.0 s"),
    ],
)
def test_what_is_no_telegram_makes_nothing_younger(data: bytes, why: str) -> None:
    came = arrived((100.0, telegram(1, 0)), (101.0, telegram(2, 1)), (102.0, data))
    found = came.current(102.0)
    assert found is not None
    assert found.at_s == 101.0
    assert came.current(104.0) is None
    assert came.why(104.0)[0].startswith(why)


def test_noise_from_the_start_is_said_to_be_noise() -> None:
    came = arrived((100.0, b"\x80\x9a" * 50))
    assert came.why(101.0)[0] == "100 bytes in 2.0 s, and no telegram among them"


def test_a_flood_is_not_looked_at() -> None:
    came = Arrivals()
    came.begin(100.0)
    assert came.take(b"x" * MOST_BYTES_A_SECOND, 100.2)
    assert not came.take(telegram(1), 100.3)
    assert came.telegrams == 0
    assert came.take(telegram(1), 101.0), "the next second"


# ── the port ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may stand still for seconds at any moment; what is too old is tested above, by given times."""
    monkeypatch.setattr(arrivals, "MOST_AGE_S", LIMIT_S)
    monkeypatch.setattr(arrivals, "MOST_GAP_S", LIMIT_S)
    monkeypatch.setattr(receiver, "FIRST_S", LIMIT_S)


class Bridge:
    """What the meter sends, to whoever is connected."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.received = self.repeats = b""  # repeats: what it sends on each connection
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        writer.write(self.repeats)
        with suppress(ConnectionError):
            self.received += await reader.read()
        writer.transport.abort()
        self.writers.remove(writer)

    async def send(self, data: bytes) -> None:
        await until(lambda: self.writers)
        self.writers[-1].write(data)

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def listening(url: str, serial: str = "") -> AsyncIterator[P1Meter]:
    config = MeterDevice(id="pcc", url=url, source="p1", serial=serial)
    (driver,) = make_drivers([config], [], [], [], [], IoConfig(backoff_max_s=0.1), lambda *_: (address_of(url), 1))
    assert isinstance(driver, P1Meter)
    yield driver
    await driver.close()


@asynccontextmanager
async def bridged(serial: str = "") -> AsyncIterator[tuple[Bridge, P1Meter]]:
    bridge = Bridge()
    server = await asyncio.start_server(bridge.serve, "127.0.0.1", 0)
    async with server:
        async with listening(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", serial) as driver:
            yield bridge, driver
        await until(lambda: not bridge.writers)


async def newest(driver: P1Meter, w: float) -> Meter:
    """The reading with this power, which is under way."""

    async def ask() -> Meter:
        meter = await driver.read()
        if meter.w.value != w:
            raise Timeout("pcc", "not yet this one")
        return meter

    return await until_done(ask, DeviceError)


async def test_over_tcp_nothing_is_sent_and_the_age_is_that_of_the_telegram(patient: None) -> None:
    async with bridged() as (bridge, driver):
        reading = asyncio.create_task(newest(driver, -2000.0))
        await bridge.send(b"8*V)\r\n!ABCD\r\n" + telegram(1000, 1))
        await bridge.send(telegram(-2000, 2))
        meter = await reading
        assert [v.value for v in meter.v] == [220.1, 220.2, 220.3]
        assert [a.value for a in meter.a] == [1.0, 2.0, 3.0]
        assert [w.value for w in meter.w_phases] == [-3333.0] * 3
        assert (meter.import_wh.value, meter.hz.value) == (246_913_578.0, None)
        first_s, second_s = meter.w.age_s, (await driver.read()).w.age_s
        assert first_s is not None
        assert second_s is not None
        assert second_s > first_s, "the same telegram is older each time it is read"
        assert driver.identity is not None
        assert driver.identity.text == "ISK 2MT382-1000 K8EG004046395507"
        assert driver.link_health().answers == 2
        rows = {row.name: (row.value, row.quantity) for row in RegisterAccess([driver]).last("pcc")}
        assert rows["1-0:2.7.0"] == (2.0, "kW")
        assert rows["0-0:96.14.0"] == ("0002", "")
        with pytest.raises(CommandRefused, match="has no registers"):
            await RegisterAccess([driver]).read("pcc", 100, 1)
        await driver.close()
        await until(lambda: not bridge.writers)
        assert bridge.received == b""
        with pytest.raises(ConnectionLost, match="closed"):
            await driver.read()


async def test_a_scan_finds_it_by_its_telegrams(patient: None) -> None:
    async with bridged() as (bridge, driver):
        bridge.repeats = telegram(1, 1) + telegram(2, 2)
        port = driver.link_health().at.rpartition(":")[2]
        (found,) = await scan("127.0.0.1", int(port), [1, 2], LIMIT_S, LIMIT_S)
        assert (found.kind, found.source) == ("meter", "p1")
        assert found.found == "ISK 2MT382-1000 K8EG004046395507, telegrams of a meter on P1"


async def test_only_the_meter_of_the_site_file_is_read(patient: None) -> None:
    async with bridged("K8EG004046395507") as (bridge, driver):
        bridge.repeats = telegram(1, 1) + telegram(2, 2)
        assert (await newest(driver, 2.0)).w.value == 2.0
    async with bridged("K8EG004046395508") as (bridge, driver):
        bridge.repeats = telegram(1, 1) + telegram(2, 2)

        async def ask() -> None:
            with pytest.raises(WrongDevice, match=r"tells serial number K8EG004046395507, expected .*508: not read"):
                await driver.read()

        await until_done(ask, (ConnectionLost, Timeout))


async def test_a_bridge_that_hangs_up_is_connected_again_and_a_rest_is_not_joined(patient: None) -> None:
    async with bridged() as (bridge, driver):
        reading = asyncio.create_task(newest(driver, 2.0))
        await bridge.send(telegram(1, 1) + telegram(2, 2) + telegram(3, 3)[:300])
        await reading
        bridge.hang_up()
        reading = asyncio.create_task(newest(driver, 5.0))
        await until(lambda: bridge.connections == 2)
        await bridge.send(telegram(9, 9)[300:] + telegram(4, 4) + telegram(5, 5))
        assert (await reading).w.value == 5.0
        assert driver.link_health().failures == 0


async def test_a_flood_ends_the_connection(patient: None) -> None:
    async with bridged() as (bridge, driver):
        reading = asyncio.create_task(driver.read())
        await bridge.send(b"/ab\r\n" * MOST_BYTES_A_SECOND)
        with pytest.raises(ConnectionLost, match="bytes in a second: that is no P1 port"):
            await reading


async def test_an_address_where_nobody_listens(patient: None) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    async with listening(url) as driver:
        with pytest.raises(ConnectionLost, match=r"pcc at 127.0.0.1:\d+: cannot connect: .*customer port is activated"):
            await driver.read()
        assert isinstance(driver, Listening)
        assert driver.shown() == []
        assert driver.identity is None


@contextmanager
def serial_port() -> Iterator[tuple[int, str]]:
    """The meter's end of a serial line, and the name of the other end."""
    controlling, port = os.openpty()
    tty.setraw(port)
    yield controlling, os.ttyname(port)
    os.close(port)


async def test_over_a_serial_port_until_the_adapter_is_pulled_out(patient: None) -> None:
    with serial_port() as (meter, name):
        async with listening(f"serial://{name}?baud=115200") as driver:
            reading = asyncio.create_task(newest(driver, -43_000.0))
            await until(lambda: driver.link_health().connect_ms is not None)
            for n, w in enumerate((500, -43_000)):
                os.write(meter, telegram(w, n))
            assert (await reading).w.value == -43_000.0
            assert driver.link_health().at == name
            os.close(meter)

            async def lost() -> None:
                try:
                    await driver.read()
                except ConnectionLost:
                    return
                raise Timeout("pcc", "still there")

            await until_done(lost, Timeout)
