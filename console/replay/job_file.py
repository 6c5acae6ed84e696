"""Reads a job log for a replay: a CSV with a row for each job, as exported from a scheduler.

What Slurm writes beside jobs is not taken for jobs: steps (102.batch), arrays that are not begun (102_[1-4]), the
whole of a job in parts (102 beside 102+0). Rows of them are left out and told; where the jobs themselves are missing,
they are refused. See `man sacct`, JobID, Timelimit and Elapsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from console.replay.traces import TraceFileError, cell, instant, number, optional_cell, power, raise_any, table
from dispatch.wording.formatting import one_line

# 4711, 4711_3 (of an array), 4711+1 (of a heterogeneous job), 4711_[5-99%4] (the rest of an array, perhaps cut off)
SLURM_ID = re.compile(r"(?P<job>\d+)(?P<part>_\d+|\+\d+|_\[.*)?(?P<step>\.(?:batch|extern|interactive|\d+|[a-z]*\+))?")
SLURM_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")
NO_LIMIT = ("", "unlimited", "infinite", "partition_limit", "not_set", "none", "n/a")
NOT_STARTED = ("", "unknown", "none", "n/a", "none assigned", "nat", "null")
NO_VAL = 0xFFFF_FFFE  # Slurm's "not set"; one more is "infinite"; 64-bit ones are above them as well
MOST_GPUS = 1_000_000


class Job(msgspec.Struct, frozen=True):
    """One job of the log; `reference_s` is when it starts if nobody moves it. Only with `power_w` does it forecast.

    `announced_s`: when its user announced that start. One that was announced and never came has no duration.
    """

    id: str
    reference_s: int
    submit_s: int = 0
    duration_s: float = 0.0
    time_limit_s: float | None = None
    power_w: float = 0.0
    gpus: int = 0
    announced_s: int | None = None
    user: str = ""


class JobFile(NamedTuple):
    """The jobs by their start, and what must be said of the rows that are none."""

    jobs: list[Job]
    notes: tuple[str, ...]


def read_jobs(path: Path) -> JobFile:
    """Read a job log: job_id and reference_start_utc of each. Raises TraceFileError, OSError."""
    header, rows = table(path)
    missing = [c for c in ("job_id", "reference_start_utc") if c not in header]
    if missing:
        raise TraceFileError(f"{path}:1: expected the columns {', '.join(missing)}, found {one_line(','.join(header))}")
    read = _Rows(path, header)
    for line, row in rows:
        read.take(line, row)
    read.finish()
    raise_any(path, read.errors)
    return JobFile(sorted(read.jobs.values(), key=lambda job: (job.reference_s, job.id)), tuple(read.notes()))


class _Rows:
    """The rows of a log: jobs by id, and what else there is."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._wholes: list[str] = []  # ids of jobs whose parts have rows of their own
        self.jobs: dict[str, Job] = {}
        self.errors: list[str] = []
        self._path, self._header = path, header
        self._ids: dict[str, int] = {}  # of all rows of jobs, with their line
        self._steps: list[tuple[int, str, str]] = []  # line, id as written, job
        self._arrays: list[tuple[int, str, str]] = []
        self._not_started: list[int] = []

    def take(self, line: int, row: Sequence[str]) -> None:
        """One row; of what is no job only the id is looked at."""
        try:
            id = one_line(cell(row, self._header.index("job_id"), self._header))
            match = SLURM_ID.fullmatch(id)
            if match and match["step"]:
                self._steps.append((line, id, id.removesuffix(match["step"])))
            elif match and (match["part"] or "").startswith("_["):
                if _started(optional_cell(row, self._header.index("reference_start_utc"))):
                    self._arrays.append((line, id, match["job"]))
                else:  # sacct's row of the tasks that wait
                    self._not_started.append(line)
            else:
                self._take_job(line, id, row)
        except ValueError as error:
            self.errors.append(f"{self._path}:{line}: {error}")

    def _take_job(self, line: int, id: str, row: Sequence[str]) -> None:
        self._ids.setdefault(id, line)
        start = cell(row, self._header.index("reference_start_utc"), self._header)
        if not _started(start):
            self._not_started.append(line)
            return
        job = Job(id, instant(start, "reference_start_utc"), *_forecast(self._header, row))
        if self.jobs.setdefault(id, job) != job:
            raise ValueError(f"job {id} was given before with another start: expected one (sacct without --duplicates)")

    def finish(self) -> None:
        """After the last row: what stands for jobs that have rows of their own is left out, else it is an error."""
        parts = {match["job"] for id in self._ids if (match := SLURM_ID.fullmatch(id)) and match["part"]}
        self._wholes = sorted(parts & self._ids.keys())
        for id in self._wholes:
            self.jobs.pop(id, None)
        for line, id, job in self._steps:
            if job not in self._ids:
                self.errors.append(f"{self._path}:{line}: job_id = {id!r} is a step: expected a row of its job {job}")
        for line, id, job in self._arrays:
            if job not in parts:
                expected = f"expected a row for each task, such as {job}_1 (squeue -r)"
                self.errors.append(f"{self._path}:{line}: job_id = {id!r} stands for the tasks of an array: {expected}")

    def notes(self) -> Iterator[str]:
        """Which rows are no jobs."""
        name = self._path.name
        if self._steps:
            yield f"{name}: {_rows(len(self._steps))} of steps, such as {self._steps[0][1]}: left out, their jobs count"
        wholes = [id for _, id, _ in self._arrays] + self._wholes
        if wholes:
            what = f"{_rows(len(wholes))} of arrays or jobs in parts, such as {wholes[0]}"
            yield f"{name}: {what}: left out, the parts count"
        if self._not_started:
            yield f"{name}: {_rows(len(self._not_started))} without a start (line {self._not_started[0]}): left out"


