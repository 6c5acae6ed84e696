"""`skerry status` names each PV inverter that is limited, and why."""

from __future__ import annotations

import msgspec

from console.cli.status_text import lines
from dispatch.model.decision import PvLimit
from dispatch.model.jobs import QueueNow
from dispatch.model.readings import status
from dispatch.model.reasons import Reason
from gateway.api.protocol import Welcome
from tests.console.cli.conftest import NOON_UTC_S, PUBLISHED, QUEUE

WHY = Reason("curtail.export", {"limit_w": 8_000.0, "load_w": 3_000.0, "charge_w": 0.0, "export_w": 5_000.0})


def test_limits_of_pv_are_shown() -> None:
    limits = (PvLimit("roof", 7_800.0, WHY), PvLimit("barn", None, Reason("curtail.none", {"room_w": 90_000.0})))
    decision = msgspec.structs.replace(PUBLISHED.decision, pv_limits=limits)
    welcome = Welcome(1, "Fjord One", "Europe/Berlin", "ada", 1, NOON_UTC_S, 1.0, True, 5.0)
    shown = [
        line for line in lines(msgspec.structs.replace(PUBLISHED, decision=decision), welcome) if "Limited" in line
    ]
    assert shown == [
        "Limited   roof to 7.8 kW: PV at most 8.0 kW in all: the rest of the site takes 3.0 kW, "
        "the battery can take 0.0 kW, export at most 5.0 kW"
    ]


def test_what_is_estimated_and_what_a_bms_reports_is_shown() -> None:
    snapshot = PUBLISHED.snapshot
    pcs = tuple(msgspec.structs.replace(p, w_estimated=True) for p in snapshot.pcs)
    told = {"contactor": status("open"), "alarms": ("over_temp_alarm",)}
    batteries = tuple(msgspec.structs.replace(b, **told) for b in snapshot.batteries)  # type: ignore[arg-type]
    changed = msgspec.structs.replace(snapshot, pcs=pcs, batteries=batteries)
    welcome = Welcome(1, "Fjord One", "Europe/Berlin", "ada", 1, NOON_UTC_S, 1.0, True, 5.0)
    text = "\n".join(lines(msgspec.structs.replace(PUBLISHED, snapshot=changed), welcome))
    assert "estimated by the battery's DC power" in text
    assert ", contactor open, BMS: over temp alarm" in text
    before = "\n".join(lines(PUBLISHED, welcome))
    assert "estimated by" not in before
    assert "contactor" not in before


def test_each_queue_and_whether_it_is_read_is_a_line() -> None:
    welcome = Welcome(1, "Fjord One", "Europe/Berlin", "ada", 1, NOON_UTC_S, 1.0, True, 5.0)
    lost = QueueNow(scheduler="beta", read_utc_s=NOON_UTC_S - 600, age_s=600.0, error="squeue: no answer")
    text = list(lines(msgspec.structs.replace(PUBLISHED, queues=(QUEUE, lost)), welcome))
    assert "Jobs      alpha: 1 running on 4 GPUs, 2 waiting, read 20 s ago" in text
    assert "          beta: 0 running, 0 waiting, read 10 min ago, NOT READ: squeue: no answer" in text
