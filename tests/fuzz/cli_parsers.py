"""The command line, where gateway or record say anything at all: an exit code and a line, never a traceback."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import socket
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fuzzing import Feed, Parser
from link_parsers import recorded
from record_parsers import rows_of, with_rows

from console.cli.main import run
from dispatch.alarms.states import AlarmState
from dispatch.model.readings import Quality
from gateway.api import ask
from gateway.api.frames import encode
from gateway.api.protocol import VERSION, Request, Response, Welcome
from storage import schema
from storage.moment import Gap, Moment, PastAlarm, Value

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("status", "--at", "12:00"),
    ("status", "--at", "12:00", "--json"),
    ("why",),
    ("why", "--json"),
    ("events",),
    ("plan",),
    ("plan", "--json"),
    ("orders",),
    ("reservations",),
    ("reserve", "--kw", "1", "--for", "1h"),
    ("drill", "status"),
    ("drill", "report"),
    ("drill", "start", "--minutes", "1", "--reason", "test"),
    ("audit",),
    ("setpoint", "1kW", "--reason", "test"),
    ("hold",),
    ("setpoint", "1kW", "--reason", "test", "--dry-run"),
    ("iq",),
    ("ack", "all"),
)
ON_RECORD = (
    ("status",),
    ("status", "--json"),
    ("why",),
    ("events",),
    ("audit",),
    ("drill", "report"),
    ("event", "report"),
    ("iq",),
    ("bill", "--from", "-1h"),
    ("jobs", "--past"),
    ("export", "out"),
)


@functools.cache
def answers() -> dict[str, Any]:
    """What a gateway of version 0.1.0 answered to each method, as a gateway of this version says it."""
    asked = [msgspec.msgpack.decode(frame[4:]) for frame in recorded("client")]
    methods = {message["id"]: message["method"] for message in asked if message["type"] == "request"}
    found: dict[str, Any] = {}
    for frame in recorded("gateway", 2):
        message = ask.decode(frame[4:], Path())
        if isinstance(message, Response) and message.ok:
            found.setdefault(methods[message.id], message.result)
    alarm = PastAlarm("device-lost:pv1", AlarmState.ACKNOWLEDGED, 1.7e9, "no good answer", "ada")
    values = {"grid.w": Value(1.0, "W", Quality.GOOD, 0.5), "n.w": Value(None, "W", Quality.MISSING)}
    gaps = (Gap("raw", 1.7e9, 1.8e9, "disk-cap"),)
    found["at"] = msgspec.to_builtins(Moment(1.7e9, "raw", values, (alarm,), None, gaps, 1.6e9, 1.8e9))
    return found


class Gateway:
    """Says welcome, then answers each method with what it was given for it."""

    def __init__(self, path: Path) -> None:
        self.given: Any = {}
        self.asked: set[str] = set()
        said = (ask.decode(frame[4:], path) for frame in recorded("gateway", 2))
        welcome = next(message for message in said if isinstance(message, Welcome))
        self._welcome = encode(msgspec.structs.replace(welcome, version=VERSION))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:  # closed
                return
            with link, contextlib.suppress(OSError, EOFError), link.makefile("rb") as incoming:
                self._converse(link, incoming)

    def _converse(self, link: socket.socket, incoming: io.BufferedReader) -> None:
        _frame(incoming)
        link.sendall(self._welcome)
        while True:
            request = msgspec.msgpack.decode(_frame(incoming), type=Request)
            self.asked.add(request.method)
            known = isinstance(self.given, dict) and request.method in self.given
            result = self.given[request.method] if known else answers().get(request.method)
            link.sendall(encode(Response(request.id, True, result)))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _frame(incoming: io.BufferedReader) -> bytes:
    body = incoming.read(int.from_bytes(incoming.read(4), "big"))
    if not body:
        raise EOFError
    return body


def said(*arguments: str) -> None:
    """Run a command; it must end with a code, and say in a line what is wrong."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*arguments])
    err.flush()
    told = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert 0 <= code <= 6, (code, told)
    assert "Traceback" not in told, told
    assert "internal error: ValidationError" not in told, told


@contextlib.contextmanager
def gateways(directory: Path) -> Iterator[Feed]:
    del directory  # too long for a socket
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        path = Path(name) / "s.sock"
        gateway = Gateway(path)

        asked: dict[tuple[str, ...], set[str]] = {}
        for command in COMMANDS:
            said(*command, "--site", str(path))
            asked[command], gateway.asked = gateway.asked, set()

        def feed(data: bytes) -> None:
            try:
                gateway.given = msgspec.msgpack.decode(data)
            except (ValueError, RecursionError):
                return
            meant = [c for c in COMMANDS if isinstance(gateway.given, dict) and asked[c] & gateway.given.keys()]
            command = (meant or COMMANDS)[zlib.crc32(data) % len(meant or COMMANDS)]
            said(*command, "--site", str(path))

        yield feed
        gateway.close()


def on_record(place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(place))
        patch.chdir(place.parent)
        for command in ON_RECORD:
            shutil.rmtree("out", ignore_errors=True)
            said(*command)


PARSERS = (
    Parser(
        "answers to the command line",
        (
            "console.cli.data_source:Live.at",
            "console.cli.data_source:Live.why",
            "console.cli.data_source:Live.events",
            "console.cli.data_source:Live.drills",
            "console.cli.iq:iq",
            "console.cli.island:_ask",
            "console.cli.island:status_lines",
            "console.cli.orders:_line",
            "console.cli.orders:_shown",
            "console.cli.orders:_answered",
            "console.cli.plan:plan",
            "console.cli.status:_now",
            "console.cli.reservations:reserve",
            "console.cli.reservations:_line",
            "console.cli.json_output:with_words",
            "console.cli.json_output:_alarm",
        ),
        lambda: [msgspec.msgpack.encode({method: result}) for method, result in answers().items()],
        gateways,
        tree="msgpack",
    ),
    Parser(
        "a record on the command line",
        (
            "console.cli.data_source:_written_last",
            "console.cli.data_source:locate",
            "console.cli.data_source:record",
            "console.cli.recorded_site:site_terms",
            "console.cli.jobs:_charges",
            "console.cli.grid_events:_kept",
        ),
        rows_of(schema.FILE, "state", "decision", "event", "drill"),
        with_rows(schema.FILE, on_record),
        tree="json",
        share=0.1,
    ),
)
