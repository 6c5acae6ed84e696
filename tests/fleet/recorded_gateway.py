"""A gateway that answers a fleet's requests of a record on disk, without a process."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from fleet_samples import site
from storage_samples import SOURCE, Site

from dispatch.model.events import Event
from gateway.api.protocol import VERSION, Welcome
from gateway.errors import LinkLost
from storage.audit_format import head_words
from storage.identity import Identity
from storage.reader import Archive

NODE = "gpu-anna.w"


def quarters(site: Site, count: int, values: dict[str, float] | None = None) -> None:
    """A minute of each of so many quarter hours."""
    for _ in range(count):
        site.run(60, values)
        site.now_s += 840


def record(directory: Path, count: int) -> Path:
    """A record of so many quarter hours, with an event."""
    made = Site(directory)
    made.file.write_event(Event(made.now_s, "gateway", "info", "", "anna's text"), 0, False)
    quarters(made, count, {NODE: 7.0, "pcs1.w": 5.0})
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    made.file.abandon()
    return directory


def own(directory: Path) -> list[tuple[int, bytes]]:
    """Sequence and hash of the site's own blocks."""
    with closing(sqlite3.connect(directory / "telemetry.db")) as con:
        rows = con.execute("SELECT seq, v FROM block ORDER BY seq").fetchall()
    return [(seq, hashlib.sha256(v).digest()) for seq, v in rows]


def copied(directory: Path, to: Path) -> Path:
    shutil.copytree(directory, to)
    return to


def change(directory: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(directory / "telemetry.db")) as con:
        con.execute(sql, values)
        con.commit()


def rewritten(directory: Path, seq: int, incarnation: UUID) -> None:
    """Make a block one that this incarnation wrote: the same sequence with another content."""
    with closing(sqlite3.connect(directory / "telemetry.db")) as con:
        (v,) = con.execute("SELECT v FROM block WHERE seq = ?", (seq,)).fetchone()
    data = bytearray(v)
    data[24:40] = incarnation.bytes
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    change(directory, "UPDATE block SET v = ? WHERE seq = ?", bytes(data), seq)


class FakeGateway:
    """Answers as `gateway.api.fleet_queries` does, of a record on disk."""

    def __init__(self, directory: Path, incarnation: UUID = SOURCE[1], name: str = "Fjord", page: int = 60_000) -> None:
        self.directory, self.page = directory, page
        self.rows = {seq: bytes([seq]) * 32 for seq in range(1, 6)}  # of the audit
        self.asked: list[str] = []
        self.breaks_after: int | None = None  # answers
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.held: list[int] = []
        self.identity = Identity(str(SOURCE[0]), str(incarnation), "", kept=True)
        self.welcome = Welcome(VERSION, name, "UTC", "root", 1, 0.0, 1.0, False, 5.0, identity=self.identity)

    async def request(self, method: str, **params: Any) -> Any:
        self.asked.append(method)
        if self.breaks_after is not None and len(self.asked) > self.breaks_after:
            raise LinkLost("the link broke")
        if method == "fleet.head":
            row = self.rows.get(params["seq"])
            return {"head": head_words(max(self.rows), self.rows[max(self.rows)]), "row": row.hex() if row else None}
        if method == "fleet.hold":
            self.held.append(params["seq"])
            return {"seq": params["seq"]}
        archive = Archive(self.directory)
        try:
            return msgspec.msgpack.decode(msgspec.msgpack.encode(self._page(archive, method, params)))
        finally:
            archive.close()

    def _page(self, archive: Archive, method: str, params: dict[str, Any]) -> Any:
        def wanted(signal: Any) -> bool:
            return bool(signal.name != NODE)

        if method == "fleet.quarters":
            after = params.get("after_t", params.get("after_seq"))
            return archive.outgoing_quarters(after, wanted, by_time="after_t" in params)
        page = archive.outgoing_blocks(params["after_seq"], wanted, self.page, params["offset"])
        blocks = tuple(msgspec.structs.replace(b, data=self.spoil(b.data)) for b in page.blocks)
        return msgspec.structs.replace(page, blocks=blocks)


class RecordedGateway(FakeGateway):
    """Also answers what an uplink asks besides."""

    async def request(self, method: str, **params: Any) -> Any:
        if method == "fleet.now":
            return msgspec.to_builtins(site(5, identity=self.identity))
        if method == "fleet.events":
            archive = Archive(self.directory)
            try:
                return msgspec.to_builtins(archive.outgoing_events(params["after_id"]))
            finally:
                archive.close()
        return await super().request(method, **params)

    def page_of(self, method: str, params: dict[str, Any]) -> Any:
        """An answer as it is sent."""
        archive = Archive(self.directory)
        try:
            return self._page(archive, method, params)
        finally:
            archive.close()
