"""Remembers in which mode a PCS was found before the first write to it, so that it can be left as it was.

It is on disk before the device is written to. A gateway that starts after this one was killed does not take our own
setpoint for what was found: a record stays until the device was released.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.model.decoding import decoded

Words = Annotated[tuple[Annotated[int, Meta(ge=0, le=0xFFFF)], ...], Meta(max_length=123)]


class FoundMode(msgspec.Struct, frozen=True):
    """How one device was found."""

    map: str  # name of its device map
    identity: str = ""  # maker, model, serial number, as far as it tells them
    registers: dict[str, Words] = {}  # "unit address" -> what stood there


class FoundModes:
    """The record of all devices, in memory and on disk. For one event loop."""

    def __init__(
        self, kept: bytes | None = None, save: Callable[[bytes], Awaitable[str]] | None = None, unknown: str = ""
    ) -> None:
        """`kept`: what `save` was last given; None: nothing. `save` returns why it is not on disk; "": it is.

        `unknown`: why what earlier runs left could not be read; "": it was read.
        """
        self._save, self.unknown = save, unknown
        self._found: dict[str, FoundMode] = {}
        if kept is not None:
            try:
                self._found = decoded(msgspec.json.Decoder(dict[str, FoundMode]).decode, kept)
            except msgspec.DecodeError as error:
                self.unknown = str(error)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that were written to and not released since."""
        return tuple(self._found)

    def of(self, device_id: str) -> FoundMode | None:
        """How a device was found; None: it was not written to, as far as is known."""
        return self._found.get(device_id)

    def of_same(self, device_id: str, map_name: str, identity: str) -> FoundMode | None:
        """How this very device was found, by this map; None: that is not known."""
        found = self.of(device_id)
        return found if found is not None and (found.map, found.identity) == (map_name, identity) else None

    async def keep(self, device_id: str, found: FoundMode) -> str:
        """Remember how a device was found; what is known of this device by this map already stays.

        Returns why it is not on disk; "": it is.
        """
        if self.of_same(device_id, found.map, found.identity) is not None:
            return ""
        self._found[device_id] = found
        return await self._saved()

    async def forget(self, device_id: str) -> str:
        """The device was left as it was found. Returns why that is not on disk; "": it is."""
        if self._found.pop(device_id, None) is None:
            return ""
        return await self._saved()

    async def _saved(self) -> str:
        return "" if self._save is None else await self._save(msgspec.json.encode(self._found))
