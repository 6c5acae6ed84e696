"""What drivers of Modbus devices have in common: the link, what the device says it is, what its registers mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from dispatch.model.equipment import DeviceIdentity
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words


class SelfDescribing(Protocol):
    """A device that tells what it is and what its registers mean, by SunSpec models or by a device map."""

    @property
    def identity(self) -> DeviceIdentity | None: ...

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]: ...


D = TypeVar("D", bound=SelfDescribing)


class DeviceDriver(Generic[D]):
    """A driver of one device behind a link. It closes the link for good; the device's own timers then run out."""

    def __init__(self, device_id: str, link: ModbusLink, unit: int, device: D) -> None:
        self.id, self.link, self.unit, self.notices = device_id, link, unit, link.notices
        self._device = device

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it says it is; None before it was asked."""
        return self._device.identity

    @property
    def map_name(self) -> str:
        """The device map by which it is read; empty: none."""
        return str(getattr(self._device, "map_name", ""))

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()
