"""Defines what load shedding keeps over a restart of the gateway."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.islanding.runtime_estimator import RuntimeMemory
from dispatch.islanding.shedding_steps import CODES, FORMER_SUSPENDS, SHUTDOWN, of_former, order_of, with_gpus
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

    def suspended_formerly(self, node: NodeTerms) -> bool:
        """Whether a version with four steps has left it suspended, with GPUs or without; one that is off is not."""
        return node.can_suspend and self.asked_formerly(node)

    def asked_formerly(self, node: NodeTerms) -> bool:
        """Whether such a version has asked to suspend it, if there was a way to."""
        if self.step or node.critical:
            return False
        return self.former >= FORMER_SUSPENDS and not (self.stage == SHUTDOWN and node.can_shutdown)


def left_suspended(config: DispatchConfig, memory: LoadSheddingMemory) -> tuple[str, ...]:
    """Nodes with GPUs that a version with four steps may have left suspended, and that nothing can resume any more.

    The keys for it are not read on such nodes since.
    """
    nodes = (node for node in config.nodes if node.has_gpus and not node.can_suspend)
    return tuple(node.id for node in nodes if memory.asked_formerly(node))


def orders_to_undo(config: DispatchConfig, memory: LoadSheddingMemory) -> tuple[NodeOrder, ...]:
    """What nodes were left with and orders to come may not ask for, so that the first of them undoes it.

    Where load shedding has been switched off since that is all of it. Where it is on, orders go on from the step that
    is kept, but never suspend a node with GPUs, as a former version did.
    """
    if not memory.stage:
        return ()
    if config.ride_through.enabled:
        return tuple(NodeOrder(node.id, suspended=True) for node in config.nodes if memory.suspended_formerly(node))
    have_gpus, deepest = with_gpus(config) | set(memory.have_gpus), CODES.get(memory.deepest, 0)
    left = [(node, order_of(node, memory.stage, have_gpus, deepest, told=False, due=False)) for node in config.nodes]
    replace = msgspec.structs.replace
    return tuple(replace(o, suspended=True) if memory.suspended_formerly(node) else o for node, o in left)
