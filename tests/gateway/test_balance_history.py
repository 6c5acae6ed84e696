"""When a battery was full last, from what is on record."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest
from iq_days import CONFIG, record

from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.model.balancing import BalanceMemory
from gateway.balance_history import last_full_utc_s, read_balanced
from gateway.energy_iq_history import local_day
from storage.reader import Archive, RecordDamaged

BEGIN, _ = local_day(date(2025, 9, 16), "Europe/Berlin")
HOUR_S = 3600


def balanced(mark_pct: float, hold_s: float = 1800.0) -> DispatchConfig:
    battery = msgspec.structs.replace(
        CONFIG.batteries[0], balance_every_days=2.0, balance_soc_pct=mark_pct, balance_hold_s=hold_s
    )
    return msgspec.structs.replace(CONFIG, batteries=(battery,))


def test_the_record_tells_when_it_was_full(tmp_path: Path) -> None:
    """Charged with 9.4 kWh an hour from 01:00 to 03:00 UTC, and left so."""
    record(tmp_path, BEGIN, BEGIN + 8 * HOUR_S)
    now_s = float(BEGIN + 8 * HOUR_S)
    found, why = read_balanced(tmp_path, balanced(65.0), now_s, {})
    assert why == ""
    assert found["bat1"].seen
    assert found["bat1"].since_utc_s == now_s
    assert read_balanced(tmp_path, balanced(65.0), now_s, found) == ({}, ""), "the memory tells already"
    assert read_balanced(tmp_path, balanced(65.0), now_s, {"bat1": BalanceMemory(now_s, False)})[0] == found
    assert read_balanced(tmp_path, balanced(80.0), now_s, {}) == ({}, "")
    assert read_balanced(tmp_path, balanced(65.0), now_s + 3 * 86_400, {}) == ({}, ""), "longer ago than it counts"
    assert read_balanced(tmp_path, CONFIG, now_s, {}) == ({}, "")


def test_without_a_record_nothing_is_known_and_a_damaged_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_balanced(tmp_path, balanced(65.0), float(BEGIN), {}) == ({}, "")

    def damaged(*_: object) -> None:
        raise RecordDamaged("a row of it is damaged")

    monkeypatch.setattr(Archive, "history", damaged)
    found, why = read_balanced(tmp_path, balanced(65.0), float(BEGIN), {})
    assert found == {}
    assert "cannot be read" in why


@pytest.mark.parametrize(
    ("hold_s", "soc_pct", "last"),
    [
        (1800.0, [100.0, 100.0, 90.0], 1800.0),
        (1800.0, [100.0, 90.0, 100.0], None),
        (1800.0, [100.0, None, 100.0, 99.6], 3600.0),
        (0.0, [90.0, 100.0], 1800.0),
        (1800.0, [99.4, 99.4], None),
    ],
)
def test_it_must_stay_full_for_long_enough(hold_s: float, soc_pct: list[float | None], last: float | None) -> None:
    battery = BatteryConfig(id="bat1", energy_kwh=100, balance_every_days=2.0, balance_hold_s=hold_s)
    assert last_full_utc_s(battery, [900.0 * k for k in range(len(soc_pct))], soc_pct, 900.0) == last
