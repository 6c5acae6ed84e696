"""Hands one mail to an SMTP server: asyncio streams, a deadline, bounded replies.

By RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4954 and RFC 4616 (AUTH PLAIN), RFC 8314 (TLS from the start, port 465). A
password is sent only where TLS protects it. smtplib is not used: it blocks. Nor is anything pipelined.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from drivers.connect_errors import system_reason
from drivers.credentials import CredentialName, secret
from drivers.http.errors import NotTrusted
from drivers.http.secret_file import hidden
from drivers.http.trust import tls_context
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout

MOST_LINE_BYTES = 2_048  # RFC 5321, 4.5.3.1.5: 512 with the end of line
MOST_LINES = 64  # of one reply
ADVICE = "check host, port and security, and the server's log"
_REPLY = re.compile(rb"([2-5][0-9]{2})([ -]?)([^\r\n]*)\r?\n")


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is reached. `password`: name of a credential; `ca`: None: the system's authorities."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: Path | None = None
    username: str = ""
    password: CredentialName = ""
    deadline_s: float = 15.0  # for all of it

    @property
    def where(self) -> str:
        """For errors."""
        return f"mail server {self.host}:{self.port}"


class Refused(DeviceError):
    """The server answers that it will not: a sender, a recipient, the mail, the password."""

    advice = "check sender and recipients, user and password, and what the server lets this machine send"


class Reply(msgspec.Struct, frozen=True):
    """A whole reply: its code, and the texts of its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """In one short line."""
        return " ".join(" ".join(self.lines).split())[:200]

    def offers(self, extension: str) -> str | None:
        """What an EHLO reply says behind an extension, in capitals; None: it does not have it."""
        for line in self.lines[1:]:
            name, _, rest = line.upper().partition(" ")
            if name == extension:
                return rest
        return None


class Session:
    """A connection on which commands go one after the other. Every call raises DeviceError, or OSError."""

    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._where, self._host = server.where, server.host
        self._reader, self._writer = reader, writer

    async def greet(self, security: ssl.SSLContext | None, name: str, *, starttls: bool) -> Reply:
        """Greeting and EHLO, with STARTTLS between if asked for; what the server says of itself then."""
        self._expect(await self._reply(), 220)
        said = self._expect(await self.ask(f"EHLO {name}"), 250)
        if not starttls or security is None:
            return said
        if said.offers("STARTTLS") is None:
            raise Refused(self._where, "offers no STARTTLS", 'set security = "tls" and its port, mostly 465')
        self._expect(await self.ask("STARTTLS"), 220)
        await self._nothing_behind()
        await self._writer.start_tls(security, server_hostname=self._host)
        return self._expect(await self.ask(f"EHLO {name}"), 250)

    async def log_in(self, said: Reply, username: str, password: str) -> None:
        """AUTH PLAIN."""
        if "PLAIN" not in (said.offers("AUTH") or "").split():
            raise Refused(self._where, "offers no AUTH PLAIN", "leave out username, or ask whoever runs it")
        token = str(base64.b64encode(f"\0{username}\0{password}".encode()), "ascii")
        reply = await self.ask(f"AUTH PLAIN {token}", told="AUTH PLAIN")
        self._expect(Reply(reply.code, tuple(hidden(line, token, password) for line in reply.lines)), 235)

    async def hand_over(self, sender: str, recipients: Sequence[str], mail: bytes) -> tuple[str, ...]:
        """The mail itself; what is said of recipients that are refused, where others are not."""
        self._expect(await self.ask(f"MAIL FROM:<{sender}>"), 250)
        refused = list[str]()
        for recipient in recipients:
            reply = await self.ask(f"RCPT TO:<{recipient}>")
            if reply.code not in (250, 251, 252):
                refused.append(f"{recipient}: {reply.code} {reply.text}")
        if len(refused) == len(recipients):
            raise Refused(self._where, f"refuses every recipient: {'; '.join(refused)}")
        self._expect(await self.ask("DATA"), 354)
        self._writer.write(dotted(mail) + b".\r\n")
        await self._writer.drain()
        self._expect(await self._reply(), 250)
        return tuple(refused)

    async def quit(self) -> None:
        """QUIT; the answer does not matter any more."""
        self._writer.write(b"QUIT\r\n")
        await self._writer.drain()

    async def ask(self, command: str, told: str = "") -> Reply:
        """One command and its reply. `told`: what is said of it in an error, where it holds a secret."""
        if not command.isascii() or not command.isprintable():
            raise Refused(self._where, f"cannot be sent {(told or command)[:60]!r}: no printable ASCII")
        self._writer.write(f"{command}\r\n".encode())
        await self._writer.drain()
        return await self._reply()

    def _expect(self, reply: Reply, code: int) -> Reply:
        if reply.code == code:
            return reply
        raise Refused(self._where, f"answers {reply.code} {reply.text}, expected {code}")

    async def _reply(self) -> Reply:
        lines = list[str]()
        while len(lines) < MOST_LINES:
            try:
                line = await self._reader.readline()
            except ValueError:
                raise BadReply(self._where, f"a line of more than {MOST_LINE_BYTES} bytes", ADVICE) from None
            if not line.endswith(b"\n"):
                raise ConnectionLost(self._where, "closed by the server", ADVICE)
            found = _REPLY.fullmatch(line)
            if found is None:
                raise BadReply(self._where, f"no reply of SMTP: {line[:60]!r}", ADVICE)
            text = found[3].decode(errors="replace")
            lines.append("".join(c if c.isprintable() else " " for c in text))
            if found[2] != b"-":
                return Reply(int(found[1]), tuple(lines))
        raise BadReply(self._where, f"a reply of more than {MOST_LINES} lines", ADVICE)

    async def _nothing_behind(self) -> None:
        """Bytes behind the reply to STARTTLS come from whoever is between; they must not count as said within TLS."""
        try:
            async with asyncio.timeout(0):
                found = await self._reader.read(1)
        except TimeoutError:
            return
        raise BadReply(self._where, f"sends {found!r} between STARTTLS and TLS", "somebody may be between; look who")


