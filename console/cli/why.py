"""`skerry why`: shows a decision and the rules that led to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

import click
import msgspec

from console.cli.data_source import Live, Record, gateway_or_record
from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.cli.line_formats import caps_words, flow, labelled, mode_words
from console.display.formats import date_clock_zone
from console.display.language import rule_name, say, words
from console.display.wrapping import columns, ending, padded
from console.language_option import language_option
from console.value_parsers import json_option, moment, site_option
from dispatch.model.decision import Decision, RuleTrace
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import RULE_NUMBERS
from dispatch.wording.formatting import kw_column
from gateway import exit_codes


@click.command()
@click.option(
    "--at", "at", metavar="T", help="HH:MM[:SS] today, an ISO 8601 time, or -10m. Time zone and clock of the site."
)
@language_option
@site_option
@json_option
def why(at: str | None, site: str | None, as_json: bool) -> None:
    """Explain the decision now or at a time: the interval and preference of each rule, and which rule was binding (●).

    In JSON, a bound of null means that there is none; a reason has its code, its figures and its text.
    """
    with gateway_or_record(site) as source:
        at_utc_s = None if at is None else moment(at, source.now_utc_s(), source.zone)
        decision = source.why(at_utc_s)
        expected = source.month_end() if isinstance(source, Live) and at is None and not as_json else None
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if decision is None:
        raise Failure("no decision is on record within 90 s before that time", exit_codes.FAILED)
    if as_json:
        click.echo(json_text(with_words(msgspec.to_builtins(decision))))
        return
    for line in lines(decision, source.zone, expected):
        click.echo(line)


def lines(decision: Decision, zone: tzinfo, month_end: Reason | None = None) -> Iterator[str]:
    """The decision as text. `month_end`: what the plan in force expects of the month's peak."""
    yield f"{date_clock_zone(decision.utc_s, zone)} · {mode_words(decision)}"
    asked, on_genset = decision.battery_w, decision.island is IslandState.GENSET
    directions = say("direction.discharge"), say("direction.charge")
    yield labelled("why.asked", say("why.nothing") if asked is None else flow(asked, *directions).strip())
    yield labelled("why.because", words(decision.reason))
    if decision.net_load_w is not None:
        text = f"{kw_column(decision.net_load_w)} kW {say('why.less_pv')}"
        if decision.import_target_w is not None:
            wanted = "why.generator_wanted" if on_genset else "why.import_wanted"
            text += f", {say(wanted, kw=kw_column(decision.import_target_w))}"
        yield labelled("why.net_load", text)
    if month_end is not None:
        yield labelled("why.peak", words(month_end))
    if decision.caps is not None:
        yield labelled("row.caps", caps_words(decision.caps))
    if decision.chain:
        yield ""
        yield from table(decision.chain)


def table(chain: tuple[RuleTrace, ...]) -> Iterator[str]:
    """The chain; powers are the battery's, kW, > 0 discharges. ● below "set": the rule changed the outcome."""
    heads = ("why.least", "why.most", "why.prefers", "why.reason")
    rows = [(say("why.set"), say("why.rule"), "", *(say(code) for code in heads))]
    rows += [
        (
            "●" if t.bound else " ",
            str(RULE_NUMBERS[t.rule]),
            rule_name(t.rule),
            kw_column(t.low_w),
            kw_column(t.high_w),
            kw_column(t.preferred_w),
            words(t.reason),
        )
        for t in chain
    ]
    widths = [max(columns(row[n]) for row in rows) for n in range(6)]
    for mark, number, name, low, high, preferred, reason in rows:
        yield (
            f"{padded(mark, widths[0])} {ending(number, widths[1])} {padded(name, widths[2])}  "
            f"{ending(low, widths[3])}  {ending(high, widths[4])}  {ending(preferred, widths[5])}  {reason}"
        ).rstrip()
