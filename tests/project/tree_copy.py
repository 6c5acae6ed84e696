"""Copies of the checkout's folders that a test may write to, also where the checkout is read-only."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copy_folder(name: str, target: Path, *ignored: str) -> None:
    """Copy folder `name` of the checkout to `target`/`name`, without bytecode and what matches `ignored`."""
    shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", *ignored))
    for path in (target / name, *(target / name).rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
