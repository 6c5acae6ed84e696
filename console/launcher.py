"""Attaches the console to a site's gateway, or starts a gateway, supervises it and ends it with the console."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from console.demo_scenes import Scene, order_beside, set_in
from console.display.language_choice import Shown
from console.end_signals import leaving_on_signals
from console.look import USUAL_LOOK, Look
from console.tui.appearance import Appearance, appearance
from console.tui.theme import ThemeError
from dispatch.model.islanding import IslandState
from fleet.sites import SiteAddress
from fleet.transport import remote_command
from gateway import exit_codes
from gateway.api.ask import Conversation
from gateway.api.client import GatewayClient
from gateway.api.discovery import find_socket
from gateway.api.socket_file import listening
from gateway.errors import LinkLost, NoAccess, NoGateway, RequestFailed
from gateway.shutdown_policy import reason_to_stay
from gateway.site import paths

if TYPE_CHECKING:
    from fleet.watch import Followed

START_LIMIT_S = 20.0
KEPT_DEMOS = 5


class GatewayChild:
    """`skerry serve SITE --stop-on-stdin-eof` in a session of its own; closing its stdin, in whatever way, stops it."""

    def __init__(self, site_path: Path, state_dir: Path, options: list[str]) -> None:
        self.socket = paths.socket_path(site_path)
        self._site_path, self._state_dir, self._options = site_path, state_dir, options
        # no asyncio.subprocess: its transport kills a child that outlives it, and this one may be needed longer
        self._process: subprocess.Popen[bytes] | None = None
        self.left_behind = False  # it was not waited for: it brings the site back to the grid

    @property
    def log(self) -> Path:
        """What the gateway wrote on stderr."""
        return self._state_dir / "gateway.log"

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.to_thread(self._spawn)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        command = [sys.executable, "-P", "-m", "skerry", "serve", str(self._site_path), "--stop-on-stdin-eof"]
        command += ["--state-dir", str(self._state_dir), *self._options]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdin=pipe, stdout=null, stderr=log, start_new_session=True)

    @property
    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        return None if self._process is None else self._process.poll()

    def last_words(self) -> str:
        """The last line it wrote, for a person who wonders why it ended."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].removeprefix("skerry: ")
        return f"nothing in {self.log}"

    async def stop(self) -> int:
        """Close its stdin and wait for its orderly stop; the exit code. After 20 s it is killed.

        Unless the site is off the grid: then the gateway is left to bring it back, and ends by itself.
        """
        process = self._process
        if process is None:
            return exit_codes.OK
        self.left_behind = process.poll() is None and await asyncio.to_thread(self._needed)
        if process.stdin is not None:
            process.stdin.close()
        if self.left_behind:
            return exit_codes.OK
        try:
            return await asyncio.to_thread(process.wait, START_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return await asyncio.to_thread(process.wait)

    def _needed(self) -> bool:
        """Whether the gateway answers, and has the site to bring back to the grid."""
        try:
            with Conversation(self.socket, 2.0) as link:
                found, simulated = link.request("drill.status"), link.welcome.simulated
        except (LinkLost, RequestFailed):
            return False
        drill = found["view"] is not None and found["view"]["drill"] is not None
        return reason_to_stay(IslandState(found["state"]), drill, simulated) != ""


class Supervisor:
    """Hands the console a connected client: of a gateway that runs, else of one it starts and restarts if it dies.

    Where somebody else's gateway ran and has ended, it waits for that to come back: one of ours would keep other
    records, know no proof and no found mode, and hold the site against a service that is about to start again.
    """

    def __init__(self, site_path: Path, state_dir: Path | None, options: list[str] | None = None) -> None:
        """state_dir: of a gateway that is started; None: one runs already, and none is started."""
        self._child = GatewayChild(site_path, state_dir or Path(), options or [])
        self.started_own = False
        self._attached = state_dir is None  # to a gateway that somebody else has started

    async def connect(self) -> GatewayClient:
        """A client, connected. Raises LinkLost with a line to show while it cannot be had."""
        with contextlib.suppress(LinkLost):
            client = await GatewayClient.connect(self._child.socket)
            self._attached = not self.started_own
            return client
        if self._attached:
            raise LinkLost("the gateway has ended; waiting for it to start again, it is not started from here")
        if not self.started_own or self._child.ended is not None:
            self.started_own = True
            await self._child.start()
        until = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until:
            if (code := self._child.ended) is not None:
                raise LinkLost(f"the gateway ended with exit code {code}: {self._child.last_words()}")
            with contextlib.suppress(LinkLost):
                return await GatewayClient.connect(self._child.socket)
            await asyncio.sleep(0.05)
        raise LinkLost(f"the gateway did not open {self._child.socket} within {START_LIMIT_S:g} s")

    @property
    def left_behind(self) -> bool:
        """Whether a gateway of ours goes on without us until the site is back on the grid."""
        return self._child.left_behind

    async def stop(self) -> None:
        """Stop the gateway we started, in order; leave one we only attached to alone."""
        if self.started_own:
            await self._child.stop()


class Attachment:
    """Hands the console a client of a gateway that runs. It starts none, and ends none."""

    started_own = left_behind = False

    def __init__(self, site: str | None) -> None:
        self._site = site

    async def connect(self) -> GatewayClient:
        """A client, connected. Raises LinkLost with a line to show while it cannot be had."""
        try:
            return await GatewayClient.connect(find_socket(self._site))
        except (NoGateway, NoAccess) as error:
            raise LinkLost(str(error)) from None

    async def stop(self) -> None:
        """Nothing was started."""


def attach(site: str | None, look: Look = USUAL_LOOK) -> int:
    """`skerry console`: the console of a gateway that runs. Raises NoGateway where there is none."""
    find_socket(site)
    if not in_terminal():
        print("skerry: no terminal for the console; use: skerry status", file=sys.stderr)
        return exit_codes.USAGE
    return _console(Attachment(site), look)


def fleet(sites: Sequence[SiteAddress], ssh: Sequence[str]) -> int:
    """`skerry fleet`: several sites on one screen."""
    from fleet.watch import Watch

    return followed_fleet(Watch(sites, ssh), partial(site_console, ssh))


def followed_fleet(watch: Followed, console: Callable[[SiteAddress], Sequence[str]]) -> int:
    """The screen of whatever follows the sites. `console`: the command that opens the console of one."""
    if not in_terminal():
        print("skerry: no terminal for the screen; use: skerry fleet --once", file=sys.stderr)
        return exit_codes.USAGE
    from console.tui.fleet_app import FleetApp  # loads Textual

    if (chosen := _appearance(USUAL_LOOK)) is None:
        return exit_codes.USAGE
    app = FleetApp(watch, console, appearance=chosen)
    with leaving_on_signals(app.exit) as signals:
        app.run()
    return 128 + signals[0] if signals else app.return_code or exit_codes.OK


def site_console(ssh: Sequence[str], site: SiteAddress) -> list[str]:
    """The command that opens the console of a site, on the machine where its gateway runs."""
    if site.host:
        return [*ssh, "-t", site.host, remote_command(site, "console")]
    named = ["--site", site.site] if site.site else []
    return [sys.executable, "-P", "-m", "skerry", "--lang", Shown.locale, "console", *named]


def open_site(site_path: Path, look: Look = USUAL_LOOK) -> int:
    """`skerry SITE.toml`: the console on a site, attached or with a gateway of its own."""
    if in_terminal() and listening(paths.socket_path(site_path)):  # its gateway has read and checked the file
        return _console(Supervisor(site_path, None), look)
    from gateway.site.loader import load_or_say  # an attached console starts faster without

    site = load_or_say(site_path)
    if site is None:
        return exit_codes.USAGE
    if not in_terminal():
        print(f"skerry: no terminal for the console; use: skerry serve {site_path}", file=sys.stderr)
        return exit_codes.USAGE
    return _console(Supervisor(site_path, paths.state_dir(site)), look)


def demo(
    speed: float | None = None,
    rate_hz: float | None = None,
    headless: bool = False,
    for_s: float | None = None,
    json_summary: bool = False,
    nodes: int | None = None,
    look: Look = USUAL_LOOK,
    scene: Scene | None = None,
) -> int:
    """`skerry demo`: the bundled site on its twin, in a fresh state directory, with the console or headless.

    `nodes`: so many nodes with exporters, in place of the eight on Modbus. `scene`: when it starts, what is ordered.
    """
    if not headless and not in_terminal():
        print("skerry: no terminal for the console; use: skerry demo --headless", file=sys.stderr)
        return exit_codes.USAGE
    state_dir = fresh_demo_dir()
    site_path = state_dir / "demo.toml"
    _write_demo_site(site_path, nodes, scene)
    failures: list[str] = []  # of the scene's orders; said when the console no longer has the screen
    if scene is not None and scene.orders:
        order_beside(scene, site_path, speed or 1.0, _say if headless else failures.append)
    if headless:
        from gateway.service import ServeOptions, serve  # the console does without the gateway's modules
        from gateway.site.loader import load

        return serve(
            load(site_path),
            ServeOptions(state_dir=state_dir, for_s=for_s, json_summary=json_summary, rate_hz=rate_hz, speed=speed),
        )
    options = [f"--{name}={value:g}" for name, value in (("speed", speed), ("rate", rate_hz)) if value is not None]
    code = _console(Supervisor(site_path, state_dir, options), look)
    for failure in failures:
        _say(failure)
    print(f"The records of this demo: {state_dir / 'telemetry.db'} (SQLite; or: skerry why --site {site_path})")
    return code


def _write_demo_site(site_path: Path, nodes: int | None, scene: Scene | None) -> None:
    with as_file(files("console") / "demo.toml") as packaged:
        text = packaged.read_text(encoding="utf-8")
    if nodes is not None:
        text = with_exporters(text, nodes, _free_port())
    site_path.write_text(text if scene is None else set_in(text, scene), encoding="utf-8")


def _say(line: str) -> None:
    print(f"skerry: {line}", file=sys.stderr, flush=True)


def with_exporters(text: str, nodes: int, port: int) -> str:
    """The demo's site file with a group of nodes that are read from their exporters, which the twin serves."""
    head, *sections = text.split("\n[")
    kept = [s for s in sections if not (s.startswith("[node]]") and 'source = "modbus"' in s)]
    pages = ", ".join(f'"http://127.0.0.1:{port}/{kind}/{{name}}"' for kind in ("host", "gpu"))
    group = f'[nodes]]\nnames = ["gpu-[01-{nodes:02d}]"]\nsource = "exporters"\nexporters = [{pages}]\nperiod_s = 2\n'
    twins = f"twin]\nnodes = {nodes}\nexporters_port = {port}"
    changed = [s.replace("twin]", twins, 1) if s.startswith("twin]") else s for s in kept]
    return "\n[".join([head, group, *changed])


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def fresh_demo_dir() -> Path:
    """A new directory for one demo run; the oldest beyond five are removed."""
    root = paths.state_root() / "demo"
    root.mkdir(parents=True, exist_ok=True, mode=0o750)
    kept = sorted(p for p in root.iterdir() if p.is_dir() and not _runs(p))
    for old in kept[: max(0, len(kept) - KEPT_DEMOS + 1)]:
        shutil.rmtree(old)
    directory, number = root / time.strftime("%Y%m%dT%H%M%S"), 1
    while directory.exists():
        number += 1
        directory = root / f"{time.strftime('%Y%m%dT%H%M%S')}-{number}"
    directory.mkdir(mode=0o750)
    return directory


def _runs(directory: Path) -> bool:
    """Whether a gateway of a demo's directory runs."""
    return any(listening(paths.socket_path(file)) for file in directory.glob("*.toml"))


def in_terminal() -> bool:
    """Whether the console can read keys and paint: Textual does so on stdin and stderr, whatever stdout is."""
    return all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__))


