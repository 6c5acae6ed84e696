"""`skerry devices prove`: prove how a PCS behaves, with a person beside it; the figures, and what is kept of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

import click
import msgspec

from console.cli.data_source import Live, gateway
from console.cli.failures import Failure
from console.cli.island import check_line
from console.cli.json_output import json_text, with_words
from console.display.formats import date_clock_zone
from console.display.language import words
from console.display.wrapping import padded
from console.value_parsers import json_option, site_option
from dispatch.model.islanding import Check
from dispatch.model.proofs import Estimate, MeasuredResponse, Proof, ProofReport, Proofs, Reversion
from dispatch.model.reasons import Reason
from dispatch.wording.formatting import kw
from gateway import exit_codes

LOOK_S = 0.5  # between two looks how it goes
ASKED = "It moves the battery by up to 30 % of its rating, both ways, for minutes. Is {on_site} beside it?"


@click.command()
@click.argument("name", required=False, metavar="[PCS]")
@click.option("--on-site", "on_site", default="", metavar="NAME", help="Who watches the PCS; yourself if not given.")
@click.option("--yes", is_flag=True, help="Confirm without being asked that a person is beside it.")
@click.option("--accept-peak", is_flag=True, help="Accept without being asked that the billed peak may rise.")
@click.option("--dry-run", "dry", is_flag=True, help="Show the checks only.")
@click.option("--list", "as_list", is_flag=True, help="List what has been proven.")
@site_option
@json_option
def prove(
    name: str | None,
    on_site: str,
    yes: bool,
    accept_peak: bool,
    dry: bool,
    as_list: bool,
    site: str | None,
    as_json: bool,
) -> None:
    """Measure how a PCS answers setpoints, and keep the result. Engineers only.

    Steps the battery by 5, 15 and 30 % of its rating in both directions, as far as limits, contract and export leave
    room, then stops writing until it reverts. It needs an SoC of 30 to 70 %, a calm load, no manual order and the grid.
    Ctrl-C, a load pulse or a PCS or meter that moves wrongly ends it; plan and rules command the PCS again at once.
    Meanwhile the PCS holds no peak down: where that may raise the month's billed peak, it says by how much, and asks;
    --yes does not answer that.
    """
    if as_list:
        _list(site, as_json)
        return
    if not name:
        raise click.UsageError("Missing argument '[PCS]'.")
    with gateway(site) as there:
        on_site = on_site or there.link.welcome.user
        answer = there.link.request("prove.check", pcs=name, on_site=on_site)
        _checked(answer, as_json and dry, quiet=as_json and not dry)
        if dry:
            return
    peak = _peak(answer)
    _confirm(peak, on_site, yes, accept_peak)
    with gateway(site) as there:
        asked = {"pcs": name, "on_site": on_site, "accept_peak": accept_peak or peak is not None}
        there.link.request("prove.start", **asked, seen_utc_s=there.now_utc_s())
        report = _watched(there, quiet=as_json)
    if as_json:
        click.echo(json_text(with_words(msgspec.to_builtins(report))))
    else:
        for line in result_lines(report):
            click.echo(line)
    if not report.proven:
        raise Failure("not proven" if report.result is None else words(report.result), exit_codes.FAILED)


def _checked(answer: dict[str, Any], as_json: bool, quiet: bool = False) -> None:
    """Show the checks; raise Failure where one fails."""
    if as_json:
        click.echo(json_text(with_words(answer)))
    elif not quiet:
        for check in msgspec.convert(answer["checks"], list[Check]):
            click.echo(check_line(check))
        if (peak := _peak(answer)) is not None:
            click.echo(f"! {padded(words(Reason('check.peak')), 18)} {words(peak)}")
    if not answer["ok"]:
        raise Failure(words(msgspec.convert(answer["reason"], Reason)), exit_codes.REFUSED)


def _confirm(peak: Reason | None, on_site: str, yes: bool, accept_peak: bool) -> None:
    """Ask what was not confirmed by an option. `yes` says that somebody is on site, and nothing of the peak."""
    if peak is not None and not accept_peak:
        if yes:
            raise Failure(words(Reason("prove.peak_not_accepted", {"peak": peak})), exit_codes.REFUSED)
        click.confirm(f"{words(peak)}. Go on?", abort=True, err=True)
    if not yes:
        click.confirm(ASKED.format(on_site=on_site), abort=True, err=True)


def _peak(answer: dict[str, Any]) -> Reason | None:
    """By how much it may raise the billed peak; None: it does not, or the gateway is older and does not say."""
    return msgspec.convert(answer.get("peak"), Reason | None)


def _watched(there: Live, quiet: bool) -> ProofReport:
    """Follow the proof to its end, line by line; Ctrl-C ends it."""
    shown = 0
    try:
        while True:
            report = msgspec.convert(_without_texts(there.link.request("prove.status", watch=True)), ProofReport)
            for line in () if quiet else report.lines[shown:]:
                click.echo(words(line))
            shown = len(report.lines)
            if not report.running:
                return report
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        there.link.request("prove.abort")
        raise


def _without_texts(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "texts"}


def result_lines(report: ProofReport) -> Iterator[str]:
    """The figures of a proof, each with its range."""
    if report.response is not None:
        yield ""
        yield f"{'':<14} {'measured':>10}   {'99 % range':<20}"
        yield from response_lines(report.response)
    if report.reversion is not None:
        yield f"{'on silence':<14} {reversion_text(report.reversion)}"
    if report.at_zero is not None:
        state = f", {report.at_zero.state}" if report.at_zero.state else ""
        yield f"{'at 0 kW':<14} {kw(report.at_zero.w)}{state}"
    if report.result is not None:
        yield ""
        yield words(report.result)


def response_lines(found: MeasuredResponse) -> Iterator[str]:
    """The figures of a response."""
    yield _row("PCS gain", found.pcs_gain, "", 1.0)
    yield _row("meter gain", found.meter_gain, "", 1.0)
    for n, phase in enumerate(found.phase_gains, start=1):
        yield _row(f"  L{n}", phase, "", 1.0)
    yield _row("dead time", found.dead_time_s, "ms", 1000.0)
    yield _row("lag", found.lag_s, "ms", 1000.0)
    if found.ramp_w_per_s is None:
        yield f"{'ramp':<14} {'none':>10}   seen: the lag is slower"
    else:
        yield _row("ramp", found.ramp_w_per_s, "kW/s", 0.001)
    if found.meter_delay_s.value < 0:
        yield _row("meter ahead", found.meter_delay_s, "ms", -1000.0)
    else:
        yield _row("meter delay", found.meter_delay_s, "ms", 1000.0)


def _row(name: str, found: Estimate, unit: str, factor: float) -> str:
    digits = 0 if unit == "ms" else 2
    bounds = sorted((factor * found.low, factor * found.high))
    value, low, high = (f"{x:.{digits}f}" for x in (factor * found.value, *bounds))
    return f"{name:<14} {value:>10}   {low} to {high}{' ' if unit else ''}{unit}"


def reversion_text(found: Reversion) -> str:
    """What it did when nothing was written any more."""
    if found.after_s is None:
        return f"keeps its setpoint: still {kw(found.held_w)} after {found.waited_s:.0f} s"
    to = "" if found.to_w is None else f", goes to {kw(found.to_w)}"
    return f"reverts after {found.after_s.value:.1f} s ({found.after_s.low:.1f} to {found.after_s.high:.1f}){to}"


def _list(site: str | None, as_json: bool) -> None:
    with gateway(site) as there:
        answer, zone = there.link.request("prove.list"), there.zone
    if as_json:
        click.echo(json_text(answer))
        return
    kept = msgspec.convert(answer, Proofs)
    if not kept.proofs:
        click.echo("Nothing has been proven yet: skerry devices prove PCS")
    for proof in kept.proofs.values():
        for line in proof_lines(proof, zone):
            click.echo(line)
        change = kept.changed.get(proof.device_id)
        if change is not None:
            firmware = change.identity.firmware or "another device"
            click.echo(f"  NOT as proven: it says {firmware} since {date_clock_zone(change.since_utc_s, zone)}")


def proof_lines(proof: Proof, zone: tzinfo) -> Iterator[str]:
    """One proof as text."""
    who = f"{proof.who}, watched by {proof.on_site}"
    yield f"{proof.device_id}  proven {date_clock_zone(proof.utc_s, zone)} by {who}"
    yield f"  {proof.identity.text or 'it does not say what it is'}; driver {proof.driver}"
    yield from (f"  {line}" for line in response_lines(proof.response))
    yield f"  {'on silence':<14} {reversion_text(proof.reversion)}"
