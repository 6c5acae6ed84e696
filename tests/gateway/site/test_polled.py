"""`Site.polled`: every device of a site that is read, in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.cli.check import _waits
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from gateway.commissioning.machine_findings import machine_findings
from gateway.site.loader import load

ROOT = Path(__file__).parents[3]
MORE = """
[[contact]]
id = "epo"
purpose = "epo"
url = "serial:///dev/ttyNONE7"
input = "discrete"
address = 1
normally = "closed"
deadline_s = 0.7
[[ups]]
id = "ups1"
url = "nut://127.0.0.1/ups"
"""


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "sites").glob("*.toml")))
def test_it_names_what_has_a_driver(name: str) -> None:
    site = load(ROOT / "sites" / name)
    drivers = make_drivers(
        *(site.meter, site.pcs, site.pv, site.switch, site.every_node, site.io),
        lambda *_: (Address("tcp", "127.0.0.1", 1), 1),
        ups=site.ups, pdus=site.pdu, beside=site.path, contacts=site.contact, batteries=site.battery,
        prometheus=site.prometheus,
    )  # fmt: skip
    assert sorted(driver.id for driver in drivers) == sorted(device.id for device in site.polled)


def test_contacts_and_batteries_have_their_serial_ports_looked_at_and_keep_the_grid_meter_waiting(
    tmp_path: Path,
) -> None:
    """Found: both were looked for among meters, PCS, PV, switches and nodes only."""
    path = tmp_path / "site.toml"
    path.write_text((ROOT / "sites" / "sinexcel-pylontech.toml").read_text() + MORE)
    site = load(path)
    ports = [found.text for found in machine_findings(site) if found.code == "serial"]
    assert any("/dev/ttyNONE7" in text for text in ports)
    shared = path.read_text().replace('url = "serial:///dev/ttyNONE7"', f'url = "{site.meter[0].url}"\nunit = 9')
    path.write_text(shared)
    assert [line.split(":")[0] for line in _waits(load(path))] == ["epo"]
