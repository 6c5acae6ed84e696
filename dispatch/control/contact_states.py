"""Keeps the state of every contact: debounced, latched where it protects, released by an acknowledgement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from dispatch.config.contact_terms import PROTECTIVE, ContactStepTerms, ContactTerms
from dispatch.control.coded_steps import CodedSteps
from dispatch.model.contacts import Contact, ContactView
from dispatch.model.events import Event
from dispatch.model.readings import UNKNOWN
from dispatch.model.reasons import Reason, joined
from dispatch.model.signals import Limits
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

LOST = "lost"
OF_OPERATOR = ("grid_operator", "operator_wire")


class _Point:
    """One contact. Times are those of its samples, so that one sample shown twice does not count twice."""

    def __init__(self, terms: ContactTerms) -> None:
        self.terms = terms
        self.state, self.since_s, self.read = LOST, 0.0, False
        self.latched = False
        self._coming, self._coming_s = "", 0.0

    @property
    def protects(self) -> bool:
        return self.terms.purpose in PROTECTIVE

    @property
    def limits(self) -> bool:
        """Whether it is a step of the grid operator's that is in force, or a wire that may say one."""
        return self.terms.purpose in OF_OPERATOR and self.state in ("active", "broken")

    def update(self, contact: Contact | None, mono_s: float) -> bool:
        """Take what is read now; True when its state changes."""
        status = UNKNOWN if contact is None else contact.state
        word, taken_s = status.good, mono_s - (status.age_s or 0.0)
        before = self.state
        self.read = word is not None
        if word is None:
            self._coming = ""
            if self.protects:  # a step of the grid operator's stays in force while its input is not read
                self.state = LOST
        elif word == before:
            self._coming = ""
        elif self._stands(word, taken_s):
            self.state = word
        if self.state != before:
            self.since_s = mono_s
        self.latched |= self.protects and self.state in ("active", "broken")
        return self.state != before

    def _stands(self, word: str, taken_s: float) -> bool:
        if word != self._coming:
            self._coming, self._coming_s = word, taken_s
        return taken_s - self._coming_s >= self.terms.debounce_s

    def view(self) -> ContactView:
        terms, active = self.terms, self.limits
        return ContactView(
            terms.id,
            terms.purpose,
            self.state,
            self.since_s,
            read=self.read,
            latched=self.latched,
            export_limit_w=terms.export_limit_w if active else None,
            import_limit_w=terms.import_limit_w if active else None,
            charge_limit_w=terms.charge_limit_w if active else None,
            production_limit_w=terms.production_limit_w if active else None,
        )


