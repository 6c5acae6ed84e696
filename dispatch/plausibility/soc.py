"""Checks the SoC that each BMS reports against the energy moved, its limits and its own next reports.

* **Bounds**: 100 to 110 % is full; below 0 and above 110 % is no SoC.
* **A jump** that the energy moved does not explain is not believed at first; meanwhile the last report is carried on
  by energy. It is believed at the second distinct sample if a witness agrees (for a drop: the BMS has lowered its
  discharge limit or flags a cell as low; for a rise: it has lowered its charge limit), else once distinct samples
  have agreed for CONFIRM_S: the BMS has recalibrated. A drop that only its own report tells of is marked `alone` until
  the energy moved since agrees. Until then a report that fits the account from before is believed at once.
* **Standing still**: once STUCK_PCT points have surely moved and the SoC has not followed, the battery is reckoned with
  by energy: `soc_pct` is the lower of report and count, for discharging; `soc_high_pct` the higher, for charging.

A BMS reports whole percent, rests at 100 % or while it tapers, and stays at 0 or 100 % while its own count is beyond
them: the limits below leave room for that. Pure; one `SocCheck` per controller, one step per tick.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings
from dispatch.model.equipment import FULL_UP_TO_PCT, Battery, soc_of
from dispatch.model.events import Event
from dispatch.model.readings import MISSING, Quality, Reading, total
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.energy_account import EnergyMeter, EnergyTrack, Moved
from dispatch.plausibility.reading_history import REFRESH_S, ReadingHistory
from dispatch.wording.catalogue import words

SLACK_PCT = 1.5  # a report may differ by this much from what energy explains: whole percent, and its rounding
DRIFT_PCT = 2.5  # and by this much in CONFIRM_S
CONFIRM_S = 10.0  # a jump without a witness is believed after this time,
CONFIRM_SAMPLES = 3  # and so many distinct samples that agree
AGREEING_SAMPLES = 2  # at the start, and with a witness: one read of the registers may be wrong as a whole
REJECT_S = 60.0  # after this time of reports that agree with nothing the SoC is not known
FALL_SHARE = 0.8  # a BMS limit at or below this share of what it was tells of an end of the battery
LOW_SHARE = 0.5  # at the start: of the rating
MARGIN_K = 6.0  # closer to the temperature limits a BMS lowers its limits for their sake
LOW_CELL = ("under_volt_alarm", "under_volt_warning")  # SunSpec 802 Evt1, from the lowest cell; not from the SoC
STUCK_PCT = 3.0  # points that have surely moved without the SoC following
FOLLOWED_PCT = 2.0  # after so many points it is looked whether it has followed
FOLLOW_SHARE, FOLLOW_PCT = 0.3, 1.0  # it has if it moved by this share of them, and by one point
END_PCT = 5.0  # more points where a BMS rests: at 0 and 100 %, and while it charges above TAPER_PCT
TAPER_PCT = 95.0
ENDS_PCT = (0.2, 99.8)
SAME_PCT = 0.05


class SocMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway must know of an SoC that stands still."""

    reported_pct: float
    counted_pct: float


class SocJudgement(msgspec.Struct, frozen=True):
    """What one report is worth. `state` as in `Battery.soc_state`."""

    low_pct: float | None  # None: not known
    high_pct: float | None
    state: str
    counted_pct: float | None = None  # by energy from before a jump that only the report tells of
    news: Reason | None = None  # for the log
    doubt: Reason | None = None  # why the report is not believed


class BmsLimits(msgspec.Struct, frozen=True):
    """What the BMS says beside the SoC, as far as it tells of the energy left."""

    charge_w: float | None
    discharge_w: float | None
    low_cell: bool

    def ends(self, usual: BmsLimits, share: float, down: bool) -> bool:
        """Whether they show an end of the battery against what was usual: the lower one for `down`, else the upper."""
        if down and self.low_cell and not usual.low_cell:
            return True
        now_w, usual_w = (self.discharge_w, usual.discharge_w) if down else (self.charge_w, usual.charge_w)
        return now_w is not None and usual_w is not None and usual_w > 0 and now_w <= share * usual_w


