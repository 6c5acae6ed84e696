"""Opens the link to a site's gateway: its socket on this machine, or `skerry link --stdio` on another one by SSH.

One SSH connection carries the link for as long as it stands. It never asks anybody anything: BatchMode refuses
passwords and passphrases, StrictHostKeyChecking a host whose key is not known (ssh_config(5), OpenSSH). The process has
a session of its own, so no Ctrl-C of the terminal reaches it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from fleet.site_text import one_line
from fleet.sites import SiteAddress
from gateway.api.client import GatewayClient
from gateway.api.discovery import find_socket
from gateway.errors import LinkLost, NoAccess, NoGateway

OPEN_S = 20.0  # for connection, authentication and welcome
END_S = 2.0  # for ssh to end by itself
OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ClearAllForwardings=yes"),
)
SAID_BYTES = 4096  # of ssh's error output, the end
ASKING = ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY")  # by which ssh could ask in a window


class SiteLink:
    """A link to one site. Made by `open_link`; closed once."""

    def __init__(self, client: GatewayClient, process: SshProcess | None) -> None:
        self.client = client
        self._process = process

    async def close(self) -> None:
        """Hang up, and have ssh end."""
        await self.client.close()
        if self._process is not None:
            await self._process.end()

    @property
    def said(self) -> str:
        """The last line that ssh, or the command there, wrote as an error; empty: none."""
        return "" if self._process is None else self._process.last_line


class SshProcess:
    """A running `ssh HOST skerry link --stdio`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = b""
        self._reading = asyncio.create_task(self._read_errors())

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What it writes and reads."""
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        return self._process.stdout, self._process.stdin

    @property
    def last_line(self) -> str:
        """The last line of its error output."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        return one_line(lines[-1]) if lines else ""

    async def end(self) -> None:
        """Wait for its end; it is killed after `END_S`. Takes twice that at most, whatever it has started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # asyncio sees no end of a process whose pipe is full, and closes none that was not read to its end
        tasks = {self._reading, asyncio.create_task(self._read_the_rest()), asyncio.create_task(self._process.wait())}
        try:
            _, late = await asyncio.wait(tasks, timeout=END_S)
            if late:
                self.kill()
                await asyncio.wait(tasks, timeout=END_S)
        finally:
            for task in tasks:
                task.cancel()

    def kill(self) -> None:
        """End it at once, and what it has started. Idempotent."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own
        except ProcessLookupError:
            return  # it has ended meanwhile

    async def _read_the_rest(self) -> None:
        """Of what it wrote: a pipe that is full is never seen to end, and stays open."""
        assert self._process.stdout is not None
        while await self._process.stdout.read(SAID_BYTES):
            continue

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(SAID_BYTES):
            self._said = (self._said + piece)[-SAID_BYTES:]


async def open_link(site: SiteAddress, ssh: Sequence[str]) -> SiteLink:
    """Connect to a site's gateway; requests only, no snapshots.

    Raises LinkLost with a line for a person.
    """
    try:
        async with asyncio.timeout(OPEN_S):
            if site.host:
                return await _by_ssh(site, ssh)
            return SiteLink(await GatewayClient.connect(find_socket(site.site or None), 0.0), None)
    except TimeoutError:
        raise LinkLost(f"{site.name}: no answer within {OPEN_S:g} s") from None
    except (NoGateway, NoAccess) as error:
        raise LinkLost(str(error)) from None


def remote_command(site: SiteAddress, *words: str) -> str:
    """A command of skerry's for the shell of the other machine, about this site."""
    named = ("--site", site.site) if site.site else ()
    return shlex.join(("skerry", *words, *named))


async def _by_ssh(site: SiteAddress, ssh: Sequence[str]) -> SiteLink:
    command = (*ssh, *OPTIONS, site.host, remote_command(site, "link", "--stdio"))
    environment = {name: value for name, value in os.environ.items() if name not in ASKING}
    pipe = asyncio.subprocess.PIPE
    try:
        started = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as error:
        raise LinkLost(f"{site.name}: {ssh[0]} cannot be started: {error.strerror}") from None
    process = SshProcess(started)
    try:
        client = await GatewayClient.over(*process.streams, Path(site.name), 0.0)
    except (LinkLost, OSError) as error:
        await process.end()
        said = process.last_line
        raise LinkLost(f"{site.name}: {said}" if said else str(error)) from None
    except BaseException:
        process.kill()
        await process.end()
        raise
    return SiteLink(client, process)
