"""Why a queue could not be read."""

from __future__ import annotations


class QueueNotRead(Exception):
    """The queue cannot be used; the text says what was found, what was expected and what to do."""
