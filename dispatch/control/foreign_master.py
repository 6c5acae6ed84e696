"""Notices another controller that writes setpoints to the same PCS, and withholds ours from it.

Proof is that the device held our setpoint, and at most `FRESH_S` later one that we have not asked for and that nothing
it says of itself explains (`setpoint_monitor.Look`). A slow PCS holds an older one of ours; one that limits itself, or
whose timer ran out, says so; one that refuses a value never held it. Two masters that overwrite each other wear the PCS
and keep no limit, so after `OVERWRITES` of them ours stop, and are tried again after a time that doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dispatch.control.setpoint_monitor import Look
from dispatch.model.decision import ForeignMaster
from dispatch.model.reasons import Reason

OVERWRITES, WITHIN_S = 5, 600.0
LASTED_S = 20.0  # from the first to the last of them: by then the alarm `setpoint-mismatch` has told of it
FRESH_S = 3.0  # between two looks: after a longer silence the device may have reverted or restarted
FIRST_OFF_S, LONGEST_OFF_S = 600.0, 3600.0
CALM_S = 86400.0  # after so long without one the next is the first again


class _Track:
    def __init__(self) -> None:
        self.right_s: float | None = None  # when it was last seen to hold ours
        self.overwritten: deque[float] = deque()
        self.held_w = 0.0  # what it was found to hold instead, last
        self.off_until_s: float | None = None
        self.off_s = FIRST_OFF_S


class ForeignMasters:
    """Fed once per tick with what each PCS was found to hold."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def update(self, mono_s: float, looks: Mapping[str, Look]) -> None:
        """`looks`: what was found at each PCS that has a setpoint of ours."""
        for name, look in looks.items():
            self._look(self._tracks.setdefault(name, _Track()), mono_s, look)

    def _look(self, track: _Track, mono_s: float, look: Look) -> None:
        if look.ours:
            track.right_s = mono_s
            return
        if not look.another or track.right_s is None or mono_s - track.right_s > FRESH_S:
            return
        track.right_s, track.held_w = None, look.held_w
        track.overwritten.append(mono_s)
        while track.overwritten[0] < mono_s - WITHIN_S:
            track.overwritten.popleft()
        if len(track.overwritten) >= OVERWRITES and mono_s - track.overwritten[0] >= LASTED_S:
            if track.off_until_s is not None and mono_s - track.off_until_s > CALM_S:
                track.off_s = FIRST_OFF_S
            track.off_until_s = mono_s + track.off_s
            track.off_s = min(2 * track.off_s, LONGEST_OFF_S)
            track.overwritten.clear()

    def found(self, mono_s: float) -> tuple[ForeignMaster, ...]:
        """The PCS that get no setpoint of ours now."""
        return tuple(
            ForeignMaster(name, track.held_w, track.off_until_s - mono_s)
            for name, track in self._tracks.items()
            if track.off_until_s is not None and mono_s < track.off_until_s
        )

    def withheld(self, mono_s: float) -> dict[str, Reason]:
        """Why each of them gets none."""
        return {
            f.device_id: Reason("pcs.foreign_master", {"pcs": f.device_id, "held_w": f.held_w, "again_s": f.again_s})
            for f in self.found(mono_s)
        }
