"""Counts the energy imported in the running metering interval: what is measured, what is assumed, and its bounds.

While the meter's power is read, energy is integrated between readings. Time without a good reading is a *hole*: it
counts at the power assumed for it, until the meter's own import register (`import_register`) is read again. Then the
register fills the hole, within its step. A hole across the end of an interval has one energy for two intervals: each
gets bounds, from none to all of it as far as `most_w` allows. What no register tells stays assumed: at least what was
measured, at most what `most_w` could have brought.

A hole of no more than `BRIDGED_S` between two good readings, such as one rejected sample, counts as measured at their
mean, within half their difference. A register reading that no import could have made is not used: a single one is
passed over; where the register stays there, it was reset or replaced, and counting goes on from there.
"""

from __future__ import annotations

from dispatch.billing.counted_energy import Bridge, Counted, FilledInterval, HoleMemory, HolePart
from dispatch.billing.import_register import REGISTER_MOST, ImportRegister
from dispatch.model.reasons import Reason

EARLY_S = 2.0  # after an interval's begin: what ran until then was integrated
HOLE_INTERVALS = 8  # a hole over more intervals than this is given up: its energy could be anywhere
GAP_S = 5.0  # two readings further apart have a hole between them
BRIDGED_S = 2.0  # one sample that was rejected, at the longest time for which a register map shows the same
RESET_S = 5.0  # a register that stays so long where no import could have taken it was reset or replaced
UNBOUNDED_S = 0.5  # without a reading or a register: the energy is "at least"
REGISTER_FAULTS = frozenset({"register.impossible", "register.reset"})  # codes of `ImportEnergy.notices`


