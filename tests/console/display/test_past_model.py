"""A past screen equals the one that was live then, for what the record keeps; the rest is missing in it, never zero."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.append(str(Path(__file__).parent.parent / "tui"))

from record import Recorder

from console.display.past_model import ago_text, past_model
from console.display.status_text import why_text
from console.display.viewmodel import Model
from console.tui.canvas import Canvas
from console.tui.compute import Compute
from console.tui.energy_flows import BatteryFlow, ComputeFlow, GridFlow
from console.tui.trends import ImportChart, LoadChart
from dispatch.alarms.states import Alarm
from dispatch.model.islanding import IslandState
from drivers.twin.faults import Fault
from storage import schema
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.past import Past, past
from storage.reader import Archive
from storage.recorder import nobody
from storage.rows import decision_of, decision_row
from storage.signals import definition, signal_values

SECONDS, HANGS = 200, 80  # then the grid meter says nothing more
MOMENTS = (61, 79, 97, 130, 199)


def figures(model: Model) -> dict[str, float | None]:
    """What the gateway adds to the record, as `ControlLoop._recorded_figures`."""
    assert model.published is not None
    interval, tariff = model.published.interval, model.published.tariff
    return {
        "interval.left_w": interval.left_w,
        "interval.limit_w": interval.limit_w,
        "interval.energy_wh": None if interval.never_read else interval.energy_wh,
        "month.peak_w": model.published.month_peak_w,
        "price.eur_per_kwh": tariff.now_eur_per_kwh,
        "soc_pct": model.published.snapshot.batteries[0].soc_pct.good,
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Model]]:
    """A site in lock-step, recorded as a gateway does that starts again later; the console's model of each second."""
    place = tmp_path_factory.mktemp("state")
    rec, intake = Recorder(), Intake(StorageConfig(), 250.0)
    file = TelemetryFile(place / schema.FILE, "boot", nobody)
    file.ensure_open(rec.clock.utc_s())
    models: dict[int, Model] = {}
    told = 0
    for n in range(SECONDS):
        if n == HANGS:
            rec.twin.faults.put(Fault("hung", "grid"))
        published = rec.step()
        models[n] = rec.model
        for event in [e for e in rec.model.events if e.kind != "why"][told:]:
            file.write_event(event, 0, durable=False)
            told += 1
        intake.take(published.snapshot, published.decision, figures(rec.model))
    file.write(intake, whole=True)
    file.close(round(rec.clock.utc_s() * 1e6))
    restarted = TelemetryFile(place / schema.FILE, "boot", nobody)
    restarted.ensure_open(rec.clock.utc_s() + 60)
    restarted.close(round((rec.clock.utc_s() + 61) * 1e6))
    return place, models


def then(seen: tuple[Path, dict[int, Model]], n: int) -> Model:
    """Second n as the record has it, over the link, for a console that shows the last second."""
    place, models = seen
    published = models[n].published
    assert published is not None
    archive = Archive(place, timeout_s=30)
    found = msgspec.to_builtins(past(archive, place, published.snapshot.utc_s))
    archive.close()
    answer = msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(found)), Past)
    return past_model(models[SECONDS - 1], answer)


def rows(widget: Any, model: Model, size: tuple[int, int]) -> list[str]:
    canvas = Canvas(*size)
    widget.paint(canvas, model)
    return [line.rstrip() for line in canvas.lines()]


@pytest.mark.parametrize("n", MOMENTS)
def test_what_is_kept_is_as_it_was_live(seen: tuple[Path, dict[int, Model]], n: int) -> None:
    live, kept = seen[1][n], then(seen, n)
    assert live.published is not None
    assert kept.published is not None
    assert kept.past is not None
    assert (kept.past.record, kept.now_utc_s, kept.stale) == ("samples", live.now_utc_s, False)

    was = signal_values(live.published.snapshot, None)
    values = signal_values(kept.published.snapshot, None)
    assert values.keys() == was.keys()
    for name, value in was.items():
        # sums are of parts that are rounded each
        assert values[name] == pytest.approx(value, abs=20 * definition(name).scale), name

    for field in ("start_utc_s", "length_s", "limit_w", "left_w", "energy_wh"):
        assert getattr(kept.published.interval, field) == pytest.approx(
            getattr(live.published.interval, field), abs=5.0
        ), field
    assert kept.published.month_peak_w == pytest.approx(live.published.month_peak_w, abs=1.0)
    assert kept.published.tariff.now_eur_per_kwh == pytest.approx(live.published.tariff.now_eur_per_kwh, abs=1e-6)

    decided = round(kept.published.decision.utc_s - (seen[1][0].now_utc_s or 0.0))
    stored = seen[1][decided].published
    assert stored is not None
    assert kept.published.decision == decision_of(decision_row(stored.decision))
    assert kept.published.decision.binding is live.published.decision.binding
    assert kept.published.decision.mode is live.published.decision.mode

    def listed(alarms: tuple[Alarm, ...]) -> set[tuple[Any, ...]]:
        return {(a.id, a.state, a.acknowledged_by) for a in alarms}

    assert listed(kept.published.alarms) == listed(live.published.alarms)
    assert [(e.kind, e.subject, e.text) for e in kept.events] == [(e.kind, e.subject, e.text) for e in live.events]
    for mine, his in ((kept.trend, live.trend), (kept.day, live.day)):
        mine = tuple(p for p in mine if (p.load_w, p.grid_w, p.soc_pct) != (None, None, None))
        assert [p.start_utc_s for p in mine] == [p.start_utc_s for p in his]
        for a, b in zip(mine, his, strict=True):
            assert (a.load_w, a.grid_w) == (pytest.approx(b.load_w, abs=2.0), pytest.approx(b.grid_w, abs=1.0))


