"""Power limits in BMCs, ordered by the gateway, carried out by the process that reads nodes: over TLS, lost, slow."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fake_bmc import PASSWORD, USER, V1, FakeBmc
from node_readers import in_this_loop
from small_gateway import SITE, Devices
from test_http_client import certificate
from test_redfish_limits import OWN, PATH, machine
from test_slow_devices import Events
from waiting import LIMIT_S, until

from dispatch.model.islanding import NodeOrder
from drivers.clock import SystemClock
from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.errors import CannotObey
from drivers.nodes.known_gpus import KnownGpus
from drivers.redfish.limits import PowerLimit
from drivers.redfish.pace import Pace
from gateway import limit_orders
from gateway.command_senders import NodeCommand
from gateway.device_io import DeviceIo
from gateway.limit_orders import BmcLimitOrders
from gateway.node_frames import BadFrame, LimitAnswer, LimitAsked, frame, order_in
from gateway.site.loader import compose

FOUND = PowerLimit("PowerLimitWatts", 900.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.1)
    monkeypatch.setattr("drivers.nodes.observed.Pace", lambda: Pace(1000.0))


class Site:
    """Nodes capped by BMCs, and the gateway's side of them."""

    def __init__(self, directory: Path, bmcs: list[FakeBmc], kept: KeptLimits, fingerprint: str = "") -> None:
        (directory / "pw").write_text(PASSWORD)
        (directory / "pw").chmod(0o600)
        account = {"id": "c", "user": USER, "password_file": "pw", "may_cap": True, "deadline_s": 0.5}
        keys: dict[str, Any] = {"source": "redfish", "cap_w": 800, "cap_by": "redfish", "bmc_fingerprint": fingerprint}
        nodes = [keys | {"id": f"n{n}", "bmc": bmc.url} for n, bmc in enumerate(bmcs)]
        site = compose(directory / "site.toml", deepcopy(SITE) | {"node": nodes, "bmc": [account]})
        drivers = [d for d in Devices().drivers() if d.kind != "node"]
        self.events = Events()
        self.io = DeviceIo(
            site, SystemClock(), drivers, self.events, KnownGpus(), start_reader=in_this_loop, kept_limits=kept
        )

    def cap(self, node: str, w: float | None) -> None:
        self.io.commands._touched.add(node)
        self.io.commands._nodes[node].submit(NodeCommand(NodeOrder(node, cap_w=w)))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        work = [work for name, work in self.io.background() if name != "node polling"]
        tasks = [asyncio.create_task(one()) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.io.commands.lift_caps()
            await self.io.close()


def held(bmc: FakeBmc) -> Any:
    return bmc.tree[PATH]["PowerLimitWatts"]


async def test_a_cap_goes_by_the_session_of_the_reader_and_is_lifted_at_the_end(tmp_path: Path) -> None:
    pem, key, fingerprint = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    kept = KeptLimits()
    async with FakeBmc(machine(), context) as bmc:
        site = Site(tmp_path, [bmc], kept, fingerprint)
        assert site.io.commands.cappable == {"n0"}
        async with site.running():
            site.cap("n0", 900.0)
            await until(lambda: held(bmc)["SetPoint"] == 900)
            await until(lambda: not site.io.commands.failing)
            await until(
                lambda: (node := site.io._observed.nodes.get("n0")) and node.limit and node.limit.w.value == 900
            )
            assert site.io.commands.lift_slowly == {"n0"}
        assert held(bmc) == OWN
        assert kept.own_limits() == {}
        assert (bmc.logins, bmc.most_at_once, bmc.tokens) == (1, 1, {})


async def test_a_bmc_that_hangs_delays_no_other_node_and_its_cap_stays_on_record(tmp_path: Path) -> None:
    kept = KeptLimits()
    async with FakeBmc(machine()) as hanging, FakeBmc(machine()) as well:
        well.tree[f"{V1}/Systems/1"] |= {
            "SerialNumber": "SN-2",
            "UUID": "1" + "4c4c4544-0031-3010-8051-b7c04f4e4333"[1:],
        }
        well.tree[f"{V1}/Chassis/1"]["SerialNumber"] = "CH-2"
        site = Site(tmp_path, [hanging, well], kept)

        async def hangs(_: asyncio.StreamWriter) -> None:
            await asyncio.sleep(LIMIT_S)

        async with site.running():
            site.cap("n0", 900.0)
            await until(lambda: held(hanging)["SetPoint"] == 900)
            hanging.faults["*"] = hangs
            site.cap("n0", 800.0)
            site.cap("n1", 900.0)
            await until(lambda: held(well)["SetPoint"] == 900)
            named = (hanging.url, "no whole answer within 0.5 s")
            await until(lambda: any(all(word in text for word in named) for text in site.events.texts))
            assert "n0" in site.io.commands.failing
            assert "n1" not in site.io.commands.failing
        assert held(well) == OWN
        assert kept.own_limits() == {"n0": "1600 W"}, "the next gateway gives it back"


async def test_what_is_asked_is_answered_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    orders, sent = BmcLimitOrders(), list[LimitAsked]()
    monkeypatch.setattr(limit_orders, "START_S", 0.01)
    with pytest.raises(CannotObey, match="has not started yet"):
        await orders.look("n")
    orders.connected(sent.append)
    asked = [asyncio.create_task(orders.look("n")), asyncio.create_task(orders.set("n", 900.0, ""))]
    await asyncio.sleep(0)
    assert [(one.node, one.set, one.w) for one in sent] == [("n", False, None), ("n", True, 900.0)]
    orders.take(LimitAnswer(99, FOUND))
    orders.take(LimitAnswer(sent[0].number, FOUND))
    orders.take(LimitAnswer(sent[0].number, FOUND))
    assert await asked[0] == FOUND
    orders.lost("it ended")
    with pytest.raises(CannotObey, match="n: it ended; nothing to do: it is asked again"):
        await asked[1]
    with pytest.raises(CannotObey, match="it ended"):
        await orders.look("n")
    orders.connected(sent.append)
    monkeypatch.setattr(limit_orders, "ANSWER_S", 0.01)
    with pytest.raises(CannotObey, match=r"its BMC has not answered for 0\.01 s"):
        await orders.look("n")


async def test_a_cancel_at_the_moment_of_the_answer_is_not_lost() -> None:
    orders, sent = BmcLimitOrders(), list[LimitAsked]()
    orders.connected(sent.append)
    asking = asyncio.create_task(orders.look("n"))
    await until(lambda: bool(sent))
    orders.take(LimitAnswer(sent[0].number, FOUND))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_what_the_gateway_sends_is_read_as_it_was_or_refused() -> None:
    asked = LimitAsked(3, "n", True, None, "Disabled")
    assert order_in(frame(asked)[4:]) == asked
    for wrong in (b"", b"\xc0", frame(asked)[4:-1], b"\x81\xa4type\xa5other"):
        with pytest.raises(BadFrame):
            order_in(wrong)
