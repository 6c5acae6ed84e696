"""What a process does that `warm_start.py` has forked. It imports little: each such process would load it anew."""

from __future__ import annotations

import gc
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def received(*sent: Any) -> list[int]:
    """The descriptors that came with a new process."""
    return [descriptor.detach() for descriptor in sent]


def run(
    streams: list[int],
    script: str | None,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    cwd: str,
    new_session: bool,
) -> None:
    """In the new process: what `python -P -m skerry ARGUMENTS`, or `python SCRIPT ARGUMENTS`, does once it runs."""
    gc.freeze()  # what was loaded before stays where it is, in memory that all share
    for standard, number in enumerate(streams):
        os.dup2(number, standard)
        os.close(number)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    if new_session:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    ours = environment.get("PYTHONPATH", str(ROOT)).split(os.pathsep)
    sys.path[:] = [*ours, *(place for place in sys.path if not Path(place).is_relative_to(ROOT / "tests"))]
    if script is not None:
        sys.argv = [script, *arguments]
        sys.path.insert(0, str(Path(script).parent))
        runpy.run_path(script, run_name="__main__")
    else:
        sys.argv = ["skerry", *arguments]
        from skerry.__main__ import main

        main()
