"""What squeue prints of comments, and how scontrol is asked to change them."""

from __future__ import annotations

import shlex

import pytest

from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.slurm_comments import FIELDS, CommentsRead, TellableJob, is_free, site_mark, tell
from drivers.schedulers.slurm_licences import NotUnderstood, adds_licences

HEADER = (
    "JOBID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "HET_JOB_ID", "HET_JOB_OFFSET", "STATE", "REASON", "LICENSES", "PRIORITY",
    "START_TIME", "END_TIME", "NODES", "ADMIN_COMMENT",
)  # fmt: skip
JOB = dict(
    zip(
        FIELDS,
        ("41", "41", "N/A", "N/A", "N/A", "PENDING", "Licenses", "matlab:1,skerry_kw10:12", "9", "N/A", "N/A", "2",
         "(null)"),
        strict=True,
    )
)  # fmt: skip


def printed(read: CommentsRead, *jobs: dict[str, str]) -> str:
    """As Slurm 22.05 prints it."""
    mark = read.options[-1].rpartition(":")[2]
    rows = [HEADER, *(tuple(job[field] for field in FIELDS) for job in jobs)]
    return "".join(f"{'@@'.join(row)}{mark}\n" for row in rows)


def jobs(*rows: dict[str, str]) -> list[TellableJob]:
    read = CommentsRead("skerry_kw10")
    return list(read.jobs(printed(read, *rows)))


def test_each_kind_of_job_is_named_as_slurm_changes_it() -> None:
    array = JOB | {"JobID": "50", "ArrayJobID": "50", "ArrayTaskID": "1,3-9:2%4"}
    task = array | {"JobID": "51", "ArrayTaskID": "12", "State": "RUNNING", "StartTime": "100", "EndTime": "3700"}
    part = JOB | {"JobID": "61", "HetJobID": "60", "HetJobOffset": "1"}
    found = jobs(JOB, array, task, part)
    named = [("41", "41"), ("50_", "50_[1,3-9:2]"), ("50_12", "50_12"), ("61", "60+1")]
    assert [(job.key, job.address) for job in found] == named
    assert [job.waits for job in found] == [True, True, False, True]
    assert (found[0].licences, found[0].priority, found[0].nodes, found[0].comment) == (12, 9, 2, "")
    assert [job.tasks for job in found] == [1, 5, 1, 1]
    assert (found[2].runs, found[2].started_utc_s, found[2].end_utc_s) == (True, 100.0, 3700.0)


def test_a_comment_of_somebody_else_is_told_from_ours() -> None:
    mark = site_mark("Render farm")
    assert mark == "[skerry-render-farm] "
    texts = ["(null)", "", f"{mark}waits", "call Ann@@\nbefore you kill it", "[skerry-other] waits"]
    found = jobs(*(JOB | {"admin_comment": text} for text in texts))
    assert [job.comment for job in found] == ["", "", *texts[2:]], "whatever is in it"
    assert [is_free(job.comment, mark) for job in found] == [True, True, True, False, False]


@pytest.mark.parametrize("cut", [0, 10, -1, -30])
def test_an_answer_that_is_not_whole_changes_nothing(cut: int) -> None:
    read = CommentsRead("skerry_kw10")
    with pytest.raises(QueueNotRead, match="expected squeue"):
        list(read.jobs(printed(read, JOB)[:cut]))


def test_the_text_is_one_word_for_scontrol_and_for_a_shell_behind_ssh() -> None:
    (job,) = jobs(JOB)
    text = "[skerry-a] needs $(reboot) '1' \n kW"
    assert tell(["/usr/bin/scontrol"], [job], text)[1:] == (
        "JobId=41",
        "AdminComment=[skerry-a] needs $(reboot) '1'   kW",
    )
    words = tell(["/usr/bin/ssh", "head", "scontrol"], [job, job], text)
    assert shlex.split(" ".join(words))[1:] == ["JobId=41,41", "AdminComment=[skerry-a] needs $(reboot) '1'   kW"]
    assert tell(["scontrol"], [job], "") == ("update", "JobId=41", "AdminComment=")


def test_what_no_call_can_name_is_not_told() -> None:
    long = JOB | {"ArrayJobID": "50", "ArrayTaskID": ",".join(str(n) for n in range(1, 2000, 2))}
    odd = JOB | {"JobID": "41 Priority=0", "ArrayJobID": "41"}
    assert [job.address for job in jobs(long, odd)] == ["", ""]


def test_whether_jobs_are_given_licences_shows_in_the_configuration() -> None:
    assert adds_licences("JobRequeue              = 1\nJobSubmitPlugins        = lua\n")
    assert not adds_licences("JobSubmitPlugins        = (null)\n")
    with pytest.raises(NotUnderstood, match="JobSubmitPlugins"):
        adds_licences("nothing")
