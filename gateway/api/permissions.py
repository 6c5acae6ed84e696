"""Everything that can be asked of the gateway: the role it takes, and whether it raises risk."""

from __future__ import annotations

import msgspec

from gateway.api.roles import Role


class Command(msgspec.Struct, frozen=True):
    """What a command needs. `raises`: it raises risk, so it must be on disk first and come from a live console."""

    role: Role
    words: str = ""  # for people, where it may be refused
    raises: bool = False


# Everything that can be asked of the gateway, and the role it takes. A row with a second word is a case of its own.
COMMANDS: dict[str, Command] = {
    "status": Command(Role.VIEWER),
    "history": Command(Role.VIEWER),
    "events": Command(Role.VIEWER),
    "why": Command(Role.VIEWER),
    "decisions": Command(Role.VIEWER),
    "audit": Command(Role.VIEWER),
    "order.list": Command(Role.VIEWER),
    "order.preview": Command(Role.VIEWER),
    "alarm.acknowledge": Command(Role.OPERATOR, "acknowledging alarms"),
    "order.set setpoint": Command(Role.OPERATOR, "ordering a battery power", raises=True),
    "order.set import-target": Command(Role.OPERATOR, "ordering an import", raises=True),
    "order.set soc-target": Command(Role.OPERATOR, "ordering a state of charge", raises=True),
    "order.set hold": Command(Role.OPERATOR, "holding the batteries"),
    "order.set reserve-level": Command(Role.OPERATOR, "changing the reserve", raises=True),
    "order.set reserve-level below the declared": Command(
        Role.ENGINEER, "a reserve below the declared one", raises=True
    ),
    "order.set node-cap": Command(Role.OPERATOR, "capping a node", raises=True),
    "order.set disable": Command(Role.ENGINEER, "disabling a PCS", raises=True),
    "order.end": Command(Role.OPERATOR, "ending an order"),
    "order.end disable": Command(Role.ENGINEER, "enabling a PCS", raises=True),
    "stop": Command(Role.OPERATOR, "stopping the batteries"),
    "reservation.list": Command(Role.VIEWER),
    "reservation.ask": Command(Role.OPERATOR, "reserving power", raises=True),
    "reservation.withdraw": Command(Role.OPERATOR, "withdrawing a reservation"),
    "drill.status": Command(Role.VIEWER),
    "drill.check": Command(Role.VIEWER),
    "drill.reports": Command(Role.VIEWER),
    "drill.start": Command(Role.OPERATOR, "starting a drill", raises=True),
    "drill.abort": Command(Role.OPERATOR, "aborting a drill"),
    "island.reset": Command(Role.ENGINEER, "resetting an islanding fault", raises=True),
    "island.black_start": Command(Role.ENGINEER, "a black start", raises=True),
}
