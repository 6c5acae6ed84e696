"""Estimates the net load (load minus PV) at the PCC from a late grid reading and the history of PCS power.

A grid reading taken at `t` shows the PCC at some `t - d`; of the delay only `delay_min_s <= d <= delay_max_s` is
known. The PCS power at that instant lies between the smallest and the largest PCS power over
`[t - delay_max_s, t - delay_min_s]`, so the net load then lies in

    [grid_w + min(pcs_w), grid_w + max(pcs_w)]

The estimate is the previous one, projected on that band (a play operator). A projection on a set that contains the true
value never increases the error; so with a constant net load the estimate approaches it from one side, whatever the
delay within its bounds and whatever the PCS does. While the PCS moves, the band is wide and the estimate does not
change; when it rests, the band shrinks to the sum of two readings. There is no integrator, so nothing winds up or
oscillates.

A frozen meter would make the estimate run away with the PCS. So a grid reading that stays the same to the last digit,
while the PCS moved by more than `FROZEN_W` well over `delay_max_s` ago, is not used until it changes. A meter of coarse
resolution (learnt: the smallest change seen) may stand still while the PCS slowly follows the load; there only the
movement of the last `COARSE_S` counts. While the PCS rests, all values of the meter are compared: power, voltages,
currents and frequency of a live grid never stand still together (`Standstill`). Where the site has a load meter, the
balance shows a frozen meter, of the two the one that stands still, and the power of a PCS that cannot be read
(`balance_witness`).

A meter on the grid's side of an open switch can only read 0. One that reads anything else once its delay has passed is
contradicted by the switch's contacts: frozen, until its reading changes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Set

import msgspec

from dispatch.control.balance_witness import STILL_S, BalanceWitness, Unchanged
from dispatch.control.proven_behaviour import Response
from dispatch.model.equipment import Meter, Pcs
from dispatch.model.readings import Quality, Reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.witnesses import MARGIN, MARGIN_S, window_s

# The fastest PCS we reckon with: how far it may have gone towards its setpoint since it was last read.
FASTEST_LAG_S = 0.1
# Grid readings older than this are not good any more in any driver; history is kept this much longer than the delay.
OLDEST_READING_S = 5.0
FROZEN_W = 1_000.0  # a meter hangs if it stands still while the PCS moved by this much
FROZEN_S = 1.0  # and this much longer ago than its delay explains
COARSE_W = 10.0  # a meter that counts in steps of this or more can stand still while import is held,
COARSE_S = 10.0  # so there the PCS must have moved within this time
COARSE_STEPS = 5.0  # and by this many steps
OPEN_W = 500.0  # behind an open switch a meter reads no more than its own error
STILL_FACTOR = 5.0  # a meter that stands still for `STILL_S` hangs, unless it did for a share of it before and went on


def reliable_snapshot(snapshot: Snapshot, frozen: bool, load_frozen: bool = False) -> Snapshot:
    """What may be relied on, learnt from and recorded: a frozen meter's power is kept for display only (STALE).

    So import is no sample of anything, and a load by balance is not known.
    """
    replace = msgspec.structs.replace
    if frozen and snapshot.grid.w.good is not None:
        snapshot = replace(snapshot, grid=_stale(snapshot.grid))
    if load_frozen and snapshot.load is not None and snapshot.load.w.good is not None:
        snapshot = replace(snapshot, load=_stale(snapshot.load))
    return snapshot


def _stale(meter: Meter) -> Meter:
    return msgspec.structs.replace(meter, w=Reading(meter.w.value, meter.w.age_s, Quality.STALE))


class Band(msgspec.Struct, frozen=True):
    """Where the net load lies for certain, W."""

    low_w: float
    high_w: float


class PcsTrack:
    """What one PCS did and was asked to do in the last seconds, in site monotonic time."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._asked: deque[tuple[float, float]] = deque()
        self.lag_s = FASTEST_LAG_S  # it is no faster than this

    def sample(self, t_s: float, w: float) -> None:
        """Remember a power reading taken at `t_s`; a reading seen before is ignored."""
        if not self._samples or t_s > self._samples[-1][0] + 1e-6:
            self._samples.append((t_s, w))

    def asked(self, t_s: float, w: float) -> None:
        """Remember a setpoint sent at `t_s`."""
        if not self._asked or self._asked[-1][1] != w:
            self._asked.append((t_s, w))

    def forget(self, before_s: float) -> None:
        """Drop what is older than `before_s`, except the newest entry before it, which still holds then."""
        for queue in (self._samples, self._asked):
            while len(queue) > 1 and queue[1][0] <= before_s:
                queue.popleft()

    def first_from(self, t_s: float) -> float | None:
        """The first power read at or after `t_s`."""
        return next((w for at_s, w in self._samples if at_s >= t_s), None)

    def last_until(self, t_s: float, from_s: float) -> float | None:
        """The last power read at or before `t_s`, but not before `from_s`."""
        return next((w for at_s, w in reversed(self._samples) if from_s <= at_s <= t_s), None)

    def power_range(self, from_s: float, to_s: float, readable: bool) -> Band | None:
        """Smallest and largest power over [from_s, to_s]; None when nothing is known of this PCS.

        Between two samples the power is taken to lie between them, so the samples that bracket the window belong to it
        (one from before `OLDEST_READING_S` says nothing of the window, when there is a newer one).
        After the last one it may have moved towards its setpoints, or gone on as it went. A PCS that cannot be
        read may be anywhere between its last power, its setpoints and 0 (it may have reverted or tripped).
        """
        if not self._samples:
            return None
        inside = self._sampled(from_s, to_s)
        gap_s = to_s - self._samples[-1][0]
        if gap_s > 0:
            inside.extend(self._possible_powers(gap_s))
        if not readable:
            inside.append(0.0)
            inside.extend(w for _, w in self._asked)
        return Band(min(inside), max(inside))

    def _sampled(self, from_s: float, to_s: float) -> list[float]:
        """The powers sampled in the window, and by the samples that bracket it."""
        before = [(t_s, w) for t_s, w in self._samples if t_s < from_s]
        since = [(t_s, w) for t_s, w in self._samples if t_s >= from_s]
        inside = [w for t_s, w in since if t_s < to_s] + [w for t_s, w in since if t_s >= to_s][:1]
        if not before:
            return inside
        newest_s, newest_w = before[-1]
        brackets = not since or (since[0][0] > from_s and from_s - newest_s <= OLDEST_READING_S)
        return [newest_w, *inside] if brackets else inside

    def _possible_powers(self, gap_s: float) -> list[float]:
        """Powers it may have reached `gap_s` after the last sample."""
        last_s, last_w = self._samples[-1]
        share = 1.0 - math.exp(-gap_s / self.lag_s)
        since = [w for t_s, w in self._asked if t_s >= last_s] + [w for t_s, w in self._asked if t_s < last_s][-1:]
        reached = [last_w + share * (w - last_w) for w in since]
        if len(self._samples) > 1:
            before_s, before_w = self._samples[-2]
            reached.append(last_w + (last_w - before_w) * min(gap_s / (last_s - before_s), 1.0))
        return reached


