"""The scene `outage` with the alarms of its own record as their history, and two of its alarms taken off the list."""

from __future__ import annotations

import msgspec
import scenes
from scenes import Scene

from dispatch.alarms.episodes import AlarmEpisode
from dispatch.alarms.shelving import OUT_OF_SERVICE, SHELVED, Suppression
from dispatch.alarms.states import Alarm, ShelvedAlarm

SHELVED_FOR_S = 3600.0
GONE = "returned to normal"


def alarm_scene() -> Scene:
    """The first of the listed alarms stays; of the others one is shelved for an hour, the rest are out of service."""
    scene = scenes.read("outage")
    published = scene.published
    first, *others = published.alarms
    off = tuple(_off(alarm, n, published.snapshot.utc_s) for n, alarm in enumerate(others))
    answers = scene.answers | {"alarm.history": msgspec.to_builtins(episodes(scene))}
    return msgspec.structs.replace(
        scene, published=msgspec.structs.replace(published, alarms=(first,), shelved=off), answers=answers
    )


def _off(alarm: Alarm, n: int, utc_s: float) -> ShelvedAlarm:
    if n == 0:
        why = Suppression(alarm.id, SHELVED, "ada", "breaker test", utc_s - 600.0, utc_s - 600.0 + SHELVED_FOR_S)
    else:
        why = Suppression(alarm.id, OUT_OF_SERVICE, "grace", "meter is being replaced", utc_s - 7200.0)
    return ShelvedAlarm(why, alarm.state, alarm.priority, alarm.group)


def episodes(scene: Scene) -> list[AlarmEpisode]:
    """Each alarm of the scene's log with when it came and went, the newest first."""
    found: list[AlarmEpisode] = []
    for event in (e for e in scene.events if e.kind == "alarm"):
        if not event.text.endswith(GONE):
            found.insert(0, AlarmEpisode(event.subject, event.severity, event.text, event.utc_s))
            continue
        at = next((n for n, one in enumerate(found) if one.id == event.subject and one.gone_utc_s is None), None)
        if at is not None:
            found[at] = msgspec.structs.replace(found[at], gone_utc_s=event.utc_s)
    return found
