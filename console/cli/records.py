"""The commands for records: acknowledgement, audit, export, verify."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.data_source import Record, gateway, gateway_or_record, record_of_gateway
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.cli.line_formats import audit_line
from console.cli.progress import Progress
from console.value_parsers import json_option, moment, site_option
from dispatch.alarms.contact_conditions import starts_the_battery
from gateway import exit_codes

if TYPE_CHECKING:
    from storage.export.size import Size


@click.command()
@click.argument("alarm", metavar="ID|all")
@click.option("--group", metavar="GROUP", help="With all: only those of a group (see `skerry alarms`).")
@site_option
def ack(alarm: str, group: str | None, site: str | None) -> None:
    """Acknowledge an alarm by its id (see `skerry alarms`), or all alarms."""
    if group and alarm != "all":
        raise click.UsageError("--group takes all: skerry ack all --group GROUP.")
    with gateway(site) as live:
        more: dict[str, Any] = {"seen_utc_s": live.now_utc_s()} if starts_the_battery(alarm) else {}
        more |= {"group": group} if group else {}
        answer = live.link.request("alarm.acknowledge", id="*" if alarm == "all" else alarm, **more)
    count, trouble = answer["acknowledged"], answer["not_durable"]
    click.echo(f"{count} {'alarm' if count == 1 else 'alarms'} acknowledged{'; NOT on record' if trouble else ''}")
    if trouble:
        click.echo(f"skerry: the acknowledgement holds, but it is not on record: {trouble}", err=True)


@click.command()
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "start", metavar="T", help="Start; times as in `skerry why --at`. Default: everything.")
@click.option("--to", "end", metavar="T", help="End. Default: now.")
@click.option(
    "--resolution",
    type=click.Choice(["15m", "1m", "raw"]),
    default="15m",
    show_default=True,
    help="Time between two rows of telemetry; raw: every sample.",
)
@click.option("--min-max", is_flag=True, help="Also tables of the minimum and maximum in each step.")
@click.option("--parquet", is_flag=True, help="Also Parquet files; needs pyarrow: pip install 'skerry[parquet]'.")
@click.option("--dry-run", is_flag=True, help="Only say how large it would be.")
@site_option
@json_option
def export(
    out: Path,
    start: str | None,
    end: str | None,
    resolution: str,
    min_max: bool,
    parquet: bool,
    dry_run: bool,
    site: str | None,
    as_json: bool,
) -> None:
    """Write the record to the new directory DIR: SQLite, CSV, a data dictionary and a signed manifest.

    `export.db` has a table for each kind of record, of telemetry with one column per signal; each table is a CSV file,
    too. Says first how large it will be, and refuses where the disk lacks the space. Exports the record of the running
    gateway, without disturbing it. When none runs: that of --site, else the one written last.
    """
    from storage.export.writer import ExportError, Options, size_of
    from storage.export.writer import export as write

    if min_max and resolution == "raw":
        raise click.UsageError("--min-max: a sample has no minimum and maximum; choose --resolution 1m or 15m")
    options = Options(resolution=resolution, extremes=min_max, parquet=parquet)
    progress = Progress("exporting")
    with record_of_gateway(site) as source:
        now_utc_s = source.now_utc_s()
        start_utc_s = 0.0 if start is None else moment(start, now_utc_s, source.zone)
        end_utc_s = max(now_utc_s, time.time()) + 1 if end is None else moment(end, now_utc_s, source.zone)
        click.echo(f"skerry: exporting {source.shown}", err=True)
        span = (source.directory, out, start_utc_s, end_utc_s, options)
        try:
            if dry_run:
                size = size_of(*span)
                _tell_size(size)
                if as_json:
                    click.echo(json_text(size))
                return
            manifest = write(*span, _tell_size, progress.show)
        except ExportError as error:
            raise Failure(str(error)) from None
        finally:
            progress.clear()
    if as_json:
        click.echo(json_text(manifest))
        return
    _tell_manifest(out, manifest)


def _tell_size(size: Size) -> None:
    """Say how large an export will be, before it is made."""
    held = "no telemetry" if size.first_utc_s is None else f"{size.rows} rows of {size.columns} columns of telemetry"
    space = f"{size.room.free / 1e6:.0f} MB are free"
    click.echo(f"skerry: about {size.bytes / 1e6:.1f} MB: {held}, and what else is on record; {space}", err=True)


def _tell_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Say what was exported."""
    if manifest["start"] is not None:
        gaps = manifest["gaps"]
        said = f"{gaps} {'gap' if gaps == 1 else 'gaps'}, see gaps.csv" if gaps else "no gaps"
        click.echo(f"skerry: telemetry from {manifest['start']} to {manifest['end']}, {said}", err=True)
    if manifest["audit"]:
        click.echo(
            f"skerry: head of the audit {manifest['audit']['head']}; note it where this machine's root cannot", err=True
        )
    if unsigned := manifest["signature"].get("unsigned"):
        click.echo(f"skerry: the export is NOT signed, so nobody can verify it: {unsigned}", err=True)
    for name, file in manifest["files"].items():
        rows = "" if file["rows"] is None else f"{file['rows']} rows"
        click.echo(f"{out / name}  {file['bytes']} bytes  {rows}".rstrip())


