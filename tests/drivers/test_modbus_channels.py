"""Modbus over each kind of address, against pymodbus' server: RTU over TCP, TLS, serial ports, IPv6; and its faults."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import itertools
import os
import re
import socket
import ssl
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice
from waiting import until, until_done

from drivers.modbus.address import parse
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, DeviceException, Timeout
from drivers.modbus.frames import RTU, crc
from drivers.modbus.line import Line
from drivers.modbus.tls import TlsError, client_context
from drivers.modbus.transport import ModbusLink

DEADLINE_S = 20.0  # longer than a busy machine takes
SILENCE_S = 0.2  # the deadline where silence is waited for


def device() -> SimDevice:
    return SimDevice(id=1, simdata=[SimData(100, values=[11, 22, 33, 44, 55], datatype=DataType.REGISTERS)])


@asynccontextmanager
async def serving(server: Any) -> AsyncIterator[int]:
    """Run a pymodbus server; its port."""
    await server.serve_forever(background=True)
    sockets = getattr(server.transport, "sockets", ())
    yield sockets[0].getsockname()[1] if sockets else 0
    await server.shutdown()


@asynccontextmanager
async def linked(url: str, tls: ssl.SSLContext | None = None, **keys: Any) -> AsyncIterator[ModbusLink]:
    line = Line(parse(url), backoff_max_s=0.1, tls=tls)
    link = ModbusLink(line=line, **({"deadline_s": DEADLINE_S, "backoff_max_s": 0.1, "device": "pcs1"} | keys))
    yield link
    await link.close()


async def reads_and_writes(link: ModbusLink) -> None:
    """The same of every kind of address."""
    assert await until_done(lambda: link.read(1, 100, 3), ConnectionLost) == [11, 22, 33]
    await link.write(1, 101, [7, 8], function=16)
    await link.write(1, 100, [6], function=6)
    assert await link.read(1, 100, 5, function=4) == [6, 7, 8, 44, 55]
    with pytest.raises(DeviceException, match=re.escape(f"pcs1 at {link.at} unit 1, register 999: exception 2")):
        await link.read(1, 999, 1)
    assert link.connection == 1


async def test_rtu_frames_over_tcp() -> None:
    async with (
        serving(ModbusTcpServer(device(), framer=FramerType.RTU, address=("127.0.0.1", 0))) as port,
        linked(f"rtu+tcp://127.0.0.1:{port}") as link,
    ):
        await reads_and_writes(link)


def has_ipv6_loopback() -> bool:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
    return True


async def test_ipv6() -> None:
    if not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback")
    async with serving(ModbusTcpServer(device(), address=("::1", 0))) as port, linked(f"tcp://[::1]:{port}") as link:
        await reads_and_writes(link)


# ── serial ports ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def cable() -> Iterator[tuple[str, str, int]]:
    """Two serial ports joined by a cable: pseudo-terminals, what one's controlling end gets copied to the other's.

    Their paths, and the first port itself.
    """
    loop = asyncio.get_running_loop()
    (near, near_port), (far, far_port) = os.openpty(), os.openpty()
    for fd in (near, far, near_port, far_port):
        tty.setraw(fd)
    loop.add_reader(near, lambda: os.write(far, os.read(near, 4096)))
    loop.add_reader(far, lambda: os.write(near, os.read(far, 4096)))
    yield os.ttyname(near_port), os.ttyname(far_port), near_port
    loop.remove_reader(near)
    loop.remove_reader(far)
    for fd in (near, far, near_port, far_port):
        os.close(fd)


async def test_a_serial_port() -> None:
    with cable() as (near, far, near_end):
        async with (
            serving(ModbusSerialServer(device(), port=far, baudrate=19200, stopbits=2)),
            linked(f"serial://{near}?baud=19200&stop=2") as link,
        ):
            await reads_and_writes(link)
            settings = termios.tcgetattr(near_end)
            assert (settings[4], bool(settings[2] & termios.CSTOPB)) == (termios.B19200, True)


async def test_a_serial_port_that_is_not_there_or_goes_away() -> None:
    async with linked("serial:///dev/ttyUSB99") as link:
        with pytest.raises(ConnectionLost, match=r"pcs1 at /dev/ttyUSB99: cannot connect: .*No such file"):
            await link.read(1, 100, 1)
    controlling, port = os.openpty()
    tty.setraw(port)
    async with linked(f"serial://{os.ttyname(port)}") as link:
        reading = asyncio.create_task(link.read(1, 100, 1))
        await until(lambda: link.connection)
        os.close(controlling)  # as a USB adapter that is pulled out
        with pytest.raises(ConnectionLost, match="connection closed by the device"):
            await reading
        assert link.connection == 0
    os.close(port)


async def test_the_time_on_the_wire_is_not_the_devices() -> None:
    """At 300 baud request and answer of 5 registers take 0.8 s to be sent. The deadline is for the device alone."""
    controlling, port = os.openpty()
    tty.setraw(port)
    loop = asyncio.get_running_loop()
    answer = bytes.fromhex("01 03 0a 000b 0016 0021 002c 0037")
    async with linked(f"serial://{os.ttyname(port)}?baud=300", deadline_s=0.1) as link:
        loop.add_reader(controlling, lambda: (os.read(controlling, 300), loop.call_later(0.3, send)))
        send = lambda: os.write(controlling, answer + crc(answer))  # noqa: E731
        assert await link.read(1, 100, 5) == [11, 22, 33, 44, 55]
    loop.remove_reader(controlling)
    os.close(controlling)
    os.close(port)


async def test_a_line_that_is_never_silent() -> None:
    """Another master talks all the time: nothing is read, and that is said. At 300 baud the pause would be 0.13 s."""
    controlling, port = os.openpty()
    tty.setraw(port)

    async def talk() -> None:
        while True:
            os.write(controlling, b"\x55")
            await asyncio.sleep(0.01)

    async with linked(f"serial://{os.ttyname(port)}?baud=300", deadline_s=0.2, connect_delay_s=0.05) as link:
        talking = asyncio.create_task(talk())
        with pytest.raises(BadReply, match=r"without a pause: is there a second master\?|unit 85, expected 1"):
            await link.read(1, 100, 1)
        talking.cancel()
    os.close(controlling)
    os.close(port)


# ── frames without transaction ids ──────────────────────────────────────────────────────────────────────────────────

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class RtuGateway:
    """RTU frames over TCP, answered by `answer`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[float, bytes]] = []
        self.late: list[asyncio.StreamWriter] = []  # those of all connections
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.late.append(writer)
        self.open += 1
        try:
            while True:
                request = await reader.readexactly(8)  # of reads
                self.asked.append((asyncio.get_running_loop().time(), request))
                await self.answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self.open -= 1


