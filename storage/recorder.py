"""Records a site: takes snapshots, decisions and events from the tick and writes them in one thread.

Nothing here waits for a disk on the caller's side, and nothing raises into the tick. What cannot be written waits in
memory, bounded, and is written once it can be; `error` says what is wrong and what to do.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from dispatch.model.clock import Clock
from dispatch.model.events import Event
from storage.ballast import Ballast
from storage.config import StorageConfig
from storage.damage import advice, is_broken, words
from storage.file import TelemetryFile
from storage.inbox import EVENTS_WAITING, LATE_S, Inbox, NotRecorded, Waiting
from storage.intake import Intake
from storage.keep_working import keep_working
from storage.maintenance import Maintenance
from storage.packing import Source
from storage.resolution import COARSE, FINE
from storage.rows import to_us
from storage.schema import FILE, NewerSchema

RETRY_S = 2.0  # after a failure
HANGS_S = 15.0  # a write that has not ended for so long: packing a quarter hour takes less on a slow disk
BALLAST_S = 10.0  # between two looks whether the disk has room again

log = logging.getLogger("skerry.storage")


def nobody() -> Source:
    """The source of blocks where there is no identity."""
    return uuid.UUID(int=0), uuid.UUID(int=0)


class _MachineClock:
    speed = 1.0
    utc_s = staticmethod(time.time)
    mono_s = staticmethod(time.monotonic)


class Recorder(Inbox):
    """Keeps the site's telemetry, events, decisions and the controller's memory.

    Args:
        directory: the state directory; made if it is not there.
        config: sampling and flush periods. At most `flush_s` (machine seconds) of telemetry are at risk in a power cut.
        boot_id: of this machine, beside every monotonic time.
        deadband_w: a setpoint that moves less is not a new decision worth a row.
        clock: the site's; the machine's by default.
        source: gives the UUIDs of site and incarnation, for the packed blocks.
        ballast: what is given up when the disk is full. Until it is whole again only the controller's memory, drills
            and events are written; the rest waits in memory.
    """

    def __init__(
        self,
        directory: Path,
        config: StorageConfig,
        boot_id: str,
        *,
        deadband_w: float = 250.0,
        clock: Clock | None = None,
        source: Callable[[], Source] = nobody,
        ballast: Ballast | None = None,
    ) -> None:
        super().__init__(clock or _MachineClock(), config.flush_s)
        self._ballast = ballast or Ballast(directory, 0)
        self._ballast_at = 0.0
        self._file = TelemetryFile(directory / FILE, boot_id, source, self._take_in)
        self._intake = Intake(config, deadband_w)
        self._config = config
        self._flush_rows = max(1, int(config.flush_s * self._clock.speed / config.hot_period_s))
        self._notices: deque[Event] = deque(maxlen=EVENTS_WAITING)
        self._rows: dict[str, int] = {"hot": 0, "r1m": 0, "decision": 0, "event": 0, "drill": 0}
        self._maintenance = Maintenance(self._file, config)
        self._left_out = 0  # signals beyond what the record takes
        self._error = ""
        self._retry_at = 0.0
        self._busy_since_s: float | None = None  # machine seconds, while the thread writes
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._keep_working, name="recorder", daemon=True)
        self._thread.start()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until the file is open and checked; False if it is not by then (`error` says why)."""
        return self._opened.wait(timeout_s)

    @property
    def replaced(self) -> bool:
        """The file was damaged and a new one begun: what earlier runs had saved in it is not known."""
        return self._file.replaced

    def notices(self) -> list[Event]:
        """What the recorder itself had to say since the last call: a damaged file, a clock step, a full disk.

        They are in the record already; show them, do not record them again.
        """
        result = []
        while self._notices:
            result.append(self._notices.popleft())
        return result

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, close the file, end the thread. False if it took longer, or something stayed unwritten."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._error

    @property
    def error(self) -> str:
        """Why nothing is being written, and what to do; empty when all is well."""
        if not self._thread.is_alive() and not self._closing.is_set():
            return f"records: {self._file.path} is not written: its thread has ended; restart the gateway"
        since_s = self._busy_since_s
        if since_s is not None and time.monotonic() - since_s > HANGS_S:
            return f"records: {self._file.path} has not been written for more than {HANGS_S:g} s: the disk hangs"
        return self._error

    @property
    def ballast_missing(self) -> str:
        """What of the reserve for a full disk is gone, and what that means; empty while it is whole."""
        missing = self._ballast.missing
        return (
            f"the disk is full: {missing}; samples wait in memory, an hour of them at most" if self._saving else missing
        )

    @property
    def dropped(self) -> int:
        """Ticks, rows and events lost because no more could wait."""
        return self._overflow + self._intake.dropped

    @property
    def rows_written(self) -> int:
        """Rows committed by this recorder, all tables."""
        return sum(self._rows.values())

    @property
    def rows(self) -> dict[str, int]:
        """Rows committed by this recorder, by table."""
        return dict(self._rows)

    # ── the writer thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _keep_working(self) -> None:
        keep_working("recorder", self._work, self._begin_again, self._closing.wait, RETRY_S, log)

    def _begin_again(self, error: Exception) -> None:
        self._busy_since_s, self._error = None, f"records: internal error: {error!r}"

    def _work(self) -> None:
        self._turn(force=True)  # open, check and migrate at once
        while not self._closing.is_set():
            self._wake.wait(self._poll_s)
            self._wake.clear()
            self._turn(force=False)
            self._look_at_ballast()
            self._maintain()
        self._retry_at = 0.0
        self._turn(force=True)
        if self._events and not self._error:
            self._turn(force=True)  # what that turn itself had to say
        try:
            self._file.close(to_us(self._clock.utc_s()))
        except sqlite3.Error as error:
            self._failed(error)
        self._refuse(self._error or "the recorder is closed", list(self._flushes))

    def _turn(self, force: bool) -> None:
        """Take in what was handed over; write what is due."""
        self._busy_since_s = time.monotonic()
        try:
            self._write_due(force)
        finally:
            self._busy_since_s = None

    def _write_due(self, force: bool) -> None:
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]  # before the ticks they must cover
        self._take_in()
        force = force or bool(flushes)
        due = time.monotonic() >= self._flush_at or len(self._intake.hot) >= self._flush_rows
        if not (force or due or self._events):
            return
        if time.monotonic() < self._retry_at:
            self._refuse(self._error, flushes)
            return
        try:
            self._write(force, force or due)
        except (sqlite3.Error, OSError, NewerSchema) as error:
            self._failed(error)
            self._refuse(self._error, flushes)
        except Exception as error:  # a bug must not end the record of everything that follows
            log.exception("recorder: unexpected failure")
            self._failed(error)
            self._refuse(self._error, flushes)
        else:
            self._recovered()
            for future in flushes:
                future.set_result(None)

    def _write(self, whole: bool, rows: bool) -> None:
        """Events, and `rows`; once more for each piece of the ballast that a full disk takes. Raises what stays."""
        while True:
            try:
                self._file.ensure_open(self._clock.utc_s())
                self._opened.set()
                self._report_found()
                self._write_events()
                if rows:
                    self._write_rows(whole)
                return
            except (sqlite3.Error, OSError) as error:
                begins = not self._saving
                if not self._ballast.relieves(error):
                    raise
                if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL"):
                    self._file.abandon()
                if begins:
                    self._notice(Event(self._clock.utc_s(), "gateway", "alarm", "storage", self.ballast_missing))

    @property
    def _saving(self) -> bool:
        """The disk was full, and the ballast is not whole yet: it is not for samples, until the end of the run."""
        return self._ballast.given_up and not self._closing.is_set()

    def _look_at_ballast(self) -> None:
        """Make the ballast, or make it anew as soon as the disk has room for it."""
        if self._error or not self._opened.is_set() or time.monotonic() < self._ballast_at:
            return
        self._ballast_at = time.monotonic() + BALLAST_S
        was_saving = self._saving
        try:
            self._ballast.make()
        except OSError as error:
            log.debug("the ballast is not made: %s", error)
        if was_saving and not self._saving:
            lost = f"{self.dropped} ticks, rows and events were lost" if self.dropped else "nothing was lost"
            text = f"the disk has room again: all records are written, and the reserve for a full disk is whole; {lost}"
            self._notice(Event(self._clock.utc_s(), "gateway", "info", "storage", text))
            self._flush_at = time.monotonic()

    def _take_in(self) -> None:
        """Ticks and states into the intake."""
        while self._ticks:
            tick = self._ticks.popleft()
            try:
                step = self._intake.take(*tick)
            except Exception:  # one tick that cannot be understood is lost, the next one is not
                log.exception("recorder: tick %s not recorded", tick[0].seq)
                self._overflow += 1
                continue
            if step is not None or not tick[0].utc_known:
                self._maintenance.clock_stepped()
            if step is not None:
                self._notice(step)
        left_out = self._intake.resolutions.left_out
        if left_out > self._left_out:
            text = f"{left_out} signals are not recorded: with {FINE + COARSE} others the record is full"
            self._notice(Event(self._clock.utc_s(), "gateway", "warning", "storage", text))
        self._left_out = left_out
        while self._drills:
            self._intake.drills.append(self._drills.popleft())
        while self._jobs:
            self._intake.account(self._jobs.popleft())
        while self._states:
            key, value = self._states.popitem()
            self._intake.states[key] = value

    def _write_events(self) -> None:
        """Events one by one, each taken off the queue only when the file has it."""
        while self._events:
            waiting = self._events[0]
            try:
                row = self._file.write_event(waiting.event, waiting.mono_ns, waiting.durable)
            except (TypeError, ValueError, sqlite3.IntegrityError, sqlite3.InterfaceError) as error:
                self._events.popleft()  # no row can be made of it, today or later; the ones behind it go on
                self._overflow += 1
                log.error("recorder: event not recorded: %s: %s", error, waiting.event)
                if not waiting.future.done():
                    waiting.future.set_exception(NotRecorded(f"no row can be made of this event: {error}"))
                continue
            self._events.popleft()
            self._rows["event"] += 1
            if not waiting.future.done():
                waiting.future.set_result(row)

    def _write_rows(self, whole: bool) -> None:
        """Everything else, in one transaction. `whole`: also the minute that still runs."""
        self._flush_at = time.monotonic() + self._flush_s + LATE_S
        for name, sequence in list(self._holds.items()):
            self._file.hold(name, sequence, self._clock.utc_s())
            if self._holds[name] == sequence:
                del self._holds[name]
        if self._saving:
            if self._intake.states or self._intake.drills:
                self._rows["drill"] += self._file.write_memory(self._intake)["drill"]
                self._intake.memory_written()
            return
        if self._intake.nothing_due(whole):
            return
        for table, rows in self._file.write(self._intake, whole).items():
            self._rows[table] += rows
        self._intake.written(whole)

    def _maintain(self) -> None:
        """A step of what is done after the writing: little at a time."""
        now_s = self._intake.newest_utc_s
        if self._error or not self._opened.is_set() or now_s is None:
            return
        try:
            told = self._maintenance.step(now_s, self._intake.resolutions.recorded)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._failed(error)
            return
        if told:
            self._notice(Event(self._clock.utc_s(), "gateway", "warning", "storage", told))
        self._report_found()

    def _report_found(self) -> None:
        """What the file found out while it was opened."""
        while self._file.found:
            self._notice(self._file.found.pop(0))

    def _notice(self, event: Event) -> None:
        """Record and show an event of the recorder's own."""
        self._notices.append(event)
        self._events.append(Waiting(event, int(self._clock.mono_s() * 1e9), durable=False))

    def _failed(self, error: BaseException) -> None:
        """Say what is wrong, let go of a connection that may be broken, try again later."""
        self._retry_at = time.monotonic() + RETRY_S
        self._flush_at = self._retry_at
        name = getattr(error, "sqlite_errorname", "")
        todo = advice(error)
        line = f"records: cannot write {self._file.path}: {words(error, self._file.path)}"
        line += f"; {todo}" if todo else ""
        begins = not self._error
        self._error = line
        utc_s = self._clock.utc_s()
        if is_broken(error):
            try:
                self._file.set_aside(utc_s, str(error))
            except OSError as second:
                self._error = f"{line}; and it cannot be moved aside: {second}"
        elif not name.startswith(("SQLITE_FULL", "SQLITE_BUSY")):
            self._file.abandon()
        if begins:
            self._notice(Event(utc_s, "gateway", "alarm", "storage", self._error))
        while len(self._events) > EVENTS_WAITING:
            self._events.popleft()
            self._overflow += 1

    def _recovered(self) -> None:
        """The first success after a failure."""
        if self._error:
            self._error = ""
            lost = f"; {self.dropped} ticks, rows and events were lost" if self.dropped else "; nothing was lost"
            self._notice(Event(self._clock.utc_s(), "gateway", "info", "storage", f"records are written again{lost}"))

    def _refuse(self, why: str, flushes: list[Future[None]]) -> None:
        """Tell everyone who waits that nothing is on disk; the events themselves go on waiting."""
        for waiting in tuple(self._events):
            if not waiting.future.done():
                waiting.future.set_exception(NotRecorded(why))
        for future in flushes:
            future.set_exception(NotRecorded(why))
