"""What a tick may have published, for tests of outputs."""

from __future__ import annotations

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.decision import Decision, Mode, Setpoint
from dispatch.model.equipment import Battery, Meter, Pcs, Pv, Ups
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.snapshot import Snapshot
from gateway.api.protocol import LoopStats, Published, TariffNow

NOON_UTC_S = 1_757_930_400.0
LOST = Alarm(
    "device-lost:pv1",
    Priority.MEDIUM,
    AlarmState.UNACKNOWLEDGED,
    NOON_UTC_S - 60,
    Reason("alarm.silent", {"silent_s": 60.0}),
)
PUBLISHED = Published(
    snapshot=Snapshot(
        seq=7,
        utc_s=NOON_UTC_S,
        mono_s=100.0,
        grid=Meter(
            "grid",
            w=reading(21_400.0),
            v=(reading(230.0), reading(231.0), reading(232.0)),
            import_wh=reading(1_000.0),
            export_wh=reading(50.0),
        ),
        pcs=(Pcs("pcs1", w=reading(12_000.0)),),
        batteries=(Battery("bat1", soc_pct=reading(54.3)),),
        pv=(Pv("pv1", w=Reading(8_200.0, 3.2, Quality.STALE)),),
        ups=(Ups("ups1", w=reading(900.0), charge_pct=reading(97.0)),),
    ),
    decision=Decision(
        seq=7,
        utc_s=NOON_UTC_S,
        mode=Mode.RULES,
        island=IslandState.GRID_TIED,
        setpoints=(Setpoint("pcs1", 12_000.0),),
        battery_w=12_000.0,
        net_load_w=33_400.0,
        import_target_w=None,
        binding=RuleId.IDLE,
        reason=plain("idle"),
    ),
    alarms=(LOST,),
    interval=Interval(NOON_UTC_S - 180, 900.0, 2_100.0, 0.0, 32_000.0, 29_500.0),
    month_peak_w=31_000.0,
    tariff=TariffNow(0.182),
    loop=LoopStats(ticks=500, lateness_p999_ms=3.1),
)


class Events:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.told.append((subject, text))

    def note(self, event: object, durable: bool = False) -> None:
        raise AssertionError("nothing here waits for the record")
