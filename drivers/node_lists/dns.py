"""Asks DNS for the names of nodes: the targets of SRV records, or the addresses of a name.

A question goes to each server in turn, twice, by UDP; an answer that is cut (TC) is asked for again by TCP (RFC 7766).
The servers are those of /etc/resolv.conf, or `dns_server`. The sockets are connected, so that the kernel takes no
datagram from another address; number and port of each question are drawn by chance (RFC 5452).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from drivers.connect_errors import system_reason
from drivers.node_lists.answer import Listed, ListNotRead
from drivers.node_lists.dns_message import SRV, BadMessage, DnsAnswer, answer_in, kind_of, question

RESOLV_CONF = Path("/etc/resolv.conf")
PORT, MOST_SERVERS, ROUNDS = 53, 3, 2
WAIT_S, TCP_WAIT_S = 3.0, 6.0
MOST_BYTES = 65_535  # what the two bytes of length before a message over TCP can say
Server = tuple[str, int]


async def names_in_dns(names: Sequence[str], server: str) -> Listed:
    """The hosts of every SRV record (without their domains) and every address. Raises ListNotRead.

    `server`: "address" or "address:port"; empty: those of /etc/resolv.conf.
    """
    servers = [place_of(server)] if server else servers_in(RESOLV_CONF)
    found: dict[str, None] = {}
    for name in names:
        for one in await _asked(name, servers):
            found[one.partition(".")[0] if kind_of(name) == SRV else one] = None
    return Listed(tuple(found))


def place_of(server: str) -> Server:
    """Address and port of "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353"."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]:")
        return host.rstrip("]"), int(port or PORT)
    if server.count(":") == 1:
        host, _, port = server.partition(":")
        return host, int(port)
    return server, PORT


def servers_in(resolv_conf: Path) -> list[Server]:
    """The name servers of a resolv.conf(5), the first three as the C library has it. Raises ListNotRead: none."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ListNotRead(f"{resolv_conf}: {error.strerror}; set dns_server in the [[nodes]]") from None
    words = (line.split() for line in lines)
    found = [(line[1], PORT) for line in words if len(line) > 1 and line[0] == "nameserver"][:MOST_SERVERS]
    if not found:
        raise ListNotRead(f"{resolv_conf} names no server: set dns_server in the [[nodes]]")
    return found


async def _asked(name: str, servers: Sequence[Server]) -> tuple[str, ...]:
    """Raises ListNotRead with what each server has said."""
    why: dict[str, None] = {}
    for server in (*servers,) * ROUNDS:
        where = f"DNS server {server[0]}{'' if server[1] == PORT else f' port {server[1]}'}"
        try:
            answer = await _answer(name, server)
        except TimeoutError:
            why[f"{where} did not answer within {WAIT_S:g} s"] = None
            continue
        except (OSError, BadMessage) as error:
            text = system_reason(error) if isinstance(error, OSError) else f"sends what is no answer: {error}"
            why[f"{where}: {text}"] = None
            continue
        if not answer.refused:
            return answer.found
        why[f"{where} {answer.refused}"] = None
    records = "SRV" if kind_of(name) == SRV else "A"
    raise ListNotRead(f"{name} ({records}): {'; '.join(why)}: look with `dig {name} {records}`")


async def _answer(name: str, server: Server) -> DnsAnswer:
    """Raises OSError, TimeoutError, BadMessage."""
    number = secrets.randbits(16)
    asked = question(number, name)
    answer = await _by_udp(asked, number, name, server)
    return await _by_tcp(asked, number, name, server) if answer.truncated else answer


class _Datagrams(asyncio.DatagramProtocol):
    """Keeps the first datagram that is an answer."""

    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self.answer: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _from: object) -> None:
        if not self.answer.done():
            try:
                self.answer.set_result(answer_in(data, self._number, self._name))
            except BadMessage as error:
                self.answer.set_exception(error)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(asked: bytes, number: int, name: str, server: Server) -> DnsAnswer:
    loop = asyncio.get_running_loop()
    transport, datagrams = await loop.create_datagram_endpoint(lambda: _Datagrams(number, name), remote_addr=server)
    try:
        transport.sendto(asked)
        async with asyncio.timeout(WAIT_S):
            return await datagrams.answer
    finally:
        transport.close()


async def _by_tcp(asked: bytes, number: int, name: str, server: Server) -> DnsAnswer:
    async with asyncio.timeout(TCP_WAIT_S):
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(asked).to_bytes(2, "big") + asked)
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = answer_in(await reader.readexactly(length), number, name)
        except asyncio.IncompleteReadError:
            raise BadMessage("hangs up in the middle of its answer") from None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    if answer.truncated:
        raise BadMessage("is cut over TCP, too")
    return answer