@asynccontextmanager
async def rtu_gateway(answer: Answer, **keys: Any) -> AsyncIterator[tuple[RtuGateway, ModbusLink]]:
    gateway = RtuGateway(answer)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    async with linked(f"rtu+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", **keys) as link:
        yield gateway, link
    server.close()
    for writer in gateway.late:
        writer.transport.abort()
    await until(lambda: not gateway.open)


def answering(request: bytes) -> bytes:
    """Each register holds its address."""
    unit, function = request[0], request[1]
    first, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
    words = b"".join((first + n).to_bytes(2, "big") for n in range(count))
    return RTU.frame(0, unit, bytes([function, 2 * count]) + words)


async def answered(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answering(request))


WRONG: dict[str, tuple[Callable[[bytes], bytes], type[DeviceError], str]] = {
    "unit": (lambda reply: RTU.frame(0, reply[0] + 1, reply[1:-2]), BadReply, "unit 2, expected 1"),
    "function": (lambda reply: RTU.frame(0, 1, b"\x04" + reply[2:-2]), BadReply, "function 4, expected 3"),
    "length": (lambda reply: RTU.frame(0, 1, b"\x03\x02" + reply[3:5]), BadReply, "2 bytes of registers, expected 6"),
    "checksum": (lambda reply: reply[:-1] + bytes([reply[-1] ^ 1]), BadReply, "checksum"),
    "value": (lambda reply: reply[:5] + bytes([reply[5] ^ 1]) + reply[6:], BadReply, "checksum"),
    "one byte more": (lambda reply: reply + b"\x00", BadReply, "1 bytes after the answer"),
    "one byte less": (lambda reply: reply[:-1], Timeout, "no answer within"),
    "nothing": (lambda reply: b"", Timeout, "no answer within"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_frame_gives_no_value(wrong: str) -> None:
    spoil, error, text = WRONG[wrong]
    spoilt = [True]

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(spoil(answering(request)) if spoilt[0] else answering(request))

    async with rtu_gateway(answer, deadline_s=SILENCE_S if error is Timeout else DEADLINE_S / 100) as (_, link):
        with pytest.raises(error, match=text):
            await link.read(1, 100, 3)
        spoilt[0] = False
        assert await until_done(lambda: link.read(1, 200, 3), DeviceError) == [200, 201, 202]


async def test_a_late_answer_is_not_taken_for_the_next() -> None:
    """Both have the same unit, function and length. It comes over the new connection, as from a gateway to a bus."""
    loop = asyncio.get_running_loop()
    gateway: RtuGateway
    asked_s: list[float] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[3] == 100:  # it comes 1.5 deadlines later than it should, over whatever connection there is
            loop.call_at(asked_s[-1] + 2.5 * SILENCE_S, lambda: gateway.late[-1].write(answering(request)))
        else:
            await answered(request, writer)

    async with rtu_gateway(answer, deadline_s=SILENCE_S) as (gateway, link):
        for _ in range(2):
            asked_s.append(loop.time())
            with pytest.raises(Timeout):
                await link.read(1, 100, 2)
            assert await until_done(lambda: link.read(2, 200, 2), DeviceError) == [200, 201]  # it need not wait
            assert await until_done(lambda: link.read(1, 200, 2), DeviceError) == [200, 201]
    next_s = next(at_s for at_s, request in gateway.asked if request[0] == 1 and request[3] == 200)
    assert next_s - asked_s[0] >= 3 * SILENCE_S


async def test_what_lies_in_the_buffer_is_not_the_answer_to_what_is_sent_now() -> None:
    """It came before, but the process had no time to read it."""
    async with rtu_gateway(answered) as (gateway, link):
        assert await link.read(1, 100, 2) == [100, 101]
        await asyncio.sleep(0.01)  # longer than the silence between two frames
        gateway.late[-1].write(answering(bytes.fromhex("01 03 0064 0002 0000")))
        assert await link.read(1, 200, 2) == [200, 201]  # no step of the event loop lies between
        assert link.connection == 1


async def test_bytes_between_requests_are_thrown_away() -> None:
    """Noise on the bus, or the answer to another master: the connection stays."""
    async with rtu_gateway(answered) as (gateway, link):
        assert await link.read(1, 100, 2) == [100, 101]
        gateway.late[-1].write(b"\x00\xff" + answering(bytes.fromhex("01 03 0064 0002 0000")))
        await gateway.late[-1].drain()
        await asyncio.sleep(0.02)
        assert await until_done(lambda: link.read(1, 200, 2), DeviceError) == [200, 201]


@pytest.mark.parametrize("function", [None, 6, 16])
async def test_unit_0_is_never_written(function: int | None) -> None:
    async with rtu_gateway(answered) as (gateway, link):
        with pytest.raises(DeviceError, match="unit 0 on a serial line is every device at once; give the unit"):
            await link.write(0, 100, [1], function=function)
        assert gateway.asked == []


# ── what a device asks for in the site file ─────────────────────────────────────────────────────────────────────────


async def test_requests_keep_their_distance() -> None:
    async with rtu_gateway(answered, spacing_s=0.05) as (gateway, link):
        for _ in range(4):
            await link.read(1, 100, 1)
    times = [at_s for at_s, _ in gateway.asked]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05


async def test_a_long_read_is_split_a_write_is_not() -> None:
    async with rtu_gateway(answered, max_registers=10) as (gateway, link):
        assert await link.read(1, 100, 25) == list(range(100, 125))
        assert [request[5] for _, request in gateway.asked] == [10, 10, 5]
        with pytest.raises(ValueError, match=r"1\.\.125"):
            await link.read(1, 0, 126)
    async with (
        serving(ModbusTcpServer(device(), address=("127.0.0.1", 0))) as port,
        linked(f"tcp://127.0.0.1:{port}", max_registers=1) as link,
    ):
        await link.write(1, 100, [1, 2, 3])
        assert (await link.read(1, 100, 3), link.traffic.answers) == ([1, 2, 3], 4)


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Certificates:
    """An authority, a device at 127.0.0.1, a client; and a second authority, with a device of the same address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for authority, names in (("ca", ("device", "client", "elsewhere")), ("other-ca", ("stranger",))):
            key, issued = self._issue(authority, None, None)
            for name in names:
                self._issue(name, key, issued, "10.1.2.3" if name == "elsewhere" else "127.0.0.1")

    def path(self, name: str) -> Path:
        return self.directory / name

    def server(self, name: str, client_ca: str = "ca") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.path(f"{client_ca}.pem"))
        context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return context

    def client(self, ca: str = "ca", name: str = "client") -> ssl.SSLContext:
        return client_context(self.path(f"{ca}.pem"), self.path(f"{name}.pem"), self.path(f"{name}.key"))

    def _issue(
        self, name: str, signer: ec.EllipticCurvePrivateKey | None, issuer: x509.Certificate | None, ip: str = ""
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        authority_key = (signer or key).public_key()
        builder = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
        )
        if ip:
            at = x509.IPAddress(ipaddress.ip_address(ip))
            builder = builder.add_extension(x509.SubjectAlternativeName([at]), critical=False)
        issued = builder.sign(signer or key, hashes.SHA256())
        self.path(f"{name}.pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
        secret = self.path(f"{name}.key")
        secret.touch(mode=0o600)
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return key, issued


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


def tls_server(context: ssl.SSLContext) -> ModbusTlsServer:
    return ModbusTlsServer(device(), address=("127.0.0.1", 0), sslctx=context)


async def test_tls_with_a_certificate_on_both_sides(certificates: Certificates) -> None:
    async with (
        serving(tls_server(certificates.server("device"))) as port,
        linked(f"tls://127.0.0.1:{port}", certificates.client()) as link,
    ):
        await reads_and_writes(link)


@pytest.mark.parametrize(
    ("device_is", "why"), [("stranger", "unable to get local issuer certificate"), ("elsewhere", "IP address mismatch")]
)
async def test_a_device_that_cannot_prove_who_it_is(certificates: Certificates, device_is: str, why: str) -> None:
    async with (
        serving(tls_server(certificates.server(device_is))) as port,
        linked(f"tls://127.0.0.1:{port}", certificates.client()) as link,
    ):
        with pytest.raises(ConnectionLost, match=f"cannot connect: .*{why}"):
            await link.read(1, 100, 1)


async def test_a_device_that_does_not_know_us(certificates: Certificates) -> None:
    async with (
        serving(tls_server(certificates.server("device", client_ca="other-ca"))) as port,
        linked(f"tls://127.0.0.1:{port}", certificates.client()) as link,
    ):
        with pytest.raises(ConnectionLost, match=r"alert|cannot connect|closed by the device"):
            await link.read(1, 100, 1)
        assert link.traffic.answers == 0


async def test_a_device_without_tls(certificates: Certificates) -> None:
    async with (
        serving(ModbusTcpServer(device(), address=("127.0.0.1", 0))) as port,
        linked(f"tls://127.0.0.1:{port}", certificates.client(), deadline_s=1.0) as link,
    ):
        with pytest.raises(ConnectionLost, match=r"cannot connect|still connecting"):
            await link.read(1, 100, 1)


async def test_no_certificates_no_connection() -> None:
    async with linked("tls://127.0.0.1:1") as link:
        with pytest.raises(ConnectionLost, match=r"cannot connect: the site file has no \[tls\] section"):
            await link.read(1, 100, 1)


def test_files_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    ca, cert, key = (certificates.path(name) for name in ("ca.pem", "client.pem", "client.key"))
    readable = tmp_path / "readable.key"
    readable.write_bytes(key.read_bytes())
    readable.chmod(0o644)
    encrypted = tmp_path / "encrypted.key"
    encrypted.touch(mode=0o600)
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    for files, said in (
        ((tmp_path / "none.pem", cert, key), "tls.ca = .*none.pem: No such file"),
        ((key, cert, key), "tls.ca = .*: expected certificates in PEM format"),
        ((ca, cert, readable), r"every user can read it \(mode 0644\), so it is not used: chmod o= "),
        ((ca, cert, certificates.path("device.key")), "tls.cert = .*key values mismatch"),
        ((ca, cert, encrypted), "tls.key = .*: expected a certificate and its private key, not encrypted"),
    ):
        with pytest.raises(TlsError, match=said):
            client_context(*files)
