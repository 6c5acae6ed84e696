"""The words that people are shown, in the language of this process. Log, audit, export and JSON stay English."""

from __future__ import annotations

import functools

from console.display.language_choice import ENGLISH, Shown
from dispatch.model.reasons import Reason, RuleId
from dispatch.wording import catalogue
from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.language import Language


@functools.cache
def of_locale(locale: str) -> Language:
    """A language, its files read when it is first needed."""
    if locale == ENGLISH:
        return catalogue.ENGLISH
    from console.display.language_files import read  # only for a translation

    return read(locale)


def say(code: str, **figures: object) -> str:
    """A label in the language shown, by its code in `dispatch/wording/english/labels`."""
    return catalogue.label(code, of_locale(Shown.locale), **figures)


def say_n(code: str, n: int, **figures: object) -> str:
    """A label of one, `CODE_1`, or of several, `CODE_n`, with their number as figure `n`."""
    return say(f"{code}_1" if n == 1 else f"{code}_n", n=n, **figures)


def say_of(topic: str, word: str) -> str:
    """The label of a word that comes from a device or the record, such as "seen" and "open"; else the word itself."""
    return say(f"{topic}.{word}") if f"{topic}.{word}" in catalogue.ENGLISH.labels else word


def words(reason: Reason | None) -> str:
    """A reason as a sentence; nothing for None."""
    return catalogue.words(reason, of_locale(Shown.locale))


def named(text: str) -> str:
    """English names of months and days in the language shown."""
    return of_locale(Shown.locale).style.named(text)


def rule_name(rule: RuleId) -> str:
    """How a rule is called."""
    return catalogue.rule_name(rule, of_locale(Shown.locale))


def alarm_text(alarm_id: str, detail: Reason | None = None) -> AlarmText:
    """The texts of an alarm; what is seen now stands behind the cause."""
    return catalogue.alarm_text(alarm_id, detail, of_locale(Shown.locale))
