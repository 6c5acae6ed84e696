"""Writes a notification: as JSON for programs, as a mail for people. What is in it is the same."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dispatch.wording.catalogue import alarm_text, words
from dispatch.wording.formatting import one_line
from gateway.outputs.outbox import Held, Message

FORMAT = 1  # of the JSON; raised when a key changes its meaning
SIGNATURE = "Skerry-Signature"  # header: sha256= and the HMAC of the body, in hexadecimal digits (RFC 2104)


class Place(msgspec.Struct, frozen=True):
    """The site that tells. `simulated`: its devices are a twin's."""

    site: str
    timezone: str
    simulated: bool


def document(message: Message, place: Place, *, test: bool = False) -> dict[str, Any]:
    """What a webhook is sent, as JSON. Figures have their units in their names."""
    return {
        "format": FORMAT,
        "id": message.id,
        "site": place.site,
        "simulated": place.simulated,
        "test": test,
        "made_utc": _utc(message.made_utc_s),
        "alarms": [_alarm(held) for held in message.told],
        "more_changes": message.more,
        "text": text(message, place, test=test),
    }


def signature(body: bytes, secret: str) -> str:
    """The value of the header `SIGNATURE`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def mail(message: Message, place: Place, sender: str, to: tuple[str, ...], *, test: bool = False) -> bytes:
    """The same as a mail, RFC 5322. Answers of machines are not wanted (RFC 3834)."""
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"] = sender, ", ".join(to)
    made["Subject"] = subject(message, place, test=test)
    made["Date"] = format_datetime(datetime.fromtimestamp(message.made_utc_s, UTC))
    made["Message-ID"] = f"<{message.id}.skerry@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text(message, place, test=test) + "\n", cte="quoted-printable")
    return made.as_bytes()


def subject(message: Message, place: Place, *, test: bool = False) -> str:
    """One line: the site, and the first alarm with how many more."""
    return one_line(f"[{place.site}] {'Test' if test else _first(message)}")[:200]


def text(message: Message, place: Place, *, test: bool = False) -> str:
    """For people."""
    lines = [f"Simulated site {place.site}" if place.simulated else f"Site {place.site}"]
    if test:
        lines.append("This is a test of notifications. Nothing has happened.")
    zone = ZoneInfo(place.timezone)
    for held in message.told:
        lines += ["", *_lines(held, zone)]
    if message.more:
        lines += ["", f"{message.more} more changes of other alarms: see `skerry events`."]
    return "\n".join(lines)


def _first(message: Message) -> str:
    if not message.told:
        return "Alarms have changed"
    change = message.told[0].change
    more = len(message.told) - 1
    said = alarm_text(change.alarm).title + ("" if change.present else ": over")
    return said + (f", and {more} more" if more else "")


def _lines(held: Held, zone: ZoneInfo) -> Iterator[str]:
    change, told = held.change, alarm_text(held.change.alarm)
    at = f"{datetime.fromtimestamp(change.utc_s, zone):%Y-%m-%d %H:%M:%S %Z}"
    yield f"{told.title}: {'since' if change.present else 'over at'} {at} ({change.priority}, {change.alarm})"
    if change.detail is not None:
        yield f"{'Now' if change.present else 'Last seen'}: {words(change.detail)}"
    if change.present:
        yield f"Means: {told.consequence}"
        yield f"Do: {told.action}"
    if held.count > 1:
        yield f"{held.count} changes since it was last told."


def _alarm(held: Held) -> dict[str, Any]:
    change, told = held.change, alarm_text(held.change.alarm)
    name, _, of = change.alarm.partition(":")
    return {
        "alarm": name,
        "subject": of,
        "present": change.present,
        "priority": change.priority,
        "at_utc": _utc(change.utc_s),
        "changes": held.count,
        "title": told.title,
        "detail": None if change.detail is None else msgspec.to_builtins(change.detail),
        "text": "" if change.detail is None else words(change.detail),
        "consequence": told.consequence,
        "action": told.action,
    }


def _utc(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
