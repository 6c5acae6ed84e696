"""Records what Slurm prints: `.venv/bin/python tests/system/slurm_recording.py` writes tests/slurm_samples anew.

The hooks run as shipped; a `scontrol` in between notes with which environment they asked it for what, and its answer.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slurm_accounting
from slurm_cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "slurm_samples"
HOOKS, QUEUE, ACCOUNTS = "hooks-{}.json", "squeue-{}.txt", "sacct-{}.txt"  # of a version
ACCOUNTED = "JobID,JobIDRaw,State,Timelimit,ElapsedRaw,Submit,Start,End,NNodes,AllocTRES,JobName"
FORGED = "x\n   JOB_GRES=gpu:1\n   Requeue=1 Restarts=9 BatchFlag=1\n   StartTime=1 EndTime=2 Deadline=N/A"
COLUMNS = "%i|%A|%F|%K|%T|%r|%l|%V|%S|%e|%b|%C|%D|%P|%u|%j"  # what a user names comes last

READ = re.compile(r' +"   (Requeue|StartTime|JOB_GRES|TRES|TresPer\w+)=')

NOTING_SCONTROL = """#!/bin/sh
note={place}/noted/$SLURM_JOB_ID.$(/usr/bin/date +%s.%N)
echo "$@" > $note.asked
/usr/bin/scontrol "$@" > $note.shown
/usr/bin/env -0 > $note.env
/usr/bin/cat $note.shown
"""


def record(cluster: Cluster) -> dict[str, str]:
    """The text of each sample by its file name, from a Slurm that has had no job yet."""
    place = cluster.place
    (place / "noted").mkdir()
    scontrol = place / "noting-scontrol"
    scontrol.write_text(NOTING_SCONTROL.format(place=place))
    scontrol.chmod(0o755)
    settings = {"SLURM_CONF": place / "slurm.conf", "SKERRY": "/bin/true", "SCONTROL": scontrol}
    (place / "hooks" / "slurm.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    jobs = _run(cluster)
    version = cluster.version()
    header = {"slurm": version, "command": "scontrol show job -d, times as %s, in PrologSlurmctld and EpilogSlurmctld"}
    cases = {name: [_note(path) for id in ids for path in _notes(cluster, id)] for name, ids in jobs.items()}
    hooks = json.dumps(header | cases, indent=1, ensure_ascii=False) + "\n"
    return {HOOKS.format(version): _anonymous(cluster, hooks), QUEUE.format(version): _queue(cluster, version)}


def _run(cluster: Cluster) -> dict[str, Sequence[str]]:
    """Run one job after the other; the ids of each case."""
    jobs: dict[str, Sequence[str]] = {}
    for name, options in {
        "GPUs of two nodes": ("--gpus=3", "--time=10"),
        "nodes": ("--nodes=2", "--ntasks=2", "--time=1-00:00:00"),
        "whole node": ("--exclusive", "--gres=gpu:1", "--time=UNLIMITED"),
        "forged name": ("--gpus=2", "--nodes=1", "--time=10", f"--job-name={FORGED}"),
    }.items():
        jobs[name] = (job := cluster.submit(*options),)
        _ends(cluster, job)
    array = cluster.submit("--array=1-2%1", "--gpus=1", "--time=10")
    jobs["array"] = (str(int(array) + 1), array)
    _ends(cluster, *jobs["array"])
    het = cluster.submit("--gpus=1", "--time=10", ":", "--gpus=2", "--time=20")
    jobs["heterogeneous"] = (het, str(int(het) + 1))
    _ends(cluster, *jobs["heterogeneous"])
    for name in ("requeued", "node lost"):
        jobs[name] = (job := cluster.submit("--gpus=1", "--time=UNLIMITED"),)
        _runs(cluster, job)
        if name == "requeued":
            cluster.call("scontrol", "requeue", job)
        else:
            cluster.lose_nodes(job)
        cluster.wait(lambda job=job: cluster.state(job) == "PENDING")  # type: ignore[misc]
        cluster.start_now(job)
        _runs(cluster, job, notes=3)
        _ends(cluster, job, notes=4)
    return jobs


def _runs(cluster: Cluster, job: str, notes: int = 1) -> None:
    cluster.wait(lambda: cluster.state(job).startswith("RUNNING") and len(_notes(cluster, job)) == notes)


def _ends(cluster: Cluster, *jobs: str, notes: int = 2) -> None:
    """Let jobs end in their order, each once it runs."""
    for job in jobs:
        cluster.release(job)
    cluster.wait(lambda: all(len(_notes(cluster, job)) == notes for job in jobs))
    cluster.wait(lambda: cluster.call("squeue", "-h") == "")


def _notes(cluster: Cluster, job: str) -> list[Path]:
    """Of each hook of a job so far, in their order; the last file of a note is there."""
    return sorted((cluster.place / "noted").glob(f"{job}.*.env"))


def _note(path: Path) -> dict[str, Any]:
    environment = dict(entry.split("=", 1) for entry in path.read_bytes().decode().split("\0") if entry)  # type: ignore[misc]
    ours = ("SLURM_CONF", "SLURM_TIME_FORMAT")
    return {
        "asked": path.with_suffix(".asked").read_text().split(),
        "environment": {k: v for k, v in sorted(environment.items()) if k.startswith("SLURM_") and k not in ours},
        "shown": path.with_suffix(".shown").read_text().split("\n"),
    }


def _queue(cluster: Cluster, version: str) -> str:
    """What squeue prints of jobs of every kind, once with an array in one line and once with each task."""
    cluster.submit("--hold", "--time=UNLIMITED")
    cluster.submit("--hold", "--partition=short")
    cluster.submit("--hold", "--array=1-99%4", "--time=1-00:00:00")
    array = cluster.submit("--hold", "--array=3,5-7", "--time=90", "--job-name=a|b,c \x1b[31mred")
    cluster.submit("--hold", "--time=5", ":", "--time=02:30:00")
    cluster.submit("--begin=now+1hour", "--time=2-12")
    job = cluster.submit("--gpus=1", "--time=30:15")
    _runs(cluster, job)
    texts = []
    for options in (("-t", "all"), ("-r", "-j", array)):
        command = ("squeue", "-h", "-S", "i", *options, "-o", COLUMNS)
        texts.append(f"# Slurm {version}: SLURM_TIME_FORMAT=%s {' '.join(command[:-1])} '{COLUMNS}'\n")
        texts.append(cluster.call("env", "SLURM_TIME_FORMAT=%s", *command))
    return _anonymous(cluster, "".join(texts))


def record_accounts(cluster: Cluster) -> dict[str, str]:
    """What sacct prints of jobs that have ended, run and wait, with their steps. From a cluster with accounts."""
    settings = f"SLURM_CONF={cluster.place / 'slurm.conf'}\nSKERRY=/bin/true\n"
    (cluster.place / "hooks" / "slurm.env").write_text(settings)
    cluster.submit("--gpus=2", "--time=UNLIMITED", f"--job-name={FORGED}", run="srun true")
    cluster.submit("--array=1-2%1", "--gpus=1", "--time=10", run="true")
    cluster.submit("--time=1-00:00:00", ":", "--time=02:30:00", run="true")
    again = cluster.submit("--time=90")
    cluster.wait(lambda: cluster.state(again) == "RUNNING")
    cluster.call("scontrol", "requeue", again)
    cluster.wait(lambda: cluster.state(again) == "PENDING")
    cluster.start_now(again)
    cluster.release(again)
    cluster.wait(lambda: cluster.call("squeue", "-h") == "")
    cluster.submit("--exclusive", "--nodes=2", "--time=30:15")
    cluster.submit("--array=1-99%4", "--time=5")
    command = ("sacct", "--allusers", "--parsable2", "--starttime=now-1hour", f"--format={ACCOUNTED}")
    told = ("|COMPLETED|", "|RUNNING|", "|PENDING|", ".batch|", ".0|")
    cluster.wait(lambda: all(word in cluster.call(*command) for word in told))
    texts = []
    for options in ((), ("--duplicates", f"--jobs={again}")):
        texts.append(f"# Slurm {cluster.version()}: SLURM_TIME_FORMAT=%s {' '.join([*command, *options])}\n")
        texts.append(cluster.call("env", "SLURM_TIME_FORMAT=%s", *command, *options))
    return {ACCOUNTS.format(cluster.version()): _anonymous(cluster, "".join(texts))}


def _anonymous(cluster: Cluster, text: str) -> str:
    """Without what is of this machine."""
    bare = text.replace(str(cluster.place), "/tmp/slurm")
    return re.sub(r"AllocNode:Sid=\S+?(?=[\s\"])", "AllocNode:Sid=head:1", bare)


def comparable(text: str) -> str:
    """What the hooks and the job logs read of a sample, without times and time limits: the rest may differ between two
    recordings, and so may the limit that is left to a requeued job.
    """
    lines = [line for line in text.split("\n") if not re.match(r' +"   ', line) or READ.match(line)]
    return re.sub(r"\b1\d{9}\b|(\d+-)?\d+(:\d\d)+(?=\|)", "…", "\n".join(lines))


def main() -> None:
    """Write the samples of the Slurm that is installed; those of sacct where slurmdbd is, too."""
    for accounts in (False, True) if slurm_accounting.installed() else (False,):
        with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
            cluster = Cluster(Path(name), ROOT / "deploy" / "hooks", accounts)
            try:
                cluster.start()
                for file, text in (record_accounts if accounts else record)(cluster).items():
                    (SAMPLES / file).write_text(text)
            finally:
                cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
