"""sd_notify over a real datagram socket; one gateway per site by a real lock between processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.instance_lock import AlreadyRunning, InstanceLock
from gateway.systemd import Systemd


def test_states_reach_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 arrives as sent; when the manager is gone, nothing raises."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        systemd = Systemd()
        assert systemd.send("READY=1")
        assert manager.recv(64) == b"READY=1"
    assert not systemd.send("WATCHDOG=1")
    systemd.close()


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No NOTIFY_SOCKET: a gateway started by hand."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Systemd().send("READY=1")


def test_second_instance_is_refused_and_told_who(tmp_path: Path) -> None:
    """Another process holding the lock is named; after its kill -9 the lock is free."""
    code = (
        "import sys, pathlib; from gateway.instance_lock import InstanceLock; "
        "lock = InstanceLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}"):
            InstanceLock(tmp_path)
        holder.kill()
        holder.wait()
        lock = InstanceLock(tmp_path)
    assert (tmp_path / "gateway.lock").read_text() == str(os.getpid())
    lock.release()
