"""A Modbus TCP proxy that passes every request on and falsifies the values of the answers on demand.

The frames stay correct, so that nothing but the values can be noticed. Threads, not asyncio: a benchmark waits with it.
"""

from __future__ import annotations

import contextlib
import random
import socket
import socketserver
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

FAULTS = {
    "replay_old": "the first answers that the device ever gave, from before the load step",
    "flip_bit": "another bit of every answer inverted",
    "all_zero": "every register 0",
    "all_8000": "every register 0x8000, SunSpec's 'not implemented' of an int16",
    "all_7fff": "every register 0x7FFF",
    "all_ffff": "every register 0xFFFF, 'not implemented' of an unsigned number, or -1",
    "ten_times": "the scale factor one too high; in a map without one, ten times the figure",
    "sign_flip": "the figure with the other sign",
    "jump": "30 kW more (the switch: 300 V)",
    "highest": "the highest number that the figure can hold",
    "random": "every register random",
}
UNIFORM = {"all_zero": 0, "all_8000": 0x8000, "all_7fff": 0x7FFF, "all_ffff": 0xFFFF}
SUNS = [0x5375, 0x6E53]  # "SunS": left alone, or the device would be none at all
READ = 3
HEAD = 9  # bytes before the registers of an answer to a read: MBAP header, function, byte count


@dataclass(frozen=True)
class MainFigure:
    """Where a device holds its main figure: registers from `address` on, signed, and the register of its scale factor.

    `jump`: what the fault of that name adds, in the register's own unit. `kept`: registers that stay as they are.
    """

    address: int
    size: int
    scale: int | None
    jump: int
    kept: frozenset[int] = frozenset()

    @property
    def most(self) -> int:
        """The highest number that it can hold."""
        return (1 << 16 * self.size - 1) - 1


def falsified(fault: str, first: int, registers: Sequence[int], figure: MainFigure, chance: random.Random) -> list[int]:
    """The registers of an answer, from address `first` on, with a fault in them. `replay_old` is the proxy's own."""
    if list(registers[:2]) == SUNS:
        return list(registers)
    found = list(registers)
    if fault in UNIFORM:
        found = [UNIFORM[fault]] * len(found)
    elif fault == "random":
        found = [chance.randrange(1 << 16) for _ in found]
    elif fault == "flip_bit":
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(16)
    elif fault == "ten_times" and figure.scale is not None:
        if first <= figure.scale < first + len(found):
            found[figure.scale - first] = found[figure.scale - first] + 1 & 0xFFFF
    elif first <= figure.address and figure.address + figure.size <= first + len(found):
        _falsify_figure(fault, found, figure.address - first, figure)
    return [old if first + n in figure.kept else new for n, (old, new) in enumerate(zip(registers, found, strict=True))]


def _falsify_figure(fault: str, registers: list[int], at: int, figure: MainFigure) -> None:
    whole = 1 << 16 * figure.size
    raw = 0
    for word in registers[at : at + figure.size]:
        raw = raw << 16 | word
    value = raw - whole if raw > figure.most else raw
    changed = {"ten_times": 10 * value, "sign_flip": -value, "jump": value + figure.jump, "highest": figure.most}
    bounded = max(-figure.most, min(figure.most, changed.get(fault, value))) % whole
    for n in range(figure.size):
        registers[at + n] = bounded >> 16 * (figure.size - 1 - n) & 0xFFFF


@dataclass
class FaultProxy:
    """One device behind a port of its own. `fault`: one of FAULTS, or "" for none."""

    upstream: tuple[str, int]
    figure: MainFigure
    seed: int = 1
    fault: str = ""
    falsified: int = 0  # answers that left with other registers than they came with
    _oldest: dict[bytes, bytes] = field(default_factory=dict)  # request without its id -> the first answer's registers

    def __post_init__(self) -> None:
        """Listen on a port of loopback that the system chooses."""
        self._chance = random.Random(self.seed)
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def reseed(self, seed: int) -> None:
        """Other bits and numbers by chance from now on."""
        self._chance = random.Random(seed)

    def close(self) -> None:
        """Stop listening. Connections end with their clients."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: bytes, reply: bytes) -> bytes:
        """What goes out instead of `reply`."""
        if request[7] != READ or reply[7] != READ:
            return reply
        first = int.from_bytes(request[8:10], "big")
        form = f">{(len(reply) - HEAD) // 2}H"
        registers = struct.unpack(form, reply[HEAD:])
        fault = self.fault
        if not fault:
            self._oldest.setdefault(request[6:], reply[HEAD:])
            return reply
        if fault == "replay_old":
            changed = self._oldest.get(request[6:], reply[HEAD:])
        else:
            changed = struct.pack(form, *falsified(fault, first, registers, self.figure, self._chance))
        self.falsified += changed != reply[HEAD:]
        return reply[:HEAD] + changed


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultProxy


class _Connection(socketserver.BaseRequestHandler):
    """One client's connection, and one to the device for it."""

    def handle(self) -> None:
        """Pass requests and answers on until either end hangs up."""
        assert isinstance(self.server, _Server)
        proxy = self.server.proxy
        with contextlib.suppress(OSError), socket.create_connection(proxy.upstream, timeout=10) as device:
            while request := _frame(self.request):
                device.sendall(request)
                if not (reply := _frame(device)):
                    return
                self.request.sendall(proxy.answer(request, reply))


def _frame(link: socket.socket) -> bytes:
    """The next Modbus TCP frame; empty once the other end has hung up."""
    head = _exactly(link, 6)
    return head + _exactly(link, int.from_bytes(head[4:], "big")) if head else b""


def _exactly(link: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        if not (piece := link.recv(count - len(data))):
            return b""
        data += piece
    return bytes(data)
