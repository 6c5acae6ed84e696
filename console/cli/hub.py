"""`skerry hub`: keeps the history of many sites in PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.bus_options import broker_of, bus_options, until_ended
from console.cli.failures import Failure

if TYPE_CHECKING:
    from fleet.hub_database import HubDatabase

STREAM_MB = 4096


@click.command()
@bus_options
@click.option(
    "--database",
    required=True,
    metavar="URL",
    help="postgresql://USER@HOST/NAME. A password goes into ~/.pgpass, not here.",
)
@click.option(
    "--stream-mb",
    type=click.IntRange(min=1),
    default=STREAM_MB,
    show_default=True,
    help="At most so many MB wait in the bus; sites wait with more.",
)
@click.option(
    "--keep-months",
    type=click.IntRange(min=1),
    metavar="N",
    help="Delete blocks, minutes and events from before the last N months. Default: keep all.",
)
@click.option(
    "--current",
    metavar="SITE/INCARNATION",
    help="Take this incarnation of a site, which was followed by another one, again; then go on.",
)
def hub(
    url: str,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    database: str,
    stream_mb: int,
    keep_months: int | None,
    current: str | None,
) -> int:
    """Keep what the uplinks of sites send to a bus in a PostgreSQL database, until it is ended.

    It makes tables, streams and buckets where there are none. A message is acknowledged after the commit, so any
    process may be killed at any moment. Several hubs may run on one bus and one database.
    """
    from fleet.bus import Bus
    from fleet.hub import INBOX, Hub, run_for_ever
    from fleet.hub_database import HubDatabase
    from fleet.hub_schema import NewerDatabase

    broker = broker_of(url, ca, cert, key)
    kept = HubDatabase(database)
    if current is not None:
        _take_again(kept, current)

    async def run() -> None:
        await run_for_ever(
            lambda: Bus.connect(broker, "skerry hub", INBOX),
            lambda bus: Hub(bus, kept, stream_bytes=stream_mb << 20, keep_months=keep_months),
        )

    try:
        return until_ended(run, f"Keeping what comes from {url}.")
    except NewerDatabase as error:
        raise Failure(f"--database: {error}") from None
    finally:
        kept.close()


def _take_again(database: HubDatabase, current: str) -> None:
    """Raises Failure for a database that does not know this incarnation, or does not answer."""
    from fleet.bus_messages import is_uuid
    from fleet.hub_database import DatabaseFailed

    site, _, incarnation = current.partition("/")
    if not (is_uuid(site) and is_uuid(incarnation)):
        raise click.UsageError(f"--current {current}: expected two UUIDs, SITE/INCARNATION")
    try:
        if not database.set_current(site, incarnation):
            raise Failure(f"--current {current}: the database knows no such incarnation")
    except DatabaseFailed as error:
        raise Failure(f"--database: {error}") from None
