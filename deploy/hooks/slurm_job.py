"""What Slurm tells of a job in PrologSlurmctld and EpilogSlurmctld: by the environment, and by `scontrol show job`.

The environment of these hooks names no allocated GPUs and, in older versions, no restart count; scontrol does: TRES or
AllocTRES where the cluster accounts GPUs, else JOB_GRES, TresPerJob, TresPerNode. See
https://slurm.schedmd.com/prolog_epilog.html and scontrol(1). Each of them begins a line; what users write themselves,
the name of the job among it, does not.
"""

import os
import re
import subprocess

SKERRY = os.environ.get("SKERRY", "/opt/skerry/bin/skerry")
SCONTROL = os.environ.get("SCONTROL", "scontrol")
SHOW_S = 10.0  # a controller that does not answer by then is not waited for


def shown(job_id: str) -> str:
    """What `scontrol show job` says of the job; empty where there is none."""
    try:
        show = [SCONTROL, "show", "job", "-d", job_id]
        done = subprocess.run(show, capture_output=True, text=True, timeout=SHOW_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


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


def nodes(text: str) -> int:
    """The number of nodes allocated to the job."""
    for count in (os.environ.get("SLURM_JOB_NUM_NODES"), field(text, "NumNodes").partition("-")[0]):
        if count and count.isdigit() and int(count) > 0:
            return int(count)
    return 1


def gpus(text: str) -> int | None:
    """The number of GPUs allocated to the job on all its nodes together; None: Slurm does not say."""
    for name in ("AllocTRES", "TRES"):
        if counts := re.findall(r"(?:^|,)gres/gpu=(\d+)", field(text, name)):
            return int(counts[0])
    for name, times in (("JOB_GRES", 1), ("TresPerJob", 1), ("TresPerNode", nodes(text))):
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


def identity(text: str) -> tuple[list[str], str]:
    """The options by which Skerry knows the job: cluster, id and restart, and a name for people."""
    job_id = os.environ["SLURM_JOB_ID"]
    options = ["--job", job_id, "--restart", str(restart(text))]
    cluster = os.environ.get("SLURM_CLUSTER_NAME", "")
    return [*options, *(["--cluster", cluster] if cluster else [])], f"slurm-{job_id}"
