"""Urls of devices: what each kind leads to, and what is said of one that leads nowhere."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.address import Address, parse, place_of


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("tcp://plc.site:502", Address("tcp", "plc.site", 502), "plc.site:502"),
        ("tcp://10.0.0.7:1502", Address("tcp", "10.0.0.7", 1502), "10.0.0.7:1502"),
        ("tcp://[::1]:502", Address("tcp", "::1", 502), "[::1]:502"),
        ("tcp://[FE80:0:0::1%eth0]:502", Address("tcp", "fe80::1%eth0", 502), "[fe80::1%eth0]:502"),
        ("rtu+tcp://gw:4001", Address("rtu+tcp", "gw", 4001), "rtu+tcp://gw:4001"),
        ("tls://pcs.site", Address("tls", "pcs.site", 802), "tls://pcs.site:802"),
        ("tls://[2001:db8::5]:8802", Address("tls", "2001:db8::5", 8802), "tls://[2001:db8::5]:8802"),
        ("serial:///dev/ttyUSB0", Address("serial", "/dev/ttyUSB0"), "/dev/ttyUSB0"),
        (
            "serial:///dev/serial/by-id/usb-FTDI_A1:0?baud=19200&parity=E&stop=2",
            Address("serial", "/dev/serial/by-id/usb-FTDI_A1:0", 0, 19200, "E", 2),
            "/dev/serial/by-id/usb-FTDI_A1:0",
        ),
    ],
)
def test_where_a_url_leads(url: str, address: Address, shown: str) -> None:
    assert (parse(url), str(parse(url))) == (address, shown)
    assert address.rtu is (address.scheme in ("rtu+tcp", "serial"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("udp://plc:502", "tcp://host:port"),
        ("tcp://::1:502", "an IPv6 address in brackets"),
        ("tcp://user@plc:502", "tcp://host:port"),
        ("tcp://plc:502/x", "tcp://host:port"),
        ("tcp://plc", "a port: tcp://host:port"),
        ("rtu+tcp://plc", r"a port: rtu\+tcp://host:port"),
        ("tcp://plc:0", r"a port, 1\.\.65535"),
        ("tcp://plc:65536", r"a port, 1\.\.65535"),
        ("tcp://[::g]:502", "an IPv6 address in the brackets"),
        ("tcp://[plc]:502", "an IPv6 address in the brackets"),
        ("serial://ttyUSB0", "serial:///dev/ttyUSB0"),
        ("serial:///dev/ttyUSB0?speed=9600", "'speed' is none of them"),
        ("serial:///dev/ttyUSB0?baud=9601", "baud one of 300, "),
        ("serial:///dev/ttyUSB0?baud", "baud one of 300, "),
        ("serial:///dev/ttyUSB0?parity=even", "parity N"),
        ("serial:///dev/ttyUSB0?stop=1.5", "stop 1 or 2"),
        ("", "tcp://host:port"),
    ],
)
def test_what_is_expected_of_a_url_that_leads_nowhere(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse(url)


def test_one_port_is_one_line_however_it_is_written() -> None:
    assert place_of("tcp://PLC:502") == place_of("rtu+tcp://plc:502") != place_of("tcp://plc:503")
    assert place_of("tcp://[::1]:502") == place_of("tcp://[0:0:0:0:0:0:0:1]:502")
    assert place_of("twin") == place_of("twin") != place_of("elsewhere")


@settings(max_examples=100)
@given(st.text(max_size=60) | st.from_regex(r"(tcp|tls|rtu\+tcp|serial)://?/?[\[\]:/?&=a-z0-9]*", fullmatch=True))
def test_any_text_is_an_address_or_an_expectation(url: str) -> None:
    with contextlib.suppress(ValueError):
        address = parse(url)
        assert address.host
        assert (address.port == 0) is (address.scheme == "serial")


def test_time_on_the_wire() -> None:
    assert parse("serial:///dev/ttyS1?baud=9600").wire_s(3.5) == pytest.approx(0.00401, abs=1e-5)
    assert parse("tcp://plc:502").wire_s(300) == 0.0
