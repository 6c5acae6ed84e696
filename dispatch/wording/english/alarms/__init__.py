"""What alarms say, by topic.

`TEMPLATES`: what is seen now, behind the cause; `TEXTS`: title, cause, consequence and action. Texts may
hold `{subject}`; each action is written for a technician alone on site at night.
"""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.english.alarms import batteries, compute, devices, gateway, planning, site

TEMPLATES: dict[str, str] = {
    **site.TEMPLATES,
    **batteries.TEMPLATES,
    **devices.TEMPLATES,
    **compute.TEMPLATES,
    **planning.TEMPLATES,
    **gateway.TEMPLATES,
}
TEXTS: dict[str, AlarmText] = {
    **site.TEXTS,
    **batteries.TEXTS,
    **devices.TEXTS,
    **compute.TEXTS,
    **planning.TEXTS,
    **gateway.TEXTS,
}
