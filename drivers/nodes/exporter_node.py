"""Reads a compute node by the metrics pages of its exporters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dispatch.model.equipment import Node, NodePower
from dispatch.model.readings import MISSING
from drivers.http.errors import HttpError
from drivers.http.fetcher import Fetcher
from drivers.http.page import Answer
from drivers.http.turns import Turns
from drivers.modbus.errors import DeviceError, WrongDevice
from drivers.node_config import NodeDevice
from drivers.nodes.host_names import Identities
from drivers.nodes.host_values import HostValues, host_values
from drivers.nodes.job_metrics import JobFigures, without_jobs
from drivers.nodes.metrics import COLLECTORS, Figures, pattern_of, understood
from drivers.nodes.metrics_text import MetricsPattern, Sample, pieces
from drivers.nodes.node_figures import NodeFigures, host_name
from drivers.nodes.page_kinds import PageKinds, place_of
from drivers.nodes.page_layout import LastLayout
from drivers.nodes.power import GRACE_S, PERIODS
from drivers.notices import Notices
from drivers.nut.pdu import PduNode
from drivers.redfish.node_bmc import NodeBmc
from drivers.redfish.power import LEAST_W

PERIOD_S = 10.0
EXPORTERS = (
    "node_exporter, dcgm-exporter, nvidia_gpu_exporter, AMD device-metrics-exporter, cgroup_exporter, "
    "slurm-job-exporter or cAdvisor"
)
MOST_SAMPLES = 4000  # 64 GPUs of seven MIG instances each have 3000
BAD_REQUEST = 400  # of node_exporter: a collector that was asked for is switched off


class Witnesses(NamedTuple):
    """What else measures the power of a node: outlets of PDUs, its BMC; and where both leave what they have to tell."""

    notices: Notices
    outlets: PduNode | None = None
    bmc: NodeBmc | None = None


class ObservedNode:
    """What nodes that are read over the network have in common: who they are, their figures, outlets and BMC."""

    kind = "node"

    def __init__(self, config: NodeDevice, identities: Identities, witnesses: Witnesses) -> None:
        self.id, self._config, self.notices = config.id, config, witnesses.notices
        self.period_s = config.period_s or PERIOD_S
        self.stale_after_s = PERIODS * self.period_s + GRACE_S
        self._identities, self._outlets, self.bmc, self._host = identities, witnesses.outlets, witnesses.bmc, ""
        self._figures = NodeFigures(config, self.period_s)

    async def _node(self, trouble: list[str], complete: bool = True, read_s: float | None = None) -> Node:
        """What is known now, as `NodeFigures.node` has it. Tells what was swapped. `read_s`: when its pages came."""
        others = await self._fed(trouble)
        now_s = asyncio.get_running_loop().time() if read_s is None or self._outlets is not None else read_s
        node = self._figures.node(now_s, others, trouble, complete)
        if self._figures.swapped:
            self.notices.add("info", f"GPUs: {self._figures.swapped}")
        limit = None if self.bmc is None else self.bmc.limit()
        return node if limit is None else msgspec.structs.replace(node, limit=limit)

    async def _fed(self, trouble: list[str]) -> Sequence[NodePower]:
        """Its power by the outlets that feed it, and by its BMC."""
        powers: list[NodePower] = []
        if self._outlets is not None:
            try:
                fed = await self._outlets.read()
                powers.append(NodePower(fed.source, fed.w, self.period_s))
            except DeviceError as error:
                trouble.append(error.what)
        if self.bmc is not None:
            powers.append(self._by_bmc(self.bmc, trouble))
        return powers

    def _by_bmc(self, bmc: NodeBmc, trouble: list[str]) -> NodePower:
        """Its power by its BMC, which is read beside; nothing where that is another node's."""
        power = bmc.power()
        own = [f"system UUID {bmc.identity.uuid}"] if bmc.identity.uuid else []
        if not own and bmc.identity.serial:
            own = [f"system serial number {bmc.identity.serial}"]
        if twice := self._identities.claim(self.id, own, PERIODS * bmc.period_s + GRACE_S):
            trouble.append(f"{bmc.where}: {twice}")
            return msgspec.structs.replace(power, w=MISSING)
        if bmc.trouble:
            trouble.append(bmc.trouble)
        if self._config.source != "redfish" and power.w.value is not None and power.w.value < LEAST_W:
            trouble.append(f"{bmc.where}: says 0 W of a system that is off, but the node answers")
            return msgspec.structs.replace(power, w=MISSING)
        return power

    async def close(self) -> None:
        """Let go of the connections."""
        if self._outlets is not None:
            await self._outlets.close()
        if self.bmc is not None:
            await self.bmc.close()

    def _is_itself(self, where: str, figures: Sequence[Figures]) -> None:
        """Raises WrongDevice where another machine than this node answers, or one that is another node."""
        stated = {name.partition(".")[0].lower() for f in figures for name in f.host_names}
        host = next((name for f in figures if (name := host_name(f.host))), "")
        wanted = self._config.hostname.partition(".")[0].lower()
        names = {host} if host else stated
        if wanted and names and wanted not in names:
            advice = "check its address in exporters, or hostname in the site file"
            raise WrongDevice(where, f"answers as {', '.join(sorted(names))[:120]}, expected {wanted}", advice)
        self._claim(where, [f"host {host}"] if host else [], figures)
        if host and self._host and host != self._host:
            self.notices.add("warning", f"answers as {host} now, as {self._host} before: renamed or replaced")
        self._host = host or self._host

    def _claim(self, where: str, own: list[str], figures: Sequence[Figures]) -> None:
        """Raises WrongDevice where this machine is another node, unless that one is no longer listed."""
        own += [f"GPU {g.uuid}" for f in figures for g in f.gpus if g.uuid]
        if was := self._identities.was(self.id, own):
            self.notices.add("info", f"is the machine that was {was}, which is no longer listed: renamed")
        if twice := self._identities.claim(self.id, own, self.stale_after_s):
            raise WrongDevice(where, twice, "give each node its own address")


