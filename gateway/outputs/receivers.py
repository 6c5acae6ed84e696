"""Sends a message to one receiver of `[[notify]]`: a webhook, or recipients of mail."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from drivers.credentials import secret
from drivers.http.client import HttpClient
from drivers.http.page import Access, Request
from drivers.smtp import MailServer, reach, send
from gateway.daemon_thread import may_hang
from gateway.outputs.notice_text import SIGNATURE, Place, document, mail, signature
from gateway.outputs.outbox import Message
from gateway.site.output_sections import NotifyConfig

TAKEN = (200, 201, 202, 204)  # statuses by which a webhook takes a message


class Receiver(Protocol):
    """Whom messages go to."""

    @property
    def config(self) -> NotifyConfig:
        """Its section of the site file."""
        ...

    async def send(self, message: Message, *, test: bool = False) -> str:
        """Send it; what went wrong all the same, empty: nothing. Raises DeviceError: nobody has it."""
        ...

    async def try_out(self) -> None:
        """Whether it can be reached, as far as that can be told without a message. Raises DeviceError."""
        ...


class Webhook:
    """POST of JSON, signed where the site file names a secret."""

    def __init__(self, config: NotifyConfig, place: Place, directory: Path, client: HttpClient) -> None:
        """`directory`: that of the site file."""
        self.config, self._place, self._client = config, place, client
        ca = directory / config.ca if config.ca else None
        self._access = Access(ca=ca, fingerprint=config.fingerprint)

    @property
    def _where(self) -> str:
        """Without the url, which may be a secret."""
        return f"notify {self.config.id}"

    async def send(self, message: Message, *, test: bool = False) -> str:
        """Send it. Raises DeviceError."""
        body = msgspec.json.encode(document(message, self._place, test=test))
        url, headers = await may_hang(self._secrets, body)  # reads files
        await self._ask(Request(url, "POST", headers=headers, body=body, accepted=TAKEN, body_matters=False), url)
        return ""

    async def try_out(self) -> None:
        """Ask for nothing but an answer: any status will do."""
        url, _ = await may_hang(self._secrets, b"")
        any_status = tuple(range(200, 600))
        await self._ask(Request(url, "OPTIONS", accepted=any_status, body_matters=False), url)

    async def _ask(self, request: Request, url: str) -> None:
        """Raises DeviceError, whose text never has the url."""
        path = "".join(url.partition("://")[2].partition("/")[1:])
        asked = msgspec.structs.replace(request, secrets=(url, path if len(path) > 1 else ""))
        await self._client.send(self._where, asked, deadline_s=self.config.deadline_s, access=self._access)

    def _secrets(self, body: bytes) -> tuple[str, dict[str, str]]:
        """The url, and the headers. Raises NotTrusted."""
        config, where = self.config, self._where
        url = config.url or secret(where, "url_credential", config.url_credential)
        headers = {"Content-Type": "application/json"}
        if config.secret_credential:
            headers[SIGNATURE] = signature(body, secret(where, "secret_credential", config.secret_credential))
        if config.token_credential:
            headers["Authorization"] = "Bearer " + secret(where, "token_credential", config.token_credential)
        return url, headers


class Mail:
    """A mail to all recipients."""

    def __init__(self, config: NotifyConfig, place: Place, directory: Path) -> None:
        """`directory`: that of the site file."""
        self.config, self._place = config, place
        self._sender = config.sender or ""
        self._server = MailServer(
            host=config.host or "",
            port=config.port,
            security=config.security,
            ca=directory / config.ca if config.ca else None,
            username=config.username,
            password=config.password_credential,
            deadline_s=config.deadline_s,
        )

    async def send(self, message: Message, *, test: bool = False) -> str:
        """Send it; the recipients that were refused, where others were not. Raises DeviceError."""
        made = mail(message, self._place, self._sender, self.config.to, test=test)
        return "; ".join(await send(self._server, self._sender, self.config.to, made))

    async def try_out(self) -> None:
        """Log in and leave. Raises DeviceError."""
        await reach(self._server)


def receiver_of(config: NotifyConfig, place: Place, directory: Path, client: HttpClient | None) -> Receiver:
    """What a section names. `client`: where there is a webhook."""
    if config.kind == "mail":
        return Mail(config, place, directory)
    assert client is not None
    return Webhook(config, place, directory, client)
