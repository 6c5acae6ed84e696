"""Asks a feed once, in bounded time and size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from drivers.credentials import secret
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError
from drivers.http.secret_file import hidden
from drivers.modbus.errors import DeviceError
from drivers.tariffs.feeds.answer import FeedError, NotPublished
from drivers.tariffs.feeds.checks import Checked
from drivers.tariffs.feeds.config import PriceFeed
from drivers.tariffs.feeds.kinds import KINDS, host, title

DEADLINE_S = 20.0
MOST_BYTES = 2 << 20  # ten days of quarter hours in XML are 120 kB
KEY = "token_credential"
REFUSED = (401, 403)

Check = Callable[[bytes], Awaitable[Checked]]  # of an answer's bytes; raises FeedError


class Failure(msgspec.Struct, frozen=True):
    """Why a feed gave nothing. `again_s`: how long it wants to be left alone. `published`: False: it has none yet."""

    why: str
    again_s: float = 0.0
    published: bool = True


async def fetched(
    client: HttpClient, feed: PriceFeed, begin_s: int, end_s: int, check: Check, deadline_s: float = DEADLINE_S
) -> Checked | Failure:
    """What a feed answers for [begin, end), checked, or why there is nothing. The text never holds a token."""
    kind, name, token = KINDS[feed.kind], title(feed), ""
    try:
        token = secret(name, KEY, feed.token_credential) if kind.needs_token else ""
        request = msgspec.structs.replace(kind.ask(feed, begin_s, end_s, token), secrets=(token,) if token else ())
        where = f"{name} at {host(request)}"
        answer = await client.send(where, request, deadline_s=deadline_s, most_bytes=MOST_BYTES)
        return await check(answer.body)
    except HttpError as error:
        advice = f"; check the token of {KEY} = {feed.token_credential}" if error.status in REFUSED else ""
        return Failure(f"{error.where}: {error.what}{advice}", error.retry_after_s)
    except DeviceError as error:
        return Failure(f"{error.where}: {error.what}")
    except NotPublished as error:
        return Failure(f"{name}: {hidden(str(error), token)}", published=False)
    except FeedError as error:
        return Failure(f"{name}: {hidden(str(error), token)}")
