"""moved.toml is complete and right: every old name is found at its new place."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOVED = tomllib.loads((ROOT / "moved.toml").read_text(encoding="utf-8"))
SCRIPT = """
import sys
import console.planning as planning
import gateway.planning_service as moved
from console.link.errors import LinkLost
from console.site import Site, load
from dispatch.config import *
from dispatch.islanding import Islanding, observe
from dispatch.model import Reading, Snapshot

assert planning is moved  # what is patched under the old name is patched
assert GridConfig.__module__ == "dispatch.config.schema"
assert Reading.__module__ == "dispatch.model.readings"
print(sys.argv)
"""


@pytest.mark.parametrize(
    "new", sorted({*MOVED["modules"].values(), *(n for m in MOVED["names"].values() for n in m.values())})
)
def test_new_modules_exist(new: str) -> None:
    importlib.import_module(new)


@pytest.mark.parametrize("old", sorted(MOVED["names"]))
def test_names_are_where_the_table_says(old: str) -> None:
    for name, new in MOVED["names"][old].items():
        assert hasattr(importlib.import_module(new), name), f"{new} has no {name}"


def test_a_script_with_old_names_runs(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(ROOT / "tests" / "project" / "old_names.py"), str(script), "a word"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([str(script), "a word"])
