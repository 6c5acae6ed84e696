"""What the registry says of a parser, and how one is tried."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mutations import inputs

from benchmarks.reliability import tell

MOST_CPU_S = 5.0  # for one input of at most some 100 kB; they take milliseconds
HANGS_CPU_S = 30.0  # then an input is given up
MOST_BYTES = 96 << 20  # allocated at once for one input
# Counting each allocation doubles the time. After the first inputs it is done for 64 of 1024; of the others, what the
# whole process has ever held at most may not rise by more than MOST_BYTES with one input, nor in all.
ALL_TRACED, TRACED, OF = 5_000, 64, 1_024

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


class Hangs(BaseException):
    """An input takes processor time without end. Not an Exception: no parser may take it for its own."""


def try_out(parser: Parser, directory: Path, count: int, seed: str) -> int:
    """Feed a parser; how many inputs it refused by a declared error. AssertionError says which input broke what.

    The same seed gives the same inputs.
    """
    chance = random.Random(f"{parser.name} {seed}")
    fed = refused = 0
    began_s = time.monotonic()
    with parser.session(directory) as feed, _ended_when_hung():
        for data in inputs(parser.examples(), parser.tree, max(2, round(count * parser.share)), chance):
            traced = fed < ALL_TRACED or fed % OF < TRACED
            refused += not _fed(parser, feed, data, directory, traced)
            fed += 1
            if fed == ALL_TRACED:
                highest = _highest()
    if fed > ALL_TRACED:
        assert _highest() - highest < MOST_BYTES, f"{parser.name}: memory grows from input to input"
    tell("parsers", 1)
    tell("inputs", fed)
    tell("of them refused by a declared error", refused)
    tell("s for the slowest parser", time.monotonic() - began_s, "max")
    return refused


@contextlib.contextmanager
def _ended_when_hung() -> Iterator[None]:
    def hangs(number: int, frame: FrameType | None) -> None:
        raise Hangs

    before = signal.signal(signal.SIGPROF, hangs)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _highest() -> int:
    """The most memory that this process has ever held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _fed(parser: Parser, feed: Feed, data: bytes, directory: Path, traced: bool) -> bool:
    """Feed one input; whether it was taken."""
    if traced:
        tracemalloc.start()
    highest, began_s = _highest(), time.thread_time()
    signal.setitimer(signal.ITIMER_PROF, HANGS_CPU_S)
    try:
        feed(data)
        taken = True
    except parser.errors:
        taken = False
    except (Exception, Hangs) as error:
        raise AssertionError(f"{_told(parser, data, directory)}: {type(error).__name__}: {error}") from error
    finally:
        took_s = time.thread_time() - began_s
        grown = tracemalloc.get_traced_memory()[1] if traced else _highest() - highest
        tracemalloc.stop()
    assert took_s < MOST_CPU_S, f"{_told(parser, data, directory)}: {took_s:.1f} s of processor time"
    assert grown < MOST_BYTES, f"{_told(parser, data, directory)}: {grown >> 20} MiB"
    return taken


def _told(parser: Parser, data: bytes, directory: Path) -> str:
    if len(data) <= 2000:
        return f"{parser.name} on {data!r}"
    file = directory / "input-that-failed"
    file.write_bytes(data)
    return f"{parser.name} on {file}, {len(data)} bytes"