class ImportEnergy:
    """Counts for the running interval. `MeteringInterval` says when one begins.

    fuse_w: what the fuses carry. replayed: readings are minutes apart, the power between two is their mean, and the
    register is exact.
    """

    def __init__(self, fuse_w: float, replayed: bool = False) -> None:
        self._replayed = replayed
        self.most_w = REGISTER_MOST * fuse_w
        self.counted = Counted()
        self.import_w: float | None = None  # the last one known, or what is assumed
        self.unrated_s = 0.0  # of `unknown_s` from before any reading
        self.hole_s = self.hole_assumed_ws = 0.0  # of the hole what lies in the running interval
        self.over: list[HolePart] = []  # and in those before
        self.before_wh: float | None = None  # the register when the hole began, or now
        self._register = ImportRegister(self.most_w, 0.0 if replayed else None)
        self._begun: tuple[float, float] | None = None  # the register early in the interval, Wh; counted until then, Ws
        self._ended: HolePart | None = None  # the last interval that is over, and what of the hole lies in it
        self._since_ws = 0.0  # measured since `before_wh` was read
        self._was_good = False
        self._bridge: Bridge | None = None
        self._bridged: list[FilledInterval] = []
        self._register_fits = True  # the last reading of the register can be true
        self._changed_s: float | None = None  # when the register last showed another value
        self._odd: tuple[float, float] | None = None  # a reading that cannot be true, Wh, and since when, mono_s
        self._told = False  # that it cannot, in this interval
        self.notices: list[Reason] = []  # what is wrong with the register; the caller takes them

    # ── adding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, dt_s: float, import_w: float | None) -> None:
        """Count `dt_s` that ends now: between two good readings as their mean, else as a hole."""
        if import_w is not None and self._bridge is not None:
            self._end_bridge(dt_s, import_w)
        if import_w is None or not self._was_good or self.import_w is None or dt_s > GAP_S:
            if import_w is None and self._was_good and self._bridge is None and self.import_w is not None:
                self._bridge = Bridge(self.import_w)
            self.add_unknown(dt_s)
            return
        self.counted.known_s += dt_s
        self.counted.known_ws += dt_s * (self.import_w + import_w) / 2
        self._since_ws += dt_s * (self.import_w + import_w) / 2

    def _end_bridge(self, dt_s: float, import_w: float) -> None:
        """Power is read again: count a short hole as measured, between the readings on both sides."""
        bridge, self._bridge = self._bridge, None
        if bridge is None or bridge.hole_s + bridge.ended_s + dt_s > BRIDGED_S:
            return
        mean_w, off_w = (bridge.from_w + import_w) / 2, abs(import_w - bridge.from_w) / 2
        _measured(self.counted, bridge.hole_s, bridge.assumed_ws, mean_w, off_w)
        if self.hole_s > 0:
            self.hole_s = max(self.hole_s - bridge.hole_s, 0.0)
            self.hole_assumed_ws -= bridge.assumed_ws
        self._since_ws += mean_w * (bridge.hole_s + bridge.ended_s)
        if bridge.ended is not None:
            self._end_bridge_before(bridge, bridge.ended, mean_w, off_w)
        self.import_w, self._was_good = mean_w, True  # the rest of the way, to the end of `dt_s`

    def _end_bridge_before(self, bridge: Bridge, part: HolePart, mean_w: float, off_w: float) -> None:
        """The hole began in the interval before, which is over."""
        _measured(part.counted, bridge.ended_s, bridge.ended_assumed_ws, mean_w, off_w)
        part.hole_s = max(part.hole_s - bridge.ended_s, 0.0)
        self.over = [other for other in self.over if other is not part or part.hole_s > 1e-6]
        self._bridged.append(self._told_of(part, bridge.ended_s))

    def add_unknown(self, dt_s: float) -> None:
        """Count `dt_s` at what is assumed."""
        self.counted.unknown_s += dt_s
        assumed_ws = 0.0 if self.import_w is None else dt_s * self.import_w
        self.counted.assumed_ws += assumed_ws
        if self.import_w is None:
            self.unrated_s += dt_s
        if self.before_wh is not None:
            self.hole_s += dt_s
            self.hole_assumed_ws += assumed_ws
        if self._bridge is not None:
            self._bridge.hole_s += dt_s
            self._bridge.assumed_ws += assumed_ws

    def begin(self) -> None:
        """A new interval begins; a hole goes on."""
        self.counted, self.unrated_s, self._begun, self._told = Counted(), 0.0, None, False
        self.hole_s = self.hole_assumed_ws = 0.0

    def end(self, start_utc_s: float) -> Counted:
        """The interval that began at `start_utc_s` is over; returns what was counted."""
        self._ended = HolePart(start_utc_s, self.hole_s, self.counted)
        if self.hole_s > 0:
            self.over.append(self._ended)
        bridge = self._bridge
        if bridge is not None:
            self._bridge = Bridge(bridge.from_w, 0.0, 0.0, self._ended, bridge.hole_s, bridge.assumed_ws)
        if len(self.over) > HOLE_INTERVALS:  # nothing could be told any more of when the energy came
            self.give_up_hole()
        return self.counted

    def taken(self, mono_s: float, import_w: float | None, register_wh: float | None, assumed_w: float | None) -> None:
        """After the time up to now was added: remember what was read. `assumed_w`: import where it was not read."""
        if import_w is not None:
            self.import_w = import_w
        elif assumed_w is not None:
            self.import_w = assumed_w
        self._was_good = import_w is not None
        if self.unrated_s and self.import_w is not None:  # from before any reading was known: at the first one
            self.counted.assumed_ws += self.unrated_s * self.import_w
            self.unrated_s = 0.0
        if register_wh is not None:
            self._register_fits = self._check_register(mono_s, register_wh)
            if self._register_fits:
                self._register.read(mono_s, register_wh)

    def _check_register(self, mono_s: float, register_wh: float) -> bool:
        """Whether import can have taken the register from where it was to here."""
        if self.before_wh is None or self._changed_s is None:
            self._changed_s = mono_s
        if self.before_wh is None or self._grown_wh(mono_s, register_wh) is not None:
            self._odd = None
            self._changed_s = mono_s if register_wh != self.before_wh else self._changed_s
            return True
        if (
            self._odd is None
            or self._register.grown_wh(self._odd[0], register_wh, mono_s - self._odd[1] + GAP_S) is None
        ):
            self._odd = (register_wh, mono_s)
            self._tell_impossible(self.before_wh, register_wh)
            return False
        if mono_s - self._odd[1] < RESET_S:
            return False
        self.notices.append(Reason("register.reset", {"before_wh": self.before_wh, "now_wh": register_wh}))
        self.give_up_hole()
        self._register.restart()
        self._odd = self._begun = None
        self._changed_s = mono_s
        return True

    def _grown_wh(self, mono_s: float, register_wh: float) -> float | None:
        """What ran through since `before_wh` was read. A register need not move each second, in a hole it is exact."""
        assert self.before_wh is not None
        whole_s = self.hole_s + sum(part.hole_s for part in self.over)
        for_s = whole_s + self._since_ws / self.most_w + GAP_S
        if not whole_s and self._changed_s is not None:
            for_s = max(for_s, mono_s - self._changed_s + GAP_S)
        return self._register.grown_wh(self.before_wh, register_wh, for_s)

    def _tell_impossible(self, before_wh: float, now_wh: float) -> None:
        """Once in an interval: a register may say it again and again."""
        if not self._told:
            self._told = True
            self.notices.append(Reason("register.impossible", {"before_wh": before_wh, "now_wh": now_wh}))

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def memory(self) -> HoleMemory:
        """What a later process needs to fill the hole of its restart."""
        over, step_wh = tuple(self.over), self._register.step_wh or None
        return HoleMemory(self.before_wh, self._since_ws, step_wh, self.hole_s, self.hole_assumed_ws, over)

    def restore(self, counted: Counted, import_w: float | None, hole: HoleMemory) -> None:
        """Go on where an earlier process was."""
        self.counted, self.import_w = counted, import_w
        self.before_wh, self._since_ws = hole.register_wh, hole.since_ws
        self.hole_s, self.hole_assumed_ws, self.over = hole.hole_s, hole.hole_assumed_ws, list(hole.over)
        if hole.step_wh:
            self._register.learnt(hole.step_wh)

    # ── the register ────────────────────────────────────────────────────────────────────────────────────────────────

    def fill(self, register_wh: float | None) -> tuple[FilledInterval, ...]:
        """With the meter read again: fill the hole by its register. Returns the bounds of intervals that are over."""
        filled, self._bridged = tuple(self._bridged), []
        if register_wh is None or not self._register_fits:  # it may be read later than the power
            return filled
        if self.before_wh is not None and (self.hole_s > 0 or self.over):
            filled += self._fill(self.before_wh, register_wh)
        self.hole_s = self.hole_assumed_ws = 0.0
        self.over.clear()
        self.before_wh, self._since_ws = register_wh, 0.0
        if self._begun is None and self.counted.known_s <= EARLY_S and not self.counted.unknown_s:
            self._begun = (register_wh, self.counted.known_ws)
        return filled

    def _fill(self, before_wh: float, register_wh: float) -> tuple[FilledInterval, ...]:
        whole_s = self.hole_s + sum(part.hole_s for part in self.over)
        grown_wh = self._register.grown_wh(before_wh, register_wh, whole_s + self._since_ws / self.most_w + GAP_S)
        if grown_wh is None:
            self._begun = None
            return ()
        hole_ws = max(3600 * grown_wh - self._since_ws, 0.0)
        step_ws = 3600 * self._register.step_wh
        band_ws = min(step_ws, self.most_w * whole_s)
        now = self.counted
        now.assumed_ws -= self.hole_assumed_ws
        if not self.over:
            now.unknown_s -= self.hole_s
            now.known_s += self.hole_s
            now.known_ws += hole_ws
            now.band_ws += band_ws
            self._count_whole(register_wh, step_ws)
            return ()
        low_ws, high_ws = self._share(hole_ws, band_ws, self.hole_s, whole_s)
        now.bounded_s += self.hole_s
        now.bounded_low_ws += low_ws
        now.bounded_high_ws += high_ws
        now.assumed_ws += min(max(hole_ws * self.hole_s / whole_s, low_ws), high_ws)
        return tuple(self._filled(part, hole_ws, band_ws, whole_s) for part in self.over)

    def _count_whole(self, register_wh: float, step_ws: float) -> None:
        """After several holes the register's difference over the whole interval is surer than their sum."""
        now = self.counted
        if self._begun is not None and not now.unknown_s and now.band_ws > step_ws and register_wh >= self._begun[0]:
            now.known_ws, now.band_ws = 3600 * (register_wh - self._begun[0]) + self._begun[1], step_ws

    def _share(self, hole_ws: float, band_ws: float, part_s: float, whole_s: float) -> tuple[float, float]:
        """The least and the most of a hole's energy that can lie in a part of it."""
        if self._replayed:
            return hole_ws * part_s / whole_s, hole_ws * part_s / whole_s
        low_ws = max(hole_ws - band_ws - self.most_w * (whole_s - part_s), 0.0)
        return low_ws, min(hole_ws + band_ws, self.most_w * part_s)

    def _filled(self, part: HolePart, hole_ws: float, band_ws: float, whole_s: float) -> FilledInterval:
        low_ws, high_ws = self._share(hole_ws, band_ws, part.hole_s, whole_s)
        told = high_ws - low_ws <= 2 * band_ws
        part.counted.bounded_s += part.hole_s
        part.counted.bounded_low_ws += low_ws
        part.counted.bounded_high_ws += high_ws
        return self._told_of(part, part.hole_s if told else 0.0)

    def _told_of(self, part: HolePart, measured_s: float) -> FilledInterval:
        """What is known now of an interval that is over."""
        bounds, unknown_s = part.counted.bounds(self.most_w), part.counted.unknown_s - part.counted.bounded_s
        high_wh = bounds.high_wh if unknown_s < UNBOUNDED_S else None
        return FilledInterval(part.start_utc_s, bounds.low_wh, high_wh, unknown_s, measured_s)

    # ── when what was read was not true, or the clock was set ───────────────────────────────────────────────────────

    def doubt(self, since_mono_s: float, mono_s: float, until_s: float) -> Counted | None:
        """The readings since then were one and the same, of a meter that stood still: that time is a hole.

        Its power is assumed until `until_s`, and none from then on. Returns the interval before, if it began there.
        """
        self._bridge = None
        before = self._doubt_ended(mono_s - since_mono_s - self.counted.counted_s)
        lost_s = min(max(mono_s - since_mono_s, 0.0), self.counted.known_s)
        w = self.import_w or 0.0
        self.counted.known_s -= lost_s
        self.counted.known_ws = max(self.counted.known_ws - lost_s * w, 0.0)
        self._register.forget_since(since_mono_s)
        self.before_wh, self._since_ws = self._register.at(since_mono_s), 0.0
        idle_s = min(max(mono_s - until_s, 0.0), lost_s)
        self.add_unknown(lost_s - idle_s)
        self.import_w = 0.0 if idle_s else self.import_w
        self.add_unknown(idle_s)
        self._was_good = False
        return before

    def _doubt_ended(self, lost_s: float) -> Counted | None:
        """The same of the end of the interval before, as far as it was measured."""
        part, w = self._ended, self.import_w or 0.0
        if part is None or lost_s <= 0:
            return None
        lost_s = min(lost_s, part.counted.known_s)
        part.counted.known_s -= lost_s
        part.counted.known_ws = max(part.counted.known_ws - lost_s * w, 0.0)
        part.counted.unknown_s += lost_s
        part.counted.assumed_ws += lost_s * w
        part.hole_s += lost_s
        if part not in self.over:
            self.over.append(part)
        return part.counted

    def give_up_hole(self) -> None:
        """What is in the hole stays assumed: its place in time is not known any more."""
        self.hole_s = self.hole_assumed_ws = 0.0
        self.over.clear()
        self.before_wh = self._bridge = None

    def forget_register(self) -> None:
        """The register has counted, or may have, what is no import: nothing later is compared with what it showed."""
        self.give_up_hole()
        self._register.restart()
        self._begun = self._odd = self._changed_s = None

    def forget_when(self, aim_w: float) -> None:
        """The clock was set: which part of what was counted lies in its interval is not known."""
        rated_s = self.counted.counted_s - self.unrated_s
        mean_w = self.counted.counted_ws / rated_s if rated_s > 0 else 0.0
        self.counted = Counted(unknown_s=self.counted.counted_s, assumed_ws=rated_s * min(mean_w, aim_w))
        self.give_up_hole()

    def place(self, counted: Counted, passed_s: float, aim_w: float) -> None:
        """The clock was set: this was measured of the interval that it names, of which so much has passed."""
        self.counted, self._begun, self._ended, self.unrated_s = counted, None, None, 0.0
        self.give_up_hole()
        missing_s = max(passed_s - counted.counted_s, 0.0)
        w = counted.counted_ws / counted.counted_s if counted.counted_s > 0 else self.import_w
        if w is None:
            self.unrated_s = missing_s
        counted.unknown_s += missing_s
        counted.assumed_ws += missing_s * min(w or 0.0, aim_w)

    def fit(self, passed_s: float, within_s: float) -> None:
        """Make what was counted cover the time that has passed, by the clock, of the interval."""
        passed_s, counted_s = max(passed_s, 0.0), self.counted.counted_s
        if abs(counted_s - passed_s) <= within_s:
            return
        self._bridge = None
        if counted_s < passed_s:
            self.add_unknown(passed_s - counted_s)
            return
        share = passed_s / counted_s
        self.counted = self.counted.scaled(share)
        self.unrated_s *= share
        self.hole_s *= share
        self.hole_assumed_ws *= share


def _measured(counted: Counted, hole_s: float, assumed_ws: float, mean_w: float, off_w: float) -> None:
    """Count a part of a hole, which was assumed, as measured at this power, within `off_w`."""
    counted.unknown_s = max(counted.unknown_s - hole_s, 0.0)
    counted.assumed_ws -= assumed_ws
    counted.known_s += hole_s
    counted.known_ws += mean_w * hole_s
    counted.band_ws += off_w * hole_s
