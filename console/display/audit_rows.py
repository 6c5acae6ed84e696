"""Rows of the audit as the Log view lists them: a command's intent and result are one line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

# What people call the commands of the link; one that this version does not know is shown as it is on record.
COMMAND_WORDS = {
    "order.set setpoint": "setpoint",
    "order.set import-target": "import target",
    "order.set soc-target": "SoC target",
    "order.set hold": "hold",
    "order.set reserve-level": "reserve level",
    "order.set reserve-level below the declared": "reserve level",
    "order.set node-cap": "cap node",
    "order.set disable": "disable PCS",
    "order.end": "end order",
    "order.end disable": "enable PCS",
    "stop": "stop",
    "alarm.acknowledge": "acknowledge",
    "reservation.ask": "reserve power",
    "reservation.withdraw": "withdraw power",
    "drill.start": "start drill",
    "drill.abort": "abort drill",
    "island.reset": "reset fault",
    "island.black_start": "black start",
}
ALL = "*"  # on the link: every alarm, every order


def command_words(command: str) -> str:
    """A command as people call it."""
    return COMMAND_WORDS.get(command, command)


def asked_words(command: str, text: str) -> str:
    """What was asked, without the link's sign for all of them."""
    if text.strip() != ALL:
        return text
    return "all alarms" if command.startswith("alarm.") else "all orders"


class AuditLine(msgspec.Struct, frozen=True):
    """One command and its result, or what the gateway put on record itself: start, stop, the end of an order."""

    seq: int  # of its first row
    utc_s: float
    who: str
    command: str  # as on the link; the kind of row where nobody commanded
    text: str  # what was asked: old → new
    reason: str = ""
    outcome: str = ""  # in force, refused, accepted, ended, acknowledged; empty: no result is on record
    result: str = ""  # in the gateway's words
    result_seq: int | None = None
    durable: bool = True  # on disk when it happened
    commanded: bool = True  # else the gateway's own: no result is waited for

    @property
    def subject(self) -> str:
        """What kind of command: "setpoint", "start drill", "start"."""
        return command_words(self.command)


def audit_lines(rows: Iterable[Mapping[str, Any]]) -> tuple[AuditLine, ...]:
    """Rows by their number, in any order, as lines, oldest first. A result joins its intent when both are there."""
    lines: dict[int, AuditLine] = {}
    for row in sorted(rows, key=lambda r: int(r["seq"])):
        of = row.get("of")
        if row["kind"] == "result" and of in lines:
            intent = lines[of]
            durable = intent.durable and not row.get("durable")
            answer = {"outcome": row.get("outcome", ""), "result": row.get("text", "")}
            lines[of] = msgspec.structs.replace(intent, **answer, result_seq=row["seq"], durable=durable)
            continue
        lines[row["seq"]] = _line(row)
    return tuple(lines.values())


def _line(row: Mapping[str, Any]) -> AuditLine:
    """One row alone: an intent, a refusal, a result whose intent is not at hand, or the gateway's own."""
    return AuditLine(
        seq=row["seq"],
        utc_s=datetime.fromisoformat(row["t"]).timestamp(),
        who=row.get("who", ""),
        command=row.get("command") or row["kind"],
        text=asked_words(row.get("command") or "", row.get("text", "")),
        reason=row.get("reason", ""),
        outcome=row.get("outcome", ""),
        durable=not row.get("durable"),
        commanded=bool(row.get("command")),
    )


def searchable_text(line: AuditLine) -> str:
    """Everything a filter looks at, lower case."""
    return f"audit {line.subject} {line.command} {one_line(line)} {line.result}".lower() + (
        "" if line.durable else " not durable"
    )


def one_line(line: AuditLine) -> str:
    """Who asked for what, what came of it, and why it was asked."""
    outcome = line.outcome or ("no result on record" if line.commanded else "")
    why = f" ({line.reason})" if line.reason else ""
    return f"{line.who}: {f'{outcome}: ' if outcome else ''}{line.text}{why}"


def full_text(line: AuditLine) -> str:
    """The line in full: row numbers, intent, result."""
    why = f"; reason: {line.reason}" if line.reason else ""
    head = f"row {line.seq}, {line.who}, {line.subject}: {line.text}{why}"
    if line.result_seq is not None:
        head += f" — row {line.result_seq}, {line.outcome}: {line.result}"
    elif line.outcome:
        head += f" — {line.outcome}"
    return head if line.durable else f"NOT DURABLE when it happened: {head}"
