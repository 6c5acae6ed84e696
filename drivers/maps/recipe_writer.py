"""Makes a PCS hold a power by the recipe of its map: order of writes, renewal, heartbeat, read-back, last write.

One step of the recipe is one request. What the device refuses is an error: it is not tried by another function.
Times are site seconds; powers in W, > 0 discharges.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from dispatch.config.schema import BatteryConfig
from drivers.back_off import BackOff
from drivers.maps.decoding import MOST_EXPONENT, number_of, pattern_of, registers_for
from drivers.maps.found_modes import FoundMode
from drivers.maps.recipe import Place, TermMissing, Terms, Write, asked_w, needed_terms, power_terms, told, writes
from drivers.maps.schema import DeviceMap, Heartbeat, ReadBack, Recipe, Step
from drivers.maps.vocabulary import MEASURED_TERMS
from drivers.modbus.errors import BadReply, DeviceError, ReadbackMismatch
from drivers.setpoint import RETRY_S, Action, CommandResult

GIVEN_RATINGS = frozenset({"charge_rated_w", "discharge_rated_w"})  # the site file says them
Held = dict[Place, tuple[int, ...]]
MOST_PAUSE_S = 10.0  # between two tries on a device that refuses a step


class _Sent(NamedTuple):
    """What the device holds of ours after a change at `at_s`, site time."""

    at_s: float
    target_w: float
    held: Held


class Registers(Protocol):
    """What the writer needs of the device. `read` and `write` raise DeviceError."""

    async def read(self, at: str, address: int, count: int, function: int | None = None) -> Sequence[int]:
        """Registers of a unit of the map; `function`: 3 or 4, None: 3, by which what was written is read."""
        ...

    async def write(self, at: str, address: int, words: Sequence[int], function: int) -> None:
        """One request, by this function and no other."""
        ...

    def where(self, at: str, address: int) -> str:
        """Device, host, unit and register for an error message."""
        ...


class RecipeWriter:
    """Writes on change, renews in time, checks by reading back. Forgets everything on `reset`."""

    def __init__(
        self,
        device_map: DeviceMap,
        recipe: Recipe,
        device: Registers,
        *,
        charge_rated_w: float,
        discharge_rated_w: float,
        revert_s: float,
        battery: BatteryConfig | None = None,
    ) -> None:
        """`recipe`: that of the map. `revert_s`: the silence after which it is to revert, where it sets that itself.

        `battery`: its efficiency, for devices that take DC power; None: without losses.
        """
        self._battery = battery
        self._map, self._recipe, self._device = device_map, recipe, device
        self._rated = charge_rated_w, discharge_rated_w
        self.revert_s = float(revert_s if recipe.asks_revert_s else recipe.revert_s)  # 0: it never reverts
        self._renew_s = min(recipe.renew_s, self.revert_s / 2) if self.revert_s else recipe.renew_s
        self._beat_s = recipe.heartbeat.every_s if recipe.heartbeat is not None else 0.0
        self._checks: dict[Place, ReadBack] = {(check.at, check.address): check for check in recipe.check}
        self.needs = needed_terms(recipe.steps) & (MEASURED_TERMS - GIVEN_RATINGS)
        self._back_off = BackOff(MOST_PAUSE_S, least_s=RETRY_S)  # after refused steps
        self._ours: Held | None = None  # written, and read back where that is possible; None: write everything again
        self._last: Held = {}  # the last that was written whole, on an earlier connection; {}: not known
        self.reset()

    def renew_within(self, revert_s: float) -> None:
        """Take it that the device reverts after so much silence, where that is shorter than what the recipe says."""
        self._renew_s = min(self._renew_s, revert_s / 2)
        self._beat_s = min(self._beat_s, revert_s / 2)

    def reset(self) -> None:
        """Forget what the device holds: after a new connection it may be another device, or have restarted."""
        self._exponents: dict[Place, int] | None = None
        self._last, self._ours = self._ours or self._last, None
        self._held: Held = {}  # as last read
        self._target_w = 0.0
        self._written_s = self._renewed_s = 0.0
        self._unproven = False  # what was written last was not read back yet
        self._unproven_s = 0.0  # since when, or when the last look showed something a little older of ours
        self._recent: list[_Sent] = []  # what the device may still show: written within settle_s, and the one before
        self._shown_w: float | None = None  # the setpoint that was read back
        self._refused: tuple[float, float] | None = None  # (value, when) that the device did not take
        self._left = False
        self._beat: float | None = None
        self._beaten_s = 0.0

    @property
    def commanding(self) -> bool:
        """Whether a setpoint of ours was written on this connection."""
        return self._ours is not None

    @property
    def held_w(self) -> float | None:
        """The setpoint of ours that was last read back, W; None: none, or the device held something else since.

        Of a device whose setpoint cannot be read there is none.
        """
        return self._shown_w if self._ours is not None and self._shown() and not self._foreign() else None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the device leaves a setpoint that is not renewed, though it is still read."""
        return bool(self.revert_s) and not self._recipe.fed_by_reads

    async def holds_another(self) -> bool:
        """Whether the device, as it is read now, holds something else than what was written last. Raises DeviceError.

        Then somebody else has it, or it has ended ours by itself.
        """
        written = self._ours or self._last
        return bool(self._differing(await self._read(written), written))

    def release(self) -> None:
        """Nothing is asked of it for now: what it holds then is nobody's doing."""
        self._left = True

    async def hold(self, want_w: float, measured: Terms, now_s: float) -> CommandResult:
        """Make the device hold `want_w`. `measured`: the map's values that are fresh, by term.

        Of a device whose setpoint registers cannot be read, the result is never `held`: only its power tells.

        Where a term is missing, or no step of the recipe fits, nothing is written: the result has no `w`.
        Raises DeviceError; ReadbackMismatch when it holds something else afterwards. The next call then writes
        everything again.
        """
        target_w = asked_w(self._recipe, want_w)
        if self._back_off.wait_s(now_s) > 0:
            return CommandResult(note="waiting: the device refused a step of its recipe and was left")
        if self._refused and self._refused[0] == target_w and now_s - self._refused[1] < RETRY_S:
            return CommandResult(note="waiting: the device did not take this value")
        terms = self._terms(target_w, measured)
        await self._learn_exponents()
        try:
            wanted = self._writes(self._recipe.set, terms)
            steps, action, note = self._due(target_w, wanted, terms, now_s)
        except TermMissing as missing:
            return CommandResult(note=f"nothing is written: {missing}, and its recipe needs it")
        if not wanted:
            return CommandResult(note=f"nothing is written: no step of its recipe is for {target_w:g} W")
        clamped = any(write.clamped for write in wanted)
        if clamped:
            note = "; ".join(filter(None, (note, f"{target_w:g} W is more than its registers take: the most is asked")))
        if steps:
            if self._beat is None:  # it may take nothing without a heartbeat
                await self._beat_when_due(now_s)
            await self._carry_out(steps, target_w, now_s)
            self._renewed_s = self._renewed_s if action == "changed" else now_s
        if self._unproven and now_s - self._unproven_s >= self._recipe.settle_s:
            await self._check(target_w, now_s)
        self._left = False
        self._back_off.answered()
        await self._beat_when_due(now_s)  # only here: it keeps alive what the device holds
        return CommandResult(action, note, target_w, held=not self._unproven and not clamped and self._shown())

    async def give_up(self, found: FoundMode | None, now_s: float) -> None:
        """After a refused step: leave the device, and try nothing for a while, longer each time.

        The steps before it may have enabled an older power, or started the timer that ends one anew. Flash is not
        written, as this may happen again and again.
        """
        with suppress(DeviceError):
            await self.leave(found, flash=False)
        self.reset()
        self._back_off.failed("", now_s)

    async def _beat_when_due(self, now_s: float) -> None:
        """Write the heartbeat where the recipe has one and it is due. Raises DeviceError."""
        beat = self._recipe.heartbeat
        if beat is None or (self._beat is not None and now_s - self._beaten_s < self._beat_s):
            return
        number = await self._next_beat(beat)
        words = registers_for(beat.type, number, self._map.order_of(beat))
        await self._device.write(beat.at, beat.address, words, beat.function or self._map.access.write_function)
        self._beat, self._beaten_s = number, now_s

    async def look(self) -> None:
        """Read what the device holds of ours, so that another controller's writes are seen. Raises DeviceError."""
        if self._ours is not None and not self._unproven:
            self._held = await self._read(self._ours)

    async def found(self) -> dict[str, tuple[int, ...]]:
        """What stands where the last write will restore it, by `place_name`. Raises DeviceError."""
        steps = [step for step in self._recipe.leave if step.found]
        return {place_name(s): tuple(await self._device.read(s.at, s.address, s.registers)) for s in steps}

    async def leave(self, found: FoundMode | None, *, flash: bool = True) -> None:
        """Write what the recipe leaves behind: what was found, else the map's own values. Raises DeviceError.

        `flash`: registers in flash, too.
        """
        await self._learn_exponents()
        for step in self._recipe.leave:
            if step.memory == "flash" and not flash:
                continue
            (write,) = self._writes([step], self._terms(0.0, {}))
            there = found.registers.get(place_name(step)) if step.found and found is not None else None
            words = there if there is not None and len(there) == len(write.words) else write.words
            if not (write.unless_held and await self._holds(write.place, words)):
                await self._device.write(write.at, write.address, words, write.function)
        self.reset()
        self._last = {}

    def _terms(self, target_w: float, measured: Terms) -> Terms:
        charge_w, discharge_w = self._rated
        given = power_terms(
            target_w,
            charge_rated_w=charge_w,
            discharge_rated_w=discharge_w,
            revert_s=self.revert_s,
            battery=self._battery,
        )
        return {**measured, **given}

    def _writes(self, steps: Sequence[Step], terms: Terms, *, entering: bool = False) -> tuple[Write, ...]:
        return writes(self._map, steps, terms, self._exponents or {}, entering=entering)

    async def _learn_exponents(self) -> None:
        """Read the scale registers that the recipe divides by, once on a connection."""
        if self._exponents is None:
            values = ((step.at, value.scale_register) for step in self._recipe.steps for value in step.values)
            places = {(at, address) for at, address in values if address is not None}
            function = self._map.access.function
            found = {place: await self._device.read(*place, 1, function) for place in sorted(places)}
            self._exponents = {place: self._exponent(place, words) for place, words in found.items()}

    def _exponent(self, place: Place, words: Sequence[int]) -> int:
        """A power of ten. Raises BadReply where it cannot be one, such as SunSpec's 0x8000, not implemented."""
        exponent = int(number_of("s16", words, "big"))
        if abs(exponent) > MOST_EXPONENT:
            raise BadReply(self._device.where(*place), f"scale {exponent}, expected -{MOST_EXPONENT}..{MOST_EXPONENT}")
        return exponent

    def _due(
        self, target_w: float, wanted: tuple[Write, ...], terms: Terms, now_s: float
    ) -> tuple[tuple[Write, ...], Action, str]:
        """The requests that are due, what they are, and what is unusual about them. Raises TermMissing."""
        ours, foreign = self._ours, self._foreign()
        if ours is None or foreign:
            enter = self._writes(self._recipe.enter, terms, entering=True)
            note = f"{foreign}; ours was {self._target_w:g} W: written again" if foreign and not self._left else ""
            return (*enter, *wanted), "armed", note
        renewal = self._renewal(wanted, terms, now_s)
        there = {write.place for write in renewal}
        changed = wanted if self._changed(target_w, wanted, ours, now_s) else ()
        steps = (*renewal, *(write for write in changed if write.place not in there))
        return steps, "renewed" if renewal else "changed" if steps else "nothing", ""

    def _changed(self, target_w: float, wanted: tuple[Write, ...], ours: Held, now_s: float) -> bool:
        """Whether another power is wanted, or the same one needs other registers by now."""
        follows = now_s - self._written_s >= self._recipe.follow_s
        return target_w != self._target_w or (follows and any(ours.get(write.place) != write.words for write in wanted))

    def _renewal(self, wanted: tuple[Write, ...], terms: Terms, now_s: float) -> tuple[Write, ...]:
        """The requests that renew, when they are due. Changes renew only where the recipe has no others for it."""
        if self._recipe.renew:
            return self._writes(self._recipe.renew, terms) if now_s - self._renewed_s >= self._renew_s else ()
        return wanted if now_s - self._written_s >= self._renew_s else ()

    def _foreign(self) -> str:
        """What the device holds instead of ours, in words; "": ours, as far as can be read."""
        for place, words in (self._ours or {}).items():
            held = self._held.get(place, words)
            if not self._same(place, held, words):
                return f"the device held {told(held)} in {place_text(place)}"
        return ""

    async def _carry_out(self, steps: tuple[Write, ...], target_w: float, now_s: float) -> None:
        """Write in order, then read back. Until that is done nothing is known of the device."""
        before, self._ours, self._last = self._ours or {}, None, {}
        sent: Held = {}
        for write in steps:
            if not (write.unless_held and await self._holds(write.place, write.words)):
                await self._device.write(write.at, write.address, write.words, write.function)
            sent[write.place] = write.words
        if not self._unproven:
            self._unproven, self._unproven_s, self._shown_w = True, now_s, None
        self._target_w, self._written_s = target_w, now_s
        self._ours, self._held = {**before, **sent}, {}
        self._recent = [*self._may_show(now_s), _Sent(now_s, target_w, self._ours)]

    async def _check(self, target_w: float, now_s: float) -> None:
        """Read back what was written; a device that is written to all the time may show what was written just before.

        Raises ReadbackMismatch naming the first register that differs.
        """
        ours, self._ours = self._ours or {}, None
        held = await self._read(ours)
        shown = next((sent for sent in reversed(self._may_show(now_s)) if not self._differing(held, sent.held)), None)
        if shown is None:
            self._held, self._refused, self._shown_w, self._unproven_s = held, (target_w, now_s), None, now_s
            place = self._differing(held, ours)[0]
            what = f"wrote {told(ours[place])}, reads back {told(held[place])}"
            raise ReadbackMismatch(self._device.where(*place), what)
        last = shown is self._recent[-1]
        self._held = held if last else {}
        self._ours, self._unproven, self._unproven_s, self._refused = ours, not last, now_s, None
        self._shown_w = shown.target_w

    def _may_show(self, now_s: float) -> list[_Sent]:
        """What was written within settle_s, and the last before: a late device shows one of these."""
        late = [one for one in self._recent if one.at_s <= now_s - self._recipe.settle_s]
        return [*late[-1:], *self._recent[len(late) :]]

    def _differing(self, held: Held, sent: Held) -> list[Place]:
        """The places that hold something else than was sent there."""
        return [place for place, words in held.items() if not self._same(place, words, sent.get(place, ()))]

    async def _read(self, places: Held) -> Held:
        """What these places hold, as far as they can be read."""
        readable = [(place, words) for place, words in places.items() if self._readable(place)]
        return {place: await self._read_place(place, len(words)) for place, words in readable}

    async def _read_place(self, place: Place, count: int) -> tuple[int, ...]:
        check = self._checks.get(place)
        return tuple(await self._device.read(*place, count, check.function if check else None))

    async def _holds(self, place: Place, words: Sequence[int]) -> bool:
        return self._readable(place) and await self._read_place(place, len(words)) == tuple(words)

    def _shown(self) -> bool:
        """Whether everything that was set can be read back: a mode without its power would prove nothing."""
        return all(self._readable((step.at, step.address)) for step in self._recipe.set)

    def _readable(self, place: Place) -> bool:
        check = self._checks.get(place)
        return check is None or not check.measured_only

    def _same(self, place: Place, held: Sequence[int], words: Sequence[int]) -> bool:
        """Whether the device holds what was written, within the tolerance of its check."""
        check = self._checks.get(place)
        if check is None or not check.tolerance or len(held) != check.registers or len(words) != check.registers:
            return tuple(held) == tuple(words)
        order = self._map.order_of(check)
        return abs(number_of(check.type, held, order) - number_of(check.type, words, order)) <= check.tolerance

    async def _next_beat(self, beat: Heartbeat) -> float:
        if beat.equals is not None:
            return beat.equals
        last = self._beat
        if last is None:
            last = pattern_of(await self._device.read(beat.at, beat.address, beat.registers), self._map.order_of(beat))
        return (last + 1) % (1 << 16 * beat.registers)


def place_name(step: Step) -> str:
    """How the place of a step is named in what is kept on disk."""
    return f"{step.at} {step.address}"


def place_text(place: Place) -> str:
    """The place in words; the unit only where it is not the device itself."""
    at, address = place
    return f"register {address}" if at == "device" else f"register {address} of {at}"
