"""The commands for manual orders: requests to the gateway, which decides, and its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from console.cli.data_source import Live, gateway
from console.cli.ending import ends_one
from console.cli.json_output import json_text, with_words
from console.cli.line_formats import labelled
from console.display.formats import hour_minute_zone
from console.display.language import say
from console.display.language import words as in_words
from console.display.wrapping import padded
from console.language_option import language_option
from console.terminal_output import one_line
from console.value_parsers import NOT_SAID, duration, json_option, moment, percent, power, site_option
from dispatch.model.orders import REASON_MIN, Order, OrderKind, Preview
from dispatch.model.reasons import Reason
from dispatch.orders.book import asked
from dispatch.wording.formatting import span

_SIGNED = {"ignore_unknown_options": True}  # "-20kW" is a power, not an option
Decorated = Callable[..., Any]

_for_option = click.option(
    "--for", "for_s", type=duration, metavar="TIME", help="Duration. Default: that of the site file, 15 min."
)
_reason_option = click.option("--reason", default="", metavar="TEXT", help="Reason; shown to other users and recorded.")
_order_reason_option = click.option(
    "--reason",
    default="",
    metavar="TEXT",
    help=f"Reason, at least {REASON_MIN} characters; shown to other users and recorded.  [required]",
)
_replace_option = click.option("--replace", metavar="ID", help="Id of the order in force that this one replaces.")
_dry_option = click.option(
    "--dry-run", "dry", is_flag=True, help="Show old value, new value and the allowed range; give no order."
)


def _order_options(command: Decorated) -> Decorated:
    for option in (json_option, site_option, language_option, _dry_option, _replace_option, _order_reason_option):
        command = option(command)
    return command


@click.command(context_settings=_SIGNED)
@click.argument("watts", metavar="POWER", type=power)
@_for_option
@_order_options
def setpoint(watts: float, for_s: float | None, **options: Any) -> None:
    """Set the battery power of all PCS together for a time: 20kW discharges, -20kW charges.

    Device limits, safe values and the reserve take precedence over the order; it takes precedence over peak, ramp and
    plan. It ends by itself.
    """
    _give(OrderKind.SETPOINT, options, value=watts, for_s=for_s)


@click.command("import-target", context_settings=_SIGNED)
@click.argument("watts", metavar="POWER", type=power)
@_for_option
@_order_options
def import_target(watts: float, for_s: float | None, **options: Any) -> None:
    """Set the import at the PCC for a time: 30kW imports, -5kW exports. The battery covers the difference."""
    _give(OrderKind.IMPORT_TARGET, options, value=watts, for_s=for_s)


@click.command("soc-target")
@click.argument("pct", metavar="PERCENT", type=percent)
@click.option(
    "--by", "by", required=True, metavar="T", help="HH:MM today or an ISO 8601 time. Time zone and clock of the site."
)
@_order_options
def soc_target(pct: float, by: str, **options: Any) -> None:
    """Reach a state of charge by a time, at even power, below the peak as long as the time allows."""
    _give(OrderKind.SOC_TARGET, options, value=pct, by=by)


@click.command("reserve-level")
@click.argument("pct", metavar="PERCENT", type=percent)
@_for_option
@_order_options
def reserve_level(pct: float, for_s: float | None, **options: Any) -> None:
    """Keep another SoC in reserve for a time, such as before a storm. Below the declared reserve: engineers only."""
    _give(OrderKind.RESERVE_LEVEL, options, value=pct, for_s=for_s)


@click.command()
@click.argument("node", metavar="NODE")
@click.argument("watts", metavar="POWER", type=power)
@_for_option
@_order_options
def cap(node: str, watts: float, for_s: float | None, **options: Any) -> None:
    """Cap the power of a compute node for a time. The node must support caps."""
    _give(OrderKind.NODE_CAP, options, value=watts, target=node, for_s=for_s)


@click.command()
@click.argument("pcs", metavar="PCS")
@_for_option
@_order_options
def disable(pcs: str, for_s: float | None, **options: Any) -> None:
    """Take a PCS out of dispatch for a time: it stays at 0 kW. Not a lock-out: isolate it before you touch it."""
    _give(OrderKind.DISABLE, options, target=pcs, for_s=for_s)


@click.command()
@_for_option
@_reason_option
@_dry_option
@language_option
@site_option
@json_option
def hold(for_s: float | None, reason: str, dry: bool, site: str | None, as_json: bool) -> None:
    """Hold the batteries at 0 kW for a time, replacing any order. Always carried out, also with a full disk."""
    with gateway(site) as live:
        params: dict[str, Any] = {"kind": OrderKind.HOLD.value, "reason": reason, "for_s": for_s}
        if dry:
            _shown(live.link.request("order.preview", **params | {"reason": reason or NOT_SAID}), as_json)
            return
        _answered(live, live.link.request("order.set", **params), as_json)


@click.command()
@_reason_option
@language_option
@site_option
@json_option
def stop(reason: str, site: str | None, as_json: bool) -> None:
    """End all orders except disabled devices, and hold the batteries at 0 kW as long as the site allows.

    Always carried out, also with a full disk.
    """
    with gateway(site) as live:
        _answered(live, live.link.request("stop", reason=reason), as_json)


@click.command()
@language_option
@ends_one("ID|all")
def end(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """End a manual order by its id (see `skerry orders`), or all orders except disabled devices."""
    with gateway(site) as live:
        _ended(live, "*" if id_ == "all" else id_, reason, as_json)


@click.command()
@language_option
@ends_one("PCS")
def enable(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """End the order that disables a PCS."""
    with gateway(site) as live:
        listed = live.link.request("order.list")
        there = [o for o in listed if o["kind"] == OrderKind.DISABLE.value and o["target"] == id_]
        if not there:
            click.echo(say("order_text.not_disabled", pcs=id_))
            return
        _ended(live, there[0]["id"], reason, as_json)


@click.command()
@language_option
@site_option
@json_option
def orders(site: str | None, as_json: bool) -> None:
    """List the manual orders in force: who gave each, how long it lasts, and the reason."""
    with gateway(site) as live:
        found = live.link.request("order.list")
    if as_json:
        click.echo(json_text(found))
        return
    for raw in found:
        click.echo(_line(live, raw))
    if not found:
        click.echo(say("order_text.none"))


def _line(live: Live, raw: dict[str, Any]) -> str:
    left_s = raw.get("left_s")
    order = msgspec.convert(raw, Order)
    time = hour_minute_zone(order.ends_utc_s, live.zone)
    until = say("order_text.until", time=time)
    if left_s is not None:
        until = say("order_text.until_left", time=time, left=span(left_s))
    whose = f"{order.who}: {order.reason}".rstrip(": ")
    return one_line(f"{order.id:<6} {padded(_order_words(order), 28)} {padded(until, 28)} {whose}")


def _give(
    kind: OrderKind,
    options: dict[str, Any],
    value: float = 0.0,
    target: str = "",
    for_s: float | None = None,
    by: str | None = None,
) -> None:
    with gateway(options["site"]) as live:
        seen_utc_s = live.now_utc_s()
        params: dict[str, Any] = {"kind": kind.value, "value": value, "target": target, "reason": options["reason"]}
        params["for_s"] = for_s
        if by is not None:
            params["by_utc_s"] = moment(by, seen_utc_s, live.zone)
        if options["dry"]:
            params["reason"] = options["reason"] or NOT_SAID
            _shown(live.link.request("order.preview", **params), options["as_json"])
            return
        params |= {"seen_utc_s": seen_utc_s, "replace": options["replace"]}
        _answered(live, live.link.request("order.set", **params), options["as_json"])


def _shown(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json_text(with_words(found)))
        return
    preview = msgspec.convert(found, Preview)
    old, new = in_words(preview.old), in_words(preview.new)
    click.echo(say("order_text.change", old=old, new=new, span=span(preview.for_s)))
    bounds = (("form.at_least", preview.low, preview.low_why), ("form.at_most", preview.high, preview.high_why))
    for code, bound, why in bounds:
        if bound is not None:
            click.echo(labelled(code, f"{_figure(bound, preview.unit)}  {in_words(why)}"))
    if (one := preview.standing) is not None:
        text = say("order_text.standing", id=one.id, who=one.who, what=_order_words(one), reason=one.reason)
        click.echo(labelled("order_text.in_force", text))
    for note in preview.notes:
        click.echo(labelled("order_text.note", in_words(note)))
    for n, line in enumerate(preview.consequence):
        click.echo(f"{'':<9} {in_words(line)}" if n else labelled("order_text.then", in_words(line)))


def _order_words(order: Order) -> str:
    """What an order asks for."""
    return in_words(asked(order.kind, order.value, order.target))


def _figure(value: float, unit: str) -> str:
    """A bound in the unit in which it is typed; what would round to 0.0 kW in watts."""
    return f"{value / 1000:.1f} kW" if unit == "W" and abs(value) >= 50 else f"{value + 0.0:.4g} {unit}"


def _answered(live: Live, answer: dict[str, Any], as_json: bool) -> None:
    """Print what the gateway did."""
    if as_json:
        click.echo(json_text(with_words(answer)))
        return
    order = msgspec.convert(answer["order"], Order)
    until = hour_minute_zone(order.ends_utc_s, live.zone)
    old, new = _words_of(answer["old"]), _words_of(answer["new"])
    click.echo(say("order_text.given", id=order.id, old=old, new=new, until=until, span=span(answer["for_s"])))
    if answer["replaced"] is not None:
        before = msgspec.convert(answer["replaced"], Order)
        text = say("order_text.replaced", id=before.id, who=before.who, what=_order_words(before))
        click.echo(labelled("form.replaces", text))
    for note in answer["notes"]:
        click.echo(labelled("order_text.note", _words_of(note)))
    click.echo(labelled("form.now", _words_of(answer["effect"])))
    _warn(answer["not_durable"])


def _ended(live: Live, id_: str, reason: str, as_json: bool) -> None:
    answer = live.link.request("order.end", id=id_, reason=reason, seen_utc_s=live.now_utc_s())
    if as_json:
        click.echo(json_text(with_words(answer)))
        return
    click.echo(labelled("order_text.ended", ", ".join(answer["ended"]) or say("answer.nothing_ended")))
    click.echo(labelled("form.now", _words_of(answer["effect"])))
    _warn(answer["not_durable"])


def _words_of(reason: dict[str, Any]) -> str:
    return in_words(msgspec.convert(reason, Reason))


def _warn(trouble: str) -> None:
    if trouble:
        click.echo(f"skerry: done, but not durable: {trouble}", err=True)
