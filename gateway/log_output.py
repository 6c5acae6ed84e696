"""Writes the gateway's log for whoever reads it: the journal, a terminal, or a file. Never holds up who logs.

A stopped terminal, a full pipe or a hanging journal blocks only the thread that writes; lines beyond a bounded queue
are dropped and counted.
"""

from __future__ import annotations

import collections
import enum
import logging
import os
import select
import shutil
import textwrap
import threading
import time
from collections.abc import Mapping
from typing import TextIO

QUEUE_LINES = 2000
FLUSH_S = 1.0  # a process that ends waits so long at most for its last lines
WIDEST = 100  # columns on a terminal; a narrower one is filled
REPLACED = "\ufffd"
# Level prefixes of sd-daemon(3), which are those of syslog(3).
PRIORITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
LEVEL_WORDS = {logging.CRITICAL: "ERROR ", logging.ERROR: "ERROR ", logging.WARNING: "WARNING "}

SEVERITY_WORDS = {"alarm": "ALARM "}


class Reader(enum.Enum):
    """Who reads the log."""

    JOURNAL = "journal"  # lines with a level prefix; the journal has the time
    TERMINAL = "terminal"  # a person
    FILE = "file"  # a file or another program


def reader_of(stream: TextIO, environ: Mapping[str, str]) -> Reader:
    """Who reads a stream. `$JOURNAL_STREAM` names the journal's by device and inode, see systemd.exec(5)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return Reader.FILE
    if environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}":
        return Reader.JOURNAL
    # a service with a terminal as its output (StandardError=tty) is still a service
    return Reader.TERMINAL if stream.isatty() and "NOTIFY_SOCKET" not in environ else Reader.FILE


class LogFormat(logging.Formatter):
    """One line per message, without characters that steer a terminal; a traceback's lines follow."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    def format(self, record: logging.LogRecord) -> str:
        """The text, without a line end."""
        lines = [printable(record.getMessage())]
        if record.exc_info:
            lines += [printable(line) for line in self.formatException(record.exc_info).splitlines()]
        if self._reader is Reader.JOURNAL:  # each line by itself is a message of the journal
            prefix = f"<{PRIORITY.get(record.levelno, 6)}>{record.name}: "
            return "\n".join(prefix + line for line in lines)
        at = time.localtime(record.created)
        if self._reader is Reader.TERMINAL:
            severity = getattr(record, "severity", "")  # of an event
            lines[0] = SEVERITY_WORDS.get(severity, LEVEL_WORDS.get(record.levelno, "")) + lines[0]
            return "\n".join(wrapped(f"{time.strftime('%H:%M:%S', at)}  ", line) for line in lines)
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S', at)},{record.msecs:03.0f} {record.name} {record.levelname} "
        return "\n".join([head + lines[0], *lines[1:]])


class LogOutput(logging.Handler):
    """Hands lines to a thread that writes them to a stream."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self.reader = reader_of(stream, environ)
        self.setFormatter(LogFormat(self.reader))
        self._stream = stream
        self._lines: collections.deque[str] = collections.deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._writing = False
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; returns at once."""
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the message
            self.handleError(record)
            return
        self.say(text)

    def say(self, text: str) -> None:
        """Queue a text as it is."""
        with self._changed:
            if len(self._lines) >= QUEUE_LINES:
                self._dropped += 1
                return
            self._lines.append(text)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, at most `FLUSH_S`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, FLUSH_S)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                lines, dropped = list(self._lines), self._dropped
                self._lines.clear()
                self._dropped, self._writing = 0, True
            if dropped:
                lines.append(f"skerry: {dropped} lines of the log were lost: they could not be written in time")
            try:
                _write_all(self._stream, "\n".join(lines) + "\n")
            except (OSError, ValueError):
                continue  # the terminal or the reader is gone: there is nobody to tell


def begin_log(stream: TextIO, greeting: str) -> LogOutput:
    """Send the log of this process to a stream.

    On a terminal it begins with a greeting, and up to `setLevel` there are warnings only: what every start says is
    then said in one text (`terminal_summary.py`).
    """
    output = LogOutput(stream)
    logging.basicConfig(level=logging.INFO, handlers=[output])
    if output.reader is Reader.TERMINAL:
        output.setLevel(logging.WARNING)
        output.say(printable(greeting))
    return output


def _write_all(stream: TextIO, text: str) -> None:
    """Write past the stream's buffer: a write that stalls in it holds its lock, and with it the end of the process."""
    try:
        handle = stream.fileno()
    except OSError:  # no file, as in a test
        stream.write(text)
        return
    raw = text.encode(stream.encoding or "utf-8", "backslashreplace")
    while raw:
        try:
            raw = raw[os.write(handle, raw) :]
        except BlockingIOError:  # a terminal or pipe that whoever shares it has set not to block
            select.select([], [handle], [])


def printable(text: str) -> str:
    """Text that stays on its line and steers no terminal; names and messages come from devices and users."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else REPLACED for c in text)


def wrapped(head: str, text: str) -> str:
    """A text behind its head, within the terminal's width; further lines are indented by the head's."""
    columns = min(WIDEST, shutil.get_terminal_size().columns)
    return textwrap.fill(
        text,
        max(columns - 1, len(head) + 20),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
