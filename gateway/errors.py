"""Errors of the gateway and of the link to it, each with one line a person can act on.

Imports nothing but the type of a reason, because every short command needs it.
"""

from __future__ import annotations

from dispatch.model.reasons import Reason


class StartRefused(Exception):
    """The gateway cannot start; the line says what to do."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


class CommandRefused(Exception):
    """A request handler raises it: the request is understood and will not be done; the text says why.

    `reason`: the same as data, where it is what rules or state machine say.
    """

    def __init__(self, line: str, reason: Reason | None = None) -> None:
        super().__init__(line)
        self.reason = reason


class LinkLost(Exception):
    """There is no connection to the gateway: nobody listens, it was closed, or this user may not reach it."""


class NoAccess(LinkLost):
    """A file or socket is there, but this user may not open it."""


class LinkRefused(LinkLost):
    """The gateway answered the hello with a refusal, e.g. another version of the link."""


class RequestFailed(Exception):
    """The gateway answered a request with an error line.

    `code`: refused (it will not), failed (it could not), busy (this user asks too much), timeout (no answer in time).
    """

    def __init__(self, line: str, code: str = "failed") -> None:
        self.code = code
        super().__init__(line)


class NoGateway(Exception):
    """No running gateway could be found."""


class SeveralGateways(NoGateway):
    """More than one gateway runs and none was named."""


class NoSuchSite(NoGateway):
    """The site named does not exist on this machine."""


class SocketInUse(Exception):
    """Another gateway already listens on the socket."""
