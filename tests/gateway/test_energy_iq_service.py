"""A gateway that ticks tells yesterday's Energy IQ to consoles and to whoever asks, from what is on record."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from iq_days import record
from small_gateway import running
from waiting import LIMIT_S

from gateway import energy_iq_service
from gateway.api.client import GatewayClient
from gateway.api.protocol import IqNow
from gateway.energy_iq_history import ABLE, ORDERED, Report, local_day, today
from gateway.errors import RequestFailed
from storage.reader import Archive

ZONE = "Europe/Berlin"  # of the small site


@pytest.mark.parametrize(
    ("month_pct", "known_h", "alarmed"), [(-4.0, 30.0, -3.5), (-4.0, 10.0, None), (None, 30.0, None)]
)
async def test_a_month_that_loses_money_reaches_the_alarms_once_a_day_is_known(
    month_pct: float | None, known_h: float, alarmed: float | None
) -> None:
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        async with running(Path(name), Path(name) / "s.sock") as there:
            there.gateway.iq.now = IqNow(
                0.0, "2025-09-16", month_pct=month_pct, month_known_h=known_h, month_saved_eur=-3.5
            )
            assert there.gateway.loop._facts().month_saved_eur == alarmed


async def test_consoles_see_yesterday_and_anybody_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_iq_service, "FIRST_S", 0.0)
    yesterday = today(time.time(), ZONE) - timedelta(days=1)
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:  # a short path: a socket lives in it
        directory = Path(name)
        await asyncio.to_thread(record, directory, *local_day(yesterday, ZONE))
        async with running(directory, directory / "s.sock") as there:
            async with asyncio.timeout(LIMIT_S):
                while (told := (await there.gateway.loop.next_tick()).iq) is None:
                    pass
            assert told.yesterday_pct is not None
            assert told.today_pct is None  # nothing of it is on record
            client = await GatewayClient.connect(there.socket, 0.0)
            try:
                report = msgspec.convert(await client.request("iq"), Report)
                assert report.day == yesterday.isoformat()
                assert report.iq.iq_pct == told.yesterday_pct
                assert report.iq.loss is not None
                with pytest.raises(RequestFailed, match="expected a day that has begun"):
                    await client.request("iq", day=(yesterday + timedelta(days=9)).isoformat())
                with pytest.raises(RequestFailed, match="iq: bad parameters"):
                    await client.request("iq", day="soon")
                await client.request("order.set", kind="hold", reason="test")
                for _ in range(3):
                    await there.gateway.loop.next_tick()
            finally:
                await client.close()
        archive = Archive(directory)
        now = int(time.time()) // 60 * 60
        ended = archive.minutes([ABLE, ORDERED], now - 120, now + 60)
        newest = max(ended[ORDERED])
        assert (ended[ABLE][newest][1], ended[ORDERED][newest][1]) == (1.0, 1.0)
        assert min(mean for mean, _ in ended[ORDERED].values()) < 1.0  # not from the start
        assert list(archive.last_state(energy_iq_service.STATE)) == [yesterday.isoformat()]
        archive.close()
