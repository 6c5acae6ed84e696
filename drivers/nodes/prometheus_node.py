"""Reads compute nodes from the site's own Prometheus, many in one query.

An instant vector would state the time of the query for every value, whenever it was scraped; a range selector gives
each sample with its own time (Prometheus docs, querying/api, "Range vectors"). Ages are by that server's clock alone:
its Date header less a sample's time.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from dispatch.model.decoding import decoded
from dispatch.model.equipment import Node
from drivers.http.config import PrometheusServer
from drivers.http.errors import HttpError
from drivers.http.fetcher import Fetcher
from drivers.http.turns import Turns
from drivers.modbus.errors import DeviceError, WrongDevice
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ObservedNode, Witnesses
from drivers.nodes.host_names import Identities
from drivers.nodes.job_metrics import PODS_CPU
from drivers.nodes.metrics import CPU, WANTED, HostFigures, understood
from drivers.nodes.metrics_text import Sample

NODES_A_QUERY = 32
NOT_ASKED = (CPU, PODS_CPU)  # too many series: of each CPU, of each container


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct, frozen=True):
    result: list[_Series]


class _Reply(msgspec.Struct, frozen=True):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] = []


_REPLY = msgspec.json.Decoder(_Reply)


class NodeSamples(msgspec.Struct, frozen=True):
    """The last samples of one node. `every_s`: between the last two scrapes; 0: not known."""

    samples: tuple[Sample, ...] = ()
    idle_pct: float | None = None
    every_s: float = 0.0


class _Chunk:
    """Nodes that share a query."""

    def __init__(self) -> None:
        self.matches: list[str] = []
        self.asked: tuple[str, ...] = ()  # those that the last query was for
        self.turn = asyncio.Lock()
        self.read_s = float("-inf")
        self.served_utc_s: float | None = None
        self.found: Mapping[str, NodeSamples] | DeviceError = {}
        self.warnings: tuple[str, ...] = ()


class Prometheus:
    """One server, asked for all of its nodes in turn."""

    def __init__(self, config: PrometheusServer, fetcher: Fetcher) -> None:
        self.fetcher, self._config = fetcher, config
        self._chunks: list[_Chunk] = []

    def join(self, match: str) -> _Chunk:
        """One more node, by the value of its label."""
        self.fetcher.client.join()
        chunk = next((chunk for chunk in reversed(self._chunks) if len(chunk.matches) < NODES_A_QUERY), None)
        if chunk is None:
            chunk = _Chunk()
            self._chunks.append(chunk)
        chunk.matches.append(match)
        return chunk

    async def leave(self, chunk: _Chunk, match: str) -> None:
        """One node less."""
        chunk.matches.remove(match)
        if not chunk.matches:
            self._chunks.remove(chunk)
        await self.fetcher.client.leave()

    async def latest(self, chunk: _Chunk, match: str, shared_s: float) -> _Chunk:
        """The chunk with what is known of that node, not older than `shared_s`. Raises DeviceError."""
        async with chunk.turn:
            loop = asyncio.get_running_loop()
            if loop.time() - chunk.read_s > shared_s or match not in chunk.asked:
                try:
                    await self._ask(chunk)
                except DeviceError as error:
                    chunk.found = error
                chunk.read_s = loop.time()
        if isinstance(chunk.found, DeviceError):
            raise chunk.found.with_traceback(None)
        return chunk

    async def _ask(self, chunk: _Chunk) -> None:
        label, window = self._config.label, f"{self._config.window_s}s"
        matches = chunk.asked = tuple(chunk.matches)
        nodes = "|".join(re.escape(match).replace("\\", "\\\\") for match in matches)
        of_nodes = f'{label}=~"(?:{nodes})(?:[.:].*)?"'
        metrics = "|".join(name for name in WANTED if name not in NOT_ASKED)
        reply, chunk.served_utc_s = await self._query(f'{{__name__=~"{metrics}",{of_nodes}}}[{window}]')
        idle, _ = await self._query(f'100 * avg by ({label}) (rate({CPU}{{mode="idle",{of_nodes}}}[{window}]))')
        await self.fetcher.client.turns.turn()
        chunk.warnings = tuple(reply.warnings[:2])
        chunk.found = _by_node(reply, idle, label, matches, self._config.window_s)

    async def _query(self, expression: str) -> tuple[_Reply, float | None]:
        answer = await self.fetcher.get((("query", expression),))
        where = self.fetcher.where
        await self.fetcher.client.turns.turn()
        try:
            reply = decoded(_REPLY.decode, answer.body)
        except msgspec.DecodeError as error:
            raise self._bad(HttpError(where, f"its answer is not one of Prometheus: {error}")) from None
        if answer.served_utc_s is None:
            raise self._bad(HttpError(where, "its answer has no Date: how old its samples are cannot be told"))
        if reply.status != "success" or reply.data is None:
            raise self._bad(HttpError(where, f"refuses the query: {reply.error[:200]}"))
        return reply, answer.served_utc_s

    def _bad(self, error: HttpError) -> HttpError:
        self.fetcher.failed(error)
        return error


def _by_node(
    reply: _Reply, idle: _Reply, label: str, matches: Sequence[str], window_s: float
) -> dict[str, NodeSamples]:
    """The last sample of each series, by node."""
    samples: dict[str, list[Sample]] = {match: [] for match in matches}
    every_s: dict[str, float] = {}
    for series in reply.data.result if reply.data else ():
        node = _node_of(series.metric.get(label, ""), samples)
        if node is None or not series.values:
            continue
        utc_s, text = series.values[-1]
        samples[node].append(Sample(series.metric.get("__name__", ""), series.metric, _number(text), utc_s))
        if len(series.values) > 1:
            every_s[node] = min(max(every_s.get(node, 0.0), utc_s - series.values[-2][0]), window_s)
    idle_pct = {
        node: _number(series.value[1])
        for series in (idle.data.result if idle.data else ())
        if series.value is not None and (node := _node_of(series.metric.get(label, ""), samples)) is not None
    }
    return {
        match: NodeSamples(tuple(found), idle_pct.get(match), every_s.get(match, 0.0))
        for match, found in samples.items()
    }


def _node_of(value: str, matches: Mapping[str, object]) -> str | None:
    """The node that a label's value names: as it stands, without its port, without its domain."""
    host = re.sub(r":\d+$", "", value)
    return next((name for name in (value, host, host.partition(".")[0]) if name in matches), None)


