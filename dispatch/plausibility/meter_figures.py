"""Checks figures that a meter gives beside its power: the currents of its phases, their voltages, the frequency."""

from __future__ import annotations

from collections.abc import Callable

from dispatch.model.readings import MISSING, USABLE, Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.reading_history import ReadingHistory

Describe = Callable[[int, float, float], Reason]  # which figure, what it is now, what it was
Values = tuple[float | None, ...]

RESTLESS = 2.0  # figures that often change by themselves may change by so many times their usual change
LEARN, MOST = 0.1, 4.0  # how fast the usual change is learnt; a single one counts as so many times it at most


class FigureCheck:
    """Figures of one kind, tick by tick: all of them are believed, or none.

    A change larger than `step` needs a second distinct sample, unless another figure explains it (`cause`).
    """

    def __init__(self, device_id: str, reading: str, step: float, describe: Describe) -> None:
        self.history = ReadingHistory(device_id, reading)
        self._step, self._describe = step, describe
        self._usual = step / RESTLESS  # by how much they usually change from one sample to the next, unexplained
        self._held: tuple[Reading, ...] = ()  # the last believed,
        self._held_values: Values = ()
        self._cause = self._taken_s = 0.0  # what explained them, and when they were taken
        self._settled = False  # two samples have agreed
        self._waits: tuple[Values, int, Reason | None] | None = None  # figures that need a second sample; the doubt
        self._doubted_s: float | None = None
        self._before: tuple[Values, float, int] | None = None  # the sample before this one, believed or not

    @property
    def doubted(self) -> bool:
        """What was said last is not believed."""
        return self._doubted_s is not None

    def jumped(self, now: tuple[Reading, ...], cause: float = 0.0) -> bool:
        """Whether they have changed since they were last believed by more than usual, and by more than their cause."""
        return self._too_far(_values(now), cause)

    def _too_far(self, values: Values, cause: float) -> bool:
        held = self._held_values
        step, explained = self._allowed, abs(cause - self._cause)
        largest, together = _largest(values, held)[1], _together(values, held)
        return largest > step + explained or together > step * len(values) + explained

    def check(
        self,
        now: tuple[Reading, ...],
        sample: int,
        taken_s: float,
        cause: float | None = 0.0,
        possible: bool = True,
        shown: bool = False,
    ) -> None:
        """Take in an answer.

        cause: what explains a change of as much, of all figures together; None: it is doubted itself, so a second
        sample does not count yet. possible: False where another figure contradicts them. shown: another figure shows
        them as they are, or they allow less than before: they count at once.
        """
        values = _values(now)
        if all(value is None for value in values):
            return
        by = self._cause if cause is None else cause
        self._note_usual(values, by, sample)
        if shown or (possible and not self._too_far(values, by)):
            self._accept(now, values, by, taken_s)
        elif cause is not None and self._second(values, sample):
            if possible:
                self._accept(now, values, by, taken_s)
            else:
                self._tell(taken_s)
        else:
            self._wait(values, sample, taken_s, told=cause is None)

    def hold(self, taken_s: float) -> None:
        """The whole answer is not believed."""
        if self._doubted_s is None:
            self._doubted_s = taken_s

    @property
    def _allowed(self) -> float:
        return max(self._step, RESTLESS * self._usual)

    def _note_usual(self, values: Values, cause: float, sample: int) -> None:
        before = self._before
        if before is not None and before[2] == sample:
            return
        self._before = (values, cause, sample)
        if before is not None:
            unexplained = max(_largest(values, before[0])[1] - abs(cause - before[1]), 0.0)
            usual = max(self._usual, self._step / RESTLESS)
            self._usual = usual + LEARN * (min(unexplained, MOST * usual) - usual)

    def _second(self, values: Values, sample: int) -> bool:
        waits = self._waits
        if waits is None or waits[1] == sample:
            return False
        return _largest(values, waits[0])[1] <= self._allowed

    def _wait(self, values: Values, sample: int, taken_s: float, told: bool) -> None:
        """`told`: what is doubted with them is reported already."""
        before = self._held_values
        n, _ = _largest(values, before)
        last = before[n] if n < len(before) else None
        if self._waits is None or _largest(values, self._waits[0])[1] > self._step:
            self._waits = (values, sample, None if told else self._describe(n, values[n] or 0.0, last or 0.0))
        self.hold(taken_s)

    def _tell(self, taken_s: float) -> None:
        if self._waits is not None and self._waits[2] is not None:
            self.history.reject(taken_s, self._waits[2])

    def _accept(self, now: tuple[Reading, ...], values: Values, cause: float, taken_s: float) -> None:
        if self._settled and self._went_back(values):
            self._tell(taken_s)
        self._settled = bool(self._held)
        self._held, self._held_values, self._cause, self._taken_s = now, values, cause, taken_s
        self._waits = self._doubted_s = None
        self.history.accept(0.0, taken_s)

    def _went_back(self, values: Values) -> bool:
        """They are much nearer to where they were than to what waits for a second sample."""
        waits = self._waits
        return waits is not None and _largest(values, self._held_values)[1] < _largest(values, waits[0])[1] / 2

    def shown(self, now: tuple[Reading, ...], mono_s: float, hold_s: float) -> tuple[Reading, ...]:
        """The figures as everybody else is to see them: the last believed, for `hold_s` at most, then none."""
        if self._doubted_s is None:
            return now
        usable = self._settled and mono_s - self._doubted_s <= hold_s
        known = (*self._held, *(MISSING for _ in now)) if usable else (MISSING,) * len(now)
        return tuple(held(reading, known[n], mono_s - self._taken_s) for n, reading in enumerate(now))


def _values(readings: tuple[Reading, ...]) -> Values:
    return tuple(r.good for r in readings)


def _largest(now: Values, before: Values) -> tuple[int, float]:
    """Which figure has changed most, and by how much; what is not known on both sides has not."""
    worst, by = 0, 0.0
    for n, (value, last) in enumerate(zip(now, before, strict=False)):
        if value is not None and last is not None and abs(value - last) > by:
            worst, by = n, abs(value - last)
    return worst, by


def _together(now: Values, before: Values) -> float:
    """By how much all of them have changed."""
    pairs = zip(now, before, strict=False)
    return sum(abs(value - last) for value, last in pairs if value is not None and last is not None)


def held(now: Reading, before: Reading, age_s: float) -> Reading:
    """What was believed before, in place of what is said now; missing where there is none."""
    if now.quality not in USABLE or before.value is None:
        return Reading(None, now.age_s, Quality.MISSING)
    return Reading(before.value, age_s, Quality.SUSPECT)
