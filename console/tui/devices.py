"""View 7: how each device answers and what it says it is; and the registers of the selected one, raw and decoded."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from console.display.battery_text import battery_text
from console.display.bus_text import frequency_text, phases_text
from console.display.device_text import identity_text, link_text, proven_text, raw_text, register_value_text
from console.display.formats import age, number
from console.display.ink import Ink
from console.display.language import say
from console.display.status_text import old_title
from console.display.viewmodel import Model
from console.display.wrapping import cut, cut_name, padded, wrap
from console.tui.canvas import Canvas
from console.tui.list_view import ListView, heads, right_head
from dispatch.model.equipment import Battery, DeviceHealth
from drivers.register_view import RegisterValue

WIDE = 72  # columns, from which there is room for more than figures
WIDER = 100  # and for the proof
# The figures of a device, and where each ends behind the one before.
FIGURES = (("devices.ms", 6), ("devices.worst", 7), ("devices.fails", 7), ("devices.age", 5))
TEXT_COLUMN = 12
MOST_ERROR_ROWS = 3
OLD_S = 10.0  # a register that was read longer ago is not read in every round


class Devices(ListView):
    """A line per device; opened on one, a line per value of its registers."""

    orders = ("site_file", "name", "lost_first", "slowest_first", "failures")
    empty = "devices.empty"
    past = "devices.past_empty"

    def __init__(self) -> None:
        super().__init__()
        self._opened = ""  # the device whose registers are shown; empty: the list

    # ── which of both is shown ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def opened(self) -> str:
        """The device whose registers are shown; empty: none."""
        return self._opened

    def open_selected(self) -> str:
        """Show the registers of the selected device; its id, empty if there are none to show."""
        selected = self.selected
        past = self.model is not None and self.model.past is not None  # registers are not on record
        if self._opened or past or not isinstance(selected, DeviceHealth):
            return ""
        self._opened, self._selected, self.filter_text = selected.id, None, ""
        self.redraw()
        return self._opened

    def close_opened(self) -> bool:
        """Back to the list; False: it is shown already."""
        if not self._opened:
            return False
        self._selected, self._opened, self.filter_text = self._opened, "", ""
        self.redraw()
        return True

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def items(self, model: Model) -> list[Hashable]:
        """Devices in the site file's order, or the registers of one by address; those that hold the filter's text."""
        text = self.filter_text.lower()
        if self._opened:
            rows = model.registers if model.registers_of == self._opened else ()
            return [r for r in rows if text in f"{r.address} {r.name} {register_value_text(r)}".lower()]
        devices = model.published.snapshot.devices if model.published else ()
        return [d for d in devices if text in f"{d.id} {d.kind} {identity_text(d)} {d.error}".lower()]

    def listed(self, model: Model) -> list[Hashable]:
        """Registers always by address."""
        return self.items(model) if self._opened else super().listed(model)

    def sort_key(self, item: Hashable, order: str) -> tuple[float, str]:
        """A device by its name, its link or its failures."""
        assert isinstance(item, DeviceHealth)
        slow_ms = item.link.round_trip_ms if item.link is not None else None
        first = {
            "lost_first": float(item.online),
            "slowest_first": -(slow_ms or 0.0),
            "failures": -float(item.failures),
        }
        return first.get(order, 0.0), item.id

    def key(self, item: Hashable) -> Hashable:
        """A device's id, a register's place."""
        if isinstance(item, RegisterValue):
            return item.unit, item.function, item.address
        assert isinstance(item, DeviceHealth)
        return item.id

    def listed_name(self, item: Hashable) -> str:
        """A device's id, a register's name."""
        return item.name if isinstance(item, RegisterValue) else item.id if isinstance(item, DeviceHealth) else ""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The list, or the registers under the name of their device."""
        if not self._opened:
            self.header = list_header(canvas.width)
            self.name_end = self.name_room = 13
            super().paint(canvas, model)
            canvas.right(canvas.width - 1, 0, old_title(model), Ink.MEDIUM)
            return
        self.header = registers_header(canvas.width)
        self.name_end, self.name_room = 52, 16
        super().paint(canvas, model)

    def empty_text(self, model: Model) -> str:
        """That there is no device, or why there are no registers."""
        if not self._opened:
            return super().empty_text(model)
        known = model.registers_of == self._opened
        return (model.registers_note if known else "") or say("devices.reading", device=self._opened)

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One device, or one value."""
        if isinstance(item, RegisterValue):
            _draw_register(canvas, y, item, self.spare)
            return
        assert isinstance(item, DeviceHealth)
        asleep = model.published is not None and any(p.id == item.id and p.asleep for p in model.published.snapshot.pv)
        word, ink = _link_word(item, asleep)
        spare = self.spare
        canvas.put(1, y, cut_name(item.id, 13 + spare))
        canvas.put(15 + spare, y, word, ink)
        if model.past is not None:
            canvas.right(45 + spare, y, "—", Ink.DIM)  # counters are not kept
        elif item.link is not None:
            canvas.right(31 + spare, y, number(item.link.round_trip_ms, 6))
            canvas.right(38 + spare, y, number(item.link.round_trip_worst_ms, 6))
        if model.past is None:
            canvas.right(45 + spare, y, number(float(item.failures), 6, 0))
        canvas.right(50 + spare, y, age(None if item.age_s is None else item.age_s + model.extra_age_s), Ink.DIM)
        x = 52 + spare
        if canvas.width >= WIDER:
            proof, proof_ink = _proof_word(item)
            canvas.put(x, y, proof, proof_ink)
            x += 12
        if canvas.width >= WIDE:
            canvas.put(x, y, cut(identity_text(item), canvas.width - x - 1), Ink.DIM)

    # ── below the list ──────────────────────────────────────────────────────────────────────────────────────────────

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """Room for what is known of the selected device, or of the registers; the list has the rest."""
        if self._opened:
            return 2
        item = self.selected
        needed = 1 + len(list(_about(item, model, width))) if isinstance(item, DeviceHealth) else 0
        return min(needed, max(0, height - 5))

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """Who the device is, how its link goes, what went wrong."""
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        if isinstance(item, RegisterValue):
            canvas.put(1, top + 1, cut(say("devices.hint", device=self._opened), canvas.width - 2), Ink.DIM)
            return
        assert isinstance(item, DeviceHealth)
        for y, (label, text) in enumerate(_about(item, model, canvas.width), start=top + 1):
            x = max(TEXT_COLUMN, canvas.put(1, y, label, Ink.DIM) + 1)
            canvas.put(x, y, cut(text, canvas.width - x - 1))


def list_header(width: int) -> str:
    """The columns of the list of devices."""
    figures = "".join(right_head(code, columns) for code, columns in FIGURES)
    text = heads(("devices.device", 14), ("devices.link", 10)) + figures
    if width < WIDE:
        return text
    proof = heads(("devices.proof", 12)) if width >= WIDER else ""
    return f"{text}  {proof}{say('devices.made_by')}"


def registers_header(width: int) -> str:
    """The columns of a list of registers."""
    wide = width >= WIDE
    text = heads(
        ("devices.unit", 7), ("devices.register", 10), ("devices.raw", 21 if wide else 11), ("devices.name", 0)
    )
    return f"{padded(text, 52)}{right_head('devices.age', 7)}  {say('devices.value')}" if wide else text


def _link_word(device: DeviceHealth, asleep: bool) -> tuple[str, Ink]:
    """Whether it answers."""
    if device.online:
        return say("devices.answers"), Ink.PLAIN
    if asleep:
        return say("devices.asleep"), Ink.DIM
    return say("devices.lost" if device.reads else "devices.no_answer"), Ink.MEDIUM


def _proof_word(device: DeviceHealth) -> tuple[str, Ink]:
    """Whether what a PCS does was proven; nothing of other devices."""
    if device.kind != "pcs":
        return "", Ink.DIM
    if device.proof is None:
        return say("devices.not_proven"), Ink.DIM
    if device.proof.changed_utc_s is None:
        return say("devices.proven"), Ink.PLAIN
    return say("devices.changed"), Ink.MEDIUM


def _about(device: DeviceHealth, model: Model, width: int) -> Iterator[tuple[str, str]]:
    """Label and text of each line about a device."""
    what = say("devices.by_map", kind=device.kind, map=device.map) if device.map else device.kind
    yield device.id, say("devices.at", what=what, address=device.link.at) if device.link else what
    yield from _wrapped(say("devices.is"), identity_text(device) or say("devices.says_nothing"), width, 2)
    yield say("devices.link"), link_text(device) if model.past is None else say("devices.link_then")
    yield from _bus_lines(device, model, width)
    if battery := _battery_of(device, model):
        yield from _wrapped(say("devices.battery"), battery_text(battery), width, 2)
    if model.past is None and (proven := proven_text(device, model.proofs, model.timezone)):
        yield from _wrapped(say("devices.proven_head"), proven, width, 2)
    if device.error:
        yield from _wrapped(say("devices.error"), device.error, width, MOST_ERROR_ROWS)
    elif model.past is None:
        yield "", say("devices.enter" if device.link else "devices.no_registers")


def _battery_of(device: DeviceHealth, model: Model) -> Battery | None:
    """The battery whose values this device reads."""
    batteries = model.published.snapshot.batteries if model.published else ()
    return next((b for b in batteries if b.id == device.battery), None)


def _bus_lines(device: DeviceHealth, model: Model, width: int) -> Iterator[tuple[str, str]]:
    """Of the grid meter: voltage, current and power of each phase as it gives them, and the frequency's trend."""
    if model.published is None or device.id != model.published.snapshot.grid.id:
        return
    if phases := phases_text(model.published.snapshot.grid, width - TEXT_COLUMN - 1):
        yield from _wrapped(say("devices.phases"), phases, width, 2)
    if trend := frequency_text(model, width - TEXT_COLUMN - 1):
        yield say("devices.frequency"), trend


def _wrapped(label: str, text: str, width: int, most: int) -> Iterator[tuple[str, str]]:
    for n, line in enumerate(wrap(text, width - TEXT_COLUMN - 1, most)):
        yield "" if n else label, line


def _draw_register(canvas: Canvas, y: int, row: RegisterValue, spare: int) -> None:
    """Unit, kind and number of the register, its words, and what they mean. `spare`: more columns of its name."""
    canvas.right(4, y, str(row.unit), Ink.DIM)
    canvas.put(5, y, "I" if row.function == 4 else "", Ink.DIM)
    canvas.right(16, y, str(row.address))
    wide = canvas.width >= WIDE
    canvas.put(18, y, raw_text(row.raw, 19 if wide else 9), Ink.DIM)
    canvas.put(39 if wide else 29, y, cut(row.name, 16 + spare if wide else 15))
    if wide:
        canvas.right(60 + spare, y, age(row.age_s), Ink.DIM if row.age_s < OLD_S else Ink.PLAIN)
    x = 62 + spare if wide else 45
    canvas.put(x, y, cut(register_value_text(row), max(0, canvas.width - x - 1)))
