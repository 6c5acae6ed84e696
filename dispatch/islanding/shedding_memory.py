"""Defines what load shedding keeps over a restart of the gateway."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.runtime_estimator import RuntimeMemory
from dispatch.islanding.shedding_steps import CODES, of_former, order_of, with_gpus
from dispatch.model.islanding import NodeOrder


class LoadSheddingMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway must know: nodes stay as the step left them until somebody undoes it."""

    former: int = msgspec.field(default=0, name="rung")  # the step, for a version that has four of them
    engaged: bool = False
    since_utc_s: float | None = None  # start of the islanding under way
    energy: RuntimeMemory = RuntimeMemory()
    step: str = ""  # the step's code; empty: kept by such a version
    deepest: str = ""  # the code of the deepest step since there was none
    have_gpus: tuple[str, ...] = ()  # nodes that have shown GPUs

    @property
    def stage(self) -> int:
        """The step in the numbering of this version; of one that it does not know, the former one's."""
        return CODES.get(self.step, of_former(self.former))


def orders_to_undo(config: DispatchConfig, memory: LoadSheddingMemory) -> tuple[NodeOrder, ...]:
    """What nodes were left with where load shedding has been switched off since; nothing where it is on."""
    if config.ride_through.enabled or not memory.stage:
        return ()
    have_gpus, deepest = with_gpus(config) | set(memory.have_gpus), CODES.get(memory.deepest, 0)
    return tuple(order_of(node, memory.stage, have_gpus, deepest, told=False, due=False) for node in config.nodes)
