"""The structure of a site file: every section as a struct, composed from the packages that own them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.config.contact_terms import ContactStepTerms
from dispatch.config.off_grid import DrillsConfig, GensetConfig, IslandConfig, RideThroughConfig
from dispatch.config.plane import PlaneTerms
from dispatch.config.schema import (
    CapsConfig,
    DispatchConfig,
    GridConfig,
    OrdersConfig,
    PlanConfig,
    ReserveConfig,
    RulesConfig,
)
from dispatch.forecasting.sun import Place
from drivers.config import (
    BatteryDevice,
    IoConfig,
    MeterDevice,
    PcsDevice,
    PvDevice,
    SwitchDevice,
    TariffConfig,
    TlsConfig,
)
from drivers.contacts.config import ContactDevice
from drivers.device_keys import Polled
from drivers.http.config import PrometheusServer
from drivers.kubernetes.config import KubernetesServer
from drivers.node_config import NodeDevice
from drivers.nodes.group import NamedGroup, NodeGroup
from drivers.nut.config import PduDevice, UpsDevice
from drivers.redfish.config import BmcDefaults
from drivers.schedulers.config import Scheduler
from drivers.signals.config import SignalsConfig, SignalSender
from drivers.twin.config import TwinConfig
from drivers.weather.config import WeatherService
from gateway.site.output_sections import MetricsConfig, MqttConfig, NotifyConfig
from storage.config import StorageConfig

# Sections of what has an id of its own, which no node may have.
WITH_IDS: tuple[str, ...] = (
    "battery",
    "pcs",
    "meter",
    "pv",
    "switch",
    "node",
    "ups",
    "pdu",
    "contact",
    "contact_step",
    "prometheus",
    "kubernetes",
    "bmc",
)
GroupName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$")]


class SiteInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`[site]`: name and calendar of the site."""

    name: Annotated[str, Meta(min_length=1, max_length=32, description="Name of the site.")]
    timezone: Annotated[str, Meta(description="IANA time zone; metering intervals, days and months follow it.")] = (
        "Europe/Berlin"
    )
    latitude_deg: (
        Annotated[
            float,
            Meta(
                ge=-90,
                le=90,
                description="Latitude, north is positive; with it and the longitude the sun tells when a silent PV "
                "inverter is asleep, and what PV will give (`[[plane]]`). Not given: what the time zone allows.",
            ),
        ]
        | None
    ) = None
    longitude_deg: (
        Annotated[float, Meta(ge=-180, le=180, description="Longitude, east is positive; with `latitude_deg`.")] | None
    ) = None

    @property
    def place(self) -> Place | None:
        """Where the site is; None if the site file does not say."""
        if self.latitude_deg is None or self.longitude_deg is None:
            return None
        return Place(self.latitude_deg, self.longitude_deg)


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[gateway]`: the process that runs the site."""

    rate_hz: Annotated[float, Meta(ge=1, le=10, description="Ticks per second.")] = 5.0
    state_dir: Annotated[
        str,
        Meta(
            description="Directory of the records. Empty: `$STATE_DIRECTORY`, else "
            "`$XDG_STATE_HOME/skerry/<name of the site file>`."
        ),
    ] = ""


class RolesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[roles]`: the Unix group of each role. Whoever may open the socket is a viewer; it belongs to their group."""

    viewer: Annotated[GroupName, Meta(description="May look; the socket is handed to this group.")] = "skerry-viewer"
    scheduler: (
        Annotated[
            GroupName,
            Meta(
                description="The user of a job scheduler: may reserve power, withdraw what it has reserved, and report "
                "jobs. Not given: nobody has this role."
            ),
        ]
        | None
    ) = None
    operator: Annotated[GroupName, Meta(description="May also give orders and acknowledge alarms.")] = "skerry-operator"
    engineer: Annotated[
        GroupName, Meta(description="May also go below the reserve, disable devices, reset faults, start a dead site.")
    ] = "skerry-engineer"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A whole site file: the connection, the devices, the tariff, and how the site is run."""

    path: Path
    version: Annotated[
        int, Meta(ge=1, description="Version of the site file, see `skerry config upgrade`. Not given: 1.")
    ] = 1
    site: SiteInfo
    grid: GridConfig
    gateway: GatewayConfig = GatewayConfig()
    reserve: ReserveConfig = ReserveConfig()
    rules: RulesConfig = RulesConfig()
    plan: PlanConfig = PlanConfig()
    orders: OrdersConfig = OrdersConfig()
    roles: RolesConfig | None = None
    island: IslandConfig = IslandConfig()
    genset: GensetConfig | None = None
    drills: DrillsConfig = DrillsConfig()
    ride_through: RideThroughConfig = RideThroughConfig()
    tariff: TariffConfig = TariffConfig()
    caps: CapsConfig = CapsConfig()
    io: IoConfig = IoConfig()
    tls: TlsConfig | None = None
    storage: StorageConfig = StorageConfig()
    metrics: MetricsConfig | None = None
    mqtt: MqttConfig | None = None
    twin: TwinConfig | None = None
    signals: SignalsConfig = SignalsConfig()
    battery: tuple[BatteryDevice, ...] = ()
    pcs: tuple[PcsDevice, ...] = ()
    meter: tuple[MeterDevice, ...] = ()
    pv: tuple[PvDevice, ...] = ()
    plane: tuple[PlaneTerms, ...] = ()
    weather: tuple[WeatherService, ...] = ()
    switch: tuple[SwitchDevice, ...] = ()
    node: tuple[NodeDevice, ...] = ()
    nodes: tuple[NodeGroup, ...] = ()
    prometheus: tuple[PrometheusServer, ...] = ()
    kubernetes: tuple[KubernetesServer, ...] = ()
    bmc: tuple[BmcDefaults, ...] = ()
    ups: tuple[UpsDevice, ...] = ()
    pdu: tuple[PduDevice, ...] = ()
    contact: tuple[ContactDevice, ...] = ()
    contact_step: tuple[ContactStepTerms, ...] = ()
    scheduler: tuple[Scheduler, ...] = ()
    signal: tuple[SignalSender, ...] = ()
    notify: tuple[NotifyConfig, ...] = ()

    @property
    def bms(self) -> tuple[BatteryDevice, ...]:
        """The batteries whose BMS is a device of its own."""
        return tuple(battery for battery in self.battery if battery.map)

    @property
    def every_node(self) -> tuple[NodeDevice, ...]:
        """Each `[[node]]`, then the nodes of each `[[nodes]]`. Dispatch orders the former only."""
        return (*self.node, *(node for group in self.nodes for node in group.nodes()))

    @property
    def unusable_names(self) -> tuple[tuple[int, str], ...]:
        """What cannot be used of files with names of nodes, with the number of the `[[nodes]]`."""
        named = ((n, group) for n, group in enumerate(self.nodes) if isinstance(group, NamedGroup))
        return tuple((n, why) for n, group in named for why in group.unusable)

    @property
    def polled(self) -> tuple[Polled, ...]:
        """Every device that is read and has a health of its own, in the site file's order of sections."""
        of_power: tuple[Polled, ...] = (*self.meter, *self.pcs, *self.bms, *self.pv, *self.switch)
        return (*of_power, *self.every_node, *self.ups, *self.contact)

    @property
    def dispatch(self) -> DispatchConfig:
        """What `dispatch` uses of the site file."""
        return DispatchConfig(
            grid=self.grid,
            timezone=self.site.timezone,
            reserve=self.reserve,
            batteries=self.battery,
            pcs=tuple(p.capped for p in self.pcs),
            nameplates=self.pcs,
            rules=self.rules,
            plan=self.plan,
            orders=self.orders,
            tariff=self.tariff,
            caps=self.caps,
            island=self.island,
            genset=self.genset,
            drills=self.drills,
            ride_through=self.ride_through,
            switches=tuple(s.id for s in self.switch),
            nodes=tuple(n.terms for n in self.node),
            meters=tuple(m.terms for m in self.meter),
            contacts=tuple(c.terms for c in self.contact),
            contact_steps=self.contact_step,
            pv=tuple(p.terms for p in self.pv),
            planes=self.plane,
            place=self.site.place,
        )

    @property
    def uses_twin(self) -> bool:
        """Whether any device is the twin's."""
        devices: tuple[PcsDevice | MeterDevice | BatteryDevice | PvDevice | SwitchDevice | NodeDevice, ...]
        nodes = (n for n in self.node if n.source == "modbus")
        devices = (*self.pcs, *self.meter, *self.battery, *self.pv, *self.switch, *nodes)
        return any(d.url == "twin" for d in devices)
