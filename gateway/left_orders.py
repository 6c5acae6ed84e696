"""Undoes what an earlier run of the gateway has asked of nodes and this one does not ask."""

from __future__ import annotations

from collections.abc import Container

from dispatch.config.schema import DispatchConfig
from dispatch.control.controller import ControllerMemory
from dispatch.islanding.shedding_memory import left_suspended, orders_to_undo
from gateway.command_senders import CommandSenders
from gateway.event_sink import EventSink

LEFT_SUSPENDED = (
    "the version before may have suspended its jobs off the grid, where its site file had freeze or on_suspend; these "
    "keys are not used on nodes with GPUs any more, so resume it by hand: with what on_resume ran, or 0 into its "
    "cgroup.freeze"
)


def undo_left_orders(
    commands: CommandSenders,
    events: EventSink,
    config: DispatchConfig,
    memory: ControllerMemory,
    capped: Container[str] = (),
) -> None:
    """Let the next orders to nodes undo what `memory` says was left. `capped`: nodes that this run caps by now."""
    for node in memory.caps.nodes:
        if node not in capped:
            commands.release(node)
    left = {order.device_id: order.lasting for order in orders_to_undo(config, memory.ride)}
    for id in left.keys() | memory.nodes.keys():
        commands.assume(id, left.get(id, frozenset()) | set(memory.nodes.get(id, ())))
    for node in left_suspended(config, memory.ride):
        events.event("node", "warning", node, LEFT_SUSPENDED)
