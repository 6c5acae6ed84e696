"""The hooks for Slurm against a gateway in memory, with what a real Slurm has printed (tests/slurm_samples)."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import syslog
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commands import begin, ended
from small_gateway import ROOT, Running

from gateway import exit_codes
from gateway.api.client import GatewayClient

HOOKS = ROOT / "deploy" / "hooks"
SAMPLES = ROOT / "tests" / "slurm_samples"


def show(*lines: str) -> str:
    """What scontrol shows of a job whose user would like to have said more than its name."""
    name = "JobId=42 JobName=x    Requeue=1 Restarts=7    TRES=gres/gpu=64 AllocTRES=gres/gpu=64 NumNodes=9"
    return "\n".join([name, *(f"   {line}" for line in lines), "   Comment=   TRES=gres/gpu=64", ""])


def write_script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def scontrol(place: Path) -> Path:
    """A `scontrol` that shows what a test has written to `shown`, and notes what it was asked."""
    (place / "shown").write_text(show("NumNodes=4 NumCPUs=64", "TRES=cpu=64,node=4,gres/gpu=32,gres/gpu:h=32"))
    return write_script(place / "scontrol", f'echo "$*" > {place}/asked\ncat {place}/shown')


@pytest.fixture
def squeue(place: Path) -> Path:
    """A `squeue` that shows what a test has written to `queued`."""
    return write_script(place / "squeue", f"cat {place}/queued")


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the hooks, with nothing of Slurm in the environment."""
    monkeypatch.syspath_prepend(str(HOOKS))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return importlib.import_module("slurm_job")


def slurm(scontrol: Path, **more: str) -> dict[str, str]:
    """The environment of a hook on the head node, of job 42: an hour on 4 nodes."""
    job = {"SLURM_JOB_ID": "42", "SLURM_CLUSTER_NAME": "alpha", "SLURM_JOB_NUM_NODES": "4", "SCONTROL": str(scontrol)}
    job["SQUEUE"] = str(scontrol.with_name("squeue"))
    return job | {"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": "4600"} | more


async def test_slurms_prolog_waits_and_its_epilog_gives_back(there: Running, shim: Path, scontrol: Path) -> None:
    job = slurm(scontrol)
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **job))
    assert code == exit_codes.OK, err
    (mine,) = there.gateway.reservations.kept
    assert (mine.name, mine.power_w, mine.end_utc_s - mine.start_utc_s) == ("slurm-42", 20_000.0, 3600.0)
    assert (mine.cluster, mine.job_id, mine.restart) == ("alpha", "42", 0)
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-epilog"), **slurm(scontrol, SKERRY="/none")))
    assert (code, "stays reserved" in err) == (exit_codes.OK, True), err
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-epilog"), **job))
    assert code == exit_codes.OK, err
    assert there.gateway.reservations.standing() == ()
    (scontrol.parent / "shown").write_text(show("TRES=gres/gpu=3200"))
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **job))
    assert code == exit_codes.REFUSED
    assert "fuse: 2000.0 kW" in err
    away = slurm(scontrol, SKERRY_SITE=str(there.directory / "none.sock"))
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **away))
    assert code == exit_codes.OK, "a gateway that is away holds nothing up"
    assert err.startswith("skerry: job 42 starts unannounced: no gateway: skerry: ")
    odd = slurm(scontrol, SKERRY_WITHIN="soon")
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **odd))
    assert code == exit_codes.OK, "nor does a word that is not taken"
    assert "job 42 starts unannounced: exit code 2: " in err
    for wrong in (
        {"SKERRY_KW_PER_GPU": "much"},
        {"SKERRY": "/none"},
        {"SKERRY_GPUS_PER_NODE": "0", "SKERRY_KW_PER_GPU": "0"},
    ):
        code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **slurm(scontrol, **wrong)))
        assert (code, "job 42 starts unannounced" in err) == (exit_codes.OK, True), err


# ── what a real Slurm printed ───────────────────────────────────────────────────────────────────────────────────────

