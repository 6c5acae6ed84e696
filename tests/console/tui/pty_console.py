"""The console on a site that lives ten times as fast as real time: run in a pty, to count what it sends."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).parent)]

from record import Recorder  # noqa: E402
from scenes import read  # noqa: E402

from console.tui.app import SkerryApp  # noqa: E402
from gateway.api.protocol import EventMessage, PlanMessage, Published  # noqa: E402
from gateway.errors import RequestFailed  # noqa: E402

NOTHING: dict[str, Any] = {
    "role": {"role": "operator"},
    "history": {"t": [], "signals": {}},
    "drill.status": {"report": None},
    "drill.check": {"ok": True, "text": "", "checks": []},
    "events": [],
    "decisions": [],
    "audit": [],
    "drill.reports": [],
}


class FastClient:
    """The first second of the site; from SIGUSR1 on the others, in a tenth of a second each."""

    def __init__(self, seconds: int) -> None:
        self.welcome = read("calm").welcome
        recorder = Recorder()
        recorder.run(5)
        self.feed = [(recorder.step(), recorder.plan) for _ in range(seconds)]

    async def messages(self) -> AsyncIterator[Published | PlanMessage | EventMessage]:
        """The plan, then the recorded seconds."""
        go = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go.set)
        yield PlanMessage(self.feed[0][1])
        yield self.feed[0][0]
        await go.wait()
        for published, _ in self.feed[1:]:
            await asyncio.sleep(0.1)
            yield published
        await asyncio.Event().wait()

    async def request(self, method: str, **params: Any) -> Any:
        """There is nothing from before."""
        if method not in NOTHING:
            raise RequestFailed(f"a recording does not answer {method!r}")
        return NOTHING[method]

    async def close(self) -> None:
        """Nothing is open."""


if __name__ == "__main__":
    if sys.argv[1] == "crash":

        async def fails() -> FastClient:
            """What no console foresees."""
            raise ValueError("a fault of the console")

        SkerryApp(fails).run()
        sys.exit(3)
    client = FastClient(int(sys.argv[1]))

    async def connect() -> FastClient:
        """Attached at once."""
        return client

    SkerryApp(connect).run()
