"""Keys that the sections of many devices in the site file share: name, url, unit, deadlines, limits of the link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

from msgspec import Meta

from drivers.modbus.address import EXPECTED
from drivers.modbus.frames import MAX_READ

SLOW_READING = 4  # deadlines

ID = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"  # pattern of the name of a device
NODE_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"  # of a compute node: a host's, in clouds long; a label of DNS has 63
MODBUS_URL = r"twin|(tcp|rtu\+tcp|tls)://[^\s]+|serial:///[^\s]+"  # pattern of where a Modbus device is

# `expected` is what the error message for a wrong value says.
Host = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,254}|[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{1,40})$",
        description="Name or address of its machine.",
        extra={"expected": "the name or the address of a machine, without port"},
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535, description="Its TCP port.")]
Id = Annotated[
    str,
    Meta(
        pattern=rf"^{ID}$",
        extra={"expected": "1..32 letters, digits, dots, dashes, underscores"},
    ),
]
NodeId = Annotated[
    str,
    Meta(
        pattern=rf"^{NODE_ID}$",
        extra={"expected": "1..63 letters, digits, dots, dashes, underscores"},
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=rf"^({MODBUS_URL})$",
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


Serial = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{0,64}$",
        description="Serial number that it must tell: one that tells another, or none, is neither read nor written. "
        "`skerry doctor` prints it. Empty: any; a PCS by a map keeps to that of its first contact.",
        extra={"expected": "at most 64 printable characters, as `skerry devices read` shows them"},
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