(RECORDED,) = [json.loads(path.read_text()) for path in SAMPLES.glob("hooks-*.json")]
HOURS_12 = 12 * 3600


def notes(case: str, context: str) -> list[dict[str, Any]]:
    """What the hooks of one kind were given, in their order: `asked`, `environment`, and what was `shown`."""
    return [note for note in RECORDED[case] if note["environment"]["SLURM_SCRIPT_CONTEXT"] == f"{context}_slurmctld"]


@pytest.mark.parametrize("context", ["prolog", "epilog"])
@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("GPUs of two nodes", [(2, 3, 600, 0)]),
        ("nodes", [(2, None, 86_400, 0)]),
        ("whole node", [(1, 2, math.inf, 0)]),
        ("array", [(1, 1, 600, 0)] * 2),
        ("heterogeneous", [(1, 1, 600, 0), (1, 2, 1200, 0)]),
        ("requeued", [(1, 1, math.inf, 0), (1, 1, 365 * 86_400, 1)]),
        ("node lost", [(1, 1, math.inf, 0), (1, 1, math.inf, 1)]),
    ],
)
def test_a_job_is_read_as_slurm_shows_it(
    hooks: ModuleType,
    scontrol: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    found: list[tuple[int, int | None, float, int]],
    context: str,
) -> None:
    """Its nodes, its GPUs, how long it may run, and which start of it begins or is over."""
    monkeypatch.setenv("SCONTROL", str(scontrol))
    for note, (nodes, gpus, seconds, restart) in zip(notes(case, context), found, strict=True):
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            monkeypatch.delenv(name)
        for name, value in note["environment"].items():
            monkeypatch.setenv(name, value)
        scontrol.with_name("shown").write_text("\n".join(note["shown"]))
        text = hooks.shown()
        assert scontrol.with_name("asked").read_text().split() == note["asked"]
        assert text, "what is not forged is believed"
        if context == "prolog":
            assert (hooks.nodes(text), hooks.gpus(text)) == (nodes, gpus)
            assert (hooks.seconds(text), hooks.restart(text)) == (seconds, restart)
        else:
            ended_s = max(map(int, re.findall(r"\b1\d{9}\b", text.partition("EndTime")[0])))  # its start at least
            assert hooks.ended_restart(text, ended_s + HOURS_12) == restart


