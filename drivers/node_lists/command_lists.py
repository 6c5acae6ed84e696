"""Lists of nodes that a command prints: a file by `cat`, Slurm's by `sinfo`. A command that hangs is ended.

`sinfo -h -a -N -o %N=%T` prints a line for each node and partition, its name and its state in words (sinfo(1) of Slurm
22.05, "-o": %N, %T; "NODE STATE CODES": a state may end in one of * ~ # ! % $ @ ^ -). A shell by which ssh runs it has
nothing to take apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.wording.formatting import one_line
from drivers.host_lists import BadNames, names_by_line
from drivers.node_lists.answer import Listed, ListNotRead, note_of
from drivers.schedulers.command import Command
from drivers.schedulers.errors import QueueNotRead

DEADLINE_S = 20.0
MOST_BYTES = 1 << 18  # 1000 nodes in ten partitions have 0.2 MB at most
SINFO = ("-h", "-a", "-N", "-o", "%N=%T")
MARKS = "*~#!%$@^-+"  # behind a state
NOT_FOR_JOBS = ("down", "drained", "draining", "fail", "failing", "error", "unknown", "maint")
SHOWN_NAMES = 3


async def names_in_file(path: str) -> Listed:
    """Names and lists of a text file, one a line, # begins a comment. Raises ListNotRead."""
    return names_of_lines(await _printed(("cat", "--", path), ()), path)


async def names_in_slurm(sinfo: Sequence[str], partition: str) -> Listed:
    """Every node of Slurm, or of a partition, in whatever state. Raises ListNotRead."""
    more = (*SINFO, "-p", partition) if partition else SINFO
    return names_of_sinfo(await _printed(sinfo, more), " ".join(sinfo))


def names_of_lines(printed: bytes, where: str) -> Listed:
    """The names in such a file. Raises ListNotRead."""
    names: dict[str, None] = {}
    for number, found in names_by_line(_lines(printed, where)):
        if isinstance(found, BadNames):
            raise ListNotRead(f"{where}, line {number}: expected {found}")
        names |= dict.fromkeys(found)
    return Listed(tuple(names))


def names_of_sinfo(printed: bytes, where: str) -> Listed:
    """The names that `sinfo` has printed, and which nodes take no jobs. Raises ListNotRead."""
    states: dict[str, str] = {}
    for line in _lines(printed, where):
        name, mark, state = line.strip().rpartition("=")
        if not line.strip():
            continue
        if not mark or not name or not state or " " in line.strip():
            what = f"found {one_line(line)[:80]!r}, expected NAME=STATE"
            raise ListNotRead(f"{where} {' '.join(SINFO)}: {what}; have it print nothing else")
        states.setdefault(name, state.rstrip(MARKS).lower())
    by_state: dict[str, list[str]] = {}
    for name, state in states.items():
        if state in NOT_FOR_JOBS:
            by_state.setdefault(state, []).append(name)
    return Listed(tuple(states), note_of(dict(sorted(by_state.items())), SHOWN_NAMES))


def _lines(printed: bytes, where: str) -> list[str]:
    try:
        return printed.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ListNotRead(f"{where}: not UTF-8 at byte {error.start}") from None


async def _printed(arguments: Sequence[str], more: Sequence[str]) -> bytes:
    printed = bytearray()

    async def take(piece: bytes) -> None:
        if len(printed) + len(piece) > MOST_BYTES:
            raise QueueNotRead(
                f"{' '.join(arguments)} prints more than {MOST_BYTES >> 10} KiB: that is no list of nodes"
            )
        printed.extend(piece)

    command = Command(arguments, {"LC_ALL": "C"}, DEADLINE_S)
    try:
        await command.run(more, take)
    except QueueNotRead as error:
        raise ListNotRead(f"{error}{command.complaint}") from None
    return bytes(printed)
