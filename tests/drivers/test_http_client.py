"""The HTTP client against servers that misbehave: each fault is an error that says what it is, soon."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from http_server import HttpServer, response
from waiting import LIMIT_S

from drivers.http.client import HttpClient, _socket
from drivers.http.errors import HttpError, NotTrusted
from drivers.http.fetcher import Fetcher
from drivers.http.page import Access
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout

PAGE = "DCGM_USE 1\n"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    client.join()
    yield client
    await client.leave()


async def drip(target: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(target: str, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def endless(target: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


FAULTS: dict[str, tuple[object, type[DeviceError], str]] = {
    "/drip": (drip, Timeout, "no whole answer within 0.3 s"),
    "/silent": (silence, Timeout, "no whole answer within 0.3 s"),
    "/endless": (endless, HttpError, "sends more than 100000 bytes"),
    "/large": (response(b"x" * 200_000), HttpError, "announces 200000 bytes"),
    "/html": (response(b"<html>log in</html>", kind="text/html"), HttpError, "sends 'text/html'"),
    "/loop": (response(b"", "302 Found", Location="/loop"), HttpError, "redirects to '/loop'"),
    "/away": (response(b"", "301 Moved", Location="http://192.0.2.1/"), HttpError, "redirects to 'http://192.0.2.1/'"),
    "/refused": (response(b"", "401 Unauthorized"), HttpError, "refuses access (HTTP 401)"),
    "/failed": (response(b"", "503 Busy"), HttpError, "answers HTTP 503 Busy"),
    "/packed": (response(b"\x1f\x8b", Content_Encoding="gzip"), HttpError, "sends packed content: 'gzip'"),
    "/short": (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nabc", DeviceError, ""),
    "/garbage": (b"\x00\x01\x02 not HTTP at all\r\n\r\n", ConnectionLost, ""),
}


async def test_each_fault_says_what_it_is(client: HttpClient) -> None:
    async with HttpServer({path: page for path, (page, _, _) in FAULTS.items()}) as server:  # type: ignore[misc]
        for path, (_, error, words) in FAULTS.items():
            deadline_s = LIMIT_S if error in (HttpError, ConnectionLost) else 0.3  # a busy machine needs time
            with pytest.raises(error) as raised:
                await client.get("n at url", server.url(path), deadline_s=deadline_s, most_bytes=100_000)
            assert words in str(raised.value), path
            assert str(raised.value).startswith("n at url: "), path


async def test_a_page_comes_with_the_servers_clock_over_one_connection(client: HttpClient) -> None:
    page = response(PAGE.encode(), Date="Sun, 06 Nov 1994 08:49:37 GMT")
    async with HttpServer({"/metrics": page, "/odd": response(b"1", Date="soon")}) as server:
        for _ in range(3):
            answer = await client.get("n", server.url(), deadline_s=5.0)
        assert answer.body.decode() == PAGE
        assert answer.served_utc_s == datetime.datetime(1994, 11, 6, 8, 49, 37, tzinfo=datetime.UTC).timestamp()
        assert server.connections == 1
        assert b"Accept-Encoding: identity" in server.headers[0]
        assert (await client.get("n", server.url("/odd"), deadline_s=5.0)).served_utc_s is None


async def test_nobody_there_is_a_lost_connection_and_then_left_alone(client: HttpClient) -> None:
    async with HttpServer({}) as server:
        url = server.url()
    fetcher = Fetcher(client, "gpu01", url, Access(), 2.0)
    with pytest.raises(
        ConnectionLost, match=r"gpu01 at http://127\.0\.0\.1:\d+/metrics: Connection refused; check url"
    ):
        await fetcher.get()
    with pytest.raises(ConnectionLost, match="Connection refused; next try in 2 s; check url, that its server"):
        await fetcher.get()


async def test_a_token_is_read_at_each_request_and_not_from_a_file_for_everybody(
    client: HttpClient, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("Bearer one\nsecond line\n")
    file.chmod(0o640)
    async with HttpServer({"/metrics": PAGE}) as server:
        for token in ("one", "two"):
            file.write_text(f"Bearer {token}\n")
            await client.get("n", server.url(), deadline_s=5.0, access=Access(authorization=file))
            assert f"Authorization: Bearer {token}\r\n".encode() in server.headers[-1]
        file.chmod(0o644)
        with pytest.raises(NotTrusted, match="every user can read it"):
            await client.get("n", server.url(), deadline_s=5.0, access=Access(authorization=file))
        file.chmod(0o600)
        for line, words in ((b"Bearer \x07\n", "no printable text"), ("Bearer ä\n".encode(), "no value of a header")):
            file.write_bytes(line)
            with pytest.raises(NotTrusted, match=words):
                await client.get("n", server.url(), deadline_s=5.0, access=Access(authorization=file))
        with pytest.raises(NotTrusted, match="No such file"):
            await client.get("n", server.url(), deadline_s=5.0, access=Access(authorization=tmp_path / "none"))
        assert len(server.asked) == 2


def certificate(directory: Path) -> tuple[Path, Path, str]:
    """A certificate for 127.0.0.1 that signs itself: its file, its key, its fingerprint."""
    import ipaddress

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "exporter")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = directory / "cert.pem", directory / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private, hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()


async def test_a_certificate_is_verified_by_ca_or_by_its_fingerprint(client: HttpClient, tmp_path: Path) -> None:
    pem, private, fingerprint = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    async with HttpServer({"/metrics": PAGE}, context) as server:
        for access in (Access(ca=pem), Access(fingerprint=fingerprint)):
            assert (await client.get("n", server.url(), deadline_s=5.0, access=access)).body.decode() == PAGE
        asked = len(server.asked)
        for access, words in (
            (Access(), "certificate"),
            (Access(), f"it has the SHA-256 fingerprint {fingerprint}"),
            (Access(fingerprint="00" * 32), fingerprint),
            (Access(ca=tmp_path / "none.pem"), "No such file"),
            (Access(ca=private), "ca = "),
        ):
            with pytest.raises(NotTrusted) as raised:
                await client.get("n", server.url(), deadline_s=5.0, access=access)
            assert words in str(raised.value)
        assert len(server.asked) == asked  # nothing was asked of a server that is not trusted


async def test_a_closed_client_asks_nothing() -> None:
    client = HttpClient()
    client.join()
    await client.leave()
    with pytest.raises(ConnectionLost, match="closed"):
        await client.get("n", "http://127.0.0.1:1/", deadline_s=1.0)


async def test_pages_that_failed_before_do_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a site's nodes are switched off: each request to them lasts as long as its deadline."""
    monkeypatch.setattr("drivers.http.client.AT_ONCE", 1)
    monkeypatch.setattr("drivers.http.client.AT_ONCE_DOUBTFUL", 1)
    client, hangs = HttpClient(), asyncio.Event()
    client.join()

    async def hang(target: str, writer: asyncio.StreamWriter) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async with HttpServer({"/dead": hang, "/live": "a 1\n"}) as server:
        url = server.url("/dead")
        dead = [asyncio.create_task(client.get("n", url, deadline_s=60.0, doubtful=True)) for _ in range(3)]
        await asyncio.wait_for(hangs.wait(), LIMIT_S)
        assert (await asyncio.wait_for(client.get("n", server.url("/live"), deadline_s=60.0), LIMIT_S)).body
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)
        await client.leave()


