"""What stood besides the signals: rows when it changes, found again at any time of their run."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import QUARTER, TOLD, Site, decision, snapshot

from dispatch.model.equipment import DeviceHealth
from dispatch.model.islanding import RideThrough
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from storage import schema
from storage.context import AGAIN_S, Changes, Context, Told, decoded, encoded
from storage.damage import DAMAGED
from storage.reader import Archive

replace = msgspec.structs.replace
STEP = PlanStep(QUARTER, 0.123456789, 20_123.45, 19_000.0, 21_000.0, 12.345, -5_000.7, 25_000.0, 55.555)
PLAN = Plan(QUARTER + 3.2, 900, (STEP,), 30_000.4, 1.234567, 10.0, note=Reason("peak.month"))
ORDER = Order("o7", OrderKind.HOLD, 0.0, "", "anna", "feeder test", QUARTER, QUARTER + 600.0, 77.0)
ALL = {"plan", "orders", "prices", "limits", "alarms"}


def kinds(changes: Changes, site: Snapshot, told: Told = TOLD) -> set[str]:
    return {row.kind for row in changes.rows(site, decision(site.seq), told)}


def with_device(n: int, **changes: object) -> Snapshot:
    device = DeviceHealth("pcs1", "pcs", True, 0.1, reads=n, failures=0, writes=0)
    return replace(snapshot(n), devices=(replace(device, **changes),))


def test_a_row_is_written_when_something_changes_and_now_and_then() -> None:
    changes = Changes()
    assert kinds(changes, snapshot(0)) == ALL
    assert kinds(changes, snapshot(5)) == set()
    assert kinds(changes, snapshot(10), replace(TOLD, orders=(ORDER,))) == {"orders"}
    assert kinds(changes, snapshot(15), replace(TOLD, plan=PLAN)) == {"plan", "orders"}
    later = replace(PLAN, cost_eur=2.0)
    assert kinds(changes, snapshot(20), replace(TOLD, plan=later)) == set()  # a second one within a minute
    assert kinds(changes, snapshot(15 + 300), replace(TOLD, plan=later)) == {"plan"}
    assert kinds(changes, replace(snapshot(0), mono_s=AGAIN_S + 99.0), replace(TOLD, plan=later)) == ALL


def test_a_device_that_comes_and_goes_costs_a_bounded_number_of_rows() -> None:
    changes = Changes()
    assert "link pcs1" in kinds(changes, with_device(0))
    assert kinds(changes, with_device(5, reads=9, failures=3)) == set()  # counters are not kept
    found = [kinds(changes, with_device(n, online=n % 2 == 0, error=f"try {n}")) for n in range(10, 3010)]
    assert 40 <= sum("link pcs1" in kind for kind in found) <= 60  # in 600 s
    errors = [kinds(changes, with_device(n, online=False, error=f"try {n}")) for n in range(4000, 7000)]
    assert 9 <= sum("link pcs1" in kind for kind in errors) <= 12


def test_what_stood_is_found_at_any_time_of_its_run(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(60)
    told = replace(TOLD, plan=PLAN, orders=(ORDER,))
    lost = DeviceHealth("pcs1", "pcs", False, 4.0, 9, 9, 9, error="no answer within 80 ms")
    ride = RideThrough(3600.0, 3000.0, None, 2.0, 1.0, 1.0, 1, Reason("rung.none"), Reason("why.now"))
    at = replace(snapshot(0), utc_s=site.now_s, mono_s=site.mono_s, devices=(lost,))
    site.intake.take(at, replace(decision(0, utc_s=site.now_s), ride=ride), None, told)
    changed_s = site.now_s
    site.now_s, site.mono_s = site.now_s + 1, site.mono_s + 1
    site.run(60)
    site.close()
    again = Site(tmp_path, boot="next")
    again.now_s = changed_s + 200
    again.run(2)
    again.close()
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        con.execute("UPDATE run SET started_utc_us = ? WHERE boot_id = 'next'", (round(changed_s + 199) * 1_000_000,))
        con.commit()
    archive = Archive(tmp_path, timeout_s=30)
    try:
        assert archive.context(QUARTER - 1.0) == Context()
        first, then = archive.context(QUARTER + 30.0), archive.context(changed_s + 0.5)
        assert (first.kinds, first.orders, first.no_plan) == (ALL, (), Reason("no_plan.first"))
        assert first.prices == TOLD.prices
        assert then.kinds == {*ALL, "ride", "links"}
        assert then.orders == (ORDER,)
        assert then.plan is not None
        assert then.plan.steps[0].reason == STEP.reason
        assert (then.plan.steps[0].load_w, then.plan.steps[0].price_eur_per_kwh) == (20_123.0, 0.123457)
        assert then.plan.note == PLAN.note
        assert then.ride is not None
        assert (then.ride.rung, then.ride.why) == (1, Reason("why.now"))
        (link,) = then.links
        assert (link.online, link.error, link.answered_utc_s) == (
            False,
            lost.error,
            pytest.approx(changed_s - 4, abs=1),
        )
        assert archive.context(changed_s + 1.5).orders == ()
        assert archive.context(changed_s + 150.0).orders == ()
        assert archive.context(changed_s + 201.0).links == ()  # the next run has said nothing of devices
    finally:
        archive.close()


def test_a_record_of_before_says_nothing_and_a_damaged_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decoded("orders", encoded((ORDER,))) == (ORDER,)
    assert decoded("weather", b"of a newer version") is None
    for v in (b"", b"x", encoded(())[:-3], zlib.compress(b"{"), zlib.compress(b'[{"id": 3}]')):
        with pytest.raises(DAMAGED):
            decoded("orders", v)
    with monkeypatch.context() as older:
        older.setattr(schema, "STEPS", schema.STEPS[:7])
        with closing(sqlite3.connect(tmp_path / schema.FILE, isolation_level=None)) as con:
            schema.prepare(con)
            schema.migrate(con, tmp_path / schema.FILE)
    archive = Archive(tmp_path)
    assert archive.context(QUARTER + 1.0) == Context()
    archive.close()


def test_a_time_is_kept_with_its_part_of_a_second() -> None:
    order = replace(ORDER, ends_utc_s=QUARTER + 17.757, ends_mono_s=1017.6)
    kept = decoded("orders", encoded((order,)))[0]
    assert (kept.ends_utc_s, kept.ends_mono_s) == (QUARTER + 17.757, 1018.0)
