"""Answers of squeue, made as it makes them: `test_slurm_queue.py` of tests/system compares with a real one."""

from __future__ import annotations

from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.json_lines import JsonLines
from drivers.schedulers.slurm_job import FIELDS
from drivers.schedulers.slurm_text import SlurmText

JOB = {
    "JobID": "41", "ArrayJobID": "41", "ArrayTaskID": "N/A", "State": "RUNNING", "Reason": "None",
    "TimeLimit": "1:00:00", "SubmitTime": "1796010550", "StartTime": "1796010560", "TimeUsed": "0:40",
    "tres-alloc": "cpu=4,mem=8G,node=2,billing=4,gres/gpu=4", "tres-per-job": "N/A", "tres-per-node": "gres:gpu:2",
    "tres-per-socket": "N/A", "tres-per-task": "N/A", "NumCPUs": "4", "NumNodes": "2", "NumTasks": "2",
    "NodeList": "gpu[01-02]", "Partition": "all", "UserName": "ann",
}  # fmt: skip
WAITING = JOB | {
    "JobID": "42", "ArrayJobID": "42", "State": "PENDING", "Reason": "Priority", "StartTime": "N/A", "TimeUsed": "0:00",
    "tres-alloc": "cpu=1,mem=1000M,node=1,billing=1", "tres-per-job": "gres:gpu:1", "tres-per-node": "N/A",
    "NumNodes": "1", "NumCPUs": "1", "NodeList": "",
}  # fmt: skip
ARRAY = WAITING | {"JobID": "50", "ArrayJobID": "50", "ArrayTaskID": "1-1000%4"}


def answer(options: tuple[str, ...], *jobs: dict[str, str], name: str = "train", account: str = "(null)") -> bytes:
    """What squeue prints when it is called so. Keys of a job beside FIELDS: `name`, `account`."""
    after_account, after_name = (part.partition(":")[2] for part in options[-1].split(",")[-2:])
    header = "@@".join(("JOBID", *FIELDS[1:], "ACCOUNT")) + f"{after_account}NAME{after_name}\n"
    rows = [
        "@@".join((*(job[field] for field in FIELDS), job.get("account", account)))
        + after_account + job.get("name", name) + after_name + "\n"
        for job in jobs
    ]  # fmt: skip
    return (header + "".join(rows)).encode(errors="surrogateescape")


def taken(text: SlurmText | JsonLines, printed: bytes, piece: int = 16_384) -> QueueRead:
    """What a whole answer says. Raises QueueNotRead."""
    for at in range(0, len(printed), piece):
        for _ in text.take(printed[at : at + piece]):
            pass
    for _ in text.finish():
        pass
    return text.read


def read(*jobs: dict[str, str], piece: int = 16_384) -> QueueRead:
    """What these jobs are read as."""
    text = SlurmText("alpha")
    return taken(text, answer(text.options, *jobs), piece)


# In place of squeue: one job, whose name tells how it was called.
FAKE_SQUEUE = f"""
import os, sys
fields = sys.argv[-1].split(",")
after_account, after_name = (field.partition(":")[2] for field in fields[-2:])
print("@@".join(("JOBID", *fields[1:-2], "ACCOUNT")).replace(":@@", "") + after_account + "NAME" + after_name)
told = " ".join((os.environ["SLURM_TIME_FORMAT"], os.environ["SLURM_BITSTR_LEN"], *sys.argv[1:-4]))
print("@@".join(({", ".join(repr(JOB[field]) for field in FIELDS)}, "")) + after_account + told + after_name)
"""
