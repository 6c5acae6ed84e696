"""A past screen equals the one that was live then, for what the record keeps; the rest is missing in it, never zero."""

from __future__ import annotations

import re
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
from console.tui.devices import Devices
from console.tui.energy_flows import BatteryFlow, ComputeFlow, GridFlow
from console.tui.order_line import OrderLine
from console.tui.overview_panels import GatewayPanel
from console.tui.plan_view import PlanView
from console.tui.trends import ImportChart, LoadChart, SocChart, TariffStrip
from dispatch.alarms.states import Alarm
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault
from gateway.recorded_context import figures, told
from storage import schema
from storage.config import StorageConfig
from storage.context import Context
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.past import Past, past
from storage.reader import Archive
from storage.recorder import nobody
from storage.rows import decision_of, decision_row
from storage.signals import definition, signal_values

ORDERED, SECONDS, HANGS = 70, 200, 80  # HANGS: then the grid meter says nothing more
FIGURE = re.compile(r" *-?\d+\.\d+")
MOMENTS = (61, 79, 97, 130, 199)


def recorded_figures(model: Model) -> dict[str, float | None]:
    """What the gateway adds to the record, as `ControlLoop._record`."""
    assert model.published is not None
    interval, tariff = model.published.interval, model.published.tariff
    return {
        "interval.left_w": interval.left_w,
        "interval.limit_w": interval.limit_w,
        "interval.energy_wh": None if interval.never_read else interval.energy_wh,
        "month.peak_w": model.published.month_peak_w,
        "price.eur_per_kwh": tariff.now_eur_per_kwh,
        "soc_pct": model.published.snapshot.batteries[0].soc_pct.good,
    } | figures(model.published)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Model]]:
    """A site in lock-step, recorded as a gateway does that starts again later; the console's model of each second."""
    place = tmp_path_factory.mktemp("state")
    rec, intake = Recorder(), Intake(StorageConfig(), 250.0)
    file = TelemetryFile(place / schema.FILE, "boot", nobody)
    file.ensure_open(rec.clock.utc_s())
    models: dict[int, Model] = {}
    noted = 0
    for n in range(SECONDS):
        if n == ORDERED:
            given = (rec.clock.utc_s(), rec.clock.utc_s() + 600, rec.clock.mono_s() + 600)
            rec.orders.put(Order("o7", OrderKind.IMPORT_TARGET, 21_000.0, "", "tech1", "feeder 2 test", *given))
        if n == HANGS:
            rec.twin.faults.put(Fault("hung", "grid"))
        published = rec.step()
        models[n] = rec.model
        for event in [e for e in rec.model.events if e.kind != "why"][noted:]:
            file.write_event(event, 0, durable=False)
            noted += 1
        beside = told(published, rec.plan, None if rec.plan else Reason("no_plan.first"))
        intake.take(published.snapshot, published.decision, recorded_figures(rec.model), beside)
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

    for field in ("start_utc_s", "length_s", "limit_w", "left_w", "energy_wh", "unknown_s", "peak_limit_w"):
        assert getattr(kept.published.interval, field) == pytest.approx(
            getattr(live.published.interval, field), abs=5.0
        ), field
    assert kept.published.month_peak_w == pytest.approx(live.published.month_peak_w, abs=1.0)
    assert kept.published.tariff.now_eur_per_kwh == pytest.approx(live.published.tariff.now_eur_per_kwh, abs=1e-6)

    assert kept.past.lacks == frozenset()
    assert kept.published.interval.guard_peak == live.published.interval.guard_peak
    assert kept.published.month_unmeasured_s == pytest.approx(live.published.month_unmeasured_s, abs=0.4)
    assert msgspec.structs.replace(kept.published.tariff, now_eur_per_kwh=None) == msgspec.structs.replace(
        live.published.tariff, now_eur_per_kwh=None
    )
    assert kept.published.orders == tuple(
        msgspec.structs.replace(o, ends_mono_s=o.left_s(live.published.snapshot.mono_s)) for o in live.published.orders
    )
    was_since_s, since_s = live.published.pulse_since_utc_s, kept.published.pulse_since_utc_s
    assert since_s == (None if was_since_s is None else pytest.approx(was_since_s, abs=0.002))
    assert (kept.plan is None) == (live.plan is None)
    if kept.plan is not None and live.plan is not None:
        steps = [(s.start_utc_s, words(s.reason), s.order) for s in kept.plan.steps]
        assert steps == [(s.start_utc_s, words(s.reason), s.order) for s in live.plan.steps]
    links = [(d.id, d.kind, d.online, bool(d.error), d.identity, d.map) for d in kept.published.snapshot.devices]
    devices = live.published.snapshot.devices
    assert links == [(d.id, d.kind, d.online, bool(d.error), d.identity, d.map) for d in devices]
    assert devices
    lost = [d.age_s for d in kept.published.snapshot.devices if not d.online]
    assert lost == pytest.approx([d.age_s for d in devices if not d.online], abs=0.6)
    was_ride, ride = live.published.decision.ride, kept.published.decision.ride
    assert was_ride is not None
    assert ride is not None
    assert (ride.rung, ride.rungs, ride.rung_name, ride.lacks) == (
        was_ride.rung,
        was_ride.rungs,
        was_ride.rung_name,
        was_ride.lacks,
    )
    for field in ("runtime_s", "low_s", "promised_left_s", "shutdown_in_s", "draw_w", "most_w"):
        assert getattr(ride, field) == pytest.approx(getattr(was_ride, field), abs=0.6), field

    decided = round(kept.published.decision.utc_s - (seen[1][0].now_utc_s or 0.0))
    stored = seen[1][decided].published
    assert stored is not None
    row = decision_of(decision_row(stored.decision))
    assert msgspec.structs.replace(kept.published.decision, ride=None) == row
    assert kept.published.decision.binding is live.published.decision.binding
    assert kept.published.decision.mode is live.published.decision.mode

    def listed(alarms: tuple[Alarm, ...]) -> set[tuple[Any, ...]]:
        return {
            (a.id, a.priority, a.state, a.acknowledged_by, round(a.since_utc_s), a.first_out, a.count) for a in alarms
        }

    assert listed(kept.published.alarms) == listed(live.published.alarms)
    assert [(e.kind, e.subject, e.text) for e in kept.events] == [(e.kind, e.subject, e.text) for e in live.events]
    for mine, his in ((kept.trend, live.trend), (kept.day, live.day)):
        mine = tuple(p for p in mine if (p.load_w, p.grid_w, p.soc_pct) != (None, None, None))
        assert [p.start_utc_s for p in mine] == [p.start_utc_s for p in his]
        for a, b in zip(mine, his, strict=True):
            assert (a.load_w, a.grid_w) == (pytest.approx(b.load_w, abs=2.0), pytest.approx(b.grid_w, abs=1.0))