def dotted(mail: bytes) -> bytes:
    """A mail as it goes over the line: CRLF, a second point before a line that begins with one. RFC 5321, 4.5.2."""
    lines = mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)


async def send(server: MailServer, sender: str, recipients: Sequence[str], mail: bytes) -> tuple[str, ...]:
    """Hand a mail over; what the server says of recipients that it refuses, where it takes others.

    Raises Refused: it takes none of them, or not the mail; ConnectionLost, Timeout, BadReply, NotTrusted.
    """
    return await _in_session(server, lambda session: session.hand_over(sender, recipients, mail))


async def reach(server: MailServer) -> None:
    """Connect, with TLS and password as for a mail, and leave. Raises as `send` does."""
    await _in_session(server, _nothing)


async def _nothing(_session: Session) -> tuple[str, ...]:
    return ()


async def _in_session(server: MailServer, work: Callable[[Session], Awaitable[tuple[str, ...]]]) -> tuple[str, ...]:
    where = server.where
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(server.deadline_s):
            password, tls = await asyncio.to_thread(_trust, server)  # reads files
            reader, writer = await asyncio.open_connection(
                server.host, server.port, ssl=tls if server.security == "tls" else None, limit=MOST_LINE_BYTES
            )
            session = Session(server, reader, writer)
            said = await session.greet(tls, socket.gethostname(), starttls=server.security == "starttls")
            if server.username:
                await session.log_in(said, server.username, password)
            found = await work(session)
            await session.quit()
            return found
    except TimeoutError:
        raise Timeout(where, f"did not finish within {server.deadline_s:g} s", ADVICE) from None
    except ssl.SSLCertVerificationError as error:
        raise NotTrusted(where, error.verify_message) from None
    except (OSError, UnicodeError) as error:
        raise ConnectionLost(where, system_reason(error) or type(error).__name__, ADVICE) from None
    finally:
        if writer is not None:
            writer.transport.abort()


def _trust(server: MailServer) -> tuple[str, ssl.SSLContext | None]:
    """Password, and what the server's certificate is verified by. Raises NotTrusted."""
    password = secret(server.where, "password_credential", server.password) if server.username else ""
    return password, None if server.security == "none" else tls_context(server.where, server.ca)
