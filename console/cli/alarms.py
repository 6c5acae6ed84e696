"""`skerry alarms` lists alarms and looks back; `skerry alarm` takes one off the list and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

import click
import msgspec

from console.cli.data_source import Live, Record, gateway, gateway_or_record
from console.cli.ending import ends_one
from console.cli.json_output import json_text, with_words
from console.display.formats import date_clock_zone, hour_minute_zone
from console.display.language import alarm_text, say, say_n, say_of, words
from console.display.wrapping import padded
from console.language_option import language_option
from console.terminal_output import one_line
from console.value_parsers import duration, json_option, moment, site_option
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.alarms.flood import AlarmRate
from dispatch.alarms.shelving import SHELVED
from dispatch.alarms.states import Alarm, AlarmState, FirstOut, ShelvedAlarm
from dispatch.wording.formatting import span

DAY_S = 86_400.0


@click.command()
@click.option("--group", metavar="GROUP", help="Only those of a group: grid, battery, pv, compute, islanding, ...")
@click.option("--history", is_flag=True, help="Those that came, how long they stood, and who acknowledged them.")
@click.option("--since", metavar="T", help="With --history: HH:MM today or an ISO 8601 time. Default: 24 h ago.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="With --history: the newest."
)
@language_option
@site_option
@json_option
def alarms(group: str | None, history: bool, since: str | None, limit: int, site: str | None, as_json: bool) -> None:
    """List the alarms by group, the most urgent first, and those that are shelved or out of service."""
    if since and not history:
        raise click.UsageError("--since takes --history: alarms that stand now are listed whenever they came.")
    if history:
        _show_history(group, since, limit, site, as_json)
        return
    with gateway(site) as live:
        status = live.status()
    if as_json:
        shown = {name: status.get(name) for name in ("alarms", "shelved", "first_out", "alarm_rate")}
        click.echo(json_text(with_words(shown)))
        return
    found = msgspec.convert(status["alarms"], tuple[Alarm, ...])
    for line in _lines(status, [alarm for alarm in found if group in (None, alarm.group)], live.zone):
        click.echo(one_line(line) if line.strip() else "")


def _lines(status: dict[str, Any], found: list[Alarm], zone: tzinfo) -> Iterator[str]:
    """Group by group in the order of their most urgent alarm."""
    if not found:
        yield say("alarm_text.none")
    for group in dict.fromkeys(alarm.group for alarm in found):
        yield say_of("group", group) if group else say("alarm_text.others")
        for alarm in found:
            if alarm.group == group:
                yield from _alarm_lines(alarm, zone)
    first = msgspec.convert(status.get("first_out"), FirstOut | None)
    if first is not None:
        seen = f": {words(first.detail)}" if first.detail else ""
        yield say("alarm_text.first_out", id=first.id, time=date_clock_zone(first.utc_s, zone), seen=seen)
    for one in msgspec.convert(status.get("shelved") or (), tuple[ShelvedAlarm, ...]):
        yield _shelved_line(one, zone)
    rate = msgspec.convert(status.get("alarm_rate"), AlarmRate | None)
    if rate is not None:
        yield say("alarm_text.flood" if rate.flood else "alarm_text.rate", n=rate.per_10_min)


def _alarm_lines(alarm: Alarm, zone: tzinfo) -> Iterator[str]:
    said = alarm_text(alarm.id, alarm.detail)
    state = say(f"status.alarm_{alarm.state.value}")
    state += f" {say('alarm_text.by', who=alarm.acknowledged_by)}" if alarm.acknowledged_by else ""
    state += "" if alarm.act_within_s is None else say("alarm_text.within", span=span(alarm.act_within_s))
    since = hour_minute_zone(alarm.since_utc_s, zone)
    text = say("alarm_text.line", id=alarm.id, title=said.title, time=since, state=state)
    yield f"  {padded(say(f'priority.{alarm.priority.value}'), 6)}  {text}"
    yield f"          {say('status.do', action=said.action)}"


def _shelved_line(one: ShelvedAlarm, zone: tzinfo) -> str:
    kept = one.suppression
    until = ""
    if kept.until_utc_s is not None:
        until = f" {say('alarm_text.until', time=hour_minute_zone(kept.until_utc_s, zone))}"
    stands = one.state in (AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED)
    state = say("alarm_text.stands" if stands else "alarm_text.not_there")
    state += f", {say_n('alarms.came_meanwhile', one.came)}" if one.came else ""
    since, kind = date_clock_zone(kept.since_utc_s, zone), "alarms.shelved" if until else "alarms.out_of_service"
    figures = {"who": kept.who, "time": since, "reason": kept.reason, "state": state}
    return f"{padded(say(kind), 14)}  {say('alarm_text.shelved', id=f'{kept.id}{until}', **figures)}"


def _show_history(group: str | None, since: str | None, limit: int, site: str | None, as_json: bool) -> None:
    with gateway_or_record(site) as source:
        now_s = source.now_utc_s()
        since_s = now_s - DAY_S if since is None else moment(since, now_s, source.zone)
        found = _episodes(source, since_s, now_s + 1.0, limit)
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if group is not None:
        from dispatch.alarms.definitions import DEFINITIONS

        names = {definition.id for definition in DEFINITIONS if definition.group == group}
        found = [one for one in found if one.id.partition(":")[0] in names]
    if as_json:
        click.echo(json_text(found))
        return
    if not found:
        click.echo(say("alarm_text.none_came"))
    for one in reversed(msgspec.convert(found, list[AlarmEpisode])):
        click.echo(one_line(episode_line(one, source.zone)))


def _episodes(source: Live | Record, since_s: float, until_s: float, limit: int) -> list[AlarmEpisode]:
    if isinstance(source, Record):
        return source.archive.alarm_history(since_s, until_s, limit)
    answer = source.link.request("alarm.history", since_utc_s=since_s, until_utc_s=until_s, limit=limit)
    return msgspec.convert(answer, list[AlarmEpisode])


def episode_line(one: AlarmEpisode, zone: tzinfo) -> str:
    """When it came, how long it stood, who acknowledged it when, what was seen."""
    if one.lasted_s is not None:
        lasted = span(one.lasted_s)
    else:
        lasted = say("history.not_known" if one.restart_utc_s is not None else "history.stands")
    rises = "".join(f"; {hour_minute_zone(r.utc_s, zone)} {r.text}" for r in one.raised)
    by = say("history.not_acknowledged")
    if one.acknowledged_utc_s is not None:
        after = span(one.acknowledged_utc_s - one.came_utc_s)
        by = say("history.acknowledged_by", who=one.acknowledged_by, span=after)
    if one.restart_utc_s is not None:
        by += f", {say('history.gateway_restarted', time=hour_minute_zone(one.restart_utc_s, zone))}"
    came = date_clock_zone(one.came_utc_s, zone)
    return f"{came}  {padded(lasted, 10)}  {one.severity:<7}  {one.id:<24}  {one.text}{rises}; {by}"


@click.group()
def alarm() -> None:
    """Take one alarm off the list: shelved for a time, or out of service; and list it again."""


_reason = click.option("--reason", required=True, metavar="TEXT", help="Reason; shown to other users and recorded.")


@alarm.command()
@click.argument("id_", metavar="ID")
@click.option("--for", "for_s", type=duration, required=True, metavar="TIME", help="How long, 1 min to 24 h.")
@_reason
@site_option
@json_option
def shelve(id_: str, for_s: float, reason: str, site: str | None, as_json: bool) -> None:
    """Shelve an alarm that is listed, by its id: it comes back by itself. Operators only."""
    with gateway(site) as live:
        answer = live.link.request("alarm.shelve", id=id_, for_s=for_s, reason=reason, seen_utc_s=live.now_utc_s())
    until = hour_minute_zone(answer["until_utc_s"], live.zone)
    _done(answer, f"{id_} is {SHELVED} until {until}", as_json)


@alarm.command("out-of-service")
@click.argument("id_", metavar="ID")
@_reason
@site_option
@json_option
def out_of_service(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """Take an alarm out of service until somebody takes it back. Engineers only."""
    with gateway(site) as live:
        answer = live.link.request("alarm.out_of_service", id=id_, reason=reason, seen_utc_s=live.now_utc_s())
    _done(answer, f"{id_} is out of service until: skerry alarm return {id_}", as_json)


@alarm.command("return")
@ends_one()
def return_(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """List an alarm again that is shelved or out of service."""
    with gateway(site) as live:
        answer = live.link.request("alarm.return", id=id_, reason=reason)
    _done(answer, f"{id_} is listed again when it stands", as_json)


def _done(answer: dict[str, Any], line: str, as_json: bool) -> None:
    click.echo(json_text(answer) if as_json else line)
    if answer["not_durable"]:
        click.echo(f"skerry: done, but not durable: {answer['not_durable']}", err=True)
