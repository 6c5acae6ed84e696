"""Reads and commands a PCS with its battery as a device map says."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from dispatch.config.schema import BatteryConfig
from dispatch.model.clock import Clock
from dispatch.model.equipment import Battery, DeviceIdentity, Pcs
from dispatch.model.readings import MISSING, Reading, Status
from drivers.clock import SystemClock
from drivers.config import PcsDevice
from drivers.maps.battery import battery_of
from drivers.maps.decoding import Decoded
from drivers.maps.device import identity_of
from drivers.maps.found_modes import FoundMode, FoundModes
from drivers.maps.hand_writes import by_hand, write_by_hand
from drivers.maps.pcs_values import PcsValues
from drivers.maps.reader import MapReader
from drivers.maps.recipe_writer import RecipeWriter
from drivers.maps.register_view import explain
from drivers.maps.schema import DEVICE, DeviceMap, Poll
from drivers.modbus.errors import DeviceException, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words, WrittenValue
from drivers.sample import Sample, smallest
from drivers.serial_numbers import check_serial
from drivers.setpoint import TEMPORARY, CommandResult

FORMING = "grid_forming"
SLOW_S = 1.0  # site seconds between two readings of the slow values
UNANSWERED = TEMPORARY | {10, 11}  # exceptions that refuse nothing: it is busy, or its gateway does not reach it
HOLDING = 3  # the function that reads registers which can be written
NOISE = 0.01  # of the rating: limits in amperes move with the volts between the look and the order

Proven = Callable[[str, str, DeviceIdentity], bool]  # device id, map, what it says it is -> proven on site


def not_proven(*_: object) -> bool:
    """No device was proven: what counts where no proofs are kept."""
    return False


class MapPcs:
    """One PCS. `read` and `command` may be called from different tasks; one waits for the other."""

    kind = "pcs"

    def __init__(
        self,
        config: PcsDevice,
        device_map: DeviceMap,
        link: ModbusLink,
        unit: int,
        clock: Clock | None = None,
        *,
        found: FoundModes | None = None,
        proven: Proven = not_proven,
        battery: BatteryConfig | None = None,
        own_bms: bool = False,
    ) -> None:
        """`found`: keeps how devices were found; None: as long as the process runs. `proven`: asked before writes.

        `battery`: its efficiency turns DC into AC power; None: without losses. `own_bms`: the battery is read by
        another device, and what this one says of it is not used.
        """
        self.id, self._config, self._map, self._clock = config.id, config, device_map, clock or SystemClock()
        self.link, self.unit, self.notices = link, unit, link.notices
        self.map_name = device_map.name
        self.refresh_s = device_map.access.refresh_s  # how often the device renews its own values
        self.period_s = config.period_s or self.refresh_s  # machine seconds between two readings
        self._units = units = {**device_map.units, **config.units, DEVICE: unit}
        self._reader = MapReader(link, units, device_map)
        self._tells_battery = "soc_pct" in device_map.values and not own_bms
        self._found, self._proven = found if found is not None else FoundModes(), proven
        self._lock = asyncio.Lock()
        self._connection = 0  # on which the device's identity was checked
        self.identity: DeviceIdentity | None = None  # None: not read yet
        self._serial = ""  # that of its first contact
        self._values = PcsValues(device_map, self._clock, battery)
        self._mode = ""  # as it last told it: what forms the grid may refuse to say so now and then
        self._asked_slow_s = float("-inf")
        self._commanded = False  # by this driver and not left since, on whichever connection
        self._idle = _Idle()
        self._writer: RecipeWriter | None = None
        if (recipe := device_map.recipe) is not None:
            self._writer = RecipeWriter(
                device_map,
                recipe,
                _Registers(link, units, lambda: self._connection),
                charge_rated_w=config.charge_w,
                discharge_rated_w=config.discharge_w,
                revert_s=config.revert_s,
                battery=battery,
            )

    def renew_within(self, revert_s: float) -> None:
        """Take it that the device reverts after so much silence, where that is shorter than its map says."""
        if self._writer is not None:
            self._writer.renew_within(revert_s)

    async def read(self) -> tuple[Pcs, Battery | None]:
        """Read it now: power fresh, slow values about a second old and saying so. Raises DeviceError."""
        async with self._lock:
            await self._open()
            now_s = self._clock.mono_s()
            self._values.fast, self._values.fast_s = await self._ask("fast"), now_s
            if now_s - self._asked_slow_s >= SLOW_S:
                self._asked_slow_s = now_s
                await self._refresh(now_s)
            return self._pcs(), self._battery()

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """Have the PCS hold `w` watts (> 0 discharges) at site time `now_s`; None: leave its setpoint as it is.

        Where it may not be commanded, nothing is written and the result says why. Raises DeviceError,
        ReadbackMismatch among them, and ValueError where `w` is no number.
        """
        if w is not None and math.isnan(w):
            raise ValueError(f"{self.id}: the setpoint is not a number; expected W")
        async with self._lock:
            writer = self._writer
            if writer is None or (w is None and not self._commanded):
                return CommandResult(note="" if w is None else f"map {self._map.name} has no recipe: it is read only")
            if w is None:
                writer.release()
                return await self._ask_nothing(writer, now_s)
            self._idle = _Idle()
            await self._open()
            if why_not := await self._why_not():
                writer.release()
                return CommandResult(note=why_not)
            note = await self._remember(writer)
            self._commanded = True
            allowed_w, clipped = self._clip(w)
            try:
                result = await writer.hold(allowed_w, self._values.terms(), now_s)
            except DeviceException as error:
                if error.code not in UNANSWERED:
                    await writer.give_up(self._kept(), now_s)
                raise
        notes = [each for each in (note, clipped, result.note) if each]
        return CommandResult(result.action, "; ".join(notes), result.w, result.held and not clipped)

    async def _ask_nothing(self, writer: RecipeWriter, now_s: float) -> CommandResult:
        """End a setpoint that would stand for ever, after `revert_s` in which nothing was asked of the device.

        Others end it themselves. What is not ours, and registers in flash, are not written. Raises DeviceError.
        """
        idle = self._idle
        if idle.since_s is None:
            idle.since_s = now_s
        if writer.ends_by_itself or idle.left or now_s - idle.since_s < self._config.revert_s:
            return CommandResult()
        idle.since_s = now_s  # where it fails, it is tried again after as long
        await self._open()
        if await self._forms() or self._not_ours or await writer.holds_another():
            return CommandResult()
        await writer.leave(self._kept(), flash=False)
        idle.left = True
        note = f"left: nothing was asked of it for {self._config.revert_s:g} s, and its setpoint would have stood"
        return CommandResult(note=note)

    async def start(self) -> None:
        """Starting is protected in every map. Raises WrongDevice."""
        raise WrongDevice(self._where, "its map does not start it", "start it at the device")

    async def release(self) -> None:
        """Write what the recipe leaves behind, and forget that it was commanded. Raises DeviceError.

        A PCS that forms the grid is not written to: that is a DeviceError, too.
        """
        async with self._lock:
            if self._writer is not None:
                await self._open()
                if await self._forms():
                    raise WrongDevice(self._where, "it forms the grid: not written", "release it on the grid")
                await self._writer.leave(self._kept())
                self._commanded = False
                await self._found.forget(self.id)

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return explain(self._map, self._units, words, now_s)

    def writable(self, *, setpoints: bool) -> list[str]:
        """What a person may write. Setpoints are the recipe's, whether a gateway runs or not."""
        return by_hand(self._map)

    async def write_value(self, name: str, value: float | str) -> WrittenValue:
        """Write one of them and read it back. Raises DeviceError, ValueError, LookupError."""
        async with self._lock:
            await self._open()
            if await self._forms() or self._not_ours:
                raise WrongDevice(self._where, self._not_ours or "it forms the grid: not written", "write it later")
            return await write_by_hand(self.link, self._map, self._units, name, value, self._connection)

    async def close(self) -> None:
        """Leave it as it was found, unless it forms the grid; then drop the connection for good."""
        try:
            if self._commanded and not self._not_ours:
                await self.release()
        finally:
            await self.link.close()

    @property
    def _where(self) -> str:
        return f"{self.id} at {self.link.at}"

    async def _open(self) -> None:
        """Connect; on a new connection the device must be the same again. Raises DeviceError."""
        if self._connection and self._connection == self.link.connection:
            return
        self._connection = 0
        self._asked_slow_s = float("-inf")
        self._values.outdate()
        if self._writer is not None:
            self._writer.reset()
        await self._reader.identify()
        on = self.link.connection
        self._values.once = await self._ask("once")
        self.identity = identity_of(self._values.once)
        self._check_serial(self.identity.serial)
        self._connection = on

    def _check_serial(self, told: str) -> None:
        """Raises WrongDevice where it is not that of the site file, else that of the first contact, if it tells one."""
        kept = self._found.of(self.id)
        first = self._serial or (kept.identity if kept is not None else "")
        check_serial(self._where, self._config.serial or (told and first), told)
        self._serial = first or told

    async def _forms(self) -> bool:
        """Whether it forms the grid, as it says now. Raises DeviceError."""
        if "mode" in self._map.values:
            self._values.fast, self._values.fast_s = await self._ask("fast"), self._clock.mono_s()
        return self._mode == FORMING

    @property
    def _not_ours(self) -> str:
        """Why it may not be written to, as far as it was read; "": it may."""
        if self._values.sample("control").text("control") == "local":
            return f"{self.id} is in local control: not written"
        if self._mode == FORMING:
            now = "forms the grid" if self._values.fast.get("mode") else "formed the grid when it last told its mode"
            return f"{self.id} {now}: not written"
        return ""

    async def _ask(self, poll: Poll) -> dict[str, Decoded | None]:
        values = await self._reader.read(poll)
        if isinstance(mode := values.get("mode"), str):
            self._mode = mode
        return values

    async def _refresh(self, now_s: float) -> None:
        """Read the slow values, and what the device holds of ours. What is refused grows old, the rest goes on."""
        try:
            self._values.slow, self._values.slow_s = await self._ask("slow"), now_s
            if self._writer is not None:
                await self._writer.look()
        except DeviceException:
            return

    async def _why_not(self) -> str:
        """Why it may not be commanded; "": it may. Raises DeviceError."""
        config, recipe = self._config, self._map.recipe
        name = self._map.name
        if math.isinf(self._values.fast_s):
            await self._forms()  # nothing was read on this connection yet
        if self._not_ours:
            return self._not_ours
        if self._map.info.verified == "unverified" and not self._proven(
            self.id, name, self.identity or DeviceIdentity()
        ):
            return f"map {name} is unverified: not written; run `skerry devices prove {self.id}`"
        if recipe is not None and not recipe.revert_s and not config.accept_no_revert:
            return f"{self.id} never reverts by itself: not written; set accept_no_revert and cap_w"
        return ""

    async def _remember(self, writer: RecipeWriter) -> str:
        """Keep how it was found, before the first write. Returns why that is not on disk."""
        if self._kept() is not None:
            return ""
        found = {} if self._found.unknown else await writer.found()  # it may be what an earlier run has written
        mode = FoundMode(self._map.name, self.identity.serial if self.identity else "", found)
        error = await self._found.keep(self.id, mode)
        return f"how it was found is not on disk: {error}" if error else ""

    def _kept(self) -> FoundMode | None:
        """How this very device was found, by this map; None: that is not known."""
        return self._found.of_same(self.id, self._map.name, self.identity.serial if self.identity else "")

    def _clip(self, w: float) -> tuple[float, str]:
        """`w` within the cap and the limits of device and BMS, and a note if that took more than noise of the volts."""
        cap_w = self._config.cap_w
        low = -(smallest(self._values.ac_limit("charge").value, cap_w, self._config.charge_w) or 0.0)
        high = smallest(self._values.ac_limit("discharge").value, cap_w, self._config.discharge_w) or 0.0
        allowed_w = min(max(w, low), high) + 0.0  # no -0
        noise_w = NOISE * max(self._config.charge_w, self._config.discharge_w)
        told = f"{w:g} W clipped to {allowed_w:g} W, its limit or its cap"
        return allowed_w, told if abs(allowed_w - w) > noise_w else ""

    def _reading(self, name: str) -> Reading:
        return self._values.sample(name).reading(name)

    def _status(self, name: str) -> Status:
        return self._values.sample(name).status(name)

    def _pcs(self) -> Pcs:
        """The PCS of what was read. Its limits are those of its battery, where it does not tell of the battery itself.

        What it holds of ours, read back, is its setpoint as long as nobody changed it.
        Where its registers cannot be read, the setpoint is missing, whatever was written.
        """
        writer, fast = self._writer, Sample(self._values.fast)
        limits = [MISSING if self._tells_battery else self._values.ac_limit(way) for way in ("charge", "discharge")]
        power, estimated = self._values.power()
        held_w = writer.held_w if writer is not None else None
        return Pcs(
            self.id,
            w=power,
            w_estimated=estimated,
            hz=self._reading("hz"),
            v=self._reading("v"),
            state=self._status("state"),
            connection=self._status("connection"),
            mode=self._status("mode"),
            control=self._status("control"),
            setpoint_w=fast.of(held_w),
            setpoint_enabled=fast.of(None if held_w is None else 1.0),
            revert_remaining_s=self._reading("revert_remaining_s"),
            revert_after_s=fast.of(writer.revert_s if writer is not None and writer.commanding else None),
            revert_by_map=True,
            charge_limit_w=limits[0],
            discharge_limit_w=limits[1],
            temp_c=self._reading("temp_c"),
            alarms=self._values.sample("alarms").bits("alarms") or (),
        )

    def _battery(self) -> Battery | None:
        """The battery, where the map reads one and no other device does."""
        return battery_of(self._config.battery, self._values.sample) if self._tells_battery else None


class _Idle:
    """Since when nothing is asked of a device, site time, and whether it was left for that."""

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.left = False


class _Registers:
    """The registers of the units of a map, for the writer of its recipe."""

    def __init__(self, link: ModbusLink, units: Mapping[str, int], on: Callable[[], int]) -> None:
        """`on`: the number of the connection that may be written to."""
        self._link, self._units, self._on = link, units, on

    async def read(self, at: str, address: int, count: int, function: int | None = None) -> Sequence[int]:
        return await self._link.read(self._units[at], address, count, function or HOLDING)

    async def write(self, at: str, address: int, words: Sequence[int], function: int) -> None:
        await self._link.write(self._units[at], address, words, self._on(), function)

    def where(self, at: str, address: int) -> str:
        return f"{self._link.device} at {self._link.at} unit {self._units[at]}, register {address}"
