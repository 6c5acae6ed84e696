"""The layers hold, and what must start fast loads nothing heavy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tree_copy import ROOT, copy_folder

NOT_ATTACHED = (  # what an attached console does without, to start faster
    "gateway.site.loader",
    "gateway.site.cross_checks",
    "gateway.api.previous_version",
    "dispatch.evaluation.energy_iq",
    "dispatch.billing.bill",
)
HEAVY = ("numpy", "highspy", "matplotlib", "pyarrow", "pymodbus", "sqlite_utils")
ROOMS = ("console", "dispatch", "drivers", "fleet", "gateway", "storage")
PACKAGES = (
    "console",
    "console.cli",
    "console.display",
    "console.tui",
    "dispatch",
    "drivers",
    "drivers.twin",
    "gateway",
    "gateway.api",
    "storage",
)

GATEWAY = "gateway: process over loop over services over api over site"
CIRCLES = "no import circles, neither in functions nor for types only"


def lint_imports(directory: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    return subprocess.run(
        [*command, "--cache-dir", str(cache)], cwd=directory, capture_output=True, text=True, timeout=240, check=False
    )


def test_import_contracts_hold(tmp_path: Path) -> None:
    done = lint_imports(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


BREACHES = (  # room, what is imported there, the contract that forbids it
    ("dispatch", "import drivers.clock", "console over fleet over gateway over drivers | storage over dispatch"),
    ("drivers", "import storage.config", "console over fleet over gateway over drivers | storage over dispatch"),
    ("storage", "from console import site", "console over fleet over gateway over drivers | storage over dispatch"),
    ("console/cli", "from textual.app import App", "only console.tui imports textual"),
    ("console/cli", "from matplotlib.figure import Figure", "only what draws pictures imports matplotlib"),
    ("console/display", "import click", "console.display knows neither terminal nor command line"),
    ("console/tui", "import console.cli.plan", "console.tui does not import what other commands do"),
    ("console/cli", "import console.tui.app", "console.cli prints with console.display, not with console.tui"),
    (
        "console/sizing",
        "import console.cli.size",
        "console.replay and console.sizing import neither commands nor console",
    ),
    ("console/replay", "import console.sizing.maps", "console.replay does not import console.sizing"),
    ("console", "import pymodbus", "only the twin imports pymodbus"),
    ("dispatch", "import time", "dispatch decides: no I/O, no clock, no chance"),
    ("storage", "import psutil", "storage and dispatch never speak to devices"),
    ("gateway/site", "import gateway.api.ask", GATEWAY),
    ("gateway/api", "import gateway.control_loop", GATEWAY),
    ("gateway/api", "def late():\n    import gateway.planning_service", GATEWAY),
)


def breach(directory: Path, *breaches: tuple[str, str]) -> str:
    """What is said of a copy of the project with a module `breach_N` in a room for each breach."""
    for name in ROOMS:
        copy_folder(name, directory, "data")
    shutil.copy(ROOT / "pyproject.toml", directory)
    for number, (room, line) in enumerate(breaches):
        (directory / room / f"breach_{number}.py").write_text(line + "\n")
    done = lint_imports(directory, directory / "cache")
    assert done.returncode == 1
    return done.stdout


def test_each_breach_is_seen_and_named_by_its_contract(tmp_path: Path) -> None:
    """All in one run, which takes a second of CPU."""
    said = breach(tmp_path, *((room, line) for room, line, _ in BREACHES))
    for number, (room, line, contract) in enumerate(BREACHES):
        assert f"{contract} BROKEN" in said, line
        section = said.split(f"\n{contract}\n---")[1].split("\n---")[0]
        assert f" {room.replace('/', '.')}.breach_{number} -> " in section, line


@pytest.mark.parametrize(
    "line", ["from dispatch.planning import planner", "if TYPE_CHECKING:\n    from dispatch.planning import planner"]
)
def test_a_circle_is_seen(line: str, tmp_path: Path) -> None:
    """One at a time: what is said of a circle does not name modules."""
    assert f"{CIRCLES} BROKEN" in breach(tmp_path, ("dispatch/model", line))


def loaded(code: str, depth: int = 1) -> set[str]:
    """Modules that a fresh interpreter has loaded after `code`, their names cut after `depth` parts.

    SystemExit is how commands end.
    """
    program = (
        "import sys, json\n"
        "try:\n"
        f"    {code}\n"
        "except SystemExit as end:\n"
        "    print('exit', end.code, file=sys.stderr)\n"
        f"print(json.dumps(sorted({{'.'.join(name.split('.')[:{depth}]) for name in sys.modules}})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def command(*arguments: str) -> str:
    return f"from console.cli.main import main; main({list(arguments)!r})"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("status",),
        ("status", "--json"),
        ("check", "sites/render-farm.toml"),
        ("serve", "pyproject.toml"),  # no site file: said before the gateway is loaded
    ],
    ids=" ".join,
)
def test_short_commands_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    modules = loaded(command(*arguments))
    assert "console" in modules
    assert modules & {*HEAVY, "textual"} == set()


def test_an_attached_console_loads_nothing_heavy_but_textual() -> None:
    modules = loaded("import console.launcher, console.tui.app, console.tui.overview, gateway.api.client", depth=9)
    assert "textual" in modules
    assert modules & {*HEAVY, *NOT_ATTACHED} == set()


@pytest.mark.parametrize("room", PACKAGES)
def test_rooms_are_free_to_enter(room: str) -> None:
    """`import drivers` alone must not pull in a driver."""
    assert loaded(f"import {room}") & {*HEAVY, "textual", "msgspec", "sqlite3"} == set()
