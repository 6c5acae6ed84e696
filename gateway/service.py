"""`skerry serve`: the process of one gateway: lock, twin, signals, watchdog, and the order in which it stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatch.model.islanding import IslandRequest
from drivers.twin.announcement import Announcement
from gateway import exit_codes
from gateway.bootstrap import assemble
from gateway.claims import Claims, site_claim
from gateway.composition import Gateway
from gateway.daemon_thread import DaemonExecutor, in_daemon_thread, under_way
from gateway.errors import StartRefused
from gateway.instance_lock import AlreadyRunning
from gateway.log_output import LogOutput, Reader, begin_log
from gateway.run_statistics import summary
from gateway.shutdown_policy import reason_to_stay
from gateway.simulation_start import record_ends_utc_s
from gateway.site import paths
from gateway.site.schema import Site
from gateway.site_devices import claimed_devices
from gateway.state_directory import TAKE_S, StateDirectory
from gateway.systemd import Liveness, Systemd
from gateway.terminal_summary import Place, greeting, terminal_summary
from gateway.twin_process import TwinChild, TwinFailed, read_announcement, running_twin

log = logging.getLogger("skerry.gateway")
Found = TypeVar("Found")
SWITCH_S = 0.001  # planner and recorder threads give the interpreter back to a due tick within this time
# machine seconds of each step of the end, at most; with `SAFE_VALUE_S` of the control loop less than 25 s together
TICKS_END_S = 4.0  # the tick under way, and the tasks beside it
PLANS_END_S = 3.0
LIMITS_END_S = 1.5  # an inverter that does not answer keeps its limit until its timer ends it
AUDIT_END_S = 3.0
RECORD_END_S = 5.0
DEVICES_END_S = 4.0
LINK_END_S = 2.0
STOP_MOST_S = 27.0  # from the stop to the end of the process, whatever hangs; systemd kills after 30 s
RETURN_S = 1800.0  # the console is gone in a drill on a twin: the gateway lives so long at most to bring the site back


@dataclass(frozen=True)
class ServeOptions:
    """What the command line adds to the site file."""

    state_dir: Path | None = None
    twin_announce: Path | None = None  # attach to a twin that already runs, by the file it announced itself in
    stop_on_stdin_eof: bool = False
    for_s: float | None = None  # stop after this many seconds
    json_summary: bool = False  # print the run's figures as the final stdout line
    rate_hz: float | None = None
    speed: float | None = None


def serve(site: Site, options: ServeOptions = ServeOptions()) -> int:
    """Run the gateway until asked to stop; returns the exit code (see `gateway/exit_codes.py`)."""
    output = begin_log(sys.stderr, greeting(site))
    site, claims = _with_options(site, options), Claims()
    try:
        state = StateDirectory(options.state_dir or paths.state_dir(site))
        remarks = claims.take(_claimed_place(site, state.path))
        state.take()
    except OSError as error:
        return _refused(StartRefused(f"{error.filename}: {error.strerror}", exit_codes.USAGE))
    except AlreadyRunning as error:
        claims.release()
        return _refused(StartRefused(str(error), exit_codes.ALREADY_RUNNING))
    try:
        service = _Service(site, state, claims, options, remarks, output)
        try:
            code = asyncio.run(service.run())
        finally:
            service.ended()
    except StartRefused as error:
        code = _refused(error)
    finally:
        state.release()
        claims.release()
    _leave_what_hangs(code)
    return code


def _end_now() -> None:
    log.error("the gateway did not end within %g s of its stop: it ends now", STOP_MOST_S)
    logging.shutdown()
    os._exit(exit_codes.FAILED)


def _leave_what_hangs(code: int) -> None:
    """End the process at once where a thread still works: an interpreter that ends beneath a solver may crash."""
    if hung := under_way():
        log.warning("ends without waiting for %s", ", ".join(hung))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _refused(error: StartRefused) -> int:
    for handler in logging.root.handlers:
        handler.flush()  # what led to it comes first
    print(f"skerry: {error}", file=sys.stderr)
    return error.code


def _with_options(site: Site, options: ServeOptions) -> Site:
    if options.rate_hz is not None:
        gateway = msgspec.structs.replace(site.gateway, rate_hz=options.rate_hz)
        io = msgspec.structs.replace(site.io, deadline_s=min(site.io.deadline_s, 0.4 / options.rate_hz))
        site = msgspec.structs.replace(site, gateway=gateway, io=io)
    if options.speed is not None and site.twin is not None:
        site = msgspec.structs.replace(site, twin=msgspec.structs.replace(site.twin, speed=options.speed))
    return site


def _claimed_place(site: Site, state_dir: Path) -> dict[str, str]:
    """Claims on a site file and a state directory: each belongs to one gateway, whether it can be read or not."""
    try:
        directory = in_daemon_thread(lambda: os.path.realpath(state_dir)).result(TAKE_S)
    except TimeoutError:
        directory = os.path.abspath(state_dir)
    return {**site_claim(site.path), f"state {directory}": f"the state directory {directory}"}


class _Service:
    """The process around one gateway."""

    def __init__(
        self,
        site: Site,
        state: StateDirectory,
        claims: Claims,
        options: ServeOptions,
        remarks: list[str],
        output: LogOutput,
    ) -> None:
        """`remarks`: for the log, of the claims made so far. `output`: where the log goes."""
        self._site, self._state, self._claims, self._options = site, state, claims, options
        self._remarks, self._output = remarks, output
        self._systemd = Systemd()
        self._stop = asyncio.Event()
        self._terminated = asyncio.Event()  # by a signal: nothing is waited for
        self._why_stop = "asked to"
        self._console_gone = False
        self._recorded = True
        self._has_ended = threading.Event()
        self._twin_died: int | None = None  # its exit code, if our own twin ended before us
        self._which_twin = ""  # which twin it uses, where that is not simply its own
        self._reload: Callable[[], None] | None = None  # before the gateway is composed there is nothing to reload

    def _ask_stop(self, why: str) -> None:
        if not self._stop.is_set():
            self._why_stop = why
            self._stop.set()

    async def run(self) -> int:
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        self._watch_for_stop()
        async with self._twin() as twin:
            if self._stop.is_set():
                return exit_codes.OK
            return await self._run_gateway(twin)

    def ended(self) -> None:
        """The end has come by itself."""
        self._has_ended.set()

    def _end_at_last(self) -> None:
        """Where the end itself hangs: end the process without it."""
        if not self._has_ended.wait(STOP_MOST_S):
            _end_now()

    def _watch_for_stop(self) -> None:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._on_signal, signal.Signals(sign).name)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        if self._options.stop_on_stdin_eof:
            loop.add_reader(0, self._on_stdin)

    def _on_signal(self, name: str) -> None:
        self._terminated.set()
        self._ask_stop(name)

    def _on_reload(self) -> None:
        """SIGHUP: read the price file again. It never ends the gateway, also when its terminal is closed."""
        if self._reload is not None:
            self._reload()

    def _on_stdin(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self._console_gone = True
            self._ask_stop("the console is gone (end of stdin)")

    @contextlib.asynccontextmanager
    async def _twin(self) -> AsyncIterator[Announcement | None]:
        """The twin's announcement, or None on a real site. A twin we started ends after everything else.

        Which twin: the one that the command line names, else one that runs for this site file, else one of our own.
        """
        if not self._site.uses_twin:
            yield None
            return
        assert self._site.twin is not None
        file, config = self._options.twin_announce, self._site.twin
        try:
            if file is not None:
                yield self._not_in_the_past(read_announcement(file.read_bytes(), str(file)))
                return
            there = running_twin(self._site.path)
            if there is not None and not there.child:
                self._which_twin = f"uses the twin that runs for this site file, pid {there.pid}, speed {there.speed:g}"
                yield self._not_in_the_past(there)
                return
            options = ["--speed", f"{config.speed:g}", "--state-dir", str(self._state.path)]
            child = await TwinChild.start(self._site.path, options, log=None)
            try:
                self._load_solver()  # while the twin makes its own imports
                announced = await child.announced()
                start = datetime.fromtimestamp(announced.t0_utc_s, UTC)
                if start != datetime.fromisoformat(config.start_utc):
                    self._which_twin = f"the twin goes on at {start:%Y-%m-%d %H:%M:%S} UTC, where the record ends"
                watch = asyncio.create_task(self._watch_twin(child.ended()))
                try:
                    yield announced
                finally:
                    watch.cancel()
            finally:
                await child.stop()
        except (TwinFailed, OSError) as error:
            raise StartRefused(str(error), exit_codes.DEVICE) from None

    async def _watch_twin(self, ended: Awaitable[int]) -> None:
        """A simulated site cannot go on without its twin: the gateway ends, and whoever supervises it restarts it."""
        self._twin_died = await ended
        self._ask_stop(f"its twin ended with exit code {self._twin_died}")

    def _not_in_the_past(self, twin: Announcement) -> Announcement:
        """A twin that we did not start, unless its clock stands before the record's end. Raises StartRefused."""
        ends_s, now_s = record_ends_utc_s(self._state.path), twin.clock.utc_s()
        if ends_s is not None and now_s < ends_s:
            stands, ends = (datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for t in (now_s, ends_s))
            line = f"the twin's clock stands at {stands}, the record in {self._state.path} goes on to {ends}"
            what_to_do = f"start the twin with --state-dir {self._state.path}, or the gateway with another"
            raise StartRefused(f"{line}; {what_to_do}", exit_codes.DEVICE)
        return twin

    def _load_solver(self) -> None:
        """The heavy imports of the first plan, made before there is a tick that they could delay."""
        if self._site.battery and self._site.plan.enabled:
            # here, not above: while the twin makes its own imports, and not where there is nothing to plan
            import highspy  # noqa: F401  and numpy with it

    async def _run_gateway(self, twin: Announcement | None) -> int:
        self._load_solver()
        alive = Liveness(self._systemd, f"{self._site.site.name}: ticking at {self._site.gateway.rate_hz:g} Hz")
        remarks = dict.fromkeys(self._remarks + self._claim_devices(twin))
        gateway = await assemble(self._site, self._state, twin, alive.after_tick)
        self._reload = gateway.reload_prices
        gc.collect()
        gc.freeze()  # what lives as long as the gateway is not looked at again by each full collection
        sys.setswitchinterval(SWITCH_S)
        text = f"gateway started, pid {os.getpid()}, {self._site.gateway.rate_hz:g} Hz"
        gateway.events.event("gateway", "info", "start", text)
        if self._which_twin:
            gateway.events.event("twin", "info", "twin", self._which_twin)
        for line in remarks:
            gateway.events.event("gateway", "alarm", "claims", line)
        ticking = asyncio.create_task(gateway.run())
        introduced = asyncio.create_task(self._introduce(gateway))
        await self._wait_for_end(gateway, ticking, simulated=twin is not None)
        introduced.cancel()
        failure = await self._end(gateway, ticking)
        if self._options.json_summary:
            print(json.dumps(_summary(gateway)), flush=True)
        well = failure is None and self._recorded and self._twin_died is None and not gateway.loop.stop_failed
        return exit_codes.OK if well else exit_codes.FAILED

    async def _introduce(self, gateway: Gateway) -> None:
        """Say on a terminal what runs here, once it is known which devices answer."""
        if self._output.reader is not Reader.TERMINAL:
            return
        published = await gateway.loop.next_tick()
        trouble = "" if gateway.link.listening else "no console can connect"
        place = Place(os.getpid(), gateway.link.path, trouble, self._state.path, self._state.trouble)
        self._output.say(terminal_summary(self._site, published.snapshot, place))
        self._output.setLevel(logging.INFO)

    def _claim_devices(self, twin: Announcement | None) -> list[str]:
        """Claim what this gateway commands; claims of others that do not count, for the log. Raises StartRefused."""
        try:
            return self._claims.take(claimed_devices(self._site, twin))
        except AlreadyRunning as error:
            raise StartRefused(str(error), exit_codes.ALREADY_RUNNING) from None

    async def _wait_for_end(self, gateway: Gateway, ticking: asyncio.Task[None], simulated: bool) -> None:
        """Wait until it is asked to stop, its time is up, or the loop has failed."""
        asked = asyncio.create_task(self._stop.wait())
        await asyncio.wait([ticking, asked], timeout=self._options.for_s, return_when=asyncio.FIRST_COMPLETED)
        if not ticking.done() and not asked.done():
            self._why_stop = f"ran for {self._options.for_s:g} s as asked"
        if asked.done() and self._console_gone and not ticking.done():
            await self._return_to_grid(gateway, ticking, simulated)
        asked.cancel()

    async def _return_to_grid(self, gateway: Gateway, ticking: asyncio.Task[None], simulated: bool) -> None:
        """The console is gone: a drill is aborted, and the site brought back to the grid before the gateway ends."""
        island = gateway.controller.island

        def why() -> str:
            return reason_to_stay(island.state, island.drill is not None, simulated)

        if not why():
            return
        text = f"the console is gone, {why()}: going on until it is on the grid"
        gateway.events.event("island", "alarm", "gateway", text)
        if island.drill is not None:
            reason = "the console is gone"
            gateway.loop.submit(IslandRequest(id="console-gone", kind="abort", who="gateway", reason=reason))

        async def returned() -> None:
            while why():
                await gateway.loop.next_tick()

        over = asyncio.create_task(returned())
        signalled = asyncio.create_task(self._terminated.wait())
        most_s = RETURN_S if simulated else None
        await asyncio.wait([over, ticking, signalled], timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        signalled.cancel()

    async def _end(self, gateway: Gateway, ticking: asyncio.Task[None]) -> BaseException | None:
        """Stop in order: refuse commands, last tick, safe value, planner, records, devices, link. What made it fail."""
        failure = ticking.exception() if ticking.done() else None
        if failure is not None:
            log.error("the tick failed; going to the safe value", exc_info=failure)
            self._why_stop = f"internal error: {failure!r}"
        self._systemd.send("STOPPING=1")
        threading.Thread(target=self._end_at_last, name="last resort", daemon=True).start()
        gateway.log.refuse_all()
        gateway.loop.stop()
        await asyncio.wait([ticking], timeout=TICKS_END_S)
        severity = "info" if failure is None else "alarm"
        gateway.events.event("gateway", severity, "stop", f"gateway stops: {self._why_stop}")
        async with contextlib.AsyncExitStack() as last:  # in reverse; whatever fails, the rest is closed all the same
            last.callback(self._systemd.close)
            last.push_async_callback(_within, LINK_END_S, gateway.link.close, "the link")
            last.push_async_callback(_within, DEVICES_END_S, gateway.close_devices, "the devices")
            last.push_async_callback(self._close_record, gateway)
            last.push_async_callback(_within, AUDIT_END_S, gateway.audit_closed, "the audit")
            last.push_async_callback(_within, PLANS_END_S, gateway.end_plans, "planner and Energy IQ")
            last.callback(gateway.finish_commands)
            last.push_async_callback(_within, LIMITS_END_S, gateway.devices.lift_limits, "the limits of PV")
            await gateway.loop.to_safe_value()
        return failure

    async def _close_record(self, gateway: Gateway) -> None:
        gateway.save_memory()
        self._recorded = bool(await _within(RECORD_END_S, gateway.record_closed, "the record"))
        if not self._recorded:
            error = gateway.recorder.error or "the writer did not finish in time"
            log.error("the record is not complete: %s", error)


async def _within(limit_s: float, end: Callable[[], Awaitable[Found]], what: str) -> Found | None:
    """What `end` returns; None if it takes longer, which is logged, and the next step of the end follows."""
    try:
        return await asyncio.wait_for(end(), limit_s)
    except TimeoutError:
        log.warning("%s did not end within %g s: left", what, limit_s)
        return None


def _summary(gateway: Gateway) -> dict[str, Any]:
    """The figures of the run."""
    return summary(
        gateway.loop.punctuality,
        gateway.loop.balance,
        gateway.devices.reads,
        gateway.devices.writes,
        gateway.recorder.rows_written,
        gateway.controller.pulses_seen,
    )
