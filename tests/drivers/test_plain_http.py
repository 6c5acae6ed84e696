"""Answers of HTTP/1.1 as servers may send them: what is taken, what is refused, which connections are used again."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from http_server import HttpServer, response
from waiting import LIMIT_S

from drivers.http.client import HttpClient
from drivers.http.plain import MOST_CHUNKS, request_to
from drivers.http.plain_link import MOST_HEAD_BYTES
from drivers.modbus.errors import ConnectionLost, DeviceError

TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNKED = TEXT + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    client.join()
    yield client
    await client.leave()


async def body(client: HttpClient, url: str) -> bytes:
    return (await client.get("n", url, deadline_s=LIMIT_S)).body


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED + b"A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"after"), b"after"),
        (response(b"plain", Connection="keep-alive"), b"plain"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-type:text/plain\r\nCONTENT-LENGTH:  2 \r\n\r\nok", b"ok"),
        (TEXT + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 4\n\n\na\n\n", b"\na\n\n"),  # RFC 9112, 2.2
    ],
)
async def test_each_way_to_send_a_page_is_taken_and_its_connection_used_again(
    client: HttpClient, sent: bytes, taken: bytes
) -> None:
    async with HttpServer({"/page": sent}) as server:
        for _ in range(2):
            assert await body(client, server.url("/page")) == taken
        assert server.connections == 1


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (TEXT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "has two lengths"),
        (TEXT + b"Content-Length: -3\r\n\r\nabc", "has the length '-3'"),
        (TEXT + b"Content-Length: 3, 3\r\n\r\nabc", "has the length '3, 3'"),
        (TEXT + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding 'gzip, chunked'"),
        (TEXT + b"Transfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n", "transfer coding 'gzip, chunked'"),
        (TEXT + b" folded\r\n\r\n", "has a header ' folded'"),
        (TEXT + b"Bad name: 1\r\n\r\n", "has a header 'Bad name: 1'"),
        (TEXT + b"X: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n", "of more than 16384 bytes"),
        (b"a" * 2 * MOST_HEAD_BYTES, "of more than 16384 bytes"),
        (CHUNKED + b"x\r\n", "has the size b'x'"),
        (CHUNKED + b"-1\r\n", "has the size b'-1'"),
        (CHUNKED + b"123456789\r\n", "has the size b'123456789'"),
        (CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", "is longer than it says"),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 70, "ends in more than 64 lines"),
        (CHUNKED + b"1\r\na\r\n" * (MOST_CHUNKS + 1), f"in more than {MOST_CHUNKS} pieces"),
        (b"HTTP/2 200 OK\r\n\r\n", "begins with 'HTTP/2 200 OK'"),
        (b"HTTP/1.1 200 OK\r\n\r\n"[:-1] + b" \r\n\r\n", "has a header"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "answers 1xx again and again"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "begins with 'SSH-2.0-OpenSSH_9.2'"),
    ],
)
async def test_what_is_no_answer_is_an_error_that_says_why(client: HttpClient, sent: bytes, words: str) -> None:
    async with HttpServer({"/page": sent, "/good": "a 1\n"}) as server:
        with pytest.raises(ConnectionLost) as raised:
            await body(client, server.url("/page"))
        assert words in str(raised.value)
        assert await body(client, server.url("/good")) == b"a 1\n"  # on another connection
        assert server.connections == 2


async def test_pieces_that_come_cut_anywhere_are_put_together(client: HttpClient) -> None:
    wire = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in range(1, 40)) + b"0\r\nEnd: 1\r\n\r\n"

    async def cut(target: str, writer: asyncio.StreamWriter) -> None:
        size = int(target.rpartition("=")[2])
        for at in range(0, len(wire), size):
            writer.write(wire[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)

    async with HttpServer({"/page": cut}) as server:
        for size in (7, 64, 1000):
            assert await body(client, server.url(f"/page?size={size}")) == b"x" * sum(range(1, 40))
        assert server.connections == 1


async def test_a_page_may_end_with_its_connection(client: HttpClient) -> None:
    async def until_closed(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabc")
        await writer.drain()
        writer.close()

    async with HttpServer({"/page": until_closed}) as server:
        for _ in range(2):
            assert await body(client, server.url("/page")) == b"abc"
        assert server.connections == 2


async def test_an_idle_connection_that_was_closed_meanwhile_costs_no_error(client: HttpClient) -> None:
    async def once(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"abc"))
        await writer.drain()
        writer.close()

    async with HttpServer({"/page": once}) as server:
        for _ in range(4):
            assert await body(client, server.url("/page")) == b"abc"
        assert 2 <= server.connections <= 4


async def test_what_comes_after_an_answer_is_not_taken_for_the_next(client: HttpClient) -> None:
    async with HttpServer({"/page": response(b"abc") + response(b"late")}) as server:
        for _ in range(3):
            assert await body(client, server.url("/page")) == b"abc"
            await asyncio.sleep(0)


async def test_a_page_whose_connection_breaks_is_not_taken_for_whole(client: HttpClient) -> None:
    """A figure may be cut in two: 41 of 412 W."""

    async def broken(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(TEXT + b"\r\nw 41")
        await writer.drain()
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.transport.abort()

    async with HttpServer({"/page": broken}) as server:
        with pytest.raises(ConnectionLost):
            await body(client, server.url("/page"))


@pytest.mark.parametrize("head", [TEXT + b"Content-Length: 3\r\n", TEXT.replace(b"1.1", b"1.0")])
async def test_a_connection_is_not_used_again_where_the_end_of_a_page_is_told_twice(
    client: HttpClient, head: bytes
) -> None:
    sent = head + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with HttpServer({"/page": sent}) as server:
        for _ in range(2):
            assert await body(client, server.url("/page")) == b"abc"
        assert server.connections == 2


async def test_what_a_server_says_beside_its_status_is_shown_short_and_printable(client: HttpClient) -> None:
    sent = b"HTTP/1.1 500 a\x1b[2J" + b"b" * 9000 + b"\r\nContent-Length: 0\r\n\r\n"
    async with HttpServer({"/page": sent}) as server:
        with pytest.raises(DeviceError) as raised:
            await body(client, server.url("/page"))
    assert "HTTP 500 a [2Jb" in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


def test_the_host_is_named_in_ascii_and_without_the_interface_of_an_address() -> None:
    for url, host in (
        ("http://[fe80::1%25eth0]:9100/", b"[fe80::1]:9100"),
        ("http://[::1]/", b"[::1]"),
        ("http://Büro.example:8080/", b"xn--bro-hoa.example:8080"),
        ("http://gpu01/", b"gpu01"),
    ):
        assert b"\r\nHost: " + host + b"\r\n" in request_to(url, (), {"A": "b"})


async def test_an_answer_cut_short_is_an_error(client: HttpClient) -> None:
    async def cut(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write((TEXT + b"Content-Length: 9\r\n\r\nabc") if target == "/length" else CHUNKED + b"9\r\nabc")
        await writer.drain()
        writer.close()

    async with HttpServer({"/length": cut, "/chunks": cut}) as server:
        for path in ("/length", "/chunks"):
            with pytest.raises(DeviceError, match="closed the connection before the end of its answer"):
                await body(client, server.url(path))


async def test_a_query_and_odd_paths_arrive_as_they_are_meant(client: HttpClient) -> None:
    pages = {"/metrics": "a 1\n"}
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        query = (("query", 'up{job=~"a|b"}[5m] + 1'), ("collect[]", "cpu"))
        await client.get("n", server.url("/metrics"), deadline_s=LIMIT_S, query=query)
        assert server.asked == ["/metrics?query=up%7Bjob%3D~%22a%7Cb%22%7D%5B5m%5D+%2B+1&collect%5B%5D=cpu"]
        with pytest.raises(DeviceError):
            await client.get("n", server.url("/a b%20c/ü?x=1&y=ß%0d[]"), deadline_s=LIMIT_S)
        assert server.asked[-1] == "/a%20b%20c/%C3%BC?x=1&y=%C3%9F%0d[]"
        assert b"\r\nHost: 127.0.0.1:" in server.headers[-1]
