"""Steps one PCS through a proof, one tick at a time: small and larger steps of both signs, 0 W, silence, and back.

The first step is 5 % of the rating. After each pair of steps, out and back, PCS and meter must have moved as asked;
what moves wrongly, or not at all, ends the proof, and the reason says what was seen. Two causes are told apart by the
pair: a meter that shows another gain shows it both times, a load that moved by itself does not. Whatever ends a proof,
nothing is asked from that tick on, and the rules and the plan command the PCS again.
"""

from __future__ import annotations

import statistics
from typing import Literal, NamedTuple

from dispatch.commissioning.diagnosis import meter_fault
from dispatch.commissioning.preconditions import FIRST_SHARE, Room, Site, against, pcs_of, rated_w, room
from dispatch.commissioning.recording import Recording, Series
from dispatch.config.schema import DispatchConfig
from dispatch.model.proofs import AS_ASKED_W, AtZero, Estimate, Proving, Reversion
from dispatch.model.reasons import Reason

CALM_S = 10.0  # the load is watched for so long before the first step
CALM_SHARE = 0.25  # of the first step: a standard deviation of import above it hides what a step shows
SHARES = (FIRST_SHARE, 0.15, 0.3)  # of the rating
WORTH = 1.5  # a larger step is made only where it is so much larger than the one before
HOLD_S = 3.0  # each step lasts at least as long as the meter may be late, and so much longer,
SETTLED_SHARE = 0.03  # until the last readings of the PCS differ by no more than this share of the step
SETTLED = 4  # readings
SETTLE_MOST_S = 90.0  # a PCS that has not come to rest by then is not going to
MEAN_S = 1.5  # over which a resting power is taken
PCS_GAIN = (0.5, 1.5)  # of a PCS that follows; what is near to 1 is for the table to judge
METER_GAIN_OFF = 0.3  # a meter that shows a step by so much more or less is wired or set up wrongly
PAIR_OFF = 0.3  # out and back must agree so far, besides the noise
NOISES = 6.0  # standard deviations of the load that are taken for noise
WRONG_METER = 5.0  # so many times the first step may a wrong meter show before anybody knows that it is wrong
RENEW_S = 10.0  # waited beyond half of the reversion time for a renewal to begin the silence with
SILENCE_MORE, SILENCE_MORE_S = 1.25, 10.0  # a reversion is waited for so much longer than was asked for
LEFT_SHARE = 0.3  # of the held power: by so much it must differ to count as having left it
DITHER = 4  # a step is written so many parts of a tick late, and of a renewal, that readings fall between others

Kind = Literal["calm", "step", "renewal", "silence", "again", "restore"]


def hold_s(config: DispatchConfig) -> float:
    """How long a step is held at least."""
    return HOLD_S + config.grid.meter_delay_max_s


def silence_most_s(revert_s: float) -> float:
    """How long a reversion that was asked for after `revert_s` is waited for at most."""
    return SILENCE_MORE * revert_s + SILENCE_MORE_S


class Stage(NamedTuple):
    """One part of a proof, during which the PCS is asked for `w`."""

    kind: Kind
    w: float
    after_s: float = 0.0  # how long after the tick it is written
    out: bool = False  # the first half of a pair


class Answer(NamedTuple):
    """What a step made of PCS and meter, per watt asked or given."""

    pcs_gain: float
    meter_gain: float
    phase_gains: tuple[float, ...]


