"""What schedulers of compute jobs print."""

from __future__ import annotations

import math
from pathlib import Path

from fuzzing import Parser, simple
from slurm_answers import ARRAY, JOB, WAITING, answer, taken

from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import MOST_JOBS, QueueRead
from drivers.schedulers.json_lines import JsonLines
from drivers.schedulers.limit_holder import limit_in
from drivers.schedulers.slurm_comments import ADDRESS, CommentsRead
from drivers.schedulers.slurm_text import SlurmText

MARK = "0" * 12


def are_possible(found: QueueRead) -> None:
    """What is shown of jobs are names that can be shown and numbers that can be."""
    assert len(found.jobs) <= MOST_JOBS
    assert len({job.id for job in found.jobs}) == len(found.jobs)
    for job in found.jobs:
        words = (job.id, job.name, job.user, job.account, job.partition, job.reason, *job.nodes)
        assert all(word.isprintable() for word in words)
        times = (job.submitted_utc_s, job.started_utc_s, job.expected_start_utc_s, job.time_limit_s)
        assert all(time is None or math.isfinite(time) for time in times)
        assert min(job.gpus, job.cpus, job.node_count) >= 0
    assert all(note.isprintable() for note in found.notes)


def _squeue(data: bytes, _directory: Path) -> None:
    text = SlurmText("alpha")
    mark = text.options[-1][-13:-1]
    are_possible(taken(text, data.replace(MARK.encode(), mark.encode())))


def _lines(data: bytes, _directory: Path) -> None:
    are_possible(taken(JsonLines("farm"), data))


def _limit(data: bytes, _directory: Path) -> None:
    shown = limit_in(data.decode(errors="replace"))
    assert shown.used >= 0
    assert shown.found is None or shown.found >= 0


def _comments(data: bytes, _directory: Path) -> None:
    read = CommentsRead("skerry_kw10")
    mark = read.options[-1].rpartition(":")[2]
    for job in read.jobs(data.decode(errors="replace").replace(MARK, mark)):
        assert not job.address or ADDRESS.fullmatch(job.address)
        assert min(job.licences, job.nodes, job.priority, job.tasks) >= 0


def _answers() -> list[bytes]:
    options = SlurmText("alpha").options
    odd = JOB | {"name": "two\nlines|@@", "NodeList": "r[1-2]n[03-04],x", "tres-alloc": "gres/gpu:a100=2(S:0-1)"}
    printed = answer(options, odd, WAITING, ARRAY | {"ArrayTaskID": "1-9:2,12%4"})
    return [printed.replace(options[-1][-13:-1].encode(), MARK.encode())]


_FIELDS = "JOBID@@ARRAY_JOB_ID@@a@@b@@c@@d@@e@@f@@g@@h@@i@@j@@k"
COMMENTS = (
    f"{_FIELDS}{MARK}\n7@@7@@N/A@@N/A@@N/A@@PENDING@@Licenses@@a:1,skerry_kw10:12@@4294901759@@N/A@@N/A@@1@@x@@y{MARK}\n"
    f"9@@9@@1-5,7%2@@8@@1@@RUNNING@@None@@skerry_kw10@@1@@1796010600@@1796014200@@2-4@@(null){MARK}\n"
)

PARSERS = (
    Parser(
        name="comments of jobs by squeue",
        covers=(),  # `drivers.schedulers.command:said` has the bytes
        examples=lambda: [COMMENTS.encode()],
        session=simple(_comments),
        errors=(QueueNotRead,),
    ),
    Parser(
        name="answers of squeue",
        covers=("drivers.schedulers.slurm_text:SlurmText.take", "drivers.schedulers.slurm_text:_may_begin",
                "drivers.schedulers.slurm_text:_shown"),
        examples=_answers,
        session=simple(_squeue),
        errors=(QueueNotRead,),
    ),
    Parser(
        name="answers of a limit command",
        covers=("drivers.schedulers.limit_holder:limit_in",),
        examples=lambda: [b'{"format": "skerry-limit/1", "limit": 12, "used": 9, "found": 40, "changed": false}'],
        session=simple(_limit),
        errors=(QueueNotRead,),
    ),
    Parser(
        name="JSON lines of jobs",
        covers=("drivers.schedulers.json_lines:JsonLines._take_line",),
        examples=lambda: [
            b'{"format": "skerry-jobs/1", "jobs": 1, "utc_s": 1796010600}\n'
            b'{"id": "7", "state": "running", "submitted_utc_s": 1796010550, "started_utc_s": 1796010560, "gpus": 4, '
            b'"name": "a\\nb", "nodes": ["a", "b"], "gpu_uuids": ["GPU-1"], "time_limit_s": 3600}\n'
        ],
        session=simple(_lines),
        errors=(QueueNotRead,),
    ),
)  # fmt: skip
