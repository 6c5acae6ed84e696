"""Advances a running drill with the islanding state machine, and ends it."""

from __future__ import annotations

from collections.abc import Callable

from dispatch.islanding.drill import Drill
from dispatch.model.islanding import OPEN_STATES, DrillReport, IslandState
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState


class DrillPhases:
    """At most one drill at a time. `emit` makes an event of a severity and a text."""

    def __init__(self, emit: Callable[[str, str], None]) -> None:
        self._emit = emit
        self.drill: Drill | None = None
        self.report: DrillReport | None = None  # of the drill that ended in this tick

    def update(self, snapshot: Snapshot, state: IslandState) -> None:
        """A tick begins."""
        self.report = None
        if self.drill is not None:
            self.drill.update(snapshot, state in OPEN_STATES)

    def state_changed(self, was: IslandState, state: IslandState, reason: Reason, snapshot: Snapshot) -> None:
        """The site has gone from one state to another: on to the next phase, or the drill is over."""
        drill = self.drill
        if drill is None:
            return
        if was is S.OPENING and state is S.ISLANDED:
            drill.start_hold(snapshot)
        elif state in (S.OPENING, S.CLOSING):
            drill.phase = state.value
        elif state in (S.SYNCHRONISING, S.ISLANDED) and was in OPEN_STATES:
            drill.phase = "returning"
        elif state is S.GRID_TIED and was in OPEN_STATES:
            drill.phase = "ramp-back"
        elif state is S.GRID_TIED:
            self.finish(snapshot.utc_s)
        elif state is not S.PREPARING:
            outage = was in (S.PREPARING, S.GRID_TIED)
            failure = (
                Reason("drill.outage", {"reason": reason})
                if outage
                else Reason("drill.state", {"state": state.value, "reason": reason})
            )
            self.finish(snapshot.utc_s, failure)

    def end_hold(self, utc_s: float, why: Reason) -> None:
        """End the hold: reconnect by the same transitions as after an outage."""
        assert self.drill is not None
        self.drill.phase = "returning"
        self.drill.note(utc_s, why)
        self._emit("info", f"{words(why)}: back to the grid")

    def finish(self, utc_s: float, failure: Reason | None = None) -> None:
        """The drill is over, and its report made. `failure`: why it failed, unless it had before; None: by nothing."""
        drill = self.drill
        assert drill is not None
        drill.failure = drill.failure or failure
        drill.note(utc_s, failure or Reason("drill.end"))
        self.report, self.drill = drill.report(utc_s), None
        severity = {"failed": "alarm", "aborted": "warning"}.get(self.report.result, "info")
        self._emit(severity, f"drill {self.report.result}: {words(self.report.why)}")
