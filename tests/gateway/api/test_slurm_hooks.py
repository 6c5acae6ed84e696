"""The hooks for Slurm: what they report, and that they end in two seconds with 0 whatever is wrong."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from commands import begin, ended
from small_gateway import ROOT, Running
from waiting import LIMIT_S as PATIENCE_S

from console.cli.job_text import CSV_HEADER, csv_rows
from drivers.schedulers.reader import with_environment
from drivers.schedulers.slurm_comments import TellableJob, site_mark, tell
from drivers.schedulers.slurm_licences import (
    keep,
    release,
    reservation_name,
    show_config,
    show_licences,
    show_reservations,
)
from gateway import exit_codes
from storage.csv_fields import field

HOOKS = ROOT / "deploy" / "hooks"
ENDS_S = 1.9  # a hook ends itself by then


def limit_s() -> float:
    """From a hook's start to its end: about 2 s where Python starts in 20 ms; a busy machine is slower at both."""
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return ENDS_S + 10 * (time.monotonic() - began_s)


UUIDS = [f"GPU-{n}f0e1d2c-0000-4000-8000-00000000000{n}" for n in range(4)]


def write_script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the hooks, with nothing of Slurm in the environment."""
    monkeypatch.syspath_prepend(str(HOOKS))
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    return importlib.import_module("slurm_report")


def a_datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def driver(place: Path, minors: tuple[int, ...] = (2, 0, 3, 1)) -> Path:
    """What the kernel's driver tells of four GPUs: not in the order of their numbers."""
    for slot, minor in enumerate(minors):
        (place / f"0000:{slot}1:00.0").mkdir(parents=True)
        lines = ["Model: \t\t NVIDIA H100", f"GPU UUID: \t {UUIDS[minor]}", f"Device Minor: \t {minor}"]
        (place / f"0000:{slot}1:00.0" / "information").write_text("\n".join(lines) + "\n")
    return place


def slower(place: Path, factor: float) -> Path:
    """The hooks with so many times the time, for tests of what they do with it: a busy machine is slower at all."""
    place.mkdir()
    for name in ("slurm-prolog", "slurm-epilog", "slurm_report.py"):
        text, limits = re.subn(
            r"(KILL |REPORT_S = |ALL_S = )(1\.\d)",
            lambda m: f"{m[1]}{factor * float(m[2]):g}",
            (HOOKS / name).read_text(),
        )
        assert limits == (2 if name.endswith(".py") else 1), name
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return place


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """The hooks with half a minute."""
    return slower(tmp_path / "hooks", 20)


