"""The history of one reading: what was accepted last, what is doubted, and since when."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from dispatch.model.doubts import Doubt
from dispatch.model.readings import MISSING, USABLE, Quality, Reading, Status
from dispatch.model.reasons import Reason

SAME_S = 0.05  # two readings that were taken closer to each other are the same one, read again in another tick
REFRESH_S = 1.0  # the longest time for which a register map shows the same measurement: then it is another sample
RELEARN_S = 60.0  # a value that only the history speaks against is taken after it has stood for so long
AGAIN_S, AGAIN = 600.0, 3  # so many rejections within this time: the device is often wrong
LASTING_S = 10.0  # a doubt that lasts this long counts as well


class Candidate(msgspec.Struct, frozen=True):
    """A value that waits for a second sample within `step` of it."""

    value: float
    sample: int
    taken_s: float
    step: float


def figures_of(part: Any) -> tuple[object, ...]:
    """All values of a device's answer, without their ages. In every tick for every device, hence a loop."""
    found: list[object] = []
    for item in part if isinstance(part, tuple) else msgspec.structs.astuple(part):
        kind = type(item)
        if kind is Reading or kind is Status:
            found.append(item.value)
        elif kind is tuple or isinstance(item, msgspec.Struct):
            found.extend(figures_of(item))
        else:
            found.append(item)
    return tuple(found)


class SampleCounter:
    """Counts the distinct samples of one device: another figure changed, or the map's refresh time has passed.

    A reading that was not taken anew is no other sample, whatever else of the device was read since then.
    """

    def __init__(self) -> None:
        self.sample = 0
        self.changed_s = float("-inf")  # when a figure last changed
        self._figures: tuple[object, ...] | None = None
        self._since_s = float("-inf")

    def update(self, figures: tuple[object, ...], taken_s: float, period_s: float = 0.0) -> int:
        """Take in all figures of an answer taken at `taken_s`. Return the number of its sample.

        `period_s`: how often the device measures, where that is less often than every `REFRESH_S`.
        """
        changed = figures != self._figures
        if changed:
            self.changed_s = taken_s
        apart_s = taken_s - self._since_s
        if (changed and abs(apart_s) > SAME_S) or apart_s >= max(REFRESH_S, period_s):
            self.sample += 1
            self._figures, self._since_s = figures, taken_s
        return self.sample


class ReadingHistory:
    """One reading of one device, in the order in which it was read.

    keep: a protective reading. The last accepted value stays in force as long as what the device says is doubted.
    """

    def __init__(self, device_id: str, reading: str, keep: bool = False) -> None:
        self.device_id, self.reading = device_id, reading
        self.value: float | None = None  # the last accepted
        self.taken_s = float("-inf")
        self.rejected: list[Doubt] = []  # since the caller last took them
        self._keep = keep
        self._candidate: Candidate | None = None
        self._doubt: Doubt | None = None
        self._last: Doubt | None = None  # the last that was rejected
        self._told = False
        self._doubted_s: float | None = None
        self._episodes: deque[float] = deque()

    @property
    def established(self) -> bool:
        """Two distinct samples have agreed since the start."""
        return self.value is not None

    @property
    def doubted(self) -> bool:
        """The last sample was not accepted."""
        return self._doubted_s is not None

    @property
    def candidate(self) -> Candidate | None:
        """The value that waits for a second sample."""
        return self._candidate

    def accept(self, value: float, taken_s: float) -> None:
        """Believe it. What waited for a second sample is reported as rejected if the reading is back where it was."""
        if self._doubt is not None and not self._told and self._went_back(value):
            self._last = self._doubt
            self._tell(self._doubt, taken_s)
        self.value, self.taken_s = value, taken_s
        self._candidate = self._doubt = self._doubted_s = None
        self._told = False

    def _went_back(self, value: float) -> bool:
        """The candidate was a step from the last accepted value, and `value` is much nearer to where it was."""
        candidate, last = self._candidate, self.value
        if candidate is None or last is None:
            return False
        step = abs(candidate.value - last)
        return step > candidate.step >= abs(value - last) and abs(value - last) < step / 2

    def second(self, value: float, sample: int) -> bool:
        """Whether this is the second distinct sample that shows what the candidate showed."""
        candidate = self._candidate
        return candidate is not None and sample != candidate.sample and abs(value - candidate.value) <= candidate.step

    def wait(self, candidate: Candidate, why: Reason) -> None:
        """Keep it until a second sample shows the same."""
        before = self._candidate
        if before is None or abs(candidate.value - before.value) > before.step:
            self._candidate = candidate
            self._doubt = Doubt(self.device_id, self.reading, why)
        self._since(candidate.taken_s)

    def rest(self) -> None:
        """Nothing is measured now, such as the frequency of a dead bus: no doubt stands."""
        self._candidate = self._doubt = self._doubted_s = None
        self._told = False

    def reject(self, taken_s: float, why: Reason) -> None:
        """Do not believe it: out of bounds, or contradicted. One event, however long it lasts."""
        self._candidate = None
        self._doubt = self._last = Doubt(self.device_id, self.reading, why)
        self._since(taken_s)
        if not self._told:
            self._tell(self._doubt, taken_s)

    def _since(self, taken_s: float) -> None:
        if self._doubted_s is None:
            self._doubted_s = taken_s

    def _tell(self, doubt: Doubt, taken_s: float) -> None:
        self._told = True
        self.rejected.append(doubt)
        self._episodes.append(taken_s)
        while self._episodes and taken_s - self._episodes[0] > AGAIN_S:
            self._episodes.popleft()

    def often(self, mono_s: float) -> Doubt | None:
        """What is rejected again and again, or for long; None when it is not."""
        while self._episodes and mono_s - self._episodes[0] > AGAIN_S:
            self._episodes.popleft()
        lasting = self._told and self._doubted_s is not None and mono_s - self._doubted_s >= LASTING_S
        return self._last if lasting or len(self._episodes) >= AGAIN else None

    def shown(self, raw: Reading, mono_s: float, hold_s: float) -> Reading:
        """The reading as everybody else is to see it."""
        if raw.quality not in USABLE:
            return self._not_now(raw, mono_s)
        if self._doubted_s is None:
            return raw
        if self.value is None:
            return Reading(raw.value, raw.age_s, Quality.SUSPECT) if self._candidate is not None else MISSING
        age_s = max(mono_s - self.taken_s, 0.0)
        if self._keep or mono_s - self._doubted_s <= hold_s:
            return Reading(self.value, age_s, Quality.SUSPECT)
        return Reading(None, age_s, Quality.MISSING)

    def _not_now(self, raw: Reading, mono_s: float) -> Reading:
        """The device is silent: what it said last is shown, unless that was doubted."""
        if raw.value is None or self._doubted_s is None or self.value is None:
            return raw
        return Reading(self.value, max(mono_s - self.taken_s, 0.0), raw.quality)
