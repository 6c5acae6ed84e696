"""Serves a recorded site on a Unix socket, in real time, over the real protocol: to measure what a console costs.

`python tests/console/tui/fake_gateway.py SOCKET [SECONDS]`; it repeats what it recorded until it is ended.
`python tests/console/tui/fake_gateway.py --console SOCKET` runs the console on it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).parent)]


async def serve(path: Path, seconds: int) -> None:
    """Record, then serve for ever."""
    from record import Recorder

    from gateway.api.peer import Peer
    from gateway.api.protocol import Request
    from gateway.api.server import LinkServer
    from gateway.errors import CommandRefused

    recorder = Recorder()
    recorder.run(1800)
    before = recorder.model
    recorded = []
    for _ in range(seconds):
        published = recorder.step()
        recorded.append((published, recorder.plan))

    async def handle(peer: Peer, request: Request) -> Any:
        if request.method == "history":
            points = before.trend if request.params["step_s"] < 60 else before.day
            return {
                "t": [p.start_utc_s for p in points],
                "signals": {
                    "site_load.w": [p.load_w for p in points],
                    "grid.w": [p.grid_w for p in points],
                    "soc_pct": [p.soc_pct for p in points],
                },
            }
        if request.method == "events":
            return [msgspec.to_builtins(e) for e in before.events]
        if request.method == "decisions":
            return []
        raise CommandRefused(f"a recording does not answer {request.method!r}")

    assert before.welcome is not None
    welcome = msgspec.structs.replace(before.welcome, pid=os.getpid())
    server = LinkServer(path, lambda peer: welcome, handle)
    await server.start()
    print("serving", flush=True)
    while True:
        plan = None
        for published, plan_now in recorded:
            if plan_now is not plan:
                plan = plan_now
                server.consoles.set_plan(plan)
            server.consoles.publish(published)
            await asyncio.sleep(1.0)


def console(path: Path) -> None:
    """The console, attached."""
    from console.tui.app import SkerryApp
    from gateway.api.client import GatewayClient

    SkerryApp(lambda: GatewayClient.connect(path)).run()


if __name__ == "__main__":
    if sys.argv[1] == "--console":
        console(Path(sys.argv[2]))
    else:
        asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 600))
