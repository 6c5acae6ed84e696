"""A stand-in for ssh that runs the command here."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_gateway import executable

STAND_IN = """#!/bin/sh
# ssh [OPTIONS] HOST COMMAND: runs the command on this machine, unless the host is called "unknown"
echo "$@" >> "{log}"
while :; do case "$1" in -o) shift 2;; -*) shift;; *) break;; esac; done
if [ "$1" = ops@unknown ]; then echo "Host key verification failed." >&2; exit 255; fi
PATH="{directory}:$PATH" exec sh -c "$2"
"""


@pytest.fixture
def place(machine_root: Path) -> Path:
    """A short path: sockets live in it."""
    return machine_root / "tmp"


@pytest.fixture
def ssh(place: Path) -> Path:
    """The stand-in; `ssh.log` beside it has what it was asked."""
    executable(place)
    path = place / "ssh"
    path.write_text(STAND_IN.format(log=place / "ssh.log", directory=place))
    path.chmod(0o755)
    return path
