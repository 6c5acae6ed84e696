"""Requests about the registers of devices: those read last, others read once; a value written by an engineer."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.command_log import Command, CommandLog, Handler, printable
from gateway.api.interfaces import Registers
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink


class DeviceCommands:
    """Answers requests about one site's registers."""

    def __init__(self, registers: Registers, log: CommandLog, events: EventSink) -> None:
        self._registers, self._log, self._events = registers, log, events
        self.handlers: dict[str, Handler] = {
            "device.registers": self._last,
            "device.read": self._read,
            "device.write": self._write,
        }

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

    async def _write(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Write a setting of a device, none that this gateway commands. Params: `id`, `name`, `value`, `reason`,
        `seen_utc_s`. Answered once it was read back, or refused with what the device says.
        """
        id, name, value = str(params["id"]), str(params["name"]), params["value"]
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"value {value!r}: expected a number or a word")
        command = Command(
            peer=peer,
            name="device.write",
            text=f"{id}: {name} = {value}",
            reason=printable(str(params.get("reason") or "")),
            seen_utc_s=params.get("seen_utc_s"),
        )
        self._log.check(command, lambda: self._registers.check_write(id, name, setpoints=False))
        intent = await self._log.record_intent(command)
        try:
            written = await self._registers.write(id, name, value, setpoints=False)
        except CommandRefused as error:
            await self._log.record_result(command, intent, "failed", f"{command.text}: {error}")
            raise
        text = f"{id}: {name} was {written.before}, is {written.after}"
        self._events.event("command", "warning", id, f"written by hand: {text}: {command.reason}", peer.who)
        trouble = await self._log.record_result(command, intent, "written", text)
        return {"written": msgspec.to_builtins(written), "not_durable": trouble}
