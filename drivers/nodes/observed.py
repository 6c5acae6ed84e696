"""Makes the drivers of nodes that are read over HTTP: they share a client, and know of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from drivers.config import NodeDevice
from drivers.http.client import HttpClient
from drivers.http.config import PrometheusServer, Reached, access_of
from drivers.http.fetcher import DEADLINE_S, Fetcher
from drivers.nodes.exporter_node import ExporterNode
from drivers.nodes.host_names import Identities
from drivers.nodes.prometheus_node import Prometheus, PrometheusNode
from drivers.nut.pdu import Pdu, PduNode

OBSERVED = ("exporters", "prometheus")  # their sources


class ObservedNodes:
    """Of one site."""

    def __init__(self, directory: Path, metered: Mapping[str, Pdu], prometheus: Iterable[PrometheusServer]) -> None:
        """`directory`: of the site file."""
        self._directory, self._metered = directory, metered
        self._client, self._identities = HttpClient(), Identities()
        self._servers = {s.id: Prometheus(s, self._fetcher(s.id, _query_url(s), s, s.deadline_s)) for s in prometheus}

    def driver(self, config: NodeDevice) -> ExporterNode | PrometheusNode:
        """The driver of one node."""
        outlets = PduNode(config, self._metered) if config.outlets else None
        if config.source == "prometheus":
            return PrometheusNode(config, self._servers[config.prometheus], self._identities, outlets)
        deadline_s = config.deadline_s or DEADLINE_S
        fetchers = [self._fetcher(config.id, url, config, deadline_s) for url in config.exporters]
        return ExporterNode(config, fetchers, self._identities, outlets)

    def _fetcher(self, id: str, url: str, reached: Reached, deadline_s: float) -> Fetcher:
        return Fetcher(self._client, id, url, access_of(reached, self._directory), deadline_s)


def _query_url(server: PrometheusServer) -> str:
    return f"{server.url.rstrip('/')}/api/v1/query"
