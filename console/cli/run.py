"""The commands that run something: demo, console, gateway, twin. `gateway.service` and `supervise` do the work."""

from __future__ import annotations

from pathlib import Path

import click

from console.value_parsers import duration

SITE = click.Path(path_type=Path, dir_okay=False)
for_option = click.option("--for", "for_s", type=duration, metavar="TIME", help="Stop after this long, e.g. 60s.")
speed_option = click.option(
    "--speed", type=click.FloatRange(1, 10), metavar="N", help="The simulated site's clock, 1 to 10 times."
)
rate_option = click.option(
    "--rate", "rate_hz", type=click.FloatRange(1, 10), metavar="HZ", help="Ticks a second, 1 to 10."
)
stdin_option = click.option("--stop-on-stdin-eof", is_flag=True, help="Stop in order when stdin ends.")


@click.command()
@click.option("--headless", is_flag=True, help="The gateway alone, no console.")
@for_option
@click.option("--json", "json_summary", is_flag=True, help="With --headless: the run's figures as the last line.")
@speed_option
@rate_option
def demo(headless: bool, for_s: float | None, json_summary: bool, speed: float | None, rate_hz: float | None) -> int:
    """A living site on this machine: simulated battery, PV, meters, switch on real Modbus; this machine as a node."""
    if not headless and (for_s is not None or json_summary):
        raise click.UsageError("--for and --json belong to --headless; the console runs until you quit it")
    from console import launcher

    return launcher.demo(speed=speed, rate_hz=rate_hz, headless=headless, for_s=for_s, json_summary=json_summary)


@click.command("open")
@click.argument("site", type=SITE)
def open_(site: Path) -> int:
    """The console on SITE: attaches to its gateway, or starts one that ends with the console."""
    from console import launcher

    return launcher.open_site(site)


@click.command()
@click.argument("site", type=SITE)
@stdin_option
@click.option("--twin", "twin_announce", type=SITE, metavar="FILE", help="Use the twin that announced itself in FILE.")
@for_option
@click.option("--json", "json_summary", is_flag=True, help="The run's figures as the last line.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where the record goes."
)
@speed_option
@rate_option
def serve(
    site: Path,
    stop_on_stdin_eof: bool,
    twin_announce: Path | None,
    for_s: float | None,
    json_summary: bool,
    state_dir: Path | None,
    speed: float | None,
    rate_hz: float | None,
) -> int:
    """Run SITE's gateway until SIGTERM or SIGINT; then the battery goes to its safe value and the record is closed."""
    from gateway import service

    options = service.ServeOptions(
        state_dir=state_dir,
        twin_announce=twin_announce,
        stop_on_stdin_eof=stop_on_stdin_eof,
        for_s=for_s,
        json_summary=json_summary,
        rate_hz=rate_hz,
        speed=speed,
    )
    return service.serve(site, options)


@click.command()
@click.argument("site", type=SITE)
@click.option(
    "--announce",
    type=SITE,
    metavar="FILE",
    help="Write the announcement here. Default: where gateways and `skerry fault` look.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Of the record that the twin goes on after. Default: the site's.",
)
@stdin_option
@speed_option
def twin(
    site: Path, announce: Path | None, state_dir: Path | None, stop_on_stdin_eof: bool, speed: float | None
) -> int:
    """Run SITE's simulated devices: SunSpec over Modbus TCP on loopback. Prints where they are as one line of JSON."""
    from gateway import standalone_twin

    return standalone_twin.run(site, announce, stop_on_stdin_eof, speed, state_dir)