class _Candidate:
    """A report that does not fit, and how often others have agreed with it."""

    def __init__(self, track: EnergyTrack, since_s: float, sample_s: float) -> None:
        self.track, self.since_s, self.sample_s, self.samples = track, since_s, sample_s, 1


class BatterySoc:
    """Follows the SoC of one battery."""

    def __init__(self, rated: BmsLimits) -> None:
        self._anchor: EnergyTrack | None = None  # the last report that was believed
        self._limits: BmsLimits | None = None  # what the BMS said with it
        self._lasting: EnergyTrack | None = None  # one that is up to CONFIRM_S older: many small steps are a jump, too
        self._lasting_s = self._now_s = 0.0
        self._segment = EnergyTrack(0.0)  # since the SoC was last seen to follow the energy
        self._alone = True  # nothing but its own report speaks for the SoC:
        self._before: EnergyTrack | None = None  # the account before the jump,
        self._usual, self._low_share, self._down = rated, LOW_SHARE, True  # and the limits that tell of an end
        self._samples, self._sample_s = 0, 0.0  # distinct ones that agree, at the start
        self._candidate: _Candidate | None = None
        self._rejected_since_s: float | None = None
        self._count: EnergyTrack | None = None  # the SoC by energy while the report stands still
        self._kept: SocMemory | None = None

    def memory(self) -> SocMemory | None:
        """What to keep for a restart."""
        if self._anchor is None or self._count is None:
            return self._kept
        return SocMemory(self._anchor.pct, self._count.expected_pct)

    def restore(self, memory: SocMemory) -> None:
        """Take over what was kept; it counts if the BMS still reports the same."""
        self._kept = memory

    def recover(self, memory: SocMemory) -> None:
        """Join what was kept and could not be read before the first report: a report that still stands there.

        The energy moved since our first report is added to the count that was kept.
        """
        if self._anchor is None:
            self._kept = memory
        elif self._count is None and abs(memory.reported_pct - self._anchor.pct) < SAME_PCT:
            moved_pct = self._anchor.expected_pct - self._anchor.pct
            self._count = EnergyTrack(memory.counted_pct + moved_pct)

    def add(self, moved: Moved) -> None:
        """Energy has moved."""
        candidate = None if self._candidate is None else self._candidate.track
        for track in (self._anchor, self._lasting, self._segment, self._before, self._count, candidate):
            if track is not None:
                track.add(moved)

    def judge(self, reported_pct: float, sample_s: float, mono_s: float, limits: BmsLimits) -> SocJudgement:
        """Judge a report read at `sample_s`."""
        self._now_s = mono_s
        pct, anchor = soc_of(reported_pct), self._anchor
        if pct is None:
            doubt = Reason("doubt.soc_range", {"reported_pct": reported_pct, "most_pct": FULL_UP_TO_PCT})
            return self._reject(mono_s, doubt)
        if anchor is None or self._starts_anew(anchor, pct, sample_s):
            return self._start(pct, sample_s, limits)
        if self._count is not None and self._returned(pct, anchor, self._count):
            self._restart(pct)
            return self._believe(pct, limits, Reason("soc.as_counted", {"reported_pct": pct}))
        if self._fits(pct, anchor):
            return self._believe(pct, limits, self._follow(pct))
        if self._before is not None and self._before.explains(pct, SLACK_PCT) and not self._shows_end(limits):
            self._restart(pct)
            return self._believe(pct, limits, Reason("soc.jump_was_none", {"reported_pct": pct}))
        if self._confirmed(pct, sample_s, mono_s, anchor, limits):
            return self._recalibrate(pct, anchor, limits)
        return self._reject(mono_s, Reason("doubt.soc", {"reported_pct": pct, "expected_pct": anchor.expected_pct}))

    # ── what fits ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _starts_anew(self, anchor: EnergyTrack, pct: float, sample_s: float) -> bool:
        """Whether this report disagrees with the first before another has agreed with that."""
        if self._samples >= AGREEING_SAMPLES:
            return False
        if not anchor.explains(pct, SLACK_PCT):
            return True
        if sample_s - self._sample_s >= REFRESH_S:
            self._samples, self._sample_s = self._samples + 1, sample_s
        return False

    def _start(self, pct: float, sample_s: float, limits: BmsLimits) -> SocJudgement:
        self._samples, self._sample_s = 1, sample_s
        self._restart(pct)
        self._alone = True
        kept, self._kept = self._kept, None
        if kept is not None and abs(kept.reported_pct - pct) < SAME_PCT:  # it still stands still
            self._count = EnergyTrack(kept.counted_pct)
        return self._believe(pct, limits)

    def _fits(self, pct: float, anchor: EnergyTrack) -> bool:
        """A report that stands still is known not to follow: energy explains nothing of it."""
        if self._count is not None:
            return abs(pct - anchor.pct) <= SLACK_PCT + anchor.unknown_pct
        lasting = self._lasting is None or self._lasting.explains(pct, DRIFT_PCT)
        return lasting and anchor.explains(pct, SLACK_PCT)

    @staticmethod
    def _returned(pct: float, anchor: EnergyTrack, count: EnergyTrack) -> bool:
        """Whether a report that stood still is now where the energy says."""
        return pct != anchor.pct and abs(pct - count.expected_pct) <= SLACK_PCT + count.blur_pct

    def _believe(self, pct: float, limits: BmsLimits, news: Reason | None = None) -> SocJudgement:
        self._candidate = self._rejected_since_s = None
        if self._anchor is None or pct != self._anchor.pct or self._anchor.unknown_pct > 0:
            self._anchor, self._limits = EnergyTrack(pct), limits
        if self._lasting is None or self._now_s - self._lasting_s >= CONFIRM_S:
            self._lasting, self._lasting_s = EnergyTrack(pct), self._now_s
        if self._alone and self._shows_end(limits):
            self._alone = False
        if self._count is not None:
            low_pct, high_pct = sorted((pct, self._count.expected_pct))
            return SocJudgement(low_pct, high_pct, "stands_still", self._counted_pct, news)
        return SocJudgement(pct, pct, "alone" if self._alone else "reported", self._counted_pct, news)

    @property
    def _unconfirmed(self) -> EnergyTrack | None:
        """The account from before a jump that only the report tells of."""
        return self._before if self._alone else None

    @property
    def _counted_pct(self) -> float | None:
        return None if self._unconfirmed is None else self._unconfirmed.expected_pct

    def _shows_end(self, limits: BmsLimits) -> bool:
        """Whether the limits say what the last jump says."""
        return limits.ends(self._usual, self._low_share, self._down)

    def _restart(self, pct: float) -> None:
        """Begin the account anew with a report that energy confirms."""
        self._segment, self._before, self._alone, self._count = EnergyTrack(pct), None, False, None
        self._lasting = None

    # ── does it follow ──────────────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, pct: float) -> Reason | None:
        """Look whether the SoC follows the energy; what there is to tell."""
        segment, count = self._segment, self._count
        if count is None and not segment.explains(pct, END_PCT):
            self._doubt(pct, segment)
            return None
        sure_pct, net_pct = segment.sure_pct, segment.net_pct
        if sure_pct < FOLLOWED_PCT:
            vague = segment.blur_pct + segment.unknown_pct >= FOLLOWED_PCT
            if vague or (sure_pct <= 0 and pct != segment.pct):  # or it moves at rest, which tells nothing
                self._segment = EnergyTrack(pct)
            return None
        if self._follows(segment, pct):
            self._restart(pct)
            if count is None:
                return None
            return Reason("soc.moves_again", {"reported_pct": pct, "counted_pct": count.expected_pct})
        if count is None and sure_pct >= STUCK_PCT + _rest_pct(segment, pct):
            self._count = EnergyTrack((self._unconfirmed or segment).expected_pct)
            way = Reason("soc.charged") if net_pct > 0 else Reason("soc.discharged")
            return Reason(
                "soc.stands_still",
                {"reported_pct": pct, "from_pct": segment.pct, "moved_pct": abs(net_pct), "way": way},
            )
        if count is not None:
            self._segment = EnergyTrack(pct)
        return None

    def _follows(self, segment: EnergyTrack, pct: float) -> bool:
        if self._unconfirmed is not None and pct <= ENDS_PCT[0]:  # a doubted report that has sunk to 0 shows nothing
            return False
        return segment.toward_pct(pct) >= max(FOLLOW_PCT, FOLLOW_SHARE * abs(segment.net_pct))

    def _doubt(self, pct: float, before: EnergyTrack) -> None:
        """It has gone further than energy explains, in steps that were each small enough to be believed."""
        self._segment = EnergyTrack(pct)
        if self._unconfirmed is not None:  # the account from before the first step still counts
            return
        self._alone, self._before, self._down = True, before, pct < before.expected_pct
        if self._limits is not None:
            self._usual, self._low_share = self._limits, FALL_SHARE

    # ── what does not fit ───────────────────────────────────────────────────────────────────────────────────────────

    def _confirmed(self, pct: float, sample_s: float, mono_s: float, anchor: EnergyTrack, limits: BmsLimits) -> bool:
        """Whether reports that agree with each other have stood long enough, or a witness agrees."""
        candidate = self._candidate
        if candidate is None or not candidate.track.explains(pct, SLACK_PCT):
            self._candidate = _Candidate(EnergyTrack(pct), mono_s, sample_s)
            return False
        if sample_s - candidate.sample_s >= REFRESH_S:
            candidate.samples, candidate.sample_s = candidate.samples + 1, sample_s
        if candidate.samples >= AGREEING_SAMPLES and self._witnessed(pct, anchor, limits):
            return True
        return candidate.samples >= CONFIRM_SAMPLES and mono_s - candidate.since_s >= CONFIRM_S

    def _witnessed(self, pct: float, anchor: EnergyTrack, limits: BmsLimits) -> bool:
        return self._limits is not None and limits.ends(self._limits, FALL_SHARE, down=pct < anchor.expected_pct)

    def _recalibrate(self, pct: float, anchor: EnergyTrack, limits: BmsLimits) -> SocJudgement:
        usual, witnessed = self._limits, self._witnessed(pct, anchor, limits)
        before = (
            self._unconfirmed or anchor
        )  # of two jumps in a row the account before both: the first is not confirmed
        self._restart(pct)
        self._alone, self._before, self._down = not witnessed, before, pct < before.expected_pct
        if usual is not None:
            self._usual, self._low_share = usual, FALL_SHARE
        by = Reason("soc.by_limits") if witnessed else Reason("soc.by_reports", {"for_s": CONFIRM_S})
        return self._believe(
            pct,
            limits,
            Reason("soc.recalibrated", {"reported_pct": pct, "expected_pct": before.expected_pct, "by": by}),
        )

    def _reject(self, mono_s: float, doubt: Reason) -> SocJudgement:
        if self._rejected_since_s is None:
            self._rejected_since_s = mono_s
        anchor, count = self._anchor, self._count
        if anchor is None or mono_s - self._rejected_since_s > REJECT_S:
            return SocJudgement(None, None, "rejected", self._counted_pct, doubt=doubt)
        carried = [anchor.expected_pct] if count is None else [anchor.pct, count.expected_pct]
        return SocJudgement(min(carried), max(carried), "carried", self._counted_pct, doubt=doubt)


