"""Phrases that several commands print."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from console.display.audit_rows import asked_words, command_words
from console.display.formats import IDLE_W, date_clock_zone, local_times
from console.display.language import say, words
from console.display.wrapping import padded
from console.terminal_output import one_line
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.power_caps import CapsView
from dispatch.model.readings import Quality, Reading
from dispatch.wording.formatting import kw

KW_WIDTH = len("99.9 kW")  # powers stand below each other


def labelled(code: str, text: str) -> str:
    """A line behind its label of nine columns."""
    return f"{padded(say(code), 9)} {text}"


def mode_words(decision: Decision) -> str:
    """Island state and who steers."""
    return f"{say(f'state.{decision.island.value}')}, {say(f'steers.{decision.mode.value}')}"


def event_line(event: Event, zone: tzinfo) -> str:
    """One event on one line."""
    who = f"  [{event.who}]" if event.who else ""
    when = date_clock_zone(event.utc_s, zone)
    return one_line(
        f"{when}  {event.severity:<7}  {event.kind:<7}  {event.subject:<16}  {local_times(event.text, zone)}{who}"
    )


def audit_line(row: dict[str, Any], zone: tzinfo) -> str:
    """One row of the audit on one line."""
    when = date_clock_zone(datetime.fromisoformat(row["t"]).timestamp(), zone)
    of = f" of {row['of']}" if row.get("of") else ""
    why = f": {row['reason']}" if row.get("reason") else ""
    late = "  NOT DURABLE when it happened" if row.get("durable") else ""
    command, text = row.get("command") or "", row.get("text", "")
    what = ", ".join(part for part in (command_words(command), row.get("outcome")) if part)
    head = f"{row['seq']:>6}  {when}  {row['kind'] + of:<12}  {row.get('who', ''):<12}"
    return one_line(f"{head}  {what}{'  ' if what else ''}{asked_words(command, text)}{why}{late}")


def caps_words(caps: CapsView) -> str:
    """What is capped for the month's peak, since when it costs what, and why; what is not counted on."""
    parts = [words(caps.reason)]
    if caps.nodes:
        nodes = ", ".join(say("caps.node_to", node=id, kw=kw(w)) for id, w in caps.nodes)
        spent = say("caps.spent", minutes=f"{caps.minutes:.0f}", eur=f"{caps.rent_eur:.2f}")
        taken = say("caps.taken", nodes=nodes, shed=kw(caps.shed_w), asked=kw(caps.asked_w))
        parts = [taken, words(caps.reason), spent]
    if caps.not_counted:
        parts.append(say("caps.not_counted", nodes=", ".join(caps.not_counted)))
    return "; ".join(parts)


def flow(watts: float | None, out: str, back: str) -> str:
    """Power and its direction: `out` for > 0, `back` for < 0."""
    if watts is None:
        return f"{kw(None):>{KW_WIDTH}} {say('flow.missing')}"
    word = say("direction.idle") if abs(watts) < IDLE_W else out if watts > 0 else back
    return f"{kw(abs(watts)):>{KW_WIDTH}} {word}"


def mark(reading: Reading) -> str:
    """ " STALE 4 s" behind a value that may not be used any more, " SUSPECT 1 s" where a newer one is doubted."""
    if reading.quality not in (Quality.STALE, Quality.SUSPECT):
        return ""
    word = say("age.stale_word" if reading.quality is Quality.STALE else "age.suspect_word")
    return f" {word}" if reading.age_s is None else f" {word} {reading.age_s:.0f} s"
