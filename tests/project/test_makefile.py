"""What make does before there is anything to run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=directory, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that make reads, in a directory whose name has spaces."""
    directory = tmp_path / "a fresh checkout"
    directory.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, directory)
    return directory


def python_without(module: str, directory: Path) -> Path:
    """An interpreter on which importing `module` fails, as Debian's does without python3-venv."""
    blocked = directory / "blocked"
    (blocked / module).mkdir(parents=True)
    (blocked / module / "__init__.py").write_text(f"raise ModuleNotFoundError({module!r})\n")
    wrapper = directory / "python3"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{blocked}" exec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@pytest.mark.parametrize("target", ["install", "demo", "test", "check", "bench", "screenshots"])
def test_without_venv_the_apt_line_and_nothing_touched(target: str, checkout: Path, tmp_path: Path) -> None:
    before = sorted(checkout.rglob("*"))
    python = python_without("ensurepip", tmp_path)
    done = make(checkout, target, f"PYTHON={python}")
    assert done.returncode == 2
    assert "apt install python3-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(checkout.rglob("*")) == before


def test_an_old_python_is_named_and_nothing_touched(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what 3.9 answers to the version question
    old.chmod(0o755)
    done = make(checkout, "demo", f"PYTHON={old}")
    assert done.returncode == 2
    assert "3.11" in done.stderr
    assert f"'{old}'" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_second_install_does_nothing(checkout: Path, tmp_path: Path) -> None:
    """Once set up, no target runs pip: make works without a network."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".ready").touch()
    done = make(checkout, "install", f"PYTHON={tmp_path / 'absent'}")
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout or done.stdout == ""


def test_ci_runs_check_and_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make check test" in script.read_text()


def test_every_target_sets_itself_up() -> None:
    rules = re.findall(r"^([a-z]+):(.*?)##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {name for name, _ in rules} >= {"install", "demo", "test", "check", "bench", "screenshots", "clean"}
    assert [name for name, needs in rules if "$(READY)" not in needs] == ["help", "clean"]
