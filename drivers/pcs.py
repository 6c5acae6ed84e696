"""Reads and commands a SunSpec PCS with its battery: models 701, 702, 704, 713, 715, 802, 803."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dispatch.model.clock import Clock
from dispatch.model.equipment import Battery, DeviceIdentity, Pcs, soc_of
from dispatch.model.readings import MISSING, Quality, status
from drivers.clock import SystemClock
from drivers.config import PcsDevice
from drivers.modbus.errors import DeviceException
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.sample import Sample, smallest
from drivers.setpoint import MODEL as SETPOINT
from drivers.setpoint import CommandResult, SetpointWriter
from drivers.sunspec.device import SunSpecDevice

STATUS = ("InvSt", "ConnSt", "Alrm", "DERMode", "W", "LNV", "Hz", "TmpCab", "TmpSnk", "TmpOt")  # of 701
SLOW = {  # read one at a time, each about once in SLOW_S
    702: ("WMaxRtg", "WMax", "WChaRteMaxRtg", "WChaRteMax", "WDisChaRteMaxRtg", "WDisChaRteMax"),
    713: ("WHRtg", "SoC", "SoH", "Sta"),
    715: ("LocRemCtl", "ControllerHb"),
    802: ("WHRtg", "WChaRteMax", "WDisChaRteMax", "SoC", "SoH", "State", "Evt1", "V", "AChaMax", "ADisChaMax"),
    803: ("ModTmpMax",),
}
SLOW_S = 1.0  # site seconds
SLOW_STALE_S = 5.0  # machine seconds: how often the models are read does not scale with a twin's clock
HEARTBEAT_S = 1.0  # 715.ControllerHb "increments every second"
HEARTBEAT_WRAP = 0xFFFF_FFFE  # below the value that means "not implemented"

OPERATION, START = 715, 1  # SunSpec DERCtl, OpCtl


class PcsDriver:
    """One PCS. `read` and `command` may be called from different tasks; one waits for the other."""

    kind = "pcs"

    def __init__(
        self, config: PcsDevice, link: ModbusLink, unit: int, clock: Clock | None = None, revert_w: float = 0.0
    ) -> None:
        """`revert_w`: the setpoint that it is to revert to when it hears nothing more from us."""
        self.id, self._config, self._clock = config.id, config, clock or SystemClock()
        self._device = SunSpecDevice(link, unit, (701,), "PCS", config.instance or 0)
        self.link, self.unit, self.notices = link, unit, link.notices
        self._setpoint = SetpointWriter(self._device, config.revert_s, revert_w)
        self._lock = asyncio.Lock()
        self._slow: dict[int, tuple[float, Sample]] = {}  # model -> when (site time), what
        self._asked_s: dict[int, float] = {}  # model -> when last asked, answered or not
        self._heartbeat: int | None = None  # the last one sent on this connection
        self._beaten_s = 0.0

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it says it is; None before it was asked."""
        return self._device.identity

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def read(self) -> tuple[Pcs, Battery | None]:
        """Read it now: power, state and setpoint fresh, the rest about a second old and saying so.

        Raises DeviceError.
        """
        async with self._lock:
            await self._open()
            now_s = self._clock.mono_s()
            fast = Sample(await self._device.read(701, STATUS))
            held = Sample(await self._setpoint.read() if self._device.has(SETPOINT) else {})
            await self._refresh(now_s)
            slow = {model_id: self._aged(model_id) for model_id in SLOW}
        return _pcs(self.id, fast, held, slow), _battery(self._config.battery, slow) if self._has_battery else None

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """Have the PCS hold `w` watts (> 0 discharges) at site time `now_s`; None: leave its setpoint as it is.

        Once a setpoint was given, the heartbeat goes on even with None: falling silent would be an act of its own.
        Raises DeviceError, ReadbackMismatch among them; ValueError for a value that the registers cannot carry.
        """
        async with self._lock:
            if w is None and self._heartbeat is None:
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
            self._device.first(SETPOINT)
            allowed_w, clipped = self._clip(w)
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

    async def close(self) -> None:
        """Drop the connection for good; the device's own reversion timer runs out."""
        await self._device.link.close()

    @property
    def _has_battery(self) -> bool:
        return self._device.has(713) or self._device.has(802)

    @property
    def _local(self) -> bool:
        return 715 in self._slow and self._slow[715][1].text("LocRemCtl") == "local"

    async def _open(self) -> None:
        """Connect; on a new connection nothing known before counts."""
        if await self._device.open():
            self._slow.clear()
            self._asked_s.clear()
            self._setpoint.reset()
            self._heartbeat = None
        self._device.first(701)

    async def _refresh(self, now_s: float) -> None:
        """Read the slow model that is due the longest; all of them at first. A refused one keeps its old values."""
        there = [m for m in SLOW if self._device.has(m)]
        unread = [m for m in there if m not in self._asked_s]
        due = [m for m in there if m not in unread and now_s - self._asked_s[m] >= SLOW_S]
        for model_id in unread or sorted(due, key=self._asked_s.__getitem__)[:1]:
            self._asked_s[model_id] = now_s
            try:
                self._slow[model_id] = now_s, Sample(await self._device.read(model_id, SLOW[model_id]))
            except DeviceException:  # its values grow old, then stale; the others are not kept waiting
                continue

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

    def _clip(self, w: float) -> tuple[float, str]:
        """`w` within the limits the device itself reports, and a note if that changed it."""
        charge_w, discharge_w = _limits(self._slow[702][1]) if 702 in self._slow else (None, None)
        low = -charge_w if charge_w is not None else -float("inf")
        high = discharge_w if discharge_w is not None else float("inf")
        allowed_w = min(max(w, low), high)
        return allowed_w, "" if allowed_w == w else f"{w:g} W clipped to {allowed_w:g} W, the device's own limit"


