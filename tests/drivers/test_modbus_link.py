"""The Modbus link against a peer that misbehaves: no wrong value is ever accepted, and it recovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from toxic import TOXICS, FakeDevice, ToxicServer
from waiting import LIMIT_S, until, until_done

from drivers.modbus import connection
from drivers.modbus.address import Address
from drivers.modbus.channels import Received
from drivers.modbus.connection import Caller, Connection
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, DeviceException, Timeout
from drivers.modbus.frames import frame_fault
from drivers.modbus.line import Line
from drivers.modbus.transport import ModbusLink

DEADLINE_S = 0.5  # ours, and far above what a busy test machine needs to answer
UNANSWERED = ("hang", "late", "truncated")  # only the deadline ends the wait for these
EXPECTED = {
    "hang": Timeout,
    "late": Timeout,
    "truncated": Timeout,
    "exception": DeviceException,
    "reset": ConnectionLost,
    "close": ConnectionLost,
    "cut_off": ConnectionLost,
}


@pytest.fixture
async def server() -> AsyncIterator[ToxicServer]:
    async with ToxicServer(FakeDevice({100: [11, 22, 33], 200: [44, 55, 66]})) as running:
        running.late_s = 2 * DEADLINE_S
        yield running


@pytest.fixture
async def link(server: ToxicServer) -> AsyncIterator[ModbusLink]:
    one = ModbusLink(server.host, server.port, deadline_s=DEADLINE_S, backoff_max_s=0.3, device="pcs1")
    await until_read(one, 100, 1)
    yield one
    await one.close()


async def until_read(link: ModbusLink, address: int, count: int) -> list[int]:
    """Keep reading until it works, as a poll does."""
    return await until_done(lambda: link.read(1, address, count), DeviceError)


async def test_reads_and_writes(link: ModbusLink, server: ToxicServer) -> None:
    assert await link.read(1, 100, 3) == [11, 22, 33]
    await link.write(1, 101, [7, 8])
    assert await link.read(1, 100, 3) == [11, 7, 8]
    assert server.connections == 1


async def test_input_registers_are_others_than_holding_registers(link: ModbusLink, server: ToxicServer) -> None:
    server.backend.inputs = {101: 77}
    assert await link.read(1, 100, 3, function=4) == [11, 77, 33]
    assert await link.read(1, 100, 3, function=3) == [11, 22, 33]
    with pytest.raises(ValueError, match="function = 5: expected"):
        await link.read(1, 100, 3, function=5)


@pytest.mark.parametrize(("function", "other"), [(6, 16), (16, 6)])
async def test_a_function_that_is_asked_for_is_the_only_one_tried(
    link: ModbusLink, server: ToxicServer, function: int, other: int
) -> None:
    device = server.backend
    await link.write(1, 100, [7], function=function)
    assert device.write_functions == [function]
    device.single_by = other
    for code in (1, 2, 3):
        device.refuses_with = code
        with pytest.raises(DeviceException, match=f"exception {code}"):
            await link.write(1, 100, [8], function=function)
    assert set(device.write_functions) == {function}
    assert (await link.read(1, 100, 1), link.notices.take()) == ([7], [])
    await link.write(1, 100, [9], function=other)
    assert await link.read(1, 100, 1) == [9]


async def test_function_6_writes_one_register(link: ModbusLink, server: ToxicServer) -> None:
    for function, values in ((6, [1, 2]), (6, []), (5, [1])):
        with pytest.raises(ValueError, match="expected 16, or 6 with one value"):
            await link.write(1, 100, values, function=function)
    assert server.backend.write_functions == []


@pytest.mark.parametrize("toxic", TOXICS)
async def test_toxic_read(link: ModbusLink, server: ToxicServer, toxic: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert await link.read(1, 100, 3) == [11, 22, 33]
    server.toxic = toxic
    with pytest.raises(EXPECTED.get(toxic, BadReply)) as caught:
        await link.read(1, 100, 3)
    assert f"pcs1 at 127.0.0.1:{server.port} unit 1, registers 100-102: " in str(caught.value)
    # while it lasts, no other request ever gets a value, whatever arrives from earlier ones
    for _ in range(6):
        with pytest.raises(DeviceError):
            await link.read(1, 200, 3)
        await asyncio.sleep(0.02)
    server.toxic = ""
    assert await until_read(link, 200, 3) == [44, 55, 66]
    assert await link.read(1, 100, 3) == [11, 22, 33]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("toxic", [t for t in TOXICS if t not in UNANSWERED])
async def test_a_bad_answer_ends_the_wait_at_once(server: ToxicServer, toxic: str) -> None:
    """With a deadline that is longer than this test may take."""
    link = ModbusLink(server.host, server.port, deadline_s=10 * LIMIT_S, backoff_max_s=0.3)
    assert await until_read(link, 100, 3) == [11, 22, 33]
    server.toxic = toxic
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(EXPECTED.get(toxic, BadReply)):
            await link.read(1, 100, 3)
    await link.close()


@pytest.mark.parametrize("toxic", [t for t in TOXICS if t not in ("short", "bad_byte_count")])
async def test_toxic_write_is_never_taken_for_done(link: ModbusLink, server: ToxicServer, toxic: str) -> None:
    await link.read(1, 100, 1)
    server.toxic = toxic
    with pytest.raises(EXPECTED.get(toxic, BadReply)):
        await link.write(1, 100, [9])


async def test_a_gateway_that_spoils_transactions(server: ToxicServer) -> None:
    """Where the site file says so the id is not looked at, but all else; and a late answer has time to pass by."""
    link = ModbusLink(server.host, server.port, deadline_s=DEADLINE_S, backoff_max_s=0.3, any_transaction=True)
    for toxic in ("zero_tid", "wrong_tid", "previous_tid"):
        server.toxic = toxic
        assert await link.read(1, 100, 2) == [11, 22]
    assert server.connections == 1
    for toxic in ("wrong_unit", "wrong_function", "short", "wrong_protocol", "bad_byte_count", "extra", "long"):
        server.toxic = toxic
        with pytest.raises(BadReply):
            await asyncio.wait_for(link.read(1, 100, 2), 10 * LIMIT_S)
    server.toxic, loop = "hang", asyncio.get_running_loop()
    asked = server.requests
    silent = asyncio.create_task(link.read(1, 100, 2))
    await until(lambda: server.requests > asked)
    asked_s = loop.time()
    with pytest.raises(Timeout):
        await silent
    server.toxic = ""
    assert await until_read(link, 200, 3) == [44, 55, 66]
    assert loop.time() - asked_s > 2.5 * DEADLINE_S
    await link.close()


async def test_slow_bytes_within_the_deadline_are_an_answer(link: ModbusLink, server: ToxicServer) -> None:
    server.toxic = "slow"
    assert await link.read(1, 100, 3) == [11, 22, 33]


async def test_late_answer_never_answers_the_next_request(link: ModbusLink, server: ToxicServer) -> None:
    server.toxic, server.late_s = "late", DEADLINE_S * 1.2
    for _ in range(3):
        with pytest.raises(DeviceError):
            await link.read(1, 100, 3)
        server.toxic = ""
        assert await until_read(link, 200, 3) == [44, 55, 66]
        server.toxic = "late"


async def test_bytes_nobody_asked_for_end_the_connection(link: ModbusLink, server: ToxicServer) -> None:
    first = link.connection
    for writer in server._writers:
        writer.write(b"\x00\x02\x00\x00\x00\x09\x01\x03\x06\x00\x01\x00\x02\x00\x03")
    await until(lambda: not link.connection)
    with pytest.raises(ConnectionLost, match="connected anew before a write"):
        await link.write(1, 100, [9], on=first)
    assert await link.read(1, 200, 3) == [44, 55, 66]
    assert link.connection not in (0, first)
    assert server.backend.writes == []


async def test_exception_keeps_the_connection(link: ModbusLink, server: ToxicServer) -> None:
    with pytest.raises(DeviceException, match="exception 2, illegal data address") as caught:
        await link.read(1, 999, 1)
    assert caught.value.code == 2
    assert await link.read(1, 100, 1) == [11]
    assert server.connections == 1


async def test_unit_that_is_not_there(link: ModbusLink) -> None:
    with pytest.raises(DeviceException, match="unit 9, register 100: exception 11"):
        await link.read(9, 100, 1)


async def test_absent_at_start_then_there(server: ToxicServer) -> None:
    await server.stop()
    link = ModbusLink(server.host, server.port, deadline_s=DEADLINE_S, backoff_max_s=0.2)
    with pytest.raises(ConnectionLost, match="cannot connect"):
        await link.read(1, 100, 1)
    said = []
    for _ in range(20):
        with pytest.raises(ConnectionLost) as caught:
            await link.read(1, 100, 1)
        said.append(str(caught.value))
    assert any("next try in" in text for text in said), said
    await server.start()
    assert await until_read(link, 100, 1) == [11]
    await link.close()


async def test_lost_later_then_back(link: ModbusLink, server: ToxicServer) -> None:
    assert await link.read(1, 100, 1) == [11]
    await server.stop()
    for _ in range(5):
        with pytest.raises(ConnectionLost):
            await link.read(1, 100, 1)
        await asyncio.sleep(0.03)
    await server.start()
    assert await until_read(link, 100, 1) == [11]


async def test_back_off_spares_a_hung_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked a hundred times a second, by a clock of the test's own: it is tried later and later."""
    now_s, tries = [0.0], []

    class Hung(Connection):
        async def connect(self) -> bool:
            tries.append(round(now_s[0], 2))
            return True

        async def read(self, caller: Caller, unit: int, address: int, count: int, function: int = 3) -> list[int]:
            self.lost, self.lost_at_s = "dropped after a timeout", now_s[0]
            raise Timeout("pcs1", "no answer")

    monkeypatch.setattr("drivers.modbus.line.Connection", Hung)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s[0])
    link = ModbusLink("127.0.0.1", 502, deadline_s=DEADLINE_S, backoff_max_s=0.3)
    for _ in range(130):
        with pytest.raises(DeviceError):
            await link.read(1, 100, 1)
        now_s[0] += 0.01
    assert tries == pytest.approx([0.0, 0.1, 0.3, 0.6, 0.9, 1.2], abs=0.06)
    await link.close()


