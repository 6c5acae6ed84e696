"""Claims between real processes: one gateway per device, and no stranger keeps it from starting."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import claims as module
from gateway.claims import Claims, device_keys
from gateway.instance_lock import AlreadyRunning, InstanceLock

WANTED = {"device 192.0.2.7:502 unit 1": "pcs1 at 192.0.2.7:502 unit 1", "site x": "the site file x"}
HOLDER = """
import os, sys
from gateway.claims import Claims
uid = int(sys.argv[2])
if uid >= 0:
    os.setuid(uid)
claims = Claims()
claims.take({sys.argv[1]: "what it wants"})
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(key: str, uid: int = -1) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a claim."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER, key, str(uid)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def claims() -> Iterator[Claims]:
    made = Claims()
    yield made
    made.release()


@pytest.mark.parametrize("key", WANTED)
def test_a_second_gateway_is_refused_and_told_who(claims: Claims, key: str) -> None:
    with holder(key) as process:
        with pytest.raises(AlreadyRunning, match=f"pid {process.pid}, and holds {WANTED[key]}"):
            claims.take(WANTED)
        process.kill()
        process.wait()
        assert claims.take(WANTED) == []
        assert claims.take({"device 192.0.2.7:502 unit 2": "pcs2"}) == [], "another unit behind the same address"


