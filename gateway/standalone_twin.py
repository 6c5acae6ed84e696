"""`skerry twin`: runs a site's simulated devices as a process of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec

from drivers.twin.announcement import Announcement
from drivers.twin.config import TwinConfig
from drivers.twin.process import run_twin
from drivers.twin.trace import TraceError
from gateway import exit_codes
from gateway.simulation_start import after_record
from gateway.site import paths
from gateway.site.loader import load_or_say
from gateway.site.schema import Site
from gateway.twin_process import TwinFailed, read_announcement, running_twin


def run(
    site_path: Path,
    announce: Path | None = None,
    stop_on_stdin_eof: bool = False,
    speed: float | None = None,
    state_dir: Path | None = None,
) -> int:
    """Run the site's twin until asked to stop; prints its announcement as one JSON line. Returns the exit code.

    announce: a file for it; default, where gateways and `skerry fault` look, which one twin alone may hold. state_dir:
    of the record that the twin goes on after; default, the site's. stop_on_stdin_eof: it is a gateway's child.
    """
    # its server writes an error with its last frames whenever a client is gone before the answer
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    site = load_or_say(site_path)
    if site is None:
        return exit_codes.USAGE
    if site.twin is None:
        print(f"{site_path}: [twin]: expected this section; a site of real devices has no twin to run", file=sys.stderr)
        return exit_codes.USAGE
    if announce is None and not stop_on_stdin_eof and (other := running_twin(site_path)) is not None:
        whose = "the gateway of this site runs a twin of its own" if other.child else "a twin of this site runs already"
        print(f"skerry: {whose}, pid {other.pid}; end it first, or give this one --announce FILE", file=sys.stderr)
        return exit_codes.ALREADY_RUNNING
    config = after_record(site.twin, state_dir or paths.state_dir(site))
    if speed is not None:
        config = msgspec.structs.replace(config, speed=speed)
    file = announce or paths.announce_path(site_path)
    try:
        return _serve(site, config, file, stop_on_stdin_eof)
    finally:
        if announce is None:
            _remove(file)


def _serve(site: Site, config: TwinConfig, file: Path, child: bool) -> int:
    def on_announce(announcement: Announcement) -> None:
        line = msgspec.json.encode(announcement).decode()
        partial = file.with_suffix(".tmp")
        partial.write_text(line + "\n")
        partial.replace(file)
        print(line, flush=True)

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def at_stdin() -> None:
            if not os.read(0, 4096):
                loop.remove_reader(0)
                stop.set()

        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(sign, stop.set)
        if child:
            loop.add_reader(0, at_stdin)
        await run_twin(
            config,
            site.grid,
            site.battery,
            site.pcs,
            site.meter,
            site.pv,
            site.switch,
            site.node,
            announce=on_announce,
            stop=stop,
            base=site.path.parent,
            child=child,
            genset=site.genset,
        )

    try:
        asyncio.run(main())
    except (TraceError, ValueError) as error:
        print(f"{site.path}: [twin]: {error}", file=sys.stderr)
        return exit_codes.USAGE
    except OSError as error:
        print(f"skerry: the twin cannot serve: {error}", file=sys.stderr)
        return exit_codes.DEVICE
    return exit_codes.OK


def _remove(file: Path) -> None:
    """Take back the announcement, unless another twin has made its own since."""
    try:
        if read_announcement(file.read_bytes(), str(file)).pid == os.getpid():
            file.unlink()
    except (TwinFailed, FileNotFoundError):
        return
