"""Checks protective readings: power limits and temperature.

What narrows acts at once. A limit rises only as far as two distinct samples allow. A limit that is out of bounds, or no
longer there, leaves the last one in force. A limit that one sample alone has put far below the other one is in force
and doubted: no step that cannot be undone may rest on it.
"""

from __future__ import annotations

from dispatch.model.readings import Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import BATTERY_TEMP_C, Range, out_of, out_of_watts
from dispatch.plausibility.reading_history import Candidate, ReadingHistory, SampleCounter

LIMIT_OVER_RATING = 20.0  # a BMS may allow its battery far more than the PCS can use
FAR_BELOW = 0.8  # of the other of two samples in sequence: a BMS that tapers its limit goes by smaller steps
TEMP_STEP_C = 5.0  # a battery does not cool by more from one sample to the next


class LimitCheck:
    """One power limit, W >= 0."""

    def __init__(self, device_id: str, reading: str, rated_w: float, key: str) -> None:
        self.history = ReadingHistory(device_id, reading, keep=True)
        self._allowed = Range(0.0, LIMIT_OVER_RATING * rated_w, key)
        self._counter = SampleCounter()
        self._before_w: float | None = None  # of the sample before this one
        self._now: tuple[int, float] | None = None  # sample, W

    def check(self, raw: Reading, figures: tuple[object, ...], mono_s: float) -> Reading:
        """The limit that is in force."""
        history = self.history
        w = raw.good
        if w is None:
            return kept(history, raw, mono_s)
        taken_s = mono_s - (raw.age_s or 0.0)
        if not self._allowed.holds(w):
            history.reject(taken_s, out_of_watts(history.reading, w, self._allowed))
            return history.shown(raw, mono_s, 0.0)
        sample = self._counter.update(figures, taken_s)
        if self._now is not None and sample != self._now[0]:
            self._before_w = self._now[1]
        self._now = (sample, w)
        before_w = w if self._before_w is None else self._before_w
        in_force_w = min(w, before_w)
        history.accept(in_force_w, taken_s)
        alone = in_force_w < FAR_BELOW * max(w, before_w)
        return Reading(in_force_w, raw.age_s, Quality.SUSPECT if alone else Quality.GOOD)


class TemperatureCheck:
    """One temperature of a battery. Nearer to one of its limits counts at once, further away at the second sample."""

    def __init__(self, battery_id: str, low_c: float, high_c: float, name: str = "temperature") -> None:
        self._name = name
        self.history = ReadingHistory(battery_id, name, keep=True)
        self._middle_c = (low_c + high_c) / 2
        self._counter = SampleCounter()

    def check(self, raw: Reading, figures: tuple[object, ...], mono_s: float) -> Reading:
        """The temperature that counts."""
        history = self.history
        value = raw.good
        if value is None:
            return kept(history, raw, mono_s)
        taken_s = mono_s - (raw.age_s or 0.0)
        sample = self._counter.update(figures, taken_s)
        if not BATTERY_TEMP_C.holds(value):
            history.reject(taken_s, out_of(self._name, value, "°C", BATTERY_TEMP_C))
        elif self._believed(value, sample):
            history.accept(value, taken_s)
        else:
            why = Reason("doubt.jump", {"reading": self._name, "value": value, "last": history.value, "unit": "°C"})
            history.wait(Candidate(value, sample, taken_s, TEMP_STEP_C), why)
        return history.shown(raw, mono_s, 0.0)

    def _believed(self, value: float, sample: int) -> bool:
        last = self.history.value
        if last is None or abs(value - last) <= TEMP_STEP_C or self.history.second(value, sample):
            return True
        return abs(value - self._middle_c) >= abs(last - self._middle_c)


def kept(history: ReadingHistory, raw: Reading, mono_s: float) -> Reading:
    """A protective reading that was there and is not any more: the last one stays in force."""
    if raw.value is not None or history.value is None:
        return raw
    return Reading(history.value, max(mono_s - history.taken_s, 0.0), Quality.SUSPECT)
