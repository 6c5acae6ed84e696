"""Grid events through a gateway: over its socket, in the control loop, over a restart; what the audit keeps of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import running
from waiting import until

from dispatch.events.model import EventState, KeptEvents, Phase
from dispatch.model.reasons import RuleId
from dispatch.wording.catalogue import words
from gateway.api.client import GatewayClient
from gateway.errors import RequestFailed
from gateway.grid_events_in_force import STATE
from storage import audit_reader
from storage.reader import Archive


def texts(directory: Path, kind: str) -> list[str]:
    """Of the rows of a kind in the audit, oldest first."""
    return [row["text"] for row in audit_reader.rows(directory, 200) if row["kind"] == kind]


def state_in(answer: dict[str, Any]) -> EventState:
    return msgspec.convert(answer["state"], EventState)


async def test_an_event_steers_is_kept_over_a_restart_and_ends_in_steps(place: Path) -> None:
    async with running(place, place / "s.sock") as there:
        client, now_s = await GatewayClient.connect(there.socket, 0), there.clock.utc_s()
        asked = {"limit_w": 12_000.0, "end_utc_s": now_s + 600, "reason": "the utility called"}
        looked = await client.request("event.preview", **asked)
        assert (looked["event"]["id"], (await client.request("event.list"))["standing"]) == ("e1", [])
        state = state_in(await client.request("event.start", **asked, seen_utc_s=now_s))
        assert (state.event.id, state.phase, state.limit_w) == ("e1", Phase.HELD, 12_000)
        await until(lambda: there.devices.pcs_w == 8_375)
        published = await there.gateway.loop.next_tick()
        assert published.decision.binding is RuleId.SIGNALS
        assert "grid event e1 (limit 12.0 kW): import at most 11.6 kW" in words(published.decision.reason)
        assert published.grid_events[0].event.who == state.event.who
        planned = there.gateway.grid_events.ahead()
        assert [s.limit_w for s in planned] == [12_000, 21_000], "to the contract of 30 kW, half of it in the mean"
        await client.close()
    with closing(Archive(place)) as archive:
        kept = msgspec.convert(archive.last_state(STATE), KeptEvents)
    assert [s.phase for s in kept.standing] == [Phase.HELD]
    async with running(place, place / "s.sock", commanded=False) as there:
        await until(lambda: there.devices.pcs_w == 8_375)
        client, now_s = await GatewayClient.connect(there.socket, 0), there.clock.utc_s()
        state = state_in(await client.request("event.abort", id="e1", reason="enough"))
        assert state.phase is Phase.ENDING
        await until(lambda: there.devices.pcs_w < 8_375)
        state = state_in(await client.request("event.abort", id="e1", reason="at once"))
        assert state.phase is Phase.ABORTED
        await until(lambda: there.devices.pcs_w == 0)
        listed = await client.request("event.list")
        (ended,) = msgspec.convert(listed["ended"], list[EventState])
        assert (listed["standing"], ended.phase, ended.figures.known_s > 0) == ([], Phase.ABORTED, True)
        with pytest.raises(RequestFailed, match="it is over since"):
            await client.request("event.start", limit_w=1.0, start_utc_s=0.0, end_utc_s=1.0, seen_utc_s=now_s)
        await client.close()
    said = texts(place, "grid event")
    assert said[0].startswith("grid event e1 (order of ")
    assert said[0].rpartition("Z: ")[2].startswith("accepted, asked by ")
    assert said[0].endswith("; begins: import at most 12.0 kW"), "one line for what happens at once"
    assert sum("begins" in text for text in said) == 1
    assert any("; the limit rises for 15 min. Held for " in text for text in said)
    assert texts(place, "limit")[0] == "begin of import at most 12.0 kW (order, grid event e1)"


async def test_a_drop_is_taken_from_the_import_before_and_is_refused_while_the_time_is_not_known(place: Path) -> None:
    async with running(place, place / "s.sock") as there:
        found = there.gateway.grid_events
        client, now_s = await GatewayClient.connect(there.socket, 0), there.clock.utc_s()
        asked = {"drop_w": 5_000.0, "end_utc_s": now_s + 600, "reason": "test"}
        noted = (await client.request("event.preview", **asked))["notes"]
        assert [note["code"] for note in noted] == ["event.baseline_unknown"]
        state = state_in(await client.request("event.start", **asked, seen_utc_s=now_s))
        assert (state.phase, state.limit_w) == (Phase.HELD, None), "import is not known for a minute yet"
        assert found.active() == ()
        await client.close()
    assert any("its target is not known yet" in text for text in texts(place, "grid event"))
