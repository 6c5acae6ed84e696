"""Why a connection failed, in words."""

from __future__ import annotations

import asyncio
import socket

import pytest

from drivers.connect_errors import system_reason


async def test_a_refused_connection_is_told_without_its_address() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with pytest.raises(ConnectionRefusedError) as failed:
            await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
    assert "127.0.0.1" in str(failed.value)
    assert system_reason(failed.value) == "Connection refused"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(2, "No such file or directory"), "No such file or directory"),
        (OSError("the port does not take 9600 baud"), "the port does not take 9600 baud"),
        (OverflowError("port must be 0-65535."), "port must be 0-65535."),
    ],
)
def test_other_errors_keep_their_words(error: Exception, words: str) -> None:
    assert system_reason(error) == words
