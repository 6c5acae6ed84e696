"""`skerry config upgrade`, and what `skerry check` says of retired keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import run
from gateway import exit_codes
from gateway.site import versions
from gateway.site.versions import Retired

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "sites" / "training-rack.toml"


def test_a_current_file_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "upgrade", str(SITE)]) == exit_codes.OK
    assert capsys.readouterr().out == SITE.read_text(encoding="utf-8")


def test_a_file_without_a_version_gets_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, old = SITE.read_text(encoding="utf-8"), tmp_path / "old.toml"
    old.write_text(text.replace("version = 1\n\n", ""), encoding="utf-8")
    before = old.read_bytes()
    assert run(["config", "upgrade", str(old)]) == exit_codes.OK
    assert capsys.readouterr().out == text
    assert old.read_bytes() == before


def test_check_names_line_replacement_and_last_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "CURRENT", 2)
    monkeypatch.setattr(versions, "RETIRED", (Retired("grid", "peak_w", "contracted_peak_w", 1),))
    old, current = tmp_path / "old.toml", tmp_path / "current.toml"
    text = SITE.read_text(encoding="utf-8").replace("contracted_peak_w", "peak_w")
    line = text.splitlines().index(next(one for one in text.splitlines() if one.startswith("peak_w"))) + 1
    told = f"line {line}: grid.contracted_peak_w; peak_w was last read in site file version 1"
    old.write_text(text, encoding="utf-8")
    assert run(["check", str(old), "--json"]) == exit_codes.OK
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert f"grid.peak_w: expected {told}; skerry config upgrade {old} prints the file with it" in warnings

    current.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")
    assert run(["check", str(current)]) == exit_codes.USAGE
    assert f"{current}:17: grid.peak_w: expected {told}" in capsys.readouterr().err
    assert run(["config", "upgrade", str(current)]) == exit_codes.OK
    current.write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["check", str(current)]) == exit_codes.OK


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 9\n", "version: expected at most 1: this Skerry understands version 1"),
        ("version = \n", "TOML: expected a TOML document"),
        (None, "No such file"),
    ],
)
def test_what_cannot_be_upgraded(
    text: str | None, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "site.toml").write_text(text)
    assert run(["config", "upgrade", str(tmp_path / "site.toml")]) == exit_codes.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
