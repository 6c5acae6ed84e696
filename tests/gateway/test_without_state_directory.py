"""A gateway whose state directory cannot be used controls all the same, says so, and takes it up when it is back."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import warm_start
from harness import Site, a_site, site_text, until
from waiting import LIMIT_S

from dispatch.model.decision import Mode
from gateway import exit_codes
from gateway import state_directory as module
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from gateway.errors import RequestFailed
from gateway.instance_lock import AlreadyRunning, InstanceLock
from gateway.state_directory import StateDirectory

STEERS = (Mode.RULES, Mode.PLAN)
Repair = Callable[[asyncio.subprocess.Process], None]


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path, site_text(revert_s=5, extra="[orders]\nmax_s = 3600\n")) as site:
        await site.twin()
        yield site


def full(directory: Path) -> tuple[Repair, dict[str, Any]]:
    """No byte can be written to any file."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    def clear(gateway: asyncio.subprocess.Process) -> None:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))

    return clear, {"preexec_fn": fill}


def hanging(directory: Path) -> tuple[Repair, dict[str, Any]]:
    """Opening a file in it never returns, as on a dead disk or server."""
    directory.mkdir(parents=True)
    pipe = directory / "identity.json"
    os.mkfifo(pipe)

    def answer(gateway: asyncio.subprocess.Process) -> None:
        writer = os.open(pipe, os.O_RDWR)
        pipe.unlink()
        os.close(writer)  # whoever reads it reads its end

    return answer, {}


async def order(client: GatewayClient) -> Any:
    seen = await client.request("status")
    return await client.request(
        "order.set", kind="setpoint", value=1000.0, reason="test", seen_utc_s=seen["snapshot"]["utc_s"]
    )


async def durable(client: GatewayClient) -> None:
    """Wait until a command is on disk again."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if not (await client.request("stop", reason="test"))["not_durable"]:
                return
            await asyncio.sleep(0.2)


async def there(path: Path) -> None:
    """Wait for a file."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if await asyncio.to_thread(path.is_file):
                return
            await asyncio.sleep(0.1)


def alarmed(state: Published) -> bool:
    return any(alarm.id == "records-lost" and alarm.detail is not None for alarm in state.alarms)


@pytest.mark.parametrize("spoil", [full, hanging])
async def test_control_runs_without_it_and_takes_it_up(wire: Site, spoil: Any) -> None:
    directory = wire.directory / "disk" / "state"
    repair, options = spoil(directory)
    serving = ["serve", str(wire.path), "--twin", str(wire.announce), "--state-dir", str(directory)]
    gateway = await wire.run(*serving, **options)
    client = await wire.client()
    await until(client, lambda s: s.decision.mode in STEERS and alarmed(s))
    if spoil is not hanging:  # only the file of the identity hangs, the audit is written
        with pytest.raises(RequestFailed, match="not on record, so not done"):
            await order(client)
    stopped = await client.request("stop", reason="test")
    assert bool(stopped["not_durable"]) is (spoil is not hanging)
    repair(gateway)
    await durable(client)
    await there(directory / "identity.json")
    await there(directory / "telemetry.db")
    gateway.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    assert gateway.returncode == exit_codes.OK, err.decode()
    assert b"Traceback" not in err


async def test_a_directory_deleted_under_a_gateway_lets_no_second_one_in(wire: Site) -> None:
    """Found: the second made a directory and a lock of its own. Nor does a copy of the site file, or another place."""
    first = await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.decision.mode in STEERS)
    shutil.rmtree(wire.state_dir)
    copy = wire.directory / "copy.toml"
    copy.write_text(wire.path.read_text())
    elsewhere = wire.directory / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    environment = wire.environment | {"RUNTIME_DIRECTORY": str(elsewhere)}
    for path, place in ((wire.path, wire.state_dir), (wire.path, elsewhere), (copy, elsewhere / "state")):
        serving = ["serve", str(path), "--twin", str(wire.announce), "--state-dir", str(place), "--for", "5s"]
        pipe = asyncio.subprocess.PIPE
        second = await warm_start.start(serving, environment, stdout=pipe, stderr=pipe, start_new_session=True)
        _, err = await asyncio.wait_for(second.communicate(), LIMIT_S)
        assert second.returncode == exit_codes.ALREADY_RUNNING, err.decode()
        assert f"pid {first.pid}, and holds " in err.decode()
    assert "pcs1 at 127.0.0.1:" in err.decode(), "the copy has another name and directory: the device is the same"