def _number(text: str) -> float:
    """A value as JSON carries it; not a number for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


class PrometheusNode(ObservedNode):
    """A node that Prometheus scrapes."""

    def __init__(self, config: NodeDevice, server: Prometheus, identities: Identities, witnesses: Witnesses) -> None:
        super().__init__(config, identities, witnesses)
        self._server, self._match = server, config.match or config.id
        self._chunk = server.join(self._match)

    @property
    def turns(self) -> Turns:
        """When it is given time."""
        return self._server.fetcher.client.turns

    async def read(self) -> Node:
        """What Prometheus has of it now. Raises DeviceError, also where it has nothing."""
        chunk = await self._server.latest(self._chunk, self._match, self.period_s / 2)
        assert not isinstance(chunk.found, DeviceError)
        await self.turns.turn()
        found, where = chunk.found[self._match], f"{self.id} at {self._server.fetcher.url}"
        figures = understood(found.samples)
        if not figures:
            what = f"has no sample of it in its window: no value of the label begins with {self._match!r}"
            raise WrongDevice(
                where, what, "check label and match, and that Prometheus scrapes the node (its page /targets)"
            )
        self._is_itself(where, figures)
        for one in figures:
            host = one.host
            if host is not None and found.idle_pct is not None and 0 <= found.idle_pct <= 110:
                one = msgspec.structs.replace(one, host=_with_idle(host, min(found.idle_pct, 100.0)))
            self._figures.take(one, chunk.read_s, chunk.served_utc_s, found.every_s)
        return await self._node([f"Prometheus warns: {text[:100]}" for text in chunk.warnings])

    async def close(self) -> None:
        """Let go of the connection."""
        await self._server.leave(self._chunk, self._match)
        await super().close()


def _with_idle(host: HostFigures, idle_pct: float) -> HostFigures:
    return msgspec.structs.replace(host, idle_pct=idle_pct)
