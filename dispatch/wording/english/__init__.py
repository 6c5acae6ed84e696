"""The English words of every code: a template per code, by topic."""

from __future__ import annotations

from dispatch.wording.english import (
    alarms,
    charges,
    doubts,
    drills,
    flexibility,
    invoice,
    islanding,
    job_queue,
    labels,
    meter_comparison,
    orders,
    owner_notes,
    past,
    planning,
    proofs,
    refusals,
    rules,
    state_of_charge,
)

TEMPLATES: dict[str, str] = {
    **rules.TEMPLATES,
    **orders.TEMPLATES,
    **refusals.TEMPLATES,
    **islanding.TEMPLATES,
    **drills.TEMPLATES,
    **planning.TEMPLATES,
    **job_queue.TEMPLATES,
    **owner_notes.TEMPLATES,
    **alarms.TEMPLATES,
    **state_of_charge.TEMPLATES,
    **doubts.TEMPLATES,
    **proofs.TEMPLATES,
    **invoice.TEMPLATES,
    **flexibility.TEMPLATES,
}
PHRASES: dict[str, str] = {**charges.PHRASES, **meter_comparison.PHRASES}
PAST: dict[str, str] = past.TEMPLATES
RULES = rules.NAMES
ALARMS = alarms.TEXTS
LABELS = labels.LABELS
