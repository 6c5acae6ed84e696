"""Checks the meters: bounds, a dead block on a live bus, volts and amperes, steps of power."""

from __future__ import annotations

import enum

import msgspec

from dispatch.model.equipment import DEAD, Meter
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, SiteBounds, out_of, out_of_watts
from dispatch.plausibility.meter_figures import FigureCheck, held
from dispatch.plausibility.reading_history import RELEARN_S, Candidate, ReadingHistory, SampleCounter, figures_of
from dispatch.plausibility.witnesses import Band, VoltAmperes

VOLTS_STEP = 0.1  # of nominal: by how much a voltage changes from one sample to the next without a second one
HERTZ_STEP = 1.0  # and a frequency: an interconnected grid moves by 2 Hz in a second at most (ENTSO-E, 2018)
FLIPPED_S = 5.0  # a power whose sign alone has changed is believed once it has stood for so long
REGISTER_WH = 5.0  # from this energy on the registers, which count in Wh, tell the direction
LEAST_FACTOR = 0.7  # power factor of what is switched: its current is so many times larger than its power explains

Counted = tuple[float | None, float | None]  # import and export, Wh


class Finding(enum.Enum):
    """What the meter's own figures say of its power."""

    WRONG = "wrong"  # out of bounds, or impossible beside its other figures
    NEAR = "near"  # where it is expected
    WITNESSED = "witnessed"  # a step, shown by volts and amperes too
    STEP = "step"  # a step that nothing shows yet
    ABSENT = "absent"  # no reading


class Judgement(msgspec.Struct, frozen=True):
    """One finding at a meter's power."""

    finding: Finding
    w: float = 0.0
    why: Reason | None = None  # it is not believed
    flipped: bool = False  # a step to the same power with the other sign, which volts and amperes do not show


