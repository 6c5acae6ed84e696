"""What the adapters of render managers share: requests to a manager's HTTP interface, and the lines that Skerry reads.

Needs nothing but Python 3.11. Every failure is one line on standard error and exit code 1.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

MOST_BYTES = 64 << 20  # of an answer
ANSWER_S = 15.0  # of one request, with its answer
MOST, LATEST_S = 10_000_000, 10_000_000_000  # of a count; of a time, s
LONGEST = 200  # characters of a text
WAITING = "/waiting"  # behind the id of a job whose other frames run
PIECE = 1 << 16


class NotAnswered(Exception):
    """Why the manager could not be asked, for a person, in one line."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the address that was given, and to no other."""

    def redirect_request(self, *_: object) -> None:
        return None


class Manager:
    """The HTTP interface of a manager."""

    def __init__(
        self,
        url: str,
        authorization: Callable[[], str] | None = None,
        answer_s: float = ANSWER_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`authorization`: the value of that header, made anew for each request. `context`: None: the system's."""
        self._url, self._authorization, self._answer_s = url.rstrip("/"), authorization, answer_s
        https = urllib.request.HTTPSHandler(context=context)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect(), https)

    def get(self, path: str) -> object:
        """What is there. Raises NotAnswered."""
        return self._decoded(path, self._text(path, "GET", None))

    def post(self, path: str, body: object) -> object:
        """What is answered to this. Raises NotAnswered."""
        return self._decoded(path, self._text(path, "POST", body))

    def put(self, path: str, body: object) -> str:
        """The text that is answered to this. Raises NotAnswered."""
        return self._text(path, "PUT", body).decode(errors="replace")

    def patch(self, path: str, operations: list[dict[str, object]]) -> None:
        """Change what is there by a JSON patch (RFC 6902). Raises NotAnswered."""
        self._text(path, "PATCH", operations, "application/json-patch+json")

    def _decoded(self, path: str, text: bytes) -> object:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            found = printable(text[:60].decode(errors="replace"))
            raise NotAnswered(f"{self._url}{path}: expected JSON, found {found!r}: is this the address?") from None

    def _text(self, path: str, method: str, body: object, kind: str = "application/json") -> bytes:
        where = f"{self._url}{path.partition('?')[0]}"
        headers = {"Accept": "application/json"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization()
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), kind
        try:
            request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
            with within(self._answer_s), self._opener.open(request) as answer:
                return self._whole(where, answer)
        except urllib.error.HTTPError as error:
            raise NotAnswered(f"{where}: {_refusal(error)}") from None
        except TimeoutError:
            raise NotAnswered(f"{where}: no whole answer within {self._answer_s:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
            why = getattr(error, "reason", None) or error
            if isinstance(why, TimeoutError):
                why = f"no whole answer within {self._answer_s:g} s"
            raise NotAnswered(f"{where}: {printable(str(why))[:LONGEST]}") from None

    def _whole(self, where: str, answer: http.client.HTTPResponse) -> bytes:
        text = bytearray()
        while piece := answer.read1(PIECE):
            text += piece
            if len(text) > MOST_BYTES:
                raise NotAnswered(f"{where}: more than {MOST_BYTES >> 20} MiB: let it list fewer jobs")
        if answer.length:  # so many bytes are missing
            raise NotAnswered(f"{where}: the answer was cut off")
        return bytes(text)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What takes longer raises TimeoutError; also where something comes again and again, a header line at a time."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _refusal(error: urllib.error.HTTPError) -> str:
    advice = {
        401: ": the token is not accepted, or none was given: check the file that holds it",
        403: ": the token does not allow this: check whose it is",
        404: ": is this the address of the manager?",
        422: ": it does not take this: was it changed by another in between?",
    }
    redirect = ": it answers with a redirection, which is not followed: give the address that it leads to"
    return f"HTTP {error.code}{redirect if 300 <= error.code < 400 else advice.get(error.code, '')}"


def secret_in(path: str) -> str:
    """The first line of a file that only its owner and group may read. Raises NotAnswered."""
    try:
        if stat.S_IMODE(os.stat(path).st_mode) & 0o007:
            raise NotAnswered(f"{path}: every user may read it: chmod 600")
        with open(path, encoding="utf-8") as file:
            secret = file.readline(LONGEST * 100).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotAnswered(f"{path}: {getattr(error, 'strerror', None) or 'not a text'}") from None
    if not secret:
        raise NotAnswered(f"{path}: empty; expected one line")
    return secret


def bearer(path: str | None) -> Callable[[], str] | None:
    """The header with the token of a file; None: without a file none is sent."""
    return (lambda: f"Bearer {secret_in(path)}") if path else None


def basic(path: str | None) -> Callable[[], str] | None:
    """The header with the "user:password" of a file; None: without a file none is sent."""
    return (lambda: f"Basic {base64.b64encode(secret_in(path).encode()).decode()}") if path else None


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def render_job(
    about: dict[str, object], running: dict[str, object], waiting: dict[str, object]
) -> Iterator[dict[str, object]]:
    """The lines of a render job: what its running frames hold, and what those that wait would take besides.

    A job with running frames has its own id, and its waiting frames "ID/waiting"; a job that only waits has its own id.
    No start is told: frames come and go. Skerry takes the job's run from the reading that first shows frames of it to
    the one that shows none. `running` or `waiting` empty: there are no such frames.
    """
    if running:
        yield about | {"state": "running"} | running
    if waiting:
        id = f"{str(about['id'])[: LONGEST - len(WAITING)]}{WAITING}" if running else about["id"]
        yield about | {"state": "pending"} | waiting | {"id": id}


def print_lines(asked_s: float, jobs: Iterable[dict[str, object]]) -> None:
    """Print the first line, which says how many follow, and the jobs."""
    lines = [json.dumps(job) for job in jobs]
    print(json.dumps({"format": "skerry-jobs/1", "jobs": len(lines), "utc_s": asked_s}))
    sys.stdout.writelines(f"{line}\n" for line in lines)


def text(value: object) -> str:
    """A text of a manager's, no longer than Skerry takes, and without halves of characters, which no line may hold."""
    return value[:LONGEST].encode(errors="replace").decode() if isinstance(value, str) else ""


def printable(value: str) -> str:
    """Text in one line."""
    return "".join(c if c.isprintable() else " " for c in value)


def number(value: object, most: int = MOST) -> int:
    """A number; 0 where it is missing, something else, or more than Skerry takes. JSON of protobuf has some as text."""
    if isinstance(value, str):
        value = int(value) if value.isdecimal() and len(value) < 20 else 0
    return int(value) if isinstance(value, (int, float)) and 0 < value <= most else 0


def utc_s(value: object) -> float:
    """A time such as 2021-05-26T18:35:51.53+00:00, POSIX seconds; 0 for a zero time and where there is none."""
    try:
        told = datetime.fromisoformat(text(value))
        found = told.timestamp() if told.year > 1970 else 0.0
        return found if 0 < found <= LATEST_S else 0.0
    except (ValueError, OverflowError, OSError):
        return 0.0


def rows(answer: object, *path: str) -> list[dict[str, object]]:
    """The objects of a list inside an answer. Raises NotAnswered where the answer is of another form."""
    found = answer
    for key in path:
        if not isinstance(found, dict):
            break
        found = found.get(key, [])
    if found is None:  # so some encode an empty list
        return []
    if not isinstance(found, list):
        inside = f" in {'.'.join(path)}" if path else ""
        raise NotAnswered(f"the answer: expected a list{inside}, found {type(found).__name__}: is this the manager?")
    return [row for row in found if isinstance(row, dict)]


def part(row: dict[str, object], key: str) -> dict[str, object]:
    """An object inside another; empty where there is none."""
    found = row.get(key)
    return found if isinstance(found, dict) else {}


def parser(about: str, token: str = "") -> argparse.ArgumentParser:
    """Of a command line with the manager's address and, where `token` says what is in it, the file of the token."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("url", help="address of the manager, such as http://farm.example.org:8080")
    if token:
        made.add_argument("--token-file", metavar="FILE", help=token)
    return made


def run(work: Callable[[], None]) -> int:
    """Do the work; the exit code."""
    try:
        work()
    except NotAnswered as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    return 0
