"""`skerry check`: prints every error of a site file, or a summary of the site; or the JSON Schema."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from console.cli.json_output import json_text
from console.display.formats import date_clock_zone
from console.value_parsers import json_option
from dispatch.billing.battery_ageing import ageing_of
from dispatch.billing.billed_peaks import remarks
from dispatch.billing.charges.energy_prices import uses_market
from dispatch.billing.charges.tariff_checks import tariff_remarks
from dispatch.billing.demand_charge import in_words, interval_account
from dispatch.billing.peak_charges import main_charge
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.islanding.shedding_steps import lacking, names_of, takes, with_gpus
from dispatch.wording.catalogue import words
from drivers.modbus.address import place_of
from drivers.schedulers.config import Scheduler
from drivers.tariffs.feeds.kinds import title
from gateway import exit_codes
from gateway.site import paths, versions
from gateway.site.loader import SiteError, SiteFileError, load, parse, read
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY

NAMES_MOST = 12  # of one kind of device, in the summary


@click.command()
@click.argument("site", type=click.Path(path_type=Path), required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of site files instead; needs no SITE.")
@json_option
def check(site: Path | None, schema: bool, as_json: bool) -> int:
    """Check a site file: print every error with key, value and expectation (exit code 2), or a summary of the site."""
    if schema:
        return _schema(site)
    if site is None:
        raise click.UsageError("Missing argument 'SITE'.")
    try:
        loaded = load(site)
        tariff, trouble = _tariff(loaded)
        trouble += [
            *_certificates(loaded),
            *_gpio(loaded),
            *_caps(loaded),
            *_queue_files(loaded),
            *(f"nodes[{n}]: not used: {why}" for n, why in loaded.unusable_names),
            *_waits(loaded),
            *_bills(loaded),
            *_retired(site),
        ]
    except SiteFileError as error:
        _report(error, as_json)
        return exit_codes.USAGE
    except OSError as error:
        raise click.UsageError(f"{site}: {error.strerror}") from None
    if as_json:
        click.echo(json_text({"ok": True, "file": str(site), "warnings": trouble, **_derived(loaded)}))
        return exit_codes.OK
    click.echo(f"{site}: ok")
    for line in (*_summary(loaded), *tariff):
        click.echo(f"  {line}")
    for line in trouble:
        click.echo(f"skerry: warning: {line}", err=True)
    return exit_codes.OK


def _schema(site: Path | None) -> int:
    if site is not None:
        raise click.UsageError("--schema is about all site files; it takes no SITE")
    from gateway.site.json_schema import json_schema

    click.echo(json_text(json_schema(), indent=2))
    return exit_codes.OK


def _report(error: SiteFileError, as_json: bool) -> None:
    if as_json:
        found = [
            {
                "line": e.line,
                "key": e.key,
                "value": None if e.value is MISSING_KEY else repr(e.value),
                "expected": e.expected,
            }
            for e in error.errors
        ]
        click.echo(json_text({"ok": False, "file": str(error.path), "errors": found}))
    for line in str(error).splitlines():
        click.echo(line, err=True)
    count = len(error.errors)
    click.echo(f"skerry: {count} {'error' if count == 1 else 'errors'} in {error.path}", err=True)


def _derived(site: Site) -> dict[str, Any]:
    config, terms = site.dispatch, site.tariff.demand_terms
    sections = ("battery", "pcs", "meter", "pv", "switch", "ups", "pdu", "contact", "prometheus", "kubernetes", "bmc")
    devices = {section: [d.id for d in getattr(site, section)] for section in sections}
    return {
        "site": site.site.name,
        "fuse_w": config.grid.fuse_w,
        "contracted_peak_w": config.grid.contracted_peak_w,
        "interval_budget_kwh": config.grid.contracted_peak_w * config.grid.metering_interval_s / 3.6e6,
        "demand": in_words(terms, config.grid.metering_interval_s) if terms.eur_per_kw else "",
        "energy_kwh": config.energy_kwh,
        "charge_w": config.charge_w,
        "discharge_w": config.discharge_w,
        "reserve_kwh": config.reserve_kwh,
        "reserve_soc_pct": reserve_soc_pct(config),
        "pv_peak_w": sum(p.peak_w for p in site.pv),
        "charges": [charge.id for charge in site.tariff.charge],
        "tells": list(_tells(site)),
        "shedding": list(_shedding(site)),
        "devices": {**devices, "node": [n.id for n in site.every_node]},
        "twin": site.uses_twin,
        "state_dir": str(paths.state_dir(site)),
    }


def _summary(site: Site) -> Iterator[str]:
    d = _derived(site)
    grid = site.grid
    yield f"site      {d['site']}, {site.site.timezone}, {site.gateway.rate_hz:g} ticks a second"
    yield (
        f"grid      fuse {grid.fuse_a:g} A × {grid.voltage_v:g} V × {grid.phases} = {d['fuse_w'] / 1000:.1f} kW, "
        f"contracted peak {d['contracted_peak_w'] / 1000:.1f} kW "
        f"= {d['interval_budget_kwh']:.2f} kWh in {grid.metering_interval_s // 60} min"
    )
    if d["demand"]:
        yield f"demand    {d['demand']}"
    if site.tariff.charge:
        yield f"charges   {_names([f'{charge.id} ({charge.kind})' for charge in site.tariff.charge])}"
    if site.tariff.co2_feed is not None:
        yield f"co2       [tariff.co2_feed]: of {site.tariff.co2_feed.country} by Energy-Charts, not asked here"
    if d["tells"]:
        yield f"tells     {'; '.join(d['tells'])}"
    if site.battery:
        yield (
            f"battery   {d['energy_kwh']:g} kWh, "
            f"charges {d['charge_w'] / 1000:g} kW, discharges {d['discharge_w'] / 1000:g} kW; "
            f"reserve {d['reserve_kwh']:g} kWh = SoC {d['reserve_soc_pct']:.1f} %"
        )
    yield from _care(site)
    yield f"pv        {d['pv_peak_w'] / 1000:g} kW peak"
    yield "devices   " + "; ".join(f"{section} {_names(ids)}" for section, ids in d["devices"].items() if ids)
    if site.node:
        yield f"shedding  {'; '.join(_shedding(site))}"
    for n, scheduler in enumerate(site.scheduler):
        yield f"{'' if n else 'jobs':<9} {_scheduler(scheduler, site.path.parent)}"
    if site.drills.schedule:
        how = "begin by themselves" if site.drills.unattended else "are announced, a person starts them"
        yield f"drills    {site.drills.schedule}; of {site.drills.minutes:g} min, {how}"
    yield f"records   {d['state_dir']}"


def _care(site: Site) -> Iterator[str]:
    """What counts as ageing beside the flat wear, and which batteries are balanced."""
    if (ageing := ageing_of(site.dispatch)) is not None and ageing.eur_per_kwh:
        least, most = (100 * eur for eur in (ageing.eur_per_kwh[0], ageing.eur_per_kwh[-1]))
        yield f"ageing    {least:.1f} to {most:.1f} ct per kWh taken out, by depth of cycle, beside wear_eur_per_kwh"
    for battery in site.battery:
        if (days := battery.balance_every_days) > 0:
            mark, minutes = battery.balance_soc_pct, battery.balance_hold_s / 60
            yield f"balance   {battery.id} to {mark:g} % every {days:g} days, held there for {minutes:g} min"


def _tells(site: Site) -> Iterator[str]:
    """By which sections the gateway tells others what it knows."""
    if site.metrics is not None:
        yield f"[metrics] at {site.metrics.listen}"
    if site.mqtt is not None:
        yield f"[mqtt] to {site.mqtt.host}, port {site.mqtt.port}"
    if site.notify:
        yield f"[[notify]] {_names([f'{one.id} ({one.kind})' for one in site.notify])}"


def _scheduler(scheduler: Scheduler, directory: Path) -> str:
    """By what a queue is read, and whether anything is changed by that."""
    read = f"{scheduler.id}: {scheduler.kind}, by {scheduler.read_by(directory)}"
    by = "keeps licences back by scontrol" if scheduler.kind == "slurm" else "sets a limit by its command"
    changes = by if scheduler.admit else "only read"
    return f"{read}, every {scheduler.period_s:g} s; {changes}"


def _queue_files(site: Site) -> list[str]:
    """Files of `[[scheduler]]` that cannot be read now."""
    files = [(s.id, site.path.parent / s.file) for s in site.scheduler if s.kind == "file"]
    return [
        f"the file of scheduler {id} is not there: {file.absolute()}; until it is, its jobs are not known"
        for id, file in files
        if not file.exists()
    ]


def _shedding(site: Site) -> Iterator[str]:
    """What load shedding can do off the grid, as far as the site file tells, and what the site lacks for it."""
    if not site.ride_through.enabled:
        yield "off: ride_through.enabled = false"
        return
    config, have_gpus = site.dispatch, with_gpus(site.dispatch)
    names = names_of(config)
    found = [n for n in range(1, len(names)) if any(takes(node, n, have_gpus) for node in config.nodes)]
    yield f"takes {', '.join(words(names[n]) for n in found)}" if found else "takes no step"
    if lacks := lacking(config, have_gpus):
        yield f"lacks {'; '.join(words(step) for step in lacks)}"


def _names(ids: list[str]) -> str:
    """The first of many, and how many they are."""
    return ", ".join(ids) if len(ids) <= NAMES_MOST else f"{', '.join(ids[:NAMES_MOST])}, … ({len(ids)} in all)"


def _gpio(site: Site) -> list[str]:
    """Contacts at GPIO lines that cannot be read here; the service may run as another user, or on another machine."""
    from drivers.contacts.gpio_contact import missing

    lacks = {c.id: missing(c) for c in site.contact if c.gpio_chip}
    return [f"contact {name}: {why}" for name, why in lacks.items() if why]


def _certificates(site: Site) -> list[str]:
    """Why the files of [tls] cannot be used here; the service may run as another user."""
    if site.tls is None:
        return []
    from drivers.modbus.tls import TlsError, client_context  # only here: most sites have none

    try:
        client_context(*site.tls.files(site.path.parent))
    except TlsError as error:
        return [str(error)]
    return []


def _caps(site: Site) -> list[str]:
    """What caps that the site allows would not do: nodes that take none, a peak that costs nothing."""
    if site.caps.max_share <= 0:
        return []
    trouble = []
    if not any(not n.critical and n.terms.cap_w is not None for n in site.node):
        trouble.append("caps: no [[node]] that is not critical can be capped to a cap_w: the gateway caps nothing")
    if main_charge(site.dispatch).eur_per_kw <= 0 and site.caps.price_eur_per_gpu_hour is None:
        trouble.append("caps: the tariff has no demand charge: nodes are capped for limits of import, but for no peak")
    return trouble


def _waits(site: Site) -> list[str]:
    """What keeps the grid meter waiting: slow devices behind its connection, which is shared."""
    grid = next(m for m in site.meter if m.role == "grid")
    return [
        f"{device.id}: may take {device.deadline_s:g} s to answer on the connection of the grid meter, which waits as "
        "long; give one of them a url of its own"
        for device in site.polled
        if place_of(device.url) == place_of(grid.url) != place_of("twin")
        and device.id != grid.id
        and (device.deadline_s or 0) > site.io.deadline_s
    ]


def _bills(site: Site) -> list[str]:
    """Billed peaks of months that are not over."""
    config = site.dispatch
    running = interval_account(main_charge(config), config.timezone, _now(site)).period
    return [words(remark) for remark in remarks(config, running)]


def _retired(path: Path) -> list[str]:
    """Keys of an older version that have another name since, each with its line."""
    text = read(path)
    return [
        f"{found.where}: expected {found.remedy}; skerry config upgrade {path} prints the file {found.upgrade}"
        for found in versions.retired_in(parse(path, text), text)
    ]


def _now(site: Site) -> float:
    """Start time of the site, POSIX s: now, or `twin.start_utc`. Raises SiteFileError."""
    if not site.uses_twin or site.twin is None:
        return time.time()
    try:
        return datetime.fromisoformat(site.twin.start_utc).timestamp()
    except ValueError:
        wrong = SiteError("twin.start_utc", site.twin.start_utc, "an instant such as 2025-09-16T06:55:00Z")
        raise SiteFileError(site.path, [wrong]) from None


def _tariff(site: Site) -> tuple[list[str], list[str]]:
    """What the price file covers, and what is wrong with it: not an error, the rules run without prices."""
    trouble = list(tariff_remarks(site.tariff, datetime.fromtimestamp(_now(site), ZoneInfo(site.site.timezone)).date()))
    if not uses_market(site.tariff):
        if site.tariff.file or site.tariff.feed:
            trouble.append("tariff: no charge has a market_factor: nothing is billed by the prices of the file or feed")
        return ["tariff    prices are those of the charges, without a market's"], trouble
    if site.tariff.feed:
        feeds = ", else ".join(title(feed) for feed in site.tariff.feed)
        return [f"tariff    prices by {feeds}, not asked here"], trouble
    if not site.tariff.file:
        return ["tariff    no price file: the plan does without prices"], trouble
    from drivers.tariffs.csv_file import TariffFileError
    from drivers.tariffs.csv_file import read as read_prices

    try:
        found = read_prices(site.tariff.file, site.path.parent, site.tariff.file_terms)
    except TariffFileError as error:
        return [], trouble + [f"tariff.file = {site.tariff.file!r}: {line}" for line in str(error).splitlines()]
    prices = found.prices
    begins, ends = prices.start_utc_s[0], prices.end_utc_s
    gaps = sum(price is None for price in prices.eur_per_mwh)
    zone = ZoneInfo(site.site.timezone)
    steps = len(prices.start_utc_s) - gaps
    covers = f"tariff    prices from {date_clock_zone(begins, zone)} to {date_clock_zone(ends, zone)}, {steps} steps"
    if found.layout:
        covers += f", an export: {found.layout}"
    where = f"tariff.file = {site.tariff.file!r}"
    trouble += [f"{where}: {remark}" for remark in found.remarks]
    used = "used" if site.tariff.prices_as_declared else "the gateway does not use the file"
    trouble += [f"{where}: {question} ({used})" for question in found.questions]
    now_s = _now(site)
    if ends < now_s + 86_400:
        wants = f"the plan wants {site.plan.horizon_h:g} h ahead"
        trouble.append(f"{where}: prices end {date_clock_zone(ends, zone)}; {wants}")
    return [covers], trouble
