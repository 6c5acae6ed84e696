"""Reads and commands a SunSpec PCS with its battery.

Either of the 700 series (701, 702, 704, 713, 715), or a storage inverter of before it (101-103 or 111-113, 120-122,
124, and 160 of a hybrid); the BMS by 802 and 803.
"""

from __future__ import annotations

import asyncio

from dispatch.model.clock import Clock
from dispatch.model.equipment import Battery, Pcs
from dispatch.model.readings import Quality
from drivers.clock import SystemClock
from drivers.config import PcsDevice
from drivers.device_driver import DeviceDriver
from drivers.modbus.errors import DeviceException, ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.pcs_readings import battery_of, der_limits, der_pcs, storage_limits, storage_pcs
from drivers.register_view import WrittenValue
from drivers.sample import Sample
from drivers.setpoint import CommandResult, SetpointWriter, shown
from drivers.setpoint_points import DerSetpoint, Held, StorageRates, rates_w
from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.modules import read_modules
from drivers.sunspec.writable import writable, write_point

DER, SETPOINT, STORAGE = 701, 704, 124
INVERTERS = (103, 113, 102, 112, 101, 111)
INVERTER_STATUS = ("St", "Evt1", "W", "PhVphA", "Hz", "TmpCab", "TmpSnk", "TmpOt")
STATUS = ("InvSt", "ConnSt", "Alrm", "DERMode", "W", "LNV", "Hz", "TmpCab", "TmpSnk", "TmpOt")  # of 701
SLOW = {  # read one at a time, each about once in SLOW_S
    702: ("WMaxRtg", "WMax", "WChaRteMaxRtg", "WChaRteMax", "WDisChaRteMaxRtg", "WDisChaRteMax"),
    713: ("WHRtg", "SoC", "SoH", "Sta"),
    715: ("LocRemCtl", "ControllerHb"),
    802: (
        "WHRtg", "WChaRteMax", "WDisChaRteMax", "SoC", "SoH", "State", "Evt1", "V", "AChaMax", "ADisChaMax",
        "CellVMin", "CellVMax",
    ),
    803: ("NStr", "NStrCon", "ModTmpMax", "ModTmpMin"),
}  # fmt: skip
SLOW_OF_INVERTER = {  # besides, where there is no 701
    120: ("WRtg", "WHRtg", "MaxChaRte", "MaxDisChaRte"),
    121: ("WMax",),
    122: ("ECPConn",),
}
SLOW_S = 1.0  # site seconds
SLOW_STALE_S = 5.0  # machine seconds: how often the models are read does not scale with a twin's clock
HEARTBEAT_S = 1.0  # 715.ControllerHb "increments every second"
HEARTBEAT_WRAP = 0xFFFF_FFFE  # below the value that means "not implemented"

OPERATION, START = 715, 1  # SunSpec DERCtl, OpCtl


