"""Mails to an SMTP server on loopback: with TLS, with faults, and what is never sent."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_mail import FakeMail
from hypothesis import given, settings
from hypothesis import strategies as st
from test_http_client import certificate

from drivers.http.errors import NotTrusted
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout
from drivers.smtp import MailServer, Refused, dotted, reach, send

MAIL = b"Subject: x\r\n\r\n.hidden\r\nend\r\n"
TO = ("a@example.org", "b@example.org")


def at(server: FakeMail, **more: object) -> MailServer:
    return MailServer(**{"host": "127.0.0.1", "port": server.port, "security": "none", "deadline_s": 20.0} | more)  # type: ignore[arg-type]


async def test_a_mail_is_handed_over_with_its_points_doubled() -> None:
    async with FakeMail() as server:
        assert await send(at(server), "s@example.org", TO, MAIL) == ()
        assert server.mails == [(list(TO), "Subject: x\r\n\r\n..hidden\r\nend\r\n.\r\n")]
        assert server.commands[1] == "MAIL FROM:<s@example.org>"


@settings(max_examples=30)
@given(st.text("a.\r\n", max_size=30).map(str.encode))
def test_no_line_of_a_mail_ends_it(mail: bytes) -> None:
    lines = dotted(mail).split(b"\r\n")
    assert b"." not in lines
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    undone = [line.removeprefix(b".") for line in lines[:-1]]
    assert b"\n".join(undone) == mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")


async def test_some_recipients_may_be_refused_but_not_all() -> None:
    async with FakeMail() as server:
        server.answer = lambda line: b"550 5.1.1 no such user\r\n" if "b@" in line else server._reply(line)
        assert await send(at(server), "s@example.org", TO, MAIL) == ("b@example.org: 550 5.1.1 no such user",)
        assert [to for to, _ in server.mails] == [list(TO)]
        with pytest.raises(Refused, match="every recipient"):
            await send(at(server), "s@example.org", TO[1:], MAIL)


@pytest.mark.parametrize(
    ("answer", "error", "what"),
    [
        (lambda line: b"421 too busy\r\n", Refused, "421 too busy"),
        (lambda line: b"HTTP/1.1 400 Bad\r\n", BadReply, "no reply of SMTP"),
        (lambda line: b"250-" + b"x" * 5_000 + b"\r\n", BadReply, "more than 2048 bytes"),
        (lambda line: b"250-more\r\n" * 100, BadReply, "more than 64 lines"),
        (lambda line: None, Timeout, "did not finish within 0.2 s"),
    ],
)
async def test_a_server_that_misbehaves_is_given_up(
    answer: Callable[[str], bytes | None], error: type[DeviceError], what: str
) -> None:
    async with FakeMail() as server:
        server.answer = answer
        with pytest.raises(error, match=what):
            await send(at(server, deadline_s=0.2 if error is Timeout else 20.0), "s@example.org", TO, MAIL)
        assert server.mails == []


async def test_nobody_listens() -> None:
    async with FakeMail() as server:
        place = at(server)
    with pytest.raises(ConnectionLost):
        await reach(place)


async def test_a_password_goes_through_tls_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_SECRET_MAIL", "Pa55")
    cert, key, _ = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    with_password = {"security": "starttls", "ca": cert, "username": "u", "password": "mail"}
    async with FakeMail(context) as server:
        assert await send(at(server, **with_password), "s@example.org", TO, MAIL) == ()
        verbs = [command.partition(" ")[0] for command in server.commands]
        assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"][: len(verbs)]
        assert "AUTH PLAIN AHUAUGE1NQ==" in server.commands  # \0u\0Pa55
        with pytest.raises(NotTrusted):
            await reach(at(server, **with_password | {"ca": None}))
        server.answer = lambda line: f"535 no: {line} Pa55\r\n".encode() if "AUTH" in line else server._reply(line)
        with pytest.raises(Refused, match="answers 535 no: AUTH PLAIN") as error:
            await reach(at(server, **with_password))
        assert "AHUAUGE1NQ==" not in str(error.value)
        assert "Pa55" not in str(error.value)
        server.commands.clear()
        server.answer = lambda line: server._reply(line).replace(b"250-STARTTLS\r\n", b"")
        with pytest.raises(Refused, match="offers no STARTTLS"):
            await reach(at(server, **with_password))
        assert not [command for command in server.commands if command.startswith("AUTH")]


async def test_what_is_said_before_tls_does_not_count_in_it() -> None:
    """CVE-2011-0411 and its kin: an answer injected behind the reply to STARTTLS."""
    async with FakeMail() as server:
        server.answer = lambda line: server._reply(line) + (b"250 injected\r\n" if line == "STARTTLS" else b"")
        with pytest.raises(BadReply, match="between STARTTLS and TLS"):
            await reach(at(server, security="starttls"))


async def test_a_command_cannot_be_put_into_an_address() -> None:
    async with FakeMail() as server:
        with pytest.raises(Refused, match="no printable ASCII"):
            await send(at(server), "s@example.org>\r\nRCPT TO:<x@example.org", TO, MAIL)
        assert not [command for command in server.commands if command.startswith("MAIL")]
