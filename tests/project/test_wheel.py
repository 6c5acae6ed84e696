"""What users get: the wheel, built from an sdist, installed into a clean venv, run where a decoy lies in wait."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tree_copy import ROOT, copy_folder

SOURCES = (
    "console",
    "dispatch",
    "drivers",
    "fleet",
    "gateway",
    "docs",
    "skerry",
    "storage",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
)
PACKAGES = ("console", "dispatch", "drivers", "fleet", "gateway", "storage")
DECOY = "raise SystemExit('the decoy was imported')\n"
FIGURES = {
    *("ticks", "period_s", "lateness_p50_ms", "lateness_p999_ms", "overruns", "reads", "writes"),
    *("energy_balance_error_pct", "soc_start_pct", "soc_end_pct", "peak_import_w", "db_rows", "pulses_seen"),
}

pytestmark = pytest.mark.timeout(240)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither leftovers in build/ get in nor any come to be."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            copy_folder(name, source, "*.tmp")
        else:
            shutil.copy(ROOT / name, source)
    run(sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", out, source)
    (built,) = out.glob("skerry-*.whl")
    return built


@pytest.fixture(scope="module")
def skerry(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a venv whose own site-packages hold Skerry and nothing else.

    Dependencies come from the running environment by a line in a .pth file: no network. Nested .pth files are not
    read, so an editable Skerry of the running environment stays out.
    """
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    (packages,) = venv.glob("lib/python*/site-packages")
    put_decoys(packages)
    run(sys.executable, "-m", "pip", "--python", venv / "bin/python", "install", "--no-index", "--no-deps", wheel)
    assert {p.name.split("-")[0] for p in packages.iterdir()} == {"skerry", *PACKAGES}
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin/skerry"


def put_decoys(directory: Path) -> None:
    """Take the name of every package of ours, as another distribution could."""
    for package in PACKAGES:
        (directory / package).mkdir()
        (directory / package / "__init__.py").write_text(DECOY)


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    """A directory where every package's name is taken by something that must never be imported."""
    put_decoys(tmp_path)
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """A user who has nothing yet, and whose Python finds nothing by itself."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}


def test_the_wheel_holds_the_rooms_their_data_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = wheel.name.rsplit("-", 3)[0] + ".dist-info"
    data = info.removesuffix(".dist-info") + ".data"
    assert {n.split("/")[0] for n in names} == {"skerry", info, data}
    assert "skerry/py.typed" in names
    ours = {n.removeprefix("skerry/_packages/") for n in names}
    assert "console/demo.toml" in ours
    assert any(n.startswith("console/tui/") and n.endswith(".tcss") for n in ours)
    assert any(n.startswith("drivers/tariffs/data/") for n in ours)
    assert any(n.startswith("drivers/twin/data/") for n in ours)
    assert f"{info}/licenses/LICENSE" in names
    assert f"{info}/licenses/NOTICE" in names


def test_the_wheel_brings_man_pages_and_completions(wheel: Path, skerry: Path) -> None:
    """Where `man` and the shells look below the prefix; every command of the help has its page."""
    from console.cli.main import COMMANDS

    share = skerry.parents[1] / "share"
    pages = {page.name for page in (share / "man/man1").iterdir()}
    assert pages == {"skerry.1", *(f"skerry-{name}.1" for name, (_, line) in COMMANDS.items() if line)}
    for script in ("bash-completion/completions/skerry", "zsh/site-functions/_skerry"):
        assert "_SKERRY_COMPLETE" in (share / script).read_text(encoding="utf-8")
    assert "_SKERRY_COMPLETE" in (share / "fish/vendor_completions.d/skerry.fish").read_text(encoding="utf-8")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".md")]


def test_the_installed_completion_names_commands(skerry: Path, environment: dict[str, str]) -> None:
    """As bash uses it: the script asks the command on PATH what fits."""
    if (bash := shutil.which("bash")) is None:
        pytest.skip("bash is not installed")
    script = skerry.parents[1] / "share/bash-completion/completions/skerry"
    program = (
        f"source {script}; COMP_WORDS=(skerry sta); COMP_CWORD=1; _skerry_completion skerry; echo ${{COMPREPLY[@]}}"
    )
    path = {"PATH": f"{skerry.parent}{os.pathsep}{environment['PATH']}"}
    assert run(bash, "-c", program, env=environment | path).split() == ["status"]


def test_only_who_wants_pictures_gets_matplotlib(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        required = [line for line in archive.read(name).decode().splitlines() if line.startswith("Requires-Dist:")]
    (line,) = [line for line in required if "matplotlib" in line]
    assert line.endswith('extra == "pictures"')
    assert any("numpy" in line and "extra" not in line for line in required)


def test_the_installed_code_is_the_wheels(skerry: Path, decoy: Path, environment: dict[str, str]) -> None:
    code = "import skerry; skerry.find_packages(); import storage; print(storage.__file__)"
    place = run(skerry.parent / "python", "-P", "-c", code, cwd=decoy, env=environment)
    assert Path(place.strip()).is_relative_to(skerry.parents[1])


def test_packages_of_others_with_the_same_names_are_left_alone(skerry: Path) -> None:
    """Installed into a site-packages that holds a `console` and a `storage` already; and taken out again."""
    venv = skerry.parents[1]
    (packages,) = venv.glob("lib/python*/site-packages")
    assert [(packages / package / "__init__.py").read_text() for package in PACKAGES] == [DECOY] * len(PACKAGES)
    record = next(packages.glob("skerry-*.dist-info/RECORD")).read_text().splitlines()
    written = {line.split("/")[0] for line in record}
    assert not written & set(PACKAGES)


def test_demo_runs_from_the_wheel(skerry: Path, decoy: Path, environment: dict[str, str]) -> None:
    output = run(skerry, "demo", "--headless", "--for", "5s", "--json", cwd=decoy, env=environment)
    figures = json.loads(output.splitlines()[-1])
    assert figures.keys() >= FIGURES
    assert "lateness_max_ms" in figures  # fewer than 10 000 ticks
    assert figures["period_s"] == 0.2
    assert 15 <= figures["ticks"] + figures["overruns"] <= 35
    assert figures["reads"] > figures["ticks"]
    assert figures["writes"] >= 1
    assert figures["db_rows"] > 0
    assert abs(figures["energy_balance_error_pct"]) < 10
    assert 0 < figures["soc_end_pct"] < 100