def _started(start: str) -> bool:
    return start.strip().lower() not in NOT_STARTED


def _rows(count: int) -> str:
    return f"{count} {'row' if count == 1 else 'rows'}"


def _forecast(
    header: Sequence[str], row: Sequence[str]
) -> tuple[int, float, float | None, float, int, int | None, str]:
    """What a forecast needs of a job, where the log has it, in the order of `Job`."""
    if not {"submit_utc", "duration_s", "power_w"} <= set(header):
        return 0, 0.0, None, 0.0, 0, None, ""
    given = dict.fromkeys(header, "") | dict(zip(header, row, strict=False))
    return (
        instant(given["submit_utc"], "submit_utc"),
        _duration_s(given["duration_s"]),
        _limit_s(given.get("time_limit_s", "")),
        _power_w(given),
        _gpus(given.get("gpus", "")),
        instant(announced, "announced_utc") if (announced := given.get("announced_utc", "")) else None,
        one_line(given.get("user", "")),
    )


def _power_w(given: Mapping[str, str]) -> float:
    w = power("power_w", given["power_w"])
    if w is None:
        raise ValueError(f"power_w = {given['power_w']!r}: expected a number >= 0")
    return w


def _gpus(text: str) -> int:
    count = number(text) if text else 0.0
    if count is None or count > MOST_GPUS:
        raise ValueError(f"gpus = {text!r}: expected a number >= 0 and at most {MOST_GPUS}")
    return int(count)


def _duration_s(text: str) -> float:
    """Seconds, or as Slurm writes a time. Raises ValueError."""
    seconds = _seconds(text)
    if seconds is None or seconds >= NO_VAL:
        raise ValueError(f"duration_s = {text!r}: expected a number >= 0, the seconds that the job ran")
    return seconds


def _limit_s(text: str) -> float | None:
    """The time limit; None: there is none, or the log does not tell it. 0 is what some write for none."""
    if text.strip().lower() in NO_LIMIT:
        return None
    seconds = _seconds(text)
    if seconds is None:
        raise ValueError(f"time_limit_s = {text!r}: expected a number >= 0, D-HH:MM:SS or UNLIMITED")
    return seconds if 0 < seconds < NO_VAL else None


def _seconds(text: str) -> float | None:
    """A number of seconds, or Slurm's D-HH[:MM[:SS]], HH:MM:SS or MM:SS; None for anything else."""
    match = SLURM_TIME.fullmatch(text.strip())
    if match is None or not (match["days"] or match["second"]):
        return number(text)
    first, second, third = (int(match[name] or 0) for name in ("first", "second", "third"))
    if match["days"]:
        return float(86_400 * int(match["days"]) + 3600 * first + 60 * second + third)
    return float(3600 * first + 60 * second + third if match["third"] else 60 * first + second)
