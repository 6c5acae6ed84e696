"""Defines the errors of a page that was fetched and cannot be used."""

from __future__ import annotations

from drivers.modbus.errors import DeviceError


class HttpError(DeviceError):
    """The server answers, but not with the page that was asked for. It was not used."""

    advice = "open the address with curl from this machine"

    def __init__(
        self, where: str, what: str, advice: str = "", status: int = 0, body: bytes = b"", retry_after_s: float = 0.0
    ) -> None:
        """`status`: of the answer; 0: it was another fault than that. `body`: the beginning of its content, if JSON.

        `retry_after_s`: how long the server wants to be left alone (RFC 9110, 10.2.3).
        """
        self.status, self.body, self.retry_after_s = status, body, retry_after_s
        super().__init__(where, what, advice)


class NotTrusted(DeviceError):
    """The server's certificate is not the one expected, or the file that it is verified by cannot be read."""

    advice = "check ca or fingerprint in the site file, and the server's certificate"
