"""Defines the section `[[node]]` of the site file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.schema import NodeTerms
from dispatch.config.value_types import PositiveWatts, SlowdownPct
from drivers.device_keys import (
    ID,
    AnyTransaction,
    ConnectDelay,
    Deadline,
    MaxRegisters,
    NodeId,
    Period,
    Spacing,
    Unit,
    Url,
)
from drivers.http.config import AuthorizationFile, CaFile, Fingerprint, HttpUrl
from drivers.modbus.frames import MAX_READ
from drivers.redfish.config import BmcAccountId, BmcChassis, BmcSerial, BmcSystem, BmcUrl

OBSERVED = ("exporters", "prometheus", "redfish")  # sources over HTTP, which are read outside the tick
Command = Annotated[tuple[str, ...], Meta(max_length=64)]


class NodeDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[node]]`: a compute node.

    The `on_*` commands are lists of arguments that run without a shell. In an argument, {node} stands for the node's
    id, {watts} for the cap, {watts_per_gpu} for what it leaves to each GPU beside the host's full_w, {checkpoint_s} for
    the time to save, {reason} for the reason.
    """

    id: Annotated[NodeId, Meta(description="Name of the node.")]
    source: Annotated[
        Literal["psutil", "nvml", "modbus", "nut", "exporters", "prometheus", "redfish"],
        Meta(
            description="`psutil`: this machine, power estimated from its CPU use; `nvml`: this machine's NVIDIA GPUs, "
            "too; `modbus`: the register map `skerry-node`; `nut`: the outlets of metered PDUs; `exporters`: metrics "
            "pages of its Prometheus exporters; `prometheus`: the site's Prometheus; `redfish`: its BMC."
        ),
    ]
    exporters: Annotated[
        tuple[HttpUrl, ...],
        Meta(
            max_length=4,
            description="With `exporters`: pages of its node_exporter, dcgm-exporter, nvidia_gpu_exporter or AMD "
            'device-metrics-exporter, `["http://gpu01:9100/metrics", "http://gpu01:9400/metrics"]`. Which one a page '
            "is of shows in its metrics.",
            extra={"expected": "pages such as http://gpu01:9100/metrics"},
        ),
    ] = ()
    prometheus: Annotated[str, Meta(description="With `prometheus`: the `id` of a `[[prometheus]]`.")] = ""
    match: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.:-]{0,120}$",
            description="With `prometheus`: the value of its label, without port and domain. Empty: the node's id.",
            extra={"expected": "letters, digits, dots, colons, dashes, underscores"},
        ),
    ] = ""
    hostname: Annotated[
        str,
        Meta(
            description="Host name that its exporters must state, without domain. Another one is refused. Empty: any, "
            "and a change is told."
        ),
    ] = ""
    ca: CaFile = ""
    fingerprint: Fingerprint = ""
    authorization_file: AuthorizationFile = ""
    outlets: Annotated[
        tuple[Annotated[str, Meta(pattern=rf"^{ID}:[1-9][0-9]{{0,3}}$")], ...],
        Meta(
            max_length=16,
            description="Every outlet that feeds it, `pdu:number`, with the `id` of a `[[pdu]]`: "
            '`["pdu-a:3", "pdu-b:3"]`. Its power is their sum, and is not known while one of them is not. Needed with '
            "`nut`; with `exporters`, `prometheus` and `redfish` it goes before what these tell.",
            extra={"expected": 'outlets such as "pdu-a:3"'},
        ),
    ] = ()
    bmc: BmcUrl = ""
    bmc_account: BmcAccountId = ""
    bmc_fingerprint: Annotated[
        Fingerprint,
        Meta(
            description="With `bmc`: SHA-256 fingerprint of its BMC's certificate, 64 hexadecimal digits, for one that "
            "no authority has signed; in place of a line in fingerprints_file."
        ),
    ] = ""
    bmc_system: BmcSystem = ""
    bmc_chassis: BmcChassis = ""
    bmc_serial: BmcSerial = ""
    critical: Annotated[bool, Meta(description="true: the node is kept running off the grid; false: deferrable.")] = (
        False
    )
    cap_w: (
        Annotated[
            PositiveWatts,
            Meta(
                description="The power to which the node may be capped. Not given: it is never capped. With `nvml` its "
                "GPUs share what full_w leaves of it; modules of GPU and CPU share all of it."
            ),
        ]
        | None
    ) = None
    cap_by: Annotated[
        Literal["", "redfish"],
        Meta(
            description="With `bmc`: `redfish`: its power limit is set in the BMC, by a `[[bmc]]` with may_cap. Empty: "
            "it is capped by on_cap, or by a source that can."
        ),
    ] = ""
    slowdown_pct: (
        Annotated[
            SlowdownPct,
            Meta(
                description="Its tier: the share of its GPUs' throughput that a cap for the peak may cost. 0: it is "
                "not capped for the peak. Not given: slowdown_pct of [caps]. Needs price_eur_per_gpu_hour of [caps]."
            ),
        ]
        | None
    ) = None
    throughput: Annotated[
        tuple[tuple[float, float], ...],
        Meta(max_length=16, description="Throughput of its GPUs against their power. Empty: throughput of [caps]."),
    ] = ()
    url: Url = "twin"
    unit: Unit = 1
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    idle_w: Annotated[
        float, Meta(ge=0, description="Idle power. `psutil` estimates idle_w + CPU share x (full_w - idle_w).")
    ] = 60.0
    full_w: Annotated[float, Meta(ge=0, description="Power at full CPU use, for that estimate.")] = 200.0
    on_cap: Annotated[Command, Meta(description="Command that caps the node.")] = ()
    on_uncap: Annotated[Command, Meta(description="Command that removes the cap.")] = ()
    on_stop_starts: Annotated[
        Command,
        Meta(
            description="Command that keeps new jobs from starting on it, such as "
            '`["scontrol", "update", "nodename={node}", "state=drain", "reason=skerry"]`. What runs goes on.'
        ),
    ] = ()
    on_allow_starts: Annotated[Command, Meta(description="Command that lets jobs start on it again.")] = ()
    on_checkpoint: Annotated[
        Command, Meta(description="Command that tells those of its jobs to save that declared a checkpoint.")
    ] = ()
    checkpoint_s: Annotated[
        float, Meta(ge=0, le=7200, description="How long these jobs are given to save before on_requeue.")
    ] = 0.0
    on_requeue: Annotated[
        Command,
        Meta(
            description="Command that puts those jobs back into the queue. Needs on_stop_starts, or they would start "
            "here again."
        ),
    ] = ()
    on_power_off: Annotated[
        Command,
        Meta(
            description="Command by which its scheduler powers it off once no job is on it. It must not end a job. "
            "Needs on_stop_starts."
        ),
    ] = ()
    on_power_on: Annotated[Command, Meta(description="Command by which its scheduler powers it on again.")] = ()
    event_step: Annotated[
        Literal["caps", "power-off", "requeue"],
        Meta(
            description="The most that a grid event, or a signal that limits import, may ask of it. `power-off`: no "
            "jobs start meanwhile, and its scheduler powers it off once it is empty. `requeue`: as well, its jobs save "
            "and are requeued if battery and caps do not suffice. Needs on_power_off, or on_requeue."
        ),
    ] = "caps"
    on_suspend: Annotated[
        Command,
        Meta(
            description="Command that suspends its jobs. Only for a node without GPUs: a job that holds one is never "
            "suspended, its kernels run on and the other nodes of the job wait for it."
        ),
    ] = ()
    on_resume: Annotated[Command, Meta(description="Command that resumes its jobs.")] = ()
    on_shutdown: Annotated[Command, Meta(description="Command that shuts the node down.")] = ()
    on_start: Annotated[Command, Meta(description="Command that starts the node again.")] = ()
    freeze: Annotated[
        str,
        Meta(
            description="cgroup v2 directory whose `cgroup.freeze` suspends the jobs, such as "
            "`/sys/fs/cgroup/jobs.slice`. Only for a node without GPUs, as on_suspend."
        ),
    ] = ""
    command_timeout_s: Annotated[float, Meta(gt=0, le=600, description="A command that runs longer is ended.")] = 30.0
    gpus: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Number of GPUs, for {watts_per_gpu}. Fewer are told; with `nvml` the node's power is then not "
            "known. 0: as many as have answered before.",
        ),
    ] = 0
    cpus: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="Number of CPUs that the scheduler allocates on it, as it counts them (Slurm: `CPUTot` of "
            "`scontrol show node`). By it a job's part of the host is reckoned. 0: those that are allocated are all.",
        ),
    ] = 0
    gpu_limit_w: (
        Annotated[
            PositiveWatts,
            Meta(
                description="The site's own power limit of each GPU, with `nvml`. When a cap ends, no GPU is set above "
                "it, and one without a limit on record, such as a new one, is set to it. Not given: what was set "
                "before the cap; for a new GPU its default."
            ),
        ]
        | None
    ) = None

    @property
    def terms(self) -> NodeTerms:
        """What dispatch may ask of it: by its register map, NVML, its BMC, or by the site's own commands."""
        served = self.source == "modbus"
        can_cap = served or self.source == "nvml" or bool(self.on_cap or self.cap_by)
        return NodeTerms(
            id=self.id,
            critical=self.critical,
            cap_w=self.cap_w if can_cap else None,
            can_suspend=served or bool(self.freeze) or bool(self.on_suspend and self.on_resume),
            can_shutdown=served or bool(self.on_shutdown),
            has_gpus=self.has_gpus,
            gpus=self.gpus,
            host_w=self.full_w,
            per_gpu=not self.cap_by
            and (self.source == "nvml" or any("{watts_per_gpu}" in part for part in self.on_cap)),
            cap_wears=bool(self.cap_by),
            slowdown_pct=self.slowdown_pct,
            throughput=self.throughput,
            can_stop_starts=bool(self.on_stop_starts),
            can_requeue=bool(self.on_requeue),
            checkpoint_s=self.checkpoint_s if self.on_checkpoint else 0.0,
            can_power_off=bool(self.on_power_off),
            event_step=self.event_step,
        )

    @property
    def has_gpus(self) -> bool:
        """Whether it has GPUs by this section."""
        return self.gpus > 0 or self.source == "nvml"
