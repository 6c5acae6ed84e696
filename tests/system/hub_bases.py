"""A database of a hub, and what a test looks at in it."""

from __future__ import annotations

from typing import Any

from benchmarks.hub_engines import Postgres


class Base:
    """A database of the hub's, and what a test looks at in it."""

    def __init__(self, postgres: Postgres, name: str, more: str = "") -> None:
        self.name = name
        self.url = postgres.create(name, more)

    def all(self, sql: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.url, options="-c search_path=skerry") as con:
            return con.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.url, options="-c search_path=skerry") as con:
            con.execute(sql)

    def kinds(self) -> list[str]:
        return [kind for (kind,) in self.all("SELECT kind FROM trouble WHERE kind != 'clock' ORDER BY id")]
