"""Makes a PCS hold a power by the recipe of its map: order of writes, renewal, heartbeat, read-back, last write.

One entry of the recipe is one request. What the device refuses is an error: it is not tried by another function.
Times are site seconds; powers in W, > 0 discharges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from drivers.maps.found_modes import FoundMode
from drivers.maps.recipe import MapWrites, TermMissing, Terms, Write, asked_w, encoded, power_terms, told, writes
from drivers.maps.recipe_schema import SIZES, Entry, Heartbeat, Recipe, size
from drivers.modbus.errors import ReadbackMismatch
from drivers.setpoint import RETRY_S, Action, CommandResult

Place = tuple[str, int]  # unit name and first register
Held = dict[Place, tuple[int, ...]]


class Registers(Protocol):
    """What the writer needs of the device. Both raise DeviceError."""

    async def read(self, at: str, address: int, count: int, function: int | None = None) -> Sequence[int]:
        """Registers of a unit of the map; `function`: 3 or 4, None: the map's."""
        ...

    async def write(self, at: str, address: int, words: Sequence[int], function: int) -> None:
        """One request, by this function and no other."""
        ...

    def where(self, at: str, address: int) -> str:
        """Device, host, unit and register for an error message."""
        ...


class RecipeWriter:
    """Writes on change, renews at `renew_s`, checks by reading back. Forgets everything on `reset`."""

    def __init__(
        self,
        recipe: Recipe,
        how: MapWrites,
        device: Registers,
        *,
        charge_rated_w: float,
        discharge_rated_w: float,
        revert_s: float,
        phases: int,
    ) -> None:
        """`revert_s`: the silence after which it is to revert, where the recipe sets that itself."""
        self._recipe, self._how, self._device = recipe, how, device
        self._rated = charge_rated_w, discharge_rated_w
        self._phases = phases
        self._revert_s = revert_s if recipe.asks_revert_s else recipe.revert_s
        self._unreadable = {(check.at, check.address) for check in recipe.check if check.measured_only}
        self._read_by = {(check.at, check.address): check.function for check in recipe.check}
        self.reset()

    def reset(self) -> None:
        """Forget what the device holds: after a new connection it may be another device, or have restarted."""
        self._ours: Held | None = None  # written, and read back where that is possible; None: write everything again
        self._held: Held = {}  # as last read
        self._target_w = 0.0
        self._written_s = 0.0
        self._unproven = False  # written less than settle_s ago and not read back yet
        self._refused: tuple[float, float] | None = None  # (value, when) that the device did not take
        self._left = False
        self._beat: int | None = None
        self._beaten_s = 0.0

    @property
    def commanding(self) -> bool:
        """Whether a setpoint of ours was written on this connection."""
        return self._ours is not None

    @property
    def reverts_after_s(self) -> float:
        """After how long a silence the device leaves our setpoint; 0: never."""
        return self._revert_s

    @property
    def _renew_s(self) -> float:
        return min(self._recipe.renew_s, self._revert_s / 2) if self._revert_s else self._recipe.renew_s

    def release(self) -> None:
        """Nothing is asked of it for now: what it holds then is nobody's doing."""
        self._left = True

    async def hold(self, want_w: float, measured: Terms, now_s: float) -> CommandResult:
        """Make the device hold `want_w`. `measured`: the map's values that are fresh, by term.

        Raises DeviceError; ReadbackMismatch when it holds something else afterwards. The next call then writes
        everything again.
        """
        target_w = asked_w(self._recipe, want_w)
        if self._refused and self._refused[0] == target_w and now_s - self._refused[1] < RETRY_S:
            return CommandResult(note="waiting: the device did not take this value")
        terms = self._terms(target_w, measured)
        try:
            wanted = writes(self._recipe.set, terms, self._how)
            steps, action, note = self._due(target_w, wanted, terms, now_s)
        except TermMissing as missing:
            return CommandResult(note=f"nothing is written: {missing}, and its recipe needs it")
        if not wanted:
            return CommandResult(note=f"nothing is written: no entry of its recipe is for {target_w:g} W")
        if any(write.clamped for write in wanted):
            note = "; ".join(filter(None, (note, f"{target_w:g} W is more than its registers take: the most is asked")))
        if steps:
            await self._carry_out(steps, target_w, now_s)
        elif self._unproven and now_s - self._written_s >= self._recipe.settle_s:
            await self._check(target_w, now_s)
        self._left = False
        whole = not self._unproven and not any(write.clamped for write in wanted)
        return CommandResult(action, note, target_w, held=whole)

    async def beat(self, now_s: float) -> None:
        """Write the heartbeat where the recipe has one and it is due. Raises DeviceError."""
        beat = self._recipe.heartbeat
        if beat is None or (self._beat is not None and now_s - self._beaten_s < beat.every_s):
            return
        number = await self._next_beat(beat)
        words = encoded(number, beat.type, beat.word_order or self._how.word_order)
        await self._device.write(beat.at, beat.address, words, beat.function or self._how.function)
        self._beat, self._beaten_s = number, now_s

    async def look(self) -> None:
        """Read what the device holds of ours, so that another controller's writes are seen. Raises DeviceError."""
        if self._ours is not None and not self._unproven:
            self._held = await self._read(self._ours)

    async def found(self) -> dict[str, tuple[int, ...]]:
        """What stands where the last write will restore it, by "unit address". Raises DeviceError."""
        entries = [entry for entry in self._recipe.leave if entry.found]
        return {
            place_name(entry): tuple(await self._device.read(entry.at, entry.address, size(entry.values)))
            for entry in entries
        }

    async def leave(self, found: FoundMode | None) -> None:
        """Write what the recipe leaves behind: what was found, else the map's own values. Raises DeviceError."""
        terms = self._terms(0.0, {})
        for entry in self._recipe.leave:
            (write,) = writes([entry], terms, self._how)
            there = found.registers.get(place_name(entry)) if entry.found and found is not None else None
            words = there if there is not None and len(there) == len(write.words) else write.words
            if write.unless_held and await self._holds(write.place, words):
                continue
            await self._device.write(write.at, write.address, words, write.function)
        self.reset()

    def _terms(self, target_w: float, measured: Terms) -> Mapping[str, float | None]:
        charge_w, discharge_w = self._rated
        given = power_terms(
            target_w,
            charge_rated_w=charge_w,
            discharge_rated_w=discharge_w,
            revert_s=self._revert_s,
            phases=self._phases,
        )
        return {**measured, **given}

    def _due(
        self, target_w: float, wanted: tuple[Write, ...], terms: Terms, now_s: float
    ) -> tuple[tuple[Write, ...], Action, str]:
        """The requests that are due, what they are, and what is unusual about them. Raises TermMissing."""
        recipe, ours = self._recipe, self._ours
        foreign = self._foreign()
        if ours is None or foreign:
            enter = writes(recipe.enter, terms, self._how, entering=True)
            note = f"{foreign}; ours was {self._target_w:g} W: written again" if foreign and not self._left else ""
            return (*enter, *wanted), "armed", note
        age_s = now_s - self._written_s
        if target_w != self._target_w:
            return wanted, "changed", ""
        if age_s >= self._renew_s:
            return writes(recipe.renew, terms, self._how) or wanted, "renewed", ""
        follows = any(ours.get(write.place) != write.words for write in wanted)
        return (wanted, "changed", "") if follows and age_s >= recipe.follow_s else ((), "nothing", "")

    def _foreign(self) -> str:
        """What the device holds instead of ours, in words; "": ours, as far as can be read."""
        for place, words in (self._ours or {}).items():
            held = self._held.get(place, words)
            if held != words:
                return f"the device held {told(held)} in {place_text(place)}"
        return ""

    async def _carry_out(self, steps: tuple[Write, ...], target_w: float, now_s: float) -> None:
        """Write in order, then read back. Until that is done nothing is known of the device."""
        before, self._ours = self._ours or {}, None
        sent: Held = {}
        for write in steps:
            if not (write.unless_held and await self._holds(write.place, write.words)):
                await self._device.write(write.at, write.address, write.words, write.function)
            sent[write.place] = write.words
        self._target_w, self._written_s, self._unproven = target_w, now_s, True
        self._ours = {place: words for place, words in {**before, **sent}.items() if place not in self._unreadable}
        self._held = {}
        if self._recipe.settle_s == 0:
            await self._check(target_w, now_s)

    async def _check(self, target_w: float, now_s: float) -> None:
        """Read back what was written. Raises ReadbackMismatch naming the first register that differs."""
        ours, self._ours = self._ours or {}, None
        self._held = await self._read(ours)
        for place, words in ours.items():
            if self._held[place] != words:
                self._refused = target_w, now_s
                what = f"wrote {told(words)}, reads back {told(self._held[place])}"
                raise ReadbackMismatch(self._device.where(*place), what)
        self._ours, self._unproven, self._refused = ours, False, None

    async def _read(self, places: Held) -> Held:
        return {
            place: tuple(await self._device.read(*place, len(words), self._read_by.get(place)))
            for place, words in places.items()
        }

    async def _holds(self, place: Place, words: tuple[int, ...]) -> bool:
        if place in self._unreadable:
            return False
        return tuple(await self._device.read(*place, len(words), self._read_by.get(place))) == words

    async def _next_beat(self, beat: Heartbeat) -> int:
        if beat.fixed is not None:
            return beat.fixed
        if self._beat is not None:
            return (self._beat + 1) % (1 << 16 * SIZES[beat.type])
        words = await self._device.read(beat.at, beat.address, SIZES[beat.type])
        number = 0
        for word in words if (beat.word_order or self._how.word_order) == "big" else reversed(words):
            number = number << 16 | word
        return (number + 1) % (1 << 16 * SIZES[beat.type])


def place_name(entry: Entry) -> str:
    """How the place of an entry is named in what is kept on disk."""
    return f"{entry.at} {entry.address}"


def place_text(place: Place) -> str:
    """The place in words; the unit only where the map has several."""
    at, address = place
    return f"register {address}" if at == "device" else f"register {address} of {at}"
