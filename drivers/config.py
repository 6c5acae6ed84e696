"""Defines the sections of the site file for PCS, battery, meter, PV, switch, tariff file, certificates, deadlines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.schema import BatteryConfig, MeterTerms, PcsRatings, PvTerms
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.value_types import PositiveWatts
from drivers.device_keys import (
    MODBUS_URL,
    AnyTransaction,
    ConnectDelay,
    Deadline,
    DeviceMapName,
    Id,
    Instance,
    MaxRegisters,
    Period,
    Serial,
    Spacing,
    Unit,
    Units,
    Url,
)
from drivers.modbus.address import EXPECTED
from drivers.modbus.frames import MAX_READ
from drivers.tariffs.exports import FileTerms
from drivers.tariffs.feeds.config import CarbonFeed, PriceFeed


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
    serial: Serial = ""
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
        DeviceMapName,
        Meta(
            description="Device map of kind battery by which its BMS is read, where that is a device of its own. "
            "Needed with a PCS that tells no SoC. Empty: its PCS tells of it.",
            extra={"expected": "the name of a device map of kind battery, or the path of a file"},
        ),
    ] = ""
    url: Annotated[
        str,
        Meta(
            pattern=rf"^({MODBUS_URL})?$",
            description="Where its BMS is, with `map`: as the url of a [[pcs]].",
            extra={"expected": EXPECTED},
        ),
    ] = ""
    unit: Unit = 1
    units: Units = msgspec.field(default_factory=dict)
    serial: Serial = ""
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
    serial: Serial = ""
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
    serial: Serial = ""
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
    serial: Serial = ""


class TariffConfig(TariffTerms, frozen=True, kw_only=True):
    """`[tariff]`: market prices, and what the bill adds to them."""

    file: Annotated[
        str,
        Meta(
            description="CSV of market prices with the columns start_utc,price_eur_per_mwh (or price_eur_per_kwh, "
            "price_ct_per_kwh), or an export of SMARD, ENTSO-E, Energy-Charts or Nord Pool; relative to the site "
            "file, or `bundled:de-lu-2025`. Read again when it changes, and at SIGHUP. Empty: no prices."
        ),
    ] = ""
    file_column: Annotated[
        str, Meta(description="Of an export with several price columns the one that counts, by its title.")
    ] = ""
    file_timezone: Annotated[
        str, Meta(description="Of an export whose times have no offset and no zone in the header: IANA time zone.")
    ] = ""
    prices_as_declared: Annotated[
        bool,
        Meta(
            description="Use prices that look as if their unit were another, or a whole day of 0.00, as the file "
            "declares them. Otherwise a gateway does not use such a file."
        ),
    ] = False
    feed: tuple[PriceFeed, ...] = ()
    co2_feed: CarbonFeed | None = None

    @property
    def file_terms(self) -> FileTerms:
        """What is to be known of the price file to read it."""
        return FileTerms(self.file_column, self.file_timezone, self.eur_per)


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
