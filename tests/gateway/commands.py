"""Runs commands of a site against a small gateway."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from small_gateway import Running
from waiting import LIMIT_S


async def begin(there: Running, skerry: Path, *command: str, **environment: str) -> asyncio.subprocess.Process:
    """Start a command that finds the gateway, and `skerry`, by its environment."""
    pipe = asyncio.subprocess.PIPE
    given = {**os.environ, "SKERRY_SITE": str(there.socket), "SKERRY": str(skerry), **environment}
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=given)


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Its exit code, standard output and error."""
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    return process.returncode, out.decode(), err.decode()
