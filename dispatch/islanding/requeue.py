"""Times the requeueing of jobs: told to save, given the time stated for it, then back to the queue."""

from __future__ import annotations

import math

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.shedding_steps import REQUEUE, takes_jobs


class Requeue:
    """Steps once per tick. `told`: jobs are to save; `due`: the nodes whose jobs have had their time."""

    def __init__(self, config: DispatchConfig) -> None:
        self._times_s = {n.id: n.checkpoint_s for n in config.nodes if takes_jobs(n)}
        self.due: frozenset[str] = frozenset()
        self.last_s = -math.inf  # mono_s, when jobs were last requeued
        self._told_s: float | None = None

    @property
    def told(self) -> bool:
        """Whether jobs have been told to save, and what calls for it goes on."""
        return self._told_s is not None

    @property
    def waits(self) -> bool:
        """Whether jobs that were told still have time."""
        return self.told and len(self.due) < len(self._times_s)

    def update(self, stage: int, called_for: bool, mono_s: float) -> None:
        """Take in the step of this tick. `called_for`: the site lives on its battery, or overloads its generator.

        Only then is more asked; after a break the jobs that are still there are told again. What was requeued counts as
        that until the step is undone.
        """
        if stage < REQUEUE:
            self.due = frozenset()
        if stage < REQUEUE or not called_for or not self._times_s:
            self._told_s = None
            return
        if self._told_s is None:
            self._told_s = mono_s
        waited_s = mono_s - self._told_s
        due = self.due | {id for id, wait_s in self._times_s.items() if waited_s >= wait_s}
        if due != self.due:
            self.due, self.last_s = due, mono_s
