"""Sends the GPUs of a node once, until they have new figures: they are most of the bytes of a node.

Each set of GPUs of a node has a number. A node that is sent without them has those that were sent with that number; if
they have not come, such as where they were too long for a frame, it cannot be used.
"""

from __future__ import annotations

import itertools
import time

import msgspec

from dispatch.model.equipment import Gpu, Node

NONE = 0  # number of a node whose GPUs are those that it is sent with


class SentGpus:
    """What the process that reads nodes has sent."""

    def __init__(self) -> None:
        self._numbers = itertools.count(time.monotonic_ns())  # none is one of another process
        self._last: dict[str, tuple[tuple[Gpu, ...], int]] = {}

    def shortened(self, node: Node) -> tuple[Node, int]:
        """The node without its GPUs if they are the same objects as before; and their number."""
        if not node.gpus:
            return node, NONE
        gpus, number = self._last.get(node.id, ((), NONE))
        if gpus is node.gpus:
            return msgspec.structs.replace(node, gpus=()), number
        number = next(self._numbers)
        self._last[node.id] = node.gpus, number
        return node, number

    def forget(self, node_id: str) -> None:
        """This node is not read any more."""
        self._last.pop(node_id, None)


class KeptGpus:
    """What the gateway has received."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[tuple[Gpu, ...], int]] = {}

    def completed(self, node: Node, number: int) -> Node | None:
        """The node with its GPUs; None: they have not come."""
        if number == NONE:
            return node
        if node.gpus:
            self._last[node.id] = node.gpus, number
            return node
        gpus, known = self._last.get(node.id, ((), NONE))
        return msgspec.structs.replace(node, gpus=gpus) if known == number else None

    def forget(self, node_id: str) -> None:
        """This is no longer a node."""
        self._last.pop(node_id, None)
