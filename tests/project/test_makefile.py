"""What make does before there is anything to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from file_modes import bound_by_modes

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


OF_MAKE = ("MAKE", "MFLAGS", "MYPY_CACHE", "RUFF_CACHE", "HYPOTHESIS_", "PYTEST", "PYTHON")

A_PROJECT = {
    "pyproject.toml": """
[tool.pytest.ini_options]
testpaths = ["tests"]
[tool.ruff.lint]
select = ["F"]
[tool.mypy]
files = ["one"]
[tool.importlinter]
root_packages = ["one"]
[[tool.importlinter.contracts]]
id = "apart"
name = "one.a does not know one.b"
type = "forbidden"
source_modules = ["one.a"]
forbidden_modules = ["one.b"]
[tool.vulture]
paths = ["one"]
[tool.complexipy]
paths = ["one"]
""",
    "one/__init__.py": "",
    "one/a.py": "",
    "one/b.py": "",
    "tests/test_one.py": """from hypothesis import given, settings
from hypothesis import strategies as st


@settings(derandomize=False)
@given(st.text())
def test_text(text: str) -> None:
    assert text == str(text)
""",
}


def make(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as if by hand: the make that runs the tests hands down its variables, VENV among them."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OF_MAKE)} | variables
    return subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=bound_by_modes,
    )


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


@pytest.mark.timeout(300)
def test_check_and_test_from_a_read_only_checkout(tmp_path: Path) -> None:
    checkout, venv = tmp_path / "a read-only checkout", tmp_path / "venv"
    for name, text in A_PROJECT.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text)
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix, name))
    (venv / ".ready").touch()
    before = sorted(checkout.rglob("*"))
    folders = [checkout, *(path for path in before if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        # One process, and no plugin that this project does not need: each is compiled anew here.
        done = make(checkout, "check", "test", f"VENV={venv}", "PARALLEL=", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert sorted(checkout.rglob("*")) == before
    made = {path.name for path in (venv / "cache").iterdir()}
    assert made == {"mypy", "ruff", "import-linter", "complexipy", "pytest", "hypothesis", "python"}


def test_where_the_caller_wants_no_bytecode_the_cache_holds_it(checkout: Path) -> None:
    """Otherwise every process of the tests would compile all that it imports."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".ready").touch()
    plain, kept = (
        make(checkout, "--dry-run", "test", **variables).stdout for variables in ({}, {"PYTHONDONTWRITEBYTECODE": "1"})
    )
    cache = f'PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="{checkout}/.venv/cache/python" '
    assert kept == "".join(cache + line for line in plain.splitlines(keepends=True))


def test_ci_runs_check_and_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make check test" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_what_the_system_tests_need_is_said_and_no_other_test_needs_it() -> None:
    """`make test` does not collect them; without Slurm each is skipped with the line that installs it."""
    assert (
        "tests/system"
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["norecursedirs"]
    )
    packages = (ROOT / "tests" / "system" / "packages.txt").read_text().split()
    code = "import slurm_cluster; slurm_cluster.PATH = '/none'; print(slurm_cluster.missing())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "tests" / "system", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("not installed: munged, slurmctld, ")
    assert done.stdout.endswith(f"as root: apt-get install --no-install-recommends {' '.join(packages)}\n")


def test_every_target_sets_itself_up() -> None:
    rules = re.findall(r"^([a-z]+):(.*?)##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {name for name, _ in rules} >= {"install", "demo", "test", "check", "bench", "screenshots", "clean"}
    assert [name for name, needs in rules if "$(READY)" not in needs] == ["help", "clean"]
