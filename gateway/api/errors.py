"""What can go wrong on the link, each with one line a person can act on. Light: a command line imports it first."""

from __future__ import annotations


class CommandRefused(Exception):
    """Raised by the gateway's handler: the request is understood and will not be done; the text says why."""


class LinkLost(Exception):
    """There is no conversation with the gateway (any more): nobody listens, it went away, or it may not be reached."""


class NoAccess(LinkLost):
    """What is asked for is there, but this user may not reach it."""


class LinkRefused(LinkLost):
    """The gateway answered the hello with a refusal, e.g. another version of the link."""


class RequestFailed(Exception):
    """The gateway answered a request with an error line.

    `code`: refused (it will not), failed (it could not), timeout (no answer in time).
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


class UnsafeDirectory(Exception):
    """The directory for sockets belongs to somebody else or is open to others."""
