"""Reads SunSpec PV inverters (models 101-103, 111-113 or 701), and limits those that take it (704 or 123)."""

from __future__ import annotations

import asyncio
import math

import msgspec

from dispatch.model.equipment import Pv
from drivers.config import PvDevice
from drivers.device_driver import DeviceDriver
from drivers.maps.found_modes import FoundMode, FoundModes
from drivers.modbus.errors import ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.register_view import WrittenValue
from drivers.sample import Sample
from drivers.setpoint import CommandResult, SetpointWriter
from drivers.setpoint_points import DerLimit, ImmediateLimit
from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.modules import read_modules
from drivers.sunspec.writable import writable, write_point

MODELS = (103, 102, 101, 113, 112, 111, 701)
FULL_POWER = ((702, ("WMax", "WMaxRtg")), (121, ("WMax",)), (120, ("WRtg",)))  # what 100 % of a limit is
STORAGE, DER = 124, 701
STORING = (STORAGE, 713, 802)  # models of a device with a battery


def _map_name(limit: DerLimit | ImmediateLimit) -> str:
    """What the limit is set by, as the record of devices names it beside the names of device maps."""
    return f"sunspec {limit.model}"


class PvDriver(DeviceDriver[SunSpecDevice]):
    """One inverter. `read` and `command` may be called from different tasks; one waits for the other."""

    kind = "pv"

    def __init__(
        self,
        config: PvDevice,
        link: ModbusLink,
        unit: int,
        fallback_w: float = math.inf,
        same_as: str = "",
        found: FoundModes | None = None,
    ) -> None:
        """`fallback_w`: the limit that it is to keep when it hears nothing more from us, where it lets that be set.

        `same_as`: the PCS that is read from the same inverter, by its id; "": none.

        `found`: keeps that it was given a limit, which without a timer outlives us; None: as long as the process runs.
        """
        device = SunSpecDevice(link, unit, MODELS, "PV inverter", config.instance or 0, config.serial)
        super().__init__(config.id, link, unit, device)
        self._config, self._fallback_w = config, fallback_w
        self._found_modes = found if found is not None else FoundModes()
        self._lock = asyncio.Lock()
        self._limit: DerLimit | ImmediateLimit | None = None
        self._writer: SetpointWriter | None = None  # None: it takes no limit
        self._same_as = same_as
        self._told = False  # that its power contains that of its storage
        self._lacks = ""  # for a limit
        self._limited = False  # a limit of ours may be in force

    def writable(self, *, setpoints: bool) -> list[str]:
        """The values that a person may write. Known once it was read."""
        return writable(self._device, setpoints=setpoints)

    async def write_value(self, name: str, value: float | str) -> WrittenValue:
        """Write one of them and read it back. Raises as `write_point`."""
        async with self._lock:
            await self._device.open()
            return await write_point(self._device, name, value)

    async def read(self) -> Pv:
        """Read it now. The few watts it draws at night count as load: power is never below 0. Raises DeviceError.

        Of a hybrid whose model 160 tells PV from storage: the DC power of PV. Where nothing tells them apart, its power
        is that of both: then WrongDevice if a PCS of the site is this same inverter, as it would count twice.
        """
        async with self._lock:
            await self._open()
            model_id = self._device.first(*MODELS)
            state = "InvSt" if model_id == 701 else "St"
            sample = Sample(await self._device.read(model_id, ("W", state)))
            powers = await read_modules(self._device) if self._device.has(STORAGE) else None
            self._refuse_twice(apart=powers is not None)
            held = await self._writer.read() if self._writer is not None else {}
        w = sample.number("W") if powers is None else powers.pv_w
        limit_w = self._limit.in_force_w(held) if self._limit is not None and held else None
        return Pv(
            self.id,
            w=sample.of(None if w is None else max(w, 0.0)),
            state=sample.status(state),
            limit_w=sample.of(limit_w),
        )

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """Have the inverter give at most `w` watts at site time `now_s`; None: a limit of ours is lifted.

        Written on change and renewed at half of its timer. Ours is also what a gateway that was killed has left, and
        what its timer has put in the place of that. Raises DeviceError, ReadbackMismatch among them.
        """
        async with self._lock:
            if w is None and not self._limited:
                found_w, ours = self._found()
                if found_w is None:
                    return CommandResult()
                if not ours:
                    return CommandResult(note=f"a limit of {found_w:.0f} W that Skerry did not set: left as it is")
                self._limited = True
            await self._open()
            if self._writer is None or self._limit is None:
                raise WrongDevice(self.id, f"takes no limit: {self._lacks}", "or curtail = false in the site file")
            self._limited = True
            if w is None:
                await self._end(self._writer)
                return CommandResult("released")
            note = await self._remember(self._limit)
            result = await self._writer.hold(min(w, self._limit.full_w), now_s)
        return msgspec.structs.replace(result, note="; ".join(text for text in (note, result.note) if text))

    @property
    def taken_over(self) -> bool:
        """Whether a gateway has limited it, and not lifted that since, as the record has it."""
        return self._found_modes.of(self.id) is not None

    async def release(self) -> str:
        """Lift a limit that a gateway has left in it; what was done, in words. Raises as `command`."""
        async with self._lock:
            await self._open()
            if self._writer is None or self._limit is None:
                raise WrongDevice(self.id, f"takes no limit: {self._lacks}", "lift it at the inverter")
            await self._writer.read()
            found_w, ours = self._found()
            if found_w is None:
                await self._found_modes.forget(self.id)
                return "holds no limit"
            if not ours:
                return f"a limit of {found_w:.0f} W that Skerry did not set: left as it is"
            await self._end(self._writer)
            return f"its limit of {found_w / 1000:g} kW was lifted"

    async def _end(self, writer: SetpointWriter) -> None:
        """Lift the limit, and forget it once it is seen to be gone."""
        await writer.end()
        await writer.read()
        if (left_w := self._found()[0]) is not None:
            raise ReadbackMismatch(self.id, f"its limit was lifted, but {left_w:.0f} W read back")
        self._limited = False
        await self._found_modes.forget(self.id)

    async def _remember(self, limit: DerLimit | ImmediateLimit) -> str:
        """Keep that it is limited, before the first write. Returns why that is not on disk."""
        error = await self._found_modes.keep(self.id, FoundMode(_map_name(limit), self._serial))
        return f"that it is limited is not on disk: {error}" if error else ""

    @property
    def _serial(self) -> str:
        return self.identity.serial if self.identity else ""

    def _found(self) -> tuple[float | None, bool]:
        """The limit in force as read last, W, and whether it is one of ours; None: none is."""
        limit, held = self._limit, {} if self._writer is None else self._writer.held
        w = limit.in_force_w(held) if limit is not None and held else None
        if limit is None or w is None or w >= limit.full_w:
            return None, False
        kept = self._found_modes.of_same(self.id, _map_name(limit), self._serial) is not None
        return w, kept or limit.ours(held, round(self._config.revert_s))

    def _refuse_twice(self, *, apart: bool) -> None:
        """Tell of a power that contains the storage's. `apart`: model 160 tells them apart.

        Raises WrongDevice where the same power is read as a PCS's: one by 701, or one whose modules say nothing.
        """
        storing = any(self._device.has(model) for model in STORING)
        if self._same_as and (self._device.has(DER) or (storing and not apart)):
            what = f"its power is in that of {self._same_as}, the same inverter: it would count twice"
            raise WrongDevice(self.id, what, "remove this [[pv]]: the balance of the site holds its PV already")
        if storing and not apart and not self._told:
            self._told = True
            text = "its power contains that of its storage: SunSpec model 160 does not tell them apart"
            self.notices.add("warning", text)

    async def _open(self) -> None:
        """Connect; on a new connection nothing known before counts. What keeps a limit from it, `_lacks` says."""
        if not await self._device.open() and (self._limit is not None or not self._config.curtail):
            return
        self._limit, self._writer = None, None
        if self._config.curtail and (limit := await self._find_limit()) is not None:
            self._limit, self._writer = limit, SetpointWriter(self._device, limit, self._config.revert_s)

    async def _find_limit(self) -> DerLimit | ImmediateLimit | None:
        if self._device.has(STORAGE):
            self._lacks = "it is a hybrid, whose limit would hold for its battery, too"
            return None
        by_der = self._device.has(DerLimit.model)
        if not by_der and not self._device.has(ImmediateLimit.model):
            self._lacks = "it has neither SunSpec model 704 nor 123"
            return None
        full_w = await self._full_w()
        if full_w is None:
            self._lacks = "it does not say its rated power, which a limit is a percentage of; set rated_w"
            return None
        return DerLimit(full_w, self._fallback_w) if by_der else ImmediateLimit(full_w)

    async def _full_w(self) -> float | None:
        """What 100 % of a limit are, W: as the device says, else as the site file does."""
        for model_id, names in FULL_POWER:
            if self._device.has(model_id):
                full_w = Sample(await self._device.read(model_id, names)).number(*names)
                if full_w:
                    return full_w
        return self._config.rated_w
