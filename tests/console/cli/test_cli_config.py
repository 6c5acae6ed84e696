"""`skerry config upgrade`, and what `skerry check` says of retired keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import run
from gateway import exit_codes
from gateway.site import versions
from gateway.site.loader import load
from gateway.site.versions import Retired

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "sites" / "training-rack.toml"


def test_a_current_file_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "upgrade", str(SITE)]) == exit_codes.OK
    assert capsys.readouterr().out == SITE.read_text(encoding="utf-8")


def test_a_file_without_a_version_gets_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, old = SITE.read_text(encoding="utf-8"), tmp_path / "old.toml"
    old.write_text(text.replace("version = 2\n\n", ""), encoding="utf-8")
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
    old.write_text(text.replace("version = 2", "version = 1"), encoding="utf-8")
    assert run(["check", str(old), "--json"]) == exit_codes.OK
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert f"grid.peak_w: expected {told}; skerry config upgrade {old} prints the file with it" in warnings

    current.write_text(text, encoding="utf-8")
    assert run(["check", str(current)]) == exit_codes.USAGE
    assert f"{current}:17: grid.peak_w: expected {told}" in capsys.readouterr().err
    assert run(["config", "upgrade", str(current)]) == exit_codes.OK
    current.write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["check", str(current)]) == exit_codes.OK


SUSPENDED = """
[[node]]
id = "gpu-1"
source = "exporters"
exporters = ["http://gpu-1:9400/metrics"]
gpus = 8
freeze = "/sys/fs/cgroup/jobs.slice"
on_suspend = [
  "scontrol",
  "suspend",
]
on_resume = ["scontrol", "resume"]

[[node]]
id = "cpu-1"
source = "psutil"
freeze = "/sys/fs/cgroup/jobs.slice"
"""


def test_a_node_with_gpus_is_not_suspended_whatever_an_old_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of version 1 the keys are not used and told of; of version 2 they are errors; an upgrade leaves them out."""
    old, current = tmp_path / "old.toml", tmp_path / "current.toml"
    current.write_text(SITE.read_text(encoding="utf-8") + SUSPENDED, encoding="utf-8")
    lines = current.read_text(encoding="utf-8").splitlines()
    frozen = lines.index('freeze = "/sys/fs/cgroup/jobs.slice"') + 1
    old.write_text(current.read_text(encoding="utf-8").replace("version = 2", "version = 1"), encoding="utf-8")
    gpu, cpu = load(old).dispatch.nodes[-2:]
    assert (gpu.has_gpus, gpu.can_suspend, cpu.has_gpus, cpu.can_suspend) == (True, False, False, True)
    assert run(["check", str(old), "--json"]) == exit_codes.OK
    told = [line for line in json.loads(capsys.readouterr().out)["warnings"] if "no such key" in line]
    assert [line.split(":")[0] for line in told] == [f"node[0].{key}" for key in ("freeze", "on_suspend", "on_resume")]
    assert f"line {frozen}: no such key on a node with GPUs" in told[0]
    assert "on_stop_starts, on_checkpoint, checkpoint_s and on_requeue" in told[0]

    assert run(["check", str(current)]) == exit_codes.USAGE
    assert f"{current}:{frozen}: node[0].freeze: expected line {frozen}: no such key" in capsys.readouterr().err
    assert run(["config", "upgrade", str(old)]) == exit_codes.OK
    new = capsys.readouterr().out
    current.write_text(new, encoding="utf-8")
    assert run(["check", str(current)]) == exit_codes.OK
    assert '# freeze = "/sys/fs/cgroup/jobs.slice"\n# on_suspend = [\n#   "scontrol",\n#   "suspend",\n# ]\n' in new
    assert new.endswith('\nsource = "psutil"\nfreeze = "/sys/fs/cgroup/jobs.slice"\n'), "without GPUs it stays"


def test_keys_of_a_node_in_braces_are_taken_out_by_hand() -> None:
    text = 'node = [{ id = "g", source = "nvml", freeze = "/x" }]\n'
    with pytest.raises(versions.NoUpgrade, match=r"node\[0\]\.freeze: expected line 1: no such key .* by hand"):
        versions.upgraded(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 9\n", "version: expected at most 2: this Skerry understands versions 1 to 2"),
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
