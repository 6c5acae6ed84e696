"""The documentation says what the code does: the generated pages are current, the terms exist, the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gateway.site.json_schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_what_the_code_gives(generate: ModuleType) -> None:
    """To mend: `.venv/bin/python docs/generate.py`."""
    assert [str(file.relative_to(ROOT)) for file in generate.differing()] == []


def test_a_difference_is_seen(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another text, a missing file, and the page of a command that is gone."""
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    for file, text in generate.files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert generate.differing() == []
    (tmp_path / "site-file.md").unlink()
    (tmp_path / "man" / "skerry.1").write_text("old")
    (tmp_path / "man" / "skerry-gone.1").write_text("old")
    assert [file.name for file in generate.differing()] == ["skerry-gone.1", "skerry.1", "site-file.md"]


def test_the_reference_has_every_command_and_option(generate: ModuleType) -> None:
    import click

    from console.cli.main import COMMANDS, skerry

    page = generate.commands_page()
    parent = click.Context(skerry, info_name="skerry")
    for name, (_, line) in COMMANDS.items():
        command = skerry.get_command(parent, name)
        assert command is not None
        if line:
            assert f"\n## skerry {name}\n" in page
            options = [option for p in command.params if isinstance(p, click.Option) for option in p.opts]
            assert [option for option in options if option not in page] == []


def test_every_site_key_is_in_the_reference(generate: ModuleType) -> None:
    page = generate.site_file_page()
    schema = json_schema()
    keys = {
        key
        for table in schema["$defs"].values()
        for key, value in table["properties"].items()
        if "$ref" not in value and "$ref" not in value.get("items", {})
    }
    assert [key for key in keys if f"| `{key}` |" not in page] == []


def test_man_pages_are_read_without_a_warning(tmp_path: Path) -> None:
    import shutil

    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    for page in sorted((DOCS / "man").glob("*.1")):
        done = subprocess.run(
            ["man", "--warnings", "-l", str(page)], capture_output=True, text=True, timeout=240, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), page.name


def glossary() -> list[tuple[str, str]]:
    """Term and the cell that says where it is in the code."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \*\*(.+?)\*\*.* \| .* \| (.*?) \|$", text, re.MULTILINE)
    return [(term, place) for term, place in rows]


def test_the_glossary_has_the_terms_of_the_trade() -> None:
    terms = " ".join(term for term, _ in glossary())
    for term in ("PCC", "PCS", "SoC", "SoH", "BMS", "setpoint", "metering interval", "contracted peak", "reserve"):
        assert term.lower() in terms.lower()
    for term in (
        "ride-through",
        "islanding",
        "grid-forming",
        "black start",
        "resynchronisation",
        "curtailment",
        "ramp",
    ):
        assert term.lower() in terms.lower()


def test_the_glossary_names_files_that_exist() -> None:
    places = [place for _, cell in glossary() for place in re.findall(r"`([\w/]+(?:\.py|/))`", cell)]
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.timeout(240)
def test_the_built_site_needs_no_other_host(tmp_path: Path) -> None:
    """As `make docs` builds it, where its extra is installed; the build fails on a warning or an outside host."""
    pytest.importorskip("furo", reason="the extra [docs] is not installed: make docs")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", "-c", str(DOCS), str(ROOT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "index.html").exists()
