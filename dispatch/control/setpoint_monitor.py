"""Monitors whether each PCS holds its setpoint, by comparing the values read back with recent setpoints.

A value read back is wrong if it is none of the setpoints of the last `LATE_S` seconds, nor between them, or if the
setpoint is not enabled: a write may be under way, or a ramp. A single wrong value proves little, and another master
whose setpoints are overwritten at once shows in some values only. So the share of wrong values over `WINDOW_S` counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import Contested
from dispatch.model.equipment import Pcs
from dispatch.model.snapshot import Snapshot

LATE_S = 2.0
LATE_READBACKS = 2  # and at least this many readbacks: on a twin that runs fast they are seconds apart
WINDOW_S = 10.0
SHARE = 0.1  # a master that writes once a second shows in one of five readbacks at 5 Hz
LEAST = 3  # wrong readbacks


def tolerance_w(config: DispatchConfig, pcs_id: str) -> float:
    """How far a setpoint read back may be from the one asked: the deadband, and 1 % of rating for its resolution."""
    rated_w = max((max(p.charge_w, p.discharge_w) for p in config.pcs if p.id == pcs_id), default=0.0)
    return config.rules.deadband_w + 0.01 * rated_w


class _Track:
    def __init__(self) -> None:
        self.seen = 0
        self.asked: deque[tuple[float, int, float]] = deque()  # when, at which look, W
        self.readbacks: deque[tuple[float, bool]] = deque()  # when, whether wrong
        self.wrong_w: float | None = None  # held at the last wrong readback


class SetpointMonitor:
    """Fed once per tick with what the devices hold and what they are asked from now on."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self._tracks: dict[str, _Track] = {}
        self.looks: dict[str, tuple[bool, float]] = {}  # of the last update: whether it was wrong, and what was held, W

    def update(self, snapshot: Snapshot, asked: Mapping[str, float | None]) -> tuple[Contested, ...]:
        """Compare the value read back from each PCS with the setpoint asked before, then store the new setpoint.

        A PCS without a setpoint is not compared.
        """
        found = []
        self.looks = {}
        for pcs in snapshot.pcs:
            w = asked.get(pcs.id)
            if w is None or pcs.control.good == "local":
                self._tracks.pop(pcs.id, None)
                continue
            track = self._tracks.setdefault(pcs.id, _Track())
            self._judge(track, pcs, snapshot.mono_s)
            if not track.asked or track.asked[-1][2] != w:
                track.asked.append((snapshot.mono_s, track.seen, w))
            wrong = sum(1 for _, is_wrong in track.readbacks if is_wrong)
            if wrong >= LEAST and wrong > SHARE * len(track.readbacks) and track.wrong_w is not None:
                found.append(Contested(pcs.id, track.wrong_w, wrong / len(track.readbacks)))
        return tuple(found)

    def _judge(self, track: _Track, pcs: Pcs, mono_s: float) -> None:
        track.seen += 1
        before_s, before = mono_s - LATE_S, track.seen - LATE_READBACKS
        while len(track.asked) > 1 and track.asked[1][0] <= before_s and track.asked[1][1] <= before:
            track.asked.popleft()
        while track.readbacks and track.readbacks[0][0] <= mono_s - WINDOW_S:
            track.readbacks.popleft()
        held_w = pcs.setpoint_w.good
        if held_w is None or not track.asked or track.asked[0][0] > before_s or track.asked[0][1] > before:
            return
        late = [w for _, _, w in track.asked]
        room_w = tolerance_w(self._config, pcs.id)
        wrong = pcs.setpoint_enabled.good == 0 or not min(late) - room_w <= held_w <= max(late) + room_w
        track.readbacks.append((mono_s, wrong))
        self.looks[pcs.id] = wrong, held_w
        if wrong:
            track.wrong_w = held_w
