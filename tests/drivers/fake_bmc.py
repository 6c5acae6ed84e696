"""A BMC on loopback: a Redfish service with sessions, faults among it.

Written by hand. The shapes of the resources are those that DMTF DSP0268 defines and public code shows of real ones:
iDRAC, iLO and Lenovo (mrlhansen/idrac_exporter), OpenBMC (bmcweb), NVIDIA's HGX (DPS documentation).
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from http_server import response

USER, PASSWORD = "reader", "let me see"
V1 = "/redfish/v1"
UUID = "4c4c4544-0031-3010-8051-b7c04f4e4333"
Tree = dict[str, Any]
Fault = Callable[[asyncio.StreamWriter], Awaitable[None]]


def ref(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def members(*paths: str) -> dict[str, Any]:
    return {"Members": [ref(path) for path in paths], "Members@odata.count": len(paths)}


def root() -> Tree:
    return {
        V1 + "/": {
            "Systems": ref(f"{V1}/Systems"),
            "Chassis": ref(f"{V1}/Chassis"),
            "Links": {"Sessions": ref(f"{V1}/SessionService/Sessions")},
        }
    }


def system(name: str, chassis: str = "1", **keys: Any) -> Tree:
    """One host with its links."""
    own = {"UUID": UUID, "SerialNumber": f"SN-{name}", "Model": "S1", "PowerState": "On", "SystemType": "Physical"}
    return {f"{V1}/Systems/{name}": {**own, "Links": {"Chassis": [ref(f"{V1}/Chassis/{chassis}")]}, **keys}}


def chassis(name: str = "1", systems: tuple[str, ...] = ("1",), kinds: str = "EP", **keys: Any) -> Tree:
    """`kinds`: E EnvironmentMetrics, P Power, S PowerSubsystem."""
    path = f"{V1}/Chassis/{name}"
    named = {"E": "EnvironmentMetrics", "P": "Power", "S": "PowerSubsystem"}
    links = {"ComputerSystems": [ref(f"{V1}/Systems/{one}") for one in systems]}
    found = {"ChassisType": "RackMount", "SerialNumber": f"CH-{name}", "Links": links}
    return {path: {**found, **{named[kind]: ref(f"{path}/{named[kind]}") for kind in kinds}, **keys}}


def environment(value: Any, name: str = "1", **keys: Any) -> Tree:
    return {f"{V1}/Chassis/{name}/EnvironmentMetrics": {"PowerWatts": {"Reading": value}, **keys}}


def power(value: Any, name: str = "1", limit: Any = None, **keys: Any) -> Tree:
    control = {"MemberId": "0", "PowerConsumedWatts": value, "PowerCapacityWatts": 1600}
    control |= {} if limit is None else {"PowerLimit": limit}
    parts = {"MemberId": "1", "Name": "CPU Sub-system Power", "PowerConsumedWatts": 155}
    return {f"{V1}/Chassis/{name}/Power": {"PowerControl": [control, parts], **keys}}


def server(value: Any = 421.5, kinds: str = "E") -> Tree:
    """A machine with one system in one chassis."""
    found = root() | {f"{V1}/Systems": members(f"{V1}/Systems/1"), f"{V1}/Chassis": members(f"{V1}/Chassis/1")}
    return found | system("1") | chassis(kinds=kinds) | environment(value) | power(410, "1")


def supplies(*inputs: Any, absent: int = 0) -> Tree:
    """PowerSubsystem with its supplies; the last ones may be empty slots."""
    base = f"{V1}/Chassis/1/PowerSubsystem"
    paths = [f"{base}/PowerSupplies/{n}" for n in range(len(inputs) + absent)]
    found: Tree = {base: {"PowerSupplies": ref(f"{base}/PowerSupplies")}, f"{base}/PowerSupplies": members(*paths)}
    for n, path in enumerate(paths):
        found[path] = {
            "Status": {"State": "Enabled" if n < len(inputs) else "Absent"},
            "Metrics": ref(f"{path}/Metrics"),
        }
    return found | {
        f"{path}/Metrics": {"InputPowerWatts": {"Reading": w}} for path, w in zip(paths, inputs, strict=False)
    }


def hgx(total_w: float = 5600.0, gpu_w: float = 500.0, gpus: int = 8) -> Tree:
    """A server with an HGX baseboard: a system and a chassis of its own, inside the server's."""
    board, processors = f"{V1}/Systems/HGX_Baseboard_0", f"{V1}/Systems/HGX_Baseboard_0/Processors"
    names = [f"GPU_SXM_{n + 1}" for n in range(gpus)]
    found = root() | system("DGX", "DGX") | environment(total_w, "DGX") | environment(4100.0, "HGX_Chassis_0")
    found |= chassis("DGX", ("DGX", "HGX_Baseboard_0"), "E")
    found |= chassis("HGX_Chassis_0", ("HGX_Baseboard_0",), "E", ChassisType="Module")
    found |= {
        f"{V1}/Systems": members(f"{V1}/Systems/DGX", board),
        f"{V1}/Chassis": members(f"{V1}/Chassis/DGX", f"{V1}/Chassis/HGX_Chassis_0"),
        board: {"SystemType": "Physical", "Processors": ref(processors)},
        processors: members(*(f"{processors}/{name}" for name in names), f"{processors}/FPGA_0"),
    }
    for n, name in enumerate(names):
        path = f"{processors}/{name}"
        uuid = f"1f2e3d4c-0000-4000-8000-00000000000{n}"
        found[path] = {"UUID": uuid, "Model": "H100 80GB", "EnvironmentMetrics": ref(f"{path}/EnvironmentMetrics")}
        found[f"{path}/EnvironmentMetrics"] = {"PowerWatts": {"Reading": gpu_w + n}}
    return found


