"""Limits a PV inverter by the write `pv_limit` of its map, where the inverter drops a limit that is not renewed.

The limit is a share of its rated power. The inverter must be set to take it, and to a fallback for when none comes:
then that fallback counts also while no limit is needed, so the full power is asked for all the time.
"""

from __future__ import annotations

from drivers.config import PvDevice
from drivers.maps.device import MappedDevice
from drivers.maps.named_writes import NamedWriter
from drivers.sample import Sample
from drivers.setpoint import CommandResult

LIMIT = "pv_limit"
NEEDS = ("rated_w", "control", "limit_end", "limit_timeout_s")  # values that say whether and how it may be limited
FULL_PCT = 100.0


class PvLimit:
    """The limit of one inverter. Times are site seconds."""

    def __init__(self, config: PvDevice, device: MappedDevice, writer: NamedWriter) -> None:
        self._config, self._device, self._writer = config, device, writer
        self._written: tuple[int, float, float] | None = None  # connection, share in %, when

    async def hold(self, w: float | None, sample: Sample, now_s: float) -> CommandResult:
        """Have it give at most `w` watts; None: all that it can. `sample`: as it was read last.

        Written on change, and renewed at half of the inverter's own time-out. Where the inverter is not set for it,
        nothing is written and the note says why. Raises DeviceError.
        """
        full_w, timeout_s = sample.number("rated_w"), sample.number("limit_timeout_s")
        if why_not := self._why_not(sample):
            self._written = None
            return CommandResult(note=why_not if w is not None else "")
        assert full_w is not None
        assert timeout_s is not None
        pct = FULL_PCT if w is None else self._writer.rounded(LIMIT, min(max(100.0 * w / full_w, 0.0), FULL_PCT))
        taken_w = None if w is None else full_w * pct / 100.0
        connection, before = self._device.connection, self._written
        fresh = before is not None and before[0] == connection and now_s - before[2] < timeout_s / 2
        if fresh and before is not None and before[1] == pct:
            return CommandResult(w=taken_w)
        self._written = None
        await self._writer.write_number(LIMIT, pct, connection)
        self._written = connection, pct, now_s
        return CommandResult("renewed" if before is not None and before[1] == pct else "changed", w=taken_w)

    def _why_not(self, sample: Sample) -> str:
        """Why it takes no limit; empty: it does."""
        if not self._device.connection:
            return "its identity was not checked yet"
        if not sample.number("rated_w"):
            return "its rated power is not read, of which a limit is a share"
        if sample.text("control") != "remote":
            return "it is not set to take limits by communication; see the remarks of its map"
        if sample.text("limit_end") != "fallback" or not sample.number("limit_timeout_s"):
            return "it is not set to a fallback for when no limit comes: one of ours would stand for ever"
        return ""
