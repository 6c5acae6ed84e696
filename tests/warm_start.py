"""Starts `skerry` as a process of its own, without the half second of CPU that its imports take each time.

Each pytest process has one server (`multiprocessing.forkserver`) with the modules loaded. What a test starts is forked
from it and has the streams, environment and directory that the test gives. What depends on how Python itself starts
(encodings, warnings, `preexec_fn`) is started as everywhere else; so is all that does not come through here.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
from asyncio import base_subprocess
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

import pytest
import warm_server

from console.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
SKERRY = [sys.executable, "-P", "-m", "skerry"]
AT_START = ("PYTHON", "LC_", "LANG", "LD_")  # settings that the loader and Python read before a line of ours runs
OPTIONS = frozenset(("stdin", "stdout", "stderr", "cwd", "start_new_session"))
STREAM_LIMIT = 2**16  # asyncio's own


async def start(
    arguments: Sequence[str], environment: Mapping[str, str], script: Path | None = None, **options: Any
) -> Process:
    """Start `skerry ARGUMENTS`, or a script, with options as `asyncio.create_subprocess_exec` takes them."""
    if not OPTIONS.issuperset(options) or _read_at_start(environment) != _read_at_start(os.environ):
        command = SKERRY if script is None else [sys.executable, str(script)]
        return await asyncio.create_subprocess_exec(*command, *arguments, env=environment, **options)
    loop = asyncio.get_running_loop()
    protocol = SubprocessStreamProtocol(limit=STREAM_LIMIT, loop=loop)
    connected: asyncio.Future[None] = loop.create_future()
    streams = (options.pop("stdin", None), options.pop("stdout", None), options.pop("stderr", None))
    what = {"environment": dict(environment), "script": script} | options
    transport = _Transport(loop, protocol, tuple(arguments), False, *streams, 0, waiter=connected, **what)
    await connected
    return Process(transport, protocol, loop)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith(AT_START) and k != "PYTHONPATH"}


class _Transport(base_subprocess.BaseSubprocessTransport):
    """asyncio's own, but for how the process begins and how its end is seen."""

    def _start(self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **kwargs: Any) -> None:
        self._proc = _Forked(args, (stdin, stdout, stderr), **kwargs)
        self._loop.add_reader(self._proc.process.sentinel, self._ended)

    def _ended(self) -> None:
        self._loop.remove_reader(self._proc.process.sentinel)
        self._process_exited(self._proc.wait())


class _Forked:
    """What asyncio's transport uses of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        streams: tuple[Any, Any, Any],
        environment: dict[str, str],
        script: Path | None,
        cwd: Path | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self.stdin, stdin = _input(streams[0])
        self.stdout, stdout = _output(streams[1], 1)
        self.stderr, stderr = (None, os.dup(stdout)) if streams[2] == STDOUT else _output(streams[2], 2)
        theirs = _Descriptors((stdin, stdout, stderr))
        self.process = _server().Process(
            target=warm_server.run,
            args=(theirs, script and str(script), arguments, environment, str(cwd or Path.cwd()), start_new_session),
            daemon=True,  # or a test that left one behind would keep pytest from ending
        )
        self.process.start()
        for number in theirs.numbers:
            os.close(number)
        self.pid = self.process.pid

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.process.exitcode
        return self.returncode

    def wait(self) -> int:
        self.process.join()
        code = self.poll()
        assert code is not None
        self.process.close()
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _input(given: Any) -> tuple[IO[bytes] | None, int]:
    """Our end of standard input, if it is a pipe, and the descriptor for the process."""
    if given != PIPE:
        return None, _descriptor(given, 0)
    ours, theirs = socket.socketpair()
    return open(ours.detach(), "wb", 0), theirs.detach()


def _output(given: Any, standard: int) -> tuple[IO[bytes] | None, int]:
    if given != PIPE:
        return None, _descriptor(given, standard)
    ours, theirs = os.pipe()
    return open(ours, "rb", 0), theirs


def _descriptor(given: Any, standard: int) -> int:
    if given == DEVNULL:
        return os.open(os.devnull, os.O_RDWR)
    return os.dup(standard if given is None else given if isinstance(given, int) else given.fileno())


class _Descriptors:
    """Open files that go to the new process with its arguments."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return warm_server.received, tuple(DupFd(number) for number in self.numbers)


def _server() -> Any:
    """The context whose processes are forked from the server; the first call starts it."""
    context = multiprocessing.get_context("forkserver")
    commands = sorted({place.partition(":")[0] for place, _ in COMMANDS.values()})
    loaded = ["warm_server", "gateway.service", "drivers.twin.process", *commands, "warm_caches"]
    context.set_forkserver_preload(loaded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # a process with threads is not one to fork
        forkserver.ensure_running()
    return context
