"""Inverters that give nothing under the sun are reported, each by itself, and once."""

from __future__ import annotations

from datetime import UTC, datetime

from test_slow_devices import Events

from dispatch.config.plane import PlaneTerms
from dispatch.config.schema import DispatchConfig, GridConfig, PvTerms
from dispatch.model.equipment import Meter, Pv
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from gateway.pv_watch import PvWatch

MORNING_S = datetime(2026, 6, 21, 6, tzinfo=UTC).timestamp()


def watch_of(events: Events, clearness: float | None = None) -> PvWatch:
    planes = tuple(PlaneTerms(pv=id, tilt_deg=30, azimuth_deg=180, peak_w=10_000) for id in ("south", "shed"))
    config = DispatchConfig(
        grid=GridConfig(fuse_a=160, contracted_peak_w=60_000),
        timezone="Europe/Berlin",
        pv=tuple(PvTerms(id=id, peak_w=10_000) for id in ("south", "shed", "unknown")),
        planes=planes,
        place=(48.1, 11.6),
    )
    return PvWatch(config, events, lambda _quarter: clearness)


def play(watch: PvWatch, hours: range, south_w: float, free: bool = True) -> None:
    for s in range(3600 * hours.start, 3600 * hours.stop, 50):
        parts = {"south": south_w, "shed": 4_000.0, "unknown": 0.0}
        pv = tuple(Pv(id, w=reading(w)) for id, w in parts.items())
        watch.add(Snapshot(utc_s=MORNING_S + s, mono_s=float(s), seq=s, grid=Meter("grid"), pv=pv), free)


def test_a_dead_inverter_is_told_from_those_that_work() -> None:
    events = Events()
    watch = watch_of(events)
    play(watch, range(5), south_w=20.0)
    assert events.texts == [
        "south gives 0 % of what a clear sky allows since 08:00: snow, shade or a fault",
    ]
    play(watch, range(5, 7), south_w=5_000.0)
    assert events.texts[1:] == ["south gives power again"]


def test_a_limited_inverter_is_not_dead() -> None:
    events = Events()
    play(watch_of(events), range(5), south_w=0.0, free=False)
    assert events.texts == []


def test_by_a_service_that_expects_sun_a_weak_inverter_is_told_sooner() -> None:
    events, blind = Events(), Events()
    for watch in (watch_of(events, clearness=0.9), watch_of(blind)):
        play(watch, range(3), south_w=250.0)
    assert [text.split()[0] for text in events.texts] == ["south"]
    assert blind.texts == []
