"""Defines the sections of the site file by which devices are reached: PCS, meters, PV, switch, nodes, tariff file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from dispatch.config.schema import BatteryConfig, MeterTerms, NodeTerms, PcsRatings, PositiveWatts, PvTerms
from dispatch.config.tariff_terms import TariffTerms
from drivers.http.config import AuthorizationFile, CaFile, Fingerprint, HttpUrl
from drivers.modbus.address import EXPECTED
from drivers.modbus.frames import MAX_READ

SLOW_READING = 4  # deadlines

# `expected` is what the error message for a wrong value says.
Id = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
        extra={"expected": "1..32 letters, digits, dots, dashes, underscores"},
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^(twin|(tcp|rtu\+tcp|tls)://[^\s]+|serial:///[^\s]+)$",
        description="Where it is. `tcp://host:port`: Modbus TCP, an IPv6 address in brackets, `tcp://[::1]:502`; "
        "`rtu+tcp://host:port`: RTU frames over TCP; `tls://host:port`: Modbus/TCP Security, port 802 where none is "
        "given, with the certificates of [tls]; `serial:///dev/ttyUSB0?baud=9600&parity=N&stop=1`: RTU on a serial "
        "port; `twin`: the device of the site's twin.",
        extra={"expected": EXPECTED},
    ),
]
Unit = Annotated[
    int,
    Meta(
        ge=0,
        le=255,
        description="Modbus unit id. Devices behind one url share one connection and are asked in turn. On a serial "
        "line 0 is every device at once, so it is refused there.",
        extra={"expected": "a Modbus unit id, 0..255"},  # 0 and 255: MODBUS Messaging on TCP/IP V1.0b, 4.4.2.2
    ),
]
Deadline = Annotated[
    float,
    Meta(
        gt=0, le=10, description="Longest wait for one answer of this device, real seconds. Not given: io.deadline_s."
    ),
]
Period = Annotated[
    float,
    Meta(
        gt=0,
        le=60,
        description="How often it is read, real seconds, for a device that answers slowly. Its readings become stale "
        "later by this. Not given: 4 x deadline_s where that is given; else at every tick, a node once a second.",
    ),
]
ConnectDelay = Annotated[
    float, Meta(ge=0, le=10, description="Pause between connecting and the first request, for devices that need one.")
]
Spacing = Annotated[
    float,
    Meta(
        ge=0,
        le=10,
        description="Pause between two requests to whatever device on this url, for devices and gateways that lose "
        "requests that come too fast. Where several devices on one url give it, the longest counts.",
    ),
]
MaxRegisters = Annotated[
    int,
    Meta(
        ge=4,  # a 64-bit value
        le=MAX_READ,
        description="Most registers that it gives in one request; more are read in several. Writes are never split.",
    ),
]
AnyTransaction = Annotated[
    bool,
    Meta(
        description="true: do not compare the transaction id of its answers, for a Modbus TCP gateway that spoils it. "
        "Unit, function, length and content must fit nevertheless. After an answer that did not come it is left alone "
        "for two deadlines, since a late one could not be told from the next."
    ),
]
Instance = Annotated[
    int,
    Meta(
        ge=1,
        le=99,
        description="Which one, where a unit holds the SunSpec models of several; 1 is the first in its chain. Not "
        "given: the first, with a warning in the event log if there are more.",
    ),
]


DeviceMapName = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{0,255}$",
        description="Device map by which it is read: a name such as `janitza-umg`, or a file such as "
        "`./my-meter.toml`, relative to the site file. Empty: SunSpec.",
        extra={"expected": "the name of a device map, or the path of a file"},
    ),
]
Units = Annotated[
    Mapping[str, Unit],
    Meta(description="Modbus unit ids of the other units of its map, by their names there, such as { system = 100 }."),
]


class Polled(Protocol):
    """What the site file says of how a device is asked."""

    @property
    def id(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def deadline_s(self) -> float | None: ...

    @property
    def period_s(self) -> float | None: ...


def poll_period_s(device: Polled) -> float:
    """Real seconds between two readings of a device; 0: it is read at every tick.

    A device whose deadline is given is slow: a reading of a PCS takes three requests, and writes need time, too.
    """
    if device.period_s is not None:
        return device.period_s
    return 0.0 if device.deadline_s is None else SLOW_READING * device.deadline_s


class MeterDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[meter]]`: a SunSpec meter (models 201-204, 211-214), or one by a device map. Exactly one has role "grid"."""

    id: Annotated[Id, Meta(description="Name of the meter.")]
    url: Url
    source: Annotated[
        Literal["modbus", "p1"],
        Meta(
            description="`modbus`: SunSpec, or by `map`. `p1`: the grid operator's meter sends telegrams by itself on "
            "its customer port (DSMR 5, e-MUCS), read at `serial:///dev/ttyUSB0?baud=115200` or, behind a bridge that "
            "passes the bytes on, `tcp://host:port`. It must send one a second."
        ),
    ] = "modbus"
    unit: Unit = 1
    map: DeviceMapName = ""
    units: Units = {}
    instance: Instance | None = None
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    role: Annotated[
        Literal["grid", "load"], Meta(description="Whether it measures at the PCC or the load of the site.")
    ] = "grid"
    invert: Annotated[
        bool, Meta(description="true: the meter counts export as positive power. The model does not define the sign.")
    ] = False
    side: (
        Annotated[
            Literal["grid", "site"],
            Meta(
                description="On which side of the switch at the PCC it measures. It may read 0 V while that side is "
                'dead. Not given: "grid" for the role grid, "site" for the role load.'
            ),
        ]
        | None
    ) = None

    @property
    def terms(self) -> MeterTerms:
        """What dispatch needs to know of it."""
        return MeterTerms(id=self.id, side=self.side or ("grid" if self.role == "grid" else "site"))