def enclosure(shared: bool, count: int = 4) -> Tree:
    """Several sleds behind one manager; `shared`: their systems are in the enclosure itself."""
    names = [f"Node{n + 1}" for n in range(count)]
    found = root() | chassis("Enclosure", tuple(names) if shared else (), "P", ChassisType="Enclosure")
    found |= power(1900, "Enclosure")
    found[f"{V1}/Systems"] = members(*(f"{V1}/Systems/{name}" for name in names))
    found[f"{V1}/Chassis"] = members(*(f"{V1}/Chassis/{name}" for name in ("Enclosure", *names)))
    for n, name in enumerate(names):
        found |= system(name, "Enclosure" if shared else name, UUID=f"{n}{UUID[1:]}")
        found |= chassis(name, (name,), "P", ChassisType="Sled") | power(400 + n, name)
    return found


class FakeBmc:
    """`tree`: resources by path. `faults`: what is done in place of an answer, by path, "*" for all."""

    def __init__(self, tree: Tree, context: ssl.SSLContext | None = None, sessions: bool = True, room: int = 8) -> None:
        self.tree, self.faults, self.room = tree, dict[str, Fault](), room
        self.asked: list[str] = []  # method and path
        self.tokens: dict[str, str] = {}  # path of a session, token
        self.logins = self.at_once = self.most_at_once = self.hosts = 0
        self.password = PASSWORD
        self.location, self.login_content = "{path}", True  # of the answer to a login
        self.patches: list[tuple[str, Any, str]] = []  # path, content, If-Match
        self.may_set, self.etags, self.deaf = True, False, False
        self.words: tuple[str | None, ...] = (None, "Automatic", "Disabled")  # the ControlModes that it knows
        self.takes_null = True
        self._context, self._sessions = context, sessions
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeBmc:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http{'s' if self._context else ''}://127.0.0.1:{port}"

    def gets(self, end: str = "") -> int:
        """How often a path with this end was read."""
        return sum(asked.startswith("GET ") and asked.endswith(end) for asked in self.asked)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                raw = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head.split(" ", 2)
                self.asked.append(f"{method} {path}")
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await self._answer(method, path, raw, body, writer)
                finally:
                    self.at_once -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass  # the end of the connection, or of the test
        finally:
            writer.transport.abort()

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        fault = self.faults.get(path, self.faults.get("*"))
        if fault is not None:
            await fault(writer)
        elif path == f"{V1}/SessionService/Sessions" and method == "POST":
            writer.write(self._login(json.loads(body)))
        elif method == "DELETE" and self.tokens.pop(path, None):
            writer.write(response(b"", "204 No Content"))
        elif path != f"{V1}/" and not self._known(headers):
            writer.write(refused("401 Unauthorized", "Authentication is required."))
        elif path not in self.tree:
            writer.write(refused("404 Not Found", "The resource was not found."))
        elif method == "PATCH":
            writer.write(self._patched(path, json.loads(body), headers.get("If-Match", "")))
        else:
            tag = {"ETag": self._etag(path)} if self.etags else {}
            writer.write(response(json.dumps(self.tree[path]).encode(), kind="application/json; charset=utf-8", **tag))
        await writer.drain()

    def _etag(self, path: str) -> str:
        return f'"{zlib.crc32(json.dumps(self.tree[path]).encode()):x}"'

    def _patched(self, path: str, content: Any, match: str) -> bytes:
        """As DSP0266 has it; a PATCH of an array has the member at its place."""
        self.patches.append((path, content, match))
        asked = content.get("PowerLimitWatts", content)
        if not self.may_set:
            return refused("403 Forbidden", "There are insufficient privileges for the account.")
        if self.etags and match not in ("*", self._etag(path)):
            return refused(
                "412 Precondition Failed" if match else "428 Precondition Required", "The ETag did not match."
            )
        if asked.get("ControlMode") not in self.words or (asked.get("SetPoint", 0) is None and not self.takes_null):
            return refused("400 Bad Request", "The value is not in the list.")
        if not self.deaf:
            self.tree[path] = merged(self.tree[path], content)
        return response(b"", "204 No Content")

    def _login(self, given: dict[str, str]) -> bytes:
        self.logins += 1
        if not self._sessions:
            return refused("405 Method Not Allowed", "")
        if (given["UserName"], given["Password"]) != (USER, self.password):
            return refused("401 Unauthorized", "Invalid username or password.")
        if len(self.tokens) >= self.room:
            return refused("503 Service Unavailable", "The maximum number of user sessions is reached.")
        path, token = f"{V1}/SessionService/Sessions/{self.logins}", f"token{self.logins}"
        self.tokens[path] = token
        content = json.dumps(ref(path)).encode() if self.login_content else b"created"
        place = self.location.format(path=path)
        return response(content, "201 Created", "application/json", X_Auth_Token=token, Location=place)

    def _known(self, headers: dict[str, str]) -> bool:
        basic = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        by_token = headers.get("X-Auth-Token") in self.tokens.values()
        return by_token or headers.get("Authorization") == f"Basic {basic}"


def merged(old: Any, new: Any) -> Any:
    """A JSON document with the changes of another one."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: merged(old.get(key), value) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list):
        return [*(merged(a, b) for a, b in zip(old, new, strict=False)), *old[len(new) :]]
    return new


def refused(status: str, message: str) -> bytes:
    """An error as DSP0266 has it."""
    error = {
        "code": "Base.1.8.GeneralError",
        "message": "See ExtendedInfo.",
        "@Message.ExtendedInfo": [{"Message": message}],
    }
    return response(json.dumps({"error": error}).encode(), status, "application/json")
