"""What is told of prices, for tests."""

from __future__ import annotations


class Heard:
    """Events, each "severity text"."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        assert (kind, subject) == ("gateway", "tariff")
        self.lines.append(f"{severity} {text}")

    def note(self, event: object, durable: bool = False) -> None:
        raise AssertionError("not used")
