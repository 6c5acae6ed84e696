"""`skerry doctor`: looks at a site's devices and at this machine, and prints what is to be mended."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from console.cli.json_output import json_text
from console.value_parsers import json_option
from gateway import exit_codes
from gateway.commissioning.doctor import Examination, examine
from gateway.commissioning.findings import Level
from gateway.site.loader import load

MARKS = {Level.OK: "✓", Level.NOTE: "·", Level.WARNING: "!", Level.FAULT: "✗"}
SOURCES = {
    "devices": "read from the devices; no gateway runs",
    "gateway": "read by the running gateway; its devices were not asked",
    "none": "no device was read",
}


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Print what is right, too.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory of the records, where the gateway runs with another one than the site file's.",
)
@json_option
def doctor(site: Path, everything: bool, state_dir: Path | None, as_json: bool) -> int:
    """Look at the devices of a site and at this machine; say what is wrong and what to do. Writes to no device.

    Checked are: whether each device answers and how fast, what it says it is, whether its values can be true and the
    balance closes, who else commands a PCS, the clock, files and permissions, the grid code's profile, and whether
    each output ([metrics], [mqtt], [[notify]]) reaches its receivers. While a gateway runs, it is asked instead of
    the devices.

    Exit code 0: no fault, perhaps warnings; 1: at least one fault; 2: errors in the site file.
    """
    loaded = load(site)
    if state_dir is not None:
        own = msgspec.structs.replace(loaded.gateway, state_dir=str(state_dir.resolve()))
        loaded = msgspec.structs.replace(loaded, gateway=own)
    found = examine(loaded)
    faults = found.count(Level.FAULT)
    if as_json:
        document = {"ok": not faults, "file": str(site), **msgspec.to_builtins(found)}
        click.echo(json_text(document | {"faults": faults, "warnings": found.count(Level.WARNING)}))
    else:
        _print(site, found, everything)
    return exit_codes.FAILED if faults else exit_codes.OK


def _print(site: Path, found: Examination, everything: bool) -> None:
    click.echo(f"{found.site}, {site}: {SOURCES[found.source]}")
    for finding in found.findings:
        if finding.level is Level.OK and not everything:
            continue
        advice = f" → {finding.advice}" if finding.advice else ""
        click.echo(f"{MARKS[finding.level]} {finding.subject:<12} {finding.text}{advice}")
    counts = (
        (found.count(Level.FAULT), "fault"),
        (found.count(Level.WARNING), "warning"),
        (found.count(Level.NOTE), "note"),
        (found.count(Level.OK), "check passed"),
    )
    words = [
        f"{n} {word if n == 1 else word.replace('check', 'checks') if ' ' in word else word + 's'}"
        for n, word in counts
    ]
    click.echo(", ".join(words))