@click.command()
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Number of rows.")
@site_option
@json_option
def audit(limit: int, site: str | None, as_json: bool) -> None:
    """List the audit, newest last: every command, who gave it, and its result."""
    with gateway_or_record(site) as source:
        found = source.audit(limit)
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if as_json:
        click.echo(json_text(found))
        return
    for row in found:
        click.echo(audit_line(row, source.zone))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="ROW:HASH",
    help="Head noted earlier, from an export or syslog. May be repeated.",
)
@click.option("--key", default="", metavar="HEX", help="Public key that must have signed the audit.")
@click.option(
    "--against",
    "hub",
    metavar="DIR|URL",
    help="Compare with the heads of this site's audit that `skerry fleet pull` has collected in DIR, "
    "or `skerry hub` in the database postgresql://...",
)
@json_option
def verify(directory: Path, heads: tuple[str, ...], key: str, hub: str | None, as_json: bool) -> int:
    """Check an export, a backup or a state directory for edited, deleted and cut-off rows. Needs no gateway.

    An export is verified by the signature of its manifest. Changes by somebody who has the key of this machine, or an
    export signed with another key, are found only with a --head or --key that was noted elsewhere before, or --against
    what was collected on another machine.
    """
    from storage.verify import CannotVerify
    from storage.verify import verify as check

    if hub is not None:
        heads += _collected(hub, directory)
    try:
        report = check(directory, heads, key)
    except CannotVerify as error:
        raise Failure(str(error)) from None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if as_json:
        click.echo(json_text(report))
        return exit_codes.OK if report.ok else exit_codes.FAILED
    for line in report.findings:
        click.echo(f"CHANGED   {line}")
    for line in report.remarks:
        click.echo(f"note      {line}")
    if report.files:
        click.echo(f"files     {report.files} named in the manifest")
    click.echo(f"audit     {report.rows} rows, {report.checkpoints} signed heads, key {report.public_key or 'none'}")
    click.echo(f"head      {report.head or 'none'}")
    if report.findings:
        click.echo("NOT as it was written: see above")
    elif report.unsigned:
        click.echo(f"NOT verified: {report.unsigned}")
    else:
        click.echo("verified: as it was written" if report.files else "verified: the audit is as it was written")
    return exit_codes.OK if report.ok else exit_codes.FAILED


def _collected(hub: str, directory: Path) -> tuple[str, ...]:
    """The heads of a site's audit that were collected elsewhere. Raises Failure where there are none."""
    from fleet.bus import NotInstalled
    from fleet.hub_database import DatabaseFailed, HubDatabase
    from fleet.store import NotAHub, collected_heads
    from storage.verify import site_of

    uuid = site_of(directory)
    if uuid is None:
        raise Failure(f"{directory}: it does not say which site it is of; give the heads with --head")
    try:
        if hub.startswith(("postgresql://", "postgres://")):
            with closing(HubDatabase(hub)) as database:
                found = database.heads(uuid)
        else:
            found = collected_heads(Path(hub), uuid)
    except (NotAHub, NotInstalled) as error:
        raise Failure(str(error)) from None
    except DatabaseFailed as error:
        raise Failure(f"--against: {error}") from None
    if not found:
        raise Failure(f"{hub}: no head of the audit of site {uuid} was collected there")
    return tuple(found)
