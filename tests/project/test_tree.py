"""The tree stands alone: no path or host of a machine it was written on, and the README says what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "deploy/README.md"),
    *(
        f"docs/{name}.md"
        for name in (
            "index",
            "commands",
            "site-file",
            "tariffs",
            "devices",
            "handbook",
            "operation",
            "devices",
            "ups-and-contacts",
            "signals",
            "events",
            "fleet",
            "outputs",
            "compute",
            "security",
            "screens",
            "figures",
            "reliability",
            "glossary",
        )
    ),
    "docs/reliability.md",
)
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
    # A checkout may belong to somebody else: git reads it only if told that this is meant.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
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


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_every_page_is_checked() -> None:
    assert {str(file.relative_to(ROOT)) for file in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_exist(page: str) -> None:
    from console.cli.main import COMMANDS

    named = set(re.findall(r"`skerry ([a-z][a-z-]*)(?=[ `])", text(page)))
    assert named <= COMMANDS.keys()


def test_the_operation_page_names_the_commands_of_a_user() -> None:
    named = set(re.findall(r"`skerry ([a-z][a-z-]*)(?=[ `])", text("README.md") + text("docs/operation.md")))
    assert named >= {
        "check",
        "drill",
        "export",
        "iq",
        "plan",
        "replay",
        "reserve",
        "serve",
        "size",
        "twin",
        "verify",
        "why",
    }


def test_make_targets_on_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z-]+)`", text(page))}
    assert named >= {"demo", "install", "docs", "bench", "soak", "screenshots"}
    assert named <= targets


def test_the_readme_is_short_and_begins_with_a_picture_and_two_commands() -> None:
    """Two screens of 30 lines at most before the first table."""
    before, _, _ = text("README.md").partition("\n|")
    assert before.count("\n") <= 60
    assert before.index("](screenshots/") < before.index("```")
    block = before.split("```")[1]
    assert len(block.strip().splitlines()) == 2
    assert "make demo" in block


def test_the_readmes_test_command_is_what_ci_runs() -> None:
    assert "`make check test`" in text("README.md")
    assert "make check test" in text(".ci/run")
    assert "make check test" in text(".github/workflows/check.yml")


def test_the_workflow_names_every_python_that_may_be_used() -> None:
    matrix = re.search(r"python: \[(.*)\]", text(".github/workflows/check.yml"))
    assert matrix is not None
    assert re.findall(r'"(\d\.\d+)"', matrix[1])[0] == "3.11"
    assert 'requires-python = ">=3.11"' in text("pyproject.toml")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
    dead = [t for t in targets if not t.startswith("https://") and not (file.parent / t).exists()]
    assert dead == []


def test_exit_codes_are_the_programs() -> None:
    from gateway import exit_codes

    section = text("docs/commands.md").split("## Exit codes")[1].split("\n## ")[0]
    stated = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", section, re.MULTILINE)}
    assert stated.pop(130) == "interrupted by Ctrl-C"  # as a shell reports SIGINT
    assert stated == exit_codes.MEANINGS


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "sites").glob("*.toml")))
def test_example_sites_are_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from console.cli.main import run

    assert run(["check", str(ROOT / "sites" / name)]) == 0
    assert capsys.readouterr().out


def test_every_family_of_pcs_has_an_example_site() -> None:
    from drivers.maps.loader import bundled, load

    sites = [tomllib.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "sites").glob("*.toml")]
    named = {pcs.get("map", "") for site in sites for pcs in site.get("pcs", ())}
    assert named == {"", *(name for name in bundled() if load(name).info.kind == "pcs")}
    devices = [d for site in sites for section in site.values() if isinstance(section, list) for d in section]
    hosts = [d["url"].partition("://")[2] for d in devices if "url" in d]
    nobodys = re.compile(r"192\.0\.2\.|192\.168\.|127\.0\.0\.1|/dev/|[a-z0-9-]+\.example:")
    assert [host for host in hosts if host and not nobodys.match(host)] == [], "addresses of RFC 5737, 1918 or 2606"


def test_every_picture_is_shown() -> None:
    shown = set(re.findall(r"\(\.\./screenshots/([^)]+)\)", text("docs/screens.md")))
    assert shown == {picture.name for picture in (ROOT / "screenshots").glob("*.svg")}
