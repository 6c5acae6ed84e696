"""The log of the gateway: levels for the journal, words for a terminal, and nobody who logs ever waits."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LIMIT_S

from gateway import log_output
from gateway.log_output import LogFormat, LogOutput, Reader, printable, reader_of


def a_record(level: int, text: str, **extra: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "skerry.gateway", "levelno": level, "levelname": "X", "msg": text, **extra})


def failed() -> logging.LogRecord:
    record = a_record(logging.ERROR, "the tick failed")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


def test_every_line_for_the_journal_has_its_level() -> None:
    """Without one, the lines of a traceback would be of the lowest level."""
    journal = LogFormat(Reader.JOURNAL)
    assert journal.format(a_record(logging.WARNING, "late")) == "<4>skerry.gateway: late"
    assert journal.format(a_record(logging.INFO, "started")) == "<6>skerry.gateway: started"
    lines = journal.format(failed()).splitlines()
    assert len(lines) > 3
    assert {line[:19] for line in lines} == {"<3>skerry.gateway: "}


def test_a_file_has_time_and_level_and_no_prefix() -> None:
    line = LogFormat(Reader.FILE).format(a_record(logging.WARNING, "late"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} skerry\.gateway X late", line)


def test_a_terminal_has_short_lines_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal = LogFormat(Reader.TERMINAL)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  pcs1: back", terminal.format(a_record(logging.INFO, "pcs1: back")))
    alarm = terminal.format(a_record(logging.ERROR, "grid: " + "outage " * 30, severity="alarm"))
    assert alarm[10:].startswith("ALARM grid: outage")
    first, *more = alarm.splitlines()
    assert more
    assert max(map(len, [first, *more])) < 80
    assert all(line.startswith(" " * 10 + "outage") for line in more)


@pytest.mark.parametrize("forged", ["a\x1b[2Jb", "a\n<0>b", "a\u202eb", "a\x9bb", "a\u2028b"])
def test_nothing_from_outside_forges_a_line_or_steers_a_terminal(forged: str) -> None:
    for reader in Reader:
        text = LogFormat(reader).format(a_record(logging.INFO, forged))
        assert text.isprintable()
    assert printable("two\twords ü") == "two words ü"


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A small pipe: the end to read, and the other as a stream."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    stream = open(write, "w", encoding="utf-8")  # noqa: SIM115
    yield read, stream
    os.close(read)
    stream.close()


def drained(read: int, until: str) -> str:
    text = ""
    while until not in text:
        text += os.read(read, 65536).decode()
    return text


def test_a_reader_that_stalls_holds_up_nobody_and_is_told_what_it_missed(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    output = LogOutput(stream, {})
    for n in range(log_output.QUEUE_LINES * 3):  # far beyond the pipe; a write that waited here would never return
        output.emit(a_record(logging.INFO, f"line {n}"))
    assert "lines of the log were lost" in drained(read, "could not be written in time")
    output.emit(a_record(logging.INFO, "and on"))
    drained(read, "and on\n")
    output.flush()


def test_a_pipe_that_others_set_not_to_block_loses_nothing(pipe: tuple[int, io.TextIOWrapper]) -> None:
    read, stream = pipe
    os.set_blocking(stream.fileno(), False)
    text, got = "line\n" * 5_000 + "end", list[str]()
    reader = threading.Thread(target=lambda: got.append(drained(read, "end")), daemon=True)
    reader.start()
    log_output._write_all(stream, text)
    reader.join(LIMIT_S)
    assert got == [text]


def test_flush_waits_for_the_last_line(pipe: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "FLUSH_S", LIMIT_S)
    read, stream = pipe
    output = LogOutput(stream, {})
    for n in range(20):
        output.emit(a_record(logging.INFO, f"line {n}"))
    output.flush()
    os.set_blocking(read, False)
    assert os.read(read, 65536).decode().endswith("line 19\n")


def test_a_reader_that_is_gone_ends_nothing(pipe: tuple[int, io.TextIOWrapper], tmp_path: Path) -> None:
    with (tmp_path / "closed").open("w") as stream:
        output = LogOutput(stream, {})
    for _ in range(3):
        output.emit(a_record(logging.INFO, "nobody"))
        output.flush()


def test_who_reads_is_found(pipe: tuple[int, io.TextIOWrapper]) -> None:
    """A journal by what systemd says of it; a service whose output is a terminal is still a service."""
    _, stream = pipe
    found = os.fstat(stream.fileno())
    journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    assert reader_of(stream, {}) is Reader.FILE
    assert reader_of(stream, journal) is Reader.JOURNAL
    assert reader_of(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}) is Reader.FILE
    assert reader_of(io.StringIO(), journal) is Reader.FILE
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        assert reader_of(terminal, {}) is Reader.TERMINAL
        assert reader_of(terminal, {"NOTIFY_SOCKET": "/run/systemd/notify"}) is Reader.FILE
    os.close(ours)
