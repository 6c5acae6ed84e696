"""Defines the steps of load shedding: what each asks of which node, and which of them a site lacks.

1 no new jobs start on deferrable nodes, 2 these are capped, 3 their jobs that declared a checkpoint are told to save,
have the time stated for it, and are requeued, 4 the scheduler powers the nodes off that are empty, 5 critical nodes are
capped, 6 orderly shutdown.

Only nodes without GPUs are suspended, with step 3. A job that holds a GPU cannot be stopped in that way: its kernels
run on, its memory stays, and the other nodes of the job wait for it until a watchdog ends it.
"""

from __future__ import annotations

from collections.abc import Set

from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.model.islanding import NodeOrder
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

STOP_STARTS, CAP_DEFERRABLE, REQUEUE, POWER_OFF, CAP_CRITICAL, SHUTDOWN = range(1, 7)
STEPS = (
    Reason("shedding.none"),
    Reason("shedding.stop_starts"),
    Reason("shedding.cap_deferrable"),
    Reason("shedding.requeue"),
    Reason("shedding.power_off"),
    Reason("shedding.cap_critical"),
    Reason("shedding.shutdown"),
)
SUSPEND = Reason("shedding.suspend_cpu_only")  # step 3 where no job is requeued
# The steps before there were six: 1 cap deferrable, 2 suspend deferrable, also with GPUs, 3 cap critical, 4 shutdown.
FORMER_SUSPEND = Reason("shedding.suspend_deferrable")
CODES = {step.code: number for number, step in enumerate(STEPS)} | {
    SUSPEND.code: REQUEUE,
    FORMER_SUSPEND.code: REQUEUE,
}
FORMER_SUSPENDS = 2
FORMER = (0, 0, 1, 2, 2, 3, 4)


def of_former(rung: int) -> int:
    """The step that stands for one of a version that had four."""
    return FORMER.index(rung, 1) if 0 < rung <= FORMER[-1] else 0


def with_gpus(config: DispatchConfig) -> frozenset[str]:
    """The nodes that have GPUs by the site file."""
    return frozenset(node.id for node in config.nodes if node.has_gpus)


def newly_with_gpus(known: Set[str], now: Snapshot) -> frozenset[str]:
    """Other nodes that show GPUs now. One that has shown them keeps them, also while it does not answer."""
    return frozenset(node.id for node in now.nodes if (node.gpus or node.gpus_total) and node.id not in known)


def can_be_suspended(node: NodeTerms, have_gpus: Set[str]) -> bool:
    """Whether its jobs may be suspended: never where they may hold a GPU."""
    return node.can_suspend and not node.critical and node.id not in have_gpus


def takes(node: NodeTerms, step: int, have_gpus: Set[str]) -> bool:
    """Whether a step changes something on a node."""
    if node.critical or step == SHUTDOWN:
        return (step == CAP_CRITICAL and bool(node.cap_w)) or (step == SHUTDOWN and node.can_shutdown)
    return {
        STOP_STARTS: node.can_stop_starts,
        CAP_DEFERRABLE: bool(node.cap_w),
        REQUEUE: takes_jobs(node) or can_be_suspended(node, have_gpus),
        POWER_OFF: node.can_power_off,
    }.get(step, False)


def steps_of(config: DispatchConfig, have_gpus: Set[str]) -> list[int]:
    """The steps below shutdown that would change something on this site."""
    return [step for step in range(1, SHUTDOWN) if any(takes(node, step, have_gpus) for node in config.nodes)]


def first_firm(config: DispatchConfig) -> int:
    """The first step that is not taken on slight grounds: it ends jobs, or touches critical nodes."""
    return REQUEUE if any(takes_jobs(node) for node in config.nodes) else CAP_CRITICAL


def takes_jobs(node: NodeTerms) -> bool:
    """Whether its jobs may be requeued."""
    return node.can_requeue and not node.critical


def names_of(config: DispatchConfig) -> tuple[Reason, ...]:
    """How the steps are called on this site."""
    requeues = any(takes_jobs(node) for node in config.nodes)
    return tuple(SUSPEND if step == REQUEUE and not requeues else name for step, name in enumerate(STEPS))


def lacking(config: DispatchConfig, have_gpus: Set[str]) -> tuple[Reason, ...]:
    """For each step the nodes that it would be for and that it cannot be carried out on; none where all can."""
    found = []
    for step in range(1, len(STEPS)):
        meant = [n for n in config.nodes if step == SHUTDOWN or n.critical is (step == CAP_CRITICAL)]
        without = sum(not takes(n, step, have_gpus) for n in meant)
        if without:
            found.append(Reason("shedding.lacks", {"step": STEPS[step], "without": without, "nodes": len(meant)}))
    return tuple(found)


def order_of(node: NodeTerms, step: int, have_gpus: Set[str], deepest: int, told: bool, due: bool) -> NodeOrder:
    """What a step asks of a node. `deepest`: the deepest step since the last time that there was none.

    told: its jobs are to save, `due`: their time for it is over.
    """
    deferrable = not node.critical
    requeues = takes_jobs(node) and step >= REQUEUE
    # a node that was shut down is not started only to be powered off
    stays_off = deferrable and node.can_power_off and step >= POWER_OFF and deepest == SHUTDOWN
    off = node.can_shutdown and (step == SHUTDOWN or stays_off)
    return NodeOrder(
        device_id=node.id,
        cap_w=node.cap_w if step >= (CAP_DEFERRABLE if deferrable else CAP_CRITICAL) else None,
        suspended=step >= REQUEUE and can_be_suspended(node, have_gpus),
        off=off,
        starts_stopped=deferrable and node.can_stop_starts and step >= STOP_STARTS,
        saving=requeues and told,
        requeued=requeues and due,
        off_when_empty=deferrable and node.can_power_off and step >= POWER_OFF and not off,
    )
