"""What Slurm tells of a job in PrologSlurmctld and EpilogSlurmctld, what the site has set for them, and what they say.

Slurm gives these hooks an environment of its own (job_common_env_vars() of its job_mgr.c): nothing of slurmctld's
reaches them. So the settings of the site are lines NAME=value of `slurm.env`, in this directory. What they print is
shown nowhere, so they write to syslog as well.

That environment has no GPUs, and in older versions no times. `scontrol show job -d` has: GPUs in JOB_GRES, and where
slurmdbd accounts them in TRES or AllocTRES. The name of a job, its account and its comment may hold lines like those of
scontrol: a text in which a field begins two lines is not believed.
"""

import json
import math
import os
import re
import subprocess
import sys
import syslog
from pathlib import Path

SLURM_S = 10.0  # a controller that does not answer by then is not waited for
NOT_RUN = ("BF", "CA", "CD", "DL", "F", "NF", "OOM", "PD", "PR", "TO")  # ended, or not started yet: squeue(1)
SETTINGS = Path(__file__).with_name("slurm.env")
PATH = "/usr/bin:/bin"  # Slurm sets none


def configure() -> None:
    """Take the settings of the site into the environment. Raises OSError, ValueError with file and line."""
    lines = SETTINGS.read_text(encoding="utf-8").splitlines() if SETTINGS.exists() else []
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or not re.fullmatch(r"\w+", name):
            raise ValueError(f"{SETTINGS}:{number}: expected NAME=value, found {line.strip()!r}")
        os.environ.setdefault(name, value.strip().strip("\"'"))
    os.environ.setdefault("PATH", PATH)


def say(text: str) -> None:
    """Tell the administrator, in one line of syslog, of the facility daemon."""
    line = " | ".join(text.split("\n"))
    print(line, file=sys.stderr)
    syslog.openlog("skerry-slurm", facility=syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, line)