def test_what_a_user_forged_is_not_believed(hooks: ModuleType, scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: the first line that looked like one of scontrol counted, and the name comes first."""
    monkeypatch.setenv("SCONTROL", str(scontrol))
    monkeypatch.setenv("SLURM_JOB_ID", "4")
    (note,) = notes("forged name", "prolog")
    texts = ["\n".join(note["shown"])]
    honest = "\n".join(["JobId=4 JobName=x", *(line for line in note["shown"][4:])])
    for forged in ("JobId=9 JobName=y", "   JOB_GRES=gpu:1", "   Socks/Node=* Ntasks=1"):
        texts.append(honest.replace("JobName=x", f"JobName=x\n{forged}"))
    for text in texts:
        scontrol.with_name("shown").write_text(text)
        assert hooks.shown() == "", text
    scontrol.with_name("shown").write_text(honest)
    assert hooks.gpus(hooks.shown()) == 2
    monkeypatch.setenv("SLURM_JOB_ID", "40")
    assert hooks.shown() == "", "of another job"


@pytest.mark.parametrize("case", ["requeued", "node lost"])
async def test_a_job_started_again_renews_and_a_late_epilog_takes_nothing_newer(
    there: Running, shim: Path, scontrol: Path, case: str
) -> None:
    """The epilog of a requeued job is told the restart that comes, that of a lost node the one that is over."""

    async def run(hook: str, note: dict[str, Any], ends_in_s: float, shown: list[str] | None = None) -> str:
        end = f"EndTime={there.clock.utc_s() + ends_in_s:.0f}"
        text = re.sub(r"EndTime=\d+", end, "\n".join(shown or note["shown"]))
        scontrol.with_name("shown").write_text(text)
        given = note["environment"] | {"SCONTROL": str(scontrol), "SQUEUE": "/none"}
        code, out, err = await ended(await begin(there, shim, str(HOOKS / hook), **given))
        assert code == exit_codes.OK, err
        return out

    starts, ends = notes(case, "prolog"), notes(case, "epilog")
    await run("slurm-prolog", starts[0], 600)
    (first,) = there.gateway.reservations.standing()
    assert await run("slurm-epilog", ends[0], 600) == f"withdrawn {first.id}\n"
    await run("slurm-prolog", starts[1], 600)
    (second,) = there.gateway.reservations.standing()
    assert second.restart == 1
    late = await run("slurm-epilog", ends[0], 600, starts[1]["shown"])
    assert late == f"{second.id} stays: the job was started again since (restart 1)\n"
    assert await run("slurm-epilog", ends[1], -1) == f"withdrawn {second.id}\n"
    assert there.gateway.reservations.standing() == ()


async def test_a_job_that_is_started_again_without_an_epilog_renews(there: Running, shim: Path, scontrol: Path) -> None:
    for restart in ("0", "1"):
        job = slurm(scontrol, SLURM_JOB_RESTART_COUNT=restart)
        code, out, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **job))
        assert code == exit_codes.OK, err
    (mine,) = there.gateway.reservations.standing()
    assert mine.restart == 1
    assert f"renews {there.gateway.reservations.kept[0].id}" in out
    job = slurm(scontrol, SLURM_JOB_RESTART_COUNT="0")
    code, _, err = await ended(await begin(there, shim, str(HOOKS / "slurm-prolog"), **job))
    assert (code, "was started again since" in err) == (exit_codes.REFUSED, True), err


async def test_a_prolog_gives_back_what_jobs_hold_that_slurm_does_not_run(
    there: Running, client: GatewayClient, shim: Path, scontrol: Path, squeue: Path
) -> None:
    """Found: where no epilog came through, the power stayed reserved until the end of the job's time limit."""
    asked = {"power_w": 100.0, "for_s": 3600.0}
    of_jobs = [{"cluster": "alpha", "job_id": str(number)} for number in range(1, 8)]
    for job in (*of_jobs, {"cluster": "beta", "job_id": "1"}, {"name": "by hand"}):
        await client.request("reservation.ask", **asked, **job, seen_utc_s=there.clock.utc_s())
    queued = squeue.with_name("queued")
    queued.write_text("1 R\n2 CG\n3 CF\n4 PD\n5 CA\n6 S\n42 CF\n")  # 7 is forgotten
    hook = [str(HOOKS / "slurm-prolog")]
    code, _, err = await ended(await begin(there, shim, *hook, **slurm(scontrol, SQUEUE="/none")))
    assert (code, len(there.gateway.reservations.standing())) == (exit_codes.OK, 10), err
    code, _, err = await ended(await begin(there, shim, *hook, **slurm(scontrol)))
    assert code == exit_codes.OK, err
    held = [(r.cluster, r.job_id) for r in there.gateway.reservations.standing()]
    assert sorted(held) == [("", ""), *(("alpha", id) for id in ("1", "2", "3", "42", "6")), ("beta", "1")]


def test_settings_are_read_from_a_file(hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: those of slurmctld's environment, as was told to set them, reach no hook."""
    monkeypatch.setattr(hooks, "SETTINGS", tmp_path / "slurm.env")
    monkeypatch.delenv("PATH")
    monkeypatch.setenv("SKERRY_WITHIN", "5m")
    hooks.configure()
    assert os.environ["PATH"] == "/usr/bin:/bin"
    lines = [
        "# kW",
        "",
        "SKERRY_KW_PER_GPU=0.7",
        " SKERRY_SITE = /run/skerry/a.sock",
        'SKERRY="/x y"',
        "SKERRY_WITHIN=1m",
    ]
    (tmp_path / "slurm.env").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"slurm\.env:4: expected NAME=value, found 'SKERRY_SITE = /run"):
        hooks.configure()
    lines[3] = lines[3].replace(" ", "")
    (tmp_path / "slurm.env").write_text("\n".join(lines))
    hooks.configure()
    found = [os.environ[name] for name in ("SKERRY_KW_PER_GPU", "SKERRY_SITE", "SKERRY", "SKERRY_WITHIN")]
    assert found == ["0.7", "/run/skerry/a.sock", "/x y", "5m"]


def test_the_settings_of_the_manual_are_taken(
    hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = (ROOT / "deploy" / "README.md").read_text()
    (tmp_path / "slurm.env").write_text("# slurm.env" + manual.partition("# slurm.env")[2].partition("```")[0])
    monkeypatch.setattr(hooks, "SETTINGS", tmp_path / "slurm.env")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    hooks.configure()
    assert {
        "SKERRY_KW_PER_GPU": "0.55",
        "SKERRY_GPUS_PER_NODE": "8",
        "SKERRY_WITHIN": "30m",
    }.items() <= os.environ.items()


def test_what_went_wrong_is_told_where_it_is_seen(
    hooks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found: slurmctld shows nothing of what its hooks print."""
    logged: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: logged.append((priority, line)))
    hooks.say("skerry: job 7 is refused: a\nb")
    assert logged == [(syslog.LOG_WARNING, "skerry: job 7 is refused: a | b")]
    assert capsys.readouterr().err == "skerry: job 7 is refused: a | b\n"


@pytest.mark.parametrize(
    ("lines", "gpus"),
    [
        (["ReqTRES=gres/gpu=64", "AllocTRES=cpu=8,mem=1G,node=2,billing=8,gres/gpu=4"], 4),
        (["TRES=cpu=8,node=2,gres/gpu=4,gres/gpu:a100=4"], 4),
        (["TRES=cpu=8,node=2,billing=8", "JOB_GRES=gpu:a100:3(IDX:0-2)", "TresPerNode=gres:gpu:2"], 3),
        (["TRES=cpu=8,node=2,billing=8", "JOB_GRES=gpu:a100:3,gpu:h100:2"], 5),
        (["NumNodes=2 NumCPUs=8", "TresPerNode=gres:gpu:4"], 8),
        (["NumNodes=2-2 NumCPUs=8", "TresPerNode=gres/gpu:h100:4"], 8),
        (["NumNodes=2 NumCPUs=8", "TresPerJob=gres/gpu:6"], 6),
        (["NumNodes=2 NumCPUs=8", "TresPerNode=gres/gpu"], 2),
        (["NumNodes=2 NumCPUs=8", "JOB_GRES=(null)", "TresPerNode=nic:1"], None),
        ([], None),
    ],
)
def test_the_gpus_of_a_job_are_counted_as_allocated(hooks: ModuleType, lines: list[str], gpus: int | None) -> None:
    """Not the nodes: two jobs may share one, and a job may have two of its eight GPUs. Nor what its user wrote."""
    assert hooks.gpus(show(*lines)) == gpus
    assert hooks.restart(show(*lines)) == 0
    assert hooks.restart(show(*lines, "Requeue=1 Restarts=3 BatchFlag=1")) == 3


async def test_slurms_prolog_promises_a_job_of_days_what_the_horizon_reaches(there: Running, shim: Path) -> None:
    """Found: it was refused, so requeued, for ever."""
    job = {"SLURM_JOB_ID": "43", "SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": str(1000 + 3 * 86_400)}
    job |= {"SCONTROL": "/none", "SQUEUE": "/none"}
    started = await begin(there, shim, str(HOOKS / "slurm-prolog"), **job, SKERRY_KW_PER_HOST="0.5")
    code, _, err = await ended(started)
    assert code == exit_codes.OK, err
    (mine,) = there.gateway.reservations.kept
    assert mine.end_utc_s - mine.start_utc_s == 34 * 3600.0
