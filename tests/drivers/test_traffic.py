"""What is kept of the traffic with a device: how long answers took, which registers were read last."""

from __future__ import annotations

import pytest
from toxic import FakeDevice, ToxicServer

from drivers.modbus.errors import ConnectionLost, DeviceException
from drivers.modbus.traffic import BLOCKS, KEPT, Place, Traffic
from drivers.modbus.transport import ModbusLink


def test_median_and_worst_are_of_the_last_answers() -> None:
    traffic = Traffic()
    assert (traffic.median_ms, traffic.worst_ms) == (None, None)
    for took_s in [9.0] * KEPT + [0.001] * 60 + [0.003] * 39 + [0.050]:
        traffic.answered(took_s)
    assert traffic.median_ms == pytest.approx(1.0)
    assert traffic.worst_ms == pytest.approx(50.0)
    assert traffic.answers == 2 * KEPT


def test_of_reads_that_overlap_the_newest_word_counts() -> None:
    traffic = Traffic()
    traffic.keep(Place(1, 3, 100), [1, 2, 3], 10.0)
    traffic.keep(Place(1, 3, 101), [7], 11.0)
    traffic.keep(Place(2, 3, 101), [9], 12.0)
    traffic.keep(Place(1, 3, 100), [4, 5, 6], 13.0)
    traffic.keep(Place(1, 4, 101), [8], 14.0)
    found = traffic.registers()
    assert found[Place(1, 3, 101)] == (5, 13.0)
    assert found[Place(2, 3, 101)] == (9, 12.0)
    assert found[Place(1, 4, 101)] == (8, 14.0)


def test_the_registers_kept_are_bounded() -> None:
    traffic = Traffic()
    for address in range(2 * BLOCKS):
        traffic.keep(Place(1, 3, address), [address], float(address))
    assert len(traffic.registers()) == BLOCKS
    assert Place(1, 3, 2 * BLOCKS - 1) in traffic.registers()


async def test_the_link_counts_answers_refusals_and_failures() -> None:
    async with ToxicServer(FakeDevice({100: [11, 22, 33]})) as server:
        link = ModbusLink(server.host, server.port, deadline_s=20.0, backoff_max_s=0.2)
        traffic = link.traffic
        assert traffic.connect_s is None
        await link.read(1, 100, 3)
        with pytest.raises(DeviceException):
            await link.read(1, 500, 1)
        assert (traffic.answers, traffic.refusals, traffic.failures) == (1, 1, 0)
        server.toxic = "reset"
        with pytest.raises(ConnectionLost):
            await link.read(1, 100, 1)
        assert (traffic.answers, traffic.refusals, traffic.failures) == (1, 1, 1)
        assert traffic.connect_s is not None
        assert 0 < traffic.connect_s < 20.0
        assert traffic.median_ms is not None
        assert traffic.worst_ms is not None
        assert 0 < traffic.median_ms <= traffic.worst_ms < 20_000
        assert {place.address: word for place, (word, _) in traffic.registers().items()} == {100: 11, 101: 22, 102: 33}
        await link.close()
