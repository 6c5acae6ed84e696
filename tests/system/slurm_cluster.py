"""A Slurm of its own: munged, slurmctld and two nodes of two GPUs, without systemd, on loopback, in one directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import slurm_accounting

PACKAGES = Path(__file__).with_name("packages.txt")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "srun", "sinfo")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NODES = ("a", "b")
LIMIT_S = 30.0

CONF = """ClusterName=alpha
SlurmctldHost=localhost(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.sock
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=1
KillWait=1
GresTypes=gpu
SlurmdParameters=config_overrides
PrologFlags=Alloc
Prolog={place}/hooks/slurm-prolog
Epilog={place}/hooks/slurm-epilog
Licenses={license}:{licences},matlab:5
JobSubmitPlugins=lua
NodeName=a NodeHostName=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
NodeName=b NodeHostName=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=UNLIMITED DefaultTime=01:00:00 State=UP
PartitionName=short Nodes=ALL MaxTime=02:00:00 State=UP
PartitionName=whole Nodes=ALL OverSubscribe=EXCLUSIVE State=UP
"""

LICENSE, LICENCES = "skerry_kw10", 100  # 10 kW
POWER = """# of a test
total=100
gpu_w=1000
gpu_w.big=2000
host_w=400
whole/host_w=500
gpus_per_node=2
"""

NO_ACCOUNTS = """AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
"""


def missing() -> str:
    """Why there can be no Slurm here; empty: there can."""
    install = f"apt-get install --no-install-recommends {' '.join(PACKAGES.read_text().split())}"
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)}; as root: {install}"
    return "" if os.geteuid() == 0 else "slurmd and its jobs need root"


class Cluster:
    """One Slurm, from `start` to `stop`. Only processes that it has started are ended."""

    def __init__(self, place: Path, hooks: Path, accounts: bool = False) -> None:
        """`accounts`: with slurmdbd and a database."""
        self.place, self._hooks, self.accounts = place, hooks, accounts
        self.environment = {"PATH": PATH, "SLURM_CONF": str(place / "slurm.conf"), "HOME": str(place)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._controller: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of it; both nodes are idle then. Raises TimeoutError with the controller's log."""
        for directory in ("state", "spool-a", "spool-b", "log"):
            (self.place / directory).mkdir()
        self.place.chmod(0o755)  # the commands of users read slurm.conf
        shutil.copytree(self._hooks, self.place / "hooks")
        for file in ("job_submit.lua", "skerry_power.lua"):
            shutil.copy(self._hooks.parent / "slurm" / file, self.place)
        (self.place / "skerry_power.conf").write_text(POWER)
        self._write_files()
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        named = [f"--{option}={self.place / name}" for option, name in files.items()]
        self._run("munged", "--foreground", "--force", *named, f"--log-file={self.place / 'log' / 'munged'}")
        self.wait(lambda: (self.place / "munge.sock").exists())
        if self.accounts:
            self._start_accounts()
        self.start_controller()
        for node in NODES:
            self._run("slurmd", "-D", "-N", node)
        self.wait(lambda: self.call("sinfo", "-h", "-o", "%D %t") == "2 idle\n")

    def _write_files(self) -> None:
        told = {"place": self.place, "ports": _free_ports(3), "license": LICENSE, "licences": LICENCES}
        (self.place / "slurm.conf").write_text(CONF.format(**told))
        if not self.accounts:
            with (self.place / "slurm.conf").open("a") as conf:
                conf.write(NO_ACCOUNTS)
        gpus = [self.place / f"gpu{n}" for n in range(4)]
        for gpu in gpus:
            gpu.touch()
        lines = [
            f"NodeName={node} Name=gpu File={self.place}/gpu[{2 * n}-{2 * n + 1}]\n" for n, node in enumerate(NODES)
        ]
        (self.place / "gres.conf").write_text("".join(lines))

    def _start_accounts(self) -> None:
        ports = _free_ports(2)
        slurm_accounting.write_files(self.place, ports)
        self.call(*slurm_accounting.install_database(self.place))
        self._run(*slurm_accounting.database(self.place, ports[1]))
        self.wait(lambda: _answers(ports[1]))
        self._run("slurmdbd", "-D")
        self.wait(lambda: _answers(ports[0]))

    def start_controller(self) -> None:
        """Start slurmctld, with what it has saved."""
        self._controller = self._run("slurmctld", "-D")
        self.wait(lambda: self.try_call("scontrol", "ping").returncode == 0)

    def stop_controller(self) -> None:
        """End slurmctld in order."""
        assert self._controller is not None
        _end(self._controller)
        self._processes.remove(self._controller)

    def stop(self) -> None:
        """Cancel all jobs and end all that was started."""
        if self._controller is not None:
            for user in ("root", "nobody"):
                self.try_call("scancel", f"--user={user}")
                self.try_call("scancel", f"--user={user}", "--signal=KILL", "--full")
            self.wait(lambda: self.try_call("squeue", "-h").stdout == "")
        for process in reversed(self._processes):
            _end(process)

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

    def try_call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm."""
        return subprocess.run(
            command, env=self.environment, cwd=self.place, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    def call(self, *command: str) -> str:
        """What a command of Slurm prints. Raises AssertionError where it fails."""
        done = self.try_call(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def submit(self, *options: str, run: str = "") -> str:
        """The id of a batch job that runs until `release` is called, or runs `run`."""
        script = run or f"until test -e {self.place}/released.$SLURM_JOB_ID; do sleep 0.1; done"
        return self.call("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script).strip()

    def release(self, job_id: str) -> None:
        """Let a job end."""
        (self.place / f"released.{job_id}").touch()

    def state(self, job_id: str) -> str:
        """The state of a job, RUNNING among others; empty where Slurm has forgotten it."""
        return self.try_call("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").stdout.strip()

    def start_now(self, job_id: str) -> None:
        """Start a job that was requeued, which Slurm would let wait for two minutes.

        slurmd refuses one that starts in the second in which it was ended ("already killed").
        """
        self.call("scontrol", "update", f"JobId={job_id}", "StartTime=now+2")

    def as_nobody(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm as a user without rights."""
        user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        return self.try_call(*user, *command)

    def licences(self, job_id: str) -> str:
        """What a job asks for, such as "matlab:1,skerry_kw10:12"."""
        return self.call("squeue", "-h", "-j", job_id, "-o", "%W").strip()

    def reason(self, job_id: str) -> str:
        """Why a job waits, in Slurm's word."""
        return self.call("squeue", "-h", "-j", job_id, "-o", "%r").strip()

    def version(self) -> str:
        """Such as 22.05.8."""
        return self.call("sinfo", "--version").split()[-1]

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.place / "log" / "-".join(command[:1] + command[3:4]).replace("/", "_")).open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something is so. Raises TimeoutError with the ends of the logs."""
        end_s = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end_s:
                raise TimeoutError("\n".join(self._logs()))
            time.sleep(0.05)

    def _logs(self) -> Iterator[str]:
        for log in sorted((self.place / "log").iterdir()):
            yield f"── {log.name}"
            yield from log.read_text(errors="replace").splitlines()[-15:]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
