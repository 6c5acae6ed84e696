"""What a language consists of: a template per code, texts of alarms, names of rules, and how figures are written."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.formatting import kw

NEAR_0_W = 50.0  # below it a battery's power is said as 0, as in `formatting.action`
_NAME = re.compile(r"[A-Za-z]+")


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How figures and lists are written. The defaults are English.

    names: three letters of months and days, in small letters, to how they are written. terms: by the name of a figure,
    such as "state", the words it may hold to how they are said; a word that is not listed is said as it is.
    """

    decimal: str = "."
    date_clock: str = "%Y-%m-%d %H:%M"  # as of strftime, with figures only
    discharge: str = "discharge {power}"
    charge: str = "charge {power}"
    at_zero: str = "battery at 0 kW"
    ratings: str = "the ratings"
    comma: str = ", "
    semicolon: str = "; "
    now: str = "{cause} Now: {detail}"
    names: dict[str, str] = {}
    terms: dict[str, dict[str, str]] = {}

    def figure(self, text: str) -> str:
        """A figure with the language's decimal sign."""
        return text if self.decimal == "." else text.replace(".", self.decimal)

    def action(self, w: float) -> str:
        """A battery power as what it does, > 0 discharges: "discharge 18.4 kW", "battery at 0 kW"."""
        if abs(w) < NEAR_0_W:
            return self.at_zero
        return (self.discharge if w > 0 else self.charge).replace("{power}", self.figure(kw(abs(w))))

    def named(self, text: str) -> str:
        """A text of names of months and days in the language's own: "Nov–Mar", "Mon–Fri"."""
        return _NAME.sub(lambda found: self.names.get(found[0][:3].lower(), found[0]), text)

    def term(self, figure: str, value: str) -> str:
        """How a word that a figure holds is said."""
        known = self.terms.get(figure)
        return value if known is None else known.get(value, value)


class Language(msgspec.Struct, frozen=True):
    """The words of one language. `templates`, `phrases` and `past` are by code; see `catalogue`."""

    locale: str
    name: str  # as its speakers call it
    templates: Mapping[str, str]
    phrases: Mapping[str, str]  # of codes that are composed
    past: Mapping[str, str]  # of codes that only earlier versions gave
    rules: Mapping[str, str]  # names by the value of a `RuleId`; one that is missing is called by that value
    alarms: Mapping[str, AlarmText]
    style: Style = Style()
    labels: Mapping[str, str] = {}  # of screen and command line, by code

    def template(self, code: str) -> str | None:
        """The template of a code; None: there is none."""
        return self.templates.get(code) or self.phrases.get(code) or self.past.get(code)