def test_claims_taken_one_after_the_other_all_hold(claims: Claims) -> None:
    for key, words in WANTED.items():
        claims.take({key: words})
    for key, words in WANTED.items():
        with pytest.raises(AlreadyRunning):
            Claims().take({key: words})
    claims.release()
    claims.take(WANTED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_keep_the_gateway_from_starting(claims: Claims, machine_root: Path) -> None:
    """But the user of the system's gateway, who owns /run/skerry, counts for everybody."""
    key = next(iter(WANTED))
    machine_root.chmod(0o755)
    with holder(key, 65534) as process:
        (said,) = claims.take(WANTED)
        assert f"pid {process.pid}, has claimed pcs1 at 192.0.2.7:502 unit 1, too" in said
        claims.release()
        run = machine_root / "run" / "skerry"
        run.mkdir(parents=True)
        os.chown(run, 65534, 65534)
        with pytest.raises(AlreadyRunning, match=f"pid {process.pid}"):
            claims.take(WANTED)


def test_a_stranger_does_not_count_whoever_runs_this_test(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_users_that_count", lambda: {-1})
    with holder(next(iter(WANTED))):
        (said,) = claims.take(WANTED)
    assert "it does not keep this gateway from commanding" in said


def stuffed(name: str) -> list[socket.socket]:
    """A listener whose queue is full, and what fills it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen(0)
    sockets = [listener]
    for _ in range(8):
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sockets[-1].connect(name)
    return sockets


def test_claims_that_do_not_say_whose_they_are_do_not_count(claims: Claims) -> None:
    """However many: together they cost a start no more than half a second."""
    topic = module._topic(next(iter(WANTED)))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            for sock in stuffed(f"\0skerry-gateway/{topic}/{secrets.token_hex(8)}"):
                stack.enter_context(sock)
        began_s = time.monotonic()
        said = claims.take(WANTED)
        assert time.monotonic() - began_s < 4 * module.PROBE_S
    assert said == [
        "a process that does not say whose it is, has claimed pcs1 at 192.0.2.7:502 unit 1, too; "
        "it does not keep this gateway from commanding. End it"
    ]


def test_a_claim_that_many_have_looked_at_still_says_whose_it_is(claims: Claims) -> None:
    """Each look leaves a connection in the queue; it is emptied."""
    claims.take(WANTED)
    name = next(line for line in module.SOCKETS.read_text().splitlines() if module._topic("site x") in line)
    address = "\0" + name.rsplit(" ", 1)[-1][1:]
    for _ in range(200):
        assert module._holder(address, time.monotonic() + 10) == (os.getpid(), os.geteuid())


def test_of_those_that_start_at_once_at_most_one_runs() -> None:
    together, won = threading.Barrier(4), []

    def start() -> None:
        mine = Claims()
        together.wait()
        with contextlib.suppress(AlreadyRunning):
            mine.take(WANTED)
            won.append(mine)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in won:
        each.release()
    assert len(won) <= 1


def test_where_claims_cannot_be_seen_the_gateway_starts_and_says_so(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SOCKETS", tmp_path / "none")
    (said,) = claims.take(WANTED)
    assert said.startswith("gateways of this machine that command the same devices are not seen: ")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED, errno.EPROTO, errno.ENOMEM])
def test_a_claim_is_looked_after_whatever_accepting_says(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Found: the first error ended the thread, and a second gateway started once the queue was full."""
    failed = threading.Event()
    accept = socket.socket.accept

    def fails(sock: socket.socket) -> Any:
        if failed.is_set():
            return accept(sock)
        failed.set()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "accept", fails)
    claims.take(WANTED)
    (name,) = [ln.rsplit(" ", 1)[-1] for ln in module.SOCKETS.read_text().splitlines() if module._topic("site x") in ln]
    for _ in range(100):  # more than its queue takes
        assert module._holder("\0" + name[1:], time.monotonic() + 10) == (os.getpid(), os.geteuid())
    assert failed.is_set()


@pytest.mark.parametrize("call", ["bind", "listen", "socketpair"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EPERM, errno.ENOBUFS])
def test_where_nothing_can_be_claimed_the_gateway_starts_and_says_so(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fails(*arguments: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(*((socket, call) if call == "socketpair" else (socket.socket, call)), fails)
        (said,) = claims.take(WANTED)
        assert said.startswith("another gateway on this machine could command the same devices, they cannot be claimed")
        assert os.strerror(number) in said
    with holder("site x") as process, pytest.raises(AlreadyRunning, match=f"pid {process.pid}"):
        Claims().take(WANTED)


def test_another_gateway_is_seen_where_nothing_can_be_claimed(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> Any:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with holder("site x") as process:
        monkeypatch.setattr(socket.socket, "bind", fails)
        with pytest.raises(AlreadyRunning, match=f"pid {process.pid}"):
            claims.take(WANTED)


EXITED = """
import ctypes, os, sys, threading
from pathlib import Path
from gateway.claims import Claims
from gateway.instance_lock import InstanceLock
claims, lock = Claims(), InstanceLock(Path(sys.argv[1]))
claims.take({"site x": "the site file x"})
def stay():
    while Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    print("held", flush=True)
    sys.stdin.read()
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit(2): of this thread alone
"""


def test_a_holder_that_has_ended_but_is_kept_by_a_thread(claims: Claims, tmp_path: Path) -> None:
    """As a killed gateway one of whose threads waits for a dead disk: its sockets and locks are still there."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", EXITED, str(tmp_path)], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert claims.take(WANTED) == []
            with pytest.raises(AlreadyRunning, match=f"has ended, pid {process.pid}: .*; rename .* and start again"):
                InstanceLock(tmp_path)
            (tmp_path / "gateway.lock").rename(tmp_path / "gateway.lock.old")
            InstanceLock(tmp_path).release()
        finally:
            process.kill()


def test_a_device_is_one_however_its_address_is_written() -> None:
    names = ("127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.0.0.2", "::ffff:127.0.0.1")
    for name in names:
        assert device_keys(name, 502, 1) & device_keys("127.0.0.1", 502, 1), name
    assert device_keys("192.0.2.7", 502, 1) == device_keys("::ffff:192.0.2.7", 502, 1)
    assert not device_keys("192.0.2.7", 502, 1) & device_keys("192.0.2.7", 503, 1)


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "a" * 300, "b\0c", "ünï", "x..y"])
def test_a_name_without_an_address_is_claimed_as_it_is(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLVE_S", 0.2)
    assert any(host.lower() in key for key in device_keys(host, 502, 1))
