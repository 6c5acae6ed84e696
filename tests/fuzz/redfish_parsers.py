"""What a BMC sends: resources, error answers; and the file with the fingerprints of their certificates."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import fake_bmc
from fuzzing import Parser, simple
from http_parsers import is_possible

from drivers.http.client import HttpClient
from drivers.http.errors import NotTrusted
from drivers.http.page import Answer, Request
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import Witnesses
from drivers.nodes.host_names import Identities
from drivers.nodes.redfish_node import RedfishNode
from drivers.notices import Notices
from drivers.redfish.config import Account, pinned
from drivers.redfish.documents import MOST_W, said
from drivers.redfish.enclosures import Enclosures
from drivers.redfish.link import BmcLink
from drivers.redfish.node_bmc import NodeBmc
from drivers.redfish.pace import Pace

CONFIG = NodeDevice(id="gpu01", source="redfish", bmc="https://gpu01-bmc")
LIMIT = {"SetPoint": 900, "ControlMode": "Automatic", "AllowableMin": 500, "AllowableMax": 1600}
ACCOUNT = Account("reader", Path(__file__))


class Served(BmcLink):
    """A BMC whose resources are members of one document."""

    def __init__(self, data: bytes) -> None:
        super().__init__(HttpClient(), Pace(1e9), CONFIG.bmc, ACCOUNT)
        self._data, self._credentials = data, {"X-Auth-Token": "t"}

    async def _answer(self, request: Request, first: bool = False) -> Answer:
        try:
            tree: Any = json.loads(self._data)
            return Answer(json.dumps(tree.get(request.url, {})).encode(), "application/json")
        except (ValueError, RecursionError, AttributeError):
            return Answer(self._data, "application/json")


def resources(data: bytes, _: Path) -> None:
    async def fed() -> None:
        notices, link = Notices(), Served(data)
        bmc = NodeBmc(CONFIG, link, 1e-6, Enclosures(), notices, True, limits=True)
        driver = RedfishNode(CONFIG, bmc, Identities(), Witnesses(notices, bmc=bmc))
        try:
            for _ in range(2):
                node = await driver.read()
                is_possible(node)
                assert node.limit is not None
                assert 0 < (node.limit.w.value or 1.0) <= MOST_W
        finally:
            await driver.close()

    asyncio.run(fed())


def refusal(data: bytes, _: Path) -> None:
    words = said(data)
    assert len(words) <= 160
    assert words.isprintable()


def fingerprints(data: bytes, directory: Path) -> None:
    file = directory / "prints.txt"
    file.write_bytes(data)
    found = pinned("b", Account("u", file, fingerprints=file), "https://gpu01-bmc")
    assert found == "" or (len(found) == 64 and int(found, 16) >= 0)


def trees() -> list[bytes]:
    found = [fake_bmc.server(kinds="EPS") | fake_bmc.supplies(300, 310, absent=1), fake_bmc.hgx(gpus=2)]
    found.append(fake_bmc.server(kinds="EP") | fake_bmc.environment(300, PowerLimitWatts=LIMIT))
    return [json.dumps(tree).encode() for tree in (*found, fake_bmc.server(None, "S") | fake_bmc.supplies(300))]


def full_table() -> bytes:
    return fake_bmc.refused("503 Busy", "The maximum number of user sessions is reached.").partition(b"\r\n\r\n")[2]


PARSERS = (
    Parser(
        "resource of a BMC",
        ("drivers.redfish.documents:document",),
        trees,
        simple(resources),
        errors=(DeviceError,),
        tree="json",
        share=0.2,
    ),
    Parser(
        "error answer of a BMC",
        ("drivers.redfish.documents:said",),
        lambda: [full_table()],
        simple(refusal),
        tree="json",
        share=0.3,
    ),
    Parser(
        "fingerprints of BMCs",
        ("drivers.redfish.config:pinned",),
        lambda: [b"gpu01-bmc " + b"ab" * 32 + b"\n# rack 2\ngpu02-bmc " + b":".join([b"CD"] * 32)],
        simple(fingerprints),
        errors=(NotTrusted,),
        share=0.3,
    ),
)