async def test_a_device_that_hangs_up_before_it_answers_is_spared_for_all_on_its_line(server: ToxicServer) -> None:
    server.toxic = "refuse"
    line, caller = Line(Address("tcp", server.host, server.port), backoff_max_s=LIMIT_S), Caller("pcs1", LIMIT_S)
    for _ in range(20):
        try:
            connection = await line.connection(caller)
            await until(lambda connection=connection: connection.lost)
        except ConnectionLost:
            continue
    assert server.connections < 10


async def test_requests_queue_up_and_each_has_its_own_deadline(link: ModbusLink, server: ToxicServer) -> None:
    server.toxic, server.late_s = "late", 0.4 * DEADLINE_S
    answers = await asyncio.gather(*(link.read(1, 100 + n, 1) for n in range(3)))
    assert answers == [[11], [22], [33]]


async def test_cancelled_request_does_not_poison_the_next(link: ModbusLink, server: ToxicServer) -> None:
    await link.read(1, 100, 1)
    server.toxic, server.late_s = "late", 0.04
    asked = server.requests
    task = asyncio.create_task(link.read(1, 100, 3))
    await until(lambda: server.requests > asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.toxic = ""
    assert await link.read(1, 200, 3) == [44, 55, 66]


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99999), ("no..such..host", 502)])
async def test_address_that_cannot_be_one(host: str, port: int) -> None:
    link = ModbusLink(host, port, deadline_s=1.0, backoff_max_s=0.3)
    with pytest.raises(ConnectionLost, match="cannot connect"):
        await link.read(1, 100, 1)
    await link.close()


