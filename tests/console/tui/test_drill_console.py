"""A drill from the console, key by key, with twin and gateway as processes of their own."""

from __future__ import annotations

from pathlib import Path

from harness import a_site, site_text, until
from screen import Eventually, flat, open_view, screen_text, write
from test_drill_wire import FLAT, FLAT_TRACE, QUICK

from console.display.islanding_text import running_drill
from console.tui.app import SkerryApp
from console.tui.order_form import OrderForm, Stage
from dispatch.model.islanding import IslandState
from gateway.api.client import GatewayClient
from gateway.site import paths


async def test_a_drill_is_begun_watched_aborted_by_one_key_and_reported(tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT, extra=QUICK)) as site:
        await site.twin()
        await site.gateway()
        client = await site.client()
        await until(
            client,
            lambda s: s.snapshot.load_w is not None and s.snapshot.batteries[0].discharge_limit_w.good is not None,
        )
        app = SkerryApp(lambda: GatewayClient.connect(paths.socket_path(site.path), 10))
        async with app.run_test(size=(80, 24)) as pilot:
            await eventually(pilot, lambda: app.model.published is not None)
            await open_view(pilot, "4", "island", eventually)
            await eventually(pilot, lambda: "Pre-checks of a drill of 10 min: all hold" in flat(app))
            await pilot.press("D", "ctrl+u", "5", "tab")
            await write(pilot, "rehearsal")
            await eventually(pilot, lambda: "checks hold" in flat(app))
            await pilot.press("enter")
            await eventually(pilot, lambda: app.query_one(OrderForm).stage is Stage.CONFIRM)
            await pilot.press(*"yes", "enter")
            await eventually(pilot, lambda: running_drill(app.model) is not None)
            await eventually(pilot, lambda: app.model.published.decision.island is IslandState.ISLANDED)
            await eventually(pilot, lambda: "of 5:00" in flat(app) and "✓ bus frequency" in flat(app))
            rows = screen_text(app).splitlines()
            assert "ISLANDED 00:00:0" in rows[0]
            assert "Drill 5 min by" in rows[2]
            assert "abort: press !" in " ".join(rows[2].split())
            assert "hold until" in rows[21]
            await pilot.press("D")  # a form in the way must not keep the key from aborting
            await write(pilot, "again!")
            await eventually(pilot, lambda: app.model.published.decision.island is IslandState.GRID_TIED)
            assert not app.query_one(OrderForm).display
            await eventually(pilot, lambda: app.model.report is not None)
            assert app.model.report.result == "aborted"
            await eventually(pilot, lambda: "ago, aborted" in flat(app))
            await pilot.press("pagedown")
            await eventually(pilot, lambda: "ABORTED" in flat(app))