class Standstill:
    """Detects a meter of which no value changes any more: power, and at least voltage and frequency.

    A meter of coarse resolution shows by itself how long it may: longer than it did so far by `STILL_FACTOR`.
    """

    def __init__(self) -> None:
        self._since: tuple[float, tuple[float | None, ...]] | None = None
        self._longest_s = 0.0

    def clear(self) -> None:
        """Look anew; how long this meter may stand still is remembered."""
        self._since = None

    def update(self, meter: Meter, taken_s: float) -> bool:
        """Take in a reading taken at `taken_s`, site time."""
        figures = tuple(r.good for r in (meter.w, meter.hz, *meter.v, *meter.a, meter.import_wh, meter.export_wh))
        if meter.hz.good is None or not any(v.good is not None for v in meter.v):
            self._since = None
            return False
        if self._since is None or self._since[1] != figures:
            if self._since is not None:
                self._longest_s = max(self._longest_s, taken_s - self._since[0])
            self._since = (taken_s, figures)
        return taken_s - self._since[0] > max(STILL_S, STILL_FACTOR * self._longest_s)


class NetLoadEstimator:
    """The estimate and the history it needs.

    may_hang: False where readings are those of a replay, minutes apart: there the same import twice is what holding it
    looks like, to the last digit. site_side: meters on the site's side of the switch.
    """

    def __init__(
        self,
        delay_min_s: float,
        delay_max_s: float,
        pcs_ids: Iterable[str],
        may_hang: bool = True,
        site_side: Set[str] = frozenset(),
    ) -> None:
        self._may_hang = may_hang
        self._delay_min_s = max((1 - MARGIN) * delay_min_s - MARGIN_S, 0.0)
        self._delay_max_s = window_s(delay_max_s)
        self._tracks: dict[str, PcsTrack] = {pcs_id: PcsTrack() for pcs_id in pcs_ids}
        self.w: float | None = None  # the estimate, W; None until there was one
        self.band: Band | None = None  # of the latest good grid reading
        self._hung = False  # the grid meter answers, but its reading does not follow the PCS
        self._still, self._standstill = False, Standstill()
        self._step_w = math.inf  # the smallest change of the reading seen: at least the meter's resolution
        self._same: tuple[float, float] | None = None  # since when (site time) the reading has had this value
        self._anchor: dict[str, float] = {}  # what each PCS did when it began to
        self._site_side, self._unchanged = site_side, Unchanged()
        self._witness = BalanceWitness(self._delay_min_s, self._delay_max_s)
        self._site_delay_max_s = self._delay_max_s
        self._windows: dict[str, tuple[float, float]] = {}  # of PCS whose own were proven
        self.open_since_s: float | None = None  # since when every switch at the PCC is open, by its contacts
        self._contradicted_w: float | None = None  # the reading that an open switch showed to be wrong

    def use(self, proven: Mapping[str, Response]) -> None:
        """Reckon with what was proven of these PCS; of the others with the site's delays and the fastest lag.

        Nothing is looked for in a shorter history than before: the frozen meter is found by the longest delay.
        """
        self._windows = {
            id: (max((1 - MARGIN) * r.delay_min_s - MARGIN_S, 0.0), window_s(r.delay_max_s)) for id, r in proven.items()
        }
        self._delay_max_s = max([self._site_delay_max_s, *(high for _, high in self._windows.values())])
        for id, track in self._tracks.items():
            track.lag_s = max(FASTEST_LAG_S, proven[id].lag_s) if id in proven else FASTEST_LAG_S

    def restart(self) -> None:
        """Hold nothing against the grid meter: behind an open switch it stands at 0 whatever the PCS does.

        The estimate stays. A load goes on while the switch opens and closes, and the band holds it then as well; its
        middle does not: it moves with the age of the PCS reading and with what was asked before the switch opened.
        """
        self.band = self._same = None
        self._hung = self._still = False
        self._standstill.clear()

    @property
    def frozen(self) -> bool:
        """The grid meter answers, but what it says stands still, or cannot be."""
        return self._hung or self._still or self._witness.grid_frozen or self._contradicted_w is not None

    @property
    def frozen_since_s(self) -> float:
        """Since when the grid meter's reading has been the same, mono_s."""
        return self._unchanged.since_s

    @property
    def load_meter_frozen(self) -> bool:
        """The load meter stands still while the balance of the others moves."""
        return self._witness.load_frozen

    @property
    def proven_pcs_w(self) -> dict[str, float]:
        """The power of a PCS that cannot be read, by its id, where the meters prove it."""
        return self._witness.proven_w

    def asked(self, mono_s: float, pcs_id: str, w: float) -> None:
        """Remember that `pcs_id` was asked for `w` at `mono_s`."""
        self._tracks.setdefault(pcs_id, PcsTrack()).asked(mono_s, w)

    def update(self, snapshot: Snapshot) -> float | None:
        """Take in a snapshot. Return the estimate, W; None without a good grid reading or with a PCS never read."""
        grid_w = snapshot.grid.w.good
        self._unchanged.update(grid_w, snapshot.mono_s)
        self._update_contradicted(snapshot, grid_w)
        if self._may_hang and self.open_since_s is None:
            self._witness.update(snapshot)
        proven_w = self.proven_pcs_w
        for pcs in snapshot.pcs:
            self._take(snapshot.mono_s, pcs, proven_w.get(pcs.id))
        if grid_w is None:
            self.band = None
            self._standstill.clear()
            return None
        taken_s = snapshot.mono_s - (snapshot.grid.w.age_s or 0.0)
        self._still = self._standstill.update(snapshot.grid, taken_s)
        if (self._may_hang and self._update_hung(grid_w, taken_s)) or self.frozen:
            self.band = None
            return None
        band = self._band(snapshot, grid_w, taken_s)
        self.band = band
        if band is None:
            return None
        if self.w is None:
            self.w = (band.low_w + band.high_w) / 2
        self.w = min(max(self.w, band.low_w), band.high_w)
        return self.w

    def by_load_meter_w(self, snapshot: Snapshot) -> float | None:
        """The net load by load meter and PV while the grid meter is frozen on a closed switch, W; None: not proven."""
        if not self.frozen or self.open_since_s is not None or self._contradicted_w is not None:
            return None
        return self._witness.net_load_w(snapshot)

    def import_by_others_w(self, snapshot: Snapshot) -> float | None:
        """The import by what is not the grid meter: none behind an open switch, else by load meter, PCS and PV."""
        if self.open_since_s is not None:
            return 0.0
        if snapshot.load is None or self.load_meter_frozen:
            return None
        load_w = snapshot.load.w.confirmed
        given = [pcs.w.confirmed for pcs in snapshot.pcs] + [pv.w.confirmed for pv in snapshot.pv]
        known = [w for w in given if w is not None]
        return None if load_w is None or len(known) < len(given) else load_w - sum(known)

    def _update_hung(self, grid_w: float, taken_s: float) -> bool:
        """Whether the reading has stood still while the PCS moved."""
        if self._same is None or self._same[1] != grid_w:
            if self._same is not None:
                self._step_w = min(self._step_w, abs(grid_w - self._same[1]))
            self._same, self._anchor, self._hung = (taken_s, grid_w), {}, False
            return False
        moved_w = 0.0
        for pcs_id, track in self._tracks.items():
            if pcs_id not in self._anchor:
                first_w = track.first_from(self._same[0])
                if first_w is None:
                    continue
                self._anchor[pcs_id] = first_w
            last_w = track.last_until(taken_s - self._delay_max_s - FROZEN_S, self._same[0])
            moved_w += 0.0 if last_w is None else last_w - self._anchor[pcs_id]
        self._hung = self._hung or abs(moved_w) > max(FROZEN_W, COARSE_STEPS * self._coarse_w)
        if not self._hung and self._coarse_w and taken_s - self._same[0] > self._delay_max_s + FROZEN_S + COARSE_S:
            self._same, self._anchor = (taken_s, grid_w), {}
        return self._hung

    @property
    def _coarse_w(self) -> float:
        """The meter's resolution where it is coarse enough to hide a held import; 0 for a fine one."""
        if math.isinf(self._step_w):
            return COARSE_W  # it has not changed yet
        return self._step_w if self._step_w >= COARSE_W else 0.0

    def _update_contradicted(self, snapshot: Snapshot, grid_w: float | None) -> None:
        """Hold a reading against the switch's contacts."""
        if not snapshot.switches or not all(switch.isolates for switch in snapshot.switches):
            self.open_since_s = None
        elif self.open_since_s is None:
            self.open_since_s = snapshot.mono_s
        late = self.open_since_s is not None and snapshot.mono_s - self.open_since_s > self._delay_max_s
        if grid_w is not None and late and snapshot.grid.id not in self._site_side and abs(grid_w) > OPEN_W:
            self._contradicted_w = grid_w
        elif grid_w is not None and grid_w != self._contradicted_w:
            self._contradicted_w = None

    def _take(self, mono_s: float, pcs: Pcs, proven_w: float | None) -> None:
        track = self._tracks.setdefault(pcs.id, PcsTrack())
        w = pcs.w.confirmed  # what is doubted is held from a sample that is in the track, or was never believed
        if w is not None:
            track.sample(mono_s - (pcs.w.age_s or 0.0), w)
        elif pcs.w.good is None and proven_w is not None:
            track.sample(mono_s, proven_w)
        track.forget(mono_s - self._delay_max_s - OLDEST_READING_S)

    def _band(self, snapshot: Snapshot, grid_w: float, taken_s: float) -> Band | None:
        low = high = grid_w
        readable = {pcs.id for pcs in snapshot.pcs if pcs.w.good is not None} | self.proven_pcs_w.keys()
        for pcs_id, track in self._tracks.items():
            least_s, most_s = self._windows.get(pcs_id, (self._delay_min_s, self._site_delay_max_s))
            span = track.power_range(taken_s - most_s, taken_s - least_s, pcs_id in readable)
            if span is None:
                return None
            low += span.low_w
            high += span.high_w
        return Band(low, high)
