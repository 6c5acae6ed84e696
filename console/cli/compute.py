"""`skerry compute`: what Skerry knows of the compute nodes, and what it may order them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.display.formats import how_old
from console.display.node_list_text import changed_text, list_text
from console.display.queue_text import queue_counts
from console.value_parsers import json_option
from dispatch.model.equipment import Node, NodePower
from dispatch.model.node_lists import NodeListNow
from gateway import exit_codes
from gateway.commissioning.compute_check import NodeReport, QueueReport, check, check_queues
from gateway.commissioning.device_access import DevicesInUse
from gateway.errors import StartRefused
from gateway.site.loader import load

SOURCES = {"gateway": "read by the running gateway", "check": "read by this command; no gateway runs"}
INDENT = " " * 14


@click.command("check")
@click.argument("site", type=click.Path(path_type=Path))
@json_option
def check_nodes(site: Path, as_json: bool) -> int:
    """Read every compute node and scheduler of a site file once; print what is read from where, capped and stopped.

    Nothing is written, and nothing is ordered. A node is only observed unless its [[node]] names what it may be
    ordered: cap_w with on_cap or a source that can cap, on_stop_starts, on_requeue, on_power_off, on_shutdown, and
    without GPUs on_suspend or freeze. Nodes of a [[nodes]] are always only observed.

    Exit code 0: the power of every node is known, every queue and list of nodes is read; 1: not so; 2: errors in the
    site file; 6: the devices cannot be opened, because another gateway has them or the twin does not run.
    """
    try:
        loaded = load(site)
        source, found, lists, utc_s = check(loaded)
    except (DevicesInUse, StartRefused) as error:
        raise Failure(str(error), exit_codes.DEVICE) from None
    queues = check_queues(loaded)
    if as_json:
        click.echo(json_text({"source": source, "nodes": found, "lists": lists, "queues": queues}))
    else:
        listed = (line for one in lists for line in list_lines(one, utc_s))
        for line in (*_lines(source, found), *listed, *(line for queue in queues for line in queue_lines(queue))):
            click.echo(line)
    failed = any(report.queue.error for report in queues) or any(one.error for one in lists)
    complete = all(report.complete for report in found) and not failed
    return exit_codes.OK if complete else exit_codes.FAILED


@click.group()
def compute() -> None:
    """Check what is read of the compute nodes, and what they may be ordered."""


compute.add_command(check_nodes)


def _lines(source: str, found: tuple[NodeReport, ...]) -> Iterator[str]:
    yield SOURCES[source]
    for report in found:
        yield from _node(report)
    known, ordered = sum(r.complete for r in found), [r.id for r in found if r.may]
    yield f"{len(found)} nodes: the power of {known} is known, that of {len(found) - known} is not"
    if ordered:
        yield f"{len(ordered)} may be ordered something: {', '.join(ordered)}; the others are only observed"
    else:
        yield "all of them are only observed: nothing is capped, suspended or shut down"


def list_lines(now: NodeListNow, utc_s: float) -> Iterator[str]:
    """Where the names of a group come from, when they were read, and what changed."""
    yield f"{now.group:<13} {list_text(now, utc_s)}"
    if now.error:
        yield f"{INDENT}NOT READ: {now.error}"
    for text in (now.doubt, now.note, changed_text(now, utc_s)):
        if text:
            yield f"{INDENT}{text}"


def queue_lines(report: QueueReport) -> Iterator[str]:
    """What is read of a scheduler's queue."""
    yield f"{report.id:<13} by {report.read_by}"
    yield f"{INDENT}{report.may or 'only read'}"
    queue = report.queue
    if queue.error:
        yield f"{INDENT}NOT READ: {queue.error}"
        return
    yield f"{INDENT}{queue_counts(queue)}"
    yield from (f"{INDENT}{note}" for note in queue.notes)


def _node(report: NodeReport) -> Iterator[str]:
    node, (first, *others) = report.node, report.read_from
    yield f"{report.id:<13} from {first}"
    for other in others:
        yield f"{INDENT}from {other}"
    if report.error:
        yield f"{INDENT}NOT READ: {report.error}"
    else:
        yield from (INDENT + line for line in _readings(node))
    yield INDENT + ("; ".join(report.may) if report.may else "only observed")
    if report.cap_cost:
        yield INDENT + report.cap_cost
    if report.never:
        yield f"{INDENT}never {report.never}"


def _readings(node: Node) -> Iterator[str]:
    powers = node.powers or (NodePower(node.source, node.w, node.period_s),)
    if node.w.good is None:
        yield "NO POWER"
    if not powers[0].source:
        yield "none of its sources gives the power of the whole node"
        powers = ()
    for power in powers:
        yield _power(power, counts=power.source == node.source and node.w.good is not None)
    if node.gpus_total:
        read = sum(gpu.w.good is not None for gpu in node.gpus) if node.gpus else node.gpus_total
        gpus = f"{node.gpus_total} GPU{'s' if node.gpus_total > 1 else ''}"
        yield f"{gpus}, {read} of them with power" if node.gpus else f"{gpus}, counted"
    if node.note:
        yield f"missing or told: {node.note}"


def _power(power: NodePower, counts: bool) -> str:
    if power.w.value is None:
        return f"no power yet by {power.source}"
    every = f", measured every {power.period_s:g} s" if power.period_s else ""
    lead = "" if counts else "also "
    return f"{lead}{power.w.value / 1000:.2f} kW by {power.source}{every}, {how_old(power.w.age_s)}"
