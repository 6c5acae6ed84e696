"""Finds which step of the grid operator's several wires say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from dispatch.config.contact_terms import ContactStepTerms
from dispatch.model.contacts import ContactView

UNKNOWN = "unknown"  # in a combination: a wire of which it is not known whether it is active


class CodedSteps:
    """All steps of a site; those with the same wires belong together. Outside the table all that limit count."""

    def __init__(self, steps: Iterable[ContactStepTerms]) -> None:
        groups: dict[frozenset[str], list[ContactStepTerms]] = {}
        for step in steps:
            groups.setdefault(frozenset(step.wires), []).append(step)
        self._groups = [_Group(wires, tuple(found)) for wires, found in groups.items()]

    def step(
        self, contacts: Sequence[ContactView], mono_s: float
    ) -> tuple[tuple[ContactView, ...], tuple[ContactView, ...]]:
        """Every step as it counts now, and those that have changed."""
        found = {contact.id: contact for contact in contacts}
        views: list[ContactView] = []
        changed: list[ContactView] = []
        for group in self._groups:
            before = group.said
            group.update(found, mono_s)
            now = group.views(found)
            views += now
            if before is not None and group.said != before:
                changed += [view for view in now if view.state != group.state_of(view.id, before)]
        return tuple(views), tuple(changed)


class _Group:
    """The steps of one receiver."""

    def __init__(self, wires: frozenset[str], steps: tuple[ContactStepTerms, ...]) -> None:
        self._wires, self._steps = wires, {step.id: step for step in steps}
        self._settle_s = max(step.settle_s for step in steps)
        self.said: frozenset[str] | None = None  # the active wires that count; None: never read
        self._since_s = 0.0
        self._coming: frozenset[str] | None = None
        self._coming_s = -math.inf

    def update(self, contacts: Mapping[str, ContactView], mono_s: float) -> None:
        """Take what the wires say now, once it has stood; the first is taken at once."""
        now = self._combination(contacts)
        if now is None or now == self.said:
            self._coming = None
            return
        if now != self._coming:
            self._coming, self._coming_s = now, mono_s
        if self.said is None or mono_s - self._coming_s >= self._settle_s:
            self.said, self._since_s, self._coming = now, mono_s, None

    def _combination(self, contacts: Mapping[str, ContactView]) -> frozenset[str] | None:
        """The wires that are active; None: none of them has been read yet. One that is broken fits no step."""
        states = {id: contacts[id].state for id in self._wires}
        active = {id for id, state in states.items() if state == "active"}
        if "broken" in states.values():
            return frozenset({UNKNOWN, *active})
        return None if "lost" in states.values() and not active else frozenset(active)

    def state_of(self, id: str, said: frozenset[str] | None) -> str:
        """The state of a step where the wires say this."""
        if said is None:
            return "lost"
        if all(said != frozenset(step.active) for step in self._steps.values()):
            return "broken" if self._steps[id].limits else "inactive"
        return "active" if said == frozenset(self._steps[id].active) else "inactive"

    def views(self, contacts: Mapping[str, ContactView]) -> list[ContactView]:
        read = all(contacts[id].read for id in self._wires)
        return [self._view(step, self.state_of(step.id, self.said), read) for step in self._steps.values()]

    def _view(self, step: ContactStepTerms, state: str, read: bool) -> ContactView:
        counts = state in ("active", "broken")
        return ContactView(
            step.id,
            "grid_operator",
            state,
            self._since_s,
            read=read,
            export_limit_w=step.export_limit_w if counts else None,
            import_limit_w=step.import_limit_w if counts else None,
            charge_limit_w=step.charge_limit_w if counts else None,
            production_limit_w=step.production_limit_w if counts else None,
            coded=True,
        )
