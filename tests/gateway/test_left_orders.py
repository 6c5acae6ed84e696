"""What an earlier run asked of nodes is undone, read at the start or later."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock, call

import msgspec

from dispatch.config.schema import NodeTerms
from dispatch.control.controller import ControllerMemory
from dispatch.islanding.shedding_memory import LoadSheddingMemory
from dispatch.power_caps.cap_controller import CapsMemory
from gateway.left_orders import LEFT_SUSPENDED, undo_left_orders
from tests.dispatch.islanding.test_shedding_steps import config

FORMER = msgspec.convert({"rung": 3, "engaged": True}, LoadSheddingMemory)
LEFT = ControllerMemory(
    caps=CapsMemory(nodes=("gpu-01", "gpu-02")), nodes={"gpu-03": ("cap_w",), "cpu": ("cap_w",)}, ride=FORMER
)


def test_caps_suspensions_and_orders_of_an_earlier_run_are_undone_and_what_cannot_be_is_named() -> None:
    nodes = (
        NodeTerms(id="batch", has_gpus=True, can_suspend=False),
        NodeTerms(id="cpu", can_suspend=True),
    )
    commands: Any = Mock()
    events: Any = Mock()
    undo_left_orders(commands, events, config(nodes), LEFT, capped=("gpu-01",))
    assert commands.release.call_args_list == [call("gpu-02")]
    assumed = {id: set(fields) for id, fields in (each.args for each in commands.assume.call_args_list)}
    assert assumed == {"gpu-03": {"cap_w"}, "cpu": {"cap_w", "suspended"}}
    assert events.event.call_args_list == [call("node", "warning", "batch", LEFT_SUSPENDED)]
