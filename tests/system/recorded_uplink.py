"""`python recorded_uplink.py URL RECORD PAGE-BYTES`: an uplink of a record on disk, as a process that can be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fleet_samples import FakeLink
from recorded_gateway import RecordedGateway

from fleet.bus import Broker, Bus
from fleet.pull import Pace
from fleet.uplink import inbox_of, run_for_ever


async def _main(url: str, record: str, page: str) -> None:
    async def open_link() -> FakeLink:
        return FakeLink(RecordedGateway(Path(record), page=int(page)))

    await run_for_ever(
        open_link,
        lambda identity: Bus.connect(Broker(url=url), "uplink", inbox_of(identity)),
        Pace(None),
        wait_s=1.0,
    )


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
