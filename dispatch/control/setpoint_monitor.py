"""Monitors whether each PCS holds its setpoint, by comparing the values read back with recent setpoints.

A value read back is wrong if it is none of the setpoints of the last `LATE_S` seconds, nor between them, or if the
setpoint is not enabled: a write may be under way, or a ramp. A single wrong value proves little, and another master
whose setpoints are overwritten at once shows in some values only. So the share of wrong values over `WINDOW_S` counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import Contested
from dispatch.model.equipment import Battery, Pcs
from dispatch.model.snapshot import Snapshot

LATE_S = 2.0
LATE_READBACKS = 2  # and at least this many readbacks: on a twin that runs fast they are seconds apart
SLOW_S = 10.0  # a setpoint of ours that is so old may still be on its way: the sender gives up after as long
WINDOW_S = 10.0
SHARE = 0.1  # a master that writes once a second shows in one of five readbacks at 5 Hz
LEAST = 3  # wrong readbacks
ROUNDED = 0.1  # of its rating: a PCS may round so far; another controller that asks hardly anything else does no harm
UNUSUAL = frozenset({"off", "starting", "throttled", "shutting_down", "fault"})  # states in which a PCS may set its own


def tolerance_w(config: DispatchConfig, pcs_id: str, share: float = 0.01) -> float:
    """How far a setpoint read back may be from the one asked: the deadband, and 1 % of rating for its resolution."""
    rated_w = max((max(p.charge_w, p.discharge_w) for p in config.pcs if p.id == pcs_id), default=0.0)
    return config.rules.deadband_w + share * rated_w


class Look(msgspec.Struct, frozen=True):
    """What one readback tells of who commands the PCS; neither: it may be late, or hold it by itself."""

    ours: bool  # it holds the setpoint asked last
    another: bool  # it holds one far from all that were asked for in `SLOW_S`, and says nothing that explains it
    held_w: float


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
        self.looks: dict[str, Look] = {}  # of the last update

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
            self._judge(track, pcs, snapshot)
            if not track.asked or track.asked[-1][2] != w:
                track.asked.append((snapshot.mono_s, track.seen, w))
            wrong = sum(1 for _, is_wrong in track.readbacks if is_wrong)
            if wrong >= LEAST and wrong > SHARE * len(track.readbacks) and track.wrong_w is not None:
                found.append(Contested(pcs.id, track.wrong_w, wrong / len(track.readbacks)))
        return tuple(found)

    def _judge(self, track: _Track, pcs: Pcs, snapshot: Snapshot) -> None:
        mono_s = snapshot.mono_s
        track.seen += 1
        before_s, before = mono_s - LATE_S, track.seen - LATE_READBACKS
        while len(track.asked) > 1 and track.asked[1][0] <= mono_s - SLOW_S and track.asked[1][1] <= before:
            track.asked.popleft()
        while track.readbacks and track.readbacks[0][0] <= mono_s - WINDOW_S:
            track.readbacks.popleft()
        held_w = pcs.setpoint_w.good
        if held_w is None or not track.asked or track.asked[0][0] > before_s or track.asked[0][1] > before:
            return
        asked = [w for _, _, w in track.asked]
        # the last of them that is older than the latest ones is still among these
        older = sum(1 for at_s, look, _ in track.asked if at_s <= before_s and look <= before)
        late = asked[older - 1 :]
        room_w = tolerance_w(self._config, pcs.id)
        disabled = pcs.setpoint_enabled.good == 0
        wrong = disabled or not min(late) - room_w <= held_w <= max(late) + room_w
        track.readbacks.append((mono_s, wrong))
        ours = not disabled and abs(held_w - asked[-1]) <= room_w
        far_w = tolerance_w(self._config, pcs.id, ROUNDED)
        known = disabled or min(asked) - far_w <= held_w <= max(asked) + far_w
        another = not known and not _by_itself(pcs, snapshot.batteries, asked[-1], held_w, room_w)
        self.looks[pcs.id] = Look(ours, another, held_w)
        if wrong:
            track.wrong_w = held_w


def _by_itself(pcs: Pcs, batteries: Sequence[Battery], asked_w: float, held_w: float, room_w: float) -> bool:
    """Whether the PCS says what explains that it holds another setpoint than the one asked, without anybody else.

    It forms, or does not run as usual; its timer ran out; or it holds a limit of its own or of a BMS that is lower.
    """
    if pcs.mode.good == "grid_forming" or pcs.state.good in UNUSUAL:
        return True
    to_w = pcs.revert_to_w.good
    if to_w is not None and abs(held_w - to_w) <= room_w and not pcs.revert_remaining_s.good:
        return True
    limited: list[Pcs | Battery] = [pcs, *batteries]
    limits = [each.discharge_limit_w if asked_w > held_w else each.charge_limit_w for each in limited]
    clipped_w = held_w if asked_w > held_w else -held_w
    return any(limit.good is not None and abs(clipped_w - limit.good) <= room_w for limit in limits)
