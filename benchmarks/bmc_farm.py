"""Many BMCs on one port of 127.0.0.1 to 127.0.0.N, over TLS: `python -m benchmarks.bmc_farm N`; ends by stdin.

Prints its port and the fingerprint of its certificate. Each has a system, a chassis, sessions, and a Power resource of
some 10 kB, as servers with two power supplies have it. Connections are closed after each answer, as many BMCs do.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

V1 = "/redfish/v1"
PADDING = [{"MemberId": str(n), "Name": f"PSU {n}", "Oem": {"Sensors": ["x" * 40] * 50}} for n in range(4)]


def resource(path: str, host: str) -> dict[str, Any]:
    """What is at a path, without its slash at the end."""
    number = int(host.rpartition(".")[2])
    found: dict[str, dict[str, Any]] = {
        V1: {"Links": {"Sessions": {"@odata.id": f"{V1}/SessionService/Sessions"}}},
        f"{V1}/Systems": {"Members": [{"@odata.id": f"{V1}/Systems/1"}]},
        f"{V1}/Systems/1": {
            "UUID": f"4c4c4544-0031-3010-8051-{number:012x}",
            "SerialNumber": f"SN{number}",
            "PowerState": "On",
            "Links": {"Chassis": [{"@odata.id": f"{V1}/Chassis/1"}]},
        },
        f"{V1}/Chassis/1": {"SerialNumber": f"CH{number}", "Power": {"@odata.id": f"{V1}/Chassis/1/Power"}},
        f"{V1}/Chassis/1/Power": {"PowerControl": [{"PowerConsumedWatts": 400 + number}], "PowerSupplies": PADDING},
    }
    return found.get(path, {})


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one answer."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        host = writer.get_extra_info("sockname")[0]
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Connection: close"]
        if method == "POST":
            lines += ["X-Auth-Token: abc", f"Location: {V1}/SessionService/Sessions/1"]
        body = json.dumps(resource(path.rstrip("/"), host)).encode()
        lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass  # whoever asked has left
    finally:
        writer.close()


def _context(directory: Path) -> tuple[ssl.SSLContext, str]:
    """A certificate as BMCs make it for themselves: RSA, signed by nobody."""
    key, now = rsa.generate_private_key(65537, 2048), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    signed, file = made.sign(key, hashes.SHA256()), directory / "bmc.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, hashlib.sha256(signed.public_bytes(serialization.Encoding.DER)).hexdigest()


async def farm(count: int) -> None:
    """Serve until stdin ends."""
    with tempfile.TemporaryDirectory() as directory:
        context, fingerprint = _context(Path(directory))
    first = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = first.sockets[0].getsockname()[1]
    for n in range(2, count + 1):
        await asyncio.start_server(serve, f"127.0.0.{n}", port, ssl=context)
    print(port, fingerprint, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(farm(int(sys.argv[1])))
