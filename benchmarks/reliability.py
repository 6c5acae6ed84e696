"""Runs a reliability test at length and writes its result into docs/reliability.md: no figure there is typed by hand.

    python -m benchmarks.reliability NAME COMMAND ...

runs the command and replaces the line of that test: figures, commit, date. What the command measures it says with
`tell`, from any of its processes. A command that fails is put on the page as failed.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
RESULT = "SKERRY_SOAK_RESULT"  # names the file in which a run collects its figures; not set: nothing is collected
BEGIN = "<!-- results: written by benchmarks/reliability.py -->"
HEADER = ("test", "what it shows", "command", "last result", "commit", "date")
NOT_RUN = ("not run yet", "", "")

# The make target of each test, what is tried, and what must come of it.
TESTS = {
    "power-cuts": (
        "1000 simulated power cuts: writes that were not synced are lost, some are kept, one is torn",
        "of the audit no acknowledged row is lost, of the telemetry at most 10 s; no file is damaged",
    ),
    "damage": (
        "1000 flipped bits and torn pages in each kind of file that a start reads",
        "started in less than 2 s; the damaged file is kept; every changed audit row is named; no traceback",
    ),
    "protocol-faults": (
        "25 faults of the protocol in each kind of device, 50 seeds each",
        "no wrong value is read, no write is taken for done that was not",
    ),
    "value-faults": (
        "11 faults in the values of 6 devices, on the wire",
        "no wrong value is used, no unsafe setpoint is written",
    ),
    "fuzz": (
        "each parser of bytes from outside, N inputs",
        "only declared errors; processor time and memory of each input bounded",
    ),
    "fuzz-frames": (
        "checks of frames of Modbus TCP, TCP of any transaction, RTU that answer reads and writes, N inputs each",
        "no crash; no value of a frame with a wrong transaction, unit, function, length or checksum",
    ),
    "tick-lateness": (
        "500 hostile clients; 10 consoles, of which one never reads, on a full disk; each beside quiet phases",
        "lateness p99.9 at most 1.5 times that of the quiet phases, and that at most 1.5 times a bare timer's",
    ),
    "soak-lockstep": (
        "the demo site's controller in lock-step, 24 h",
        "memory grows by at most 2 MB/h of site time, no alarm without a cause; at least 95 % of metering intervals "
        "and of planned quarter hours within the contract",
    ),
    "soak-wire": (
        "twin and gateway as processes, 1 h",
        "memory grows by at most 2 MB/h, no file descriptor more, no overrun, no alarm without a cause",
    ),
    "mutations": (
        "faults in the code that decides, islands, keeps the audit and talks to devices: written by hand, and drawn",
        "the tests notice each, or it is listed with the reason why it changes nothing",
    ),
    "disk-full": (
        "the disk of the records full, without inodes, read-only, gone, hanging",
        "every tick goes on, stop and alarms work, what is reported as kept is kept; it recovers by itself",
    ),
    "record-size": (
        "200 signals at 1 Hz: bytes and syncs of a day from four hours of writing, charts on 30 days",
        "at most 10 MB/day kept raw, 420 MB/day written, 9500 syncs/day; a chart of 24 h in 60 ms",
    ),
    "bench-export": (
        "export of a year of 200 signals by the quarter hour; verifying a million rows of audit",
        "exported in at most 60 s, verified in at most 10 s",
    ),
    "kill-hub": (
        "kill -9 of two hubs, bus, database and uplink of a fleet at random moments, while a site's record is sent",
        "each block is stored exactly once, by hash against the site's own file",
    ),
    "kill-test": (
        "kill -9 of a gateway, again and again, under orders, reservations and drills, in each state of the site",
        "no acknowledged command is lost, no file damaged; within 2 s the setpoint that the state allows, or none",
    ),
}


def tell(what: str, value: float, combine: Literal["sum", "max"] = "sum") -> None:
    """Give a figure of this run, shown as "VALUE WHAT". What several processes tell is added up, or the most of it."""
    if place := os.environ.get(RESULT):
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps([what, value, combine]) + "\n")


def told(place: Path) -> str:
    """The figures of a run, in the order in which they were first told."""
    figures: dict[str, float] = {}
    for line in place.read_text(encoding="utf-8").splitlines():
        what, value, combine = json.loads(line)
        before = figures.get(what, 0.0 if combine == "sum" else value)
        figures[what] = before + value if combine == "sum" else max(before, value)
    return ", ".join(f"{_number(value)} {what}" for what, value in figures.items())


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.3g}"


def run(name: str, command: Sequence[str]) -> tuple[int, str]:
    """Run the command of a test; its exit status and its result in words."""
    with tempfile.TemporaryDirectory(prefix="skb") as folder:
        place = Path(folder) / "told"
        place.touch()
        status = subprocess.run(command, env=os.environ | {RESULT: str(place)}, check=False).returncode
        figures = told(place)
    if status == 0 and not figures:
        return 1, "FAILED (nothing was measured)"
    return status, figures if status == 0 else f"FAILED (exit status {status}) {figures}".rstrip()


def commit() -> str:
    """The commit that is checked out, and whether the files differ from it."""
    git = ("git", "-C", str(ROOT))
    head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "unknown"
    listed = subprocess.run(
        [*git, "status", "--porcelain", "--", ".", f":!{PAGE.relative_to(ROOT)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + (" with changes" if listed.stdout.strip() else "")


def with_result(page: str, name: str, result: tuple[str, str, str]) -> str:
    """The page with another result (figures, commit, date) of one test; other results stay."""
    text, _, table = page.partition(BEGIN)
    found = {cells[2].strip("`").removeprefix("make "): cells for cells in map(_cells, table.splitlines()) if cells}
    lines = [BEGIN, "", _line(HEADER), _line(["---"] * len(HEADER))]
    for test, (tried, shows) in TESTS.items():
        before = tuple(found[test][3:]) if test in found else NOT_RUN
        lines.append(_line([tried, shows, f"`make {test}`", *(result if test == name else before)]))
    return "\n".join([text.rstrip(), "", *lines, ""])


def _cells(line: str) -> list[str]:
    """The cells of a line of the table; empty of any other."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return cells if len(cells) == len(HEADER) and cells[2].startswith("`make ") else []


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    if len(arguments) < 2 or arguments[0] not in TESTS:
        print(f"usage: python -m benchmarks.reliability NAME COMMAND ...\nNAME: {', '.join(TESTS)}", file=sys.stderr)
        return 2
    name, *command = arguments
    at = commit()  # of the tree that is tried, whatever is committed meanwhile
    status, figures = run(name, command)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"{name}: {figures}")
    try:
        PAGE.write_text(with_result(PAGE.read_text(encoding="utf-8"), name, (figures, at, today)), encoding="utf-8")
    except OSError as error:
        print(f"the result is not written: {PAGE}: {error.strerror}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
