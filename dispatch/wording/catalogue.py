"""Codes and figures -> words. Pure; the locale is an argument.

A template per code and locale; its fields are the figures, with a format that knows their unit:

| format | of | gives |
|---|---|---|
| `kw`, `kwh`, `whole_kwh`, `kw_per_s` | W, Wh, Wh, W/s | "18.4 kW", "1.2 kWh", "12 kWh", "0.5 kW/s" |
| `action` | battery W, > 0 discharges | "discharge 18.4 kW", "battery at 0 kW" |
| `cents` | EUR | "12.3", in ct |
| `span`, `minutes`, `countdown` | s | "2 h 30 min", "2.5 h" or "14 min", "7:05" |
| `whole_min`, `hours` | s | "150 min", "2.5 h" |
| `clock`, `weekday`, `date_clock` | ISO 8601, the site's time | "18:15", "Tue", "2025-09-16 18:15" |
| `rule`, `setter`, `rule_number` | the value of a `RuleId` | "grid ramp"; the same, "the ratings" for none; "7" |
| `alarm_title` | the id of an alarm | "PCS pcs1 in fault" |
| `titled` | names of months and days | "Nov–Mar, Mon–Fri"; also of times, "06:00–22:00" |
| `comma` | reasons | one behind the other, with commas; without a format with semicolons |

Any other format is Python's own. A figure that is None says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from string import Formatter
from typing import Any

from dispatch.model.reasons import Reason, RuleId
from dispatch.wording import english
from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.formatting import action, countdown, kw, minutes, span

ENGLISH = "en"
CATALOGUE: dict[str, Mapping[str, str]] = {ENGLISH: english.TEMPLATES}
PHRASES: dict[str, Mapping[str, str]] = {ENGLISH: english.PHRASES}  # of codes that are composed
PAST: dict[str, Mapping[str, str]] = {ENGLISH: english.PAST}  # of codes that only earlier versions gave
_RULES: dict[str, Mapping[str, str]] = {ENGLISH: english.RULES}
ALARMS: dict[str, Mapping[str, AlarmText]] = {ENGLISH: english.ALARMS}

# Rules are also shown with numbers; those that belong together share one.
RULE_NUMBERS = {
    RuleId.PROTECTION: 0,
    RuleId.DEVICE_LIMITS: 1,
    RuleId.SAFE_VALUE: 1,
    RuleId.ISLANDING: 2,
    RuleId.FUSE: 3,
    RuleId.RESERVE: 4,
    RuleId.MANUAL: 5,
    RuleId.SIGNALS: 5,
    RuleId.INTERVAL_BUDGET: 6,
    RuleId.GRID_RAMP: 7,
    RuleId.PLAN: 8,
    RuleId.REST: 8,
    RuleId.IDLE: 9,
}

FORMATS: dict[str, Callable[[Any], str]] = {
    "kw": kw,
    "kwh": lambda wh: f"{wh / 1000:.1f} kWh",
    "whole_kwh": lambda wh: f"{wh / 1000:g} kWh",
    "kw_per_s": lambda w_per_s: f"{w_per_s / 1000:g} kW/s",
    "action": action,
    "cents": lambda eur: f"{100 * eur:.1f}",
    "span": span,
    "minutes": minutes,
    "countdown": countdown,
    "whole_min": lambda s: f"{s / 60:.0f} min",
    "hours": lambda s: f"{s / 3600:.1f} h",
    "clock": lambda local: f"{datetime.fromisoformat(local):%H:%M}",
    "date_clock": lambda local: f"{datetime.fromisoformat(local):%Y-%m-%d %H:%M}",
    "titled": lambda names: names.title().replace("-", "–"),
    "weekday": lambda local: f"{datetime.fromisoformat(local):%a}",
}


def words(reason: Reason | None, locale: str = ENGLISH) -> str:
    """A reason as a sentence; nothing for None. A code or figure without words is shown as it is."""
    if reason is None:
        return ""
    code = reason.code
    template = CATALOGUE[locale].get(code) or PHRASES[locale].get(code) or PAST[locale].get(code)
    if template is None:
        return unworded(reason)
    try:
        return _Words(locale).vformat(template, (), reason.figures)
    except (KeyError, TypeError, ValueError):  # of a version that gave other figures
        return unworded(reason)


def rule_name(rule: RuleId, locale: str = ENGLISH) -> str:
    """How a rule is called."""
    return _RULES[locale].get(rule.value, rule.value)


def alarm_text(alarm_id: str, detail: Reason | None = None, locale: str = ENGLISH) -> AlarmText:
    """The texts of an alarm, by definition and subject as in `Alarm.id`; what is seen now stands behind the cause."""
    name, _, subject = alarm_id.partition(":")
    text = ALARMS[locale].get(name)
    if text is None:
        return AlarmText(alarm_id, words(detail, locale), "", "")

    def filled(template: str) -> str:
        return template.replace("{subject}", subject)

    cause = filled(text.cause)
    return AlarmText(
        title=filled(text.title),
        cause=cause if detail is None else f"{cause} Now: {words(detail, locale)}",
        consequence=filled(text.consequence),
        action=filled(text.action),
    )


def unworded(reason: Reason) -> str:
    """What can be said of a code that this version has no words for: "reserve.taper (limit_w 3000, soc_pct 12.5)"."""
    figures = ", ".join(
        f"{name} {unworded(value) if isinstance(value, Reason) else value}" for name, value in reason.figures.items()
    )
    return f"{reason.code} ({figures})" if figures else reason.code


class _Words(Formatter):
    """Fills a template of one locale."""

    def __init__(self, locale: str) -> None:
        self._locale = locale

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Reason):
            return words(value, self._locale)
        if isinstance(value, list):
            separator = ", " if format_spec == "comma" else "; "
            return separator.join(words(part, self._locale) for part in value)
        if value is None and not format_spec:
            return ""
        if format_spec == "rule":
            return rule_name(RuleId(value), self._locale)
        if format_spec == "rule_number":
            return str(RULE_NUMBERS[RuleId(value)])
        if format_spec == "alarm_title":
            return alarm_text(value, locale=self._locale).title
        if format_spec == "setter":
            return "the ratings" if value == RuleId.RATINGS.value else rule_name(RuleId(value), self._locale)
        if format_spec in FORMATS:
            return FORMATS[format_spec](value)
        return str(super().format_field(value, format_spec))
