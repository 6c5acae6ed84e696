"""Caps this machine's GPUs by their power limit, and gives each back the limit that it had.

Each GPU is on its own: one that does not answer keeps no other from being set, is named, and is set once it is back.
NVML: a limit is set by root and lasts until the driver is unloaded, which persistence mode prevents. One that a reset
has put back to the board's own is set again; one that another program has set since is left as it is, and told.
All GPUs get the same limit: a job over several of them is as fast as its slowest. Where all are on modules of GPU and
CPU (`nvml_modules.py`) the limit is that of the module, and nothing is left to the host beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_readings import BOARD_MOST_W
from drivers.nodes.known_gpus import KnownGpus, SeenGpu
from drivers.nodes.nvml_calls import (
    BoundedCalls,
    Impossible,
    NotHeld,
    NotOurs,
    NotThere,
    NvmlTrouble,
    advice,
    advices,
    asked,
    key_of,
    label,
    uuid_in,
    uuid_of,
)
from drivers.nodes.nvml_modules import ModuleLimits, gpus_a_module, module_limits, set_module_limit

ANOTHER = "another program has set since the cap; it is left so"
NOT_PERSISTENT = "persistence mode is off, so the limit would be lost with the next unloading of the driver"
PERSISTENCE = "switch it on: run nvidia-persistenced, or `nvidia-smi -pm 1` at each start of the machine"
NEAR_MW = 1_000  # a board may round what it is set to
NOT_KEPT = "power limits from before the cap and of it cannot be put on disk"


class Board(msgspec.Struct, frozen=True):
    """A GPU as far as its power limit is concerned, mW. `low_mw`, `high_mw`: what may be set; None: it does not say."""

    key: str
    label: str
    name: str
    index: int
    handle: Any
    limit_mw: int
    default_mw: int | None
    low_mw: int | None
    high_mw: int | None
    persistent: bool = True  # persistence mode is on, or the driver has none
    module: ModuleLimits | None = None  # that it is on
    of_module: bool = False  # its limits here are those of the module

    def near(self, *limits_mw: int | None) -> bool:
        """Whether its limit is one of these, as boards round."""
        return any(mw is not None and abs(self.limit_mw - mw) <= NEAR_MW for mw in limits_mw)

    def allowed(self, mw: int) -> int:
        """The limit nearest to `mw` that the board takes."""
        raised = mw if self.low_mw is None else max(mw, self.low_mw)
        return raised if self.high_mw is None else min(raised, self.high_mw)


class NvmlPower:
    """Power limits of every GPU of this machine.

    `nvml`: the module `pynvml`, given so that nothing loads it needlessly. `gpus` and `declared_w`: number of GPUs and
    their power limit by the site file; 0 and None: not said. `known` keeps the limits; without it they are kept as
    long as this object.
    """

    def __init__(
        self,
        node: str,
        nvml: Any,
        known: KnownGpus | None = None,
        *,
        gpus: int = 0,
        declared_w: float | None = None,
        calls: BoundedCalls | None = None,
    ) -> None:
        self._node, self._nvml, self._gpus = node, nvml, gpus
        self._known = KnownGpus() if known is None else known
        self._declared_mw = None if declared_w is None else round(1000 * declared_w)
        self._calls, self._lock = calls or BoundedCalls(), threading.Lock()
        self._left_capped = False  # `suspect` was called, and no lift has freed every GPU since
        self._left: dict[str, int] = {}  # limits that another program has set while ours were in force, mW

    @property
    def capped(self) -> bool:
        """Whether a GPU may still hold a cap, of this run or an earlier one."""
        return self._known.capped

    @property
    def not_kept(self) -> str:
        """Why the limits from before a cap in force are not on disk; empty: they are."""
        return self._known.not_kept

    @property
    def changed_by_others(self) -> str:
        """The limits that another program has set while ours were in force, and that were left so; empty: none."""
        return ", ".join(f"{name} {mw / 1000:g} W" for name, mw in self._left.items())

    def suspect(self) -> None:
        """An earlier run may have left a cap, whether the record tells of it or not."""
        self._left_capped = True

    def limit(self, watts: float | None, ride_through: bool = False, whole_w: float | None = None) -> str:
        """Share `watts` evenly, within what each GPU allows; None gives each back what it had.

        `whole_w`: the same with what is left to the host, which modules share; None: as much as `watts`. Returns what
        was set, empty where all was so already. Raises CannotObey, after all was done that could be. `ride_through`:
        cap even if the limits from before cannot be put on disk.
        """
        with self._lock:  # at the end of a gateway a cap may be written while all are lifted
            return self._limit(watts, ride_through, watts if whole_w is None else whole_w)

    def _limit(self, watts: float | None, ride_through: bool, whole_w: float | None) -> str:
        try:
            self._calls.run("start", self._nvml.nvmlInit)
        except (NvmlTrouble, self._nvml.NVMLError) as error:
            raise CannotObey(self._node, f"NVML: {error}", advice(error)) from None
        try:
            boards, failed = self._look()
            modules = [b.module for b in boards if b.module is not None and b.of_module]
            if watts is None or whole_w is None:
                done = self._lift(boards, failed)
            elif modules:
                done = self._cap(boards, failed, whole_w * gpus_a_module(modules), ride_through)
            else:
                done = self._cap(boards, failed, watts, ride_through)
        finally:
            self._calls.each({"end": self._nvml.nvmlShutdown})
        if failed:
            others = "; the others are set" if any(b.label not in failed for b in boards) else ""
            raise CannotObey(self._node, _grouped(failed) + others, advices(failed.values()))
        return ", ".join(done)

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> tuple[list[Board], dict[str, Exception]]:
        """The GPUs that answer, and by label the errors of those that are counted and do not. Raises CannotObey."""
        nvml = self._nvml
        try:
            count = int(self._calls.run("count", nvml.nvmlDeviceGetCount))
        except (NvmlTrouble, nvml.NVMLError) as error:
            raise CannotObey(self._node, f"NVML: {error}", advice(error)) from None
        if not count and not self._known.expected(self._gpus):
            raise CannotObey(self._node, "no GPU", "remove cap_w or give on_cap")
        looks = self._calls.each({f"GPU {n}": partial(self._board, n, count) for n in range(count)})
        errors = [self._error(look) for look in looks.values()]
        boards = _at_one_scope(
            look.result() for look, error in zip(looks.values(), errors, strict=True) if error is None
        )
        self._known.see({b.key: SeenGpu(b.index, b.name) for b in boards}, self._gpus)
        was = {seen.index: key for key, seen in self._gone(boards).items()}
        failed = {label(n, uuid_in(was.get(n, ""))): error for n, error in enumerate(errors) if error is not None}
        return boards, failed

    def _error(self, result: Future[Any]) -> Exception | None:
        """Why a call failed, of what can be expected to fail; raises everything else."""
        try:
            result.result()
        except (NvmlTrouble, self._nvml.NVMLError) as error:
            found: Exception = error
            return found
        return None

    def _gone(self, boards: Iterable[Board]) -> dict[str, SeenGpu]:
        """The GPUs that are known and do not answer."""
        there = {b.key for b in boards}
        return {key: seen for key, seen in self._known.record.seen.items() if key not in there}

    def _board(self, index: int, count: int) -> Board:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = uuid_of(nvml, handle)
        low_mw, high_mw = asked(nvml, "nvmlDeviceGetPowerManagementLimitConstraints", handle)[0] or (None, None)
        limit_mw = int(nvml.nvmlDeviceGetPowerManagementLimit(handle))
        if _possible(limit_mw) is None:
            raise Impossible(f"says that its limit is {limit_mw / 1000:.3g} W")
        return Board(
            key=key_of(uuid, index, count),
            label=label(index, uuid),
            name=str(asked(nvml, "nvmlDeviceGetName", handle)[0] or ""),
            index=index,
            handle=handle,
            limit_mw=limit_mw,
            default_mw=_possible(asked(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle)[0]),
            low_mw=_possible(low_mw),
            high_mw=_possible(high_mw),
            persistent=asked(nvml, "nvmlDeviceGetPersistenceMode", handle)[0] != 0,
            module=module_limits(nvml, handle),
        )

    def _absent(self, boards: list[Board], failed: Mapping[str, Exception]) -> dict[str, Exception]:
        """By label the GPUs that are known and not even counted, while fewer are there than expected."""
        short = self._known.expected(self._gpus) - len(boards) - len(failed)
        names = [label(seen.index, uuid_in(key)) for key, seen in self._gone(boards).items()]
        return {name: NotThere("is not there") for name in [n for n in names if n not in failed][: max(short, 0)]}

    # ── setting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _cap(self, boards: list[Board], failed: dict[str, Exception], watts: float, ride_through: bool) -> list[str]:
        """Share the cap over all GPUs that there should be: one that does not answer may draw its part."""
        count = max(len(boards) + len(failed), self._known.expected(self._gpus))
        share_mw = round(1000 * watts / count)
        if not ride_through:
            self._require_persistence(boards)
        original, target = self._limits_for(boards, share_mw)
        why = self._known.keep(original, set(target.values()), insist=ride_through)
        if why and not ride_through:
            raise CannotObey(self._node, f"no cap: {NOT_KEPT}: {why}", "check space and mount of the state directory")
        failed |= self._absent(boards, failed)
        self._left = {b.label: b.limit_mw for b in boards if self._set_by_another(b, target[b.key])}
        failed |= {name: NotOurs(f"is at {mw / 1000:g} W, which {ANOTHER}") for name, mw in self._left.items()}
        done = self._set([b for b in boards if b.label not in self._left], target, failed)
        least = sum(b.low_mw is not None and b.low_mw > share_mw for b in boards)
        if least and done:
            done.append(f"{share_mw / 1000:g} W each were asked, below the least that {least} of them allow")
        return done

    def _require_persistence(self, boards: list[Board]) -> None:
        """Raises CannotObey for GPUs that would lose a new cap with the driver."""
        known = self._known.record.original_mw
        lose_it = [b.label for b in boards if not b.persistent and b.key not in known]
        if lose_it:
            raise CannotObey(self._node, f"no cap: {', '.join(lose_it)}: {NOT_PERSISTENT}", PERSISTENCE)

    def _limits_for(self, boards: list[Board], share_mw: int) -> tuple[dict[str, int], dict[str, int]]:
        """By key the limit from before, and the one to set: the same for all, as far as each board takes it."""
        known_mw = self._known.record.original_mw
        original = {
            b.key: self._not_above_declared(b, known_mw.get(b.key) or self._presumed(b) or b.limit_mw) for b in boards
        }
        pace_mw = min((min(b.allowed(share_mw), original[b.key]) for b in boards), default=share_mw)
        return original, {b.key: min(b.allowed(pace_mw), original[b.key]) for b in boards}

    def _set_by_another(self, board: Board, wanted_mw: int) -> bool:
        """Whether a GPU under a cap of ours has a limit that neither we nor a reset have given it."""
        record = self._known.record
        if board.key not in record.original_mw:
            return False
        after_a_reset = board.default_mw, board.high_mw if board.default_mw is None else None
        return not board.near(wanted_mw, record.original_mw[board.key], *record.caps_mw, *after_a_reset)

    def _lift(self, boards: list[Board], failed: dict[str, Exception]) -> list[str]:
        """Give each GPU its own limit; those that cannot be reached stay on record and are named."""
        original_mw = self._known.record.original_mw
        left = {b.key: b for b in boards if self._set_by_another(b, original_mw.get(b.key, 0))}
        self._left = {b.label: b.limit_mw for b in left.values()}
        target, presumed = self._owed([b for b in boards if b.key not in left])
        if original_mw.keys() <= target.keys() | left.keys():
            failed.clear()  # whatever does not answer holds no cap of ours
        else:
            failed |= self._absent(boards, failed)
        done = self._set([b for b in boards if b.key in target], target, failed)
        self._known.forget(b.key for b in boards if b.label not in failed)
        self._left_capped = self._left_capped and bool(failed)
        done += [f"{name} stays at {mw / 1000:g} W, which {ANOTHER}" for name, mw in self._left.items()]
        if presumed:
            done.append(f"{', '.join(presumed)}: the limit from before the cap was not on record")
        return done

    def _owed(self, boards: list[Board]) -> tuple[dict[str, int], list[str]]:
        """By key the limit that each is to get back, and the labels of those of which none is on record."""
        original_mw = self._known.record.original_mw
        presumed_mw = {b.key: mw for b in boards if b.key not in original_mw and (mw := self._presumed(b)) is not None}
        own_mw = presumed_mw | original_mw
        target = {b.key: b.allowed(self._not_above_declared(b, own_mw[b.key])) for b in boards if b.key in own_mw}
        return target, [b.label for b in boards if b.key in presumed_mw]

    def _presumed(self, board: Board) -> int | None:
        """The limit, mW, for a GPU of which none is on record: it was swapped in, or the record is lost.

        It is taken to hold a cap of ours if its limit is one that a cap has set and the GPU is not in `at_cap`, or if
        the record was damaged and a cap may be left. Then it gets the limit of the site file, or the board's default; a
        GPU without UUID the lowest limit on record of those without, if there is any. A GPU that holds no cap of ours
        gets the limit of the site file if its own is higher. None: leave it alone.
        """
        record, declared_mw = self._known.record, None if board.of_module else self._declared_mw
        ours = board.limit_mw in record.caps_mw and board.key not in record.at_cap
        if not ours and not (self._left_capped and self._known.damage):
            return declared_mw if declared_mw is not None and board.limit_mw > declared_mw else None
        unnamed = [mw for key, mw in record.original_mw.items() if not uuid_in(key)]
        if unnamed and not uuid_in(board.key):
            return min(unnamed)  # one of these it was; without UUID nobody knows which
        return board.default_mw if declared_mw is None else declared_mw

    def _not_above_declared(self, board: Board, mw: int) -> int:
        """The limit of the site file is one of a GPU, not of a module."""
        return mw if self._declared_mw is None or board.of_module else min(mw, self._declared_mw)

    def _set(self, boards: list[Board], target: Mapping[str, int], failed: dict[str, Exception]) -> list[str]:
        """Set what differs, each GPU on its own; errors go to `failed`. Returns a line for each that was set."""
        changes = {b.label: partial(self._set_one, b, target[b.key]) for b in boards if not b.near(target[b.key])}
        done = []
        for name, result in self._calls.each(changes).items():
            if (error := self._error(result)) is None:
                done.append(str(result.result()))
            else:
                failed[name] = error
        return done

    def _set_one(self, board: Board, wanted_mw: int) -> str:
        nvml = self._nvml
        if board.of_module:
            module_mw = set_module_limit(nvml, board.handle, wanted_mw)
            if module_mw is None or abs(module_mw - wanted_mw) > NEAR_MW:
                holds = "cannot be read" if module_mw is None else f"holds {module_mw / 1000:g} W"
                raise NotHeld(f"its module {holds}, {wanted_mw / 1000:g} W were set, which needs root")
            return f"{board.label} module {wanted_mw / 1000:g} W"
        nvml.nvmlDeviceSetPowerManagementLimit(board.handle, wanted_mw)
        held_mw = int(nvml.nvmlDeviceGetPowerManagementLimit(board.handle))
        if abs(held_mw - wanted_mw) > NEAR_MW:
            raise NotHeld(f"holds {held_mw / 1000:g} W, {wanted_mw / 1000:g} W were set")
        enforced_mw, _ = asked(nvml, "nvmlDeviceGetEnforcedPowerLimit", board.handle)
        lower = enforced_mw is not None and 0 < enforced_mw < wanted_mw
        return f"{board.label} {wanted_mw / 1000:g} W" + (f" (enforced: {enforced_mw / 1000:g} W)" if lower else "")


def _at_one_scope(found: Iterable[Board]) -> list[Board]:
    """With the limits of their modules, where every one of them is on one; else with their own."""
    boards = list(found)
    if not all(b.module is not None for b in boards):
        return boards
    return [
        msgspec.structs.replace(
            b, limit_mw=m.limit_mw, default_mw=m.default_mw, low_mw=m.low_mw, high_mw=m.high_mw, of_module=True
        )
        for b in boards
        if (m := b.module) is not None
    ]


def _possible(mw: int | None) -> int | None:
    """A power limit, unless no board has such a one."""
    return mw if mw is not None and 0 < mw <= 1000 * BOARD_MOST_W else None


def _grouped(failed: Mapping[str, Exception]) -> str:
    """What fails, each error once: "GPU 0, GPU 1: Insufficient Permissions"."""
    names: dict[str, list[str]] = {}
    for name, error in failed.items():
        names.setdefault(str(error), []).append(name)
    return "; ".join(f"{', '.join(those)}: {error}" for error, those in names.items())
