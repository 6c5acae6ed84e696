"""BMCs on loopback: sessions, accounts, certificates, faults, firmware updates, identities."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_bmc import (
    PASSWORD,
    USER,
    V1,
    FakeBmc,
    Fault,
    chassis,
    enclosure,
    environment,
    hgx,
    members,
    power,
    server,
    system,
)
from fake_bmc import supplies as supplied
from http_server import HttpServer, response
from metrics_pages import node_exporter
from test_http_client import certificate
from waiting import LIMIT_S

from dispatch.model.equipment import Node
from drivers.config import IoConfig
from drivers.devices import Driver, make_drivers
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError, NotTrusted
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout, WrongDevice
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ExporterNode
from drivers.nodes.redfish_node import RedfishNode
from drivers.redfish.config import Account, BmcDefaults
from drivers.redfish.link import REFUSED_S, BmcLink, BmcSession, Refused
from drivers.redfish.node_bmc import NodeBmc
from drivers.redfish.pace import Pace

Make = Callable[..., list[Driver]]


class Later:
    """The event loop's clock, which a test sets forward: what is due then is done at once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._by_s, real = 0.0, loop.time
        loop.time = lambda: real() + self._by_s  # type: ignore[method-assign]

    def by(self, seconds: float) -> None:
        self._by_s += seconds