def _limits(capacity: Sample) -> tuple[float | None, float | None]:
    """Charge and discharge limit of model 702, W >= 0: the setting where there is one, else the rating."""
    most_w = capacity.number("WMax", "WMaxRtg")
    charge_w = capacity.number("WChaRteMax", "WChaRteMaxRtg")
    discharge_w = capacity.number("WDisChaRteMax", "WDisChaRteMaxRtg")
    return (charge_w if charge_w is not None else most_w), smallest(discharge_w, most_w)


def _pcs(pcs_id: str, fast: Sample, held: Sample, slow: dict[int, Sample]) -> Pcs:
    """The PCS of what was read. DERMode is a bit field: forming wins over following."""
    modes = fast.bits("DERMode") or ()
    mode = next((m for m in ("grid_forming", "grid_following") if m in modes), None)
    charge_w, discharge_w = _limits(slow[702])
    enabled = {"enabled": 1.0, "disabled": 0.0}.get(held.text("WSetEna") or "")
    return Pcs(
        pcs_id,
        w=fast.reading("W"),
        hz=fast.reading("Hz"),
        v=fast.reading("LNV"),
        state=fast.status("InvSt"),
        connection=fast.status("ConnSt"),
        mode=status(mode),
        control=slow[715].status("LocRemCtl"),
        setpoint_w=held.reading("WSet"),
        setpoint_enabled=held.of(enabled),
        revert_remaining_s=held.reading("WSetRvrtRem"),
        revert_after_s=held.reading("WSetRvrtTms"),
        revert_to_w=held.reading("WSetRvrt") if held.text("WSetEnaRvrt") == "enabled" else MISSING,
        charge_limit_w=slow[702].of(charge_w),
        discharge_limit_w=slow[702].of(discharge_w),
        temp_c=fast.reading("TmpCab", "TmpSnk", "TmpOt"),
        alarms=fast.bits("Alrm") or (),
    )


def _battery(battery_id: str, slow: dict[int, Sample]) -> Battery:
    """The battery of 713 and, where there is one, of the BMS's 802; its limits in amperes count with its voltage."""
    der, bms = slow[713], slow[802]
    volts = bms.number("V")
    amps = [bms.number("AChaMax"), bms.number("ADisChaMax")]
    by_amps = [None if a is None or volts is None else a * volts for a in amps]
    rated = der if der.number("WHRtg") is not None else bms
    soc = der if _percent(der) is not None else bms
    health = der if der.number("SoH") is not None else bms
    return Battery(
        battery_id,
        soc_pct=soc.of(_percent(soc)),
        soh_pct=health.reading("SoH"),
        energy_wh=rated.reading("WHRtg"),
        charge_limit_w=bms.of(smallest(bms.number("WChaRteMax"), by_amps[0])),
        discharge_limit_w=bms.of(smallest(bms.number("WDisChaRteMax"), by_amps[1])),
        temp_c=slow[803].reading("ModTmpMax"),
        state=bms.status("State") if bms.text("State") else der.status("Sta"),
        alarms=bms.bits("Evt1") or (),
    )


def _percent(sample: Sample) -> float | None:
    """The value as a SoC in %, if it is between 0 and 100."""
    return soc_of(sample.number("SoC"))
