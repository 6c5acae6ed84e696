"""The rows of `skerry status`, and those of them that are lists: alarms, limited inverters, lost devices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.display import language
from console.display.formats import hour_minute_zone
from console.display.language import alarm_text, say
from console.display.status_text import off_list_words
from console.display.wrapping import columns, padded
from console.terminal_output import one_line
from dispatch.model.decision import Decision
from dispatch.model.snapshot import Snapshot
from dispatch.wording.formatting import kw
from gateway.api.protocol import Published

LABEL_COLUMNS = 9
FIGURE_COLUMNS = 21  # of the first figure of a row


def row(label_code: str, *parts: str) -> str:
    """The label, the figure in its column, and what belongs to it; a figure too long for the column is set apart."""
    first, *rest = parts
    label = padded(say(label_code) if label_code else "", LABEL_COLUMNS)
    apart = " · " if columns(first) > FIGURE_COLUMNS else " "
    text = f"{label} {padded(first, FIGURE_COLUMNS)}{apart}{' · '.join(rest)}" if rest else f"{label} {first}"
    return one_line(text.rstrip())


def alarm_rows(published: Published, zone: tzinfo) -> Iterator[str]:
    """Each alarm that is listed, with what to do; how many are off the list, how many came of late."""
    alarms, rate = published.alarms, published.alarm_rate
    if not alarms:
        yield row("row.alarms", say("line.none_listed" if published.shelved else "line.none"))
    for n, alarm in enumerate(alarms):
        first = f", {say('status.first_out')}" if alarm.first_out else ""
        said, since = alarm_text(alarm.id), hour_minute_zone(alarm.since_utc_s, zone)
        text = say(
            "status.alarm",
            priority=say(f"status.{alarm.priority.value}"),
            id=alarm.id,
            title=said.title,
            time=since,
            state=say(f"status.alarm_{alarm.state.value}") + first,
        )
        yield row("" if n else "row.alarms", text)
        yield row("", f"  {say('status.do', action=said.action)}")
    if published.shelved:
        yield row("", say("status.off_list", what=off_list_words(published.shelved)))
    if rate is not None and rate.flood:
        yield row("", say("status.flood", n=rate.per_10_min))


def limit_rows(decision: Decision) -> Iterator[str]:
    """Each PV inverter that is limited, and why."""
    for limit in decision.pv_limits:
        if limit.w is not None:
            yield row(
                "row.limited",
                say("status.limited", device=limit.device_id, kw=kw(limit.w), why=language.words(limit.reason)),
            )


def device_rows(snapshot: Snapshot) -> Iterator[str]:
    """Inverters without sun, devices that do not answer, how many do."""
    asleep = [pv.id for pv in snapshot.pv if pv.asleep]
    if asleep:
        yield row("row.asleep", say("status.asleep", devices=", ".join(asleep)))
    lost = [d for d in snapshot.devices if not d.online and d.id not in asleep]
    for n, device in enumerate(lost):
        silent = say("status.no_answer_yet")
        if device.age_s is not None:
            silent = say("status.no_answer", s=f"{device.age_s:.0f}")
        yield row(
            "" if n else "row.lost", f"{device.id} ({device.kind}) {silent}{': ' if device.error else ''}{device.error}"
        )
    if not lost and snapshot.devices:
        others = len(snapshot.devices) - len(asleep)
        yield row("row.devices", say("status.all_others") if asleep else say("status.all_answer", n=others))
