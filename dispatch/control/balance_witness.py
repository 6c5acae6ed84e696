"""What the balance of the site proves: load meter = grid meter + PCS + PV, each read at its own age.

A grid meter whose reading stands still while the balance moves away from it is frozen; a load meter likewise. The power
of a PCS that cannot be read is what is left of the balance; of several it is their sum. While the grid meter is frozen,
the net load is what the load meter shows less PV.

Meters show the past, each by a delay of which only bounds are known. So a step is in one meter at most
`window_s` = longest - shortest delay before it is in the other: only a difference that lasted longer counts. The
difference that the balance always has (losses, a part of the site that one meter does not see) is learnt while all
moves, and taken off.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.reading_history import figures_of

OFF_W, OFF_SHARE = 2_000.0, 0.08  # of the load: two meters of class 1, read at two moments, do not differ by more
SLACK_S = 0.2  # readings arrive a tick late
LEARN_S = 30.0  # how fast the balance's own difference is learnt
LEARN_W, LEARN_SHARE = 3_000.0, 0.10  # a larger difference is none of losses
STILL_S = 10.0  # every figure of a meter the same to the last digit for so long: it hangs
STEADY_S = 2.0  # a silent PCS's power is proven once the rest has been steady for so long
STEADY_W, STEADY_SHARE = 1_000.0, 0.04


class Unchanged(msgspec.Struct):
    """How long a reading, or several, have been the same, to the last digit."""

    value: object = None
    since_s: float = -math.inf

    def update(self, value: object, mono_s: float) -> None:
        """Take in a reading."""
        if value != self.value:
            self.value, self.since_s = value, mono_s


class BalanceWitness:
    """Fed once per tick. On a site without a load meter nothing is ever proven."""

    def __init__(self, delay_min_s: float, delay_max_s: float) -> None:
        self._window_s = delay_max_s - delay_min_s + SLACK_S
        self._grid, self._load = Unchanged(), Unchanged()
        self._load_figures = Unchanged()  # all that the load meter shows
        self._bias_w: float | None = None
        self._agreed_s = 0.0  # for how long the balance has closed
        self._off: deque[tuple[float, float]] = deque()  # mono_s, load - pv - pcs - grid - bias
        self._rest: deque[tuple[float, float]] = deque()  # mono_s, what the silent PCS do together, W
        self._silent: tuple[str, ...] = ()  # the PCS that cannot be read
        self._load_w = 0.0
        self._last_s: float | None = None
        self.grid_frozen = self.load_frozen = False

    def update(self, snapshot: Snapshot) -> None:
        """Take in a snapshot of a site on the grid."""
        now_s = snapshot.mono_s
        grid_w = snapshot.grid.w.good
        load_w = None if snapshot.load is None else snapshot.load.w.good
        self._grid.update(grid_w, now_s)
        self._load.update(load_w, now_s)
        self._load_figures.update(None if snapshot.load is None else figures_of(snapshot.load), now_s)
        dt_s = 0.0 if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        self.grid_frozen = self.grid_frozen and self._grid.since_s < now_s
        self.load_frozen = self.load_frozen and self._load.since_s < now_s
        if grid_w is None or load_w is None or snapshot.pv_w is None:
            self._off.clear()
            self._rest.clear()
            return
        site_w = load_w - grid_w - snapshot.pv_w
        self._note_rest(snapshot, site_w, load_w)
        if snapshot.pcs_w is None:
            self._off.clear()
            return
        self._compare(now_s, dt_s, site_w - snapshot.pcs_w, load_w)

    def _compare(self, now_s: float, dt_s: float, off_w: float, load_w: float) -> None:
        allowed_w = max(OFF_W, OFF_SHARE * abs(load_w))
        if self._bias_w is None:
            self._bias_w = off_w if abs(off_w) <= max(LEARN_W, LEARN_SHARE * abs(load_w)) else 0.0
        off_w -= self._bias_w
        self._off.append((now_s, off_w))
        while len(self._off) > 1 and self._off[1][0] <= now_s - self._window_s:
            self._off.popleft()
        if self._lasting(now_s, allowed_w):
            still_s, grid_s, load_s = now_s - self._window_s, self._grid.since_s, self._load.since_s
            self.grid_frozen = self.grid_frozen or grid_s <= min(still_s, load_s - 1e-6)
            self.load_frozen = self.load_frozen or load_s <= min(still_s, grid_s - 1e-6)
        elif abs(off_w) <= allowed_w and not (self.grid_frozen or self.load_frozen):
            self._bias_w += off_w * min(dt_s / LEARN_S, 1.0)
            self._agreed_s += dt_s

    def _lasting(self, now_s: float, allowed_w: float) -> bool:
        """Whether the balance has been off, to one side, for longer than delays explain."""
        powers = [w for _, w in self._off]
        whole = now_s - self._off[0][0] >= self._window_s - 1e-6
        return whole and (min(powers) > allowed_w or max(powers) < -allowed_w)

    def net_load_w(self, snapshot: Snapshot) -> float | None:
        """Load less PV by the load meter, as the grid meter would show it, W; None where that is not proven."""
        load_w = None if snapshot.load is None else snapshot.load.w.confirmed
        pv_w = [pv.w.confirmed for pv in snapshot.pv]
        hangs = self.load_frozen or snapshot.mono_s - self._load_figures.since_s > STILL_S
        if hangs or load_w is None or self._bias_w is None or self._agreed_s < LEARN_S or None in pv_w:
            return None
        return load_w - sum(w for w in pv_w if w is not None) - self._bias_w

    # ── PCS that cannot be read ─────────────────────────────────────────────────────────────────────────────────────

    def _note_rest(self, snapshot: Snapshot, site_w: float, load_w: float) -> None:
        """What the balance leaves for the PCS that are silent."""
        known = [pcs.w.good for pcs in snapshot.pcs if pcs.w.good is not None]
        silent = tuple(pcs.id for pcs in snapshot.pcs if pcs.w.good is None)
        if silent != self._silent or self.grid_frozen or self.load_frozen:
            self._rest.clear()
        self._silent = silent
        if not self._silent or self.grid_frozen or self.load_frozen:
            return
        self._load_w = load_w
        self._rest.append((snapshot.mono_s, site_w - sum(known) - (self._bias_w or 0.0)))
        while self._rest[0][0] < snapshot.mono_s - STEADY_S - SLACK_S:
            self._rest.popleft()

    @property
    def proven_w(self) -> dict[str, float]:
        """The power of the PCS that cannot be read, W, by its id; empty while the balance does not prove it.

        Of several only the sum is proven: each has an equal share of it.
        """
        if not self._rest or self._rest[-1][0] - self._rest[0][0] < STEADY_S - 1e-6:
            return {}
        powers = [w for _, w in self._rest]
        if max(powers) - min(powers) > max(STEADY_W, STEADY_SHARE * abs(self._load_w)):
            return {}
        return dict.fromkeys(self._silent, sum(powers) / len(powers) / len(self._silent))
