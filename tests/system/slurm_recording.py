"""Records what Slurm prints: `.venv/bin/python tests/system/slurm_recording.py` writes tests/slurm_samples anew."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import slurm_accounting
from slurm_cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "slurm_samples"
QUEUE, ACCOUNTS = "squeue-{}.txt", "sacct-{}.txt"  # of a version
ACCOUNTED = "JobID,JobIDRaw,State,Timelimit,ElapsedRaw,Submit,Start,End,NNodes,AllocTRES,JobName"
FORGED = "x\n   JOB_GRES=gpu:1\n   Requeue=1 Restarts=9 BatchFlag=1\n   StartTime=1 EndTime=2 Deadline=N/A"
ENDED = (  # the jobs that a queue shows as ended
    ("--gpus=3", "--time=10"),
    ("--nodes=2", "--ntasks=2", "--time=1-00:00:00"),
    ("--exclusive", "--gres=gpu:1", "--time=UNLIMITED"),
    ("--gpus=2", "--nodes=1", "--time=10", f"--job-name={FORGED}"),
    ("--array=1-2%1", "--gpus=1", "--time=10"),
    ("--gpus=1", "--time=10", ":", "--gpus=2", "--time=20"),
    ("--gpus=1", "--time=365-00:00:00"),
    ("--gpus=1", "--time=UNLIMITED"),
)
COLUMNS = "%i|%A|%F|%K|%T|%r|%l|%V|%S|%e|%b|%C|%D|%P|%u|%j"  # what a user names comes last


def record(cluster: Cluster) -> dict[str, str]:
    """The text of each sample by its file name, from a Slurm that has had no job yet."""
    (cluster.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
    for options in ENDED:
        cluster.submit(*options)
        _end(cluster)
    version = cluster.version()
    return {QUEUE.format(version): _queue(cluster, version)}


def _end(cluster: Cluster) -> None:
    """Let all jobs end, each once it runs and its prologs are over: else Slurm goes on showing those as its reason."""

    def all_released() -> bool:
        rows = [line.split() for line in cluster.call("squeue", "-h", "-o", "%A %T %r").splitlines()]
        for id, *what in rows:
            if what == ["RUNNING", "None"]:
                cluster.release(id)
        return not rows

    cluster.wait(all_released)


def _queue(cluster: Cluster, version: str) -> str:
    """What squeue prints of jobs of every kind, once with an array in one line and once with each task."""
    cluster.submit("--hold", "--time=UNLIMITED")
    cluster.submit("--hold", "--partition=short")
    cluster.submit("--hold", "--array=1-99%4", "--time=1-00:00:00")
    array = cluster.submit("--hold", "--array=3,5-7", "--time=90", "--job-name=a|b,c \x1b[31mred")
    cluster.submit("--hold", "--time=5", ":", "--time=02:30:00")
    cluster.submit("--begin=now+1hour", "--time=2-12")
    job = cluster.submit("--gpus=1", "--time=30:15")
    cluster.wait(lambda: (cluster.state(job), cluster.reason(job)) == ("RUNNING", "None"))  # not in its prolog
    texts = []
    for options in (("-t", "all"), ("-r", "-j", array)):
        command = ("squeue", "-h", "-S", "i", *options, "-o", COLUMNS)
        texts.append(f"# Slurm {version}: SLURM_TIME_FORMAT=%s {' '.join(command[:-1])} '{COLUMNS}'\n")
        texts.append(cluster.call("env", "SLURM_TIME_FORMAT=%s", *command))
    return _anonymous(cluster, "".join(texts))


def record_accounts(cluster: Cluster) -> dict[str, str]:
    """What sacct prints of jobs that have ended, run and wait, with their steps. From a cluster with accounts."""
    (cluster.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
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
    return text.replace(str(cluster.place), "/tmp/slurm")


def comparable(text: str) -> str:
    """A sample without times and time limits: they differ between two recordings."""
    return re.sub(r"\b1\d{9}\b|(\d+-)?\d+(:\d\d)+(?=\|)", "…", text)


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
