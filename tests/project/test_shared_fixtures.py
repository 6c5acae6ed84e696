"""What `tests/conftest.py` promises every test, seen in runs of pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tree_copy import ROOT

LEAKS = """
import gc
import socket


def leak():
    class Cycle:
        pass

    kept = Cycle()
    kept.socket, kept.itself = socket.socket(), kept
    kept.socket.bind(("127.0.0.1", 0))
    return kept


def test_leaks():
    leak()


def test_fails_before_it_closes():
    kept = leak()
    assert not kept


def test_is_innocent():
    gc.collect()
"""

SEES = """
import os
import subprocess
import sys
from pathlib import Path

from gateway.site import paths

CODE = "from gateway.site import paths; print(*paths.runtime_dirs(), paths.state_root(), paths.runtime_dir())"


def test_sees_nothing(machine_root):
    given = {"SKERRY_SITE", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "XDG_STATE_HOME"}
    assert not given & set(os.environ)
    assert Path.home().is_relative_to(machine_root)
    assert all(path.is_relative_to(machine_root) for path in (*paths.runtime_dirs(), paths.runtime_dir()))
    started = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = [Path(word) for word in started.stdout.split()]
    assert len(found) > 1
    assert all(path.is_relative_to(machine_root) for path in found)
"""


def run_pytest(directory: Path, text: str, **more: str) -> str:
    (directory / "test_it.py").write_text(text)
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment = own | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))} | more
    plugins = ("-p", "conftest", "-p", "no:cacheprovider", "-p", "no:textual-snapshot")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory)]
    done = subprocess.run(
        [*command, *plugins, "test_it.py"], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_a_leak_is_reported_in_the_test_that_leaks(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, LEAKS)
    assert re.findall(r"^(\w+) .*::(\w+)", said, re.MULTILINE) == [
        ("ERROR", "test_leaks"),
        ("FAILED", "test_fails_before_it_closes"),
    ], said
    assert "this test leaves open or behind:\nunclosed <socket.socket" in said
    assert "1 failed, 2 passed, 1 error" in said


@pytest.mark.parametrize("root", ["/", ""])
def test_no_test_sees_the_machine_it_runs_on(tmp_path: Path, root: str) -> None:
    of_the_machine = {"SKERRY_SITE": "/etc/skerry/site.toml", "STATE_DIRECTORY": "/var/lib/skerry"}
    of_the_machine |= {"RUNTIME_DIRECTORY": "/run/skerry", "NOTIFY_SOCKET": "/run/systemd/notify", "HOME": "/"}
    said = run_pytest(tmp_path, SEES, SKERRY_ROOT=root, XDG_STATE_HOME="/var/lib", **of_the_machine)
    assert "1 passed" in said, said