class BatteryDevice(BatteryConfig, frozen=True, kw_only=True):
    """`[[battery]]`: a battery; with `map` and `url` its BMS is a device of its own, else its PCS tells of it."""

    map: Annotated[
        str,
        Meta(
            pattern=r"^[^\x00-\x1f\x7f]{0,255}$",
            description="Device map of kind battery by which its BMS is read, where that is a device of its own. "
            "Needed with a PCS that tells no SoC. Empty: its PCS tells of it.",
            extra={"expected": "the name of a device map of kind battery, or the path of a file"},
        ),
    ] = ""
    url: Annotated[
        str,
        Meta(
            pattern=r"^(twin|(tcp|rtu\+tcp|tls)://[^\s]+|serial:///[^\s]+)?$",
            description="Where its BMS is, with `map`: as the url of a [[pcs]].",
            extra={"expected": EXPECTED},
        ),
    ] = ""
    unit: Unit = 1
    units: Units = msgspec.field(default_factory=dict)
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False


class PcsDevice(PcsRatings, frozen=True, kw_only=True):
    """`[[pcs]]`: a SunSpec PCS (701 to 704, 713, 715, 802), a storage inverter (101-103, 111-113, 124), or by a map."""

    url: Url
    unit: Unit = 1
    instance: Instance | None = None
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    revert_s: Annotated[
        float,
        Meta(
            ge=5,
            le=3600,
            description="Reversion timer asked of the PCS: how long it keeps a setpoint that is not renewed. Skerry "
            "renews it at half of this time.",
        ),
    ] = 60.0
    map: DeviceMapName = ""
    units: Units = msgspec.field(default_factory=dict)
    serial: Annotated[
        str, Meta(description="Serial number that it must have. Empty: that which it has at the first contact.")
    ] = ""
    accept_no_revert: Annotated[
        bool,
        Meta(
            description="true: the owner accepts that it keeps the last setpoint for ever when Skerry or the network "
            "fails. Needed for a map without reversion, together with cap_w."
        ),
    ] = False
    cap_w: (
        Annotated[
            PositiveWatts,
            Meta(description="Power above which it is never commanded, either way. Not given: its rating."),
        ]
        | None
    ) = None

    @property
    def capped(self) -> PcsDevice:
        """The same with ratings that are not above its cap: what may be planned with."""
        cap_w, ratings = self.cap_w, (self.charge_w, self.discharge_w)
        if not isinstance(cap_w, (int, float)) or not all(isinstance(w, (int, float)) for w in ratings):
            return self  # no cap, or a value of a site file that could not be read
        charge_w, discharge_w = (min(w, cap_w) for w in ratings)
        return msgspec.structs.replace(self, charge_w=charge_w, discharge_w=discharge_w)


class PvDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[pv]]`: a SunSpec PV inverter (101-103, 111-113 or 701; limited by 704 or 123), or one by a device map.

    The map of a hybrid's PCS reads its PV, too.
    """

    id: Annotated[Id, Meta(description="Name of the inverter.")]
    url: Url
    unit: Unit = 1
    map: DeviceMapName = ""
    units: Units = {}
    instance: Instance | None = None
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    peak_w: Annotated[float, Meta(gt=0, description="Peak power of its panels.")]
    rated_w: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Rated AC power of the inverter, where it is higher than the panels' peak. A power above 1.1 "
            "times it and above 1.3 times peak_w is not believed.",
        ),
    ] = None
    curtail: Annotated[
        bool,
        Meta(
            description="true: Skerry may limit its power (SunSpec model 704 or 123, or a map with the write "
            "`pv_limit`) to keep the export limit once the battery cannot charge more."
        ),
    ] = False
    revert_s: Annotated[
        float,
        Meta(
            ge=5,
            le=3600,
            description="Reversion timer asked of the inverter for a limit: how long it keeps one that is not renewed. "
            "Skerry renews it at half of this time.",
        ),
    ] = 60.0

    @property
    def terms(self) -> PvTerms:
        """What dispatch needs to know of it."""
        return PvTerms(id=self.id, peak_w=self.peak_w, rated_w=self.rated_w, curtail=self.curtail)


class SwitchDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[switch]]`: the switch at the PCC: one to the grid, or a transfer switch between the grid and a generator."""

    id: Annotated[Id, Meta(description="Name of the switch.")]
    url: Url
    unit: Unit = 1
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    map: Annotated[
        str,
        Meta(
            pattern=r"^[^\x00-\x1f\x7f]{1,255}$",
            description="Device map by which it is read: a name such as `socomec-atys-p-m`, or a file such as "
            "`./my-switch.toml`, relative to the site file.",
            extra={"expected": "the name of a device map, or the path of a file"},
        ),
    ] = "skerry-switch"
    units: Units = {}


Command = Annotated[tuple[str, ...], Meta(max_length=64)]


class NodeDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[node]]`: a compute node.

    The `on_*` commands are lists of arguments that run without a shell. In an argument, {node} stands for the node's
    id, {watts} for the cap, {watts_per_gpu} for its share of each GPU, {reason} for the reason.
    """

    id: Annotated[Id, Meta(description="Name of the node.")]
    source: Annotated[
        Literal["psutil", "nvml", "modbus", "nut", "exporters", "prometheus"],
        Meta(
            description="`psutil`: this machine, power estimated from its CPU use; `nvml`: this machine's NVIDIA GPUs, "
            "too; `modbus`: the register map `skerry-node`; `nut`: the outlets of metered PDUs; `exporters`: metrics "
            "pages of its Prometheus exporters; `prometheus`: the site's Prometheus."
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
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}:[1-9][0-9]{0,3}$")], ...],
        Meta(
            max_length=16,
            description="Every outlet that feeds it, `pdu:number`, with the `id` of a `[[pdu]]`: "
            '`["pdu-a:3", "pdu-b:3"]`. Its power is their sum, and is not known while one of them is not. Needed with '
            "`nut`; with `exporters` and `prometheus` it goes before what these tell.",
            extra={"expected": 'outlets such as "pdu-a:3"'},
        ),
    ] = ()
    critical: Annotated[bool, Meta(description="true: the node is kept running off the grid; false: deferrable.")] = (
        False
    )
    cap_w: (
        Annotated[
            PositiveWatts,
            Meta(
                description="The power to which the node may be capped. Not given: it is never capped. With `nvml` its "
                "GPUs share what full_w leaves of it."
            ),
        ]
        | None
    ) = None
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
    on_suspend: Annotated[Command, Meta(description="Command that suspends its jobs.")] = ()
    on_resume: Annotated[Command, Meta(description="Command that resumes its jobs.")] = ()
    on_shutdown: Annotated[Command, Meta(description="Command that shuts the node down.")] = ()
    on_start: Annotated[Command, Meta(description="Command that starts the node again.")] = ()
    freeze: Annotated[
        str,
        Meta(
            description="cgroup v2 directory whose `cgroup.freeze` suspends the jobs, such as "
            "`/sys/fs/cgroup/jobs.slice`."
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
    """`[tariff]`: market prices, and what the bill adds to them."""

    file: Annotated[
        str,
        Meta(
            description="CSV of market prices with the columns start_utc,price_eur_per_mwh (or price_eur_per_kwh, "
            "price_ct_per_kwh); relative to the site file, or `bundled:de-lu-2025`. Read again when it changes, and at "
            "SIGHUP. Empty: no prices."
        ),
    ] = ""
    prices_as_declared: Annotated[
        bool,
        Meta(
            description="Use prices that look as if their unit were another, or a whole day of 0.00, as the file "
            "declares them. Otherwise a gateway does not use such a file."
        ),
    ] = False


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[tls]`: certificates for devices with a `tls://` url (Modbus/TCP Security). PEM files, read at the start.

    A device's certificate must be valid, signed by `ca`, and issued for the host in the url. Paths are relative to the
    site file.
    """

    ca: Annotated[str, Meta(min_length=1, description="Certificates of the authorities that sign the devices'.")]
    cert: Annotated[
        str, Meta(min_length=1, description="Certificate of this gateway, by which devices know it and its role.")
    ]
    key: Annotated[
        str,
        Meta(
            min_length=1,
            description="Private key of that certificate, not encrypted. A file that every user can read is refused.",
        ),
    ]

    def files(self, directory: Path) -> tuple[Path, Path, Path]:
        """Where they are: ca, cert, key. `directory`: that of the site file."""
        return directory / self.ca, directory / self.cert, directory / self.key


class IoConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[io]`: deadlines for the exchange with devices, in real seconds also where a twin's clock runs faster."""

    deadline_s: Annotated[
        float, Meta(gt=0, le=5, description="Longest wait for one answer; must stay below half the tick period.")
    ] = 0.08
    stale_after_s: Annotated[
        float, Meta(gt=0, le=2, description="Age at which a reading is stale and no longer used.")
    ] = 1.0
    backoff_max_s: Annotated[
        float, Meta(gt=0, le=60, description="Longest pause between two attempts to reach a lost device.")
    ] = 2.0
