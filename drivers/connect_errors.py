"""Says why a connection failed, in the words of the operating system."""

from __future__ import annotations

import os


def system_reason(error: BaseException) -> str:
    """The words of the system for a failed connection, such as "Connection refused".

    asyncio names the address instead ("Connect call failed"), which the message of the caller has already.
    """
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        if error.errno and text.startswith("Connect call failed"):
            return os.strerror(error.errno)
        return text
    return str(error)
