"""Checks readings of which only the bounds are known: a PCS's setpoint as read back, voltages, frequencies."""

from __future__ import annotations

from dispatch.model.equipment import DEAD
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, SiteBounds, out_of, out_of_watts
from dispatch.plausibility.reading_history import ReadingHistory


class RangeCheck:
    """One reading. Within its bounds it is believed at once, outside it never is."""

    def __init__(self, device_id: str, reading: str, unit: str, allowed: Range) -> None:
        self.history = ReadingHistory(device_id, reading)
        self._unit, self._allowed = unit, allowed

    def check(self, raw: Reading, mono_s: float, hold_s: float, refused: bool = False) -> Reading:
        """The reading as everybody else is to see it; the last believed one is held for `hold_s`.

        refused: other devices show that this answer is wrong.
        """
        value = raw.good
        if value is not None:
            taken_s = mono_s - (raw.age_s or 0.0)
            if refused:
                self.history.reject(taken_s, Reason("doubt.block", {"reading": self.history.reading}))
            elif self._allowed.holds(value):
                self.history.accept(value, taken_s)
            elif self._unit == "W":
                self.history.reject(taken_s, out_of_watts(self.history.reading, value, self._allowed))
            else:
                self.history.reject(taken_s, out_of(self.history.reading, value, self._unit, self._allowed))
        return self.history.shown(raw, mono_s, hold_s)


class BusFigures:
    """Voltage and frequency of a bus as one device measures them."""

    def __init__(self, device_id: str, bounds: SiteBounds, side: str = "") -> None:
        self._dead_v = DEAD * bounds.nominal_v
        self._volts = RangeCheck(device_id, f"{side}voltage", "V", bounds.volts())
        self._hertz = RangeCheck(device_id, f"{side}frequency", "Hz", bounds.hertz())

    @property
    def histories(self) -> list[ReadingHistory]:
        """Both readings."""
        return [self._volts.history, self._hertz.history]

    def check(
        self, v: Reading, hz: Reading, mono_s: float, hold_s: float, refused: bool = False
    ) -> tuple[Reading, Reading]:
        """Both as everybody else is to see them. A dead bus has no frequency, whatever a device says of it.

        refused: other devices show that the bus is live. A voltage that says so, too, is believed all the same.
        """
        live = v.value is not None and v.value >= self._dead_v
        shown_v = self._volts.check(v, mono_s, hold_s, refused and not live)
        if live or refused:
            return shown_v, self._hertz.check(hz, mono_s, hold_s, refused and not live)
        if v.good is not None:
            self._hertz.history.rest()  # what was refused before the bus was known to be dead is no doubt any more
        return shown_v, hz