class MeterCheck:
    """One meter, tick by tick: `take`, `judge`, then `decide` with what the balance says, then `shown`."""

    def __init__(self, bounds: SiteBounds, meter_id: str, delay_s: float) -> None:
        self._bounds, self._delay_s = bounds, delay_s
        self.power = ReadingHistory(meter_id, "power")
        self._counter = SampleCounter()
        self._va = VoltAmperes()
        self._figures = ReadingHistory(meter_id, "voltage, current and frequency")
        self._amperes = FigureCheck(meter_id, "current", bounds.step_a, _current_jump)
        self._volts = FigureCheck(meter_id, "voltage", VOLTS_STEP * bounds.nominal_v, _voltage_jump)
        self._hertz = FigureCheck(meter_id, "frequency", HERTZ_STEP, _frequency_jump)
        self._good: tuple[Meter, float] | None = None  # the last answer whose figures were plausible, and when taken
        self._step_s: float | None = None  # since when its power has been a step that nothing shows
        self._bad_s: float | None = None  # since when figures have been impossible
        self._live_s: float | None = None  # since when its side has been live
        self._sample = 0
        self._taken_s = float("-inf")
        self._plausible = True  # the other figures of this answer can be true
        self._product_va: float | None = None  # volts times amperes of this answer
        self._now = Judgement(Finding.ABSENT)
        self._counted: Counted = (None, None)  # by its energy registers now,
        self._counted_then: Counted = (None, None)  # and when a step of power began
        self._flipped = False  # what is doubted began with a change of the sign alone

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every reading that is followed."""
        return [self.power, self._figures, *(check.history for check in self._beside)]

    @property
    def _beside(self) -> tuple[FigureCheck, ...]:
        return self._amperes, self._volts, self._hertz

    def alive(self, mono_s: float) -> bool:
        """Its figures move: it may speak as a witness."""
        return mono_s - self._counter.changed_s <= self._delay_s

    def take(self, meter: Meter, mono_s: float, allowed: Range, live: bool) -> float | None:
        """Take in an answer, once per tick. Return its power, W, unless it is wrong by itself.

        allowed: bounds of its power. live: the switch or the PCS report voltage on its side of the switch; a meter that
        still reads none is not believed.
        """
        self._note_live(live, mono_s)
        w = meter.w.good
        self._taken_s = mono_s - ((meter.hz.age_s if w is None else meter.w.age_s) or 0.0)
        self._sample = self._counter.update(figures_of(meter), self._taken_s)
        self._plausible = self._check_figures(meter, mono_s)
        self._product_va = None
        self._counted = meter.import_wh.good, meter.export_wh.good
        if w is None:
            self._now = Judgement(Finding.ABSENT)
            return None
        self._now = self._take_power(meter, w, mono_s, allowed)
        return None if self._now.finding is Finding.WRONG else w

    def _take_power(self, meter: Meter, w: float, mono_s: float, allowed: Range) -> Judgement:
        if not allowed.holds(w):
            return Judgement(Finding.WRONG, w, out_of_watts("power", w, allowed))
        if not self._plausible and self._recently_plausible(mono_s):
            return Judgement(Finding.WRONG, w, Reason("doubt.block", {"reading": "power"}))
        va = self._product_va = self._va.of(meter) if self._plausible else None
        if va is not None and self._va.impossible(w, va):
            return Judgement(
                Finding.WRONG, w, Reason("doubt.apparent", {"reading": "power", "value_w": w, "product_w": va})
            )
        return Judgement(Finding.STEP, w)

    def judge(self, meter: Meter, expected: Band | None) -> Judgement:
        """What its own figures say of its power. expected: where it should be; None: where it last was."""
        w, va = self._now.w, self._product_va
        if self._now.finding is Finding.ABSENT or (self._now.finding is Finding.WRONG and va is None):
            return self._now
        last_w = self.power.value
        if expected is None and last_w is not None:
            expected = Band(last_w, last_w)
        near = expected is not None and expected.off_w(w) <= self._bounds.step_w
        if near and va is not None and self._beside_jumped(meter, w):
            return Judgement(Finding.NEAR, w)  # volts or amperes have jumped, not the power: they are doubted
        if self._now.finding is Finding.WRONG:
            return self._now
        agrees = None if va is None else self._va.agrees(w, va)
        if near and agrees is not False:
            return Judgement(Finding.NEAR, w)
        return self._judge_step(w, va if agrees else None, expected)

    def _beside_jumped(self, meter: Meter, w: float) -> bool:
        return self._amperes.jumped(meter.a, self._amperes_of(w)) or self._volts.jumped(meter.v)

    def _judge_step(self, w: float, va: float | None, expected: Band | None) -> Judgement:
        """`va`: volts times amperes, where the power keeps its share of them."""
        last_w = self.power.value
        goes_on = self._flipped and last_w is not None and w * last_w < 0
        self._flipped = goes_on or (expected is not None and self._mirrored(w, expected))
        if self._flipped:
            why = Reason("doubt.flipped", {"reading": "power", "value_w": w, "last_w": last_w})
            return Judgement(Finding.STEP, w, why, flipped=True)
        if va is not None and self._va.tells(va):
            return Judgement(Finding.WITNESSED, w)
        return Judgement(Finding.STEP, w, self._why_step(w))

    def _amperes_of(self, w: float) -> float:
        """The change of all currents together that a change of power to `w` can cause."""
        return w / LEAST_FACTOR / self._bounds.nominal_v

    def _mirrored(self, w: float, expected: Band) -> bool:
        """Volts and amperes do not show the sign: the same power the other way round is no step that they confirm."""
        middle_w, step_w = (expected.low_w + expected.high_w) / 2, self._bounds.step_w
        far = w * middle_w < 0 and expected.off_w(w) > step_w
        return far and expected.off_w(-w) <= max(step_w, 0.1 * abs(w))

    def _why_step(self, w: float) -> Reason:
        return Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": self.power.value})

    def decide(self, judged: Judgement, confirmed: bool, against: Reason | None) -> None:
        """Accept or doubt the power, with what the balance says of it."""
        if judged.finding is Finding.ABSENT:
            return
        history, taken_s = self.power, self._taken_s
        if judged.finding is Finding.WRONG:
            history.reject(taken_s, judged.why or self._why_step(judged.w))
            return
        shown = (
            judged.finding is Finding.WITNESSED and against is None
        )  # else two witnesses disagree: neither is chosen
        if history.established and (confirmed or shown or judged.finding is Finding.NEAR):
            self._accept(judged.w)
        else:
            self._decide_step(judged, against if history.established else None)

    def _decide_step(self, judged: Judgement, against: Reason | None) -> None:
        history, taken_s = self.power, self._taken_s
        if self._step_s is None:
            self._step_s, self._counted_then = taken_s, self._counted
        since_s = taken_s - self._step_s
        if against is None and judged.flipped and self._counts_the_other_way(judged.w, since_s):
            against = judged.why
        if against is not None and judged.finding is Finding.WITNESSED and since_s > RELEARN_S:
            self._accept(judged.w)  # a load that the other meter does not see
        elif against is not None and since_s > self._delay_s:  # the other meter had time to show it
            history.reject(taken_s, against)
        elif (
            against is None and history.second(judged.w, self._sample) and not (judged.flipped and since_s < FLIPPED_S)
        ):
            self._accept(judged.w)
        else:
            why = judged.why or against or self._why_step(judged.w)
            history.wait(Candidate(judged.w, self._sample, taken_s, self._bounds.step_w), why)

    def _accept(self, w: float) -> None:
        self._step_s, self._flipped = None, False
        self.power.accept(w, self._taken_s)

    def _counts_the_other_way(self, w: float, since_s: float) -> bool:
        """Since its sign changed, the energy register of the direction before has gone on counting as if it had not."""
        due_wh = abs(w) * since_s / 3600
        then, now = self._counted_then[w > 0], self._counted[w > 0]  # export if it says import, and the reverse
        return due_wh >= REGISTER_WH and then is not None and now is not None and now - then >= due_wh / 2

    def learn(self, meter: Meter, mono_s: float) -> None:
        """Take in its other figures, and what volts and amperes are beside an accepted power."""
        if not self._plausible:
            for check in self._beside:
                check.hold(mono_s)
            return
        volts = [v for v in (r.good for r in meter.v) if v is not None]
        dead = bool(volts) and max(volts) < DEAD * self._bounds.nominal_v
        w, va = None if self.power.doubted else self.power.value, self._product_va
        self._volts.check(meter.v, self._sample, self._taken_s, shown=dead)
        self._hertz.check((meter.hz,), self._sample, self._taken_s, shown=dead)
        possible, shown, cause = True, False, None if w is None else self._amperes_of(w)
        if w is not None and va is not None and not self._volts.doubted:
            possible, shown = not self._va.impossible(w, va), self._va.agrees(w, va) is True
        self._amperes.check(meter.a, self._sample, self._taken_s, cause, possible, shown)
        if w is not None and va is not None and not self._volts.doubted:
            self._va.learn(w, va, believed=not self._amperes.doubted)

    # ── its other figures ───────────────────────────────────────────────────────────────────────────────────────────

    def _note_live(self, live: bool, mono_s: float) -> None:
        if not live:
            self._live_s = None
        elif self._live_s is None:
            self._live_s = mono_s

    def _recently_plausible(self, mono_s: float) -> bool:
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
        """The meter as everybody else is to see it. A current is not believed before the power."""
        found = msgspec.structs.replace(meter, w=self.power.shown(meter.w, mono_s, hold_s))
        if self._plausible and not any(check.doubted for check in self._beside):
            return found
        a, v, hz = (
            check.shown(now, mono_s, hold_s)
            for check, now in zip(self._beside, (meter.a, meter.v, (meter.hz,)), strict=True)
        )
        found = msgspec.structs.replace(found, a=a, v=v, hz=hz[0])
        if self._plausible:
            return found
        usable = self._bad_s is None or mono_s - self._bad_s <= hold_s
        good, taken_s = self._good if self._good is not None and usable else (Meter(meter.id), mono_s)
        return msgspec.structs.replace(
            found,
            import_wh=held(meter.import_wh, good.import_wh, mono_s - taken_s),
            export_wh=held(meter.export_wh, good.export_wh, mono_s - taken_s),
        )


def _current_jump(n: int, a: float, last_a: float) -> Reason:
    return Reason("doubt.current", {"phase": n + 1, "value_a": a, "last_a": last_a})


def _voltage_jump(n: int, v: float, last_v: float) -> Reason:
    return Reason("doubt.jump", {"reading": f"voltage L{n + 1}", "value": v, "last": last_v, "unit": "V"})


def _frequency_jump(n: int, hz: float, last_hz: float) -> Reason:
    return Reason("doubt.jump", {"reading": "frequency", "value": hz, "last": last_hz, "unit": "Hz"})
