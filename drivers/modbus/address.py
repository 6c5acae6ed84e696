"""Reads the url of a device: Modbus TCP, RTU frames over TCP, Modbus/TCP Security (TLS), or a serial port."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

TLS_PORT = 802  # MODBUS/TCP Security Protocol Specification v21, registered with IANA as mbap-s
BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400)
EXPECTED = (
    '"twin", tcp://host:port, rtu+tcp://host:port, tls://host:port, '
    "or serial:///dev/ttyUSB0?baud=9600&parity=N&stop=1; an IPv6 address in brackets, tcp://[::1]:502"
)

_NETWORK = re.compile(r"(tcp|rtu\+tcp|tls)://(?:\[([^\]\s]*)\]|([^\s/:?#@\[\]]+))(?::(\d{1,5}))?")
_SERIAL = re.compile(r"serial://(/[^\s?#]+)(?:\?([^\s?#]*))?")
_CHARACTER_BITS = 11  # MODBUS over Serial Line V1.02, 2.5.1: start, 8 data, parity or second stop, stop
_PARITIES, _STOPS = ("N", "E", "O"), ("1", "2")


class Address(NamedTuple):
    """Where a line leads. `host`: a name, an IP address without brackets, or the path of a serial port."""

    scheme: str  # tcp, rtu+tcp, tls, serial
    host: str
    port: int = 0  # 0: serial
    baud: int = 9600
    parity: str = "N"
    stop: int = 1

    @property
    def rtu(self) -> bool:
        """Whether frames are RTU: no transaction ids, unit 0 is every device."""
        return self.scheme in ("rtu+tcp", "serial")

    @property
    def place(self) -> tuple[str, int]:
        """What only one line may use: host and port, or the serial port."""
        return (self.host if self.scheme == "serial" else self.host.lower()), self.port

    def wire_s(self, characters: float) -> float:
        """How long so many characters take on a serial line, s; 0 where its speed is not known."""
        return characters * _CHARACTER_BITS / self.baud if self.scheme == "serial" else 0.0

    def __str__(self) -> str:
        """As error messages name it."""
        if self.scheme == "serial":
            return self.host
        at = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return at if self.scheme == "tcp" else f"{self.scheme}://{at}"


def parse(url: str) -> Address:
    """The address in a url. Raises ValueError, whose text is what was expected."""
    if found := _SERIAL.fullmatch(url):
        return _serial(found[1], found[2] or "")
    if not (found := _NETWORK.fullmatch(url)):
        raise ValueError(EXPECTED)
    scheme, v6, host, port = found.groups()
    if v6 is not None:
        host = _ipv6(v6)
    if port is None and scheme != "tls":
        raise ValueError(f"a port: {scheme}://host:port")
    number = TLS_PORT if port is None else int(port)
    if not 1 <= number <= 65535:
        raise ValueError("a port, 1..65535")
    return Address(scheme, host, number)


def place_of(url: str) -> tuple[str, int]:
    """What only one line may use, by a url; of another kind of url the text itself."""
    try:
        return parse(url).place
    except ValueError:
        return url, 0


def _ipv6(text: str) -> str:
    """One spelling of an IPv6 address. Raises ValueError."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("an IPv6 address in the brackets, such as tcp://[::1]:502") from None


def _serial(path: str, query: str) -> Address:
    settings = {"baud": "9600", "parity": "N", "stop": "1"}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in settings:
            raise ValueError(f"the settings baud, parity and stop; {name!r} is none of them")
        settings[name] = value
    baud, parity, stop = settings["baud"], settings["parity"], settings["stop"]
    if baud not in map(str, BAUDS):
        raise ValueError(f"baud one of {', '.join(map(str, BAUDS))}")
    if parity not in _PARITIES:
        raise ValueError("parity N (none), E (even) or O (odd)")
    if stop not in _STOPS:
        raise ValueError("stop 1 or 2")
    return Address("serial", path, baud=int(baud), parity=parity, stop=int(stop))
