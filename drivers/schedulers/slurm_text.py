"""Reads what squeue prints: one record for each job, and one for all tasks of an array that wait.

Text and not --json, whose shape changes from release to release and which is thirty times as long. Fields are asked for
by name (`-O`), each with a separator in place of a width. Account and name are chosen by a job's user and may hold
anything, even what looks like the record of another job: so they come last, and what ends them is drawn anew for each
call. All arguments are safe in a shell, because ssh joins them for one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from dispatch.wording.formatting import one_line
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import JobList, QueueRead
from drivers.schedulers.slurm_job import FIELDS, take_job

BETWEEN = "@@"
HEADER = f"JOBID{BETWEEN}"
CLUSTER = "CLUSTER: "  # before the header where -M is among the arguments
ENVIRONMENT = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}  # for squeue
LONGEST_RECORD = 1 << 18
PIECE = 10  # records taken at once, half a millisecond
LONGEST_SHOWN = 200
EXPECTED = "squeue of Slurm 20.11 or later, called with all arguments, and nothing else printed"


class SlurmText:
    """One answer of squeue, taken as it comes."""

    def __init__(self, scheduler: str) -> None:
        mark = secrets.token_hex(6)
        self._after_account, self._after_name = f"@a{mark}@", f"@n{mark}@"
        self._text, self._begun = bytearray(), False
        self._list = JobList(scheduler)

    @property
    def options(self) -> tuple[str, ...]:
        """With these squeue is to be called."""
        fields = [f"{field}:{BETWEEN}" for field in FIELDS]
        fields += [f"Account:{self._after_account}", f"Name:{self._after_name}"]
        return "-a", "--noconvert", "-t", "PD,R,S,CF,CG", "-O", ",".join(fields)

    def take(self, piece: bytes) -> Iterator[None]:
        """More of what was printed, some ten kB. Yields where somebody else may go on. Raises QueueNotRead."""
        self._text += piece
        *records, rest = self._text.split(f"{self._after_name}\n".encode())
        if len(rest) > LONGEST_RECORD or not (records or self._begun or _may_begin(rest)):
            raise QueueNotRead(f"found {_shown(rest)}: expected {EXPECTED}")
        self._text = rest
        for n, record in enumerate(records, start=1):
            self._take_record(record.decode(errors="replace"))
            if n % PIECE == 0:
                yield
        yield

    def finish(self) -> Iterator[None]:
        """Nothing more comes. Yields where somebody else may go on. Raises QueueNotRead where something is missing."""
        if self._text.strip() or not self._begun:
            where = "breaks off in" if self._begun else "has no header, but"
            found = _shown(self._text) if self._text.strip() else "nothing"
            raise QueueNotRead(f"the answer {where} {found}: expected {EXPECTED}")
        yield from self._list.finish()

    @property
    def read(self) -> QueueRead:
        """What the answer says, once it is finished."""
        return self._list.read

    def _take_record(self, record: str) -> None:
        head, mark, name = record.partition(self._after_account)
        *fields, account = head.split(BETWEEN, len(FIELDS))
        if fields and fields[0].split("\n")[-1] == HEADER.removesuffix(BETWEEN):
            if self._begun:
                raise QueueNotRead(
                    "found the jobs of several clusters: expected one; each has a [[scheduler]] of its own"
                )
            if not mark or len(fields) != len(FIELDS) or not _may_begin(record.encode()):
                raise QueueNotRead(f"found {_shown(record.encode())}: expected {EXPECTED}")
            self._begun = True
            return
        if not self._begun or not mark or len(fields) != len(FIELDS):
            raise QueueNotRead(f"found {_shown(record.encode())}: expected {EXPECTED}")
        take_job(self._list, dict(zip(FIELDS, fields, strict=True)), account, name)


def _may_begin(text: bytes | bytearray) -> bool:
    """Whether an answer may begin so: with the header, or a line that names a cluster before it."""
    line, end, after = text.decode(errors="replace").lstrip("\n").partition("\n")
    if line.startswith(CLUSTER) and end:
        line = after
    return line.startswith((HEADER[: len(line)], CLUSTER)) or CLUSTER.startswith(line)


def _shown(text: bytes | bytearray) -> str:
    return repr(one_line(text[:LONGEST_SHOWN].decode(errors="replace")))
