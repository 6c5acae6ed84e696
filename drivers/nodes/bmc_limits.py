"""Caps a node by the power limit of its BMC, and gives the BMC its own limit back.

What the limit was is kept before it is changed, with what Skerry has set since. One that a reset of the BMC has put
back is set again; one that another program has set since is left as it is, and told. The limit is that of the whole
node: nothing is taken off it for the host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from dispatch.model.decoding import decoded
from drivers.nodes.errors import CannotObey
from drivers.nodes.saved_record import SavedRecord
from drivers.redfish.documents import MOST_W, TEXT_MOST
from drivers.redfish.limits import NEAR_W, OFF, PowerLimit

SET_KEPT = 16  # limits that caps have set, of each node
LEAST_W = 1.0  # some BMCs take a limit of 0 for none
WRITES, WRITE_S = 60, 360.0  # of caps at once, and for how long each counts: ten an hour, as flash wears out
ANOTHER = "which another program has set since the cap; it is left so"
OTHERS = "look for what else sets it: the BMC's own pages, another power manager"
REFUSED = "set LimitException to LogEventOnly or NoAction in its BMC, or cap it by on_cap"
WORN = f"no cap: {WRITES} were set lately, and BMCs keep them in memory that wears out; one every {WRITE_S / 60:g} min"
CALM = "look why it is capped so often, and whether another program puts its limit back"
NOT_KEPT = "the limit from before the cap and that of the cap cannot be put on disk"
Watts = Annotated[float, Meta(gt=0, le=MOST_W)]


class BeforeCap(msgspec.Struct, frozen=True):
    """A node's limit from before a cap that may be in force, W, its ControlMode, the limits set since, and whose."""

    own_w: Watts | None
    mode: Annotated[str, Meta(max_length=TEXT_MOST)]
    set_w: tuple[Watts, ...] = ()
    serial: Annotated[str, Meta(max_length=TEXT_MOST)] = ""  # of the machine; empty: it has none


class KeptLimits:
    """What is to be given back, by node, in memory and on disk."""

    def __init__(self, kept: bytes | None = None, save: Callable[[bytes], None] | None = None) -> None:
        """`kept`: what `save` was last given; None: nothing. `save` is to return once it is on disk, or raise OSError.

        Without `save` it lasts as long as the object.
        """
        self.damage = ""
        self._nodes: dict[str, BeforeCap] = {}
        if kept is not None:
            try:
                self._nodes = decoded(msgspec.json.Decoder(dict[str, BeforeCap]).decode, kept)
            except msgspec.DecodeError as error:
                self.damage = str(error)
        self._saved = SavedRecord(dict(self._nodes), save)

    def of(self, node: str) -> BeforeCap | None:
        """What it had; None: no limit of ours can be in force."""
        return self._nodes.get(node)

    def own_limits(self) -> dict[str, str]:
        """In words what each node had whose BMC may hold a limit of ours."""
        return {node: _own(before) for node, before in self._nodes.items()}

    def not_kept(self, node: str) -> str:
        """Why what a cap in force needs is not on disk; empty: it is."""
        return self._saved.error if self._nodes.get(node) != self._saved.on_disk.get(node) else ""

    def keep(self, node: str, own: PowerLimit, set_w: float, insist: bool) -> str:
        """Remember before a limit is set; why it is not on disk, empty: it is.

        What is known already stays. Not on disk it is only remembered with `insist`.
        """
        before = self._nodes.get(node)
        kept = before or BeforeCap(own.set_w, own.mode, serial=own.serial)
        every = tuple(dict.fromkeys((*kept.set_w, set_w)))[-SET_KEPT:]
        self._nodes[node] = msgspec.structs.replace(kept, set_w=every)
        error = self._saved.save(dict(self._nodes))
        if error and not insist:
            self._nodes.pop(node)
            self._nodes |= {node: before} if before is not None else {}
        return error

    def forget(self, node: str) -> None:
        """It has a limit of its own again."""
        if self._nodes.pop(node, None) is not None:
            self._saved.save(dict(self._nodes))


class LimitOrders(Protocol):
    """Has the limit of a node looked at or set, as its BMC has it then. Raises DeviceError."""

    async def look(self, node: str) -> PowerLimit: ...

    async def set(self, node: str, w: float | None, mode: str) -> PowerLimit: ...


