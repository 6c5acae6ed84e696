"""Parses values of the command line and of forms: durations, times, powers, percentages."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

import click

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?")
TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")

site_option = click.option(
    "--site", metavar="SITE.toml", help="Site file of the gateway, needed if several run. Default: $SKERRY_SITE."
)
NOT_SAID = "dry run"  # stands for the reason where nothing is ordered
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def seconds(text: str) -> float:
    """ "90s", "15m", "1.5h" as seconds; the unit is a must. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or match[2] is None:
        raise ValueError(f"{text!r}: expected a duration such as 60s, 15m or 2h")
    return float(match[1]) * _UNITS_MS[match[2]] / 1000


def milliseconds(text: str) -> int:
    """ "100ms", "60s", "5m" as whole milliseconds above 0; without a unit, seconds. Raises click.BadParameter."""
    match = _DURATION.fullmatch(text.strip())
    ms = 0.0 if match is None else float(match[1]) * _UNITS_MS[match[2] or "s"]
    if ms <= 0 or ms % 1:
        raise click.BadParameter(f"{text!r}: expected a duration such as 5m, 60s or 100ms")
    return int(ms)


def duration(text: str) -> float:
    """A duration above 0 in seconds, for `type=` of an option. Raises click.BadParameter."""
    try:
        result = seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if result <= 0:
        raise click.BadParameter(f"{text!r}: expected more than 0 s")
    return result


_POWER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(W|kW|MW)", re.IGNORECASE)
_FACTOR = {"w": 1.0, "kw": 1e3, "mw": 1e6}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%?")


def power(text: str) -> float:
    """ "20kW", "-20 kW", "850W" in watts, for `type=` of an argument; the unit is a must. Raises click.BadParameter."""
    match = _POWER.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r}: expected a power with its unit, such as 20kW, -5.5kW or 850W")
    return float(match[1]) * _FACTOR[match[2].lower()]


def kilowatts(text: str) -> float:
    """ "5", "5kW", "5500 W" in kW, for `type=` of an option that is in kW. Raises click.BadParameter."""
    try:
        return float(text)
    except ValueError:
        return power(text) / 1000


def percent(text: str) -> float:
    """ "80%" or "80", for `type=` of an argument. Raises click.BadParameter."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r}: expected a percentage such as 80%")
    return float(match[1])


def moment(text: str, now_utc_s: float, zone: tzinfo) -> float:
    """A time as POSIX seconds: ISO 8601, HH:MM[:SS] today at the site, or "-10m" before the site's now.

    A time without offset is the site's (`zone`). Raises click.BadParameter.
    """
    text = text.strip()
    now = datetime.fromtimestamp(now_utc_s, zone)
    try:
        if text.startswith("-"):
            return now_utc_s - seconds(text[1:])
        if match := TIME_OF_DAY.fullmatch(text):
            hour, minute, second = (int(part or 0) for part in match.groups())
            return now.replace(hour=hour, minute=minute, second=second, microsecond=0).timestamp()
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r}: expected a time such as {now:%H:%M}, {now - timedelta(hours=1):%Y-%m-%dT%H:%M}, or -10m"
        ) from None
