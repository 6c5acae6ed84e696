"""`skerry status --at`: what is on record of a moment, with its quality, and why something is not."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from console.cli.status_at import SHOWN, lines
from dispatch.alarms.states import AlarmState
from dispatch.model.readings import Quality
from storage.moment import Gap, Moment, PastAlarm, Value
from tests.console.cli.conftest import DECISION, NOON_UTC_S

BERLIN = ZoneInfo("Europe/Berlin")
MOMENT = Moment(
    NOON_UTC_S,
    "raw",
    {
        "grid.w": Value(21_400.0, "W", Quality.GOOD, 0.4),
        "pcs.w": Value(-5_000.0, "W", Quality.STALE, 70.0),
        "pv.w": Value(None, "W", Quality.MISSING),
        "n\x1b1.w": Value(412.5, "W", Quality.SUSPECT, 3.0),
        "soc_pct": Value(54.3, "%", Quality.GOOD, 0.4),
    },
    (PastAlarm("device-lost:pv1", AlarmState.ACKNOWLEDGED, NOON_UTC_S - 60, "no good answer", "ada"),),
    DECISION,
    (Gap("1m", NOON_UTC_S - 3_600, NOON_UTC_S + 60, "disk-cap"),),
)


def test_values_have_their_quality() -> None:
    assert list(lines(MOMENT, BERLIN)) == [
        "2025-09-16 12:00:00 CEST · samples",
        "Gap       minutes from 2025-09-16 11:00:00 CEST to 2025-09-16 12:01:00 CEST were deleted before their time: "
        "they did not fit under disk_cap_mb",
        "Grid      21.4 kW import",
        "Battery    5.0 kW charge STALE 70 s",
        "PV           — kW missing",
        "Then      grid-tied, steered by the rules, no plan",
        "Why       discharging 12.0 kW: the interval's energy would not last",
        "Alarms    device-lost:pv1, since 11:59 CEST, acknowledged by ada: no good answer",
        "Signals   n�1.w    412.5 W SUSPECT 3 s",
        "          soc_pct  54.3 %",
    ]


def test_where_nothing_is_on_record_no_alarm_is_claimed() -> None:
    hole = msgspec.structs.replace(MOMENT, resolution="", values={}, decision=None, gaps=())
    told = {
        (None, None): "the record is empty",
        (None, NOON_UTC_S + 60): "nothing is kept before 2025-09-16 12:01:00 CEST",
        (NOON_UTC_S - 60, None): "the last row on record is of 2025-09-16 11:59:00 CEST",
        (
            NOON_UTC_S - 60,
            NOON_UTC_S + 60,
        ): "the row before it is of 2025-09-16 11:59:00 CEST, the next one of 2025-09-16 "
        "12:01:00 CEST: no gateway ran in between, or it could not write",
    }
    for (before, after), why in told.items():
        at = msgspec.structs.replace(hole, before_utc_s=before, after_utc_s=after)
        assert list(lines(at, BERLIN)) == [
            "2025-09-16 12:00:00 CEST · nothing is on record",
            f"Gap       {why}",
        ]


def test_a_mean_says_that_it_is_one_and_many_signals_are_cut() -> None:
    many = {f"n{n}.w": Value(float(n), "W", Quality.GOOD, 30.0) for n in range(SHOWN + 5)}
    shown = list(lines(msgspec.structs.replace(MOMENT, resolution="15m", values=many, alarms=()), BERLIN))
    assert "means of the quarter hour" in shown[0]
    assert "Alarms    none" in shown
    assert shown[-1] == "          and 5 more, see --json"
    assert len(shown) == 5 + SHOWN + 1