class Procedure:
    """One proof. `step` once per tick, with the snapshot as read; `line`s are what the person on site is to see."""

    def __init__(
        self,
        config: DispatchConfig,
        pcs_id: str,
        *,
        tick_s: float,
        revert_s: float,
        revert_w: float,
        who: str,
        started: Site,
        refresh_s: float = 0.0,
    ) -> None:
        """`revert_s`, `revert_w`: the reversion asked of it. `started`: the site at the tick before the first.

        `refresh_s`: how often the PCS renews its readings; 0: whenever it is read.
        """
        self.pcs_id, self.recording = pcs_id, Recording()
        self.lines: list[Reason] = []
        self.ended: Reason | None = None  # why; of one that was completed "prove.completed"
        self.completed = False
        self.reversion: Reversion | None = None
        self.at_zero: AtZero | None = None
        self.largest_w = 0.0
        self._config, self._tick_s, self._revert_s, self._revert_w = config, tick_s, revert_s, revert_w
        self._who, self._rated_w, self._refresh_s = who, rated_w(config, pcs_id), refresh_s
        self._hold_s, self._silence_most_s = hold_s(config), silence_most_s(revert_s)
        self._steps_begun = 0
        decision = started.decision
        held = [s.w for s in decision.setpoints if s.device_id == pcs_id] if decision is not None else []
        self._base_w = next((w for w in held if w is not None), 0.0)
        self.recording.ask(started.snapshot.mono_s, self._base_w)
        self.recording.read(started.snapshot, pcs_id)
        self._stages = [Stage("calm", 0.0)]
        self._since_s = started.snapshot.mono_s
        self._last_w = self._base_w  # asked in the stage before this one
        self._noise_w = 0.0
        self._level_w: float | None = None  # import before this stage's step
        self._level_pcs_w = 0.0
        self._off_level = 0
        self._out: Answer | None = None  # of the first half of the pair under way
        self._seen: Answer | None = None  # the last one judged
        self._meter_known = False  # a pair has shown that the meter moves as it should
        self._silent_from_s: float | None = None
        self._renewal_seen = True
        self._within_s = 0.0

    def stop(self, why: Reason) -> None:
        """End it now."""
        if self.ended is None:
            self.ended = why
            self.lines.append(why)

    def step(self, site: Site) -> Proving | None:
        """What is to be asked from this tick on; None: it has ended."""
        if self.ended is not None:
            return None
        now_s = site.snapshot.mono_s
        self.recording.read(site.snapshot, self.pcs_id)
        why = against(self._config, self.pcs_id, site) or self._limited(site) or self._load_moved()
        if why is None:
            why = self._advance(site, now_s)
        if why is not None:
            self.stop(self._by_meter(why, now_s))
        if self.ended is not None or not self._stages:
            return None
        stage = self._stages[0]
        self.recording.ask(now_s + stage.after_s, stage.w)
        return Proving(self.pcs_id, stage.w, self._who, stage.kind == "silence", stage.after_s)

    # ── what ends it ────────────────────────────────────────────────────────────────────────────────────────────────

    def _limited(self, site: Site) -> Reason | None:
        """The last decision gave the PCS another setpoint than was asked for."""
        if site.decision is None or len(self.recording.setpoints) < 2:
            return None
        asked_w = self.recording.setpoints[-1][1]
        given_w = next((s.w for s in site.decision.setpoints if s.device_id == self.pcs_id), None)
        if given_w is not None and abs(given_w - asked_w) <= AS_ASKED_W:
            return None
        if given_w is None and self._stages[0].kind == "silence":  # nothing is asked of it
            return None
        return Reason("prove.limited", {"asked_w": asked_w, "given_w": given_w, "why": site.decision.reason})

    def _by_meter(self, why: Reason, now_s: float) -> Reason:
        """A limit that comes of a meter which is not believed is best told by what is wrong with that meter."""
        answer = self._answer(now_s) or self._seen
        if why.code != "prove.limited" or answer is None or abs(answer.meter_gain - 1.0) <= METER_GAIN_OFF:
            return why
        cause = meter_fault(answer.meter_gain, answer.phase_gains)
        return Reason("prove.meter_wrong", {"meter_gain": answer.meter_gain, "cause": cause})

    def _load_moved(self) -> Reason | None:
        """The import has left the range in which this stage's step may move it, in two readings one after the other."""
        series = self.recording.meter
        if self._level_w is None or not series.w or series.t_s[-1] < self._since_s:
            return None
        step_w = self._stages[0].w - self._last_w
        room_w = 0.5 * abs(step_w) + NOISES * self._noise_w + 0.5 * FIRST_SHARE * self._rated_w
        if not self._meter_known:
            room_w += WRONG_METER * abs(step_w)
        low_w, high_w = self._level_w + min(0.0, -step_w) - room_w, self._level_w + max(0.0, -step_w) + room_w
        if self._stages[0].kind == "silence":  # it may go to another power of its own
            low_w, high_w = low_w - self._rated_w, high_w + self._rated_w
        self._off_level = 0 if low_w <= series.w[-1] <= high_w else self._off_level + 1
        if self._off_level < 2:
            return None
        return Reason("prove.load_moved", {"moved_w": series.w[-1] - self._level_w, "step_w": step_w})

    # ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, site: Site, now_s: float) -> Reason | None:
        """Go to the next stage where this one is done. Returns why the proof must end, if it must."""
        stage, past_s = self._stages[0], now_s - self._since_s
        if stage.kind == "calm":
            rests = self._settled(now_s) and past_s >= self._hold_s + CALM_S
            return self._calm(site, now_s) if rests else self._late(past_s)
        if stage.kind == "silence":
            return self._silence(site, now_s)
        if past_s < self._hold_s + self._dither_s or not self._settled(now_s):
            return self._late(past_s)
        answer, why = self._judge(site)
        if why is not None:
            return why
        if stage.kind == "step":
            why = self._pair(stage, answer)
        elif stage.kind == "renewal" and not self._renewed(site, past_s):
            return None
        elif stage.kind == "again":
            self.lines.append(Reason("prove.again", {"held_w": stage.w}))
        if why is None:
            self._next(now_s)
        return why

    @property
    def _dither_s(self) -> float:
        """How much longer a stage lasts, so that steps fall between the renewals of the PCS's readings."""
        return self._steps_begun % DITHER / DITHER * self._refresh_s

    def _late(self, past_s: float) -> Reason | None:
        if past_s < SETTLE_MOST_S + self._hold_s:
            return None
        return Reason("prove.not_settled", {"asked_w": self._stages[0].w, "waited_s": past_s})

    def _settled(self, now_s: float) -> bool:
        """The last readings of the PCS stand still, over more than one renewal of them."""
        series = self.recording.pcs
        from_s = max(self._since_s, min(now_s - 2 * self._refresh_s, (series.t_s or [now_s])[-SETTLED:][0]))
        last = series.since(from_s, now_s)
        height_w = max(abs(self._stages[0].w - self._last_w), FIRST_SHARE * self._rated_w)
        return len(last) >= SETTLED and max(last) - min(last) <= SETTLED_SHARE * height_w

    def _next(self, now_s: float) -> None:
        """Begin the next stage, or end the proof after the last one."""
        done = self._stages.pop(0)
        if not self._stages:
            self.stop(Reason("prove.completed", {"base_w": self._base_w}))
            return
        self._last_w, self._since_s, self._off_level = done.w, now_s, 0
        self._steps_begun += 1
        self._level_w = _mean(self.recording.meter, now_s)
        self._level_pcs_w = _mean(self.recording.pcs, now_s) or 0.0
        stage = self._stages[0]
        if stage.kind == "step" and stage.out:
            self.lines.append(Reason("prove.step", {"asked_w": stage.w}))
        elif stage.kind == "renewal":
            self.lines.append(Reason("prove.renewal", {"asked_w": stage.w}))
        elif stage.kind == "silence":
            self._within_s = self.recording.steps_end_s = now_s
            self.lines.append(Reason("prove.silence", {"most_s": self._silence_most_s, "revert_s": self._revert_s}))
        elif stage.kind == "restore":
            self.completed = True  # nothing is left to measure, whatever keeps it from going back
            self.lines.append(Reason("prove.restore", {"base_w": self._base_w}))

    def _calm(self, site: Site, now_s: float) -> Reason | None:
        """The load's noise, and the steps that the room at this moment allows."""
        import_w = self.recording.meter.since(now_s - CALM_S)
        first_w = FIRST_SHARE * self._rated_w
        self._noise_w = statistics.pstdev(import_w) if len(import_w) > 1 else 0.0
        if len(import_w) < 5 or self._noise_w > CALM_SHARE * first_w:
            return Reason(
                "prove.not_calm", {"noise_w": self._noise_w, "most_w": CALM_SHARE * first_w, "over_s": CALM_S}
            )
        pcs, self._seen = pcs_of(site.snapshot, self.pcs_id), self._answer(now_s)
        self.at_zero = AtZero(_mean(self.recording.pcs, now_s) or 0.0, pcs.state.good or "")
        self.lines.append(Reason("prove.calm", {"noise_w": self._noise_w, "zero_w": self.at_zero.w}))
        if site.decision is not None:
            self._stages += self._steps(room(self._config, self.pcs_id, site.decision))
        self._next(now_s)
        return None

    def _steps(self, left: Room) -> list[Stage]:
        """Pairs of steps of both signs, each pair a little later within the tick; then silence, and back."""
        stages: list[Stage] = []
        before = {1.0: 0.0, -1.0: 0.0}
        for share in SHARES:
            for sign, most_w in ((1.0, left.high_w), (-1.0, -left.low_w)):
                size_w = min(share * self._rated_w, most_w)
                if size_w < max(WORTH * before[sign], FIRST_SHARE * self._rated_w * 0.99):
                    continue
                before[sign] = size_w
                for w in (sign * size_w, 0.0):
                    after_s = len(stages) % DITHER / DITHER * self._tick_s
                    stages.append(Stage("step", w, after_s, out=w != 0.0))
        self.largest_w = max(before.values())
        first_w = FIRST_SHARE * self._rated_w
        held_w = -first_w if abs(first_w - self._revert_w) < first_w / 2 else first_w
        silence: list[Kind] = ["renewal", "silence", "again"]
        return [*stages, *(Stage(kind, held_w) for kind in silence), Stage("restore", self._base_w)]

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, site: Site) -> tuple[Answer, Reason | None]:
        """What the stage's step has made of PCS and meter; and why the proof ends, where the PCS does not follow."""
        stage, now_s = self._stages[0], site.snapshot.mono_s
        asked_w = stage.w - self._last_w
        pcs_w = (_mean(self.recording.pcs, now_s) or 0.0) - self._level_pcs_w
        if abs(asked_w) < 0.5 * FIRST_SHARE * self._rated_w:  # no step, or hardly one
            return Answer(1.0, 1.0, ()), None
        gain = pcs_w / asked_w
        if not PCS_GAIN[0] <= gain <= PCS_GAIN[1]:
            pcs = pcs_of(site.snapshot, self.pcs_id)
            moved_w = (_mean(self.recording.meter, now_s) or 0.0) - (self._level_w or 0.0)
            held_w, read_w = pcs.setpoint_w.good, pcs.w.good
            why = (
                Reason(
                    "prove.inverted",
                    {"asked_w": stage.w, "held_w": held_w, "measured_w": read_w, "import_w": moved_w},
                )
                if gain < -PCS_GAIN[0]
                else Reason(
                    "prove.not_followed",
                    {"asked_w": stage.w, "held_w": held_w, "measured_w": read_w, "import_w": moved_w},
                )
            )
            return Answer(gain, 0.0, ()), why
        self._seen = self._answer(now_s)
        return self._seen or Answer(gain, 0.0, ()), None

    def _answer(self, now_s: float) -> Answer | None:
        """What this stage's step has made of PCS and meter so far; None where the PCS has not moved by a first step."""
        asked_w = self._stages[0].w - self._last_w
        pcs_w = _moved(self.recording.pcs, self._since_s, now_s)
        if min(abs(asked_w), abs(pcs_w)) < 0.5 * FIRST_SHARE * self._rated_w:
            return None
        moved_w = _moved(self.recording.meter, self._since_s, now_s)
        phases = [_moved(series, self._since_s, now_s) for series in self.recording.phases if series.t_s]
        return Answer(pcs_w / asked_w, -moved_w / pcs_w, tuple(-3 * w / pcs_w for w in phases))

    def _pair(self, stage: Stage, answer: Answer) -> Reason | None:
        """Take in one half of a pair; after the second one, whether the meter moved as it should."""
        if stage.out or self._out is None:
            self._out = answer
            return None
        out, self._out = self._out, None
        off = abs(out.meter_gain - answer.meter_gain)
        step_w = abs(self._last_w)
        both = (out.meter_gain + answer.meter_gain) / 2
        if off > max(PAIR_OFF * max(abs(both), 1.0), NOISES * self._noise_w / step_w):
            return Reason("prove.load_moved", {"moved_w": off * step_w, "step_w": step_w})
        phases = tuple((a + b) / 2 for a, b in zip(out.phase_gains, answer.phase_gains, strict=False))
        pcs_gain = (out.pcs_gain + answer.pcs_gain) / 2
        self.lines.append(Reason("prove.answered", {"asked_w": self._last_w, "pcs_gain": pcs_gain, "meter_gain": both}))
        if abs(both - 1.0) > METER_GAIN_OFF:
            return Reason("prove.meter_wrong", {"meter_gain": both, "cause": meter_fault(both, phases)})
        self._meter_known = True
        return None

    # ── silence ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _renewed(self, site: Site, past_s: float) -> bool:
        """Whether a renewal has been seen in this stage, from which the silence is counted; or none is going to be."""
        if site.renewed_s is not None and site.renewed_s >= self._since_s:
            self._silent_from_s, self._renewal_seen = site.renewed_s, True
            return True
        self._renewal_seen = False
        self._silent_from_s = site.snapshot.mono_s
        return past_s >= self._hold_s + self._revert_s / 2 + RENEW_S

    def _silence(self, site: Site, now_s: float) -> Reason | None:
        """Wait until the PCS leaves the power that it holds, or has kept it for long enough."""
        assert self._silent_from_s is not None
        if site.renewed_s is not None and site.renewed_s > self._silent_from_s:  # one was under way
            self._silent_from_s = site.renewed_s
        held_w, series = self._stages[0].w, self.recording.pcs
        last = [t_w for t_w in zip(series.t_s, series.w, strict=True) if t_w[0] >= self._since_s]
        left = [t_s for t_s, w in last if abs(w - self._level_pcs_w) > LEFT_SHARE * abs(held_w)]
        if not left:
            self._within_s = last[-1][0] if last else self._within_s
            waited_s = now_s - self._silent_from_s
            if waited_s < self._silence_most_s:
                return None
            self.reversion = Reversion(held_w, waited_s, None, self._level_pcs_w)
            self.lines.append(Reason("prove.kept", {"held_w": held_w, "waited_s": waited_s}))
            self._next(now_s)
            return None
        if now_s - left[0] < self._hold_s or not self._settled(now_s):
            return self._late(now_s - left[0])
        low_s, high_s = self._within_s - self._silent_from_s, left[0] - self._silent_from_s
        if not self._renewal_seen:  # the last one was up to half of the time asked for before
            high_s += self._revert_s / 2
        after = Estimate((low_s + high_s) / 2, low_s, high_s)
        to_w = _mean(series, now_s) or 0.0
        self.reversion = Reversion(held_w, now_s - self._silent_from_s, after, to_w)
        self.lines.append(Reason("prove.reverted", {"held_w": held_w, "after_s": after.value, "to_w": to_w}))
        self._next(now_s)
        self._last_w = to_w  # what "again" steps from
        return None


def _mean(series: Series, now_s: float) -> float | None:
    """The mean of the last readings, W; None without one."""
    last = series.since(now_s - MEAN_S) or series.w[-1:]
    return statistics.fmean(last) if last else None


def _moved(series: Series, since_s: float, now_s: float) -> float:
    """By how much a power has moved since a step: its mean at the end less that before it, W.

    A device that is read less often than that has its last reading instead.
    """
    before = series.since(since_s - MEAN_S, since_s) or series.since(0.0, since_s)[-1:]
    after = series.since(now_s - MEAN_S) or series.w[-1:]
    return statistics.fmean(after) - statistics.fmean(before) if before and after else 0.0
