"""`skerry salvage`: recover what can be read of a damaged record or audit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.value_parsers import json_option
from gateway import exit_codes

if TYPE_CHECKING:
    from storage.salvage import Report

SHOWN = 10  # missing times of a table


@click.command()
@click.argument("path", metavar="FILE|STATE_DIR", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. Default: beside the file, to be merged.")
@json_option
def salvage(path: Path, out: Path | None, as_json: bool) -> int:
    """Recover what can be read of a damaged telemetry or audit file. The damaged file is not changed.

    Of a state directory every file that was set aside as damaged is salvaged. Without --out, what was telemetry is
    written beside it and merged by the gateway that records there: within a minute, or when it starts. What was an
    audit stays a file of its own.
    """
    if path.is_dir() and out is not None:
        raise click.UsageError("--out is for one file")
    files = list(_set_aside(path)) if path.is_dir() else [path]
    if not files:
        raise Failure(f"{path}: no file was set aside as damaged (telemetry.db.corrupt.*, audit.db.corrupt.*)")
    reports, failed = [], False
    for file in files:
        try:
            report = _salvaged(file, out)
        except Failure as error:
            if not path.is_dir():
                raise
            failed = True  # one of several keeps nobody from the others
            click.echo(f"skerry: {error}", err=True)
            continue
        reports.append(report)
        if not as_json:
            _show(report)
    if as_json:
        click.echo(json_text(reports))
    return exit_codes.FAILED if failed else exit_codes.OK


def _set_aside(directory: Path) -> Iterator[Path]:
    """The damaged files in a state directory."""
    for name in ("telemetry.db", "audit.db"):
        for file in sorted(directory.glob(f"{name}.*")):
            if ".corrupt" in file.name and not file.name.endswith(("-wal", "-shm")):
                yield file


def _salvaged(file: Path, out: Path | None) -> Report:
    """Salvage one file. Raises Failure."""
    import sqlite3

    from storage import audit_format, schema
    from storage.merging import merged_so_far
    from storage.salvage import NOTHING, CannotSalvage, recovered_name
    from storage.salvage import salvage as salvage_telemetry
    from storage.salvage_audit import salvage_audit

    with file.open("rb") as content:
        mark = int.from_bytes(content.read(72)[68:], "big")
    is_audit = mark == audit_format.APPLICATION_ID or (
        mark != schema.APPLICATION_ID and file.name.startswith(audit_format.FILE)
    )
    kind = audit_format.FILE if is_audit else schema.FILE
    if out is None and file.name == kind:
        raise Failure(f"{file} is in use by that name: say with --out where to write")
    target = out or recovered_name(file.parent, file, kind)
    if target.exists():
        raise Failure(f"{target} is there already: {file} was salvaged; --out writes to another place")
    try:
        if is_audit:
            return salvage_audit(file, target)
        return salvage_telemetry(file, target, NOTHING if out is not None else merged_so_far(file))
    except CannotSalvage as error:
        raise Failure(str(error)) from None
    except (sqlite3.Error, ValueError) as error:
        record = file.with_name(schema.FILE)
        raise Failure(f"{record}: how far {file.name} is merged cannot be read ({error}): use --out") from None


def _show(report: Report) -> None:
    click.echo(report.source)
    for table in report.tables:
        lost = f", about {table.lost} lost" if table.lost else ""
        pages = f" (damaged pages: {table.pages_lost})" if table.pages_lost else ""
        if table.read or table.lost:
            click.echo(f"  {table.name:<11}{table.read:>9} rows read{lost}{pages}")
        for begin_s, end_s in table.missing_s[:SHOWN]:
            click.echo(f"  {'':<11}rows may be missing from {_time(begin_s)} to {_time(end_s)}")
        if len(table.missing_s) > SHOWN:
            click.echo(f"  {'':<11}and {len(table.missing_s) - SHOWN} more such times")
    for note in report.notes:
        click.echo(f"  note: {note}")
    click.echo(f"written to {report.out}")


def _time(utc_s: float) -> str:
    try:
        return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{utc_s:.0f} s"
