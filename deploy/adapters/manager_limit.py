"""Changes a limit of a render manager for Skerry, and puts back what was found. For the commands `*-limit`.

    COMMAND show      print the limit, how many run under it, what was found before Skerry, whether another changed it
    COMMAND set N     let at most N run; says that Skerry is alive
    COMMAND restore   put back what was found, unless another has changed the limit: that stays
    COMMAND lapse     put back what was found if nobody has called `set` for five minutes, unless another has changed
                      the limit: for a timer on the manager's machine

A file keeps what was found and what was set; its time is that of the last `set`. It is written before the limit is
changed, so that a command that is killed in between leaves no limit behind that nobody knows to be Skerry's.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from manager_http import NotAnswered, parser, run, within

LAPSES_S = 300.0
LOCK_S = 60.0  # for another call to end: three requests at the most
MOST = 1_000_000
NAME = re.compile(r"[A-Za-z0-9._ -]{1,64}")


class Limit(Protocol):
    """A limit as its manager has it."""

    least: int  # that may be set

    def value(self) -> int:
        """What it is. Raises NotAnswered."""

    def used(self) -> int:
        """How many run under it. Raises NotAnswered."""

    def write(self, value: int) -> None:
        """Set its value. Raises NotAnswered."""


class Kept:
    """The file in which stands what was found and what was set."""

    def __init__(self, directory: str, name: str, url: str) -> None:
        """`url`: of the manager, as limits of several may have the same name."""
        self._path, self._url = os.path.join(directory, f"{name}.json"), url
        self.found: int | None = None  # None: nothing of ours is set
        self.wrote: list[int] = []  # the last, and while it is being changed the one before

    @property
    def age_s(self) -> float:
        """How long ago it was last written; a time ahead of the clock counts as long ago as it is ahead."""
        return abs(time.time() - os.stat(self._path).st_mtime)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Read the file; nobody else changes it meanwhile. Raises NotAnswered."""
        try:
            with open(f"{self._path}.lock", "w", encoding="ascii") as lock:
                self._wait_for(lock.fileno())
                self._read()
                yield
        except OSError as error:
            advice = "make the directory, and give it to the user who runs this: install -d -o USER"
            raise NotAnswered(f"{error.filename or self._path}: {error.strerror}: {advice}") from None

    def _wait_for(self, lock: int) -> None:
        try:
            with within(LOCK_S):
                fcntl.flock(lock, fcntl.LOCK_EX)
        except TimeoutError:
            raise NotAnswered(f"{self._path}.lock: held for more than {LOCK_S:g} s: does a call hang?") from None

    def keep(self, found: int, wrote: list[int]) -> None:
        """Write it, with the time of now."""
        text = json.dumps({"found": found, "wrote": wrote, "url": self._url})
        with open(f"{self._path}.new", "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{self._path}.new", self._path)
        self.found, self.wrote = found, wrote

    def intend_to_restore(self, value: int) -> None:
        """What was found is about to be set. The time of the last `set` stays, so that it can lapse if that fails."""
        last = os.stat(self._path)
        if value not in self.wrote:
            self.keep(value, [value, *self.wrote])
            os.utime(self._path, ns=(last.st_atime_ns, last.st_mtime_ns))

    def forget(self) -> None:
        """Nothing of ours is set any more."""
        os.unlink(self._path)
        self.found, self.wrote = None, []

    def _read(self) -> None:
        try:
            with open(self._path, encoding="ascii") as file:
                kept = json.load(file)
            if kept.get("url", self._url) != self._url:
                advice = "call it with that address, or with a --state-dir of its own"
                raise NotAnswered(f"{self._path}: it is about a limit of {kept['url']}, not {self._url}: {advice}")
            self.found, self.wrote = int(kept["found"]), [int(value) for value in kept["wrote"]]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            advice = "set the limit by hand to what it was, then remove the file"
            raise NotAnswered(f"{self._path}: not a file of this command: {advice}") from None


def show(limit: Limit, kept: Kept) -> None:
    """Print what is so."""
    value = limit.value()
    said = {"format": "skerry-limit/1", "limit": value, "used": limit.used(), "found": kept.found}
    print(json.dumps(said | {"changed": kept.found is not None and value not in kept.wrote}))


def set_to(limit: Limit, kept: Kept, value: int) -> None:
    """Let at most so many run."""
    before = limit.value()
    if kept.found is None and before <= 0:
        raise NotAnswered(f"the limit is {before}: give it the number that may run without Skerry")
    if kept.found is not None and before not in kept.wrote:
        raise NotAnswered(f"the limit was changed by another: {before}, {kept.wrote[-1]} was set; it stays")
    found = before if kept.found is None else kept.found
    value = max(limit.least, min(value, found))
    if value != before:
        kept.keep(found, [before, value])
    _write(limit, before, value)
    kept.keep(found, [value])


def restore(limit: Limit, kept: Kept) -> None:
    """Put back what was found, unless another has changed the limit."""
    if kept.found is None:
        return
    before = limit.value()
    if before in kept.wrote:
        kept.intend_to_restore(kept.found)
        _write(limit, before, kept.found)
    else:
        print(f"the limit was changed by another: {before}, {kept.wrote[-1]} was set; it stays", file=sys.stderr)
    kept.forget()


def lapse(limit: Limit, kept: Kept) -> None:
    """Put back what was found where Skerry has said nothing for a while.

    What another has set stays, and the file with it: Skerry says nothing more then, but goes on only after `restore`.
    """
    if kept.found is not None and kept.age_s > LAPSES_S and limit.value() in kept.wrote:
        print(f"Skerry has not been heard of for {kept.age_s:.0f} s: the limit is put back", file=sys.stderr)
        restore(limit, kept)


def _write(limit: Limit, before: int, value: int) -> None:
    if value == before:
        return
    limit.write(value)
    now = limit.value()
    if now != value:
        raise NotAnswered(f"the limit was not taken: {now}, {value} was set: may this user change it?")


def limit_parser(about: str, token: str) -> argparse.ArgumentParser:
    """Of the command line."""
    made = parser(about, token)
    made.add_argument("name", help="of the limit")
    made.add_argument(
        "--state-dir", default="/var/lib/skerry-limits", metavar="DIR", help="where what was found is kept"
    )
    return made


def act(given: argparse.Namespace, more: list[str], limit: Limit) -> int:
    """Do what the last words say; the exit code."""
    if not NAME.fullmatch(given.name):
        print(f"{given.name!r}: expected a name of letters, digits, spaces and ._-", file=sys.stderr)
        return 2
    kept = Kept(given.state_dir, given.name, given.url)
    match more:
        case ["show" | "restore" | "lapse" as verb]:
            step = {"show": show, "restore": restore, "lapse": lapse}[verb]

            def work() -> None:
                with kept.locked():
                    step(limit, kept)

        case ["set", count] if count.isdecimal() and int(count) <= MOST:

            def work() -> None:
                with kept.locked():
                    set_to(limit, kept, int(count))

        case _:
            print("expected show, set N, restore or lapse at the end", file=sys.stderr)
            return 2
    return run(work)