def run_hook(name: str, skerry: str, hooks: Path = HOOKS, **environment: str) -> tuple[int, str, float]:
    """Its exit code, what it said, and how long it took, s."""
    given = {"SLURM_JOB_ID": "42", "SLURM_CLUSTER_NAME": "alpha", "SLURMD_NODENAME": "gpu-01"}
    given |= {"PATH": os.environ["PATH"], "SKERRY": skerry, "SKERRY_LOG": "/none"} | environment
    began_s = time.monotonic()
    done = subprocess.run([hooks / name], env=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, time.monotonic() - began_s


@pytest.mark.parametrize(("hook", "what"), [("slurm-prolog", "start"), ("slurm-epilog", "end")])
def test_a_hook_reports_its_job(tmp_path: Path, patient: Path, hook: str, what: str) -> None:
    skerry = write_script(tmp_path / "skerry", f'echo "$*" > {tmp_path}/asked')
    assert run_hook(hook, f"{skerry} --quick", patient)[:2] == (0, "")
    assert (tmp_path / "asked").read_text() == f"--quick jobs report {what} --job 42 --cluster alpha --node gpu-01\n"
    odd = {"SLURM_CLUSTER_NAME": "a; rm -rf /", "SLURMD_NODENAME": ""}  # what a shell of ssh would not take as a word
    assert run_hook(hook, str(skerry), patient, **odd)[:2] == (0, "")
    assert (tmp_path / "asked").read_text() == f"jobs report {what} --job 42\n"


@pytest.mark.parametrize(
    ("skerry", "environment", "said"),
    [
        ("/none/skerry", {}, "No such file"),
        ("sh -c 'echo skerry: no gateway >&2; exit 3'", {}, "exit code 3: skerry: no gateway"),
        ("sh -c 'exit 2'", {}, "exit code 2: no word why"),
        ("sh -c 'printf \"\\377\\n\" >&2; exit 1'", {}, "exit code 1: \N{REPLACEMENT CHARACTER}"),
        ("'unbalanced", {}, "No closing quotation"),
        ("true", {"SLURM_JOB_ID": "x y"}, "SLURM_JOB_ID='x y': expected a number"),
    ],
)
def test_whatever_is_wrong_a_hook_ends_with_0(
    patient: Path, skerry: str, environment: dict[str, str], said: str
) -> None:
    """A prolog that fails drains its node."""
    code, err, _ = run_hook("slurm-prolog", skerry, patient, **environment)
    assert code == 0
    assert err.startswith(f"skerry: the start of job {environment.get('SLURM_JOB_ID', '42')} is not reported: "), err
    assert said in err


def test_a_hook_without_python_or_its_file_ends_with_0(tmp_path: Path) -> None:
    """A copy of the hooks may be incomplete, and a node may have no Python."""
    for name in ("slurm-prolog", "slurm-epilog"):
        shutil.copy(HOOKS / name, tmp_path)
        assert run_hook(name, "true", hooks=tmp_path)[0] == 0
    (tmp_path / "bin").mkdir()
    for path in ("/none", str(tmp_path / "bin")):
        code, err, _ = run_hook("slurm-prolog", "true", PATH=path)
        assert (code, "the start of job 42 is not reported" in err) == (0, True), err
    (tmp_path / "slurm_report.py").write_text("import time\ntime.sleep(600)\n")
    code, err, took_s = run_hook("slurm-prolog", "true", hooks=tmp_path)
    assert (code, took_s < limit_s()) == (0, True), (err, took_s)


def test_a_gateway_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is what the command has started, nor a log that takes nothing: an ended hook leaves nothing behind."""
    skerry = write_script(tmp_path / "skerry", f"trap '' TERM\nsleep 600 &\necho $! > {tmp_path}/child\nwait")
    with a_datagram_socket() as log, a_datagram_socket() as full:
        log.bind(str(tmp_path / "log"))
        full.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                full.sendto(b"x" * 1000, str(tmp_path / "log"))
        for factor in (1, 4, 16):  # where the command has not begun in time there is nothing to see
            hooks = slower(tmp_path / f"hooks{factor}", factor)
            code, err, took_s = run_hook("slurm-prolog", str(skerry), hooks, SKERRY_LOG=str(tmp_path / "log"))
            assert code == 0
            assert "is not reported" in err
            if (tmp_path / "child").exists():
                break
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    end_s = time.monotonic() + PATIENCE_S
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end_s, "what the command has started runs on"
    assert took_s < factor * limit_s(), f"{took_s:.2f} s"


def test_the_gpus_of_a_job_by_their_uuids(hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm names the numbers of their device files; the order of the bus is another."""
    monkeypatch.setattr(hooks, "GPUS", driver(tmp_path / "gpus"))
    for listed, found in (
        ("0", [0]),
        ("3,1", [1, 3]),
        ("0-2", [0, 1, 2]),
        ("1-2,3", [1, 2, 3]),
        ("7", []),
        ("", []),
        ("GPU-x,-3,2-", []),
        ("0-99999999999", [0, 1, 2, 3]),
    ):
        assert hooks.uuids(listed) == [UUIDS[n] for n in found], listed
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_GPUS", "0,2")
    assert hooks.options() == ["--job", "7", "--gpu", UUIDS[0], "--gpu", UUIDS[2]]
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("GPU UUID: GPU-???\nDevice Minor: 2\n")
    assert hooks.uuids("2") == [], "one whose UUID the driver does not know yet"


def test_settings_are_read_from_a_file(hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: those of Slurm's own environment, as was told to set them, reach no hook."""
    monkeypatch.setattr(hooks, "SETTINGS", tmp_path / "slurm.env")
    monkeypatch.setattr(os, "environ", {"SKERRY_LOG": "/a"})
    hooks.configure()
    assert os.environ["PATH"] == "/usr/bin:/bin"
    lines = ["# how", "", " SKERRY_SITE = /run/skerry/a.sock", 'SKERRY="ssh gw"', "SKERRY_LOG=/b"]
    (tmp_path / "slurm.env").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"slurm\.env:3: expected NAME=value, found 'SKERRY_SITE = /run"):
        hooks.configure()
    lines[2] = lines[2].replace(" ", "")
    (tmp_path / "slurm.env").write_text("\n".join(lines))
    hooks.configure()
    found = [os.environ[name] for name in ("SKERRY_SITE", "SKERRY", "SKERRY_LOG")]
    assert found == ["/run/skerry/a.sock", "ssh gw", "/a"]


def test_what_was_not_reported_is_told_where_it_is_seen(
    hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found: Slurm shows nothing of what its hooks print."""
    with a_datagram_socket() as log:
        log.bind(str(tmp_path / "log"))
        monkeypatch.setenv("SKERRY_LOG", str(tmp_path / "log"))
        hooks.say("skerry: a\nb")
        assert log.recv(1000) == b"<28>skerry-slurm: skerry: a | b"
    assert capsys.readouterr().err == "skerry: a | b\n"


@pytest.mark.parametrize(
    ("what", "state", "reason", "asked"),
    [
        ("stop", "IDLE", "", ["update nodename=n1 state=drain reason=skerry: off the grid"]),
        ("stop", "MIXED+DRAIN", "skerry: before [root@2026-11-30T05:34:24]", []),
        ("stop", "IDLE+DRAIN", "bad GPU [slot 3] [root@2026-11-30T05:34:24]", []),
        ("allow", "IDLE+DRAIN", "skerry: off the grid [root@2026-11-30T05:34:24]", ["update nodename=n1 state=resume"]),
        ("allow", "DOWN+DRAIN", "bad GPU [root@2026-11-30T05:34:24]", []),
        ("allow", "IDLE+DRAIN", "", []),
        ("allow", "IDLE", "", []),
    ],
)
def test_only_what_skerry_has_drained_is_resumed(
    tmp_path: Path, what: str, state: str, reason: str, asked: list[str]
) -> None:
    """An administrator drains a node with a broken GPU: the end of an outage must not put it back to work."""
    why = f" Reason={reason}" if reason else ""
    shown = f"NodeName=n1 Gres=gpu:2 State={state} ThreadsPerCore=1 AveWatts=0{why}"
    print_it = f'case $1 in show) echo "{shown}";; *) echo "$*" >> {tmp_path}/asked;; esac'
    scontrol = write_script(tmp_path / "scontrol", print_it)
    words = [HOOKS / "slurm-starts", what, "n1", *(["off the grid"] if what == "stop" else [])]
    done = subprocess.run(words, env=os.environ | {"SCONTROL": str(scontrol)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ((tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []) == asked


@pytest.mark.parametrize("words", [(), ("stop",), ("allow",), ("stop", "n1"), ("allow", "n1", "x"), ("drain", "n1")])
def test_a_wrong_call_of_slurm_starts_says_how(words: tuple[str, ...]) -> None:
    done = subprocess.run([HOOKS / "slurm-starts", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")


# ── over ssh ────────────────────────────────────────────────────────────────────────────────────────────────────────

# What ssh and sshd do with a command: its words become one text, and the forced command gets that in its environment.
SSH = """shift  # the host
SSH_ORIGINAL_COMMAND="$*" exec {forced}
"""


def ssh(place: Path, forced: str) -> Path:
    """A `ssh` to a machine whose authorized_keys names a forced command."""
    return write_script(place / "ssh", SSH.format(forced=HOOKS / forced))


async def test_a_head_node_reaches_the_gateway_by_a_forced_command(there: Running, shim: Path) -> None:
    command = [str(ssh(there.directory, "for-scheduler")), "gateway", "skerry"]
    asked = ("reserve", "--kw", "1", "--for", "60s", "--cluster", "alpha", "--job", "7")
    code, out, err = await ended(await begin(there, shim, *command, *asked))
    assert (code, ": 1.0 kW from" in out) == (exit_codes.OK, True), err
    code, out, err = await ended(await begin(there, shim, *command, "withdraw", "--job", "7", "--cluster", "alpha"))
    assert (code, out.split()[0]) == (exit_codes.OK, "withdrawn"), err


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "sh",
        "skerry",
        "skerry stop",
        "skerry serve x.toml",
        "skerry jobs",
        "skerry link",
        "skerry reserve --kw 1 --for 1h --site /tmp/other.sock",
        "skerry reserve --kw 1 --for 1h --site=/tmp/other.sock",
        "skerry 'unbalanced",
        "sh -c 'skerry reserve'",
    ],
)
def test_a_forced_command_takes_nothing_else(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", asked)
    monkeypatch.setenv("SKERRY", "/bin/echo")
    done = subprocess.run([HOOKS / "for-scheduler"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("skerry: not allowed here: "), done.stderr


def test_a_forced_command_passes_words_not_a_shells_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "/usr/bin/skerry reserve --name '$(id) ;x' ; true")
    monkeypatch.setenv("SKERRY", "/bin/echo")
    done = subprocess.run([HOOKS / "for-scheduler"], capture_output=True, text=True, check=True)
    assert done.stdout == "reserve --name $(id) ;x ; true\n"
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "skerry jobs progress 4711 1200")
    done = subprocess.run([HOOKS / "for-scheduler"], capture_output=True, text=True, check=True)
    assert done.stdout == "jobs progress 4711 1200\n"


def job_named(address: str) -> TellableJob:
    return TellableJob("", address, True, False, "", 0, 0, None, None, 1, 1, "")


def test_a_head_node_takes_of_the_gateway_only_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("scontrol", "squeue"):
        write_script(tmp_path / program, f'echo {program} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    name = reservation_name("Render farm")
    needed = [
        ("scontrol", *arguments)
        for arguments in (
            show_licences(),
            show_reservations(),
            keep(name, "skerry_kw10", 10, exists=False),
            keep(name, "skerry_kw10", 10, exists=True),
            release(name),
            show_config(),
        )
    ]
    forced = [str(ssh(tmp_path, "for-gateway")), "head"]
    for command in (*needed, ("squeue", "--noheader", "--format=%i|%j".replace("|", "\\|"))):
        done = subprocess.run([*forced, *command], capture_output=True, text=True, check=False)
        assert done.stdout == " ".join(command).replace("\\", "") + "\n", done.stderr
    read = with_environment(("squeue", "--noheader"))[-2:]
    read = with_environment(("ssh", "head", *read))[2:]
    done = subprocess.run([*forced, *read], capture_output=True, text=True, check=False)
    assert (read[0], done.stdout) == ("env", "squeue --noheader\n"), done.stderr
    for text in (f"{site_mark('Render farm')}needs 1.2 kW; $(reboot)", ""):
        words = tell(["ssh"], [job_named("7"), job_named("9_[1-5]"), job_named("4+1")], text)
        done = subprocess.run([*forced, "scontrol", *words], capture_output=True, text=True, check=False)
        assert done.stdout == f"scontrol update JobId=7,9_[1-5],4+1 AdminComment={text}\n", done.stderr
    for command in (
        ("scontrol", "update", "JobId=7", "AdminComment=mine"),
        ("scontrol", "update", "JobId=7", "AdminComment=", "Priority=0"),
        ("scontrol", "update", "JobId=7", "Comment="),
        ("scontrol", "update", "ReservationName=maintenance", "EndTime=now"),
        ("scontrol", "update", f"ReservationName={name}", "JobId=7", "Licenses="),
        ("scontrol", "update", "JobId=7", "Priority=0"),
        ("scontrol", "delete", "reservation=skerry-a"),
        ("scontrol", "delete", f"ReservationName={name}", "ReservationName=skerry-b"),
        ("scontrol", "show", "job"),
        ("scontrol",),
        ("scancel", "7"),
        ("env", "PATH=/tmp", "squeue"),
        ("env", "SLURM_TIME_FORMAT=%s", "scancel", "7"),
        ("env", "-S", "scancel"),
        (),
    ):
        done = subprocess.run([*forced, *command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (4, ""), command


# ── power learnt ────────────────────────────────────────────────────────────────────────────────────────────────────


def run_of(name: str, mean_w: float | None, **more: object) -> dict[str, object]:
    run = {"id": "7", "user": "anna", "name": name, "gpus": 2, "started_utc_s": 0.0, "ended_utc_s": 3600.0}
    return run | {"covered_pct": 99.0, "mean_w": mean_w} | more


def test_what_jobs_have_drawn_becomes_what_the_next_ones_ask_for() -> None:
    """From the CSV of `skerry jobs`, with what it may hold besides."""
    runs = [run_of("train a|b", 1000.0 + n) for n in range(20)]
    runs += [run_of("=x", 500.0) for _ in range(3)]  # shown with a quote, so that no spreadsheet runs it
    runs += [run_of("rare", 900.0), run_of("rare", 900.0)]
    for changed in (
        {"ended_utc_s": 60.0},
        {"covered_pct": 20.0},
        {"mean_w": None},
        {"user": ""},
        {"user": "a b"},
        {"gpus": None},
        {"name": "a\nanna 2 1 b"},
    ):
        runs += [run_of("odd", 900.0) | changed for _ in range(9)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([CSV_HEADER, *([field(cell) for cell in row] for row in csv_rows({"jobs": runs}, None))])
    command = [ROOT / "deploy" / "slurm" / "learn-power"]
    done = subprocess.run(command, input=text.getvalue(), capture_output=True, text=True, check=True)
    assert done.stdout == "anna 2 1017 train a|b\nanna 2 500 =x\n"
    assert subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout.strip() == ""
