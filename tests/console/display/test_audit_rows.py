"""Rows of the audit folded into lines of the log."""

from __future__ import annotations

from typing import Any

from console.display.audit_rows import audit_lines, full_text, one_line, searchable_text

T = "2025-09-16T05:00:00.250Z"


def row(seq: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "t": T, "kind": kind, "who": "tech1", "command": "order.set setpoint", "text": "a → b"} | more


def test_an_intent_and_its_result_are_one_line_in_any_order() -> None:
    rows = [row(8, "result", of=7, outcome="in force", text="a → b; now b"), row(7, "intent", reason="feeder")]
    (line,) = audit_lines(rows)
    assert (line.seq, line.result_seq, line.outcome, line.subject) == (7, 8, "in force", "setpoint")
    assert line.utc_s == 1757998800.25
    assert one_line(line) == "tech1: in force: a → b (feeder)"
    assert full_text(line) == "row 7, tech1, setpoint: a → b; reason: feeder — row 8, in force: a → b; now b"
    assert "feeder" in searchable_text(line)


def test_what_has_no_result_says_so() -> None:
    (intent,) = audit_lines([row(7, "intent")])
    assert one_line(intent) == "tech1: no result on record: a → b"
    (alone,) = audit_lines([row(8, "result", of=7, outcome="in force")])  # the intent is on an older page
    assert one_line(alone) == "tech1: in force: a → b"
    (refused,) = audit_lines([row(9, "refused", outcome="refused")])
    assert one_line(refused) == "tech1: refused: a → b"


def test_the_gateways_own_rows_and_what_was_not_durable() -> None:
    start = {"seq": 1, "t": T, "kind": "start", "who": "gateway", "text": "gateway of Small started"}
    (line,) = audit_lines([start])
    assert (line.subject, one_line(line)) == ("start", "gateway: gateway of Small started")
    drill = {"seq": 3, "t": T, "kind": "drill", "who": "tech1", "outcome": "passed", "text": "drill of 10 min: held"}
    assert one_line(audit_lines([drill])[0]) == "tech1: passed: drill of 10 min: held"
    (late,) = audit_lines([row(7, "intent", durable="late: the audit could not be written when it happened")])
    assert full_text(late).startswith("NOT DURABLE when it happened: row 7")
    assert "not durable" in searchable_text(late)
