"""A forked process is the same to a test as one that was started: streams, exit code, directory, signals."""

from __future__ import annotations

import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path

import warm_start

BY_EXEC = {"PYTHONUTF8": "1"}  # read by Python when it starts
TELLS = """
import json, os, signal, sys
print(json.dumps([os.getcwd(), os.environ["GIVEN"], "HOME" in os.environ, sys.argv[1:], os.getsid(0) == os.getpid()]))
sys.stdout.flush()
print(sys.stdin.readline().strip(), file=sys.stderr)
if sys.argv[1] == "waits":
    signal.pause()
sys.exit(5)
"""


async def test_both_ways_give_the_same(tmp_path: Path) -> None:
    script = tmp_path / "tells.py"
    script.write_text(TELLS)
    environment = {"GIVEN": "äß", "PATH": os.environ["PATH"]}
    environment |= warm_start._read_at_start(os.environ)
    given = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "cwd": tmp_path, "start_new_session": True}
    told = []
    for extra in ({}, BY_EXEC):
        process = await warm_start.start(("one", "two"), environment | extra, script, **given)
        out, err = await process.communicate(b"a line\n")
        told.append((out, err, process.returncode))
    assert told[0] == told[1]
    assert told[0][1:] == (b"a line\n", 5)


async def test_a_forked_process_takes_signals_and_shares_its_streams(tmp_path: Path) -> None:
    script = tmp_path / "tells.py"
    script.write_text(TELLS)
    process = await warm_start.start(
        ("waits",), {**os.environ, "GIVEN": "x"}, script, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    assert len(await process.stdout.readline()) > 0
    assert await process.stdout.readline() == b"\n", "what goes to standard error"
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert await process.stdout.read() == b""
    process._transport.close()  # type: ignore[attr-defined]


async def test_what_skerry_says_and_returns(tmp_path: Path) -> None:
    for arguments in (("--version",), ("check", "nowhere.toml")):
        told = []
        for extra in ({}, BY_EXEC):
            process = await warm_start.start(
                arguments,
                {**os.environ, "PYTHONPATH": str(warm_start.ROOT)} | extra,
                stdout=PIPE,
                stderr=PIPE,
                cwd=tmp_path,
            )
            told.append((*await process.communicate(), process.returncode))
        assert told[0] == told[1]