@pytest.mark.parametrize(("pages", "connections"), [(400, 1), (401, 2)])
async def test_connections_to_very_many_pages_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, pages: int, connections: int
) -> None:
    """Two thousand of them are more than a process may have open."""
    monkeypatch.setattr("drivers.http.client.KEEP_OF_MANY_S", 0.0)
    monkeypatch.setattr("resource.getrlimit", lambda which: (1000, 1000))
    client = HttpClient()
    for _ in range(pages):
        client.join()
    async with HttpServer({"/page": "a 1\n"}) as server:
        for _ in range(2):
            await client.get("n", server.url("/page"), deadline_s=LIMIT_S)
        assert server.connections == connections
        for _ in range(pages):
            await client.leave()


async def test_a_dns_server_that_is_gone_takes_no_shared_thread(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those read contacts and set limits of GPUs."""
    back, real = threading.Event(), socket.getaddrinfo

    def hanging(host: Any, *rest: Any, **keys: Any) -> Any:
        back.wait(LIMIT_S)
        return real("127.0.0.1", *rest, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    asked = [client.get("n", f"http://node{n}:1/", deadline_s=0.05) for n in range(40)]
    errors = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), LIMIT_S)
    assert all(isinstance(error, Timeout) for error in errors)
    assert sum(thread.name == "look up a host name" for thread in threading.enumerate()) == 4
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), LIMIT_S) == 1
    back.set()
    with pytest.raises(ConnectionLost):  # found, and nobody is there
        await client.get("n", "http://node99:1/", deadline_s=LIMIT_S)


async def test_a_name_is_looked_up_and_one_that_does_not_exist_is_an_error(client: HttpClient) -> None:
    async with HttpServer({"/page": "a 1\n"}) as server:
        url = server.url("/page").replace("127.0.0.1", "localhost")
        assert (await client.get("n", url, deadline_s=LIMIT_S)).body == b"a 1\n"
    with pytest.raises(ConnectionLost):
        await client.get("n", "http://no-such-node.invalid:1/", deadline_s=LIMIT_S)


async def test_the_kernel_holds_little_of_what_a_server_floods() -> None:
    """All that it holds is taken in at once by the event loop; a quarter of a megabyte of tiny chunks takes long."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", server.getsockname())
        with _socket(address) as receiver:
            receiver.connect(server.getsockname())
            sender, _ = server.accept()
            with sender:
                sender.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sender.send(bytes(65536))
                assert 0 < len(receiver.recv(10**7)) <= 128 * 1024
