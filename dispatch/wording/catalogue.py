"""Codes and figures -> words. Pure; the language is an argument. Log, audit and export are in English.

A template per code and language; its fields are the figures, with a format that knows their unit:

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

from collections.abc import Callable
from datetime import datetime
from string import Formatter
from typing import Any

from dispatch.model.reasons import Reason, RuleId
from dispatch.wording import english
from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.formatting import countdown, kw, minutes, span
from dispatch.wording.language import Language, Style

ENGLISH = Language(
    locale="en",
    name="English",
    templates=english.TEMPLATES,
    phrases=english.PHRASES,
    past=english.PAST,
    rules=english.RULES,
    alarms=english.ALARMS,
    labels=english.LABELS,
)

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
    "cents": lambda eur: f"{100 * eur:.1f}",
    "span": span,
    "minutes": minutes,
    "countdown": countdown,
    "whole_min": lambda s: f"{s / 60:.0f} min",
    "hours": lambda s: f"{s / 3600:.1f} h",
    "clock": lambda local: f"{datetime.fromisoformat(local):%H:%M}",
}
# Those that each language says in its own way.
STYLED: dict[str, Callable[[Any, Style], str]] = {
    "action": lambda w, style: style.action(w),
    "date_clock": lambda local, style: f"{datetime.fromisoformat(local):{style.date_clock}}",
    "titled": lambda names, style: style.named(names.title().replace("-", "–")),
    "weekday": lambda local, style: style.named(f"{datetime.fromisoformat(local):%a}"),
}


def words(reason: Reason | None, language: Language = ENGLISH) -> str:
    """A reason as a sentence; nothing for None. A code or figure without words is shown as it is.

    A code that a translation lacks is said in English.
    """
    if reason is None:
        return ""
    template = language.template(reason.code)
    if template is None:
        return unworded(reason) if language is ENGLISH else words(reason)
    try:
        return _Words(language).vformat(template, (), reason.figures)
    except (KeyError, TypeError, ValueError):  # of a version that gave other figures
        return unworded(reason)


def rule_name(rule: RuleId, language: Language = ENGLISH) -> str:
    """How a rule is called."""
    return language.rules.get(rule.value, rule.value)


def alarm_text(alarm_id: str, detail: Reason | None = None, language: Language = ENGLISH) -> AlarmText:
    """The texts of an alarm, by definition and subject as in `Alarm.id`; what is seen now stands behind the cause."""
    name, _, subject = alarm_id.partition(":")
    text = language.alarms.get(name) or ENGLISH.alarms.get(name)
    if text is None:
        return AlarmText(alarm_id, words(detail, language), "", "")

    def filled(template: str) -> str:
        return template.replace("{subject}", subject)

    cause = filled(text.cause)
    if detail is not None:
        cause = language.style.now.format(cause=cause, detail=words(detail, language))
    return AlarmText(
        title=filled(text.title),
        cause=cause,
        consequence=filled(text.consequence),
        action=filled(text.action),
    )


def label(code: str, language: Language = ENGLISH, **figures: object) -> str:
    """A label of screen or command line, its figures written by who asks. One that a translation lacks is in English.

    Raises KeyError for a code that English has no label for.
    """
    template = language.labels.get(code) or ENGLISH.labels[code]
    return template.format(**figures) if "{" in template or "}" in template else template


def unworded(reason: Reason) -> str:
    """What can be said of a code that this version has no words for: "reserve.taper (limit_w 3000, soc_pct 12.5)"."""
    figures = ", ".join(
        f"{name} {unworded(value) if isinstance(value, Reason) else value}" for name, value in reason.figures.items()
    )
    return f"{reason.code} ({figures})" if figures else reason.code


class _Words(Formatter):
    """Fills a template of one language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:
        value = kwargs[key]
        return self._language.style.term(str(key), value) if isinstance(value, str) else value

    def format_field(self, value: Any, format_spec: str) -> str:
        style = self._language.style
        if isinstance(value, Reason):
            return words(value, self._language)
        if isinstance(value, list):
            separator = style.comma if format_spec == "comma" else style.semicolon
            return separator.join(words(part, self._language) for part in value)
        if not format_spec:
            return "" if value is None else str(value)
        if format_spec in _OF_NAMES:
            return _OF_NAMES[format_spec](value, self._language)
        if format_spec in STYLED:
            return STYLED[format_spec](value, style)
        made = FORMATS[format_spec](value) if format_spec in FORMATS else str(super().format_field(value, format_spec))
        return style.figure(made)


def _setter(value: str, language: Language) -> str:
    return language.style.ratings if value == RuleId.RATINGS.value else rule_name(RuleId(value), language)


_OF_NAMES: dict[str, Callable[[str, Language], str]] = {
    "rule": lambda value, language: rule_name(RuleId(value), language),
    "rule_number": lambda value, _: str(RULE_NUMBERS[RuleId(value)]),
    "setter": _setter,
    "alarm_title": lambda value, language: alarm_text(value, language=language).title,
}
