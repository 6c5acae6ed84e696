"""What the registry says of a parser, and how one is tried."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mutations import inputs

MOST_CPU_S = 5.0  # for one input of at most some 100 kB; they take milliseconds
MOST_BYTES = 96 << 20  # allocated at once for one input

Feed = Callable[[bytes], object]
Session = Callable[[Path], AbstractContextManager[Feed]]


@dataclass(frozen=True)
class Parser:
    """One way by which bytes from outside enter."""

    name: str
    covers: tuple[str, ...]  # module:function of every entrance that this one passes through
    examples: Callable[[], Sequence[bytes]]  # valid ones
    session: Session  # in a directory of its own; gives what takes one input
    errors: tuple[type[Exception], ...] = ()  # what it may raise
    tree: str = ""  # "json" or "msgpack" where examples are documents
    share: float = 1.0  # of the inputs, less for what is slow


def simple(feed: Callable[[bytes, Path], object]) -> Session:
    """A session of a plain function of input and directory."""

    @contextlib.contextmanager
    def session(directory: Path) -> Iterator[Feed]:
        yield lambda data: feed(data, directory)

    return session


def try_out(parser: Parser, directory: Path, count: int, seed: str) -> int:
    """Feed a parser; how many inputs it refused by a declared error. AssertionError says which input broke what.

    The same seed gives the same inputs.
    """
    chance = random.Random(f"{parser.name} {seed}")
    refused = 0
    with parser.session(directory) as feed:
        tracemalloc.start()
        try:
            for data in inputs(parser.examples(), parser.tree, max(5, round(count * parser.share)), chance):
                refused += not _fed(parser, feed, data, directory)
        finally:
            tracemalloc.stop()
    return refused


def _fed(parser: Parser, feed: Feed, data: bytes, directory: Path) -> bool:
    """Feed one input; whether it was taken."""
    tracemalloc.reset_peak()
    before, began_s = tracemalloc.get_traced_memory()[0], time.thread_time()
    try:
        feed(data)
        taken = True
    except parser.errors:
        taken = False
    except Exception as error:
        raise AssertionError(f"{_told(parser, data, directory)}: {type(error).__name__}: {error}") from error
    took_s, grown = time.thread_time() - began_s, tracemalloc.get_traced_memory()[1] - before
    assert took_s < MOST_CPU_S, f"{_told(parser, data, directory)}: {took_s:.1f} s of processor time"
    assert grown < MOST_BYTES, f"{_told(parser, data, directory)}: {grown >> 20} MiB"
    return taken


def _told(parser: Parser, data: bytes, directory: Path) -> str:
    if len(data) <= 2000:
        return f"{parser.name} on {data!r}"
    file = directory / "input-that-failed"
    file.write_bytes(data)
    return f"{parser.name} on {file}, {len(data)} bytes"