class BmcPower:
    """The power limit of one node."""

    def __init__(self, node: str, orders: LimitOrders, kept: KeptLimits) -> None:
        self._node, self._orders, self._kept, self._turn = node, orders, kept, asyncio.Lock()
        self._left_w: float | None = None  # what another program has set while ours was in force
        self._written, self._written_s = 0.0, 0.0  # caps that still count, and since when

    @property
    def capped(self) -> bool:
        """Whether it may still hold a cap, of this run or an earlier one."""
        return self._kept.of(self._node) is not None

    @property
    def not_kept(self) -> str:
        """Why the limit from before a cap in force is not on disk; empty: it is."""
        return self._kept.not_kept(self._node)

    @property
    def changed_by_others(self) -> str:
        """The limit that another program has set while ours was in force, and that was left so; empty: none."""
        return "" if self._left_w is None else f"its BMC {self._left_w:g} W"

    async def limit(self, watts: float | None, ride_through: bool = False) -> str:
        """Set it to `watts`, as near as the BMC allows; None gives it back what it had.

        What was done, empty where all was so already. Raises DeviceError. `ride_through`: cap even if what it was
        cannot be put on disk.
        """
        async with self._turn:  # at the end of a gateway a cap may be set while all are lifted
            if watts is None and not self.capped:
                return ""
            found = await self._orders.look(self._node)
            if watts is None:
                return await self._lift(found)
            if found.refused:
                await self._lift(found)
                raise CannotObey(self._node, f"not capped: {found.refused}", REFUSED)
            return await self._cap(found, watts, ride_through)

    async def _cap(self, found: PowerLimit, watts: float, ride_through: bool) -> str:
        before = self._before(found)
        target_w = self._target_w(found, before, watts)
        if before is not None and found.on and not self._ours(found, before) and not found.near(target_w):
            self._left_w = found.set_w
            raise CannotObey(self._node, f"its BMC is at {found.set_w:g} W, {ANOTHER}", OTHERS)
        self._left_w = None
        if found.near(target_w):
            return ""
        self._count_write(ride_through)
        why = self._kept.keep(self._node, found, target_w, insist=ride_through)
        if why and not ride_through:
            raise CannotObey(self._node, f"no cap: {NOT_KEPT}: {why}", "check space and mount of the state directory")
        now = await self._orders.set(self._node, target_w, "")
        if not now.near(target_w):
            what = f"its BMC holds {_held(now)}, {target_w:g} W were set"
            raise CannotObey(self._node, what, "look whether it needs a licence for limits, and what else sets them")
        least = f"; {watts:g} W were asked, below the least that it allows" if target_w > watts + NEAR_W else ""
        return f"its BMC {target_w:g} W{least}"

    def _count_write(self, insist: bool) -> None:
        """Of a cap. Raises CannotObey where there were too many lately, unless with `insist`."""
        now_s = asyncio.get_running_loop().time()
        self._written = max(0.0, self._written - (now_s - self._written_s) / WRITE_S)
        self._written_s = now_s
        if self._written > WRITES - 1 and not insist:
            raise CannotObey(self._node, WORN, CALM)
        self._written += 1

    @staticmethod
    def _target_w(found: PowerLimit, before: BeforeCap | None, watts: float) -> float:
        """The limit to set, whole watts; never one above that from before."""
        own_w = found.in_force_w if before is None else None if before.mode == OFF else before.own_w
        target_w = max(LEAST_W, float(round(found.allowed(min(watts, MOST_W)))))
        return target_w if own_w is None else min(target_w, own_w)

    @staticmethod
    def _ours(found: PowerLimit, before: BeforeCap) -> bool:
        """Whether the limit in force is one of ours, or one that a reset has put back."""
        return found.near(*before.set_w, before.own_w, found.default_w)

    def _before(self, found: PowerLimit) -> BeforeCap | None:
        """What it had; None also where another machine has come in its place, whose limit is none of ours."""
        before = self._kept.of(self._node)
        if before is None or not before.serial or not found.serial or before.serial == found.serial:
            return before
        self._kept.forget(self._node)
        return None

    async def _lift(self, found: PowerLimit) -> str:
        before = self._before(found)
        self._left_w = None
        if before is None:
            return ""
        if found.on and not self._ours(found, before):
            self._left_w = found.set_w
            self._kept.forget(self._node)
            return f"its BMC stays at {found.set_w:g} W, {ANOTHER}"
        own_on = before.own_w is not None and before.mode != OFF
        if found.on != own_on or (own_on and not found.near(before.own_w)):
            mode = before.mode or (OFF if found.mode and not own_on else "")
            found = await self._orders.set(self._node, before.own_w, mode)
            if not own_on and found.near(found.high_w):
                self._kept.forget(self._node)
                return f"its BMC {_held(found)}, the most that it allows: it does not take that there is no limit"
            if found.on != own_on or (own_on and not found.near(before.own_w)):
                what = f"its BMC holds {_held(found)}, {_own(before)} was to be given back"
                raise CannotObey(self._node, what, OTHERS)
        self._kept.forget(self._node)
        return f"its BMC {_own(before)} again"


def _held(limit: PowerLimit) -> str:
    return "no limit" if limit.in_force_w is None else f"{limit.in_force_w:g} W"


def _own(before: BeforeCap) -> str:
    return "no limit" if before.own_w is None or before.mode == OFF else f"{before.own_w:g} W"
