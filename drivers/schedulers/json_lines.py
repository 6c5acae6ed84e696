"""Reads jobs from JSON lines: what the command or the file of a `[[scheduler]]` gives.

The first line says how many follow, so that an answer that was cut off is never taken for a short queue:

    {"format": "skerry-jobs/1", "jobs": 1, "utc_s": 1796010600}
    {"id": "7", "state": "running", "submitted_utc_s": 1796010550, "started_utc_s": 1796010560, "gpus": 4}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.model.jobs import Job, JobState
from dispatch.wording.formatting import one_line
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import JobList, QueueRead
from drivers.schedulers.slurm_values import LATEST_S, MOST_COUNT

FORMAT = "skerry-jobs/1"
LONGEST_LINE = 1 << 18
PIECE = 20  # lines taken at once, half a millisecond
LONGEST_WORD = 200
HEADER = f'{{"format": "{FORMAT}", "jobs": 2, "utc_s": 1796010600}}'

Utc = Annotated[float, Meta(ge=0, le=LATEST_S)]
Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Word = Annotated[str, Meta(max_length=100_000)]
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_WORD)]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `utc_s`: when the scheduler was asked, POSIX seconds; not given: now."""

    format: Literal["skerry-jobs/1"]
    jobs: Count  # so many lines follow
    utc_s: Utc | None = None


class JobLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line with one job. Times are POSIX seconds; other keys than these are not looked at."""

    id: Name
    state: JobState
    submitted_utc_s: Utc
    name: Word = ""
    user: Word = ""
    account: Word = ""
    partition: Word = ""
    reason: Word = ""
    started_utc_s: Utc | None = None
    expected_start_utc_s: Utc | None = None
    time_limit_s: Annotated[float, Meta(ge=0, le=LATEST_S)] | None = None
    nodes: Annotated[tuple[Name, ...], Meta(max_length=10_000)] = ()
    node_count: Count = 0
    cpus: Count = 0
    gpus: Count = 0
    gpu_uuids: Annotated[tuple[Name, ...], Meta(max_length=10_000)] = ()


class JsonLines:
    """One answer, taken as it comes."""

    def __init__(self, scheduler: str) -> None:
        self._text, self._lines = bytearray(), 0
        self._header: Header | None = None
        self._list = JobList(scheduler)
        self._decode_job = msgspec.json.Decoder(JobLine).decode

    options = ()  # nothing is appended to the command

    def take(self, piece: bytes) -> Iterator[None]:
        """More of the lines, some ten kB. Yields where somebody else may go on. Raises QueueNotRead."""
        self._text += piece
        *lines, rest = self._text.split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise QueueNotRead(f"line {self._lines + 1} is longer than {LONGEST_LINE >> 10} KiB")
        self._text = rest
        for n, line in enumerate(lines, start=1):
            self._take_line(bytes(line))
            if n % PIECE == 0:
                yield
        yield

    def finish(self) -> Iterator[None]:
        """Nothing more comes. Raises QueueNotRead where lines are missing."""
        if self._text.strip():
            self._take_line(bytes(self._text))
        if self._header is None:
            raise QueueNotRead(f"found nothing: expected the line {HEADER}, then one for each job")
        if self._lines - 1 != self._header.jobs:
            expected = f"expected {self._header.jobs}, as its first line says; was it cut off, or is it being written?"
            raise QueueNotRead(f"found {self._lines - 1} jobs: {expected}")
        yield from self._list.finish()

    @property
    def read(self) -> QueueRead:
        """What the answer says, once it is finished."""
        asked_utc_s = None if self._header is None else self._header.utc_s
        return msgspec.structs.replace(self._list.read, asked_utc_s=asked_utc_s)

    def _take_line(self, line: bytes) -> None:
        if not line.strip():
            return
        self._lines += 1
        try:
            if self._header is None:
                self._header = msgspec.json.decode(line, type=Header)
                return
            self._take_job(self._decode_job(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            shown = one_line(line[:80].decode(errors="replace"))
            expected = f"the line {HEADER}" if self._header is None else "a job as docs/compute.md describes it"
            raise QueueNotRead(f"line {self._lines}: {shown!r}: expected {expected}; {error}") from None

    def _take_job(self, line: JobLine) -> None:
        waits = line.state == "pending"
        self._list.add(
            Job(
                scheduler=self._list.scheduler,
                id=_word(line.id),
                name=_word(line.name),
                user=_word(line.user),
                account=_word(line.account),
                partition=_word(line.partition),
                state=line.state,
                reason=_word(line.reason),
                submitted_utc_s=line.submitted_utc_s,
                started_utc_s=None if waits else line.started_utc_s,
                expected_start_utc_s=line.expected_start_utc_s if waits else None,
                time_limit_s=line.time_limit_s,
                nodes=tuple(map(_word, line.nodes)),
                node_count=line.node_count or len(line.nodes),
                cpus=line.cpus,
                gpus=line.gpus,
                gpu_uuids=tuple(map(_word, line.gpu_uuids)),
            )
        )


def _word(text: str) -> str:
    return one_line(text)[:LONGEST_WORD]