@pytest.fixture
async def later() -> Later:
    return Later()


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes drivers of nodes with BMCs, closed at the end."""
    made: list[Driver] = []
    monkeypatch.setattr("drivers.nodes.observed.Pace", lambda: Pace(1000.0))
    password = tmp_path / "bmc-password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)

    def drivers(*nodes: NodeDevice, **keys: Any) -> list[Driver]:
        defaults = BmcDefaults(id="b", user=USER, password_file=password.name, **keys)
        beside = tmp_path / "site.toml"
        found = make_drivers([], [], [], [], nodes, IoConfig(), lambda *_: ("", 0, 0), beside=beside, bmcs=[defaults])
        made.extend(found)
        return found

    yield drivers
    for driver in made:
        await driver.close()


def node(url: str, id: str = "gpu01", **keys: Any) -> NodeDevice:
    return NodeDevice(id=id, source="redfish", bmc=url, **keys)


def bmc_of(driver: Driver) -> NodeBmc:
    assert isinstance(driver, (RedfishNode, ExporterNode))
    assert driver.bmc is not None
    return driver.bmc


async def read(driver: Driver) -> Node:
    found = await driver.read()
    assert isinstance(found, Node)
    return found


async def again(driver: Driver, later: Later, after_s: float = 33.5) -> Node:
    """The node after another reading of its BMC, which is due by then."""
    later.by(after_s)
    await driver.read()
    return await settled(driver)


async def settled(driver: Driver) -> Node:
    """Once the reading under way has ended."""
    task = bmc_of(driver)._task
    if task is not None:
        await asyncio.wait([task], timeout=LIMIT_S)
    return await read(driver)


async def test_one_session_is_used_for_every_reading_and_ended_at_the_close(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        found = await read(driver)
        assert (found.w.good, found.source, found.period_s) == (421.5, "BMC, PowerWatts.Reading", 30.0)
        assert [(p.source, p.period_s) for p in found.powers] == [("BMC, PowerWatts.Reading", 30.0)]
        asked = len(bmc.asked)
        bmc.tree |= environment(500.0)
        found = await read(driver)
        assert (found.w.good, len(bmc.asked)) == (421.5, asked)  # it is not asked more often than every 30 s
        for n in range(3):
            assert (await again(driver, later)).w.good == 500.0
            assert len(bmc.asked) == asked + n + 1
        assert (bmc.logins, len(bmc.tokens), bmc.most_at_once) == (1, 1, 1)
        await driver.close()
        assert bmc.tokens == {}
        assert not any(asked.startswith(("PATCH", "PUT")) for asked in bmc.asked)
        assert sum(asked.startswith("POST") for asked in bmc.asked) == 1


async def test_a_value_grows_old_and_is_then_not_the_node_s_any_more(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        hanging = asyncio.Event()

        async def hang(writer: asyncio.StreamWriter) -> None:
            hanging.set()
            await asyncio.Event().wait()

        bmc.faults["*"] = hang
        later.by(20.0)
        assert round((await read(driver)).w.age_s or 0.0) == 20
        later.by(49.0)
        assert (await read(driver)).w.good == 421.5
        await asyncio.wait_for(hanging.wait(), LIMIT_S)
        later.by(31.0)
        await asyncio.wait([task for task in [bmc_of(driver)._task] if task], timeout=LIMIT_S)
        with pytest.raises(Timeout, match=r"no whole answer within 30 s"):
            await read(driver)


async def test_without_sessions_the_password_goes_with_each_request(make: Make, later: Later) -> None:
    async with FakeBmc(server(), sessions=False) as bmc:
        (driver,) = make(node(bmc.url))
        assert (await read(driver)).w.good == 421.5
        assert (await again(driver, later)).w.good == 421.5
        assert bmc.logins == 1
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url, "gpu02"), login="basic")
        assert (await read(driver)).w.good == 421.5
        assert bmc.logins == 0
        bmc.password = "changed"
        asked = len(bmc.asked)
        for _ in range(5):
            later.by(120.0)
            with pytest.raises(DeviceError, match="refuse"):
                await again(driver, later)
        assert len(bmc.asked) == asked + 1  # a password that was refused is not tried again


async def test_a_session_that_lapsed_is_opened_once_more(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        bmc.tokens.clear()
        assert (await again(driver, later)).w.good == 421.5
        assert (bmc.logins, len(bmc.tokens)) == (2, 1)


@pytest.mark.parametrize(
    ("location", "content", "left"),
    [
        ("https://bmc-of-gpu01.example:443{path}", False, 0),  # a name of its own
        ("{path}", False, 0),
        ("", True, 0),
        ("", False, 1),  # it does not say which session it has made: that lapses by itself
    ],
)
async def test_a_session_is_ended_however_the_bmc_names_it_and_opened_again_after_it_lapsed(
    make: Make, later: Later, location: str, content: bool, left: int
) -> None:
    async with FakeBmc(server()) as bmc:
        bmc.location, bmc.login_content = location, content
        (driver,) = make(node(bmc.url))
        assert (await read(driver)).w.good == 421.5
        bmc.tokens.clear()
        assert (await again(driver, later)).w.good == 421.5
        assert bmc.logins == 2
        await driver.close()
        assert len(bmc.tokens) == left


async def test_a_session_that_may_not_read_is_not_left_behind(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        bmc.faults[f"{V1}/Systems"] = answers(response(b"{}", "401 Unauthorized", "application/json"))
        (driver,) = make(node(bmc.url))
        for _ in range(3):
            with pytest.raises(DeviceError, match="HTTP 401"):
                await read(driver)
            later.by(700.0)
            await settled_or_error(driver)
        assert len(bmc.tokens) <= 1


async def settled_or_error(driver: Driver) -> DeviceError | None:
    """The error of the next reading, which is due."""
    with contextlib.suppress(DeviceError):
        await driver.read()
    try:
        await settled(driver)
    except DeviceError as error:
        return error
    return None


async def test_a_refused_password_is_not_tried_again_until_it_is_another(
    make: Make, later: Later, tmp_path: Path
) -> None:
    """BMCs lock accounts."""
    async with FakeBmc(server()) as bmc:
        bmc.password = "another"
        (driver,) = make(node(bmc.url))
        with pytest.raises(Refused, match=r"refuses user reader \(HTTP 401\): 'Invalid username or password\.'"):
            await read(driver)
        for _ in range(2):
            later.by(150.0)
            error = await settled_or_error(driver)
            assert error is not None
            assert "has refused user reader; tried again in" in str(error)
        assert bmc.logins == 1
        (tmp_path / "bmc-password").write_text("another\n")
        later.by(300.0)  # no 15 minutes have passed
        await settled_or_error(driver)
        assert (await read(driver)).w.good == 421.5
        assert (bmc.logins, REFUSED_S) == (2, 900.0)


async def test_a_full_table_of_sessions_is_told_in_the_bmc_s_words(make: Make, later: Later) -> None:
    async with FakeBmc(server(), room=0) as bmc:
        (driver,) = make(node(bmc.url))
        words = "HTTP 503 Service Unavailable: 'The maximum number of user sessions is reached.'; wait if"
        with pytest.raises(HttpError, match=words):
            await read(driver)
        later.by(20.0)
        with pytest.raises(DeviceError, match="maximum number of user sessions"):
            await read(driver)
        assert bmc.logins == 1
        bmc.room = 1
        later.by(45.0)
        await settled_or_error(driver)
        assert (await read(driver)).w.good == 421.5


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    for _ in range(50):
        writer.write(b"1," * 500_000)
        await writer.drain()


def answers(page: bytes) -> Fault:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(page)

    return answer


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


FAULTS: list[tuple[Fault, type[DeviceError], str]] = [
    (silence, Timeout, "no whole answer within"),
    (drip, Timeout, "no whole answer within"),
    (hangs_up, ConnectionLost, "check bmc, that the BMC is reachable"),
    (endless, HttpError, "sends more than 1048576 bytes"),
    (answers(response(b"[" * 50_000, kind="application/json")), HttpError, "no JSON document"),
    (answers(response(b'{"a":' * 50_000, kind="application/json")), HttpError, "no JSON document"),
    (answers(response(b"[]", kind="application/json")), HttpError, "no JSON document"),
    (answers(response(b"<html>log in</html>", kind="text/html")), HttpError, "sends 'text/html'"),
    (answers(response(b"<html>log in</html>", kind="text/plain")), HttpError, "no JSON document"),
    (answers(response(b"", "302 Found", Location="/redfish/v1/")), HttpError, "redirects to '/redfish/v1/'"),
    (answers(response(b"{}", "403 Forbidden", "application/json")), HttpError, "give the account the role ReadOnly"),
    (answers(response(b"busy", "503 Service Unavailable")), HttpError, "HTTP 503 Service Unavailable; wait if"),
    (answers(response(b"", "200 OK", "application/json", Content_Encoding="gzip")), HttpError, "sends packed content"),
    (answers(b"\x00\x01\x02\r\n\r\n"), ConnectionLost, ""),
]


@pytest.mark.parametrize("path", [f"{V1}/", f"{V1}/Systems", f"{V1}/Chassis/1/EnvironmentMetrics"])
async def test_each_fault_says_what_it_is_and_the_bmc_is_left_alone(make: Make, path: str) -> None:
    for n, (fault, kind, words) in enumerate(FAULTS):
        async with FakeBmc(server()) as bmc:
            bmc.faults[path] = fault
            (driver,) = make(node(bmc.url, f"gpu{n}"), deadline_s=0.3 if kind is Timeout else LIMIT_S)
            with pytest.raises(kind) as raised:
                await read(driver)
            assert words in str(raised.value), str(raised.value)
            asked = len(bmc.asked)
            with pytest.raises(DeviceError):
                await read(driver)
            assert len(bmc.asked) == asked
            await driver.close()


async def test_a_bmc_that_hangs_keeps_neither_the_exporters_nor_other_bmcs_waiting(make: Make) -> None:
    hanging = asyncio.Event()

    async def hang(writer: asyncio.StreamWriter) -> None:
        hanging.set()
        await asyncio.Event().wait()

    async with FakeBmc(server()) as bad, FakeBmc(server()) as good, HttpServer({"/m": node_exporter("gpu01")}) as pages:
        bad.faults["*"] = hang
        config = NodeDevice(id="gpu01", source="exporters", exporters=(pages.url("/m"),), bmc=bad.url)
        slow, quick = make(config, node(good.url, "gpu02"))
        assert (await read(slow)).memory_pct.good == 50.0
        await asyncio.wait_for(hanging.wait(), LIMIT_S)
        assert (await read(slow)).memory_pct.good == 50.0
        assert (await read(quick)).w.good == 421.5


async def test_a_self_signed_certificate_is_told_with_its_fingerprint_and_nothing_is_sent(
    make: Make, tmp_path: Path
) -> None:
    pem, private, fingerprint = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    prints = tmp_path / "prints.txt"
    prints.write_text(f"127.0.0.1 {fingerprint}\n")
    async with FakeBmc(server(), context) as bmc:
        (driver,) = make(node(bmc.url))
        with pytest.raises(NotTrusted) as raised:
            await read(driver)
        assert f"it has the SHA-256 fingerprint {fingerprint}; compare it at the BMC, then put" in str(raised.value)
        (other,) = make(node(bmc.url, "gpu02", bmc_fingerprint="0" * 64))
        with pytest.raises(NotTrusted, match=fingerprint):
            await read(other)
        assert bmc.asked == []
        for n, keys in enumerate(({"fingerprints_file": prints.name}, {"ca": pem.name})):
            (driver,) = make(node(bmc.url, f"pinned{n}"), **keys)
            assert (await read(driver)).w.good == 421.5
        (driver,) = make(node(bmc.url, "own", bmc_fingerprint=fingerprint))
        assert (await read(driver)).w.good == 421.5


async def test_a_password_that_everybody_can_read_is_not_sent(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bmc-password").chmod(0o644)
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        with pytest.raises(NotTrusted, match=r"password_file = .*: every user can read it \(mode 0644\)"):
            await read(driver)
        assert bmc.asked == []


async def test_the_sources_are_tried_in_turn(make: Make, later: Later) -> None:
    async with FakeBmc(server(None, kinds="EPS") | supplied(300, 310, absent=2)) as bmc:
        (driver,) = make(node(bmc.url))
        assert (await read(driver)).source == "BMC, PowerConsumedWatts"
        bmc.tree |= power(None)
        found = await again(driver, later)
        assert (found.w.good, found.source) == (610.0, "BMC, InputPowerWatts of 2 power supplies")
        bmc.tree |= environment(600.0) | supplied(300, None)
        assert (await again(driver, later)).w.good == 600.0
        bmc.tree |= environment("600") | power(0)
        found = await again(driver, later)
        assert (found.w.value, found.powers[0].w.value) == (None, None)
        assert "PowerConsumedWatts says 0 W, the system is on" in found.note
        bmc.tree |= power(None, PowerSupplies=[{"PowerInputWatts": 205.5}, {"PowerInputWatts": 200}])
        found = await again(driver, later)
        assert (found.w.good, found.source) == (405.5, "BMC, PowerInputWatts of 2 power supplies")


async def test_zero_is_a_power_of_a_machine_that_is_off_alone(make: Make, later: Later) -> None:
    async with FakeBmc(server(0)) as bmc:
        bmc.tree |= system("1", PowerState="Off")
        (driver,) = make(node(bmc.url))
        assert (await read(driver)).w.good == 0.0
        for state in ("On", "PoweringOn", None):
            bmc.tree |= system("1", PowerState=state)
            found = await again(driver, later)
            assert found.w.value is None
            assert "says 0 W, the system is" in found.note


async def test_a_firmware_update_leaves_no_value_behind_and_ends_by_itself(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        whole = bmc.tree
        starting = response(b'{"error":{"message":"The service is starting."}}', "503 Wait", "application/json")
        for fault, words in (
            (answers(starting), "The service is starting"),
            (answers(response(b"<html>updating</html>", kind="text/html")), "text/html"),
            (hangs_up, "BMC at"),
        ):
            bmc.faults["*"] = fault
            later.by(640.0)
            error = await settled_or_error(driver)
            assert error is not None
            assert words in str(error)
        bmc.faults.clear()
        bmc.tokens.clear()
        bmc.tree = {**whole, f"{V1}/Systems": members(), f"{V1}/Chassis": members()}
        later.by(640.0)
        error = await settled_or_error(driver)
        assert error is not None
        assert "has no system; wait if its firmware" in str(error)
        bmc.tree = {**server(), f"{V1}/Chassis": members(f"{V1}/Chassis/Self")}
        bmc.tree |= system("1", "Self") | chassis("Self", kinds="P") | power(433, "Self")
        later.by(640.0)
        await settled_or_error(driver)
        found = await read(driver)
        assert (found.w.good, found.source) == (433.0, "BMC, PowerConsumedWatts")
        assert [notice.text for notice in driver.notices.take()] == []  # type: ignore[attr-defined]


async def test_paths_of_other_firmware_are_looked_for_anew(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        del bmc.tree[f"{V1}/Chassis/1/EnvironmentMetrics"]
        bmc.tree |= chassis(kinds="P")
        found = await again(driver, later)
        assert "HTTP 404" in found.note
        assert (await again(driver, later)).source == "BMC, PowerConsumedWatts"
        assert bmc.logins == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (system("1", SerialNumber="SN-9", UUID="9c4c4544-0031-3010-8051-b7c04f4e4333"), "its board was replaced"),
        (
            system("1", SerialNumber="SN-9", UUID="9c4c4544-0031-3010-8051-b7c04f4e4333")
            | chassis(SerialNumber="CH-9"),
            "another machine answers there",
        ),
    ],
)
async def test_another_machine_is_told_once(make: Make, later: Later, change: Any, words: str) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        bmc.tree |= change
        bmc.tokens.clear()  # a BMC that was put in anew knows no session
        for _ in range(2):
            await again(driver, later)
        told = [notice.text for notice in driver.notices.take()]  # type: ignore[attr-defined]
        assert told == [f"its BMC tells of serial number SN-9 now, of serial number SN-1 before: {words}"]


async def test_the_identity_is_looked_at_now_and_then(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url, bmc_serial="SN-1"))
        await read(driver)
        looked = bmc.gets("/Systems/1")
        bmc.tree |= system("1", SerialNumber="SN-2")
        error: DeviceError | None = None
        for _ in range(25):
            later.by(33.5)
            await settled_or_error(driver)
            error = bmc_of(driver).error
            if error is not None:
                break
        assert bmc.gets("/Systems/1") == looked + 2  # seen to be another one, then found anew
        assert isinstance(error, WrongDevice)
        assert "its system has the serial number SN-2, expected serial number SN-1" in str(error)
        for _ in range(3):  # and it stays refused
            later.by(640.0)
            assert isinstance(await settled_or_error(driver), WrongDevice)
            assert bmc_of(driver).power().w.value is None


async def test_a_change_that_is_none_is_not_told(make: Make, later: Later) -> None:
    """Firmware that leaves the serial number out for a while, or turns the bytes of the UUID round."""
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await read(driver)
        turned = {"UUID": "44454c4c-3100-1030-8051-b7c04f4e4333"}
        for keys in ({"SerialNumber": None}, {"UUID": None}, turned, {}):
            bmc.tree |= system("1", **keys)
            bmc.tokens.clear()
            assert (await again(driver, later)).w.good == 421.5
        assert driver.notices.take() == []  # type: ignore[attr-defined]


async def test_no_machine_is_two_nodes(make: Make) -> None:
    async with FakeBmc(server()) as bmc, FakeBmc(server()) as same:
        first, second = make(node(bmc.url), node(same.url, "gpu02"))
        assert (await read(first)).w.good == 421.5
        found = await read(second)
        assert found.w.value is None
        assert "answers as system UUID 4c4c4544-0031-3010-8051-b7c04f4e4333, which is node gpu01" in found.note


async def test_a_chassis_that_two_bmcs_tell_of_is_nobody_s(make: Make, later: Later) -> None:
    """A twin server: each board has a BMC, and all of them measure the shared supplies."""
    second_board = server() | system("1", SerialNumber="SN-2", UUID="9c4c4544-0031-3010-8051-b7c04f4e4333")
    third_board = server() | system("1", SerialNumber="SN-3", UUID="7c4c4544-0031-3010-8051-b7c04f4e4333")
    async with FakeBmc(server()) as a, FakeBmc(second_board) as b, FakeBmc(third_board) as c:
        first, second, third = make(node(a.url), node(b.url, "gpu02"), node(c.url, "own", bmc_chassis="1"))
        await read(first)
        for _ in range(3):
            later.by(33.5)
            for driver, name in ((second, "gpu01"), (first, "gpu02")):
                await settled_or_error(driver)
                assert f"chassis serial number CH-1 is that of {name} as well" in str(bmc_of(driver).error)
                assert bmc_of(driver).power().w.value is None
        assert (await read(third)).w.good == 421.5  # the site file says that this chassis is its own


async def test_nodes_behind_one_manager_share_its_session_and_its_time(make: Make, later: Later) -> None:
    async with FakeBmc(enclosure(shared=False)) as bmc:
        names = [f"Node{n}" for n in range(1, 5)]
        drivers = make(*(node(bmc.url, name, bmc_system=name) for name in names))
        found = await asyncio.gather(*map(read, drivers))
        assert [one.w.good for one in found] == [400.0, 401.0, 402.0, 403.0]
        assert (bmc.logins, bmc.most_at_once, found[0].period_s) == (1, 1, 120.0)
        for driver in drivers[1:]:
            await driver.close()
        assert len(bmc.tokens) == 1
        await drivers[0].close()
        assert bmc.tokens == {}


async def test_gpus_of_an_hgx_baseboard_are_read_in_turn_and_are_no_part_of_the_sum(make: Make, later: Later) -> None:
    async with FakeBmc(hgx()) as bmc:
        (driver,) = make(node(bmc.url, gpus=8))
        found = await read(driver)
        assert (found.w.good, sum(gpu.w.good is not None for gpu in found.gpus)) == (5600.0, 2)
        assert "GPU 7: its power was not read yet" in found.note
        assert "GPUs are there" not in found.note
        for _ in range(3):
            asked = len(bmc.asked)
            found = await again(driver, later)
            assert len(bmc.asked) - asked <= 5
        assert [gpu.w.good for gpu in found.gpus] == [500.0 + n for n in range(8)]
        assert [round((gpu.w.age_s or 0.0) / 33.5) for gpu in found.gpus] == [3, 3, 2, 2, 1, 1, 0, 0]
        assert found.note == ""
        assert found.gpus[7].uuid == "GPU-1f2e3d4c-0000-4000-8000-000000000007"
        assert (found.w.good, found.source, len(found.powers)) == (5600.0, "BMC, PowerWatts.Reading", 2)
        bmc.tree[f"{V1}/Systems/HGX_Baseboard_0/Processors/GPU_SXM_1/EnvironmentMetrics"] = {}
        found = await again(driver, later)
        assert found.gpus[0].w.value is None
        assert "GPU 0: its power is not there" in found.note


async def test_a_bmc_goes_before_what_exporters_tell(make: Make, later: Later) -> None:
    async with FakeBmc(server()) as bmc, HttpServer({"/m": node_exporter("gpu01", meter_w=390.0)}) as pages:
        (driver,) = make(NodeDevice(id="gpu01", source="exporters", exporters=(pages.url("/m"),), bmc=bmc.url))
        await bmc_of(driver).first(LIMIT_S)
        found = await read(driver)
        assert (found.w.good, found.source) == (421.5, "BMC, PowerWatts.Reading")
        assert [power.source for power in found.powers][:2] == ["BMC, PowerWatts.Reading", "ACPI power meter"]
        assert bmc.gets("GPU") == 0
        bmc.tree |= environment(0) | system("1", PowerState="Off")  # its system was not asked for a while
        found = await again(driver, later)
        assert (found.w.good, found.source) == (390.0, "ACPI power meter")
        assert "says 0 W of a system that is off, but the node answers" in found.note


async def test_a_login_under_way_at_the_end_leaves_no_session(make: Make) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with FakeBmc(server()) as bmc:

        async def slow(writer: asyncio.StreamWriter) -> None:
            begun.set()
            await go_on.wait()
            writer.write(bmc._login({"UserName": USER, "Password": PASSWORD}))

        bmc.faults[f"{V1}/SessionService/Sessions"] = slow
        (driver,) = make(node(bmc.url))
        reading = asyncio.create_task(driver.read())
        await asyncio.wait_for(begun.wait(), LIMIT_S)
        closing = asyncio.create_task(driver.close())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(closing, LIMIT_S)
        assert (bmc.logins, bmc.tokens) == (1, {})
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_all_bmcs_of_a_site_share_a_rate(later: Later) -> None:
    pace, loop = Pace(20.0), asyncio.get_running_loop()
    began_s, ends = loop.time(), list[float]()

    async def ask() -> None:
        await pace.turn()
        ends.append(loop.time() - began_s)

    asking = [asyncio.create_task(ask()) for _ in range(41)]
    await asyncio.sleep(0)
    assert len(ends) == 1
    later.by(1.0)
    await asyncio.wait(asking[:20], timeout=LIMIT_S)
    later.by(60.0)
    await asyncio.gather(*asking)
    assert ends[20] >= 1.0


async def test_a_mistake_in_a_reading_is_not_hidden(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.redfish.node_bmc.of_environment", lambda metrics: 1 / 0)
    async with FakeBmc(server()) as bmc:
        (driver,) = make(node(bmc.url))
        await bmc_of(driver).first(LIMIT_S)
        with pytest.raises(ZeroDivisionError):
            await read(driver)


def test_the_client_of_bmcs_shares_the_turns_of_the_others() -> None:
    client = HttpClient()
    assert HttpClient(client.turns).turns is client.turns


async def test_a_session_that_a_killed_process_has_left_is_used_on(tmp_path: Path) -> None:
    """BMCs have few: a process that is killed again and again takes one."""
    password = tmp_path / "bmc-password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    account = Account(USER, password)

    def link(bmc: FakeBmc, left: BmcSession | None) -> tuple[BmcLink, list[BmcSession]]:
        told = list[BmcSession]()
        return BmcLink(HttpClient(), Pace(), bmc.url, account, left, told.append), told

    async with FakeBmc(server()) as bmc:
        left: BmcSession | None = None
        for _ in range(3):  # none of them ends its session
            killed, told = link(bmc, left)
            await killed.get(f"{V1}/Systems/1")
            left = told[-1] if told else left
            await killed._client.leave()
        assert (bmc.logins, list(bmc.tokens)) == (1, [left.path if left else ""])
        bmc.tokens.clear()  # it has lapsed meanwhile
        last, told = link(bmc, left)
        last.join()
        await last.get(f"{V1}/Systems/1")
        assert (bmc.logins, len(bmc.tokens)) == (2, 1)
        assert [bool(session.token) for session in told] == [False, True]
        await last.leave()
        assert (bmc.tokens, told[-1]) == ({}, BmcSession(bmc.url))
