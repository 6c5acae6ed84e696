"""What is believed of an SoC's error, and how far: unit by unit; against the twin it is tests/drivers/twin."""

from __future__ import annotations

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.off_grid import RideThroughConfig
from dispatch.config.schema import DispatchConfig
from dispatch.islanding.runtime_estimator import RuntimeEstimator
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot

WH_PER_PCT = 940.0  # of the small site's 100 kWh through its discharge efficiency


def config() -> DispatchConfig:
    return msgspec.structs.replace(site_config(), ride_through=RideThroughConfig(cutoff_pct=2.0))


def at(
    t_s: float, soc_pct: float, w: float, charge_w: float = 50e3, discharge_w: float = 60e3, c: float = 20.0
) -> Snapshot:
    limits = {"charge_limit_w": reading(charge_w), "discharge_limit_w": reading(discharge_w), "temp_c": reading(c)}
    return a_snapshot(t_s, 0.0, a_pcs(w), a_battery(soc_pct, **limits), switch="open")


def fed(*snapshots: Snapshot) -> tuple[RuntimeEstimator, list[str]]:
    energy, said = RuntimeEstimator(config()), []
    for snapshot in snapshots:
        if text := energy.update(snapshot, snapshot.batteries[0].soc_pct.good):
            said.append(text)
    return energy, said


def test_a_full_battery_shows_the_error_and_the_low_estimate_does_not_trust_it_upwards() -> None:
    before, _ = fed(*(at(t, 96.0, 0.0) for t in (0.0, 1.0)))
    energy, said = fed(*(at(float(t), 96.0, 0.0, charge_w=0.0) for t in range(12)))
    assert said == ["SoC reads -4.0 points wrong (it is full); remaining runtime is worked out anew"]
    best, low, reported_low = energy.usable_wh(), energy.low_wh(), before.low_wh()
    assert best == pytest.approx(98 * WH_PER_PCT)
    assert low is not None
    assert reported_low is not None
    assert low <= 94 * WH_PER_PCT, "no more than what is reported"


@pytest.mark.parametrize(
    "snapshot", [{"charge_w": 0.0, "c": 41.0}, {"charge_w": 0.0, "c": 4.0}, {"charge_w": 5_000.0}], ids=str
)
def test_limits_for_the_temperatures_sake_and_a_taper_are_no_full_battery(snapshot: dict[str, float]) -> None:
    _, said = fed(*(at(float(t), 97.0, 0.0, **snapshot) for t in range(20)))
    assert said == []


def test_a_charge_limit_that_reads_0_for_a_moment_is_no_full_battery() -> None:
    energy, said = fed(*(at(float(t), 96.0, 0.0, charge_w=0.0 if 10 <= t < 19 else 50e3) for t in range(40)))
    assert (said, energy.memory().offset_pct) == ([], 0.0)


def test_a_missing_soc_goes_on_by_energy() -> None:
    snapshots = [at(float(t), 60.0 - 9_400 / 3600 / WH_PER_PCT * t, 9_400.0) for t in range(5)]
    energy, _ = fed(*snapshots)
    for t in range(5, 365):
        assert energy.update(at(float(t), 0.0, 9_400.0), None) == ""
    assert energy.soc_pct == pytest.approx(59.0, abs=0.02)
    assert energy.update(at(365.0, 59.0, 9_400.0), 59.0) == ""


@pytest.mark.parametrize("state", ["stands_still", "carried"])
def test_a_count_of_energy_is_neither_a_recalibration_nor_a_lesson(state: str) -> None:
    def counted(snapshot: Snapshot) -> Snapshot:
        battery = msgspec.structs.replace(snapshot.batteries[0], soc_state=state)
        return msgspec.structs.replace(snapshot, batteries=(battery,))

    energy, said = fed(*(at(float(t), 60.0, 9_400.0) for t in range(5)))
    for t in range(5, 400):
        snapshot = counted(at(float(t), 57.0 - 2 * 9_400 / 3600 / WH_PER_PCT * (t - 5), 9_400.0))
        said.append(energy.update(snapshot, snapshot.batteries[0].soc_pct.good))
    assert set(said) == {""}
    assert (energy.learnt_pct, energy.soc_error_pct) == (0.0, 5.0)


def test_a_recalibration_is_trusted_once_more_than_the_report_says_so() -> None:
    def at_30(t: int, state: str) -> Snapshot:
        snapshot = at(float(t), 30.0, 0.0)
        battery = msgspec.structs.replace(snapshot.batteries[0], soc_state=state)
        return msgspec.structs.replace(snapshot, batteries=(battery,))

    energy, said = fed(*(at(float(t), 60.0, 0.0) for t in range(3)), *(at_30(t, "alone") for t in range(3, 9)))
    assert said == ["SoC now 30.0 %, remaining runtime is worked out anew"]
    assert energy.soc_error_pct == 5.0
    energy.update(at_30(9, "reported"), 30.0)
    assert energy.soc_error_pct == 1.5


def test_a_battery_far_from_full_that_takes_nothing_is_not_full() -> None:
    _, said = fed(*(at(float(t), 70.0, 0.0, charge_w=0.0) for t in range(20)))
    assert said == []


def falling(from_pct: float, w: float, limit_w: float, by_w: float, seconds: int = 120) -> list[Snapshot]:
    """Discharging while the limit falls by so much a second."""
    per_s = w / 3600 / WH_PER_PCT
    return [at(float(t), from_pct - per_s * t, w, discharge_w=(limit_w - by_w * t) / 0.94) for t in range(seconds)]


def test_limits_that_fall_tell_how_much_is_left() -> None:
    """At 30 kW the limit of 58 kW falls by 200 W a second: in 140 s it is down at what is drawn."""
    energy, said = fed(*falling(8.0, 30_000.0, 58_000.0, 200.0))
    assert len(said) == 1
    assert "nearly empty" in said[0]
    left_s = 3600 * (energy.usable_wh() or 0.0) / 30_000
    assert left_s == pytest.approx(140 - 119, abs=3)


def test_limits_that_fall_far_from_empty_say_nothing() -> None:
    energy, said = fed(*falling(40.0, 30_000.0, 58_000.0, 200.0))
    assert said == []
    assert energy.soc_error_pct == 5.0


def test_an_soc_that_stands_still_at_its_end_is_carried_on_by_energy() -> None:
    energy, _ = fed(*(at(float(t), 0.0 if t else 0.3, 9_400.0) for t in range(361)))
    assert energy.soc_pct == pytest.approx(0.3 - 1.0, abs=0.02)


def test_what_was_found_out_fades_and_outlives_a_restart() -> None:
    energy, _ = fed(*falling(8.0, 30_000.0, 58_000.0, 200.0))
    known = energy.soc_error_pct
    assert known < 2.0
    again = RuntimeEstimator(config())
    again.restore(energy.memory())
    soc = 60.0
    for t in range(1000, 5000, 4):
        again.update(at(float(t), soc, 60_000.0), soc)
        soc -= 60_000 * 4 / 3600 / WH_PER_PCT * (soc > 20)
    assert known < again.soc_error_pct <= 5.0
    assert again.memory().offset_pct == energy.memory().offset_pct
