"""Writes what this checkout's code makes of fixed inputs, for `compare_refs.py`: `outputs.py KIND DIRECTORY`.

Each version carries its own copy, so that imports follow the modules. Nothing written depends on the machine or its
clock: same code, same bytes.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

ROOT = Path(__file__).resolve().parents[2]
SCENES = ROOT / "tests" / "console" / "tui"
TICKS = 1800  # half an hour of site time, one tick a second
OUTAGE_AT, OUTAGE_TICKS = 900, 300


def scenes(directory: Path) -> None:
    """The console's scenes, recorded anew."""
    from record import GROUPS

    with TemporaryDirectory() as audit:
        recorded = {name: scene for made in GROUPS.values() for name, scene in made(Path(audit)).items()}
    (directory / "scenes.json").write_bytes(_in_words(recorded))


def pictures(directory: Path) -> None:
    """Every picture, drawn from the scenes that are committed. Overwrites the checkout's own files."""
    import pytest

    drawn = ROOT / "screenshots"
    before = {file.name for file in drawn.glob("*.svg")}
    for file in drawn.glob("*.svg"):
        file.unlink()
    code = pytest.main(["-q", "-p", "no:cacheprovider", str(SCENES / "test_pictures.py"), "--snapshot-update"])
    if code:
        raise SystemExit(f"the pictures were not drawn: pytest ended with {code}")
    if missing := before - {file.name for file in drawn.glob("*.svg")}:
        raise SystemExit(f"no test draws screenshots/{', screenshots/'.join(sorted(missing))}")
    shutil.copytree(drawn, directory, dirs_exist_ok=True)


def replay(directory: Path) -> None:
    """Three days of the bundled traces on the demo site: `schedule.csv`."""
    from console.cli.main import run
    from drivers.twin.trace import trace_path

    prices = ROOT / "drivers" / "tariffs" / "data" / "de-lu-2025.csv.gz"
    options = {
        "--prices": str(prices),
        "--load": str(trace_path("bundled:helios")),
        "--load-scale": "1.5",
        "--from": "2025-09-15",
        "--to": "2025-09-18",
        "--out": str(directory / "out"),
    }
    code = run(["replay", str(ROOT / "sites" / "demo.toml"), *(word for pair in options.items() for word in pair)])
    if code:
        raise SystemExit(f"the replay ended with {code}")
    shutil.move(directory / "out" / "schedule.csv", directory)
    shutil.rmtree(directory / "out")


def lockstep(directory: Path) -> None:
    """The demo site in lock-step with controller, planner and alarms: a job's pulse, then an outage; tick by tick."""
    from record import Recorder

    from drivers.twin.faults import Fault
    from gateway.site.loader import load

    recorder = Recorder(load(ROOT / "sites" / "demo.toml"))
    pulses, states, plan = 0, set(), None
    with (directory / "ticks.jsonl").open("wb") as file:
        for tick in range(TICKS):
            if tick == OUTAGE_AT:
                recorder.twin.faults.put(Fault("outage", until_s=recorder.twin.t_s + OUTAGE_TICKS))
            published = recorder.step()
            pulses, states = published.pulses_seen, states | {published.decision.island.value}
            file.write(_in_words(published) + b"\n")
            if recorder.plan is not plan:
                plan = recorder.plan
                file.write(_in_words(plan) + b"\n")
    if not pulses or not {"islanded", "grid-tied"} <= states:
        raise SystemExit(f"expected a pulse and an outage, found {pulses} pulses and the states {sorted(states)}")


def _in_words(value: object) -> bytes:
    """Reasons as sentences: what people read must stay the same, codes may be called otherwise."""
    from gateway.api.previous_version import for_version

    return msgspec.json.encode(for_version(value, 1))


OUTPUTS: dict[str, Callable[[Path], None]] = {
    "scenes": scenes,
    "pictures": pictures,
    "replay": replay,
    "lockstep": lockstep,
}


def foreign_modules() -> list[str]:
    """Loaded modules that come from neither this checkout nor the interpreter and its packages."""
    packages = [Path(entry).resolve() for entry in sys.path if entry.endswith("site-packages")]
    allowed = (ROOT, Path(runpy.__file__).resolve().parent, *packages)
    found = []
    for name, module in sorted(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and not any(Path(place).resolve().is_relative_to(root) for root in allowed):
            found.append(f"{name} ({place})")
    return found


if __name__ == "__main__":
    kind, place = sys.argv[1:]
    sys.path.insert(0, str(SCENES))  # the recorder
    OUTPUTS[kind](Path(place))
    if foreign := foreign_modules():
        raise SystemExit(f"not this checkout's code: {', '.join(foreign)}")
