"""`skerry fault`: simulates a fault of a running twin, by one JSON line to its control socket and one back."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

import click

from console.cli.failures import Failure
from console.value_parsers import duration, site_option
from drivers.twin.faults import KINDS
from gateway import exit_codes
from gateway.api.socket_file import listening
from gateway.site import file_access, paths

_TIMEOUT_S = 5.0
_TO_COMMAND = "only who runs a twin makes it fail; use: sudo -u {owner} skerry fault ..."
_MAX_ANSWER = 65_536


@click.command()
@click.argument("name", required=False, metavar=f"[{'|'.join(KINDS)}]")
@click.option("--device", metavar="ID", help="The device; not needed for an outage.")
@click.option(
    "--for", "for_s", type=duration, metavar="TIME", help="End the fault after this time. Default: at --clear."
)
@click.option(
    "--grid-record",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Play a recorded grid: a table of time, voltage and frequency.",
)
@click.option(
    "--nominal-v", type=float, metavar="V", help="Nominal voltage of the record, if its first row does not show it."
)
@click.option(
    "--nominal-hz", type=float, metavar="HZ", help="Nominal frequency of the record, if its first row does not show it."
)
@click.option(
    "--clear",
    is_flag=True,
    help="End the fault of --device (or `--device outage`); without --device, all faults and the record.",
)
@site_option
@click.option(
    "--announce",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File with the twin's addresses (`skerry twin --announce`).",
)
def fault(site: str | None, announce: Path | None, **asked: Any) -> None:
    """Simulate a fault of a running twin, such as `skerry fault hung --device grid --for 10s`, or end it with --clear.

    A --grid-record is a CSV file with a header such as t_s,v,hz: seconds; volts, kV, per unit or %; Hz. The time
    between rows may vary. After the last row the grid keeps its last values until --clear.
    """
    order = _order(_Asked(**asked))
    answer = _command(_control(announce, site), order)
    if not answer.get("ok"):
        raise Failure(f"the twin refuses: {answer.get('error', 'it gives no reason')}", exit_codes.REFUSED)
    click.echo(f"playing: {answer['note']}" if "grid_record" in order else "ok")


class _Asked(NamedTuple):
    """The options that say what the twin is to do."""

    name: str | None
    device: str | None
    for_s: float | None
    grid_record: Path | None
    nominal_v: float | None
    nominal_hz: float | None
    clear: bool


def _order(asked: _Asked) -> dict[str, Any]:
    """The order to the twin. Raises UsageError for options that do not go together."""
    if asked.clear:
        if (asked.name, asked.for_s, asked.grid_record) != (None, None, None):
            raise click.UsageError("--clear takes at most --device")
        return {"clear": asked.device or "all"}
    if asked.grid_record is not None:
        if (asked.name, asked.device, asked.for_s) != (None, None, None):
            raise click.UsageError("--grid-record takes at most --nominal-v and --nominal-hz")
        record = {"grid_record": str(asked.grid_record.resolve())}
        return record | _given(nominal_v=asked.nominal_v, nominal_hz=asked.nominal_hz)
    if asked.name is None:
        raise click.UsageError(f"expected a fault: {', '.join(KINDS)}")
    kind = asked.name.replace("-", "_")
    if kind not in KINDS:
        raise click.UsageError(f"{asked.name!r}: expected one of {', '.join(KINDS)}")
    return _given(fault=kind, device=asked.device, for_s=asked.for_s)


def _given(**values: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def _control(announce: Path | None, site: str | None) -> Path:
    """The control socket of the twin meant. Raises Failure."""
    file = announce or _announcement(site or os.environ.get("SKERRY_SITE"))
    try:
        return Path(json.loads(file.read_text())["control"])
    except FileNotFoundError:
        raise Failure(f"{file}: no twin has announced itself here; is one running?", exit_codes.NO_GATEWAY) from None
    except PermissionError:
        raise file_access.no_access(file, "a twin has announced itself here", _TO_COMMAND) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Failure(f'{file}: expected a twin\'s announcement, JSON with a key "control"', exit_codes.USAGE) from None


def _announcement(site: str | None) -> Path:
    if site is not None:
        return paths.announce_path(Path(site))
    there = sorted(file for directory in paths.runtime_dirs() for file in directory.glob("*.twin.json"))
    found = [file for file in there if _answers(file)]
    if not found:
        raise Failure(
            "no twin is running; start one with: skerry demo, or skerry twin SITE.toml", exit_codes.NO_GATEWAY
        )
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise Failure(f"several twins are running; say which with --site or --announce: {names}", exit_codes.USAGE)
    return found[0]


def _answers(file: Path) -> bool:
    """Whether the twin that announced itself here still runs."""
    try:
        return listening(Path(json.loads(file.read_text())["control"]))
    except PermissionError:
        return True  # which is then said
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _command(control: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Send an order, return the answer. Raises Failure."""
    line = b""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_TIMEOUT_S)
            link.connect(str(control))
            link.sendall(json.dumps(order).encode() + b"\n")
            while not line.endswith(b"\n") and len(line) < _MAX_ANSWER and (piece := link.recv(4096)):
                line += piece
        answer = json.loads(line)
    except PermissionError:
        raise file_access.no_access(control, "a twin's control socket is there", _TO_COMMAND) from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise Failure(
            f"{control}: the twin that announced this is not running any more", exit_codes.NO_GATEWAY
        ) from None
    except TimeoutError:
        raise Failure(f"{control}: the twin did not answer within {_TIMEOUT_S:g} s") from None
    except (ValueError, RecursionError):
        raise Failure(f"{control}: expected a line of JSON, got {line[:80]!r}") from None
    if not isinstance(answer, dict):
        raise Failure(f"{control}: expected a JSON object, got {line[:80]!r}")
    return answer
