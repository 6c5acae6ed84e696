"""`skerry fleet limit` and `skerry fleet key`: signed limits of import, the one thing by which a fleet acts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from console.cli.failures import Failure
from console.cli.fleet_sites import chosen_sites, sites_option, ssh_option
from console.cli.json_output import json_text
from console.display.formats import date_hour_minute, zone_named
from console.display.language import words
from console.terminal_output import one_line
from console.value_parsers import duration, json_option, moment, power
from dispatch.orders.signal_book import Taken
from dispatch.wording.formatting import kw
from fleet.limit import LAST_UTC_S, SOURCE, Limit, NoKey, hand_in, new_key, public_key, signed, signing_key
from fleet.sites import SiteAddress
from fleet.transport import open_link
from fleet.watch import ask_overview
from gateway import exit_codes
from gateway.errors import LinkLost, RequestFailed

source_option = click.option(
    "--source", default=SOURCE, show_default=True, metavar="URI", help="`source` of the [[signal]] in the site files."
)


class Wanted(NamedTuple):
    """What is to be limited. `import_w` None: the limits of this key end."""

    import_w: float | None
    start: str | None
    end: str | None
    for_s: float | None


class Said(msgspec.Struct, frozen=True):
    """What came of it at one site. `trouble` empty: it was accepted."""

    name: str
    trouble: str = ""
    number: int = 0
    timezone: str = "UTC"
    taken: Taken = Taken()


@click.command()
@click.argument("names", metavar="SITE...", nargs=-1, required=True)
@click.option("--import", "import_w", type=power, metavar="POWER", help="The limit, such as 40kW.")
@click.option("--end", "ends", is_flag=True, help="Instead of --import: the limits of this key end until --until.")
@click.option("--from", "start", metavar="T", help="HH:MM today at the site or an ISO 8601 time. Default: now.")
@click.option("--until", "end", metavar="T", help="HH:MM today at the site or an ISO 8601 time.")
@click.option("--for", "for_s", type=duration, metavar="TIME", help="Duration, instead of --until.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Private key, of `skerry fleet key`.",
)
@source_option
@sites_option
@ssh_option
@json_option
def limit(
    names: tuple[str, ...],
    import_w: float | None,
    ends: bool,
    start: str | None,
    end: str | None,
    for_s: float | None,
    key_file: Path,
    source: str,
    file: Path | None,
    ssh: str | None,
    as_json: bool,
) -> int:
    """Sign a limit of import for each SITE and send it by the site's link. Exit code 1 if a site refuses it.

    The signature is the right: the site checks it with the public_key of a [[signal]] of the sort fleet in its site
    file. A limit names its site, has a number that must rise, and ends. It only narrows what the site may import, and
    never sheds load or spends the reserve.
    """
    if (import_w is None) != ends:
        raise click.UsageError("Expected one of --import and --end.")
    if import_w is not None and import_w < 0:
        raise click.UsageError("--import: expected 0 or more")
    if (end is None) == (for_s is None):
        raise click.UsageError("Expected one of --until and --for: nothing stands without an end.")
    found, command = chosen_sites(names, file, ssh)
    try:
        key = signing_key(key_file)
    except NoKey as error:
        raise Failure(str(error)) from None
    wanted = Wanted(import_w, start, end, for_s)

    async def all_sites() -> list[Said]:
        return await asyncio.gather(*(_limit_site(site, command, wanted, key, source) for site in found))

    done = asyncio.run(all_sites())
    if as_json:
        click.echo(json_text(done))
    else:
        click.echo("\n".join(one_line(line) for said in done for line in lines(said)))
    return exit_codes.FAILED if any(said.trouble for said in done) else exit_codes.OK


async def _limit_site(site: SiteAddress, ssh: tuple[str, ...], wanted: Wanted, key: Any, source: str) -> Said:
    """Sign for one site, and send it there. What the site cannot or will not do is its trouble."""
    link = None
    try:
        link = await open_link(site, ssh)
        identity = link.client.welcome.identity
        if identity is None or not identity.kept:
            return Said(site.name, "it has no identity that is kept: a limit could not name it")
        now, _ = await ask_overview(link.client)
        order = _limit(wanted, identity.site, now.utc_s, now.timezone)
        taken = await hand_in(link.client, signed(order, key, source))
        return Said(site.name, "", order.number, now.timezone, taken)
    except click.BadParameter as error:
        return Said(site.name, error.message)
    except (LinkLost, RequestFailed, OSError, msgspec.ValidationError) as error:
        return Said(site.name, one_line(str(error)))
    finally:
        if link is not None:
            await link.close()


def _limit(wanted: Wanted, site: str, now_utc_s: float, timezone: str) -> Limit:
    """Numbers are this machine's UTC milliseconds: they rise from command to command. Raises click.BadParameter."""
    zone = zone_named(timezone)
    start_s = now_utc_s if wanted.start is None else moment(wanted.start, now_utc_s, zone)
    end_s = start_s + (wanted.for_s or 0.0) if wanted.end is None else moment(wanted.end, now_utc_s, zone)
    if not (0 <= start_s <= LAST_UTC_S and end_s <= LAST_UTC_S):
        raise click.BadParameter("a start or an end that no calendar has")
    return Limit(
        site=site,
        number=time.time_ns() // 1_000_000,
        import_w=wanted.import_w,
        start_utc_s=start_s,
        end_utc_s=end_s,
    )


def lines(said: Said) -> Iterator[str]:
    """What came of it, as text."""
    if said.trouble:
        yield f"{said.name}: REFUSED or not asked: {said.trouble}"
        return
    zone = zone_named(said.timezone)
    for signal in said.taken.signals:
        span = f"{date_hour_minute(signal.start_utc_s, zone)} to {date_hour_minute(signal.end_utc_s, zone)}"
        what = f"{signal.quantity.value} at most {kw(signal.limit_w)}"
        yield f"{said.name}: {signal.id}: {what}, {span}, number {said.number}"
    for signal in said.taken.ended:
        yield f"{said.name}: {signal.id} ended"
    if not (said.taken.signals or said.taken.ended):
        yield f"{said.name}: taken; no limit changes"
    for note in said.taken.notes:
        yield f"{said.name}: note: {words(note)}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@source_option
def key(file: Path, source: str) -> None:
    """Write a new private key to FILE, and print the section of the site files that trusts it.

    FILE must not exist. Who has it may limit the import of every site whose site file has the section.
    """
    try:
        made = new_key(file)
    except NoKey as error:
        raise Failure(str(error)) from None
    click.echo(f'[[signal]]\nid = "fleet"\nsort = "fleet"\nsource = "{source}"\npublic_key = "{public_key(made)}"')
