"""Makes a job of the fields that squeue prints of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from dispatch.model.jobs import Job, JobState
from dispatch.wording.formatting import one_line
from drivers.host_lists import names_in_lists
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import JobList
from drivers.schedulers.slurm_values import (
    NOTHING,
    Tasks,
    count_of,
    duration_s_of,
    gpus_in,
    remembered,
    tasks_in,
    utc_s_of,
)

FIELDS = (
    "JobID", "ArrayJobID", "ArrayTaskID", "State", "Reason", "TimeLimit", "SubmitTime", "StartTime", "TimeUsed",
    "tres-alloc", "tres-per-job", "tres-per-node", "tres-per-socket", "tres-per-task", "NumCPUs", "NumNodes",
    "NumTasks", "NodeList", "Partition", "UserName",
)  # fmt: skip
LONGEST_WORD = 200
NO_TASKS: Tasks = ([], None, True)
_STATES: dict[str, JobState] = {
    "PENDING": "pending", "REQUEUED": "pending", "REQUEUE_FED": "pending", "REQUEUE_HOLD": "pending",
    "SPECIAL_EXIT": "pending", "CONFIGURING": "configuring", "RUNNING": "running", "RESIZING": "running",
    "SIGNALING": "running", "SUSPENDED": "suspended", "STOPPED": "suspended", "COMPLETING": "completing",
    "STAGE_OUT": "completing",
}  # fmt: skip

Value = TypeVar("Value")


def take_job(jobs: JobList, fields: Mapping[str, str], account: str, name: str) -> None:
    """Put one job, or the waiting tasks of an array, into the list. What cannot be read of it is noted and missing.

    Raises QueueNotRead where its times are not in seconds: then no job's are.
    """
    id, state = fields["JobID"], _STATES.get(fields["State"])
    if state is None or not (id.isascii() and id.isdigit()):
        known = "a state not known here" if state is None else "expected a number"
        jobs.note(f"job {_word(id)}, {_word(fields['State'])}: {known}, left out")
        return
    read = _Values(jobs, fields)
    waits, nodes = state == "pending", read.value("NumNodes", count_of, 0)
    start_s = read.value("StartTime", utc_s_of, None)
    job = Job(
        scheduler=jobs.scheduler,
        id=id,
        name=one_line(name)[:LONGEST_WORD],
        user=_word(fields["UserName"]),
        account=_word(account),
        partition=_word(fields["Partition"]),
        state=state,
        reason=_word(fields["Reason"]),
        submitted_utc_s=_submitted(fields),
        started_utc_s=None if waits else start_s,
        expected_start_utc_s=start_s if waits else None,
        time_limit_s=read.value("TimeLimit", duration_s_of, None),
        nodes=read.value("NodeList", _nodes, ()),
        node_count=nodes,
        cpus=read.value("NumCPUs", count_of, 0),
        gpus=_gpus(read, nodes),
    )
    if state == "running" and start_s is not None:
        jobs.clock(start_s + (read.value("TimeUsed", duration_s_of, None) or 0.0))
    if fields["ArrayTaskID"] in NOTHING:
        jobs.add(job)
    else:
        _add_of_array(jobs, job, fields["ArrayJobID"], read.value("ArrayTaskID", tasks_in, NO_TASKS))


class _Values:
    """The fields of one job."""

    def __init__(self, jobs: JobList, fields: Mapping[str, str]) -> None:
        self._jobs, self.fields = jobs, fields

    def value(self, field: str, of: Callable[[str], Value], otherwise: Value) -> Value:
        """What a field says; `otherwise` where it cannot be read, which is noted."""
        try:
            return of(self.fields[field])
        except ValueError as error:
            text = _word(self.fields[field])[:60]
            self._jobs.note(f"job {self.fields['JobID']}: {field} = {text!r} is not used, expected {error}")
            return otherwise


def _add_of_array(jobs: JobList, job: Job, array: str, tasks: Tasks) -> None:
    """A task of an array by its number, or all of its tasks that wait."""
    ranges, at_once, whole = tasks
    if not whole:
        how = "the command must hand the environment variable SLURM_BITSTR_LEN=0 on to squeue"
        jobs.note(f"array {_word(array)}: only some of its waiting tasks are told; {how}")
    of_array = msgspec.structs.replace(job, id=_word(array))
    if job.state == "pending":
        jobs.add_array(of_array, ranges, at_once)
    elif ranges:
        jobs.add(msgspec.structs.replace(job, id=f"{of_array.id}_{ranges[0].start}", number=job.id))


def _submitted(fields: Mapping[str, str]) -> float:
    try:
        return utc_s_of(fields["SubmitTime"]) or 0.0
    except ValueError as error:
        found = f"job {fields['JobID']}: SubmitTime = {_word(fields['SubmitTime'])[:60]!r}"
        how = "the command must hand the environment variable SLURM_TIME_FORMAT=%s on to squeue"
        raise QueueNotRead(f"{found}: expected {error}; {how}") from None


@remembered
def _nodes(text: str) -> tuple[str, ...]:
    return () if text in NOTHING else tuple(names_in_lists(text))


def _gpus(read: _Values, nodes: int) -> int:
    """The GPUs allocated or asked for, as far as Slurm tells them.

    The allocated ones are only told where AccountingStorageTRES names gres/gpu; else what was asked for is counted.
    """

    def of(field: str, times: int) -> int | None:
        gpus = read.value(field, gpus_in, None)
        return None if gpus is None else gpus * times

    tasks = read.value("NumTasks", count_of, 1) if read.fields["tres-per-task"] not in NOTHING else 1
    asked = {
        "tres-alloc": 1,
        "tres-per-job": 1,
        "tres-per-node": nodes,
        "tres-per-task": tasks,
        "tres-per-socket": nodes,
    }
    return next((gpus for field, times in asked.items() if (gpus := of(field, times)) is not None), 0)


def _word(text: str) -> str:
    """A name as it may be shown; empty where there is none."""
    return "" if text in NOTHING else one_line(text)[:LONGEST_WORD]