class _Page:
    """One page: how it is fetched and whose it is."""

    def __init__(self, fetcher: Fetcher, place: str, kinds: PageKinds) -> None:
        self.fetcher, self.place, self._kinds = fetcher, place, kinds
        self.exporter = ""  # whose it was last
        self.understood = False  # at least once
        self._layout = LastLayout()
        self._host: HostValues | None = None  # of pages that are laid out so
        self._sent, self._values, self._meant = 0, list[float](), list[Figures]()  # of the last page, and its hash
        self._query = COLLECTORS if "collect[]" not in fetcher.url else ()

    async def read(self) -> tuple[Answer, list[Figures]]:
        """Fetch it and say what it means. Raises DeviceError.

        dcgm-exporter sends the same figures until it collects again: these are not interpreted a second time.
        """
        answer = await self._fetched()
        body = _lines(answer)
        found, values = self._known(body) or (await self._found(body), [])
        if not found:
            begins = " ".join(answer.body[:60].decode("utf-8", errors="replace").split())
            error = HttpError(
                self.fetcher.where,
                f"holds none of the metrics of {EXPORTERS}; it begins with {begins!r}",
                "check the address, and which metrics the exporter is told to give",
            )
            self.fetcher.failed(error)
            raise error
        self._sent, self._values, self._meant = hash(body), values, found
        if not self.understood:
            self._kinds.found(self.place, found)
        self.understood = True
        self.exporter = found[0].exporter if len(found) == 1 else ""
        return answer, found

    def _known(self, body: bytes) -> tuple[list[Figures], list[float]] | None:
        """What a page means that is like the last one, and its values; None: it is another."""
        if hash(body) == self._sent:
            return self._meant, self._values
        values = self._layout.values(body)
        if values is None:
            return None
        if values == self._values:
            return self._meant, values
        found = None if self._host is None else self._host.figures(values)
        return understood(self._layout.samples(values)) if found is None else found, values

    async def _found(self, body: bytes) -> list[Figures]:
        text, pattern = body.decode("utf-8", errors="replace"), pattern_of(self.exporter)
        samples = await self._samples(text, pattern)
        found = understood(samples)
        if not found and self.exporter:  # another exporter answers there now
            pattern = pattern_of("")
            samples = await self._samples(text, pattern)
            found = understood(samples)
        if self.understood:  # the first page is of all collectors
            self._layout.learn(body, pattern, samples)
            self._host = host_values(samples, found)
        if not found and (exporter := without_jobs(text)) is not None:
            found = [Figures(exporter.name, jobs=JobFigures())]
        return found

    async def _samples(self, text: str, pattern: MetricsPattern) -> list[Sample]:
        """Piece by piece, each in a turn of its own. Raises HttpError for more than a machine can have."""
        samples: list[Sample] = []
        for piece in pieces(text):
            await self.fetcher.client.turns.turn()
            samples += pattern.samples(piece)
            if len(samples) > MOST_SAMPLES:
                what = f"holds more than {MOST_SAMPLES} samples of one machine's GPUs and CPUs"
                error = HttpError(self.fetcher.where, what, "check that this is the page of one machine")
                self.fetcher.failed(error)
                raise error
        return samples

    async def _fetched(self) -> Answer:
        """With the wanted collectors alone where it is a node_exporter that has them all: a tenth of the page."""
        try:
            return await self.fetcher.get(self._query if self.exporter == "node_exporter" else ())
        except HttpError as error:
            if error.status != BAD_REQUEST or not self._query or self.exporter != "node_exporter":
                raise
        self._query = ()
        self.fetcher.forgive()
        return await self.fetcher.get()


