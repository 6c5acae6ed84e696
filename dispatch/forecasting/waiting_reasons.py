"""Says which waiting jobs may start by themselves, from the word that the scheduler gives as their reason.

The words are Slurm's (`src/common/job_state_reason.c`, before 24.05 `job_reason_string` in
`src/common/slurm_protocol_defs.c`; JOB REASON CODES in squeue(1)). Instead of a word squeue shows a free text where
slurmctld gave one: "launch failed requeued held", "job requeued in held state". Of Kueue they are the reasons of the
conditions QuotaReserved and Admitted (kueue at commit ff69552e79ad21652c36caa97038382e55625cf7,
apis/kueue/v1beta2/workload_types.go), in versions without its feature UnadmittedWorkloadsObservability only "Pending".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

Obstacle = Literal["held", "dependency", "limit", "unavailable"]

# Waits for its turn, or for nothing any more: it starts when there is room.
_IN_TURN = frozenset({"", "none", "priority", "resources", "prolog", "cleaning", "waitingforscheduling"})
_IN_TURN |= {"pending", "pendingevaluation", "waitingforquota", "waitingforpreemptedworkloads", "noreservation"}
_IN_TURN |= {"waiting", "waitingforpodsready", "preempted"}
_HELD = frozenset({"jobheldadmin", "jobhelduser", "jobholdmaxrequeue"})
_HELD |= {"deactivated", "suspended", "onhold", "admissiongated"}
_DEPENDENCY = frozenset({"dependency", "dependencyneversatisfied"})
# A limit of the association, the QOS or the partition, and an array's own limit of tasks at once: a task of it starts
# when another ends, so what the array draws stays.
_LIMITS = ("qos", "assoc", "max", "account", "jobarraytasklimit", "partitionnodelimit", "partitiontimelimit")
# Never starts as it is, whatever start the scheduler once expected; or, with licences, later than it expects: power is
# kept back by reservations of licences that are renewed, and Slurm expects the job at the end of the present one.
_NOT_AS_EXPECTED = frozenset(
    {
        "licenses",
        "badconstraints",
        "constraints",
        "invalidaccount",
        "invalidqos",
        "systemfailure",
        "joblaunchfailure",
        "nonzeroexitcode",
        "raisedsignal",
        "timelimit",
        "inactivelimit",
        "outofmemory",
        "deadline",
        "burstbufferoperation",
        "reservationdeleted",
        "reservationinvalid",
        "partitionconfig",
    }
)


@lru_cache(maxsize=1000)
def obstacle(reason: str, start_expected: bool) -> Obstacle | None:
    """What keeps a waiting job from being forecast; None: it may start.

    With any other reason (a reservation, a begin time, nodes that are down) it starts when the scheduler says so. It is
    not forecast where that says nothing (`start_expected` false): free GPUs are not what it waits for.
    """
    text = reason.strip().strip("()").lower()
    word = text.split(",")[0].strip()
    if word in _HELD or "held" in word.split():
        return "held"
    if word in _DEPENDENCY:
        return "dependency"
    if word.startswith(_LIMITS):
        return "limit"
    if word in _NOT_AS_EXPECTED or (word not in _IN_TURN and not start_expected):
        return "unavailable"
    return None
