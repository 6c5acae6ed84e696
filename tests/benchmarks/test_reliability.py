"""The page of reliability: each test on it is a target of make, and a run replaces its own line only."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks import reliability
from benchmarks.reliability import PAGE, ROOT, TESTS, with_result


def test_the_page_has_each_test_and_each_is_a_target_that_records_itself() -> None:
    page, makefile = PAGE.read_text(encoding="utf-8"), (ROOT / "Makefile").read_text(encoding="utf-8")
    assert with_result(page, "", ("", "", "")) == page, "to mend: run any of the tests"
    for name in TESTS:
        assert re.search(rf"^{name}: \$\(READY\).*##", makefile, re.MULTILINE), name
        assert re.search(rf"\$\(RECORD\) {name} ", makefile), name


def test_a_run_replaces_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nText | with | a | bar.\n")
    monkeypatch.setattr(reliability, "PAGE", page)
    monkeypatch.setattr(reliability, "commit", lambda: "c0ffee")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from benchmarks.reliability import tell\n"
        "tell('cuts', 2); tell('s at most', 1.5, 'max'); tell('cuts', 3); tell('s at most', 0.5, 'max')"
    )
    assert reliability.main(["power-cuts", sys.executable, "-c", code, str(ROOT)]) == 0
    assert "| `make power-cuts` | 5 cuts, 1.5 s at most | c0ffee | 20" in page.read_text()
    assert reliability.main(["fuzz", sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert reliability.main(["damage", sys.executable, "-c", "pass"]) == 1
    assert "| `make damage` | FAILED (nothing was measured) | c0ffee | 20" in page.read_text()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); del sys.argv[1:]; from benchmarks.figures import Figure, main\n"
        "main('', lambda _: None, lambda: [Figure('verify rows', 7.25, 's', 10), Figure('… CPU', 3, 's')])"
    )
    assert reliability.main(["bench-export", sys.executable, "-c", code, str(ROOT)]) == 0
    assert "| `make bench-export` | 7.25 s: verify rows, 3 s: CPU | c0ffee | 20" in page.read_text()
    text = page.read_text()
    assert "| `make fuzz` | FAILED (exit status 3) | c0ffee | 20" in text
    assert "| `make power-cuts` | 5 cuts, 1.5 s at most | c0ffee | 20" in text
    assert text.startswith("# Title\n\nText | with | a | bar.\n")
    assert text.count("not run yet") == len(TESTS) - 4


def test_a_test_that_is_not_on_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert reliability.main(["power", "true"]) == 2
    assert ", ".join(TESTS) in capsys.readouterr().err
