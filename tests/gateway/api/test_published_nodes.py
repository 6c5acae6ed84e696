"""A thousand nodes fit into a message: not each GPU is sent where there are many, and that is said."""

from __future__ import annotations

import msgspec
import pytest

from dispatch.model.equipment import DeviceHealth, Gpu, JobUse, Meter, Node, NodePower
from dispatch.model.readings import Quality, Reading
from dispatch.model.snapshot import Snapshot
from gateway.api.frames import MAX_FRAME
from gateway.api.published_nodes import NOT_SENT, ConsoleNodes

LONG = "-" * 56  # names of nodes have 63 characters at most
READING = Reading(123.456789, 4.56789, Quality.GOOD)


def snapshot(nodes: int, gpus: int) -> Snapshot:
    """Of nodes that are read in full."""
    uuid = "GPU-22dbdd79-f55a-92a8-aa39-322198e72ed6"
    each = tuple(Gpu(n, "NVIDIA H100 80GB HBM3", *(READING,) * 5, uuid=uuid, enforced_w=READING) for n in range(gpus))
    powers = tuple(NodePower(f"estimate by CPU use + {gpus} GPUs (dcgm-exporter)", READING, 30.0) for _ in range(3))
    source = "RAPL + 8 GPUs (dcgm-exporter)"
    made = (
        Node(f"gpu{n:04d}{LONG}", *(READING,) * 3, each, READING, gpus, source=source, note="n" * 60, powers=powers)
        for n in range(nodes)
    )
    health = (DeviceHealth(f"gpu{n:04d}{LONG}", "node", True, 4.56789, 999, 99, 0, "e" * 60) for n in range(nodes))
    return Snapshot(1, 0.0, 0.0, Meter("m"), nodes=tuple(made), devices=tuple(health))


@pytest.mark.parametrize(("nodes", "gpus"), [(1024, 8), (1024, 0), (256, 4)])
def test_it_fits_into_a_message(nodes: int, gpus: int) -> None:
    sent = msgspec.msgpack.encode(ConsoleNodes().shortened(snapshot(nodes, gpus)))
    assert len(sent) < 0.9 * MAX_FRAME


def test_what_is_left_out_is_said_and_a_site_of_64_nodes_is_sent_whole() -> None:
    small = snapshot(64, 8)
    assert ConsoleNodes().shortened(small) is small
    node = ConsoleNodes().shortened(snapshot(300, 8)).nodes[0]
    assert (node.gpus, node.gpus_total, node.w) == ((), 8, READING)
    assert node.note.endswith(NOT_SENT)
    hosts = ConsoleNodes().shortened(snapshot(300, 0)).nodes[0]
    assert (hosts.powers, hosts.note) == ((), "n" * 60)


def test_only_nodes_that_are_new_are_shortened_again() -> None:
    consoles, first = ConsoleNodes(), snapshot(300, 8)
    sent = consoles.shortened(first).nodes
    changed = msgspec.structs.replace(first.nodes[7], note="changed")
    second = msgspec.structs.replace(first, nodes=(*first.nodes[:7], changed, *first.nodes[8:]))
    again = consoles.shortened(second).nodes
    assert [number for number, (a, b) in enumerate(zip(sent, again, strict=True)) if a is not b] == [7]
    assert again[7].note.startswith("changed; ")
    fewer = msgspec.structs.replace(second, nodes=second.nodes[1:])
    assert consoles.shortened(fewer).nodes == again[1:]
    hosts = snapshot(300, 0)
    assert consoles.shortened(hosts).nodes == ConsoleNodes().shortened(hosts).nodes


@pytest.mark.parametrize("count", [2, 300])
def test_what_exporters_tell_of_jobs_is_not_sent(count: int) -> None:
    """It may hold names of pods, which a viewer is not to see."""
    nodes = tuple(msgspec.structs.replace(n, job_use=JobUse((("a/b", 1.0),))) for n in snapshot(count, 1).nodes)
    sent = ConsoleNodes().shortened(msgspec.structs.replace(snapshot(count, 1), nodes=nodes))
    assert [node.job_use for node in sent.nodes] == [None] * count
    assert sent.nodes[0].id == nodes[0].id
