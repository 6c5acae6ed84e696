"""Reads the power of compute nodes from the outlets of metered PDUs that NUT's upsd serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dispatch.model.equipment import Node
from dispatch.model.readings import Quality, Reading
from drivers.modbus.errors import DeviceError, WrongDevice
from drivers.node_config import NodeDevice
from drivers.nut.config import PduDevice, address_of
from drivers.nut.protocol import decimal
from drivers.nut.server import DEADLINE_S, NutServer

SHARED_S = 0.5  # nodes on the same PDU that are read within this time share one answer
MOST_W = 1e6


class Pdu:
    """A PDU whose answer its nodes share: the variables, or the error, and when."""

    def __init__(self, config: PduDevice, server: NutServer) -> None:
        self.id, self.url, self._server = config.id, config.url, server
        self._name, self._deadline_s = address_of(config.url).name, config.deadline_s or DEADLINE_S
        self._turn = asyncio.Lock()
        self._read_s = float("-inf")  # on the event loop's clock
        self._found: dict[str, str] | DeviceError = {}

    async def outlet(self, number: int) -> tuple[float, float]:
        """Real power of an outlet, W, and its age, s. Raises DeviceError; WrongDevice if the PDU has no such figure."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            if loop.time() - self._read_s > SHARED_S:
                try:
                    self._found = await self._server.variables(self.id, self._name, self._deadline_s)
                except DeviceError as error:
                    self._found = error
                self._read_s = loop.time()
            found, age_s = self._found, loop.time() - self._read_s
        if isinstance(found, DeviceError):
            raise found.with_traceback(None)  # one of several nodes: the others get the same
        variable = f"outlet.{number}.realpower"
        text = found.get(variable)
        value = decimal(text)
        if value is None or not 0 <= value <= MOST_W:
            said = f"no {variable}" if text is None else f"{variable} = {text[:40]!r}, expected 0..{MOST_W:g} W"
            raise WrongDevice(f"{self.id} at {self.url}", f"reports {said}", "check outlets, and what upsc lists of it")
        return value, age_s

    def join(self) -> None:
        """One more node reads it."""
        self._server.join()

    async def leave(self) -> None:
        """One node less."""
        await self._server.leave()


class PduNode:
    """A node whose power is the sum of its outlets: all of them, or nothing."""

    kind = "node"

    def __init__(self, config: NodeDevice, pdus: Mapping[str, Pdu]) -> None:
        self.id, self._critical = config.id, config.critical
        self._outlets = [(pdus[pdu], int(number)) for pdu, _, number in (o.partition(":") for o in config.outlets)]
        for pdu, _ in self._outlets:
            pdu.join()

    async def read(self) -> Node:
        """Read every feed now. Raises DeviceError if one is missing: a part of the sum is not the node's power."""
        total_w = oldest_s = 0.0
        for pdu, number in self._outlets:
            outlet_w, age_s = await pdu.outlet(number)
            total_w, oldest_s = total_w + outlet_w, max(oldest_s, age_s)
        feeds = len(self._outlets)
        return Node(
            self.id,
            w=Reading(total_w, oldest_s, Quality.GOOD),
            critical=self._critical,
            source=f"{feeds} outlet{'s' if feeds > 1 else ''}",
        )

    async def close(self) -> None:
        """Let go of the connections."""
        for pdu, _ in self._outlets:
            await pdu.leave()