async def test_closed_link_says_so(link: ModbusLink) -> None:
    await link.close()
    with pytest.raises(ConnectionLost, match="closed"):
        await link.read(1, 100, 1)


async def test_too_much_is_refused_before_the_wire(link: ModbusLink) -> None:
    with pytest.raises(ValueError, match=r"1\.\.125"):
        await link.read(1, 0, 126)


@pytest.mark.parametrize("function", ["03", "04"])
def test_every_prefix_of_an_answer_may_still_become_one(function: str) -> None:
    request = bytes.fromhex(f"0005 0000 0006 01 {function} 0064 0002")
    reply = bytes.fromhex(f"0005 0000 0007 01 {function} 04 000b 0016")
    assert [frame_fault(request, reply[:n]) for n in range(len(reply) + 1)] == [""] * (len(reply) + 1)
    write = bytes.fromhex("0005 0000 000b 01 10 0064 0002 04 0001 0002")
    done = bytes.fromhex("0005 0000 0006 01 10 0064 0002")
    assert [frame_fault(write, done[:n]) for n in range(len(done) + 1)] == [""] * (len(done) + 1)


@pytest.mark.parametrize("function", ["03", "04"])
def test_any_changed_byte_ahead_of_the_values_is_a_fault(function: str) -> None:
    request = bytes.fromhex(f"0005 0000 0006 01 {function} 0064 0002")
    reply = bytes.fromhex(f"0005 0000 0007 01 {function} 04 000b 0016")
    for n in range(9):
        changed = bytearray(reply)
        changed[n] ^= 0x01
        assert frame_fault(request, bytes(changed)), f"byte {n}"


async def test_an_answer_that_is_read_after_its_deadline_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came in time, but the process was held up: how old its values are is not known."""

    class HeldUp:
        def __init__(self, received: Received) -> None:
            self.received = received

        def write(self, request: bytes) -> None:
            asyncio.get_running_loop().call_soon(self.answer, request[:2] + bytes.fromhex("0000 0005 01 03 02 000b"))

        def answer(self, reply: bytes) -> None:
            time.sleep(0.02)
            self.received(reply)

        def unread(self) -> bool:
            return False

        def close(self) -> None: ...

    async def open_channel(address: Address, tls: None, received: Received, *_: object) -> HeldUp:
        return HeldUp(received)

    monkeypatch.setattr(connection, "open_channel", open_channel)
    one = Connection(Address("tcp", "127.0.0.1", 502), DEADLINE_S)
    await one.connect()
    assert await one.read(Caller("pcs1", DEADLINE_S), 1, 100, 1) == [11]
    with pytest.raises(Timeout, match="no answer within 10 ms"):
        await one.read(Caller("pcs1", 0.01), 1, 100, 1)