def assert_alike(mine: list[str], his: list[str]) -> None:
    """The same words at the same places, and figures that differ by no more than the record's resolution."""
    assert len(mine) == len(his)
    for a, b in zip(mine, his, strict=True):
        assert FIGURE.sub("#", a) == FIGURE.sub("#", b)
        figures_of = ([float(figure) for figure in FIGURE.findall(line)] for line in (a, b))
        assert next(figures_of) == pytest.approx(next(figures_of), abs=0.11), (a, b)


@pytest.mark.parametrize("n", [61, 79])
def test_views_draw_the_same_and_nothing_else_as_a_figure(seen: tuple[Path, dict[int, Model]], n: int) -> None:
    live, kept = seen[1][n], then(seen, n)
    assert live.published is not None
    assert kept.published is not None
    decided = msgspec.structs.replace(kept.published.decision, ride=live.published.decision.ride)  # kept at its changes
    was_then = msgspec.structs.replace(
        live, past=kept.past, published=msgspec.structs.replace(live.published, decision=decided)
    )
    was, now = rows(GridFlow(), live, (19, 6)), rows(GridFlow(), kept, (19, 6))
    assert now[:5] == was[:5]
    assert float(now[5].split()[0]) == pytest.approx(float(was[5].split()[0]), abs=0.0101)  # kept in whole mHz
    was, now = rows(ComputeFlow(), live, (19, 6)), rows(ComputeFlow(), kept, (19, 6))
    assert now[:5] == was[:5]  # GPUs are sampled once a minute
    for widget, size in (
        (BatteryFlow(), (22, 6)),
        (LoadChart(), (80, 4)),
        (ImportChart(), (80, 4)),
        (SocChart(), (120, 8)),
        (TariffStrip(), (80, 1)),
        (PlanView(), (80, 17)),
        (PlanView(), (160, 40)),
    ):
        assert_alike(rows(widget, kept, size), rows(widget, was_then, size))
    nodes = [line[:32] for line in rows(Compute(), live, (80, 12))[1:9]]
    assert [line[:32] for line in rows(Compute(), kept, (80, 12))[1:9]] == nodes
    links = [line[:28] for line in rows(Devices(), live, (80, 24))]
    assert [line[:28] for line in rows(Devices(), kept, (80, 24))[:14]] == links[:14]
    assert kept.published.snapshot.pcs[0].state.value is None
    ordered = "Order then" in rows(OrderLine(), kept, (120, 1))[0]
    assert ordered == (n >= ORDERED)


def test_a_record_of_before_says_what_it_lacks(seen: tuple[Path, dict[int, Model]]) -> None:
    """As an earlier version kept it: neither rows of `context` nor the signals that came with them."""
    place, models = seen
    published = models[79].published
    assert published is not None
    archive = Archive(place, timeout_s=30)
    found = past(archive, place, published.snapshot.utc_s)
    archive.close()
    new = set(figures(published))
    values = {name: value for name, value in found.moment.values.items() if name not in new}
    moment = msgspec.structs.replace(found.moment, values=values)
    kept = past_model(models[SECONDS - 1], msgspec.structs.replace(found, moment=moment, context=Context()))
    assert kept.past is not None
    assert kept.past.lacks == {"plan", "orders", "prices", "limits", "alarms", "ride", "links", "pulse"}
    assert rows(GridFlow(), kept, (19, 6))[3].startswith("limit ")
    assert rows(BatteryFlow(), kept, (22, 6))[5] == "holds load —"
    assert rows(ComputeFlow(), kept, (19, 6))[3] == ""
    assert "gap ?" in rows(ImportChart(), kept, (80, 4))[0]
    assert "prices ahead: not on record" in rows(TariffStrip(), kept, (80, 1))[0]
    assert "no plan kept" in " ".join(rows(SocChart(), kept, (120, 8)))
    assert "The plan of then is not on record" in " ".join(rows(PlanView(), kept, (80, 17)))
    assert "not on record" in rows(Devices(), kept, (80, 16))[1]
    assert "orders then: not on record" in rows(OrderLine(), kept, (100, 1))[0]
    assert "devices' links then: not on record" in " ".join(rows(GatewayPanel(), kept, (40, 5)))


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
