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


def words(reason: Reason | None) -> str:
    """A reason as a sentence; nothing for None."""
    return catalogue.words(reason, of_locale(Shown.locale))


def rule_name(rule: RuleId) -> str:
    """How a rule is called."""
    return catalogue.rule_name(rule, of_locale(Shown.locale))


def alarm_text(alarm_id: str, detail: Reason | None = None) -> AlarmText:
    """The texts of an alarm; what is seen now stands behind the cause."""
    return catalogue.alarm_text(alarm_id, detail, of_locale(Shown.locale))
