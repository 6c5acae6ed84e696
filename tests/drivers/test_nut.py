"""UPSs and metered PDUs behind NUT's upsd: what is read, what is refused, and what a bad server leads to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from fake_upsd import PDU, UPS, FakeUpsd
from hypothesis import given
from hypothesis import strategies as st
from waiting import until_done

from dispatch.model.equipment import Node, Ups
from drivers.config import IoConfig
from drivers.devices import Driver, make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout
from drivers.node_config import NodeDevice
from drivers.nut.config import NutAddress, PduDevice, UpsDevice, address_of
from drivers.nut.protocol import MOST_LINES, Refused, VariableList, decimal, elements
from drivers.nut.server import NutServer


@pytest.fixture
async def upsd() -> AsyncIterator[FakeUpsd]:
    served = FakeUpsd(su700=dict(UPS), a=dict(PDU), b=dict(PDU))
    await served.start()
    yield served
    await served.stop()


Make = Callable[..., list[Driver]]


@pytest.fixture
async def drivers_of(upsd: FakeUpsd) -> AsyncIterator[Make]:
    """Makes the drivers of nodes and of one UPS, in this order; all are closed at the end."""
    made: list[Driver] = []

    def make(*nodes: NodeDevice, deadline_s: float = 20.0) -> list[Driver]:
        made.extend(found := drivers(upsd, nodes, deadline_s))
        return found

    yield make
    for driver in made:
        await driver.close()


def drivers(upsd: FakeUpsd, nodes: Sequence[NodeDevice], deadline_s: float) -> list[Driver]:
    return make_drivers(
        [], [], [], [], nodes, IoConfig(backoff_max_s=0.1), lambda _id, _url, _unit: (Address("tcp", ""), 0),
        ups=[UpsDevice(id="ups1", url=upsd.url("su700"), deadline_s=deadline_s)],
        pdus=[PduDevice(id=name, url=upsd.url(name), deadline_s=deadline_s) for name in ("a", "b")],
    )  # fmt: skip


def node(*outlets: str, id: str = "gpu-01") -> NodeDevice:
    return NodeDevice(id=id, source="nut", outlets=outlets, critical=True)


async def read_ups(driver: Driver) -> Ups:
    found = await driver.read()
    assert isinstance(found, Ups)
    return found


async def read_node(driver: Driver) -> Node:
    found = await driver.read()
    assert isinstance(found, Node)
    return found


# ── UPS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ups_is_read_in_one_request(upsd: FakeUpsd, drivers_of: Make) -> None:
    (driver,) = drivers_of()
    ups = await read_ups(driver)
    assert (driver.kind, ups.id, ups.status.good) == ("ups", "ups1", "OL CHRG")
    assert [r.good for r in (ups.w, ups.load_pct, ups.charge_pct, ups.runtime_s)] == [1230.5, 41, 97, 1680]
    assert (ups.says("OB"), ups.says("OB", "CHRG")) == (False, True)
    await driver.read()
    assert (upsd.asked, upsd.connections) == (["LIST VAR su700"] * 2, 1)
    await driver.close()
    with pytest.raises(ConnectionLost, match="closed"):
        await driver.read()


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("ups.realpower", "1,230.5"),  # numbers have no separator and no exponent (net-protocol.txt, TYPE)
        ("ups.realpower", "1e3"),
        ("ups.realpower", "-5"),
        ("ups.realpower", "nan"),
        ("battery.charge", "101"),
        ("battery.runtime", ""),
        ("ups.load", "0x20"),
        ("ups.status", ""),
        ("ups.status", "WAIT"),
        ("ups.status", "\x1b[31mOL"),
    ],
)
async def test_what_cannot_be_true_is_missing(upsd: FakeUpsd, drivers_of: Make, variable: str, said: str) -> None:
    upsd.devices["su700"] = UPS | {variable: said}
    (driver,) = drivers_of()
    ups = await read_ups(driver)
    missing = [r.value for r in (ups.w, ups.load_pct, ups.charge_pct, ups.runtime_s, ups.status)].count(None)
    assert missing == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("UNKNOWN-UPS", "upsd answers UNKNOWN-UPS: it knows no device of this name; compare url with the names"),
        ("DATA-STALE", "upsd answers DATA-STALE: its driver gets no data from the device; check the cable"),
        ("DRIVER-NOT-CONNECTED", "its driver for the device does not run; start it"),
        ("ACCESS-DENIED", "it does not let this machine read; allow this machine"),
        ("SOMETHING-NEW", "upsd answers SOMETHING-NEW: it refuses; see upsd's log"),
    ],
)
async def test_a_refusal_says_what_to_do_and_keeps_the_connection(
    upsd: FakeUpsd, drivers_of: Make, code: str, told: str
) -> None:
    (driver,) = drivers_of()
    upsd.devices["su700"] = code
    for _ in range(2):
        with pytest.raises(Refused, match=told) as caught:
            await driver.read()
        assert (caught.value.code, caught.value.where) == (code, f"ups1 at {upsd.url('su700')}")
    upsd.devices["su700"] = UPS
    assert (await read_ups(driver)).charge_pct.good == 97
    assert upsd.connections == 1


# ── nodes on PDUs ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_draws_what_all_its_outlets_give(upsd: FakeUpsd, drivers_of: Make) -> None:
    one, two, _ = drivers_of(node("a:3", "b:1"), node("a:2", id="gpu-02"))
    read = await read_node(one)
    assert (read.w.good, read.critical, read.source, one.kind) == (765.5, True, "2 outlets", "node")
    assert ((await read_node(two)).w.good, (await read_node(two)).source) == (0.0, "1 outlet")
    assert upsd.asked == ["LIST VAR a", "LIST VAR b"], "nodes on the same PDU share its answer"
    assert upsd.connections == 1


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        ("DATA-STALE", "DATA-STALE"),
        ("DRIVER-NOT-CONNECTED", "DRIVER-NOT-CONNECTED"),
        ({"device.type": "pdu"}, "b at .*/b: reports no outlet.1.realpower; check outlets"),
        ({"outlet.1.realpower": "on"}, "outlet.1.realpower = 'on', expected 0..1e"),
        ({"outlet.1.realpower": "-3"}, "outlet.1.realpower = '-3', expected 0..1e"),
    ],
)
async def test_a_node_without_one_of_its_feeds_has_no_power(
    upsd: FakeUpsd, drivers_of: Make, feed: str | dict[str, str], told: str
) -> None:
    """Half of a sum would be shown, planned with and capped as if the node drew half."""
    upsd.devices["b"] = feed
    driver = drivers_of(node("a:3", "b:1"))[0]
    with pytest.raises(DeviceError, match=told):
        await driver.read()


async def test_a_silent_pdu_costs_its_nodes_one_deadline_together(upsd: FakeUpsd, drivers_of: Make) -> None:
    nodes = [node(f"a:{n + 1}", id=f"n{n}") for n in range(3)]
    drivers = drivers_of(*nodes, deadline_s=0.2)[:3]
    upsd.answer = lambda asked: None
    found = await asyncio.gather(*(driver.read() for driver in drivers), return_exceptions=True)
    assert [type(error) for error in found] == [Timeout] * 3
    assert upsd.asked == ["LIST VAR a"]


# ── bad servers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def whole(name: str, *inner: str) -> str:
    return "".join(f"{line}\n" for line in (f"BEGIN LIST VAR {name}", *inner, f"END LIST VAR {name}"))


@pytest.mark.parametrize(
    "said",
    [
        whole("other", 'VAR other ups.status "OL"'),
        whole("su700", 'VAR other ups.status "OL"'),
        whole("su700", "VAR su700 ups.status OL more"),
        whole("su700", 'VAR su700 ups.status "OL'),
        whole("su700", "RW su700 ups.id x"),
        "OK\n",
        "BEGIN LIST VAR su700\nEND LIST VAR other\n",
        "BEGIN LIST UPS\nEND LIST UPS\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "x" * 5000 + "\n",
        "\n",
    ],
)
async def test_an_answer_that_does_not_fit_is_not_used_and_the_connection_dropped(
    upsd: FakeUpsd, drivers_of: Make, said: str
) -> None:
    (driver,) = drivers_of()
    upsd.answer = lambda asked: said.encode()
    with pytest.raises(BadReply):
        await driver.read()
    upsd.answer = None
    assert (await until_done(lambda: read_ups(driver), ConnectionLost)).charge_pct.good == 97
    assert upsd.connections == 2


async def test_a_late_answer_is_never_taken_for_the_next_one(upsd: FakeUpsd, drivers_of: Make) -> None:
    (driver,) = drivers_of(deadline_s=0.2)
    upsd.answer = lambda asked: b'BEGIN LIST VAR su700\nVAR su700 battery.charge "11"\n'
    with pytest.raises(Timeout, match=r"no whole answer within 0\.2 s"):
        await driver.read()
    upsd.answer = None
    assert (await until_done(lambda: read_ups(driver), ConnectionLost)).charge_pct.good == 97


async def test_a_server_that_restarts_is_found_again(upsd: FakeUpsd, drivers_of: Make) -> None:
    (driver,) = drivers_of()
    await driver.read()
    await upsd.stop()
    with pytest.raises(ConnectionLost):
        await driver.read()
    with pytest.raises(ConnectionLost):
        await driver.read()
    with pytest.raises(ConnectionLost, match="next try in"):
        await driver.read()
    await upsd.start()
    assert (await until_done(lambda: read_ups(driver), ConnectionLost)).charge_pct.good == 97


async def test_a_connection_that_ended_amid_an_answer(upsd: FakeUpsd) -> None:
    server = NutServer("127.0.0.1", upsd.port, backoff_max_s=0.1)
    upsd.ends = True
    upsd.answer = lambda asked: b"BEGIN LIST VAR su700\nVAR su7"
    with pytest.raises(ConnectionLost, match="amid its answer"):
        await server.variables("ups1", "su700", 20.0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "127.0.0.1"])
async def test_nobody_there(host: str) -> None:
    server = NutServer(host, 1, backoff_max_s=0.1)
    with pytest.raises((ConnectionLost, Timeout), match=f"ups1 at nut://{host}:1/x"):
        await server.variables("ups1", "x", 20.0)


# ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text('a"\\ \té', max_size=8), max_size=5))
def test_quoted_elements_come_out_as_they_went_in(texts: list[str]) -> None:
    line = " ".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    assert elements(line) == texts


def test_elements() -> None:
    assert elements(r'VAR su700 ups.mfr "Maker \"A\" \\ B" x\ y') == [
        "VAR",
        "su700",
        "ups.mfr",
        'Maker "A" \\ B',
        "x y",
    ]
    for wrong in ('"open', "end\\", '"a"b', 'a"b"'):
        with pytest.raises(ValueError, match="column"):
            elements(wrong)


def test_decimals() -> None:
    assert [decimal(t) for t in ("1200.20", "-3", "007")] == [1200.2, -3.0, 7.0]
    assert [decimal(t) for t in (None, "", ".5", "5.", "1e3", "inf", "1 200", "\u0663", "9" * 30)] == [None] * 9


def test_an_answer_has_an_end() -> None:
    answer = VariableList("x", "u")
    assert not answer.take(b"BEGIN LIST VAR u\n")
    for _ in range(MOST_LINES - 1):
        answer.take(b'VAR u a "1"\n')
    with pytest.raises(BadReply, match=f"more than {MOST_LINES} lines"):
        answer.take(b'VAR u a "1"\n')


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nut://ups.site:3493/su700", NutAddress("ups.site", 3493, "su700")),
        ("nut://ups.site/su700", NutAddress("ups.site", 3493, "su700")),
        ("nut://10.0.0.5:13493/a-b_c.d", NutAddress("10.0.0.5", 13493, "a-b_c.d")),
        ("nut://[::1]:65535/x", NutAddress("::1", 65535, "x")),
        ("nut://[fe80::1]/x", NutAddress("fe80::1", 3493, "x")),
    ],
)
def test_urls(url: str, address: NutAddress) -> None:
    assert address_of(url) == address
