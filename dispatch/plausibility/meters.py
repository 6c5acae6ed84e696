"""Checks the meters: bounds, a dead block on a live bus, volts and amperes, steps of power."""

from __future__ import annotations

import enum

import msgspec

from dispatch.model.equipment import DEAD, Meter
from dispatch.model.readings import MISSING, USABLE, Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, SiteBounds, out_of, out_of_watts
from dispatch.plausibility.trail import RELEARN_S, Block, Candidate, Trail, figures_of
from dispatch.plausibility.witnesses import Band, VoltAmperes


class Look(enum.Enum):
    """What the meter's own figures say of its power."""

    WRONG = "wrong"  # out of bounds, or impossible beside its other figures
    NEAR = "near"  # where it is expected
    WITNESSED = "witnessed"  # a step, shown by volts and amperes too
    STEP = "step"  # a step that nothing shows yet
    ABSENT = "absent"  # no reading


class Seen(msgspec.Struct, frozen=True):
    """One look at a meter's power."""

    look: Look
    w: float = 0.0
    why: Reason | None = None  # it is not believed


class MeterCheck:
    """One meter, tick by tick: `look`, then `settle` with what the balance says, then `shown`."""

    def __init__(self, bounds: SiteBounds, meter_id: str, delay_s: float) -> None:
        self._bounds, self._delay_s = bounds, delay_s
        self.power = Trail(meter_id, "power")
        self._block = Block()
        self._va = VoltAmperes()
        self._figures = Trail(meter_id, "voltage, current and frequency")
        self._good: tuple[Meter, float] | None = None  # the last answer whose figures were plausible, and when taken
        self._amperes: tuple[tuple[Reading, ...], float] = ((), 0.0)  # of the last answer whose power was believed
        self._step_s: float | None = None  # since when its power has been a step that nothing shows
        self._bad_s: float | None = None  # since when figures have been impossible
        self._live_s: float | None = None  # since when its side has been live
        self._sample = 0
        self._taken_s = float("-inf")
        self._whole = True  # the other figures of this answer can be true

    @property
    def trails(self) -> list[Trail]:
        """Every reading that is followed."""
        return [self.power, self._figures]

    def alive(self, mono_s: float) -> bool:
        """Its figures move: it may speak as a witness."""
        return mono_s - self._block.changed_s <= self._delay_s

    def look(self, meter: Meter, mono_s: float, allowed: Range, expected: Band | None, live: bool) -> Seen:
        """Take in an answer.

        allowed: bounds of its power. expected: where its power should be; None: where it last was. live: the switch or
        the PCS report voltage on its side of the switch; a meter that still reads none is not believed.
        """
        self._note_live(live, mono_s)
        w = meter.w
        if w.quality not in USABLE or w.value is None:
            self._whole = self._check_figures(meter, mono_s)
            return Seen(Look.ABSENT)
        self._taken_s = mono_s - (w.age_s or 0.0)
        self._sample = self._block.update(figures_of(meter), self._taken_s)
        self._whole = self._check_figures(meter, mono_s)
        if not allowed.holds(w.value):
            return Seen(Look.WRONG, w.value, out_of_watts("power", w.value, allowed))
        if not self._whole and self._recently_whole(mono_s):
            return Seen(Look.WRONG, w.value, Reason("doubt.block", {"reading": "power"}))
        return self._judge(meter, w.value, expected)

    def _judge(self, meter: Meter, w: float, expected: Band | None) -> Seen:
        va = self._va.of(meter) if self._whole else None
        if va is not None and self._va.impossible(w, va):
            return Seen(Look.WRONG, w, Reason("doubt.apparent", {"reading": "power", "value_w": w, "product_w": va}))
        agrees = None if va is None else self._va.agrees(w, va)
        last_w = self.power.value
        if expected is None and last_w is not None:
            expected = Band(last_w, last_w)
        near = expected is not None and expected.off_w(w) <= self._bounds.step_w
        if near and agrees is not False:
            return Seen(Look.NEAR, w)
        if agrees and not near and not self._mirrored(w):
            return Seen(Look.WITNESSED, w)
        return Seen(Look.STEP, w, self._why_step(w))

    def _mirrored(self, w: float) -> bool:
        """Volts and amperes do not show the sign: the same power the other way round is no step that they confirm."""
        last_w = self.power.value
        if last_w is None:
            return False
        return w * last_w < 0 and abs(w + last_w) <= max(self._bounds.step_w, 0.1 * abs(w))

    def _why_step(self, w: float) -> Reason:
        return Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": self.power.value})

    def settle(self, seen: Seen, confirmed: bool, against: Reason | None) -> None:
        """Accept or doubt the power, with what the balance says of it."""
        if seen.look is Look.ABSENT:
            return
        trail, taken_s = self.power, self._taken_s
        if seen.look is Look.WRONG:
            trail.reject(taken_s, seen.why or self._why_step(seen.w))
            return
        shown = seen.look is Look.WITNESSED and against is None  # else two witnesses disagree: neither is chosen
        if trail.settled and (confirmed or shown or seen.look is Look.NEAR):
            self._step_s = None
            trail.accept(seen.w, taken_s)
            return
        if self._step_s is None:
            self._step_s = taken_s
        if against is not None and trail.settled and self._step_s is not None:
            if taken_s - self._step_s > self._delay_s:  # the other meter had time to show it
                trail.reject(taken_s, against)
                return
            trail.wait(Candidate(seen.w, self._sample, taken_s, self._bounds.step_w), seen.why or against)
            return
        if trail.second(seen.w, self._sample):
            self._step_s = None
            trail.accept(seen.w, taken_s)
            return
        why = seen.why or self._why_step(seen.w)
        trail.wait(Candidate(seen.w, self._sample, taken_s, self._bounds.step_w), why)

    def learn(self, meter: Meter) -> None:
        """Take in what volts and amperes are beside an accepted power."""
        if self._whole and not self.power.doubted:
            self._amperes = meter.a, self._taken_s
        va = self._va.of(meter) if self._whole else None
        if va is not None and not self.power.doubted and self.power.value is not None:
            self._va.learn(self.power.value, va)

    # ── its other figures ───────────────────────────────────────────────────────────────────────────────────────────

    def _note_live(self, live: bool, mono_s: float) -> None:
        if not live:
            self._live_s = None
        elif self._live_s is None:
            self._live_s = mono_s

    def _recently_whole(self, mono_s: float) -> bool:
        """Its other figures were plausible until shortly: that they are not is a fault of the whole answer."""
        return self._good is not None and self._bad_s is not None and mono_s - self._bad_s <= RELEARN_S

    def _check_figures(self, meter: Meter, mono_s: float) -> bool:
        """Whether voltage, current and frequency can be true."""
        why = self._wrong_figure(meter, mono_s)
        taken_s = mono_s - (meter.hz.age_s or 0.0)
        if why is None:
            self._bad_s = None
            self._figures.accept(0.0, taken_s)
            self._good = (meter, taken_s)
            return True
        if self._bad_s is None:
            self._bad_s = mono_s
        self._figures.reject(taken_s, why)
        return False

    def _wrong_figure(self, meter: Meter, mono_s: float) -> Reason | None:
        volts, hertz, amperes = self._bounds.volts(), self._bounds.hertz(), self._bounds.amperes()
        v = [r.good for r in meter.v if r.good is not None]
        hz = meter.hz.good
        for value in v:
            if not volts.holds(value):
                return out_of("voltage", value, "V", volts)
        for value in (r.good for r in meter.a if r.good is not None):
            if not amperes.holds(value):
                return out_of("current", value, "A", amperes)
        dead = bool(v) and max(v) < DEAD * self._bounds.nominal_v
        if hz is not None and not dead and v and not hertz.holds(hz):
            return out_of("frequency", hz, "Hz", hertz)
        if dead and self._live_s is not None and mono_s - self._live_s > self._delay_s:
            return Reason("doubt.dead", {"volts": max(v)})
        return None

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

    def shown(self, meter: Meter, mono_s: float, hold_s: float) -> Meter:
        """The meter as everybody else is to see it. Amperes are believed with power: the fuse rule acts on both."""
        found = msgspec.structs.replace(meter, w=self.power.shown(meter.w, mono_s, hold_s))
        if self._whole and not self.power.doubted:
            return found
        usable = self._bad_s is None or mono_s - self._bad_s <= hold_s
        held, taken_s = self._good if self._good is not None and usable else (Meter(meter.id), mono_s)
        amperes, since_s = self._amperes if usable and found.w.quality is not Quality.MISSING else ((), mono_s)
        found = msgspec.structs.replace(found, a=_held_all(meter.a, amperes, mono_s - since_s))
        if self._whole:
            return found
        age_s = mono_s - taken_s
        return msgspec.structs.replace(
            found,
            hz=_held(meter.hz, held.hz, age_s),
            v=_held_all(meter.v, held.v, age_s),
            import_wh=_held(meter.import_wh, held.import_wh, age_s),
            export_wh=_held(meter.export_wh, held.export_wh, age_s),
        )


def _held(now: Reading, before: Reading, age_s: float) -> Reading:
    """What was believed before, in place of what is said now; missing where there is none."""
    if now.quality not in USABLE or before.value is None:
        return Reading(None, now.age_s, Quality.MISSING)
    return Reading(before.value, age_s, Quality.SUSPECT)


def _held_all(now: tuple[Reading, ...], before: tuple[Reading, ...], age_s: float) -> tuple[Reading, ...]:
    known = (*before, *(MISSING for _ in now))
    return tuple(_held(reading, known[n], age_s) for n, reading in enumerate(now))