def _rest_pct(segment: EnergyTrack, pct: float) -> float:
    """Points more for a BMS that rests: at its ends, and while it charges slowly towards full."""
    low_pct, high_pct = sorted((segment.pct, pct))
    tapers = segment.net_pct > 0 and high_pct >= TAPER_PCT
    return END_PCT if low_pct <= ENDS_PCT[0] or high_pct >= ENDS_PCT[1] or tapers else 0.0


class SocCheck:
    """Checks the SoC of every battery of the site file, each on its own."""

    def __init__(self, config: DispatchConfig) -> None:
        self._configs = {b.id: b for b in config.batteries}
        self._pcs = {b.id: tuple(p for p in config.pcs if p.battery == b.id) for b in config.batteries}
        self._meters = {name: EnergyMeter(b, self._pcs[name]) for name, b in self._configs.items()}
        self._followed = {name: BatterySoc(_rated(pcs)) for name, pcs in self._pcs.items()}
        self.histories = {name: ReadingHistory(name, "SoC") for name in self._configs}  # what was rejected
        self.news: list[Event] = []  # what else there is to log, since the caller last took it

    def memory(self) -> dict[str, SocMemory]:
        """What to keep for a restart, by battery."""
        found = {name: soc.memory() for name, soc in self._followed.items()}
        return {name: memory for name, memory in found.items() if memory is not None}

    def restore(self, memory: Mapping[str, SocMemory]) -> None:
        """Take over what was kept; call before the first step."""
        for name, kept in memory.items():
            if name in self._followed:
                self._followed[name].restore(kept)

    def recover(self, memory: Mapping[str, SocMemory]) -> None:
        """Join what was kept, and could not be read before the first step."""
        for name, kept in memory.items():
            if name in self._followed:
                self._followed[name].recover(kept)

    def check(self, snapshot: Snapshot) -> tuple[Battery, ...]:
        """The batteries with what their SoC is worth."""
        return tuple(self._checked(battery, snapshot) for battery in snapshot.batteries)

    def _checked(self, battery: Battery, snapshot: Snapshot) -> Battery:
        if battery.id not in self._followed:
            return battery
        followed, soc, mono_s = self._followed[battery.id], battery.soc_pct, snapshot.mono_s
        followed.add(self._meters[battery.id].update(self._power_w(battery.id, snapshot), mono_s))
        reported_pct = soc.good
        if reported_pct is None:
            return battery
        sample_s = mono_s - (soc.age_s or 0.0)
        judged = followed.judge(reported_pct, sample_s, mono_s, _limits(self._configs[battery.id], battery))
        if judged.doubt is not None:
            self.histories[battery.id].reject(mono_s, judged.doubt)
        elif judged.low_pct is not None:
            self.histories[battery.id].accept(judged.low_pct, sample_s)
        if judged.news is not None:
            self.news.append(Event(snapshot.utc_s, "device", "warning", battery.id, words(judged.news)))
        return _with_soc(battery, judged)

    def _power_w(self, battery_id: str, snapshot: Snapshot) -> float | None:
        """AC power of all PCS of a battery; None as soon as one is not known."""
        read = {p.id: p.w for p in snapshot.pcs}
        return total(read.get(p.id, MISSING) for p in self._pcs[battery_id])