def test_views_draw_the_same_and_nothing_else_as_a_figure(seen: tuple[Path, dict[int, Model]]) -> None:
    live, kept = msgspec.structs.replace(seen[1][79], plan=None), then(seen, 79)
    was, now = rows(GridFlow(), live, (19, 6)), rows(GridFlow(), kept, (19, 6))
    assert (now[:3], now[4]) == (was[:3], was[4])
    assert now[3].split()[1:] == was[3].split()[1:]
    assert now[3].startswith("limit ")  # which it was is not kept
    assert float(now[5].split()[0]) == pytest.approx(float(was[5].split()[0]), abs=0.0101)  # kept in whole mHz
    assert rows(BatteryFlow(), kept, (22, 6))[:5] == rows(BatteryFlow(), live, (22, 6))[:5]
    assert rows(BatteryFlow(), kept, (22, 6))[5] == "holds load —"  # by limits of the PCS that are not kept
    was, now = rows(ComputeFlow(), live, (19, 6)), rows(ComputeFlow(), kept, (19, 6))
    assert (now[:3], now[4]) == (was[:3], was[4])
    assert now[3] == ""  # whether a pulse was under way
    assert rows(LoadChart(), kept, (80, 4)) == rows(LoadChart(), live, (80, 4))
    was, now = rows(ImportChart(), live, (80, 4)), rows(ImportChart(), kept, (80, 4))
    assert [line[:60] for line in now] == [line[:60] for line in was]
    assert now[3] == was[3]
    assert now[1].split()[-1] == was[1].split()[-1]
    assert "gap ?" in now[0]  # how much was not measured is not kept
    mean = [float(lines[2].replace("~", " ").split("interval")[1]) for lines in (now, was)]
    assert mean[0] == pytest.approx(mean[1], abs=0.11)
    nodes = [line[:32] for line in rows(Compute(), live, (80, 12))[1:9]]
    assert [line[:32] for line in rows(Compute(), kept, (80, 12))[1:9]] == nodes
    assert kept.plan is None
    assert kept.published is not None
    assert kept.published.snapshot.devices == ()
    assert kept.published.snapshot.pcs[0].state.value is None


def test_a_meter_that_was_lost_is_missing_and_its_alarm_is_there(seen: tuple[Path, dict[int, Model]]) -> None:
    kept = then(seen, 199)
    assert kept.published is not None
    assert kept.published.snapshot.grid.w.value is None
    assert "missing" in rows(GridFlow(), kept, (19, 6))[1]
    assert "0.0" not in rows(GridFlow(), kept, (19, 6))[1]
    assert kept.published.alarms


def test_a_time_without_a_record_says_so(seen: tuple[Path, dict[int, Model]]) -> None:
    place, models = seen
    begin_s = models[0].now_utc_s or 0.0
    archive = Archive(place, timeout_s=30)
    before, after = (past_model(models[9], past(archive, place, begin_s + s)) for s in (-3600, SECONDS + 7200))
    archive.close()
    for model in (before, after):
        assert model.past is not None
        assert model.published is None
        assert model.past.record in why_text(model)
    assert before.past is not None
    assert "nothing is kept before 2025-09-16 05:00:0" in before.past.record
    assert after.past is not None
    assert "the last row on record is of 2025-09-16 05:0" in after.past.record


def test_how_long_ago() -> None:
    assert [ago_text(s) for s in (0, 59, 840, 7560, 172_800, 9e6)] == [
        "0 s",
        "59 s",
        "14 min",
        "2 h 06",
        "2 d",
        "104 d",
    ]


def test_off_the_grid_the_switch_is_open_by_the_state_that_is_kept(seen: tuple[Path, dict[int, Model]]) -> None:
    kept = then(seen, 79)
    assert kept.published is not None
    decision = msgspec.structs.replace(kept.published.decision, island=IslandState.ISLANDED)
    kept = msgspec.structs.replace(kept, published=msgspec.structs.replace(kept.published, decision=decision))
    drawn = rows(GridFlow(), kept, (19, 6))
    assert drawn[1].endswith("open")
    assert drawn[3] == "its side: not kept"
    assert "limit" not in "".join(drawn)
