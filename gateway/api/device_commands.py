"""Requests about the registers of devices: those read last, others read once."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.command_log import Handler
from gateway.api.interfaces import Registers
from gateway.api.peer import Peer


class DeviceCommands:
    """Answers requests about one site's registers."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers
        self.handlers: dict[str, Handler] = {"device.registers": self._last, "device.read": self._read}

    async def _last(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What was read last, without asking the device. Param: `id`."""
        return msgspec.to_builtins(self._registers.last(str(params["id"])))

    async def _read(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Read registers once. Params: `id`, `address`, `count`, `unit` (None: the device's own), `function` 3 or 4."""
        unit = params.get("unit")
        found = await self._registers.read(
            str(params["id"]),
            int(params["address"]),
            int(params.get("count", 1)),
            None if unit is None else int(unit),
            int(params.get("function", 3)),
        )
        return msgspec.to_builtins(found)
