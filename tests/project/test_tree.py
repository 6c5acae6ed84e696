"""The tree stands alone: no path or host of a machine it was written on, and the README says what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "deploy/README.md")
# Where somebody's machine shows: their directories, their package index. What a service or a system has is not theirs.
FORBIDDEN = re.compile(
    r"(?<![\w.~-])/(work|root|home/(?!x/)\w+|Users|opt/(?!skerry))/"
    r"|file://(?!/usr/share/doc/skerry)"
    r"|pypi\.org|pythonhosted|artifactory|-index-url|find-links"
)


def files_of_the_project() -> list[Path]:
    """What git tracks or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in files if file.is_file() and file != Path(__file__).resolve()]


def test_no_machine_paths_or_hosts() -> None:
    found = []
    for file in files_of_the_project():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_the_pattern_finds_what_it_should() -> None:
    assert FORBIDDEN.search("see /home/alice/src/x.py")
    assert FORBIDDEN.search("https://pypi.org/simple")
    assert not FORBIDDEN.search("ExecStart=/opt/skerry/bin/skerry serve /etc/skerry/site.toml")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_commands_exist() -> None:
    from console.cli.main import COMMANDS

    named = set(re.findall(r"`skerry ([a-z]+)\b", readme()))
    assert named >= {"demo", "serve", "status", "why", "check", "twin"}
    assert named <= COMMANDS.keys()


def test_readme_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = readme() + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bmake ([a-z]+)`", pages)) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8"))
    dead = [t for t in targets if not t.startswith("https://") and not (file.parent / t).exists()]
    assert dead == []


def test_readme_exit_codes_are_the_programs() -> None:
    from gateway import exit_codes

    paragraph = " ".join(readme().split("Exit codes: ")[1].split("\n\n")[0].split()).rstrip(".")
    stated = {int(code): text for code, _, text in (part.partition(" ") for part in paragraph.split(" · "))}
    assert stated.pop(exit_codes.OK) == "done"
    assert stated == {code: text for code, text in exit_codes.MEANINGS.items() if code != exit_codes.OK}


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "sites").glob("*.toml")))
def test_example_sites_are_right(name: str) -> None:
    from gateway.site.loader import load

    assert load(ROOT / "sites" / name).site.name


def test_readme_shows_every_picture() -> None:
    shown = set(re.findall(r"\(screenshots/([^)]+)\)", readme()))
    assert shown == {picture.name for picture in (ROOT / "screenshots").glob("*.svg")}