def _rated(pcs: tuple[PcsRatings, ...]) -> BmsLimits:
    return BmsLimits(sum(p.charge_w for p in pcs), sum(p.discharge_w for p in pcs), low_cell=False)


def _limits(config: BatteryConfig, battery: Battery) -> BmsLimits:
    """Limits near a temperature bound say nothing of the energy."""
    temp_c = battery.temp_c.good
    low_cell = any(alarm in LOW_CELL for alarm in battery.alarms)
    if temp_c is not None and not config.temp_min_c + MARGIN_K <= temp_c <= config.temp_max_c - MARGIN_K:
        return BmsLimits(None, None, low_cell)
    return BmsLimits(battery.charge_limit_w.good, battery.discharge_limit_w.good, low_cell)


def _with_soc(battery: Battery, judged: SocJudgement) -> Battery:
    soc = battery.soc_pct
    quality = Quality.SUSPECT if judged.state == "carried" else soc.quality
    low, high = (
        MISSING if pct is None else Reading(pct, soc.age_s, quality) for pct in (judged.low_pct, judged.high_pct)
    )
    return msgspec.structs.replace(
        battery,
        soc_pct=low,
        soc_high_pct=high if judged.high_pct != judged.low_pct else MISSING,
        soc_reported_pct=soc if judged.state in ("carried", "rejected", "stands_still") else MISSING,
        soc_counted_pct=MISSING if judged.counted_pct is None else Reading(judged.counted_pct, soc.age_s, soc.quality),
        soc_state=judged.state,
    )
