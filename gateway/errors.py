"""Errors with which a gateway refuses to start."""

from __future__ import annotations


class StartRefused(Exception):
    """The gateway cannot start; the line says what to do."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code
