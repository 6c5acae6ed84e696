"""Asks the lists of nodes in the process that reads nodes, each in its period; the gateway gets what they answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from drivers.kubernetes.config import KubernetesServer
from drivers.node_lists.answer import Listed, ListNotRead
from drivers.node_lists.make import names_now
from drivers.nodes.group import NodeGroup
from gateway.node_frames import Batch, ListAnswer, sendable

log = logging.getLogger("skerry.gateway")

GIVE_UP_S = 90.0  # every kind has deadlines of its own, shorter ones; what outlives this is a mistake
MOST_NAMES, MOST_NAME, MOST_TEXT = 2_000, 64, 500  # what is sent to the gateway, which refuses longer names


Ask = Callable[[NodeGroup], Awaitable[Listed]]


def asking(clusters: Sequence[KubernetesServer], directory: Path) -> Ask:
    """How a list is asked. `clusters`, `directory`: of the site file."""
    return lambda group: names_now(group, clusters, directory)


async def ask_lists(groups: Sequence[NodeGroup], ask: Ask, send: Callable[[Batch], Awaitable[None]]) -> None:
    """Ask again and again. Never ends while there is a list."""
    changing = [(n, group) for n, group in enumerate(groups) if group.changes]
    await asyncio.gather(*(_ask_on(n, group, ask, send) for n, group in changing))


async def _ask_on(n: int, group: NodeGroup, ask: Ask, send: Callable[[Batch], Awaitable[None]]) -> None:
    while True:
        await send(Batch(lists=(await answer_of(n, group, ask),)))
        await asyncio.sleep(_pause_s(group))


def _pause_s(group: NodeGroup) -> float:
    return group.names_period_s


async def answer_of(n: int, group: NodeGroup, ask: Ask) -> ListAnswer:
    """Group number `n` asked once."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            listed = await ask(group)
    except ListNotRead as error:
        return ListAnswer(n, error=sendable(str(error), MOST_TEXT) or "not read")
    except TimeoutError:
        return ListAnswer(n, error=f"no answer within {GIVE_UP_S:g} s")
    except Exception as error:  # a mistake in one list must not end the reading of nodes
        log.exception("the list of nodes[%d] cannot be read", n)
        return ListAnswer(n, error=sendable(f"internal error: {error!r}", MOST_TEXT))
    names, more = listed.names[:MOST_NAMES], len(listed.names) - MOST_NAMES
    note = f"{listed.note}; {more} more names are not looked at" if more > 0 else listed.note
    return ListAnswer(n, tuple(sendable(name, MOST_NAME) for name in names), sendable(note, MOST_TEXT))
