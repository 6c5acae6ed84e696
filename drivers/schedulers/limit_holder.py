"""Keeps power back from frames by a limit of a render manager, which the command of the site file shows and sets.

    COMMAND show      prints {"format": "skerry-limit/1", "limit": 12, "used": 9, "found": 40, "changed": false}
    COMMAND set N     lets at most N run, and notes that Skerry is alive; called with every look, also with the same N
    COMMAND restore   puts back what was found before the first `set`, unless another has changed the limit

`found`: what the limit was before Skerry changed it; null: it has not. `changed`: by another, since the last `set`.
What was found is kept by the command, beside the manager, so that a gateway that was killed leaves nothing behind that
cannot be put back (deploy/adapters/manager_limit.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.planning.start_allowance import Licences
from dispatch.wording.formatting import one_line
from drivers.schedulers.command import Command, said
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.start_holder import Seen

SHOWN = 60
EXPECTED = '{"format": "skerry-limit/1", "limit": 12, "used": 9, "found": null, "changed": false}'
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class LimitShown(msgspec.Struct, frozen=True, kw_only=True):
    """What `show` prints."""

    format: Literal["skerry-limit/1"]
    limit: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]  # below 0: none, as some managers have it
    used: Count
    found: Count | None = None
    changed: bool = False


def limit_in(text: str) -> LimitShown:
    """What `show` has printed. Raises QueueNotRead."""
    try:
        return msgspec.json.decode(text.encode(), type=LimitShown)
    except (msgspec.DecodeError, RecursionError) as error:
        found = one_line(text[:SHOWN])
        raise QueueNotRead(f"the limit command prints {found!r}: expected {EXPECTED}; {error}") from None


class LimitHolder:
    """One limit."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.unit_w = scheduler.limit_unit_w
        self._command = Command(scheduler.limit, {}, scheduler.deadline_s)
        self._holds: bool | None = None  # something of ours is set, which `restore` would put back; None: not known

    async def look(self) -> Seen:
        """The limit, and how many run under it. Raises QueueNotRead."""
        shown = limit_in(await self._said("show"))
        self._holds = shown.found is not None and not shown.changed
        total = shown.limit if shown.found is None else shown.found
        if total <= 0 and not shown.changed:
            raise QueueNotRead(f"the limit is {total}: give it the number that may run without Skerry")
        kept = None if shown.found is None else max(0, total - max(0, shown.limit))
        changed = f"the limit was changed by another to {shown.limit}; it stays" if shown.changed else ""
        return Seen(Licences(max(0, total), shown.used, 0), kept, changed, stays=shown.changed)

    async def keep(self, count: int, seen: Seen) -> None:
        """Set the limit, or put back what was found. Raises QueueNotRead."""
        if count:
            self._holds = True
            await self._said("set", str(seen.licences.total - count))
        elif seen.kept is not None:
            await self.end()

    async def end(self) -> None:
        """Put back what was found, perhaps by a gateway before this one. Raises QueueNotRead.

        Not where another has changed the limit: the command remembers that until somebody calls `restore` by hand.
        """
        if self._holds is not False:
            await self._said("restore")
            self._holds = False

    def lapses(self, kept: int) -> str:
        """What becomes of the limit if it is not set again."""
        if self._holds is None:
            return "whether the limit is lowered is not known"
        return "the limit stays until its timer puts it back" if self._holds else "nothing is kept back from jobs"

    async def _said(self, *arguments: str) -> str:
        return await said(self._command, arguments, f"the limit command with {arguments[0]}")
