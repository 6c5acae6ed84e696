"""The commands that run a process: demo, console, gateway, twin."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from console.demo_scenes import SCENES, scene_lines, scene_named
from console.language_option import language_option
from console.look import Look
from console.value_parsers import duration, site_option
from gateway import exit_codes

SITE = click.Path(path_type=Path, dir_okay=False)
for_option = click.option("--for", "for_s", type=duration, metavar="TIME", help="Stop after this time, such as 60s.")
speed_option = click.option(
    "--speed", type=click.FloatRange(1, 10), metavar="N", help="Speed of the simulated site's clock."
)
rate_option = click.option("--rate", "rate_hz", type=click.FloatRange(1, 10), metavar="HZ", help="Ticks per second.")
stdin_option = click.option("--stop-on-stdin-eof", is_flag=True, help="Shut down when standard input ends.")


def look_options(command: Callable[..., int]) -> Callable[..., int]:
    """How the console looks: passed to the command as `look`."""

    @click.option(
        "--theme", metavar="NAME", help="Colours: default, light, ansi-16, mono, deuteranopia, or one of your own."
    )
    @click.option("--ascii", is_flag=True, help="Draw with ASCII characters only.")
    @language_option
    @click.option("--mouse", is_flag=True, help="Report clicks and the wheel; the terminal selects no text then.")
    @functools.wraps(command)
    def with_look(theme: str | None, ascii: bool, mouse: bool, **options: Any) -> int:
        return command(look=Look(theme, ascii, mouse), **options)

    return with_look


@click.command()
@click.option("--headless", is_flag=True, help="Run the gateway without the console.")
@for_option
@click.option(
    "--json", "json_summary", is_flag=True, help="With --headless: print the figures of the run as the last line."
)
@speed_option
@rate_option
@click.option(
    "--nodes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="So many nodes of 8 GPUs, read from their exporters over HTTP, in place of the eight on Modbus.",
)
@click.option(
    "--scene",
    "scene_name",
    type=click.Choice([scene.name for scene in SCENES]),
    help="Start at another moment, with what happens then.",
)
@click.option("--fleet", "as_fleet", is_flag=True, help="Three simulated sites, and the screen of `skerry fleet`.")
@click.option("--list-scenes", is_flag=True, help="List the scenes: what they show, when, by which commands.")
@look_options
def demo(
    look: Look,
    headless: bool,
    for_s: float | None,
    json_summary: bool,
    speed: float | None,
    rate_hz: float | None,
    nodes: int | None,
    scene_name: str | None,
    as_fleet: bool,
    list_scenes: bool,
) -> int:
    """Run a demonstration: a simulated site on this machine, its gateway and the console.

    Battery, PV, meters, switch and eight nodes are simulated and answer on Modbus TCP; this machine is one more node.
    """
    if list_scenes:
        click.echo("\n".join(scene_lines()))
        return exit_codes.OK
    if not headless and (for_s is not None or json_summary):
        raise click.UsageError("--for and --json belong to --headless; the console runs until you quit it")
    if as_fleet:
        if headless or nodes or scene_name or speed or rate_hz:
            raise click.UsageError("--fleet takes none of --headless, --nodes, --scene, --speed, --rate")
        from console import demo_fleet

        return demo_fleet.demo()
    from console import launcher

    scene = None if scene_name is None else scene_named(scene_name)
    return launcher.demo(speed, rate_hz, headless, for_s, json_summary, nodes, look, scene)


@click.command("open")
@click.argument("site", type=SITE)
@look_options
def open_(site: Path, look: Look) -> int:
    """Open the console on SITE. It attaches to the running gateway, or starts one that ends with the console."""
    from console import launcher

    return launcher.open_site(site, look)


@click.command()
@site_option
@look_options
def console(site: str | None, look: Look) -> int:
    """Open the console of a gateway that runs on this machine. It starts none, and leaves it running."""
    from console import launcher

    return launcher.attach(site, look)


@click.command()
@click.argument("site", type=SITE)
@stdin_option
@click.option(
    "--twin",
    "twin_announce",
    type=SITE,
    metavar="FILE",
    help="Use the twin that wrote FILE (`skerry twin --announce FILE`).",
)
@for_option
@click.option("--json", "json_summary", is_flag=True, help="Print the figures of the run as the last line.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Directory for the records."
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
    """Run the gateway of SITE until SIGTERM or SIGINT. It then sets the battery to its safe value."""
    from gateway.site.loader import NotReadNow, load_for_service

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload that comes before the gateway listens does not end it
    try:
        loaded = load_for_service(site)
    except NotReadNow as error:
        print(error, file=sys.stderr)
        return exit_codes.FAILED  # systemd starts it again, other than after a mistake in the file
    if loaded is None:
        return exit_codes.USAGE
    from gateway import service  # takes most of a second: what is wrong in the site file is said before

    options = service.ServeOptions(
        state_dir=state_dir,
        twin_announce=twin_announce,
        stop_on_stdin_eof=stop_on_stdin_eof,
        for_s=for_s,
        json_summary=json_summary,
        rate_hz=rate_hz,
        speed=speed,
    )
    return service.serve(loaded, options)


@click.command()
@click.argument("site", type=SITE)
@click.option(
    "--announce",
    type=SITE,
    metavar="FILE",
    help="File for the twin's addresses. Default: where the gateway and `skerry fault` look.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory of the records whose last state the twin starts from. Default: the site's.",
)
@stdin_option
@speed_option
def twin(
    site: Path, announce: Path | None, state_dir: Path | None, stop_on_stdin_eof: bool, speed: float | None
) -> int:
    """Run the simulated devices of SITE: SunSpec over Modbus TCP on loopback. Prints their addresses as JSON."""
    from gateway import standalone_twin

    return standalone_twin.run(site, announce, stop_on_stdin_eof, speed, state_dir)
