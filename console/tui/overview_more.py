"""What a terminal of 176 columns and more adds beside the overview: jobs, prices ahead, alarms."""

from __future__ import annotations

from console.display.formats import cents, duration, hour_minute, weekday_hour_minute
from console.display.ink import Ink
from console.display.language import alarm_text, say
from console.display.queue_text import queue_line
from console.display.status_text import PRIORITY_MARKS, old_title
from console.display.viewmodel import Model, not_kept, ranked
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget
from dispatch.alarms.states import AlarmState
from dispatch.model.jobs import RunningJob


def _draw_title(canvas: Canvas, text: str, model: Model) -> None:
    """The panel's title; without a gateway, how old what it shows is."""
    x = canvas.put(0, 0, text, Ink.DIM)
    if old := old_title(model):
        canvas.fit(x + 1, 0, [old, ""], Ink.MEDIUM)


class JobsPanel(DiffWidget):
    """How many jobs run and wait in each queue; those that hold most GPUs."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title, a row for each queue, the jobs below."""
        _draw_title(canvas, say("panel.jobs"), model)
        if model.past is not None:
            canvas.put(0, 1, say("panel.jobs_not_kept"), Ink.DIM)
            return
        if model.published is None:
            return
        queues = model.published.queues
        if not queues:
            canvas.put(0, 1, say("panel.no_scheduler"), Ink.DIM)
        rows = [
            (line, Ink.MEDIUM if queue.error else Ink.PLAIN)
            for queue in queues
            for line in wrap(queue_line(queue, model.extra_age_s), canvas.width - 1, 2)
        ]
        jobs = sorted((job for queue in queues for job in queue.jobs), key=lambda job: (-job.gpus, -job.cpus, job.id))
        rows += [(_job_text(job, model.now_utc_s), Ink.PLAIN) for job in jobs]
        room = canvas.height - 1
        shown = rows if len(rows) <= room else rows[: room - 1]
        for y, (text, ink) in enumerate(shown, start=1):
            canvas.put(0, y, cut(text, canvas.width - 1), ink)
        if len(rows) > room:
            canvas.put(0, room, say("panel.more", n=len(rows) - len(shown)), Ink.DIM)


def _job_text(job: RunningJob, now_utc_s: float | None) -> str:
    """Its name or id, its user, its share, for how long it has run."""
    share = f"{job.gpus} GPU" if job.gpus else f"{job.cpus} CPU" if job.cpus else ""
    since = "" if job.started_utc_s is None or now_utc_s is None else duration(max(0.0, now_utc_s - job.started_utc_s))
    return "  ".join(part for part in (job.name or job.id, job.user, share, since) if part)


class PricesPanel(DiffWidget):
    """The next changes of the import price."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title, and a row for each change as far as they fit."""
        _draw_title(canvas, say("panel.prices"), model)
        if model.published is None:
            return
        if not_kept(model, "prices"):
            canvas.put(0, 1, say("panel.prices_not_kept"), Ink.DIM)
            return
        tariff, now_s = model.published.tariff, model.now_utc_s or 0.0
        coming = [(start_s, price) for start_s, price in tariff.ahead if start_s > now_s]
        for y, (start_s, price) in enumerate(coming[: canvas.height - 1], start=1):
            x = canvas.put(0, y, weekday_hour_minute(start_s, model.timezone), Ink.DIM) + 2
            x = canvas.put(x, y, cents(price))
            canvas.put(x, y, " ct/kWh", Ink.DIM)
        if not coming:
            canvas.put(0, 1, say("panel.no_prices"), Ink.DIM)


class AlarmsPanel(DiffWidget):
    """The most urgent alarms."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A title, and a row for each as far as they fit."""
        _draw_title(canvas, say("panel.alarms"), model)
        if model.published is None:
            return
        alarms, room = ranked(model.published.alarms), canvas.height - 1
        for y, alarm in enumerate(alarms[: room if len(alarms) <= room else room - 1], start=1):
            mark, ink = PRIORITY_MARKS[alarm.priority]
            canvas.put(0, y, mark, Ink.DIM if alarm.state is AlarmState.ACKNOWLEDGED else ink)
            x = canvas.put(3, y, hour_minute(alarm.since_utc_s, model.timezone), Ink.DIM) + 1
            canvas.put(x, y, cut(alarm_text(alarm.id).title, canvas.width - x - 1))
        if len(alarms) > room:
            canvas.put(0, room, say("panel.alarms_more", n=len(alarms) - room + 1), Ink.DIM)
        elif not alarms:
            canvas.put(0, 1, say("panel.no_alarm"))
