"""The calls of scontrol that set what owners of jobs are told, and the comments of jobs as squeue prints them.

It goes into AdminComment, which users cannot change and do not use: their own text is Comment, and stays. Only root,
SlurmUser and administrators of Slurm may set it (`_update_job`, `validate_super_user`, in src/slurmctld/job_mgr.c of
github.com/SchedMD/slurm: the same in 20.11, 22.05 commit d525b6872a106d32916b33a8738f12510ec7cf04, 23.11, 24.05 and
25.05). Ours begins with a mark that names the site. A comment that does not is somebody else's.

Waiting tasks of an array are one record, and are changed as such by naming all of them; naming one alone would make a
record of it (`update_job_str`, the same file). A task that starts takes the comment of that record along. A part of a
heterogeneous job is named by its offset: the number of the first part would stand for all. Tried with Slurm 22.05.8.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator, Sequence

import msgspec

from dispatch.wording.formatting import one_line
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.slurm_licences import licence_count, reservation_name
from drivers.schedulers.slurm_values import NOTHING, count_of, tasks_in, utc_s_of

BETWEEN = "@@"
FIELDS = (
    "JobID", "ArrayJobID", "ArrayTaskID", "HetJobID", "HetJobOffset", "State", "Reason", "Licenses", "PriorityLong",
    "StartTime", "EndTime", "NumNodes", "admin_comment",
)  # fmt: skip
HEADER = f"JOBID{BETWEEN}ARRAY_JOB_ID{BETWEEN}"
WAITS = ("PENDING",)
HOLDS = ("RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "STOPPED", "RESIZING", "SIGNALING")
ENDS = ("COMPLETING",)
ENDED = re.compile("Job has already finished|Job/step already completing or completed|Invalid job id specified")
LONGEST = 400  # characters of a text of ours
AT_ONCE = 50  # jobs in one call
MOST_ADDRESS = 2_000  # characters: of an array of many single tasks
ADDRESS = re.compile(r"[0-9]+(\+[0-9]+|_[0-9]+|_\[[0-9,:-]+\])?")


class TellableJob(msgspec.Struct, frozen=True):
    """A job, a task of an array, or all tasks of it that wait: what can be told something."""

    key: str  # as `Job.id`; of tasks that wait together the array's number and "_"
    address: str  # for scontrol; empty: too long for a call, or it ends
    waits: bool
    runs: bool
    reason: str
    licences: int  # of power
    priority: int
    started_utc_s: float | None
    end_utc_s: float | None  # by its time limit
    nodes: int
    tasks: int  # of an array that wait together; else 1
    comment: str


class CommentsRead:
    """One answer of squeue: the jobs, and what each is told."""

    def __init__(self, license: str) -> None:
        """`license`: the name of the licence of power."""
        self._mark, self._license = f"@c{secrets.token_hex(6)}@", license

    @property
    def options(self) -> tuple[str, ...]:
        """With these squeue is to be called. They are safe in a shell."""
        fields = [f"{field}:{BETWEEN}" for field in FIELDS[:-1]]
        return "-a", "--noconvert", "-t", "PD,R,S,CF,CG", "-O", ",".join([*fields, f"{FIELDS[-1]}:{self._mark}"])

    def jobs(self, text: str) -> Iterator[TellableJob]:
        """The jobs, one by one. Raises QueueNotRead where squeue printed something else."""
        *records, rest = text.split(f"{self._mark}\n")
        header = records[0].split("\n")[-1] if records else ""
        if rest.strip() or not header.startswith(HEADER):
            raise QueueNotRead(
                f"found {one_line(text[:200])!r}: expected squeue of Slurm 20.11 or later, and all of it"
            )
        for record in records[1:]:
            fields = record.split(BETWEEN, len(FIELDS) - 1)
            if len(fields) != len(FIELDS):
                raise QueueNotRead(f"found {one_line(record[:200])!r}: expected {len(FIELDS)} fields of a job")
            yield self._job(dict(zip(FIELDS, fields, strict=True)))

    def _job(self, fields: dict[str, str]) -> TellableJob:
        key, address = _named(fields)
        comment, priority = fields["admin_comment"], fields["PriorityLong"]
        return TellableJob(
            key=key,
            address=address if _can_be_changed(fields["State"], address) else "",
            waits=fields["State"] in WAITS,
            runs=fields["State"] in HOLDS,
            reason=fields["Reason"],
            licences=licence_count(fields["Licenses"], self._license),
            priority=int(priority) if priority.isascii() and priority.isdigit() and len(priority) < 20 else 0,
            started_utc_s=_time(fields["StartTime"]),
            end_utc_s=_time(fields["EndTime"]),
            nodes=_count(fields["NumNodes"]),
            tasks=_tasks(fields["ArrayTaskID"]) if key.endswith("_") else 1,
            comment="" if comment in NOTHING else comment,
        )


def _can_be_changed(state: str, address: str) -> bool:
    """Whether a call may name a record: Slurm changes none that ends, which may take hours on a node that hangs."""
    return state not in ENDS and len(address) <= MOST_ADDRESS and ADDRESS.fullmatch(address) is not None


def only_ended(errors: str) -> bool:
    """Whether all that scontrol complains of is that jobs have ended since they were read; the others are changed."""
    lines = [line for line in errors.splitlines() if line.strip()]
    return bool(lines) and all(ENDED.search(line) for line in lines)


def _named(fields: dict[str, str]) -> tuple[str, str]:
    """Key and address of a record."""
    job, array = fields["JobID"], fields["ArrayJobID"]
    tasks, part = fields["ArrayTaskID"].partition("%")[0], fields["HetJobOffset"]
    if part.isascii() and part.isdigit():
        return job, f"{fields['HetJobID']}+{part}"
    if tasks in NOTHING:
        return job, job
    if tasks.isascii() and tasks.isdigit():
        return f"{array}_{tasks}", f"{array}_{tasks}"
    return f"{array}_", f"{array}_[{tasks}]"


def _time(text: str) -> float | None:
    try:
        return utc_s_of(text)
    except ValueError:  # Slurm's own words for no time
        return None


def _tasks(text: str) -> int:
    try:
        return max(1, sum(len(tasks) for tasks in tasks_in(text)[0]))
    except ValueError:
        return 1


def _count(text: str) -> int:
    try:
        return count_of(text)
    except ValueError:
        return 0


def site_mark(site: str) -> str:
    """How a text of a site's gateway begins: its own, so that no other's is touched."""
    return f"[{reservation_name(site)}] "


def is_free(comment: str, mark: str) -> bool:
    """Whether a comment is ours, or there is none."""
    return not comment or comment.startswith(mark)


def tell(scontrol: Sequence[str], jobs: Sequence[TellableJob], text: str) -> tuple[str, ...]:
    """Arguments: set the text of these jobs; empty: take it away. `scontrol`: how it is called.

    What ssh is given goes through a shell on the other machine, so there the text is quoted.
    """
    said = f"AdminComment={one_line(text)[:LONGEST]}"
    named = f"JobId={','.join(job.address for job in jobs)}"
    if scontrol[0].rpartition("/")[2] == "ssh":
        return "update", shlex.quote(named), shlex.quote(said)
    return "update", named, said
