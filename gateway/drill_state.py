"""The last drill's report and what the schedule says of the next one, shared by loop, commands and scheduler."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any

from dispatch.model.islanding import DrillReport
from dispatch.model.reasons import Reason, plain
from dispatch.wording.catalogue import words
from gateway.api.protocol import DrillPlan
from gateway.event_sink import EventSink
from storage.audit import AuditLog
from storage.drills import DrillRecord, digest, text_of
from storage.recorder import Recorder


class DrillState:
    """Puts every report on record: its digest into the audit, then the report with the audit's head."""

    def __init__(self, events: EventSink, audit: AuditLog, recorder: Recorder) -> None:
        self.known = True  # False: earlier drills could not be read yet, so no drill may be begun by the schedule
        self.report: DrillReport | None = None  # the last one's, also of an earlier run
        self.audit_head = ""  # of the audit, as the record of that report has it
        self.plan: DrillPlan | None = None  # None: the site file has no schedule
        self.due: Reason | None = None  # a drill waits for somebody to start it: since when
        self._events, self._audit, self._recorder = events, audit, recorder

    def set_known(self, known: bool) -> None:
        """Whether what earlier runs left of drills could be read."""
        self.known = known

    def adopt(self, last: DrillRecord | None, unfinished: dict[str, Any] | None) -> None:
        """Take over what an earlier run left: its last report, and the audit row of a drill it did not live to end."""
        if last is not None and self.report is None:
            self.report, self.audit_head = last.report, last.audit_head
        if unfinished is not None:
            self.end_early(report_of_killed(unfinished))

    def end(self, report: DrillReport) -> None:
        """A drill is over: its report is the last one now, and goes on record. Never waits."""
        self.report, self.audit_head = report, ""
        row: dict[str, Any] = {"kind": "drill", "who": report.who, "outcome": report.result}
        row |= {
            "text": f"drill of {report.minutes:g} min: {words(report.why)}",
            "report_sha256": digest(text_of(report)),
        }
        self._audit.spool(row).add_done_callback(partial(self._record, report))

    def end_early(self, report: DrillReport) -> None:
        """A drill has ended in no tick, with its gateway: said as an alarm, and put on record."""
        self._events.event("island", "alarm", "drill", f"drill of {report.who} {report.result}: {words(report.why)}")
        self.end(report)

    def set_schedule(self, plan: DrillPlan, due: Reason | None) -> None:
        """What the schedule says now. `due`: why a drill should be started by somebody; None: none should."""
        self.plan, self.due = plan, due

    def _record(self, report: DrillReport, written: Future[int]) -> None:
        """In the audit's thread, once the row is on disk or cannot be."""
        error = written.exception()
        record = DrillRecord(report, self._audit.head, "" if error is None else str(error))
        self.audit_head = record.audit_head
        self._recorder.drill(record)


def report_of_killed(body: dict[str, Any]) -> DrillReport:
    """The report of a drill whose gateway was killed: all that is left of it is `body`, its row in the audit."""
    began_s = datetime.fromisoformat(body["t"]).timestamp()
    return DrillReport(
        who=body["who"],
        reason=body["reason"],
        minutes=float(body.get("minutes", 0.0)),
        started_utc_s=began_s,
        ended_utc_s=began_s,
        result="failed",
        why=Reason("drill.gateway_killed"),
        timeline=((began_s, plain(body["text"])),),
        checks=(),
        criteria=(),
        transfer_gap=Reason("gap.not_known"),
        islanded_s=None,
        v_min=None,
        v_max=None,
        hz_min=None,
        hz_max=None,
        battery_wh=None,
        soc_track=(),
    )
