"""Signals of GPUs: one sample a minute, bounded, with their quality; those of GPUs that are gone take no place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import snapshot

from dispatch.model.equipment import Gpu, Node
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.snapshot import Snapshot
from storage import resolution, schema
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.reader import Archive
from storage.recorder import nobody
from storage.signals import definition, gpu_readings, signal_values

T0 = 1_758_005_100  # a quarter hour, UTC s


def gpu(uuid: str, w: float, util: Reading | None = None) -> Gpu:
    return Gpu(0, "H200", w=reading(w), temp_c=reading(61.25), util_pct=util or reading(97.0), uuid=uuid)


def tick(n: int, *gpus: Gpu, nodes: int = 1) -> Snapshot:
    """Second n of a site whose nodes have these GPUs."""
    made = tuple(Node(f"n{k}", w=reading(1.0), gpus=gpus) for k in range(nodes))
    return msgspec.structs.replace(snapshot(5 * n, T0 + n), mono_s=float(n), nodes=made)


class Site:
    def __init__(self, directory: Path) -> None:
        self.directory, self.intake = directory, Intake(StorageConfig(), 250.0)
        self.file = TelemetryFile(directory / schema.FILE, "boot", nobody)
        self.file.ensure_open(T0)

    def take(self, site: Snapshot) -> None:
        self.intake.take(site, None, None)
        if site.seq % 100 == 0:
            self.write()

    def write(self) -> None:
        self.file.write(self.intake, whole=False)
        self.intake.written(whole=False)


def test_a_gpu_has_power_temperature_and_utilisation() -> None:
    site = tick(0, gpu("GPU-a", 412.0), Gpu(7, "old", w=reading(90.0)))
    assert {name: value.good for name, value in gpu_readings(site).items()} == {
        "n0.GPU-a.w": 412.0,
        "n0.GPU-a.temp_c": 61.25,
        "n0.GPU-a.util_pct": 97.0,
        "n0.gpu7.w": 90.0,
        "n0.gpu7.temp_c": None,
        "n0.gpu7.util_pct": None,
    }
    assert [definition(name)[1:] for name in list(gpu_readings(site))[:3]] == [
        ("W", 1.0, "measured"),
        ("°C", 0.1, "measured"),
        ("%", 0.01, "measured"),
    ]
    assert not [name for name in signal_values(site, None) if "GPU" in name], "a tick does not look at each GPU"


def test_a_sample_a_minute_however_much_room_there_is(tmp_path: Path) -> None:
    site, doubted = Site(tmp_path), Reading(50.0, 1.0, Quality.SUSPECT)
    for n in range(1_000):
        site.take(tick(n, gpu("GPU-a", 400.0 + n, doubted if n >= 540 else None)))
    site.write()
    archive = Archive(tmp_path)
    chart = archive.history(["n0.GPU-a.w"], T0, T0 + 960, 60)["signals"]["n0.GPU-a.w"]
    assert chart == [400.0 + 60 * k for k in range(16)]
    assert archive.at(T0 + 530).values["n0.GPU-a.util_pct"].quality is Quality.GOOD
    now = archive.at(T0 + 599).values
    assert (now["n0.GPU-a.util_pct"].value, now["n0.GPU-a.util_pct"].quality) == (50.0, Quality.SUSPECT)
    assert (now["n0.GPU-a.w"].value, now["n0.GPU-a.w"].age_s) == (940.0, 59.0)
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        fine = con.execute("SELECT count(*) FROM r1m JOIN signal ON id = sid WHERE name = 'n0.w'").fetchone()
        none = con.execute("SELECT count(*) FROM r1m JOIN signal ON id = sid WHERE name LIKE '%GPU%'").fetchone()
    assert (fine[0] > 10, none[0]) == (True, 0)
    assert site.file.pack(T0 + 2_000)
    quarter = archive.history(["n0.GPU-a.w"], T0, T0 + 900, 900)["signals"]["n0.GPU-a.w"]
    assert quarter == [pytest.approx(400 + 7 * 60, abs=1)]
    site.file.abandon()


def test_they_come_after_the_nodes_and_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "FINE", 30)
    monkeypatch.setattr(resolution, "COARSE", 40)
    site = Site(tmp_path)
    gpus = [gpu(f"GPU-{k}", 100.0) for k in range(4)]
    for n in range(62):
        site.take(tick(n, *gpus, nodes=20))
    layouts = site.intake.resolutions
    others = len(signal_values(tick(0, *gpus, nodes=20), None))
    assert others > 30, "some nodes do not fit among the first"
    assert (len(layouts.fine.names), len(layouts.coarse.names)) == (30, 40)
    assert layouts.left_out == others + 20 * 4 * 3 - 70
    assert [name for name in layouts.coarse.names if "GPU" not in name] == list(layouts.coarse.names[: others - 30])
    site.file.abandon()


def test_a_gpu_that_is_gone_takes_no_place_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that gives another UUID at each start must not fill the record either."""
    monkeypatch.setattr(resolution, "FORGET_S", 300.0)
    site = Site(tmp_path)
    for n in range(0, 3_000, 20):
        site.take(tick(n, gpu(f"GPU-{n // 200}", 1.0)))
    assert len(site.intake.resolutions.coarse.names) <= 3 * 4
    for n in range(3_000, 3_600, 20):
        site.take(tick(n))
    assert site.intake.resolutions.coarse.names == ()
    assert not [name for name in site.intake.resolutions.recorded if "GPU" in name]
    site.file.abandon()
