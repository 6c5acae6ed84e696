"""Defines what `skerry doctor` finds."""

from __future__ import annotations

import enum

import msgspec


class Level(enum.Enum):
    """OK: checked and right. NOTE: to be known. WARNING: to be looked at. FAULT: to be mended before operation."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked. `code` is for programs; `advice` says what to do, empty where there is nothing."""

    level: Level
    subject: str  # a device, or: site clock files gateway
    code: str
    text: str
    advice: str = ""


def ok(subject: str, code: str, text: str) -> Finding:
    """Checked and right."""
    return Finding(Level.OK, subject, code, text)


def note(subject: str, code: str, text: str, advice: str = "") -> Finding:
    """To be known."""
    return Finding(Level.NOTE, subject, code, text, advice)


def warning(subject: str, code: str, text: str, advice: str) -> Finding:
    """To be looked at."""
    return Finding(Level.WARNING, subject, code, text, advice)


def fault(subject: str, code: str, text: str, advice: str = "") -> Finding:
    """To be mended before operation."""
    return Finding(Level.FAULT, subject, code, text, advice)
