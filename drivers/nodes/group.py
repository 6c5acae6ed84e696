"""Defines `[[nodes]]`: many alike compute nodes, given by names in place of a `[[node]]` for each."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.device_keys import NODE_ID, Deadline, Period
from drivers.host_lists import BadNames, names_in
from drivers.http.config import AuthorizationFile, CaFile
from drivers.node_config import NodeDevice
from drivers.redfish.config import BmcAccountId, BmcChassis, BmcNameUrl, BmcSystem
from drivers.schedulers.config import Argument

MOST_NODES = 1000
CHANGING = ("names_file", "names_dns", "sinfo", "kubernetes")  # keys whose names may change while a gateway runs
_NAME = re.compile(NODE_ID)
DnsName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?$",
    ),
]
NameUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/@?#]+(/[^\s#]*)?$",
        extra={"expected": "http://{name}:port/path; {name} stands for the node's name"},
    ),
]


class NodeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`[[nodes]]`: many compute nodes that are read alike. They are only observed, never capped or stopped.

    A node that is to be capped has a `[[node]]` of its own.
    """

    names: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1000,
            description='Names of nodes, or lists as Slurm writes them: `["gpu[001-064]", "login1"]`. A name is the '
            "node's id.",
        ),
    ] = ()
    names_file: Annotated[
        str,
        Meta(
            description="File with more names or lists, one a line, # begins a comment; relative to the site file. "
            "Read at the start, and every names_period_s."
        ),
    ] = ""
    names_dns: Annotated[
        tuple[DnsName, ...],
        Meta(
            max_length=8,
            description="Names in DNS that give more names: SRV records, `_node-exporter._tcp.example.org`, whose "
            "targets are the nodes, without their domain; of another name its IPv4 addresses are the nodes.",
            extra={"expected": "names such as _node-exporter._tcp.example.org or gpu.example.org"},
        ),
    ] = ()
    dns_server: Annotated[
        str,
        Meta(
            max_length=80,
            description="With `names_dns`: the server that is asked, address or address:port. Empty: those of "
            "/etc/resolv.conf.",
        ),
    ] = ""
    sinfo: Annotated[
        tuple[Argument, ...],
        Meta(
            max_length=64,
            description='How sinfo of Slurm is called, which lists more names: `["sinfo"]`, or on another machine '
            '`["ssh", "-o", "BatchMode=yes", "head01", "sinfo"]`. Arguments are appended.',
        ),
    ] = ()
    partition: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.,-]{0,128}$",
            description="With `sinfo`: only the nodes of these partitions, `gpu` or `gpu,gpu-long`. Empty: every node.",
            extra={"expected": "names of partitions, separated by commas"},
        ),
    ] = ""
    kubernetes: Annotated[str, Meta(description="The `id` of a `[[kubernetes]]` whose nodes are more names.")] = ""
    kubernetes_selector: Annotated[
        str,
        Meta(
            max_length=500,
            description="With `kubernetes`: only the nodes with these labels, as `kubectl get nodes --selector` takes "
            "them, `node-role.example.org/gpu=true`. Empty: every node.",
        ),
    ] = ""
    names_period_s: Annotated[
        float,
        Meta(
            ge=10,
            le=3600,
            description="With a list that may change: how often the names are looked up again.",
        ),
    ] = 120.0
    source: Annotated[
        Literal["exporters", "prometheus", "redfish"],
        Meta(
            description="`exporters`: metrics pages of their Prometheus exporters; `prometheus`: the site's "
            "Prometheus; `redfish`: their BMCs."
        ),
    ]
    exporters: Annotated[
        tuple[NameUrl, ...],
        Meta(
            max_length=4,
            description="With `exporters`: pages, {name} stands for the node's name: "
            '`["http://{name}:9100/metrics", "http://{name}:9400/metrics"]`.',
            extra={"expected": "pages such as http://{name}:9100/metrics"},
        ),
    ] = ()
    prometheus: Annotated[str, Meta(description="With `prometheus`: the `id` of a `[[prometheus]]`.")] = ""
    bmc: BmcNameUrl = ""
    bmc_account: BmcAccountId = ""
    bmc_system: BmcSystem = ""
    bmc_chassis: BmcChassis = ""
    critical: Annotated[bool, Meta(description="true: the nodes are kept running off the grid; shown.")] = False
    gpus: Annotated[int, Meta(ge=0, le=64, description="Number of GPUs of each; 0: as many as have answered.")] = 0
    cpus: Annotated[
        int, Meta(ge=0, le=4096, description="Number of CPUs that the scheduler allocates on each, as in `[[node]]`.")
    ] = 0
    idle_w: Annotated[float, Meta(ge=0, description="Idle power of a host, for an estimate by CPU use.")] = 60.0
    full_w: Annotated[float, Meta(ge=0, description="Power of a host at full CPU use, for that estimate.")] = 200.0
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    ca: CaFile = ""
    authorization_file: AuthorizationFile = ""

    @property
    def changes(self) -> bool:
        """Whether its names may change while a gateway runs."""
        return any(getattr(self, key) for key in CHANGING)

    def nodes(self) -> tuple[NodeDevice, ...]:
        """A node for each name; after the loader has put the names of lists and of names_file into `names`."""
        return tuple(map(self.node, self.names))

    def node(self, name: str) -> NodeDevice:
        """The node of that name."""
        return NodeDevice(
            id=name,
            source=self.source,
            exporters=tuple(url.replace("{name}", name) for url in self.exporters),
            prometheus=self.prometheus,
            bmc=self.bmc.replace("{name}", name),
            bmc_account=self.bmc_account,
            bmc_system=self.bmc_system.replace("{name}", name),
            bmc_chassis=self.bmc_chassis,
            critical=self.critical,
            gpus=self.gpus,
            cpus=self.cpus,
            idle_w=self.idle_w,
            full_w=self.full_w,
            deadline_s=self.deadline_s,
            period_s=self.period_s,
            ca=self.ca,
            authorization_file=self.authorization_file,
        )


class NamedGroup(NodeGroup, frozen=True, kw_only=True):
    """A group as the loader gives it: `names` are all that are known now, `fixed` those of them that never change.

    `unusable`: what is wrong with its names_file.
    """

    fixed: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


def possible_name(name: str) -> bool:
    """Whether a node may have it as its id."""
    return _NAME.fullmatch(name) is not None


def expanded(lists: tuple[str, ...]) -> tuple[str, ...]:
    """Every name in lists such as "gpu[001-003,7]". Raises BadNames."""
    names: dict[str, str] = {}
    for text in lists:
        for name in names_in(text.strip()):
            if not possible_name(name):
                raise BadNames(f"names of 1..63 letters, digits, dots, dashes, underscores; {name[:40]!r} is none")
            if name.casefold() in names:  # names of hosts are the same in capitals, RFC 4343
                raise BadNames(f"each name once; {name} is there twice")
            names[name.casefold()] = name
            if len(names) > MOST_NODES:
                raise BadNames(f"at most {MOST_NODES} names")
    return tuple(names.values())
