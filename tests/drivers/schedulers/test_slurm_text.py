"""What squeue prints, read: every kind of job, names that hold anything, answers that are none."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_answers import ARRAY, JOB, WAITING, answer, read, taken

from dispatch.model.jobs import ARRAY_LIMIT, Job
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import MOST_JOBS
from drivers.schedulers.slurm_text import LONGEST_RECORD, SlurmText
from drivers.schedulers.slurm_values import count_of, duration_s_of, gpus_in, tasks_in, utc_s_of


def only(*jobs: dict[str, str]) -> Job:
    (job,) = read(*jobs).jobs
    return job


def test_a_running_job() -> None:
    assert only(JOB) == Job(
        scheduler="alpha",
        id="41",
        name="train",
        user="ann",
        partition="all",
        state="running",
        submitted_utc_s=1796010550.0,
        started_utc_s=1796010560.0,
        time_limit_s=3600.0,
        nodes=("gpu01", "gpu02"),
        node_count=2,
        cpus=4,
        gpus=4,
    )
    assert read(JOB).clock_utc_s == 1796010600.0, "when it has run for 40 s"


def test_a_waiting_job_has_the_start_that_backfill_expects() -> None:
    job = only(WAITING | {"StartTime": "1796014000", "account": "hep"})
    assert (job.state, job.reason, job.started_utc_s, job.expected_start_utc_s) == (
        "pending",
        "Priority",
        None,
        1796014000.0,
    )
    assert (job.gpus, job.node_count, job.nodes, job.account, job.runs) == (1, 1, (), "hep", False)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUSPENDED", "suspended"),
        ("COMPLETING", "completing"),
        ("CONFIGURING", "configuring"),
        ("SPECIAL_EXIT", "pending"),
    ],
)
def test_states(word: str, state: str) -> None:
    assert only(JOB | {"State": word}).state == state


def test_a_state_that_is_not_known_is_told_and_left_out() -> None:
    found = read(JOB | {"State": "TELEPORTING"}, WAITING)
    assert [job.id for job in found.jobs] == ["42"]
    assert found.notes == ("job 41, TELEPORTING: a state not known here, left out",)


def test_an_array_that_waits_is_its_tasks_and_only_as_many_as_may_run_wait_for_the_scheduler() -> None:
    running = JOB | {"JobID": "51", "ArrayJobID": "50", "ArrayTaskID": "7"}
    jobs = {job.id: job for job in read(running, ARRAY | {"ArrayTaskID": "1-6,8-1000%4"}).jobs}
    assert len(jobs) == 1000
    assert (jobs["50_7"].state, jobs["50_7"].number) == ("running", "51"), "its node knows it by that"
    assert jobs["50_1"].number == "", "one that waits has none of its own"
    reasons = Counter(job.reason for job in jobs.values() if job.state == "pending")
    assert reasons == {"Priority": 3, ARRAY_LIMIT: 996}
    assert [id for id, job in jobs.items() if job.reason == "Priority"] == ["50_1", "50_2", "50_3"]
    held = read(ARRAY | {"Reason": "JobHeldUser", "ArrayTaskID": "1-9:2"}).jobs
    assert [(job.id, job.reason) for job in held] == [(f"50_{n}", "JobHeldUser") for n in (1, 3, 5, 7, 9)]


def test_a_huge_array_is_counted_and_not_made() -> None:
    found = read(ARRAY | {"ArrayTaskID": "0-3999999"}, JOB)
    assert (len(found.jobs), found.more_waiting) == (MOST_JOBS, 4_000_001 - MOST_JOBS)
    assert found.jobs[0].state == "running", "what runs is never left out for what waits"
    assert "more than 20000 jobs" in found.notes[0]


def test_a_list_of_tasks_that_squeue_cut_off_is_told() -> None:
    found = read(ARRAY | {"ArrayTaskID": "1,3,5,..."})
    assert [job.id for job in found.jobs] == ["50_1", "50_3", "50_5"]
    assert "SLURM_BITSTR_LEN=0" in found.notes[0]


def test_a_job_that_is_listed_twice_counts_once_and_the_running_one_does() -> None:
    again = WAITING | {"JobID": "41", "ArrayJobID": "41"}
    for jobs in ((JOB, again), (again, JOB), (JOB, JOB)):
        found = read(*jobs)
        assert [job.state for job in found.jobs] == ["running"]
        assert found.notes == ("job 41 is listed twice, counted once",)
    overlapping = read(ARRAY | {"ArrayTaskID": "1-3"}, ARRAY | {"ArrayTaskID": "2-4"})
    assert len(overlapping.jobs) == 4


NAMES = [
    "a|b,c d", "two\nlines", "\nbegins with one", "", "None", "caf\udce9", "@@@@", "\x1b[31mred", "x" * 5000,
    "x@a000000000000@y@n000000000000@\n99@@99@@N/A@@RUNNING",
    "\n".join(("x", "@@".join(JOB.values()))),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("piece", [1, 7, 16_384])
def test_a_name_may_hold_anything(name: str, piece: int) -> None:
    found = read(JOB | {"name": name}, WAITING | {"account": name or "(null)"}, piece=piece)
    assert [job.id for job in found.jobs] == ["41", "42"]
    assert all((job.name + job.account).isprintable() and len(job.name) <= 200 for job in found.jobs)
    if name in ("a|b,c d", "None"):
        assert found.jobs[0].name == name


@given(name=st.text(max_size=60), account=st.text(max_size=20))
@settings(max_examples=30)
def test_no_name_or_account_makes_another_job(name: str, account: str) -> None:
    surrogates = name.encode("utf-8", "replace").decode(), account.encode("utf-8", "replace").decode()
    found = read(JOB | {"name": surrogates[0], "account": surrogates[1]}, WAITING)
    assert [(job.id, job.state, job.gpus) for job in found.jobs] == [("41", "running", 4), ("42", "pending", 1)]


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({"tres-alloc": "cpu=4,gres/gpu=4,gres/gpu:a100=4"}, 4),
        ({"tres-alloc": "cpu=4,gres/gpu:a100=1,gres/gpu:v100=2"}, 3),
        ({"tres-alloc": "cpu=4", "tres-per-node": "gpu:2"}, 4),
        ({"tres-alloc": "cpu=4", "tres-per-node": "gres/gpu:a100:3"}, 6),
        ({"tres-alloc": "cpu=4", "tres-per-node": "N/A", "tres-per-job": "gres:gpu:5"}, 5),
        ({"tres-alloc": "cpu=4", "tres-per-node": "N/A", "tres-per-task": "gres:gpu:3"}, 6),
        ({"tres-alloc": "cpu=4", "tres-per-node": "N/A", "tres-per-socket": "gres:gpu:1"}, 2),
        ({"tres-alloc": "cpu=4", "tres-per-node": "gres:mps:100"}, 0),
        ({"tres-alloc": "N/A", "tres-per-node": "N/A"}, 0),
    ],
)
def test_gpus_of_a_job(fields: dict[str, str], gpus: int) -> None:
    assert only(JOB | fields).gpus == gpus


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:a100:4", 4), ("gres:gpu", 1), ("gres/gpu", 1),
        ("gres:gpu:tesla:2(S:0-1)", 2), ("gpu:2(IDX:0,2)", 2), ("gres/gpu:h100=8", 8), ("gres/gpu=8,gres/gpu:h=8", 8),
        ("gpu:a:1,gpu:b:2", 3), ("gpu:1g.5gb:2", 2), ("gpu:1K", 1024), ("gres/gpumem=80G,gres/gpuutil=3", None),
        ("shard:4", None), ("cpu=2,mem=4G", None), ("", None), ("gpu:nvidia_a100_3g.20gb=1", 1),
    ],
)  # fmt: skip
def test_gpus_in_every_spelling(text: str, gpus: int | None) -> None:
    assert gpus_in(text) == gpus


def test_single_values() -> None:
    times = ("30:15", "1:00:00", "2-12:00:00", "2-12", "365-00:00:00", "UNLIMITED", "NOT_SET")
    assert [duration_s_of(text) for text in times] == [
        1815.0, 3600.0, 216_000.0, 216_000.0, 31_536_000.0, None, None,
    ]  # fmt: skip
    assert [utc_s_of(t) for t in ("1796010550", "N/A", "0", "4294967294000")] == [1796010550.0, None, None, None]
    assert [count_of(t) for t in ("4", "1-2", "2K", "1.5")] == [4, 1, 2048, 1]
    assert tasks_in("1-9:4,12%3") == ([range(1, 10, 4), range(12, 13)], 3, True)
    for of, text in ((duration_s_of, "90"), (utc_s_of, "2026-11-30T03:45:20"), (count_of, "-1"), (tasks_in, "9-1")):
        with pytest.raises(ValueError, match=r"such as|seconds|SS|number"):
            of(text)


def test_one_value_that_cannot_be_read_costs_no_job() -> None:
    found = read(JOB | {"NumCPUs": "many", "NodeList": "gpu[01", "TimeLimit": "soon"}, WAITING)
    assert len(found.jobs) == 2
    assert (found.jobs[0].cpus, found.jobs[0].nodes, found.jobs[0].time_limit_s, found.jobs[0].gpus) == (0, (), None, 4)
    assert len(found.notes) == 3
    assert "job 41: NodeList = 'gpu[01' is not used, expected a name" in found.notes[1]


def test_times_that_are_not_in_seconds_are_refused() -> None:
    with pytest.raises(QueueNotRead, match=r"job 41: SubmitTime = '2026-11-30T03:45:20'.* SLURM_TIME_FORMAT=%s"):
        read(JOB | {"SubmitTime": "2026-11-30T03:45:20"})


def test_an_empty_queue_is_one_and_a_cluster_may_be_named() -> None:
    text = SlurmText("alpha")
    assert taken(text, answer(text.options)).jobs == ()
    text = SlurmText("alpha")
    assert len(taken(text, b"CLUSTER: beta\n" + answer(text.options, JOB), piece=5).jobs) == 1


def test_what_is_no_answer_is_refused_with_what_was_found() -> None:
    def refused(printed: bytes, **piece: int) -> str:
        with pytest.raises(QueueNotRead) as refusal:
            taken(SlurmText("alpha"), printed, **piece)
        return str(refusal.value)

    assert "found '<html> <body>Sign in" in refused(b"<html>\n<body>Sign in</body></html>")
    assert "has no header, but nothing" in refused(b"")
    assert "Welcome to head01" in refused(b"Welcome to head01\n" + answer(SlurmText("alpha").options, JOB))
    assert "has no header" in refused(answer(SlurmText("alpha").options, JOB)), "of another call"
    assert "found" in refused(b"JOBID@@" + b"x" * (LONGEST_RECORD + 1))
    assert "has no header, but 'JOB" in refused(b"JOB")
    assert "found '@@ @@'" in refused(b"@@\n@@\n"), "of fields that this squeue does not know"
    assert refused(b"\xff\xfe\x00")


def test_an_answer_that_is_cut_off_is_never_taken_for_a_short_queue() -> None:
    for cut in (1, 20, 60):
        text = SlurmText("alpha")
        with pytest.raises(QueueNotRead, match="breaks off in '42@@"):
            taken(text, answer(text.options, JOB, WAITING)[:-cut])


def test_two_clusters_in_one_answer_are_refused() -> None:
    text = SlurmText("alpha")
    both = b"CLUSTER: a\n" + answer(text.options, JOB) + b"\nCLUSTER: b\n" + answer(text.options, JOB)
    with pytest.raises(QueueNotRead, match="several clusters"):
        taken(text, both)


def test_the_arguments_pass_through_a_shell_unchanged() -> None:
    safe = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_,:@.=%/")
    assert set("".join(SlurmText("alpha").options)) <= safe