# ── without processes ───────────────────────────────────────────────────────────────────────────────────────────────


class Heard:
    """Events, by severity."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.said.append((severity, text))

    def note(self, event: Any, durable: bool = False) -> Any:
        """Not used here."""


KINDS = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENOENT", "ENOTDIR", "ELOOP", "ESTALE", "ENAMETOOLONG"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ["mkdir", "open"])
async def test_whatever_the_disk_says_is_said_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, call: str
) -> None:
    state, heard = StateDirectory(tmp_path / "state"), Heard()
    number = getattr(errno, kind)

    def fails(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number), str(state.path))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        state.take()
        assert os.strerror(number) in state.trouble
        assert not state.identity.kept
        await state.look(heard)
        assert heard.said == [], "what the start has said is not said again"
    await state.look(heard)
    assert (state.trouble, state.identity.kept) == ("", True)
    assert [severity for severity, _ in heard.said] == ["info", "info"]
    assert InstanceLock.holds(state._lock) if state._lock is not None else False
    state.release()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_directory_that_is_not_ours_to_write(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    state = StateDirectory(tmp_path / "state")
    state.take()
    assert "Permission denied" in state.trouble
    state.release()


async def test_a_directory_that_is_lost_and_comes_back(tmp_path: Path) -> None:
    path, heard = tmp_path / "state", Heard()
    state = StateDirectory(path)
    state.take()
    assert (state.trouble, state.identity.kept) == ("", True)
    known = state.identity
    path.rename(tmp_path / "away")
    path.write_text("")
    await state.look(heard)
    assert heard.said == [("alarm", f"the state directory cannot be used, control runs without it: {state.trouble}")]
    path.unlink()
    (tmp_path / "away").rename(path)
    await state.look(heard)
    assert heard.said[1:] == [("info", f"the state directory {path} is in use again")]
    assert state.identity == known
    shutil.rmtree(path)
    await state.look(heard)
    with pytest.raises(AlreadyRunning):
        InstanceLock(path)
    state.release()


@pytest.mark.parametrize("writable_at_once", [True, False])
async def test_a_directory_mounted_late_gives_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable_at_once: bool
) -> None:
    """The start made an identity in the directory below the mount point."""
    path, disk, heard = tmp_path / "state", tmp_path / "disk", Heard()
    earlier = StateDirectory(disk)
    earlier.take()
    earlier.release()
    state = StateDirectory(path)
    state.take()
    below = state.identity
    path.rename(tmp_path / "below")
    disk.rename(path)  # what a mount does to those who look at the path
    if not writable_at_once:
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda *arguments: False)
            await state.look(heard)
        assert state.identity == below
    await state.look(heard)
    assert state.identity == earlier.identity
    (said,) = [text for severity, text in heard.said if severity == "warning"]
    assert f"the site's identity was {below.site}, " in said
    assert f"and is now {earlier.identity.site}, " in said
    told = len(heard.said)
    await state.look(heard)
    assert (state.identity, len(heard.said)) == (earlier.identity, told)
    state.release()


async def test_one_that_does_not_answer_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_root: Path
) -> None:
    monkeypatch.setattr(module, "TAKE_S", 0.05)
    os.mkfifo(tmp_path / "identity.json")
    state, heard = StateDirectory(tmp_path), Heard()
    state.take()
    assert not state.answers
    assert "has not answered" in state.trouble
    threads = threading.active_count()
    for _ in range(5):
        await state.look(heard)
    assert threading.active_count() == threads
    os.close(os.open(tmp_path / "identity.json", os.O_RDWR))
    async with asyncio.timeout(LIMIT_S):
        while state.trouble:
            await state.look(heard)
    assert state.identity.kept
    state.release()