def _say_ended(signal_name: str, own_gateway: bool) -> None:
    """That the console ended, and what becomes of the gateway. A terminal that is gone does not hear it."""
    gateway = "the gateway that it started stops in order" if own_gateway else "the gateway goes on"
    with contextlib.suppress(OSError):
        print(
            f"skerry: the console ended at {time.strftime('%H:%M:%S')} ({signal_name}); {gateway}",
            file=sys.stderr,
            flush=True,
        )


def _appearance(look: Look) -> Appearance | None:
    """How the console looks here; None once it is said why not so."""
    try:
        return appearance(os.environ, look.theme, look.ascii, look.mouse)
    except ThemeError as error:
        print(f"skerry: {error}", file=sys.stderr)
        return None


def _console(supervisor: Supervisor | Attachment, look: Look) -> int:
    """Run the Textual console on what the supervisor connects to."""
    from console.tui.app import SkerryApp  # loads Textual

    if (chosen := _appearance(look)) is None:
        return exit_codes.USAGE
    app = SkerryApp(supervisor.connect, supervisor.stop, appearance=chosen)
    with leaving_on_signals(app.exit) as signals:
        app.run()
    if signals:
        _say_ended(signals[0].name, supervisor.started_own)
        return 128 + signals[0]
    if supervisor.left_behind:
        print("The gateway ends any drill, goes on until the site is back on the grid, and then ends by itself.")
    return app.return_code or exit_codes.OK
