"""The English labels of what people see on screen and command line: a template per code, by topic."""

from __future__ import annotations

from dispatch.wording.english.labels import commands, equipment, fleet, island, keys, lines, orders, plan, screen, views

LABELS: dict[str, str] = {
    **screen.LABELS,
    **views.LABELS,
    **island.LABELS,
    **plan.LABELS,
    **keys.LABELS,
    **orders.LABELS,
    **equipment.LABELS,
    **fleet.LABELS,
    **commands.LABELS,
    **lines.LABELS,
}
