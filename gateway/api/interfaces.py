"""What requests need of the running gateway. Its parts have these methods; requests import none of their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import date
from typing import Any, Protocol

from dispatch.accounting.records import JobRecord
from dispatch.model.islanding import DrillReport, IslandReply, IslandRequest
from dispatch.model.jobs import Job, Queue, QueueNow
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.planning.inputs import PlanInputs
from drivers.register_view import RegisterValue, WrittenValue
from gateway.api.protocol import DrillPlan, Published
from gateway.energy_iq_history import Report
from storage.reader import Archive


class Loop(Protocol):
    """The control loop."""

    @property
    def published(self) -> Published | None:
        """The state after the last tick; None before the first."""
        ...

    async def next_tick(self) -> Published:
        """Wait for the next tick; the state after it."""
        ...

    def submit(self, request: IslandRequest) -> Future[IslandReply]:
        """Hand a request to the next tick. The future ends with its answer."""
        ...

    def withdraw(self, id: str) -> bool:
        """Take back a request that no tick has seen yet; False: one has."""
        ...


class Notifications(Protocol):
    """The receivers of notifications."""

    async def test(self, id: str | None) -> list[dict[str, Any]]:
        """Send a test to one, or to all; what came of each. Raises CommandRefused."""
        ...


class Planner(Protocol):
    """The planning service."""

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""
        ...

    @property
    def error(self) -> Reason | None:
        """Why the last attempt to make a plan failed; None: it did not."""
        ...

    @property
    def at_risk(self) -> dict[str, Reason]:
        """Why a reservation, by id, could not be kept as things stand; those that can are not in it."""
        ...

    def inputs(self) -> PlanInputs | None:
        """What a plan is made of now; None while the site is not known well enough."""
        ...


class EnergyIq(Protocol):
    """The Energy IQ service."""

    async def report(self, day: date, utc_s: float) -> Report:
        """A day's report. Raises NoRecords, QueryTimeout, SolverFailed; ValueError for a day that has not begun."""
        ...


class Drills(Protocol):
    """The state of drills."""

    @property
    def report(self) -> DrillReport | None:
        """The last drill's."""
        ...

    @property
    def audit_head(self) -> str:
        """The audit's head when that report was recorded."""
        ...

    @property
    def plan(self) -> DrillPlan | None:
        """What the schedule says; None: the site file has none."""
        ...


class Queues(Protocol):
    """The queues of the schedulers."""

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Of every scheduler, with the jobs last read."""
        ...

    def node_of(self, name: str) -> str:
        """The id of a node that a scheduler names; one that is not the site's stays."""
        ...

    def told(self, job: Job) -> Reason | None:
        """What the owner of a job is told; None: nothing."""
        ...

    def now(self) -> tuple[QueueNow, ...]:
        """In counts, with their age."""
        ...


class Nodes(Protocol):
    """The compute nodes."""

    @property
    def cappable(self) -> frozenset[str]:
        """Those that take a power cap."""
        ...


class JobAccounts(Protocol):
    """What jobs draw."""

    @property
    def active(self) -> bool:
        """Whether jobs are metered at all."""
        ...

    @property
    def full(self) -> bool:
        """Whether so many run that others are not metered."""
        ...

    async def live(self, user: str | None) -> list[JobRecord]:
        """The runs that go on or are not recorded yet; of one user, or of all."""
        ...

    def progress(self, job: str, units: float, cluster: str, user: str | None) -> int:
        """A running job of a user, None: anybody's, has done so many units. Spans under caps that are known of such.

        Raises CommandRefused.
        """
        ...

    def begins(self, job: str, gpus: Sequence[str], cluster: str = "") -> bool:
        """A node told which of its GPUs a job of a cluster holds; False: too many reports."""
        ...

    def ends(self, job: str, cluster: str = "") -> bool:
        """A node told that a job of a cluster has ended on it; False: too many reports."""
        ...


class Records(Protocol):
    """The record on disk."""

    async def ask(self, ask: Callable[[Archive], Any]) -> Any:
        """Read from it in a thread. Raises CommandRefused where the disk does not answer, and those of `Archive`."""
        ...


class Registers(Protocol):
    """The registers of the site's devices."""

    def last(self, device_id: str) -> list[RegisterValue]:
        """What was read last of each register. Raises CommandRefused."""
        ...

    async def read(
        self, device_id: str, address: int, count: int, unit: int | None, function: int
    ) -> list[RegisterValue]:
        """Read registers once. Raises CommandRefused, ValueError."""
        ...

    def check_write(self, device_id: str, name: str, *, setpoints: bool) -> object:
        """Raise CommandRefused unless a person may write this value."""
        ...

    async def write(self, device_id: str, name: str, value: float | str, *, setpoints: bool) -> WrittenValue:
        """Write a value and read it back. Raises CommandRefused."""
        ...
