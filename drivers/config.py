"""The sections of the site file that say how devices are reached: PCS, meters, PV, switch, nodes, tariff file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.schema import NodeTerms, PcsRatings, PositiveWatts, TariffTerms

Id = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$", description="1..32 letters, digits, dots, dashes, underscores"),
]
Url = Annotated[  # "twin": whatever port the site's twin got
    str,
    Meta(pattern=r"^(twin|tcp://[^/:\s]+:\d{1,5})$", description='"twin", or tcp://host:port'),
]
Unit = Annotated[int, Meta(ge=1, le=247, description="a Modbus unit id, 1..247")]


class MeterDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[meter]]`: a SunSpec meter (201-204, 211-214). Exactly one has role "grid"."""

    id: Id
    url: Url
    unit: Unit = 1
    role: Literal["grid", "load"] = "grid"
    invert: bool = False  # the model does not define the sign of W: true where export reads positive


class PcsDevice(PcsRatings, frozen=True, kw_only=True):
    """`[[pcs]]`: a SunSpec PCS (1, 701, 702, 704, 713, 715, 802)."""

    url: Url
    unit: Unit = 1
    revert_s: Annotated[float, Meta(ge=5, le=3600)] = 60.0  # reversion timer we ask for; renewed at half of it


class PvDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[pv]]`: a SunSpec inverter (101-103 or 701)."""

    id: Id
    url: Url
    unit: Unit = 1
    peak_w: Annotated[float, Meta(gt=0)]


class SwitchDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[switch]]`: the switch at the PCC, by a register map of `drivers/maps`."""

    id: Id
    url: Url
    unit: Unit = 1
    map: Literal["skerry-switch"] = "skerry-switch"


Command = Annotated[tuple[str, ...], Meta(max_length=64)]


class NodeDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[node]]`: a compute node. "psutil", "nvml": this machine; "modbus": the register map `skerry-node`.

    `on_*` are commands of the site: lists of arguments, run without a shell. In an argument {node} stands for the
    node's id, {watts} for the cap, {watts_per_gpu} for its share of each GPU, {reason} for why.
    """

    id: Id
    source: Literal["psutil", "nvml", "modbus"]
    critical: bool = False
    cap_w: PositiveWatts | None = None  # the power that ride-through caps it to; none: it is never capped
    url: Url = "twin"
    unit: Unit = 1
    idle_w: Annotated[float, Meta(ge=0)] = 60.0  # psutil estimates: idle + cpu share x (full - idle)
    full_w: Annotated[float, Meta(ge=0)] = 200.0
    on_cap: Command = ()
    on_uncap: Command = ()
    on_suspend: Command = ()
    on_resume: Command = ()
    on_shutdown: Command = ()
    on_start: Command = ()
    freeze: str = ""  # a cgroup v2 directory whose cgroup.freeze suspends the jobs, such as /sys/fs/cgroup/jobs.slice
    command_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    gpus: Annotated[int, Meta(ge=0, le=64)] = 0  # for {watts_per_gpu}

    @property
    def terms(self) -> NodeTerms:
        """What dispatch may ask of it: by its register map, by NVML, or by the site's own commands."""
        served = self.source == "modbus"
        can_cap = served or self.source == "nvml" or bool(self.on_cap)
        return NodeTerms(
            id=self.id,
            critical=self.critical,
            cap_w=self.cap_w if can_cap else None,
            can_suspend=served or bool(self.freeze) or bool(self.on_suspend and self.on_resume),
            can_shutdown=served or bool(self.on_shutdown),
        )


class TariffConfig(TariffTerms, frozen=True, kw_only=True):
    """`[tariff]`: a CSV of market prices and what a bill adds to them."""

    file: str = ""  # start_utc,price_eur_per_mwh; relative to the site file, or "bundled:de-lu-2025"


class IoConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[io]`: deadlines of the conversation with devices. Unscaled seconds."""

    deadline_s: Annotated[float, Meta(gt=0, le=5)] = 0.08  # one request; must stay below half the poll period
    stale_after_s: Annotated[float, Meta(gt=0, le=2)] = 1.0
    backoff_max_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
