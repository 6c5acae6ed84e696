"""Reports that a job of Slurm begins or ends on this node: never longer than two seconds, and never with an error.

A prolog that waits holds the job's nodes, and one that fails drains them. So whatever is wrong here, a gateway that is
away or hangs among it, the job goes on as without Skerry; one line of syslog says what was not reported.

Slurm gives its hooks an environment of their own, nothing of slurmd's reaches them (slurm.conf(5), Prolog and Epilog).
So the settings of the site are lines NAME=value of `slurm.env`, beside this file.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# from the start of the process: on a busy node Python itself takes a while to begin
REPORT_S = 1.5  # until the command must have ended
ALL_S = 1.7  # after which this ends whatever it does; slurm-prolog and slurm-epilog kill it after 1.9 s
ALONE = ("timeout", "-s", "KILL", "3")  # ends the command also where this was killed
SETTINGS = Path(__file__).with_name("slurm.env")
GPUS = Path("/proc/driver/nvidia/gpus")  # the kernel driver's; asking it starts no program
WORD = re.compile(r"[\w.,:+@-]{1,255}")  # what is passed on needs no quoting, at a shell of ssh neither
WARNING = 3 * 8 + 4  # of the facility daemon: RFC 5424, 6.2.1


def run(what):
    """Report "start" or "end" of the job of this hook."""
    child = []

    def give_up(*_):
        end(child)
        say(untold(what, f"no end within {ALL_S:g} s"))
        os._exit(0)

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, max(0.05, ALL_S - elapsed_s()))
    try:
        why = report(what, child)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = repr(error)
    if why:
        say(untold(what, why))
    sys.exit(0)


def untold(what, why):
    """What is said of a job that is not reported."""
    return f"skerry: the {what} of job {os.environ.get('SLURM_JOB_ID', '')} is not reported: {why}"


def report(what, child):
    """Run the command; why it failed, or empty. `child` gets its process. Raises OSError, ValueError."""
    configure()
    skerry = shlex.split(os.environ.get("SKERRY", "/opt/skerry/bin/skerry"))
    command = [*ALONE, *skerry, "jobs", "report", what, *options()]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=null, stdout=null, stderr=pipe, start_new_session=True)
    child.append(process)
    try:
        _, said = process.communicate(timeout=max(0.05, REPORT_S - elapsed_s()))
    except subprocess.TimeoutExpired:
        end(child)
        return f"no answer within {REPORT_S:g} s"
    return "" if process.returncode == 0 else f"exit code {process.returncode}: {last_line(said)}"


def elapsed_s():
    """How long ago this process was started, s (proc_pid_stat(5), field 22)."""
    begun = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    return min(max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - begun / os.sysconf("SC_CLK_TCK")), ALL_S)


def last_line(said):
    """Of what a command has printed, the line that says why it ended."""
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word why"


def end(child):
    """End the command, and what it has started."""
    for process in child:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def options():
    """The job as options of the command. Raises ValueError where Slurm names none."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        raise ValueError(f"SLURM_JOB_ID={job!r}: expected a number")
    found = ["--job", job]
    for option, name in (("--cluster", "SLURM_CLUSTER_NAME"), ("--node", "SLURMD_NODENAME")):
        value = os.environ.get(name, "")
        if WORD.fullmatch(value):
            found += [option, value]
    for uuid in uuids(os.environ.get("SLURM_JOB_GPUS", "")):
        found += ["--gpu", uuid]
    return found


def uuids(listed):
    """The UUIDs of the job's GPUs on this node. `listed`: "0,2" or "0-3", the numbers N of /dev/nvidiaN."""
    numbers = {number for part in listed.split(",") if part for number in expanded(part)}
    found = {}
    for path in sorted(GPUS.glob("*/information")):
        text = path.read_text(encoding="utf-8", errors="replace")
        uuid = re.search(r"^GPU UUID:\s*(GPU-[0-9a-fA-F-]+)\s*$", text, re.MULTILINE)
        minor = re.search(r"^Device Minor:\s*(\d+)\s*$", text, re.MULTILINE)
        if uuid and minor:
            found[int(minor.group(1))] = uuid.group(1)
    return [found[number] for number in sorted(numbers) if number in found]


def expanded(part):
    """The numbers of "2" or "0-3"; none of anything else."""
    first, dash, last = part.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        return range(0)
    return range(int(first), min(int(last or first), int(first) + 255) + 1)


def configure():
    """Take the settings of the site into the environment. Raises OSError, ValueError with file and line."""
    lines = SETTINGS.read_text(encoding="utf-8").splitlines() if SETTINGS.exists() else []
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or not re.fullmatch(r"\w+", name):
            raise ValueError(f"{SETTINGS}:{number}: expected NAME=value, found {line.strip()!r}")
        os.environ.setdefault(name, value.strip().strip("\"'"))
    os.environ.setdefault("PATH", "/usr/bin:/bin")  # Slurm sets none


def say(text):
    """Tell the administrator, in one line of syslog. A log that does not take it is not waited for."""
    line = " | ".join(text.split("\n"))
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.setblocking(False)
            log.sendto(f"<{WARNING}>skerry-slurm: {line}".encode(), os.environ.get("SKERRY_LOG", "/dev/log"))


if __name__ == "__main__":
    run(sys.argv[1])
