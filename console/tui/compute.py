"""View 2: the nodes in an order that can be chosen; GPUs, powers and jobs of the selected one; UPSs; the queues.

Opened on a node it lists its GPUs, then its jobs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from console.display.cap_text import limit_text
from console.display.formats import how_old, kw, number
from console.display.ink import Ink
from console.display.language import say, words
from console.display.node_list_text import list_line
from console.display.queue_text import job_line, jobs_on, power_lines, queue_line
from console.display.status_text import gpus_text, stale_word
from console.display.ups_text import UNUSUAL, ups_state, ups_texts
from console.display.viewmodel import Model
from console.display.wrapping import cut, cut_name, padded
from console.tui.canvas import Canvas
from console.tui.charts import bar
from console.tui.list_view import ListView, heads, right_head
from console.tui.node_parts import (
    MOST_TEXT_ROWS,
    draw_gpu_row,
    draw_job_detail,
    draw_job_row,
    gpu_header,
    gpu_search_text,
    job_search_text,
)
from console.tui.reading_cells import reading_ink
from dispatch.model.equipment import Gpu, Node, Ups
from dispatch.model.jobs import RunningJob
from dispatch.model.readings import worst_of

# in which order nodes are listed, and the head of their names' column
ORDERS = {"site_file": "nodes.node", "power": "nodes.node_power", "lost": "nodes.node_lost", "name": "nodes.node_name"}
CELL_COLUMNS = 40  # of a GPU
MOST_POWERS = MOST_JOBS = 4  # lines of a node's detail


class Compute(ListView):
    """A line per node, then one per UPS; opened on a node one per GPU, then one per job. No reading is never a zero."""

    name_end = name_room = 13
    orders = tuple(ORDERS)
    empty = "nodes.empty"

    def __init__(self) -> None:
        super().__init__()
        self._node, self._jobs = "", False  # which node it is opened on, empty: none; and whether on its jobs

    # ── nodes, GPUs, jobs ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def opened(self) -> str:
        """The node that it is opened on; empty: none."""
        return self._node

    def open_selected(self) -> str:
        """Open the selected node, or go on from its GPUs to its jobs; the node, empty if there is nothing to open."""
        selected = self.selected
        if not self._node and isinstance(selected, Node):
            self._turn(selected.id, jobs=False)
        elif self._node and not self._jobs:
            self._turn(self._node, jobs=True)
        else:
            return ""
        return self._node

    def close_opened(self) -> bool:
        """Back from the jobs to the GPUs, from those to the nodes; False: these are shown already."""
        if not self._node:
            return False
        node, jobs = self._node, self._jobs
        self._turn(node if jobs else "", jobs=False)
        if not jobs:
            self._selected = node
            self.redraw()
        return True

    def _turn(self, node: str, *, jobs: bool) -> None:
        self._node, self._jobs, self._selected, self.filter_text = node, jobs, None, ""
        self.redraw()

    def sort_next(self) -> None:
        """List the nodes in the next order; UPSs stay below them."""
        if not self._node:
            super().sort_next()

    def listed(self, model: Model) -> list[Hashable]:
        """As `items`, which sorts the nodes alone."""
        return self.items(model)

    def items(self, model: Model) -> list[Hashable]:
        """Nodes in the order chosen, then UPSs."""
        if model.published is None:
            return []
        text, snapshot = self.filter_text.lower(), model.published.snapshot
        if self._jobs:
            return [job for job in jobs_on(self._node, model.published.queues) if text in job_search_text(job)]
        if self._node:
            gpus = next((node.gpus for node in snapshot.nodes if node.id == self._node), ())
            return [gpu for gpu in gpus if text in gpu_search_text(gpu)]
        found = [n for n in snapshot.nodes if text in f"{n.id} {n.source} {n.note}".lower()]
        nodes: list[Hashable] = [*in_order(found, self.order)]
        return [*nodes, *(u for u in snapshot.ups if text in f"{u.id} ups {ups_state(u)}".lower())]

    def key(self, item: Hashable) -> Hashable:
        """Its id, or the place of a GPU."""
        if isinstance(item, Gpu):
            return item.index
        assert isinstance(item, (Node, Ups, RunningJob))
        return item.id

    def listed_name(self, item: Hashable) -> str:
        """Its id; GPUs and jobs have no column for it."""
        return item.id if isinstance(item, (Node, Ups)) else ""

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One node or UPS, one GPU, one job."""
        if isinstance(item, Gpu):
            draw_gpu_row(canvas, y, item)
            return
        if isinstance(item, RunningJob):
            draw_job_row(canvas, y, item, model)
            return
        if isinstance(item, Ups):
            draw_ups(canvas, y, item, self.spare)
            return
        assert isinstance(item, Node)
        assert model.published is not None
        spare = self.spare
        canvas.put(1, y, cut_name(item.id, 13 + spare))
        canvas.put(15 + spare, y, kw(item.w.value), reading_ink(item.w))
        full = max((n.w.good or 0.0) for n in model.published.snapshot.nodes)
        canvas.put(21 + spare, y, bar(item.w.good, full, 8), reading_ink(item.w))
        canvas.put(33 + spare, y, number(item.cpu_pct.value, 5, 0), reading_ink(item.cpu_pct))
        canvas.put(40 + spare, y, number(item.memory_pct.value, 5, 0), reading_ink(item.memory_pct))
        canvas.right(52 + spare, y, gpus_text(item), Ink.DIM if item.gpus_busy.doubted else Ink.PLAIN)
        canvas.put(54 + spare, y, say("nodes.critical") if item.critical else "")
        x = 64 + spare
        if stale := stale_word(item.w, model.extra_age_s):
            x = canvas.put(x, y, f"{stale} ", Ink.MEDIUM)
        canvas.put(x, y, cut(f"{item.source}  {item.note}".rstrip(), canvas.width - 1 - x), Ink.DIM)

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """Room for the GPUs, while most of the nodes stay in sight."""
        if self._node:
            return 1 + (MOST_TEXT_ROWS if self._jobs else 1) + len(last_lines(model))
        nodes = model.published.snapshot.nodes if model.published else ()
        gpus = max((len(n.gpus) for n in nodes), default=0)
        powers = max((len(n.powers) for n in nodes), default=0)
        queues = model.published.queues if model.published else ()
        jobs = MOST_JOBS if any(queue.jobs for queue in queues) else 0
        below = len(last_lines(model))
        rows = 2 + -(-gpus // cells_in_row(width)) + min(powers, MOST_POWERS) + jobs + below
        return min(rows, max(3, height // 2 + (2 if below else 0)))

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """GPUs, powers and jobs of the selected node, or why there is nothing to show; below them the queues."""
        if isinstance(item, RunningJob):
            draw_job_detail(canvas, top, item, model)
            return
        if isinstance(item, Gpu):
            canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
            canvas.put(1, top + 1, cut(say("nodes.gpus_hint", node=self._node), canvas.width - 2), Ink.DIM)
            return
        if isinstance(item, Ups):
            canvas.put(1, top, cut(" · ".join(ups_texts(item)), canvas.width - 2))
            return
        assert isinstance(item, Node)
        below = draw_gpus(canvas, top, item, cap_text(item, model))
        powers = item.powers[:MOST_POWERS]
        draw_powers(canvas, below, item)
        draw_jobs(canvas, below + len(powers), item, model)

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The list; in the last rows each queue, with what is kept back from its jobs, and each list that changes."""
        self.header = self._header()
        self.name_end = self.name_room = 0 if self._node else 13
        super().paint(canvas, model)
        lines = last_lines(model)
        for y, (line, ink) in enumerate(lines, start=canvas.height - len(lines)):
            canvas.put(0, y, f" {cut(line, canvas.width - 2)}".ljust(canvas.width))
            canvas.fill(y, ink)

    def _header(self) -> str:
        """The columns of what is listed."""
        if self._node:
            return say("job.head") if self._jobs else gpu_header()
        figures = right_head("nodes.kw", 3) + right_head("nodes.cpu", 18) + right_head("nodes.memory", 7)
        rest = heads(("nodes.role", 10), ("nodes.source", 0))
        return f"{padded(say(ORDERS[self.order]), 15)}{figures}{right_head('nodes.gpus', 7)}  {rest}"

    def empty_text(self, model: Model) -> str:
        """That there is no node; or why there is no GPU of the opened one, or no job."""
        if not self._node:
            return super().empty_text(model)
        return say("nodes.opened_empty", node=self._node, why=(self._no_jobs if self._jobs else self._no_gpus)(model))

    def _no_jobs(self, model: Model) -> str:
        """Why no job of the opened node is listed."""
        queues = model.published.queues if model.published else ()
        if not queues:
            return say("nodes.no_queue")
        unknown = any(queue.more_running or queue.read_utc_s is None for queue in queues)
        return say("nodes.not_all_jobs", node=self._node) if unknown else say("nodes.no_job_holds")

    def _no_gpus(self, model: Model) -> str:
        """Why no GPU of the opened node is listed."""
        nodes = model.published.snapshot.nodes if model.published else ()
        node = next((node for node in nodes if node.id == self._node), None)
        if node is None:
            return say("nodes.not_listed")
        counted = say("nodes.counted_gpus", n=node.gpus_total) if node.gpus_total else say("nodes.no_gpu")
        return say("nodes.jobs_hint", what=counted)


def last_lines(model: Model) -> list[tuple[str, Ink]]:
    """A line for each queue, what is kept back from its jobs, and each list that changes; and the ink of each."""
    if (now := model.published) is None:
        return []
    utc_s = now.snapshot.utc_s + model.extra_age_s
    queues = [
        (line, Ink.MEDIUM if queue.error or (queue.power is not None and queue.power.error) else Ink.PLAIN)
        for queue in now.queues
        for line in (queue_line(queue, model.extra_age_s), *power_lines(queue))
    ]
    lists = [(list_line(one, utc_s), Ink.MEDIUM if one.error or one.doubt else Ink.PLAIN) for one in now.node_lists]
    return queues + lists


def cap_text(node: Node, model: Model) -> str:
    """The cap that is to hold on a node, and after what time caps on it have shown; nothing without a cap."""
    caps = model.published.node_caps if model.published else ()
    cap = next((cap for cap in caps if cap.node == node.id), None)
    if cap is None:
        return limit_text(node.limit)
    text = ", ".join(filter(None, (say("nodes.capped", kw=kw(cap.cap_w).strip()), limit_text(node.limit))))
    if cap.typical_s is None or cap.longest_s is None:
        return text
    typical, longest = f"{cap.typical_s:.0f}", f"{cap.longest_s:.0f}"
    if round(cap.longest_s) > round(cap.typical_s):
        return f"{text}; {say('nodes.cap_shows_range', typical=typical, longest=longest, n=cap.seen)}"
    return f"{text}; {say('nodes.cap_shows', typical=typical, n=cap.seen)}"


def in_order(nodes: Sequence[Node], order: str) -> list[Node]:
    """The nodes by one of `ORDERS`; those alike stay in the site file's order."""
    if order == "power":
        return sorted(nodes, key=lambda node: -1.0 if node.w.good is None else node.w.good, reverse=True)
    if order == "lost":
        return sorted(
            nodes, key=lambda node: (node.w.good is not None, all(gpu.w.good is not None for gpu in node.gpus))
        )
    return sorted(nodes, key=lambda node: node.id) if order == "name" else list(nodes)


def draw_gpus(canvas: Canvas, top: int, node: Node, cap: str) -> int:
    """The GPUs of a node in cells, or why there are none; above them its cap. Returns the row below."""
    x = canvas.put(1, top, say("nodes.gpus_of", node=node.id), Ink.DIM)
    told = " · ".join(filter(None, (cap, node.note if node.gpus else "")))
    canvas.put(x + 2, top, cut(told, canvas.width - x - 3), Ink.MEDIUM)
    if not node.gpus:
        counted = say("nodes.gpus_counted", n=node.gpus_total, note=node.note or say("nodes.not_one_by_one"))
        canvas.put(1, top + 1, cut(counted if node.gpus_total else node.note or say("nodes.no_gpu"), canvas.width - 2))
        return top + 2
    cells = cells_in_row(canvas.width)
    for n, gpu in enumerate(node.gpus):
        gpu_cell(canvas, 1 + n % cells * (canvas.width // cells), top + 1 + n // cells, gpu)
    return top + 1 + -(-len(node.gpus) // cells)


def cells_in_row(width: int) -> int:
    """How many GPUs stand in a row."""
    return max(2, width // CELL_COLUMNS)


def draw_jobs(canvas: Canvas, top: int, node: Node, model: Model) -> None:
    """The jobs that hold a node, as many as there is room for above the last lines."""
    queues = model.published.queues if model.published else ()
    jobs, room = jobs_on(node.id, queues), canvas.height - len(last_lines(model)) - top
    if not queues or room <= 0:
        return
    shown = jobs[: room if len(jobs) <= room else room - 1]
    spare, y = room - len(shown) - (len(shown) < len(jobs)), top
    for job in shown:
        canvas.put(1, y, cut(say("nodes.job", job=job_line(job, model.now_utc_s, model.drawn)), canvas.width - 2))
        y += 1
        if job.told is not None and spare > 0:  # what its owner is told
            canvas.put(5, y, cut(words(job.told), canvas.width - 6), Ink.MEDIUM)
            spare, y = spare - 1, y + 1
    if len(shown) < len(jobs):
        canvas.put(1, y, say("nodes.more_jobs", n=len(jobs) - len(shown), node=node.id), Ink.DIM)
    elif not jobs:
        unknown = any(queue.more_running or queue.read_utc_s is None for queue in queues)
        canvas.put(1, top, say("nodes.jobs_by", node=node.id) if unknown else say("nodes.no_job"), Ink.DIM)


def draw_powers(canvas: Canvas, top: int, node: Node) -> None:
    """Each power that is known of a node: which counts, how it was got, how often it is measured, how old it is."""
    for y, power in enumerate(node.powers[:MOST_POWERS], start=top):
        counts = power.source == node.source and node.w.good is not None
        every = say("nodes.measured_every", s=f"{power.period_s:g}") if power.period_s else ""
        old = f", {how_old(power.w.age_s)}" if power.w.value is not None else say("nodes.not_known")
        x = canvas.put(1, y, "→ " if counts else "  ")
        x = canvas.put(x, y, f"{kw(power.w.value)} kW  ", reading_ink(power.w))
        canvas.put(x, y, cut(f"{power.source}{every}{old}", canvas.width - x - 1), Ink.PLAIN if counts else Ink.DIM)


def draw_ups(canvas: Canvas, y: int, ups: Ups, spare: int = 0) -> None:
    """Its power and its state. `spare`: columns that names have besides."""
    canvas.put(1, y, cut(ups.id, 13 + spare))
    canvas.put(15 + spare, y, kw(ups.w.value), reading_ink(ups.w))
    canvas.put(54 + spare, y, say("nodes.ups"))
    canvas.put(
        64 + spare, y, cut(ups_state(ups), canvas.width - 65 - spare), Ink.MEDIUM if ups.says(*UNUSUAL) else Ink.DIM
    )


def gpu_cell(canvas: Canvas, x: int, y: int, gpu: Gpu) -> None:
    """One GPU: power of its limit, use, temperature. Of one that says nothing, by what it is known."""
    held, limit = gpu.enforced_w.value, gpu.limit_w.value
    x = canvas.put(x, y, f"{gpu.index:>2} ", Ink.DIM)
    if gpu == Gpu(gpu.index, gpu.name, uuid=gpu.uuid):
        canvas.put(x, y, f"{number(None, 4, 0)} W  {say('nodes.silent', gpu=gpu.uuid[:12] or say('nodes.it'))}")
        return
    lower = held is not None and limit is not None and held < limit - 1
    shown = held if lower else limit
    power = f"{number(gpu.w.value, 4, 0)}{'' if shown is None else f'/{shown:.0f}'} W"
    x = canvas.put(
        x, y, padded(say("nodes.set", power=power, limit=f"{limit:.0f}") if lower else power, 12), reading_ink(gpu.w)
    )
    x = canvas.put(x, y, f"{number(gpu.util_pct.value, 4, 0)} %", reading_ink(gpu.util_pct))
    x = canvas.put(x, y, f"{number(gpu.temp_c.value, 4, 0)} °C", reading_ink(gpu.temp_c))
    old = stale_word(worst_of((gpu.w, gpu.util_pct, gpu.temp_c)), 0.0)
    canvas.put(x, y, f" {old.split()[0]}" if old else "", Ink.MEDIUM)
