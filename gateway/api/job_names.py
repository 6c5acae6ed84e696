"""Leaves the names out of jobs that a user may not see by name: `CommandLog.named` says whose that are.

Of the others a viewer sees what tells how busy the site is: id, state, GPUs, CPUs, nodes, partition, times.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatch.model.jobs import Job, QueueNow
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation


def shown_jobs(jobs: Sequence[Job], user: str | None) -> list[Job]:
    """Jobs, without the names of those that are not this user's."""
    return [
        job if user in (None, job.user) else msgspec.structs.replace(job, name="", user="", account="", pods=())
        for job in jobs
    ]


def shown_queues(queues: tuple[QueueNow, ...], user: str | None) -> tuple[QueueNow, ...]:
    """Queues, likewise."""
    if user is None:
        return queues
    return tuple(
        msgspec.structs.replace(
            queue,
            jobs=tuple(
                job if job.user == user else msgspec.structs.replace(job, name="", user="", told=None)
                for job in queue.jobs
            ),
        )
        for queue in queues
    )


def shown_reservations(reservations: Sequence[Reservation], user: str | None) -> tuple[Reservation, ...]:
    """Power reservations, likewise: of another user's job the id stands for its name, and nobody for who asked."""
    return tuple(
        reservation
        if user is None or user in (reservation.who, reservation.who.rpartition(" as ")[2])
        else msgspec.structs.replace(reservation, name=reservation.id, who="")
        for reservation in reservations
    )


def nameless(reason: Reason) -> Reason:
    """A reason without the name of a person who has ordered something."""
    figures: dict[str, float | str | Reason | list[Reason] | None] = {}
    for name, value in reason.figures.items():
        if isinstance(value, Reason):
            figures[name] = nameless(value)
        elif isinstance(value, list):
            figures[name] = [nameless(part) for part in value]
        else:
            figures[name] = "an operator" if name == "who" else value
    return msgspec.structs.replace(reason, figures=figures)
