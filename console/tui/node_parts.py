"""What a node of view 2 is opened on: a line for each GPU, then a line for each job that holds the node."""

from __future__ import annotations

from console.display.formats import ABSENT, number
from console.display.ink import Ink
from console.display.language import say, words
from console.display.queue_text import job_line
from console.display.status_text import stale_word
from console.display.viewmodel import Model
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.charts import bar
from console.tui.list_view import right_head
from console.tui.reading_cells import reading_ink
from dispatch.model.equipment import Gpu
from dispatch.model.jobs import RunningJob
from dispatch.model.readings import worst_of

MIB_PER_GIB = 1024.0
MOST_TEXT_ROWS = 4


def gpu_header() -> str:
    """The columns of a list of GPUs."""
    first = right_head("gpu.gpu", 3) + right_head("gpu.w", 7) + right_head("gpu.limit", 7)
    rest = right_head("gpu.use", 16) + right_head("gpu.temp", 8) + right_head("gpu.memory", 9)
    return f"{first}{rest}  {say('gpu.name')}"


def gpu_search_text(gpu: Gpu) -> str:
    """Everything of a GPU that a filter looks at, lower case."""
    return f"{gpu.index} {gpu.name} {gpu.uuid}".lower()


def job_search_text(job: RunningJob) -> str:
    """Everything of a job that a filter looks at, lower case."""
    return f"{job.id} {job.name} {job.user} {job.state}".lower()


def draw_gpu_row(canvas: Canvas, y: int, gpu: Gpu) -> None:
    """One GPU: power, the limit that it follows, use, temperature, memory, and what it is known by."""
    held = gpu.enforced_w if gpu.enforced_w.value is not None else gpu.limit_w
    canvas.right(4, y, str(gpu.index))
    canvas.right(11, y, number(gpu.w.value, 5, 0), reading_ink(gpu.w))
    canvas.right(18, y, number(held.value, 5, 0), Ink.DIM)
    canvas.put(19, y, bar(gpu.w.good, held.value or 1.0, 8), reading_ink(gpu.w))
    canvas.right(34, y, number(gpu.util_pct.value, 5, 0), reading_ink(gpu.util_pct))
    canvas.right(42, y, number(gpu.temp_c.value, 5, 0), reading_ink(gpu.temp_c))
    used = gpu.memory_used_mib
    canvas.right(51, y, number(None if used.value is None else used.value / MIB_PER_GIB, 7), reading_ink(used))
    old = stale_word(worst_of((gpu.w, held, gpu.util_pct, gpu.temp_c, used)), 0.0)
    x = canvas.put(53, y, f"{old} " if old else "", Ink.MEDIUM)
    canvas.put(x, y, cut(f"{gpu.name}  {gpu.uuid}".strip() or ABSENT, canvas.width - 1 - x), Ink.DIM)


def draw_job_row(canvas: Canvas, y: int, job: RunningJob, model: Model) -> None:
    """One job in a line."""
    canvas.put(1, y, cut(job_line(job, model.now_utc_s, model.drawn), canvas.width - 2))


def draw_job_detail(canvas: Canvas, top: int, job: RunningJob, model: Model) -> None:
    """The whole line, the nodes, and what its owner is told."""
    canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
    told = "" if job.told is None else f"; {words(job.told)}"
    line = job_line(job, model.now_utc_s, model.drawn)
    text = say("job.on_nodes", job=line, nodes=", ".join(job.nodes)) + told
    for y, line in enumerate(wrap(text, canvas.width - 2, MOST_TEXT_ROWS), start=top + 1):
        canvas.put(1, y, line)
