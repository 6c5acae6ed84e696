"""What of a site's nodes is sent to consoles: not each GPU where there are many, or the message would be too long."""

from __future__ import annotations

import msgspec

from dispatch.model.equipment import Node
from dispatch.model.snapshot import Snapshot

MOST_GPUS = 1024  # 0.25 kB each, of a message of 1 MiB
MOST_NODES = 256  # with each of their powers, 0.1 kB each
NOT_SENT = "too many GPUs on the site to show each"


def for_consoles(snapshot: Snapshot) -> Snapshot:
    """The snapshot without single GPUs where the site has too many, and without the powers that do not count."""
    gpus = sum(len(node.gpus) for node in snapshot.nodes)
    if gpus <= MOST_GPUS and len(snapshot.nodes) <= MOST_NODES:
        return snapshot
    many = gpus > MOST_GPUS
    return msgspec.structs.replace(snapshot, nodes=tuple(_shortened(node, many) for node in snapshot.nodes))


def _shortened(node: Node, many_gpus: bool) -> Node:
    if many_gpus and node.gpus:
        note = f"{node.note}; {NOT_SENT}" if node.note else NOT_SENT
        return msgspec.structs.replace(node, gpus=(), powers=(), note=note)
    return msgspec.structs.replace(node, powers=())
