"""Puts a record on disk whenever it has changed, and keeps in mind what of it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

Record = TypeVar("Record")


class SavedRecord(Generic[Record]):
    """A record as it is on disk."""

    def __init__(self, on_disk: Record, save: Callable[[bytes], None] | None) -> None:
        """`save` is to return once the record is on disk, or raise OSError; None: nothing is put there."""
        self.on_disk, self._save = on_disk, save
        self.error = ""  # why it could not be put on disk the last time that failed

    def save(self, record: Record) -> str:
        """Put it on disk if it is another; why that could not be done, empty: it is there.

        The record must not be changed any more.
        """
        if record == self.on_disk:
            return ""
        try:
            if self._save is not None:
                self._save(msgspec.json.encode(record))
        except OSError as error:
            self.error = f"{error.filename or 'its file'}: {error.strerror}"
            return self.error
        self.on_disk = record
        return ""
