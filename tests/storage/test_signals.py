"""Names, units and resolution of signals; missing stays missing."""

from __future__ import annotations

import math
import sqlite3
import struct
import zlib
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_samples import decision, snapshot

from dispatch.model.equipment import Battery, Node, Switch, Ups
from dispatch.model.readings import Quality, Reading, Status, reading, status
from storage.damage import DAMAGED
from storage.rows import decision_of, decision_row
from storage.samples import packed, segments_of, sids_blob
from storage.signals import MISSING, definition, doubted_signals, node_signals, signal_values, to_raw


def test_names_of_a_small_site() -> None:
    values = signal_values(snapshot(7), decision(7), {"soc_pct": 55.5, "price.eur_per_kwh": None})
    assert values == {
        "grid.w": 7.0,
        "grid.hz": 50.012,
        "grid.v1": 230.12,
        "grid.v2": 230.12,
        "grid.v3": 230.12,
        "grid.import_wh": None,
        "grid.export_wh": None,
        "load.w": 30_000.0,
        "site_load.w": 9_007.0,
        "pcs.w": 5_000.0,
        "pcs1.w": 5_000.0,
        "pcs1.setpoint_w": 5_100.0,
        "soc_pct": 55.5,
        "bat1.soc_pct": 55.5,
        "bat1.temp_c": 25.3,
        "pv.w": 4_000.0,
        "pv1.w": 4_000.0,
        "nodes.w": 3_100.0,
        "gpu-01.w": 1_500.0,
        "gpu-02.w": 1_600.0,
        "decision.battery_w": 5_000.0,
        "decision.import_target_w": 21_000.0,
        "price.eur_per_kwh": None,
    }


def test_a_ups() -> None:
    ups = Ups("ups1", status("OB DISCHRG"), reading(1_230.0), reading(41.0), reading(64.0), reading(1_140.0))
    site = msgspec.structs.replace(snapshot(1), ups=(ups, Ups("price", status=Status("OL", 60.0, Quality.STALE))))
    values = {name: value for name, value in signal_values(site, None).items() if name.startswith(("ups1", "device:"))}
    assert values == {
        "ups1.w": 1_230.0,
        "ups1.load_pct": 41.0,
        "ups1.charge_pct": 64.0,
        "ups1.runtime_s": 1_140.0,
        "ups1.on_battery": 1.0,
        **dict.fromkeys(f"device:price.{name}" for name in ("w", "load_pct", "charge_pct", "runtime_s", "on_battery")),
    }
    assert [definition(f"ups1.{name}").unit for name in ("w", "runtime_s", "charge_pct", "on_battery")] == [
        "W", "s", "%", "",
    ]  # fmt: skip


def test_a_switch_that_tells_its_source() -> None:
    genset, grid = Switch("pcc", source=status("genset")), Switch("a", source=status("grid"))
    stale = Switch("b", source=Status("genset", 60.0, Quality.STALE))
    site = msgspec.structs.replace(snapshot(1), switches=(genset, grid, stale, Switch("c")))
    values = {name: value for name, value in signal_values(site, None).items() if name.endswith("on_genset")}
    assert values == {"pcc.on_genset": 1.0, "a.on_genset": 0.0, "b.on_genset": None}


def test_what_a_bms_tells_of_contactor_isolation_and_cooling() -> None:
    said = {"contactor": status("open"), "isolation": status("ok"), "isolation_ohm": reading(180_000.0)}
    battery = Battery("bat1", cooling=Status("fault", 60.0, Quality.STALE), **said)  # type: ignore[arg-type]
    values = signal_values(msgspec.structs.replace(snapshot(1), batteries=(battery, Battery("bat2"))), None)
    names = ("contactor_open", "isolation_fault", "isolation_ohm", "cooling_fault")
    assert [values[f"bat1.{name}"] for name in names] == [1.0, 0.0, 180_000.0, None]
    assert not [name for name in values if name.startswith("bat2.") and name.endswith(names)], "it tells none of them"
    assert definition("bat1.isolation_ohm")[1:] == ("Ohm", 1.0, "measured")


def test_a_stale_or_missing_reading_is_none_and_takes_its_sums_with_it() -> None:
    stale = Reading(1_500.0, 9.0, Quality.STALE)
    site = msgspec.structs.replace(snapshot(1, missing=True), nodes=(Node("a", w=stale), Node("b", w=reading(1.0))))
    values = signal_values(site, None)
    assert values["grid.w"] is None
    assert values["site_load.w"] is None
    assert values["a.w"] is None
    assert values["nodes.w"] is None
    assert values["b.w"] == 1.0
    assert values["decision.battery_w"] is None


def test_a_device_named_like_a_sum_does_not_overwrite_it() -> None:
    site = msgspec.structs.replace(snapshot(1), nodes=(Node("pcs", w=reading(1.0)),))
    values = signal_values(site, None)
    assert values["pcs.w"] == 5_000.0
    assert values["device:pcs.w"] == 1.0


