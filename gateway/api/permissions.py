"""The permission table: every request that the gateway answers, the role it takes, and whether it raises risk.

The dispatcher refuses a request that is not in it, and no gateway starts with a handler that has no row here.
"""

from __future__ import annotations

import msgspec

from gateway.api.protocol import Request
from gateway.api.roles import Role


class Permission(msgspec.Struct, frozen=True):
    """What a request takes. `raises_risk`: it must be on disk before it takes effect, and come from a live console.

    `query`: it changes nothing, although not everybody may ask.
    """

    role: Role
    description: str = ""  # for people, where it may be refused
    raises_risk: bool = False
    query: bool = False


# A row is a request's method. Cases that take another role have rows of their own: the method, a blank, the case.
PERMISSIONS: dict[str, Permission] = {
    # queries
    "status": Permission(Role.VIEWER),
    "role": Permission(Role.VIEWER),
    "plan": Permission(Role.VIEWER),
    "history": Permission(Role.VIEWER),
    "events": Permission(Role.VIEWER),
    "at": Permission(Role.VIEWER),
    "past": Permission(Role.VIEWER),
    "why": Permission(Role.VIEWER),
    "decisions": Permission(Role.VIEWER),
    "audit": Permission(Role.VIEWER),
    "iq": Permission(Role.VIEWER),
    "flex": Permission(Role.VIEWER),
    "drill.reports": Permission(Role.VIEWER),
    "queue.jobs": Permission(Role.VIEWER),
    # of somebody who looks after many sites; no names of users, jobs and nodes
    "fleet.now": Permission(Role.VIEWER),
    "fleet.blocks": Permission(Role.VIEWER),
    "fleet.quarters": Permission(Role.VIEWER),
    "fleet.events": Permission(Role.VIEWER),
    "fleet.head": Permission(Role.VIEWER),
    "fleet.where": Permission(Role.VIEWER),
    "fleet.hold": Permission(Role.VIEWER, "keeping blocks until they are fetched", query=True),  # deletes them later
    # jobs; a viewer sees those of its own Unix user
    "jobs.list": Permission(Role.VIEWER),
    "jobs.list of others": Permission(Role.OPERATOR, "seeing other users' jobs", query=True),
    "jobs.report": Permission(Role.VIEWER),
    "jobs.report of others": Permission(Role.OPERATOR, "seeing other users' jobs", query=True),
    "job.report": Permission(Role.SCHEDULER, "reporting a job"),
    "job.progress": Permission(Role.VIEWER),
    "job.progress of others": Permission(Role.SCHEDULER, "reporting for other users' jobs", query=True),
    # registers of devices
    "device.registers": Permission(Role.VIEWER),
    "device.read": Permission(Role.ENGINEER, "asking a device for registers", query=True),
    "device.write": Permission(Role.ENGINEER, "writing to a device", raises_risk=True),
    # alarms
    "alarm.acknowledge": Permission(Role.OPERATOR, "acknowledging alarms"),
    "alarm.acknowledge contact-latched": Permission(Role.OPERATOR, "acknowledging alarms", raises_risk=True),
    "alarm.shelve": Permission(Role.OPERATOR, "shelving an alarm", raises_risk=True),
    "alarm.out_of_service": Permission(Role.ENGINEER, "taking an alarm out of service", raises_risk=True),
    "alarm.return": Permission(Role.OPERATOR, "listing an alarm again"),
    "alarm.history": Permission(Role.VIEWER),
    # notifications
    "notify.test": Permission(Role.OPERATOR, "sending a test of notifications", query=True),
    # manual orders
    "order.list": Permission(Role.VIEWER),
    "order.preview": Permission(Role.VIEWER),
    "order.set setpoint": Permission(Role.OPERATOR, "ordering a battery power", raises_risk=True),
    "order.set import-target": Permission(Role.OPERATOR, "ordering an import", raises_risk=True),
    "order.set soc-target": Permission(Role.OPERATOR, "ordering a state of charge", raises_risk=True),
    "order.set hold": Permission(Role.OPERATOR, "holding the batteries"),
    "order.set reserve-level": Permission(Role.OPERATOR, "changing the reserve", raises_risk=True),
    "order.set reserve-level below the declared": Permission(
        Role.ENGINEER, "a reserve below the declared one", raises_risk=True
    ),
    "order.set node-cap": Permission(Role.OPERATOR, "capping a node", raises_risk=True),
    "order.set disable": Permission(Role.ENGINEER, "disabling a PCS", raises_risk=True),
    "order.end": Permission(Role.OPERATOR, "ending an order"),
    "order.end disable": Permission(Role.ENGINEER, "enabling a PCS", raises_risk=True),
    "stop": Permission(Role.OPERATOR, "stopping the batteries"),
    # signals from outside; a signed one is judged by its signature
    "signal.list": Permission(Role.VIEWER),
    "signal.send": Permission(Role.VIEWER, "handing in a signed signal"),
    "signal.send unsigned": Permission(Role.OPERATOR, "entering a signal without a signature", raises_risk=True),
    "signal.end": Permission(Role.OPERATOR, "ending a signal"),
    # grid events
    "event.list": Permission(Role.VIEWER),
    "event.preview": Permission(Role.VIEWER),
    "event.start": Permission(Role.OPERATOR, "starting a grid event", raises_risk=True),
    "event.abort": Permission(Role.OPERATOR, "aborting a grid event"),
    # power reservations
    "reservation.list": Permission(Role.VIEWER),
    "reservation.ask": Permission(Role.SCHEDULER, "reserving power", raises_risk=True),
    "reservation.withdraw": Permission(Role.SCHEDULER, "withdrawing a reservation"),
    "reservation.withdraw another's": Permission(Role.OPERATOR, "withdrawing a reservation of somebody else"),
    # proofs
    "prove.list": Permission(Role.VIEWER),
    "prove.check": Permission(Role.VIEWER),
    "prove.status": Permission(Role.VIEWER),
    "prove.start": Permission(Role.ENGINEER, "proving a PCS", raises_risk=True),
    "prove.abort": Permission(Role.OPERATOR, "aborting a proof"),
    # islanding
    "drill.status": Permission(Role.VIEWER),
    "drill.check": Permission(Role.VIEWER),
    "drill.start": Permission(Role.OPERATOR, "starting a drill", raises_risk=True),
    "drill.abort": Permission(Role.OPERATOR, "aborting a drill"),
    "island.reset": Permission(Role.ENGINEER, "resetting an islanding fault", raises_risk=True),
    "island.black_start": Permission(Role.ENGINEER, "a black start", raises_risk=True),
}


def method_of(row: str) -> str:
    """The method of a row, without its case."""
    return row.partition(" ")[0]


METHODS = frozenset(map(method_of, PERMISSIONS))


def urgent(request: Request) -> str | None:
    """The row of a command that does not raise risk, e.g. a stop; None for queries and whatever may raise it.

    Such a command is taken however much else its user asks for (`gateway/api/admission.py`).
    """
    kind = request.params.get("kind")
    for row in (request.method, f"{request.method} {kind}" if isinstance(kind, str) else ""):
        permission = PERMISSIONS.get(row)
        if (
            permission is not None
            and permission.role > Role.VIEWER
            and not (permission.raises_risk or permission.query)
        ):
            return row
    return None
