"""The twin's ATyS on the wire: the source, by pymodbus' client from the maker's table and by our own driver."""

from __future__ import annotations

from genset_site import GENSET
from pymodbus.client import AsyncModbusTcpClient
from twin_sites import running, sections

from dispatch.model.equipment import Switch
from drivers.config import IoConfig, SwitchDevice
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.twin.faults import Fault
from drivers.twin.physics import TwinSite
from drivers.twin.server import TwinServer
from drivers.twin.transfer_switch import atys_p_m_image

ATYS = SwitchDevice(id="ats", url="twin", unit=5, map="socomec-atys-p-m")


async def status(client: AsyncModbusTcpClient) -> tuple[int, ...]:
    """Mode, position, start relay 2, source 1, source 2."""
    answer = await client.read_holding_registers(0x5000, count=15, device_id=5)
    return tuple(answer.registers[n] for n in (1, 2, 4, 6, 7))


async def read(host: str, port: int) -> Switch:
    at = Address("tcp", host, port)
    (driver,) = make_drivers([], [], [], [ATYS], [], IoConfig(deadline_s=5.0), lambda *_: (at, 5))
    found = await driver.read()
    await driver.close()
    assert isinstance(found, Switch)
    return found


async def test_an_outage_with_a_generator_as_the_table_has_it() -> None:
    parts = sections(genset_start_s=5.0, reconnect_wait_s=5.0) | {"switches": (ATYS,)}
    site = TwinSite.from_sections(**parts, genset=GENSET, load_w=lambda _: 15_000.0)
    server = TwinServer({5: ("ats", atys_p_m_image(site.switches[0], site))}, site)
    host, port = await server.start()
    client = AsyncModbusTcpClient(host, port=port, retries=0, timeout=5.0)
    assert await client.connect()
    try:
        site.advance(1.0)
        assert await status(client) == (0x10, 2, 0, 2, 0)
        found = await read(host, port)
        assert (found.source.good, found.position.good, found.control.good) == ("grid", "closed", "automatic")
        site.faults.put(Fault("outage", until_s=site.t_s + 60.0))
        site.advance(3.0)
        assert await status(client) == (0x10, 1, 0, 0, 0)
        assert (await read(host, port)).source.good == "none"
        site.advance(10.0)
        assert await status(client) == (0x10, 3, 1, 0, 2)
        found = await read(host, port)
        assert (found.source.good, found.position.good) == ("genset", "open")
        assert (found.grid_voltage.good, found.genset_voltage.good) == ("absent", "present")
        site.advance(120.0)
        assert await status(client) == (0x10, 2, 0, 2, 0)
        site.switches[0].local = True
        assert (await read(host, port)).control.good == "local"
        for address in (0x5000 - 1, 0x500F, 0xC361):
            assert (await client.read_holding_registers(address, count=1, device_id=5)).isError()
        assert (await client.write_register(0x5001, 0x20, device_id=5)).isError()
    finally:
        client.close()
        await server.stop()


async def test_a_twin_with_a_transfer_switch_runs() -> None:
    async with running({"switches": (ATYS,), "genset": GENSET}) as twin:
        host, port, unit = twin.endpoints["ats"]
        assert unit == 5
        assert (await read(host, port)).source.good == "grid"
