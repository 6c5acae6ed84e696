"""Asks many sites the same, each over a link of its own, some at a time. One that hangs delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.watch import Client
from gateway.api.protocol import Welcome
from gateway.errors import LinkLost, RequestFailed

AT_ONCE = 8  # sites

Said = TypeVar("Said")


class Answer(NamedTuple, Generic[Said]):
    """What came of asking one site. `said` None: nothing, and `trouble` says why."""

    address: SiteAddress
    said: Said | None
    trouble: str
    welcome: Welcome | None  # None: there was no link to it


async def ask_each(
    sites: Sequence[SiteAddress],
    connect: Callable[[SiteAddress], Awaitable[Any]],
    question: Callable[[Client], Awaitable[Said]],
    answer_s: float,
) -> list[Answer[Said]]:
    """The answers, in the order given. `answer_s`: for each, from link to answer.

    `question` may raise RequestFailed, LinkLost, and msgspec.ValidationError for an answer that is none.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(site: SiteAddress) -> Answer[Said]:
        async with turn:
            return await _ask(site, connect, question, answer_s)

    return list(await asyncio.gather(*map(one, sites)))


async def _ask(
    site: SiteAddress,
    connect: Callable[[SiteAddress], Awaitable[Any]],
    question: Callable[[Client], Awaitable[Said]],
    answer_s: float,
) -> Answer[Said]:
    link = None
    try:
        async with asyncio.timeout(answer_s):
            link = await connect(site)
            return Answer(site, await question(link.client), "", link.client.welcome)
    except TimeoutError:
        trouble = f"no answer within {answer_s:g} s"
    except msgspec.ValidationError as error:
        trouble = f"its answer is not one of a gateway's: {error}"
    except (LinkLost, RequestFailed, OSError) as error:
        trouble = str(error)
    finally:
        if link is not None:
            await link.close()
    return Answer(site, None, one_line(trouble), None if link is None else link.client.welcome)
