"""The process that reads a gateway's nodes over the network, and ends with the gateway, however that ends.

Its stdin is a socket: the gateway first sends what is to be read, then gets what was read. At the end of that socket
the process ends in order; if the gateway is killed while this process hangs, the kernel ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from drivers.nodes.observed import ObservedNodes, observed_nodes
from drivers.redfish.link import BmcSession
from gateway.limit_taker import LimitTaker
from gateway.list_asking import ask_lists, asking
from gateway.log_output import LogOutput
from gateway.node_frames import (
    MOST_CONFIG_BYTES,
    Batch,
    LimitAsked,
    config_in,
    frame,
    frames,
    order_in,
    received,
)
from gateway.node_polling import NodePolling

NICE = 10  # below the gateway: a tick that is due goes before
DESCRIPTORS = 8192  # connections to two pages of each of 2000 nodes, and more
PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Read until the gateway hangs up. Argument: the gateway's process id."""
    _end_with(int(sys.argv[1]))
    _give_way()
    logging.basicConfig(level=logging.INFO, handlers=[LogOutput(sys.stderr)])
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(socket.socket(fileno=0)))


def _end_with(gateway: int) -> None:
    """Have the kernel kill this process when the gateway ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != gateway:  # it ended before that
        sys.exit()


def _give_way() -> None:
    """Go after the gateway where processor time or memory is short, and have room for connections.

    Where this is not allowed the process does without.
    """
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("200", encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def _serve(link: socket.socket) -> None:
    reading = asyncio.current_task()
    assert reading is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reading.cancel)
    await read_nodes(*await asyncio.open_unix_connection(sock=link))


async def read_nodes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the nodes that the messages name, and do what others ask, until the other side hangs up.

    Raises BadFrame.
    """
    body = await received(reader, MOST_CONFIG_BYTES)
    if body is None:
        return
    config = config_in(body)
    made = observed_nodes(config)
    polling = NodePolling([made.driver(node) for node in config.nodes])

    async def send(batch: Batch) -> None:
        _write(writer, batch, made.new_sessions())
        await writer.drain()

    limits = LimitTaker(polling.bmc, send)
    orders = _take_orders(reader, made, polling, limits)
    work = [asyncio.create_task(polling.run(send)), asyncio.create_task(orders)]
    if any(group.changes for group in config.groups):
        ask = asking(config.clusters, Path(config.directory))
        work.append(asyncio.create_task(ask_lists(config.groups, ask, send)))
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not isinstance(task.exception(), ConnectionError):  # nobody is there any more
                task.result()
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await limits.close()
        await polling.close()
        writer.close()


def _write(writer: asyncio.StreamWriter, batch: Batch, sessions: tuple[BmcSession, ...]) -> None:
    """Sessions first: the next process is to know of those that this one does not end."""
    if sessions:
        writer.write(frame(Batch(sessions=sessions)))
    for one in frames(batch):
        writer.write(one)


async def _take_orders(
    reader: asyncio.StreamReader, made: ObservedNodes, polling: NodePolling, limits: LimitTaker
) -> None:
    """Do what the gateway asks, until it hangs up. Raises BadFrame."""
    while (body := await received(reader, MOST_CONFIG_BYTES)) is not None:
        order = order_in(body)
        if isinstance(order, LimitAsked):
            limits.take(order)
            continue
        if order.leaving is not None:
            made.give_way(order.leaving)
        polling.remove(order.removed)
        polling.add([made.driver(node) for node in order.added])
