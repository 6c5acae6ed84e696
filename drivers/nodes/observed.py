"""Makes the drivers of nodes that are read over HTTP: they share a client, and know of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from drivers.http.client import HttpClient
from drivers.http.config import PrometheusServer, Reached, access_of
from drivers.http.fetcher import DEADLINE_S, Fetcher
from drivers.kubernetes.config import KubernetesServer
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ExporterNode, Witnesses
from drivers.nodes.group import NodeGroup
from drivers.nodes.host_names import Identities
from drivers.nodes.page_kinds import PageKinds
from drivers.nodes.prometheus_node import Prometheus, PrometheusNode
from drivers.nodes.redfish_node import RedfishNode
from drivers.notices import Notices
from drivers.nut.config import PduDevice
from drivers.nut.pdu import Pdu, PduNode
from drivers.nut.server import NutServers
from drivers.redfish.config import BmcDefaults, account_of
from drivers.redfish.enclosures import Enclosures
from drivers.redfish.link import BmcLink, BmcSession
from drivers.redfish.node_bmc import NodeBmc
from drivers.redfish.pace import Pace


class ObservedConfig(msgspec.Struct, frozen=True):
    """What such nodes need of a site file. `directory`: of that file."""

    nodes: tuple[NodeDevice, ...]
    pdus: tuple[PduDevice, ...] = ()
    prometheus: tuple[PrometheusServer, ...] = ()
    bmcs: tuple[BmcDefaults, ...] = ()
    directory: str = "."
    backoff_max_s: float = 5.0
    groups: tuple[NodeGroup, ...] = ()  # every one of the site file, for the lists that change
    clusters: tuple[KubernetesServer, ...] = ()  # for these, too
    sessions: tuple[BmcSession, ...] = ()  # with BMCs, which a process before has left open


def observed_nodes(config: ObservedConfig) -> ObservedNodes:
    """What makes their drivers, without the site's other devices."""
    servers = NutServers(config.backoff_max_s)
    metered = {pdu.id: Pdu(pdu, servers.at(pdu.url)) for pdu in config.pdus}
    return ObservedNodes(Path(config.directory), metered, config.prometheus, config.bmcs, config.sessions)


class ObservedNodes:
    """Of one site."""

    def __init__(
        self,
        directory: Path,
        metered: Mapping[str, Pdu],
        prometheus: Iterable[PrometheusServer],
        bmcs: Iterable[BmcDefaults] = (),
        sessions: Iterable[BmcSession] = (),
    ) -> None:
        """`directory`: of the site file. `sessions`: with BMCs, to be used on."""
        self._directory, self._metered = directory, metered
        self._configs, self._identities = {server.id: server for server in prometheus}, Identities()
        self._servers: dict[str, Prometheus] = {}
        self._bmcs, self._links = {defaults.id: defaults for defaults in bmcs}, dict[str, BmcLink]()
        self._enclosures, self._kinds = Enclosures(), PageKinds()
        self._left = {session.url: session for session in sessions}
        self._new_sessions: dict[str, BmcSession] = {}

    def give_way(self, node_ids: Iterable[str]) -> None:
        """These nodes are no longer listed: one that is the same machine as another is refused, not that one."""
        self._identities.give_way(node_ids)

    def new_sessions(self) -> tuple[BmcSession, ...]:
        """The sessions with BMCs that have begun or ended since this was last asked."""
        new, self._new_sessions = tuple(self._new_sessions.values()), {}
        return new

    def _note_session(self, session: BmcSession) -> None:
        self._new_sessions[session.url] = session

    def driver(self, config: NodeDevice) -> ExporterNode | PrometheusNode | RedfishNode:
        """The driver of one node."""
        notices = Notices()
        outlets = PduNode(config, self._metered) if config.outlets else None
        bmc = self._bmc(config, notices) if config.bmc else None
        witnesses = Witnesses(notices, outlets, bmc)
        if config.source == "redfish":
            assert bmc is not None  # the check of the site file sees to it
            return RedfishNode(config, bmc, self._identities, witnesses)
        if config.source == "prometheus":
            return PrometheusNode(config, self._server(config.prometheus), self._identities, witnesses)
        deadline_s = config.deadline_s or DEADLINE_S
        fetchers = [self._fetcher(config.id, url, config, deadline_s) for url in config.exporters]
        return ExporterNode(config, fetchers, self._identities, witnesses, self._kinds)

    def _bmc(self, config: NodeDevice, notices: Notices) -> NodeBmc:
        """Nodes with the same address share a BMC, its session and its time."""
        defaults = self._bmcs[config.bmc_account] if config.bmc_account else next(iter(self._bmcs.values()))
        place = config.bmc.rstrip("/")
        if place not in self._links or self._links[place].closed:
            self._links = {at: link for at, link in self._links.items() if not link.closed}
            account = account_of(defaults, config.bmc_fingerprint, self._directory)
            left = self._left.pop(place, None)
            self._links[place] = BmcLink(self._bmc_client, self._pace, place, account, left, self._note_session)
        link, gpus, limits = self._links[place], config.source == "redfish", config.cap_by == "redfish"
        return NodeBmc(config, link, defaults.period_s, self._enclosures, notices, gpus, limits)

    @cached_property
    def _bmc_client(self) -> HttpClient:
        """One of its own: many BMCs that hang do not keep exporters waiting."""
        return HttpClient(self._client.turns)

    @cached_property
    def _pace(self) -> Pace:
        return Pace()

    @cached_property
    def _client(self) -> HttpClient:
        """Made with the first of such nodes: a site without them does not load it."""
        return HttpClient()

    def _server(self, id: str) -> Prometheus:
        if id not in self._servers:
            config = self._configs[id]
            fetcher = self._fetcher(id, _query_url(config), config, config.deadline_s)
            self._servers[id] = Prometheus(config, fetcher)
        return self._servers[id]

    def _fetcher(self, id: str, url: str, reached: Reached, deadline_s: float) -> Fetcher:
        return Fetcher(self._client, id, url, access_of(reached, self._directory), deadline_s)


def _query_url(server: PrometheusServer) -> str:
    return f"{server.url.rstrip('/')}/api/v1/query"
