"""Devices: Modbus answers, registers of SunSpec models and of our maps, what commands and the kernel say of a node."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from device_doubles import registers_at
from fake_upsd import FakeUpsd
from fuzzing import Feed, Parser, simple
from p1_telegrams import BELGIUM, SWEDEN, crc_by_division, sent, telegram
from sunspec_image import image, model_words, pcs_image

from drivers.config import MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.maps.loader import load
from drivers.maps.register_view import explain as explain_map
from drivers.maps.schema import DEVICE
from drivers.maps.switch import MapSwitch
from drivers.meter import MeterDriver
from drivers.modbus.errors import DeviceError
from drivers.modbus.frames import RTU, TCP, TCP_ANY_TRANSACTION, Framing, crc, registers
from drivers.modbus.traffic import Place
from drivers.modbus.transport import ModbusLink
from drivers.node_config import NodeDevice
from drivers.nodes.actuators import CannotObey, freeze, run_command
from drivers.nodes.modbus_node import NodeDriver
from drivers.nut.config import PduDevice, UpsDevice
from drivers.nut.pdu import Pdu, PduNode
from drivers.nut.protocol import VariableList
from drivers.nut.server import NutServer
from drivers.nut.ups import UpsDriver
from drivers.p1.arrivals import Arrivals
from drivers.p1.telegram import BadTelegram, Splitter, parse
from drivers.pcs import PcsDriver
from drivers.pv import PvDriver
from drivers.register_view import RegisterValue, Words
from drivers.sunspec.discovery import FoundModel
from drivers.sunspec.layout import plan
from drivers.sunspec.register_view import explain as explain_models

BASE = 40_000
READ = bytes.fromhex("0005 0000 0006 01 03 0064 0002")
WRITE = bytes.fromhex("0005 0000 000b 01 10 0064 0002 04 0001 0002")
ANSWERS = ("0005 0000 0007 01 03 04 000b 0016", "0005 0000 0003 01 83 02", "0005 0000 0006 01 10 0064 0002")
FRAMINGS = {"Modbus TCP": TCP, "Modbus TCP of any transaction": TCP_ANY_TRANSACTION, "RTU": RTU}
FRAMES = (
    "drivers.modbus.frames:any_transaction_fault",
    "drivers.modbus.frames:_data_bytes",
)
MODEL_WORDS = (
    model_words(1, Mn="Maker", SN="4711"), model_words(103, W=1200, W_SF=1),
    model_words(124, WChaMax=5_000, StorCtl_Mod=3), model_words(704, WMaxLimPct=500, WMaxLimPct_SF=-1),
)  # fmt: skip
SHOWN = [FoundModel(words[0], BASE, len(words) - 2) for words in MODEL_WORDS]
MODELS = (
    "drivers.sunspec.device:SunSpecDevice._values",
    "drivers.sunspec.layout:Layout.decode",
    "drivers.sunspec.model:_text",
)


def meaning(model: FoundModel, words: Words) -> Iterable[RegisterValue]:
    return explain_models([model], 1, words, 1.0)


def registers_of(data: bytes, base: int) -> Any:
    """A device in whose registers the input lies."""
    return registers_at(base, list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])))


def in_framing(framing: Framing, frame: bytes) -> bytes:
    """A frame of Modbus TCP, in another framing."""
    return frame if framing is not RTU else frame[6:] + crc(frame[6:])


def take(framing: Framing, request: bytes, reply: bytes) -> None:
    """Check a reply and take its registers. What is taken must be in a frame that another look at it finds whole."""
    if framing.fault(request, reply) or not (answer := framing.answer(request, reply)):
        return
    head, function = request[: framing.head], request[framing.head]
    assert reply[framing.head - 1] == head[-1], "another unit"
    assert answer[0] in (function, function | 0x80), "another function"
    assert framing is not TCP or reply[:2] == head[:2], "another transaction"
    assert framing is not RTU or reply[-2:] == crc(reply[:-2]), "another checksum"
    assert framing is RTU or int.from_bytes(reply[4:6], "big") == len(reply) - 6, "another length"
    if answer[0] in (3, 4):
        assert len(registers(answer)) == 2


def packed(registers: list[int]) -> bytes:
    return struct.pack(f">{len(registers)}H", *registers)


def words_of(data: bytes, count: int) -> list[int]:
    """As many registers as were asked for, which a connection makes sure of."""
    return list(struct.unpack(f">{count}H", data[: 2 * count].ljust(2 * count, b"\xff")))


SWITCH = load("skerry-switch")


def explained(data: bytes, explain: Callable[[Words], Iterable[RegisterValue]], base: int) -> None:
    """What registers in which the input lies mean; what is shown as their words are words of the input."""
    held = dict(enumerate(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]), base))
    for value in explain({Place(1, 3, address): (word, 0.0) for address, word in held.items()}):
        assert list(value.raw) == [held[value.address + n] for n in range(len(value.raw))]


async def read_all(driver: Any) -> None:
    """Read twice: some models are read when it is their turn; and command what can be commanded."""
    await driver.read()
    await driver.read()
    if isinstance(driver, PcsDriver):
        await driver.command(5_000.0, now_s=10.0)


def driver_of(make: Any, config: Any, base: int = BASE) -> Any:
    return simple(lambda data, _: asyncio.run(read_all(make(config, registers_of(data, base), 1))))


@contextlib.contextmanager
def answers(directory: Path) -> Iterator[Feed]:
    """A server that answers each request with the input, then hangs up."""
    reply = [b""]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(12)
            writer.write(reply[0])
            await writer.drain()
        writer.close()

    async def ask(port: int, data: bytes) -> None:
        reply[0] = data
        link = ModbusLink("127.0.0.1", port, deadline_s=2.0, backoff_max_s=0.1)
        try:
            await link.read(1, 100, 2)
        finally:
            await link.close()

    with asyncio.Runner() as runner:
        server = runner.run(asyncio.start_server(serve, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        yield lambda data: runner.run(ask(port, data))
        server.close()


def upsd_said(data: bytes) -> None:
    """Line by line, as they come off a stream."""
    answer = VariableList("ups1", "u")
    for line in data.splitlines(keepends=True):
        if answer.take(line):
            break


def mapped_switch(name: str, config: SwitchDevice, device: Any, unit: int) -> MapSwitch:
    return MapSwitch(config, load(name), device, unit)


@contextlib.contextmanager
def answers_of_upsd(directory: Path) -> Iterator[Feed]:
    """An upsd that answers with the input, read as a UPS and as the feed of a node."""
    served = FakeUpsd()
    served.ends = True

    async def ask(data: bytes) -> None:
        served.answer = lambda asked: data
        server = NutServer("127.0.0.1", served.port, backoff_max_s=0.001)
        ups = UpsDriver(UpsDevice(id="ups1", url=served.url("u")), server)
        node = PduNode(
            NodeDevice(id="n", source="nut", outlets=("p:1",)),
            {
                "p": Pdu(
                    PduDevice(id="p", url=served.url("u")), NutServer("127.0.0.1", served.port, backoff_max_s=0.001)
                )
            },
        )
        try:
            await ups.read()
            await node.read()
        finally:
            await ups.close()
            await node.close()

    with asyncio.Runner() as runner:
        runner.run(served.start())
        yield lambda data: runner.run(ask(data))
        runner.run(served.stop())


def sent_by_a_meter(data: bytes) -> None:
    """In pieces of a line that loses nothing: what is cut out of it and is whole is read the same from one piece."""
    meter, arrivals = Splitter(), Arrivals()
    arrivals.begin(0.0)
    found = [raw for at in range(0, len(data), 700) for raw in meter.feed(data[at : at + 700])]
    assert all(raw in data for raw in found)
    for at in range(0, len(data), 700):
        if not arrivals.take(data[at : at + 700], at / 700):
            break
    arrivals.current(1.0)
    arrivals.why(1.0)
    for raw in found:
        telegram = parse(raw)
        assert crc_by_division(raw[: raw.rindex(b"!") + 1]) == int(raw[raw.rindex(b"!") + 1 :], 16)
        assert abs(telegram.values["w"]) < 1e12


async def run_saying(data: bytes, directory: Path) -> None:
    (directory / "said").write_bytes(data)
    await run_command(("/bin/cat", str(directory / "said")), 60.0)


async def frozen(data: bytes, directory: Path) -> None:
    (directory / "cgroup.events").write_bytes(data)
    await freeze(directory, True, -1.0)


PARSERS = (
    *(
        Parser(
            f"frames of {name} that answer a {what}",
            FRAMES if framing is not RTU else FRAMES[1:],
            lambda framing=framing: [in_framing(framing, bytes.fromhex(answer)) for answer in ANSWERS],
            simple(lambda data, _, framing=framing, request=request: take(framing, in_framing(framing, request), data)),
        )
        for what, request in (("read", READ), ("write", WRITE))
        for name, framing in FRAMINGS.items()
    ),
    Parser(
        "answers over Modbus TCP",
        (*FRAMES, "drivers.modbus.frames:registers", "drivers.modbus.other_protocols:other_protocol"),
        lambda: [
            bytes.fromhex("0001 0000 0007 01 03 04 000b 0016"),
            bytes.fromhex("0001 0000 0003 01 83 02"),
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ],
        answers,
        (DeviceError,),
        share=0.3,
    ),
    Parser(
        "registers of a meter",
        MODELS[:2],
        lambda: [packed(image(model_words(1), model_words(203, W=5_000, Hz=5_000, Hz_SF=-2)))],
        driver_of(MeterDriver, MeterDevice(id="grid", url="twin")),
        (DeviceError,),
    ),
    Parser(
        "registers of a PCS",
        MODELS[:2],
        lambda: [packed(pcs_image())],
        driver_of(
            PcsDriver, PcsDevice(id="pcs1", battery="bat1", charge_w=6e4, discharge_w=6e4, url="twin", revert_s=60)
        ),
        (DeviceError, ValueError),
    ),
    Parser(
        "registers of a PV inverter",
        MODELS[:2],
        lambda: [packed(image(model_words(103, W=5_000, St=4))), packed(image(model_words(113, W=5_000.0)))],
        driver_of(PvDriver, PvDevice(id="pv1", url="twin", peak_w=2e4)),
        (DeviceError,),
    ),
    Parser(
        "texts of a device",
        MODELS[1:],
        lambda: [packed(model_words(1, Mn="Stranger", Md="PCS 60", SN="4711"))],
        simple(lambda data, _: (layout := plan(1, ("Mn", "Md", "SN"), 66)).decode(words_of(data, layout.end))),
    ),
    Parser(
        "registers of a switch",
        ("drivers.maps.decoding:number_of",),
        lambda: [
            packed([0x534B, 2, 2, 1, 0, 0, 1, 0, 0xFFFF, 0, 2301, 5001, 0x8000, 0, 0]),
            packed([0x534B, 1] + [0] * 13),
        ],
        driver_of(partial(mapped_switch, "skerry-switch"), SwitchDevice(id="pcc", url="twin"), 0),
        (DeviceError,),
    ),
    Parser(
        "registers of a transfer switch",
        ("drivers.maps.decoding:number_of",),
        lambda: [packed([0, 0x2414]), packed([2, 0x8822])],
        driver_of(partial(mapped_switch, "siemens-atc6300"), SwitchDevice(id="ats", url="twin"), 0x220F),
        (DeviceError,),
    ),
    Parser(
        "registers of a node",
        ("drivers.maps.decoding:number_of",),
        lambda: [packed([0x534E, 1, 0, 3_500, 650, 8, 8, 0xFFFF, 0, 600])],
        driver_of(NodeDriver, NodeDevice(id="gpu-1", source="modbus", url="twin"), 0),
        (DeviceError,),
    ),
    Parser(
        "registers of SunSpec models, shown to a person",
        ("drivers.sunspec.register_view:_point",),
        lambda: [packed(words) for words in MODEL_WORDS],
        simple(lambda data, _: [explained(data, partial(meaning, model), BASE) for model in SHOWN]),
    ),
    Parser(
        "registers of a map of our own, shown to a person",
        ("drivers.maps.decoding:number_of",),
        lambda: [packed([0x534B, 1] + [0] * 13)],
        simple(
            lambda data, _: explained(
                data, lambda words: explain_map(load("skerry-switch"), {DEVICE: 1}, words, 1.0), 0
            )
        ),
    ),
    Parser(
        "answers of upsd",
        ("drivers.nut.protocol:VariableList.take",),
        lambda: [
            b'BEGIN LIST VAR u\nVAR u ups.status "OB LB"\nVAR u ups.mfr "a \\"b\\" \\\\"\nEND LIST VAR u\n',
            b"ERR DATA-STALE\n",
        ],
        simple(lambda data, _: upsd_said(data)),
        (DeviceError,),
    ),
    Parser(
        "variables of a UPS and of a PDU",
        ("drivers.nut.server:NutServer._ask",),
        lambda: [
            b'BEGIN LIST VAR u\nVAR u ups.status "OL CHRG"\nVAR u outlet.1.realpower "12.5"\nEND LIST VAR u\n',
        ],
        answers_of_upsd,
        (DeviceError,),
        share=0.3,
    ),
    Parser(
        "telegrams of a meter on P1",
        ("drivers.p1.telegram:parse", "drivers.p1.telegram:_text"),
        lambda: [telegram(1), telegram(-2_000) + telegram(3), sent(BELGIUM), sent(SWEDEN)],
        simple(lambda data, _: sent_by_a_meter(data)),
        (BadTelegram,),
        share=0.3,
    ),
    Parser(
        "what a node's command says",
        ("drivers.nodes.actuators:run_command",),
        lambda: [b"capped\n", b"no such node\n"],
        simple(lambda data, directory: asyncio.run(run_saying(data, directory))),
        share=0.1,
    ),
    Parser(
        "cgroup.events",
        ("drivers.nodes.actuators:freeze",),
        lambda: [b"populated 1\nfrozen 1\n", b"populated 1\nfrozen 0\n"],
        simple(lambda data, directory: asyncio.run(frozen(data, directory))),
        (CannotObey,),
    ),
)
