"""Checks words: contacts of the switch, modes and states of the PCS.

A word that narrows what may be done (open, absent, forming, off) acts at once. A word that widens it needs a second
distinct sample, or another device that says so too. A word that other devices contradict is held back; as long as it
is, for `CONTRADICTED_S` at most, nothing is written to a PCS.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatch.model.readings import Quality, Status
from dispatch.model.reasons import Reason
from dispatch.plausibility.reading_history import SAME_S, ReadingHistory

CONTRADICTED_S = 5.0  # a narrowing word that stands for longer is believed, whoever contradicts it


class WordCheck:
    """One state word of one device."""

    def __init__(self, device_id: str, reading: str, wide: Callable[[str], bool]) -> None:
        """`wide`: whether a word allows more than the others."""
        self.history = ReadingHistory(device_id, reading)
        self.held_back = False  # what is said now would narrow what may be done, and is not believed
        self._wide = wide
        self._word: str | None = None  # the last accepted
        self._taken_s = float("-inf")
        self._waits: tuple[str, int, float] | None = None  # a word that needs a second sample, and its first
        self._once: tuple[int, float] | None = None  # the only sample, so far, of a word that acts at once
        self._doubted_s: float | None = None

    @property
    def word(self) -> str | None:
        """The last accepted word; None: none yet."""
        return self._word

    def check(self, raw: Status, sample: int, mono_s: float, shown: bool, against: bool) -> None:
        """Take in a word. `shown`: another device says so too; `against`: other devices say that it cannot be."""
        self.held_back = False
        word = raw.good
        if word is None:
            return
        taken_s = mono_s - (raw.age_s or 0.0)
        if self._word is None or word == self._word:
            once = self._once is not None and not _another(self._once, sample, taken_s)
            self._accept(word, taken_s, self._once if once else None)
        elif against and (self._doubted_s is None or taken_s - self._doubted_s < CONTRADICTED_S):
            self.held_back = not self._wide(word)
            self._hold(taken_s)
            self.history.reject(taken_s, Reason("doubt.word", {"reading": self.history.reading, "word": word}))
        elif not self._wide(word) or shown or self._second(word, sample, taken_s):
            self._accept(word, taken_s, None if shown or self._wide(word) else (sample, taken_s))
        else:
            self._await(word, sample, taken_s)
            self._hold(taken_s)

    def _await(self, word: str, sample: int, taken_s: float) -> None:
        if self._waits is None or self._waits[0] != word:
            self._waits = word, sample, taken_s

    def _second(self, word: str, sample: int, taken_s: float) -> bool:
        return self._waits is not None and self._waits[0] == word and _another(self._waits[1:], sample, taken_s)

    def _accept(self, word: str, taken_s: float, once: tuple[int, float] | None) -> None:
        self._word, self._taken_s, self._once = word, taken_s, once
        self._waits = self._doubted_s = None
        self.history.accept(0.0, taken_s)

    def _hold(self, taken_s: float) -> None:
        if self._doubted_s is None:
            self._doubted_s = taken_s

    def shown(self, raw: Status, mono_s: float) -> Status:
        """The word as everybody else is to see it."""
        if raw.good is None or self._doubted_s is None:
            return raw
        return Status(self._word, max(mono_s - self._taken_s, 0.0), Quality.SUSPECT)

    def shown_once_doubted(self, raw: Status, mono_s: float) -> Status:
        """The same, and doubted as long as a single sample says so: no step that cannot be undone may rest on it."""
        word = self.shown(raw, mono_s)
        return word if self._once is None or word.good is None else Status(word.value, word.age_s, Quality.SUSPECT)


def _another(first: tuple[int, float], sample: int, taken_s: float) -> bool:
    """Whether this is another sample of the device, with the word itself read anew."""
    return sample != first[0] and abs(taken_s - first[1]) > SAME_S
