"""Runs the points of a sizing on this machine's cores or a Dask cluster; both give the same results."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from console.sizing.sweep import Base, Outcome, Point, play
from skerry import find_packages

LOOK_S = 0.2  # between two looks at whether to stop
CONNECT_S = 10.0

Submit = Callable[[Point], "Future[Outcome | None]"]
_shared: tuple[Base, Any] | None = None  # of a process of the pool: what all points share, and the event that ends it


class WorkersFailed(Exception):
    """The cluster is not to be had, or a process ended on its own; the line says what to do."""


@contextmanager
def processes(base: Base, jobs: int) -> Iterator[Submit]:
    """A pool of so many processes. On the way out running points are told to stop, waiting ones are dropped."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, _begin, (base, stop))
    try:
        yield lambda point: pool.submit(_play, point)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(base: Base, stop: Any) -> None:
    """Start a worker process. It ignores Ctrl-C; the parent handles it."""
    global _shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared = (base, stop)


def _play(point: Point) -> Outcome | None:
    assert _shared is not None
    base, stop = _shared
    return play(base, point, stop.is_set)


@contextmanager
def cluster(base: Base, address: str) -> Iterator[Submit]:
    """A Dask cluster by the address of its scheduler, tcp://host:port. Its workers need this Skerry installed.

    Raises WorkersFailed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise WorkersFailed("--scheduler needs Dask: pip install 'skerry[dask]'") from None
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise WorkersFailed(f"{address}: no scheduler answers: {error or type(error).__name__}") from None
    try:
        client.register_worker_callbacks(find_packages)  # an installed Skerry is not on a worker's path by itself
        shared = client.scatter(base, broadcast=True)
        executor = client.get_executor(pure=False)
        yield lambda point: executor.submit(play, shared, point)
    finally:
        client.close()


def outcomes(submit: Submit, points: Sequence[Point], stopped: Callable[[], bool]) -> Iterator[Outcome]:
    """Each point's outcome as it is done, until `stopped`. Raises WorkersFailed, and what a worker raised."""
    waiting = {submit(point) for point in points}
    while waiting and not stopped():
        done, waiting = wait(waiting, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                outcome = future.result()
            except BrokenExecutor:
                raise WorkersFailed("a process ended on its own, out of memory? try fewer --jobs") from None
            if outcome is not None:
                yield outcome
    for future in waiting:
        future.cancel()