class ContactStates:
    """All contacts of a site. `kept` outlives a restart, so that no gateway starts a battery behind an EPO."""

    def __init__(self, terms: Iterable[ContactTerms], steps: Iterable[ContactStepTerms] = ()) -> None:
        self._coded = CodedSteps(steps)
        self._points = {t.id: _Point(t) for t in terms}
        self._released: set[str] = set()

    @property
    def latched(self) -> tuple[str, ...]:
        """The contacts that wait to be acknowledged, or are still active."""
        return tuple(id for id, point in self._points.items() if point.latched)

    @property
    def kept(self) -> tuple[str, ...]:
        """These, and the steps of the grid operator's that are in force."""
        return tuple(id for id, point in self._points.items() if point.latched or point.limits)

    def adopt(self, ids: Iterable[str]) -> None:
        """Take over what an earlier gateway had latched, and steps in force until their inputs are read."""
        for id in ids:
            if (point := self._points.get(id)) is not None:
                point.latched = point.protects
                if point.terms.purpose in OF_OPERATOR and point.state == LOST:
                    point.state = "active"

    def latch_all(self) -> tuple[str, ...]:
        """What an earlier gateway had latched cannot be known: all that protect are latched, and named.

        Otherwise a battery could start behind an EPO that nobody has acknowledged.
        """
        for point in self._points.values():
            point.latched = point.protects
        return self.latched

    def release(self, id: str) -> None:
        """Somebody has acknowledged it: it is released at the next step, if it is inactive then."""
        self._released.add(id)

    def step(self, snapshot: Snapshot) -> tuple[tuple[ContactView, ...], tuple[Event, ...]]:
        """Every contact as it counts now, and what to report."""
        found = {contact.id: contact for contact in snapshot.contacts}
        events = [*self._changes(found, snapshot), *self._releases(snapshot.utc_s)]
        views = tuple(point.view() for point in self._points.values())
        coded, changed = self._coded.step(views, snapshot.mono_s)
        for view in changed:
            severity = "info" if view.state == "inactive" else "warning"
            events.append(Event(snapshot.utc_s, "device", severity, view.id, words(contact_reason(view))))
        return (*views, *coded), tuple(events)

    def _changes(self, found: dict[str, Contact], snapshot: Snapshot) -> Iterator[Event]:
        for id, point in self._points.items():
            was = point.state
            if point.update(found.get(id), snapshot.mono_s) and not (was == LOST and point.state == "inactive"):
                quiet = point.state == "inactive" or (point.terms.purpose, point.state) == ("operator_wire", "active")
                severity = "info" if quiet else "alarm" if point.protects else "warning"
                yield Event(snapshot.utc_s, "device", severity, id, words(contact_reason(point.view())))

    def _releases(self, utc_s: float) -> Iterator[Event]:
        for id in self._released:
            point = self._points.get(id)
            if point is not None and point.latched and point.state == "inactive":
                point.latched = False
                yield Event(utc_s, "device", "info", id, words(Reason("contact.released")))
        self._released.clear()


def contact_reason(view: ContactView) -> Reason:
    """What a contact says, and that it is latched."""
    purpose = {
        "epo": Reason("contact.epo"),
        "fire": Reason("contact.fire"),
        "gas": Reason("contact.gas"),
        "na_protection": Reason("contact.na_protection"),
        "cooling_fault": Reason("contact.cooling_fault"),
        "door": Reason("contact.door"),
        "grid_operator": Reason("contact.grid_operator"),
        "operator_wire": Reason("contact.operator_wire"),
        "alarm": Reason("contact.alarm"),
    }[view.purpose]
    if view.latched and view.state == "inactive":
        return Reason("contact.latched", {"contact": view.id, "purpose": purpose})
    if not view.read and view.state != LOST:
        last = {
            "active": Reason("contact.was_active"),
            "inactive": Reason("contact.was_inactive"),
            "broken": Reason("contact.was_broken"),
        }[view.state]
        return Reason("contact.state", {"contact": view.id, "purpose": purpose, "state": last})
    state = {
        "active": Reason("contact.active"),
        "inactive": Reason("contact.inactive"),
        "broken": Reason("contact.no_step") if view.coded else Reason("contact.broken"),
        LOST: Reason("contact.lost"),
    }[view.state]
    return Reason("contact.state", {"contact": view.id, "purpose": purpose, "state": state})


def stop_reason(views: Iterable[ContactView]) -> Reason | None:
    """Why contacts hold the battery at 0 W; None if none does."""
    stops = [contact_reason(view) for view in views if view.stops]
    return Reason("contact.stop", {"why": joined(stops)}) if stops else None


def operator_limits(views: Iterable[ContactView]) -> Limits:
    """What the steps of the grid operator's that are in force allow together."""
    steps = [v for v in views if v.limits]
    return Limits(
        import_w=_least(v.import_limit_w for v in steps),
        export_w=_least(v.export_limit_w for v in steps),
        charge_w=_least(v.charge_limit_w for v in steps),
        production_w=_least(v.production_limit_w for v in steps),
        by=tuple(v.id for v in steps),
    )


def _least(limits_w: Iterable[float | None]) -> float:
    return min((limit_w for limit_w in limits_w if limit_w is not None), default=math.inf)