@pytest.mark.parametrize(
    ("name", "unit", "scale", "kind"),
    [
        ("grid.w", "W", 1.0, "measured"),
        ("grid.v3", "V", 0.01, "measured"),
        ("bat1.soc_pct", "%", 0.01, "measured"),
        ("soc_pct", "%", 0.01, "derived"),
        ("grid.import_wh", "Wh", 10.0, "measured"),
        ("decision.battery_w", "W", 1.0, "decided"),
        ("price.eur_per_kwh", "EUR/kWh", 1e-6, "given"),
        ("price.market_eur_per_mwh", "EUR/MWh", 0.001, "given"),
        ("carbon.g_per_kwh", "g/kWh", 0.01, "given"),
        ("tick.lateness_ms", "ms", 0.001, "given"),
        ("rack.10.w", "W", 1.0, "measured"),
        ("tick.overruns", "", 0.001, "given"),
    ],
)
def test_unit_and_resolution_come_from_the_name(name: str, unit: str, scale: float, kind: str) -> None:
    assert definition(name) == (name, unit, scale, kind)


@given(st.one_of(st.none(), st.floats()), st.sampled_from(["x.w", "x.hz", "x.soc_pct", "price.eur_per_kwh"]))
def test_a_value_comes_back_to_its_resolution_or_is_missing(value: float | None, name: str) -> None:
    scale = definition(name).scale
    with closing(sqlite3.connect(":memory:")) as con:
        con.execute("CREATE TABLE dictionary AS SELECT 1 AS id, ? AS sids", (sids_blob([7, 9]),))
        rows = [[MISSING, to_raw(value, scale)], [5, MISSING]]
        (segment,) = segments_of(con, [(0, 1_000_000, 1, struct.pack("<2q", 8, 9), packed(rows, [(), ()]))])
    columns = segment.column(7), segment.column(9)
    assert columns[0] is not None
    assert columns[1] is not None
    assert list(segment.times_us()) == [8, 9]
    assert list(columns[0].raw) == [MISSING, 5]
    raw, last = columns[1].raw
    assert last == MISSING
    if value is None or not math.isfinite(value) or abs(value) > (2**31 - 1.5) * scale:
        assert raw == MISSING or abs(value or 0) <= 2**31 * scale
        assert to_raw(value, scale) == MISSING or raw != MISSING
    else:
        assert raw * scale == pytest.approx(value, abs=scale * 0.51)


def test_a_row_knows_which_of_its_values_are_doubted() -> None:
    with closing(sqlite3.connect(":memory:")) as con:
        con.execute("CREATE TABLE dictionary AS SELECT 1 AS id, ? AS sids", (sids_blob([4, 5, 6]),))
        v = packed([[1, MISSING, 3], [1, MISSING, 3]], [(), (0, 2)])
        (segment,) = segments_of(con, [(0, 1_000_000, 1, struct.pack("<2q", 0, 1), v)])
    assert [segment.column(sid).quality for sid in (4, 5, 6)] == [bytes([0, 2]), b"", bytes([0, 2])]  # type: ignore[union-attr]
    assert segment.column(7) is None
    suspect = Reading(1_500.0, 2.0, Quality.SUSPECT)
    site = msgspec.structs.replace(snapshot(1), nodes=(Node("grid", w=suspect), Node("b", w=reading(1.0))))
    assert doubted_signals(site) == {"device:grid.w"}
    assert node_signals(site) == {"device:grid.w", "b.w"}


@pytest.mark.parametrize(
    ("times", "v", "told"),
    [
        (bytes(8), zlib.compress(bytes(7)), "7 bytes, 8 expected"),
        (bytes(8), zlib.compress(bytes(10**7)), "17 bytes, 8 expected"),
        (bytes(8), b"nonsense", "damaged"),
        (bytes(7), zlib.compress(bytes(8)), "0 bytes|8 bytes, 0 expected|buffer"),
        (None, zlib.compress(bytes(8)), "1 bytes, 0 expected"),
    ],
)
def test_a_row_that_no_version_has_written_is_damaged(times: bytes | None, v: bytes, told: str) -> None:
    with closing(sqlite3.connect(":memory:")) as con:
        con.execute("CREATE TABLE dictionary AS SELECT 1 AS id, ? AS sids", (sids_blob([1, 2]),))
        with pytest.raises(DAMAGED, match=told):
            list(segments_of(con, [(0, 1_000_000, 1, times, v)]))


@pytest.mark.parametrize("w", [5_000.04, None])
def test_a_decision_comes_back_with_its_chain(w: float | None) -> None:
    stored = decision_of(decision_row(decision(3, w)))
    expected = decision(3, None if w is None else 5_000.0)
    assert stored == expected
    assert stored.chain[0].high_w == math.inf