class PcsDriver(DeviceDriver[SunSpecDevice]):
    """One PCS. `read` and `command` may be called from different tasks; one waits for the other."""

    kind = "pcs"

    def __init__(
        self,
        config: PcsDevice,
        link: ModbusLink,
        unit: int,
        clock: Clock | None = None,
        revert_w: float = 0.0,
        *,
        own_bms: bool = False,
    ) -> None:
        """`revert_w`: the setpoint that it is to revert to when it hears nothing more from us.

        `own_bms`: another device reads the battery, and what this one says of it is not used.
        """
        self._own_bms = own_bms
        device = SunSpecDevice(link, unit, (DER, *INVERTERS), "PCS", config.instance or 0, config.serial)
        super().__init__(config.id, link, unit, device)
        self._config, self._clock = config, clock or SystemClock()
        self._revert_w = revert_w
        self._proven_revert_s: float | None = None
        self._setpoint = self._new_writer()
        self._lock = asyncio.Lock()
        self._slow: dict[int, tuple[float, Sample]] = {}  # model -> when (site time), what
        self._asked_s: dict[int, float] = {}  # model -> when last asked, answered or not
        self._heartbeat: int | None = None  # the last one sent on this connection
        self._beaten_s = 0.0

    def renew_within(self, revert_s: float) -> None:
        """Take it that the device reverts after so much silence, where that is shorter than the timer asked of it."""
        self._proven_revert_s = self._setpoint.proven_s = revert_s

    def writable(self, *, setpoints: bool) -> list[str]:
        """The values that a person may write. Known once it was read."""
        return writable(self._device, setpoints=setpoints)

    async def write_value(self, name: str, value: float | str) -> WrittenValue:
        """Write one of them and read it back. Raises as `write_point`."""
        async with self._lock:
            await self._open()
            return await write_point(self._device, name, value)

    async def read(self) -> tuple[Pcs, Battery | None]:
        """Read it now: power, state and setpoint fresh, the rest about a second old and saying so.

        Raises DeviceError.
        """
        async with self._lock:
            await self._open()
            now_s = self._clock.mono_s()
            if self._device.has(DER):
                fast = Sample(await self._device.read(DER, STATUS))
                held = Sample(await self._setpoint.read() if self._device.has(SETPOINT) else {})
                await self._refresh(now_s)
                slow = self._slow_samples()
                there = not self._own_bms and (self._device.has(713) or self._device.has(802))
                return der_pcs(self.id, fast, held, slow), battery_of(self._config.battery, slow) if there else None
            return await self._read_inverter(now_s)

    async def _read_inverter(self, now_s: float) -> tuple[Pcs, Battery | None]:
        fast = Sample(await self._device.read(self._device.first(*INVERTERS), INVERTER_STATUS))
        powers = await read_modules(self._device)
        held = await self._setpoint.read()
        await self._refresh(now_s)
        slow = self._slow_samples()
        pcs = storage_pcs(self.id, fast, powers, held, slow)
        return pcs, None if self._own_bms else battery_of(self._config.battery, slow, Sample(held))

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """Have the PCS hold `w` watts (> 0 discharges) at site time `now_s`; None: leave its setpoint as it is.

        Once a setpoint was given, the heartbeat goes on even with None: falling silent would be an act of its own.
        Raises DeviceError, ReadbackMismatch among them; ValueError for a value that the registers cannot carry.
        """
        async with self._lock:
            if w is None and self._heartbeat is None:
                self._setpoint.release()
                return CommandResult()
            await self._open()
            await self._refresh(self._clock.mono_s())
            if self._local:
                self._setpoint.release()
                return CommandResult(note=f"{self.id} is in local control: not written")
            await self._beat(now_s)
            if w is None:
                self._setpoint.release()
                return CommandResult()
            self._device.first(self._setpoint.points.model)
            allowed_w, clipped = await self._clip(w)
            result = await self._setpoint.hold(allowed_w, now_s)
        notes = [note for note in (clipped, result.note) if note]
        return CommandResult(result.action, "; ".join(notes), result.w, result.held and not clipped)

    async def start(self) -> None:
        """Start a PCS that stands still (715 OpCtl = START), unless it is in local control. Raises DeviceError."""
        async with self._lock:
            await self._open()
            await self._refresh(self._clock.mono_s())
            self._device.first(OPERATION)
            if not self._local:
                await self._device.write(OPERATION, {"OpCtl": START})

    async def release(self) -> str:
        """Leave the device to itself; what was done, in words. A timer of its own that runs is left to end a setpoint.

        Raises DeviceError, ReadbackMismatch among them.
        """
        async with self._lock:
            await self._open()
            model_id = self._setpoint.points.model
            if not self._device.has(model_id):
                return "takes no setpoint"
            held = await self._setpoint.read()
            if model_id == STORAGE:
                return await self._release_rates(held)
            if held.get("WSetEna") != "enabled":
                return "holds no setpoint"
            setpoint, left_s = held.get("WSet"), held.get("WSetRvrtRem")
            power = f"its setpoint of {setpoint / 1000:g} kW" if isinstance(setpoint, (int, float)) else "its setpoint"
            if isinstance(left_s, (int, float)) and left_s > 0:
                return f"its own timer ends {power} in {left_s:g} s"
            await self._device.write(SETPOINT, {"WSetEna": "disabled"})
            after = await self._setpoint.read()
            if after.get("WSetEna") != "disabled":
                where = self._device.where(SETPOINT, "WSetEna")
                raise ReadbackMismatch(where, f"wrote disabled, reads back {after.get('WSetEna')}")
            return f"{power} was switched off"

    async def _release_rates(self, held: Held) -> str:
        """End a pair of rates that is a setpoint; no counter tells whether a timer would. Raises as `release`."""
        if not held.get("StorCtl_Mod"):
            return "holds no limits of charging and discharging"
        power_w, enabled = rates_w(held)
        if not enabled or power_w is None:
            return "its limits of charging and discharging leave it a range, which Skerry never sets: left as they are"
        await self._setpoint.end()
        after = await self._setpoint.read()
        if after.get("StorCtl_Mod"):
            where = self._device.where(STORAGE, "StorCtl_Mod")
            raise ReadbackMismatch(where, f"wrote no bit, reads back {shown(after.get('StorCtl_Mod'))}")
        return f"its limits of charging and discharging, a setpoint of {power_w / 1000:g} kW, were switched off"

    def _new_writer(self) -> SetpointWriter:
        """What writes the setpoint: by 704, or by 124 where there is none. It knows nothing yet of what is held."""
        by_rates = self._device.has(STORAGE) and not self._device.has(SETPOINT)
        points = StorageRates() if by_rates else DerSetpoint(self._revert_w)
        return SetpointWriter(self._device, points, self._config.revert_s, self._proven_revert_s)

    @property
    def _local(self) -> bool:
        return 715 in self._slow and self._slow[715][1].text("LocRemCtl") == "local"

    async def _open(self) -> None:
        """Connect; on a new connection nothing known before counts."""
        if await self._device.open():
            self._slow.clear()
            self._asked_s.clear()
            self._setpoint = self._new_writer()
            self._heartbeat = None
        self._device.first(DER, *(INVERTERS if self._device.has(STORAGE) else ()))

    async def _refresh(self, now_s: float) -> None:
        """Read the slow model that is due the longest; all of them at first. A refused one keeps its old values."""
        there = [m for m in self._slow_points if self._device.has(m)]
        unread = [m for m in there if m not in self._asked_s]
        due = [m for m in there if m not in unread and now_s - self._asked_s[m] >= SLOW_S]
        for model_id in unread or sorted(due, key=self._asked_s.__getitem__)[:1]:
            self._asked_s[model_id] = now_s
            try:
                self._slow[model_id] = now_s, Sample(await self._device.read(model_id, self._slow_points[model_id]))
            except DeviceException:  # its values grow old, then stale; the others are not kept waiting
                continue

    @property
    def _slow_points(self) -> dict[int, tuple[str, ...]]:
        return SLOW if self._device.has(DER) else SLOW | SLOW_OF_INVERTER

    def _slow_samples(self) -> dict[int, Sample]:
        return {model_id: self._aged(model_id) for model_id in (*SLOW, *SLOW_OF_INVERTER)}

    def _aged(self, model_id: int) -> Sample:
        """A slow model's values with their age."""
        if model_id not in self._slow:
            return Sample({})
        at_s, sample = self._slow[model_id]
        age_s = max(self._clock.mono_s() - at_s, 0.0)
        return sample.aged(age_s, Quality.GOOD if age_s <= SLOW_STALE_S * self._clock.speed else Quality.STALE)

    async def _beat(self, now_s: float) -> None:
        """Count the controller's heartbeat up, about once a second, on devices that have one."""
        counter = self._slow[715][1].number("ControllerHb") if 715 in self._slow else None
        if counter is None or (self._heartbeat is not None and now_s - self._beaten_s < HEARTBEAT_S):
            return
        last = self._heartbeat if self._heartbeat is not None else int(counter)
        beat = (last + 1) % HEARTBEAT_WRAP
        await self._device.write(715, {"ControllerHb": beat})
        self._heartbeat, self._beaten_s = beat, now_s

    async def _clip(self, w: float) -> tuple[float, str]:
        """`w` within the limits the device itself reports, and a note if that changed it."""
        if self._setpoint.points.model == STORAGE:
            held = self._setpoint.held or await self._setpoint.read()
            charge_w, discharge_w = storage_limits(held, self._slow_samples())
        else:
            charge_w, discharge_w = der_limits(self._slow[702][1]) if 702 in self._slow else (None, None)
        low = -charge_w if charge_w is not None else -float("inf")
        high = discharge_w if discharge_w is not None else float("inf")
        allowed_w = min(max(w, low), high)
        return allowed_w, "" if allowed_w == w else f"{w:g} W clipped to {allowed_w:g} W, the device's own limit"
