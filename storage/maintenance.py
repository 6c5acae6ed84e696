"""Maintains the telemetry file in the writer's thread: packs, merges and deletes in small steps."""

from __future__ import annotations

import logging
import sqlite3
import time

from storage.config import StorageConfig
from storage.damage import advice, is_broken
from storage.file import TelemetryFile

TIDY_S = 60.0  # what may be over the disk cap is looked for this often
AGE_S = 1800.0  # what may be too old is looked for this often
STEPPED_S = 86_400.0  # after the clock stepped nothing is deleted by age for so long
RETRY_S = 60.0  # after a failure; writing goes on meanwhile

log = logging.getLogger("skerry.storage")


class Maintenance:
    """What is to be done for an open file, and when next."""

    def __init__(self, file: TelemetryFile, config: StorageConfig) -> None:
        self._file, self._config = file, config
        self._at, self._error = 0.0, ""
        self._tidy_at = self._age_at = time.monotonic() + TIDY_S

    def clock_stepped(self) -> None:
        """Delete nothing by age for a day: which clock was right, or what time it is, is not known."""
        self._age_at = max(self._age_at, time.monotonic() + STEPPED_S)

    def step(self, utc_s: float, recorded: set[str]) -> str:
        """Pack a quarter hour that is over, or delete some of what is not kept; a warning where that begins to fail.

        `utc_s`: of the newest tick; `recorded`: the signals recorded now. Raises sqlite3.Error and UnicodeDecodeError
        if the file is broken.
        """
        if time.monotonic() < self._at:
            return ""
        try:
            # what an older version left is packed before the cap may ask for space
            if not self._file.pack(utc_s):
                self._file.merge(utc_s)
                if time.monotonic() >= self._tidy_at:
                    self._tidy(utc_s, recorded)
            self._error = ""
        except Exception as error:  # a bug must not end the record of everything that follows
            if not isinstance(error, (sqlite3.Error, OSError)):
                log.exception("recorder: unexpected failure")
            self._at = time.monotonic() + RETRY_S
            if is_broken(error):
                raise
            return self._failed(error)
        return ""

    def _tidy(self, utc_s: float, recorded: set[str]) -> None:
        by_age = time.monotonic() >= self._age_at
        if by_age:
            self._age_at = time.monotonic() + AGE_S
        if not self._file.tidy(self._config, utc_s, by_age, recorded):
            self._tidy_at = time.monotonic() + TIDY_S

    def _failed(self, error: Exception) -> str:
        """The warning of a failure that was not there before."""
        begins, self._error = not self._error, str(error)
        text = f"records: cannot pack, merge or delete what is old in {self._file.path}: {error}; {advice(error)}"
        return text.rstrip("; ") if begins else ""
