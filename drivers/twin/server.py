"""Serves the twin's devices as Modbus TCP servers on loopback; the only adapter around pymodbus's server.

Its simulator calls itself experimental, so nothing outside this file knows it. Registers are refreshed from the physics
when they are read; a write is obeyed before it is answered. Answers that a fault delays or swallows are held back as
bytes: a request waited for inside pymodbus would be answered under the transaction id of the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.twin.physics import TwinSite
from drivers.twin.registers import Image, RefusedWrite

LOOPBACK = "127.0.0.1"
UNIT_OFFSET = 6  # of the unit id in a Modbus TCP frame
WRITES = (6, 16)


class TwinServer:
    """One TCP port and the devices behind it: unit id -> (device id, registers)."""

    def __init__(self, devices: Mapping[int, tuple[str, Image]], site: TwinSite) -> None:
        self._site = site
        self._names = {unit: name for unit, (name, _) in devices.items()}
        self._devices = [
            SimDevice(
                id=unit,
                simdata=[
                    SimData(image.base + b.start, values=image.start[b.start : b.stop], datatype=DataType.REGISTERS)
                    for b in image.blocks or [range(len(image.start))]
                ],
                action=_action(self, name, image),
            )
            for unit, (name, image) in devices.items()
        ]
        self._server: _Server | None = None

    async def start(self, port: int = 0) -> tuple[str, int]:
        """Listen on a port of loopback, 0: any free one; return host and port. Raises OSError."""
        self._server = _Server(self._devices, address=(LOOPBACK, port))
        self._server.hold_back = self._hold_back
        await self._server.serve_forever(background=True)
        listening = cast(asyncio.Server, self._server.transport)
        host, port = listening.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    def _hold_back(self, frame: bytes) -> float | None:
        """How long this answer must wait, s; None: for ever."""
        name = self._names.get(frame[UNIT_OFFSET], "")
        fault = self._site.faults.of(name, self._site.t_s) if name else None
        if fault is None:
            return 0.0
        return {"hung": None, "slow": fault.delay_s}.get(fault.kind, 0.0)

    def serve_request(
        self, name: str, image: Image, request: tuple[int, int, int], registers: list[int], values: list[int] | None
    ) -> ExcCodes | None:
        """Serve one request on `registers`, all the device has. A write comes twice: with values, then for its echo."""
        function, address, count = request
        fault = self._site.faults.of(name, self._site.t_s)
        kind = None if fault is None else fault.kind
        if fault is not None and kind == "exception":
            return ExcCodes(fault.code)
        if kind == "hung":  # it neither obeys nor answers
            return None
        if function in WRITES:
            return None if values is None else self._write(name, image, request, registers, values)
        image.heard()
        if (code := image.read_fault(function, address, count)) is not None:
            return ExcCodes(code)
        if kind == "not_implemented":
            if not image.can_blank:
                return ExcCodes.ILLEGAL_ADDRESS
            image.blank(registers)
        elif kind != "frozen":
            image.refresh(registers, self._site.t_s)
        return None

    def _write(
        self, name: str, image: Image, request: tuple[int, int, int], registers: list[int], values: list[int]
    ) -> ExcCodes | None:
        function, address, _ = request
        image.heard()
        try:
            changed = image.write(registers, address, values, function)
        except RefusedWrite as refused:
            return ExcCodes(refused.code)
        self._site.written |= {f"{name}.{point}": time.monotonic() for point in changed}
        return None


def _action(server: TwinServer, name: str, image: Image) -> Any:
    async def action(
        function: int, start: int, address: int, count: int, registers: list[int], values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        return server.serve_request(name, image, (function, address, count), registers, values)  # type: ignore[arg-type]

    return action


class _Server(ModbusTcpServer):
    """pymodbus' server with answers that can be held back."""

    hold_back: Any = None

    def callback_new_connection(self) -> ServerRequestHandler:
        handler = ServerRequestHandler(self, None, None, None)  # type: ignore[no-untyped-call]
        handler.trace_packet = partial(self._pass, handler)
        return handler

    def _pass(self, handler: ServerRequestHandler, sending: bool, frame: bytes) -> bytes:
        if not sending or len(frame) <= UNIT_OFFSET:
            return frame
        wait_s = self.hold_back(frame)
        if wait_s == 0:
            return frame
        if wait_s is not None:
            asyncio.get_running_loop().call_later(wait_s, _send_late, handler, frame)
        return b""


def _send_late(handler: ServerRequestHandler, frame: bytes) -> None:
    """Send an answer now, if the connection is still open."""
    if handler.transport is not None:
        cast(asyncio.WriteTransport, handler.transport).write(frame)
