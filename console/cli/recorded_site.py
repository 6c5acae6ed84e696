"""What is known of a site whose record is read: its site file where one is named, else what the record keeps of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from console.cli.data_source import Live, Record
from console.cli.failures import Failure
from gateway import exit_codes
from storage.config import DISPATCH

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from dispatch.billing.market_prices import PriceSeries
    from dispatch.config.schema import DispatchConfig


def named_site(site: str | None) -> Path | None:
    """The site file that was named, if one was."""
    named = site or os.environ.get("SKERRY_SITE")
    return Path(named) if named and not named.endswith(".sock") else None


def site_terms(source: Live | Record, site: str | None) -> DispatchConfig:
    """What the named site file says, else what the record keeps of the one it was made with. Raises Failure."""
    if (path := named_site(site)) is not None:
        from gateway.site.loader import load

        return load(path).dispatch
    from dispatch.config.schema import DispatchConfig

    kept = source.archive.last_state(DISPATCH) if isinstance(source, Record) else None
    if kept is None:
        raise Failure("the record does not say which site it is of; name the site file with --site", exit_codes.USAGE)
    return msgspec.convert(kept, DispatchConfig)


def site_prices(site: str | None) -> PriceSeries | None:
    """The named site file's prices; for intervals whose price is not on record."""
    if (path := named_site(site)) is None:
        return None
    from drivers.tariffs.acceptance import accepted
    from drivers.tariffs.csv_file import TariffFileError, read
    from gateway.site.loader import load

    loaded = load(path)
    tariff = loaded.tariff
    try:
        return (
            accepted(read(tariff.file, loaded.path.parent, tariff.file_terms), tariff.prices_as_declared).prices
            if tariff.file
            else None
        )
    except (TariffFileError, OSError) as error:
        click.echo(f"skerry: note: prices only as recorded: {error}", err=True)
        return None