def _lines(answer: Answer) -> bytes:
    """A page's whole lines: where only the connection's end says that it has ended, the last one may be cut."""
    told = any(answer.headers.get(name) is not None for name in ("Content-Length", "Transfer-Encoding"))
    return answer.body if told else answer.body[: answer.body.rfind(b"\n") + 1]


class ExporterNode(ObservedNode):
    """A node with pages of its own."""

    def __init__(
        self,
        config: NodeDevice,
        fetchers: Sequence[Fetcher],
        identities: Identities,
        witnesses: Witnesses,
        kinds: PageKinds | None = None,
    ) -> None:
        """`kinds`: shared by all nodes; None: it is alone."""
        super().__init__(config, identities, witnesses)
        self._kinds = PageKinds() if kinds is None else kinds
        self._pages = [_Page(fetcher, place_of(fetcher.url, config.id), self._kinds) for fetcher in fetchers]
        for fetcher in fetchers:
            fetcher.client.join()

    @property
    def turns(self) -> Turns:
        """When it is given time."""
        return self._pages[0].fetcher.client.turns

    async def read(self) -> Node:
        """Fetch its pages now, at once. Raises DeviceError if none can be used, or another node's machine answers."""
        answers = await self._answers()
        errors = [found for found in answers if isinstance(found, DeviceError)]
        read = [found for found in answers if not isinstance(found, DeviceError)]
        if errors and not read:
            raise errors[0].with_traceback(None)
        where = f"{self.id} at {self._pages[0].fetcher.url}"
        self._is_itself(where, [one for _, found in read for one in found])
        now_s = asyncio.get_running_loop().time()
        for answer, found in read:
            for one in found:
                self._figures.take(one, now_s, answer.served_utc_s)
        trouble = [f"{error.where}: {error.what}" for error in errors]
        return await self._node(trouble, self._complete(), now_s)

    async def _answers(self) -> list[tuple[Answer, list[Figures]] | DeviceError]:
        """Of every page, asked at once: the first by this task, each other one by one of its own."""
        first, *more = self._pages
        others = [asyncio.create_task(self._page(page)) for page in more]
        try:
            return [await self._page(first), *[await other for other in others]]
        finally:
            for other in others:
                other.cancel()  # does nothing to one that has ended; none goes on after this was cancelled

    def _complete(self) -> bool:
        """Whether every page that the node's power needs has been read at least once.

        A page that was never read may be that of the host or of the GPUs, unless the other pages have given both, or
        pages of other nodes with its port and path are known to hold no power.
        """
        never = [page for page in self._pages if not page.understood]
        return self._figures.has_host_and_gpus or all(self._kinds.without_power(page.place) for page in never)

    @staticmethod
    async def _page(page: _Page) -> tuple[Answer, list[Figures]] | DeviceError:
        try:
            return await page.read()
        except DeviceError as error:
            return error

    async def close(self) -> None:
        """Let go of the connections."""
        for page in self._pages:
            await page.fetcher.client.leave()
        await super().close()