def skerry(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command `skerry`. Raises OSError."""
    command = [os.environ.get("SKERRY", "/opt/skerry/bin/skerry"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def withdraw_forgotten() -> None:
    """Give back what jobs of this cluster still hold that Slurm does not run: their epilog did not come through.

    Slurm ends the prolog of a job that is cancelled at that moment with SIGKILL, and sometimes its epilog, too; or the
    gateway was away then.
    """
    cluster = os.environ.get("SLURM_CLUSTER_NAME", "")
    squeue = [os.environ.get("SQUEUE", "squeue"), "--noheader", "--states=all", "--format=%A %t"]
    try:
        held = json.loads(skerry("reservations", "--json").stdout)
        jobs = {r["id"]: r["job_id"] for r in held if r["job_id"] and r["cluster"] == cluster}
        if not jobs:
            return
        done = subprocess.run(squeue, capture_output=True, text=True, timeout=SLURM_S, check=True)
        states = dict(line.split() for line in done.stdout.splitlines())
    except (KeyError, OSError, ValueError, subprocess.SubprocessError):  # no gateway, or an old one; no controller
        return
    for id, job in jobs.items():
        if states.get(job, "CD") in NOT_RUN:
            skerry("withdraw", id, "--reason", f"job {job} does not run")


def shown() -> str:
    """What `scontrol show job` says of the job of this hook, times as POSIX seconds; empty where it is not known."""
    job_id = os.environ["SLURM_JOB_ID"]
    show = [os.environ.get("SCONTROL", "scontrol"), "show", "job", "-d", _asked(job_id)]
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
    try:
        done = subprocess.run(
            show, capture_output=True, text=True, errors="replace", timeout=SLURM_S, check=False, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    begins = re.findall(r"^(?:JobId| {3}[A-Z][\w/]*)=", done.stdout, re.MULTILINE)
    told = done.returncode == 0 and re.match(rf"JobId={job_id}\s", done.stdout) and len(begins) == len(set(begins))
    return done.stdout if told else ""


def _asked(job_id: str) -> str:
    """The one record to ask for: the id of an array's last task, or of a job in parts, stands for all of them."""
    for whole, mark, part in (
        ("SLURM_ARRAY_JOB_ID", "_", "SLURM_ARRAY_TASK_ID"),
        ("SLURM_HET_JOB_ID", "+", "SLURM_HET_JOB_OFFSET"),
    ):
        if whole in os.environ and part in os.environ:
            return f"{os.environ[whole]}{mark}{os.environ[part]}"
    return job_id


def field(text: str, name: str) -> str:
    """The value of NAME=value that begins a line; empty where there is none."""
    found = re.search(rf"^ +{name}=(\S*)", text, re.MULTILINE)
    return found.group(1) if found else ""


def restart(text: str) -> int:
    """How often Slurm has started the job again."""
    told = (
        os.environ.get("SLURM_JOB_RESTART_COUNT"),
        os.environ.get("SLURM_RESTART_COUNT"),
        field(text, r"Requeue=\d+ Restarts"),
    )
    for count in told:
        if count and count.isdigit():
            return int(count)
    return 0


def ended_restart(text: str, now_s: float) -> int:
    """The restart that is over, of the job of an epilog. `now_s`: POSIX seconds.

    Slurm counts a requeue before it runs the epilog, a failed node after. So the job itself is asked: one whose end
    lies ahead waits for, or has begun, another start than the one that is over.
    """
    count, end = field(text, r"Requeue=\d+ Restarts"), field(text, r"StartTime=\S+ EndTime")
    if not (count.isdigit() and end):
        return restart(text)
    over = end.isdigit() and int(end) <= now_s
    return int(count) if over else max(0, int(count) - 1)


def seconds(text: str) -> float | None:
    """How long the job may run, s, infinite where it is not limited; None: Slurm does not say."""
    begin, end = (os.environ.get(f"SLURM_JOB_{which}_TIME", "") for which in ("START", "END"))
    if not (begin.isdigit() and end.isdigit()):
        begin, end = field(text, "StartTime"), field(text, r"StartTime=\S+ EndTime")
    if begin.isdigit() and end.isdigit() and int(end) > int(begin):
        return int(end) - int(begin)
    return math.inf if end == "Unknown" else None


def nodes(text: str) -> int:
    """The number of nodes allocated to the job."""
    for count in (os.environ.get("SLURM_JOB_NUM_NODES"), field(text, "NumNodes").partition("-")[0]):
        if count and count.isdigit() and int(count) > 0:
            return int(count)
    return 1


def gpus(text: str) -> int | None:
    """The number of GPUs allocated to the job on all its nodes together; None: Slurm does not say."""
    if counts := _gres(field(text, "JOB_GRES")):
        return sum(counts)
    for name in ("AllocTRES", "TRES"):
        if found := re.findall(r"(?:^|,)gres/gpu=(\d+)", field(text, name)):
            return int(found[0])
    for name, times in (("TresPerJob", 1), ("TresPerNode", nodes(text))):
        if counts := _gres(field(text, name)):
            return times * sum(counts)
    listed = os.environ.get("SLURM_JOB_GPUS", "")  # of one node, where a hook runs there
    return len(listed.split(",")) * nodes(text) if listed else None


def _gres(text: str) -> list[int]:
    """The counts in "gpu:a100:4(IDX:0-3),gpu:2", "gres/gpu:4" or "gres:gpu:4"; "gpu" alone is one."""
    bare = re.sub(r"\([^)]*\)", "", text)
    parts = [re.sub(r"^gres[:/]", "", part) for part in bare.split(",")]
    counts = [part.split(":")[-1] for part in parts if part.split(":")[0] == "gpu"]
    return [int(count) if count.isdigit() else 1 for count in counts]


def identity(count: int) -> tuple[list[str], str]:
    """The options by which Skerry knows the job: cluster, id and restart, and a name for people."""
    job_id = os.environ["SLURM_JOB_ID"]
    cluster = os.environ.get("SLURM_CLUSTER_NAME", "")
    options = ["--job", job_id, "--restart", str(count), *(["--cluster", cluster] if cluster else [])]
    return options, f"slurm-{job_id}"
