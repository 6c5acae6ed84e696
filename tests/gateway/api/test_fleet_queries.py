"""What a gateway tells whoever looks after many sites: a line of figures, without a name of a user, job or node."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import msgspec
import pytest
from small_gateway import Running, small_site

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.events import Event
from gateway.api.client import GatewayClient
from gateway.api.fleet_queries import FleetQueries
from gateway.api.site_overview import SiteOverview, kinds_of
from gateway.errors import RequestFailed
from storage.outgoing import OutgoingEvent
from storage.signals import definition


async def test_the_overview_of_a_site_that_runs(there: Running, client: GatewayClient) -> None:
    answer = await client.request("fleet.now")
    found = msgspec.convert(answer, SiteOverview)
    published = there.gateway.loop.published
    assert published is not None
    assert (found.site, found.island, found.mode) == ("Small", "grid-tied", published.decision.mode.value)
    assert found.import_w.good == pytest.approx(20_000.0 - there.devices.pcs_w)
    assert (found.soc_pct.good, found.energy_kwh, found.stored_kwh) == (60.0, 100.0, 60.0)
    assert (found.load_w, found.nodes_w, found.nodes, found.jobs_running) == (20_000.0, 4_090.0, 2, None)
    assert (found.pv_w, found.contracted_w) == (None, 30_000.0)
    assert "gpu-01" not in str(answer)


async def test_audits_head_and_a_row_kept_elsewhere(there: Running, client: GatewayClient) -> None:
    await client.request("order.set", kind="hold", reason="for a row")
    rows = await client.request("audit")
    answer = await client.request("fleet.head", seq=rows[0]["seq"])
    assert answer["row"] == rows[0]["sha256"]
    assert answer["head"] == f"{rows[-1]['seq']}:{rows[-1]['sha256']}"
    assert (await client.request("fleet.head", seq=999))["row"] is None
    page = await client.request("fleet.blocks", after_seq=0)
    assert page["blocks"] == []
    assert (await client.request("fleet.quarters", after_t=0))["rows"] == []


async def test_a_hold_is_noted_for_the_user_who_asks(there: Running, client: GatewayClient) -> None:
    assert await client.request("fleet.hold", hub="ops\n1", seq=7) == {"seq": 7}
    with closing(sqlite3.connect(there.directory / "telemetry.db")) as con:
        assert con.execute("SELECT name, seq FROM hold").fetchall() == [(f"{client.welcome.user}/ops 1", 7)]
    with pytest.raises(RequestFailed, match="expected a number of 64 bits"):
        await client.request("fleet.hold", hub="x", seq=2**63)


def test_no_signal_of_a_node_may_leave(tmp_path: Any) -> None:
    unused: Any = None
    site = small_site(tmp_path, pv=[{"id": "grid2", "url": "tcp://127.0.0.1:1", "peak_w": 1000}])
    queries = FleetQueries(site, unused, tmp_path, loop=unused, records=unused, hold=unused)
    leave = {
        name: queries._may_leave(definition(name))
        for name in (
            *("grid.w", "load.w", "site_load.w", "nodes.w", "pcs1.w", "bat1.soc_pct", "grid2.w", "price.eur_per_kwh"),
            *("month.peak_w", "decision.able", "soc_pct", "gpu-01.w", "here.w", "gpu-01.GPU-4f2a.util_pct"),
            *("device:grid.w", "device:nodes.w", "anna.w"),
        )
    }
    assert [name for name, may in leave.items() if not may] == [
        *("gpu-01.w", "here.w", "gpu-01.GPU-4f2a.util_pct", "device:nodes.w", "anna.w"),
    ]


async def test_events_leave_without_text_and_who(there: Running, client: GatewayClient) -> None:
    await client.request("order.set", kind="hold", reason="anna's reason")
    event = Event(1.0, "device", "warning", "gpu-01", "anna's node")
    await asyncio.wrap_future(there.gateway.events.note(event, durable=True))
    found = await client.request("fleet.events", after_id=0)
    assert [event["id"] for event in found] == sorted(event["id"] for event in found)
    assert {event["kind"] for event in found} >= {"device", "command"}
    assert "anna" not in str(found)
    assert "gpu-01" not in str(found)
    assert await client.request("fleet.events", after_id=found[-1]["id"]) == []


def test_what_events_are_about_is_told_of_alarms_rules_and_power_devices_only(tmp_path: Any) -> None:
    unused: Any = None
    queries = FleetQueries(small_site(tmp_path), unused, tmp_path, loop=unused, records=unused, hold=unused)
    told = {
        (kind, subject): queries._told(OutgoingEvent(1, 0, kind, "info", subject)).subject
        for kind, subject in (
            *(("alarm", "node-lost:anna"), ("device", "pcs1"), ("device", "gpu-01"), ("rule", "fuse")),
            *(("command", "anna"), ("node", "gpu-01"), ("island", "islanded"), ("gateway", "slurm-of-anna")),
        )
    }
    assert {key: subject for key, subject in told.items() if subject} == {
        ("alarm", "node-lost:anna"): "node-lost",
        ("device", "pcs1"): "pcs1",
        ("rule", "fuse"): "fuse",
        ("island", "islanded"): "islanded",
    }


def test_alarms_are_told_by_kind_without_whose_they_are() -> None:
    def alarm(id: str, priority: Priority, state: AlarmState, since: float) -> Alarm:
        return Alarm(id, priority, state, since)

    low, high, medium = Priority.LOW, Priority.HIGH, Priority.MEDIUM
    found = kinds_of(
        [
            alarm("node-lost:anna", low, AlarmState.ACKNOWLEDGED, 1.0),
            alarm("device-lost:pcs1", medium, AlarmState.RETURNED, 5.0),
            alarm("device-lost:grid", medium, AlarmState.UNACKNOWLEDGED, 4.0),
            alarm("grid-lost", high, AlarmState.ACKNOWLEDGED, 3.0),
            alarm("old", high, AlarmState.NORMAL, 3.0),
        ]
    )
    assert [(k.kind, k.active, k.waiting, k.since_utc_s) for k in found] == [
        ("device-lost", 1, 2, 4.0),
        ("grid-lost", 1, 0, 3.0),
        ("node-lost", 1, 0, 1.0),
    ]


@pytest.mark.parametrize(
    ("method", "asked"), [("fleet.blocks", {"after_seq": 2**63}), ("fleet.quarters", {"after_t": 2**64 - 1})]
)
async def test_a_number_that_is_none_is_no_damaged_record(client: GatewayClient, method: str, asked: Any) -> None:
    with pytest.raises(RequestFailed, match="bad parameters: expected a number of 64 bits"):
        await client.request(method, **asked)
