"""What a command form says above its fields: how things stand, what is allowed, what is against it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from console.display.ink import Ink, Line
from console.display.islanding_text import check_lines
from console.display.language import say, words
from console.display.status_text import state_name
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut, padded, split_at, wrap
from console.tui.form_fields import ENDING, CommandForm, chosen_order, order_text
from dispatch.model.islanding import Check, IslandState
from dispatch.model.orders import CONTRACT_BROKEN, LIMIT_EXCEEDED, OrderKind, Preview
from dispatch.model.reasons import Reason

INDENT = 10  # columns of a line's label
RANGE_COLUMNS = 78


class Assessment(msgspec.Struct, frozen=True):
    """What the gateway says of a form as it is filled in.

    `refusal`: why it cannot be sent; empty where it can. `unreadable`: because a field cannot be read.
    """

    preview: Preview | None = None  # of an order
    checks: tuple[Check, ...] = ()  # of a drill
    of_drill: tuple[Reason, ...] = ()  # what it does until it ends
    refusal: str = ""
    unreadable: bool = False

    @property
    def consequence(self) -> tuple[Reason, ...]:
        """What it does until it ends, a reason for each line; none where that is not known."""
        return self.of_drill if self.preview is None else self.preview.consequence

    @property
    def breaks(self) -> str:
        """What it breaks by the forecast, as it is filled in; empty: nothing, or a field cannot be read."""
        if self.unreadable:
            return ""
        codes = {reason.code for reason in self.consequence}
        if CONTRACT_BROKEN in codes:
            return say("form.breaks")
        return say("form.breaks_limit") if LIMIT_EXCEEDED in codes else ""

    @property
    def problem(self) -> Line | None:
        """The refusal as a line; None where there is none, or the checks show it."""
        if not self.refusal or self.checks:
            return None
        return self.refusal, Ink.DIM if self.unreadable else Ink.MEDIUM


def typed_only(form: CommandForm, preview: Preview) -> Preview:
    """The gateway's answer, without what the order does while nobody has typed its value: another one was asked for."""
    typed = all(form.text(name) for name in ("value", "by") if form.has(name))
    return preview if typed else msgspec.structs.replace(preview, consequence=(), breaks_contract=False)


def consequence_lines(assessment: Assessment, model: Model) -> list[Line]:
    """What an order or a drill would replace, and do until it ends; contract and limits marked where it breaks them.

    Nothing where that is not known.
    """
    if not assessment.consequence:
        return []
    checked = len(assessment.checks)
    before: list[Line] = [(say("form.checks_hold", n=checked), Ink.PLAIN)] if checked else []
    before += [] if assessment.preview is None else _replaced_lines(assessment.preview, model)
    return [*before, *map(_consequence_line, assessment.consequence)]


def _consequence_line(reason: Reason) -> Line:
    broken = reason.code in (CONTRACT_BROKEN, LIMIT_EXCEEDED)
    return (f"▲ {words(reason)}", Ink.MEDIUM) if broken else (words(reason), Ink.PLAIN)


def _replaced_lines(preview: Preview, model: Model) -> list[Line]:
    """The order in force that this one replaces."""
    if preview.standing is None or model.published is None:
        return []
    return [(labelled("form.replaces", order_text(preview.standing, model.published.snapshot.mono_s)), Ink.BOLD)]


def detail_lines(form: CommandForm, assessment: Assessment, model: Model, refused: bool) -> list[Line]:
    """How things stand now, what is allowed now, and why. refused: the answer was no, and is shown below."""
    if form.id == "drill.start":
        return _drill_lines(assessment.checks, refused)
    if form.id in ENDING:
        return [_ended_order_line(form, model)]
    if form.kind is None:
        return [_islanding_line(model)]
    if assessment.preview is None:
        return [] if refused else [(labelled("form.now", say("form.asking")), Ink.DIM)]
    return _order_lines(form, assessment.preview, model)


def _drill_lines(checks: Sequence[Check], refused: bool) -> list[Line]:
    """Whether the checks hold, and each of them; only those that fail if one does."""
    if not checks:
        return [("" if refused else say("form.checks_asked"), Ink.PLAIN)]
    failed = [c for c in checks if not c.ok]
    if failed:
        head = say("form.checks_fail", failed=len(failed), n=len(checks))
        return [(head, Ink.MEDIUM), *check_lines(failed)]
    return [(say("form.checks_hold", n=len(checks)), Ink.PLAIN), *check_lines(checks)]


def _ended_order_line(form: CommandForm, model: Model) -> Line:
    """The order that is to be ended."""
    order = chosen_order(form, model)
    if order is None or model.published is None:
        return say("form.not_in_force", id=repr(form.text("id"))), Ink.MEDIUM
    return order_text(order, model.published.snapshot.mono_s), Ink.PLAIN


def _islanding_line(model: Model) -> Line:
    """The state at the PCC, and why."""
    decision = model.published.decision if model.published else None
    state = decision.island if decision is not None else IslandState.UNKNOWN
    reason = words(decision.islanding.reason) if decision is not None and decision.islanding is not None else ""
    return labelled("form.now", f"{state_name(state)}: {reason}"), Ink.PLAIN


def _order_lines(form: CommandForm, preview: Preview, model: Model) -> list[Line]:
    """What steers now, the orders that this one replaces or withdraws, and the range."""
    lines: list[Line] = [(labelled("form.now", words(preview.old)), Ink.PLAIN)]
    lines += _replaced_lines(preview, model)
    if model.published is not None and form.id == "order.stop":
        ended = [o.id for o in model.published.orders if o.kind is not OrderKind.DISABLE]
        lines.append((labelled("form.withdraws", ", ".join(ended) or say("form.nothing_in_force")), Ink.PLAIN))
    return lines + [(text, Ink.PLAIN) for text in range_lines(preview)]


def range_lines(preview: Preview, width: int = RANGE_COLUMNS) -> list[str]:
    """The range now and what sets each end of it; one reason for both ends is written once."""
    low, high = (None if bound is None else bound_text(bound, preview.unit) for bound in (preview.low, preview.high))
    if low is not None and high is not None and preview.low_why == preview.high_why:
        first, *rest = wrap(f"{low} … {high}, {words(preview.low_why)}", width - INDENT, 2)
        return [labelled("form.allowed", first), *(f"{'':<{INDENT}}{line}" for line in rest)]
    ends = ((low, "form.at_least", preview.low_why), (high, "form.at_most", preview.high_why))
    return [labelled(code, f"{bound}, {words(reason)}") for bound, code, reason in ends if bound is not None]


def labelled(code: str, text: str) -> str:
    """A line behind its label."""
    return f"{padded(say(code), INDENT - 1)} {text}"


def bound_text(value: float, unit: str) -> str:
    """An end of the range, in the unit in which it is typed."""
    return f"{value / 1000:+.1f} kW" if unit == "W" and abs(value) >= 50 else f"{value + 0.0:.0f} {unit}"


def fitted_rows(lines: Sequence[Line], width: int, rows: int) -> list[Line]:
    """`lines` in at most `rows` rows: one that is too long continues below while a row is free, else it is cut."""
    spare, fitted = rows - len(lines), list[Line]()
    for text, ink in lines[:rows]:
        if columns(text) <= width or spare <= 0:
            fitted.append((cut(text, width), ink))
            continue
        label, said = split_at(text, INDENT)
        label += " " if said.startswith(" ") else ""
        first, *rest = wrap(said, width - columns(label), spare + 1)
        fitted += [(label + first, ink), *((" " * INDENT + line, ink) for line in rest)]
        spare -= len(rest)
    return fitted
