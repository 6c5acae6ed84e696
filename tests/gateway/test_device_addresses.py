"""Where the devices of a site are, as a gateway takes it from their urls: addresses, claims, certificates."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from small_gateway import SITE

from drivers.modbus.address import Address
from gateway.errors import StartRefused
from gateway.site.loader import compose
from gateway.site.schema import Site
from gateway.site_devices import certificates, claimed_devices, resolver


def site_with(path: Path, **sections: Any) -> Site:
    return compose(path, deepcopy(SITE) | sections)


def test_a_url_leads_to_its_address() -> None:
    resolve = resolver(None)
    assert resolve("grid", "tcp://[::1]:502", 255) == (Address("tcp", "::1", 502), 255)
    assert resolve("grid", "rtu+tcp://gw:4001", 7) == (Address("rtu+tcp", "gw", 4001), 7)


def test_a_serial_port_is_claimed_by_what_its_name_leads_to(tmp_path: Path) -> None:
    """Two gateways must not command one PCS because the port has two names."""
    port, name = tmp_path / "ttyUSB0", tmp_path / "usb-FTDI"
    port.touch()
    name.symlink_to(port)
    claims = []
    for path in (port, name):
        pcs = [SITE["pcs"][0] | {"url": f"serial://{path}", "unit": 3}]
        claims.append(
            {key for key in claimed_devices(site_with(tmp_path / "site.toml", pcs=pcs), None) if "tty" in key}
        )
    assert claims[0] == claims[1] != set()


def test_certificates_that_cannot_be_used_keep_a_gateway_from_starting(tmp_path: Path) -> None:
    assert certificates(site_with(tmp_path / "site.toml")) is None
    tls = {"ca": "ca.pem", "cert": "/nowhere/skerry.pem", "key": "skerry.key"}
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(StartRefused, match=r"site\.toml: tls\.cert = /nowhere/skerry\.pem: No such file"):
        certificates(site_with(tmp_path / "site.toml", tls=tls))
