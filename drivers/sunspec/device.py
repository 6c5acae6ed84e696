"""Reads and writes points of a SunSpec device over a Modbus link, each block checked for its ID and length.

Maps move while a connection stays: a length that changes with the light was reported of model 714
(github.com/sunspec/pysunspec2, issue 89).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable

from dispatch.model.equipment import DeviceIdentity
from drivers.modbus.errors import BadReply, DeviceException, MapChanged, Timeout, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.notices import Notices
from drivers.register_view import RegisterValue, Words
from drivers.serial_numbers import check_serial
from drivers.sunspec.discovery import Chain, ChainWalker, FoundModel
from drivers.sunspec.instances import instances
from drivers.sunspec.layout import HEADER, SIZES, Layout, plan
from drivers.sunspec.model import Value, encode, model
from drivers.sunspec.register_view import explain

IDENTITY = ("Mn", "Md", "SN")  # of model 1
FIRMWARE = "Vr"  # of model 1; another one is the same device
TOO_LONG = (2, 3)  # exceptions for a request of more registers than the device gives at once
SEEN_S = 0.1  # a model is written only when its ID and length were seen in place this short a time ago
WALK_AGAIN_S = 10.0  # where a model is missing, that long after the last walk: some come and go with the sun


class SunSpecDevice:
    """One unit's models of one kind: what `kinds` names, and the models that belong to it.

    Where they are is found once, then checked: on every new connection who answers, with every block its ID and length.
    What does not fit is not used, and the models are looked for again.
    """

    def __init__(
        self,
        link: ModbusLink,
        unit: int,
        kinds: tuple[int, ...] = (),
        noun: str = "device",
        instance: int = 0,
        serial: str = "",
    ) -> None:
        """`kinds`: models of which the device has one, best first. `instance`: which, from 1; 0: the first there is.

        `serial`: the serial number that it must tell in model 1; "": any.
        """
        self.link, self.unit = link, unit
        self.found: tuple[FoundModel, ...] = ()  # those of the instance
        self._kinds, self._noun, self._instance = kinds, noun, instance
        self._serial = serial
        self._walker = ChainWalker(link, unit)
        self._chain: Chain | None = None
        self._identity: dict[str, Value | None] = {}
        self._firmware: Value | None = None
        self._checked_on = 0  # number of the connection on which it was last made sure who answers
        self._dropped = 0  # connections that had ended for other devices then
        self._walk_at_s: float | None = None
        self._seen_s: dict[int, float] = {}  # model -> when ID and length were last seen in place
        self._max_read = min(SIZES[0], link.max_registers)
        self._longest = 0  # registers that it has given at once
        self._silent: list[tuple[FoundModel, int]] = []  # since a model last answered: what was not, registers asked

    @property
    def notices(self) -> Notices:
        """What it has to tell besides values and errors."""
        return self.link.notices

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it said of itself on this connection or the last one; None before it was asked."""
        if self._chain is None:
            return None
        maker, product, serial = (_text(self._identity.get(name)) for name in IDENTITY)
        return DeviceIdentity(maker, product, serial, _text(self._firmware))

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return explain(self.found, self.unit, words, now_s)

    async def open(self) -> bool:
        """Check which device answers, and find its models unless they are known.

        True if what was read or written before no longer counts: its models were looked for anew, or its connection was
        replaced. False if nothing happened, or another device on the same line was the reason for the new connection.
        Raises DeviceError; WrongDevice for another serial number than it must have, which is asked for again each time.
        """
        now_s = asyncio.get_running_loop().time()
        if self._walk_at_s is not None and now_s >= self._walk_at_s:
            self._chain = None
        if self._chain is not None and self._checked_on == self.link.connection != 0:
            return False
        if len(self._silent) > 1:
            await self._explain_silence()
        if self._chain is not None and (self._chain.open_end or not await self._same_identity()):
            self._chain = None
        known = self._chain
        if known is None:
            await self._find_models()
        replaced, for_others = self.link.answered_on - self._checked_on, self.link.dropped_for_others - self._dropped
        self._checked_on, self._dropped = self.link.answered_on, self.link.dropped_for_others
        return known is None or replaced > for_others

    def has(self, model_id: int) -> bool:
        """Whether the device has this model."""
        return any(f.id == model_id for f in self.found)

    def first(self, *model_ids: int) -> int:
        """The first of these models that it has. Raises WrongDevice if it has none; they are looked for again later."""
        for model_id in model_ids:
            if self.has(model_id):
                return model_id
        if self._walk_at_s is None:
            self._walk_at_s = asyncio.get_running_loop().time() + WALK_AGAIN_S
        wanted = "/".join(map(str, model_ids))
        there = ", ".join(str(f.id) for f in self.found)
        raise WrongDevice(self._where, f"has no SunSpec model {wanted}, only {there}")

    async def read(self, model_id: int, names: tuple[str, ...]) -> dict[str, Value | None]:
        """Read points of a model the device has; None for each that is not implemented or that it lacks.

        Raises as `ModbusLink.read`; MapChanged when the model is not where it was, BadReply when a scale factor changed
        between two requests, WrongDevice if it lacks the model.
        """
        return await self._values(self._model(model_id), names)

    async def write(
        self, model_id: int, values: dict[str, float | str], scales: dict[str, int | None] | None = None
    ) -> None:
        """Write points that lie side by side, in one request. `scales`: the raw scale factor of each scaled point.

        Raises as `ModbusLink.write`; MapChanged when the model is not where it was; ValueError for what a point cannot
        hold.
        """
        found = self._model(model_id)
        points = [model(model_id).points[name] for name in values]
        if any(a.end != b.offset for a, b in itertools.pairwise(points)):
            raise ValueError(f"{', '.join(values)}: expected neighbours in ascending order")
        registers: list[int] = []
        for point in points:
            registers += encode(point, values[point.name], (scales or {}).get(point.name))
        if asyncio.get_running_loop().time() - self._seen_s.get(found.address, float("-inf")) > SEEN_S:
            await self._check_place(found)
        await self.link.write(self.unit, found.address + points[0].offset, registers, on=self._checked_on)

    def repeats(self, model_id: int) -> int:
        """How often a model's repeating group occurs in it; 0 if it has none, or the device lacks the model."""
        found = next((f for f in self.found if f.id == model_id), None)
        return 0 if found is None else model(model_id).repeats(found.length)

    def where(self, model_id: int, point: str) -> str:
        """A point's place for an error message: device, model, point and register."""
        found = next((f for f in self.found if f.id == model_id), None)
        register = f", register {found.address + model(model_id).points[point].offset}" if found else ""
        return f"{self._where}, model {model_id} {point}{register}"

    @property
    def _where(self) -> str:
        return f"{self.link.device} at {self.link.at} unit {self.unit}"

    def _model(self, model_id: int) -> FoundModel:
        self.first(model_id)
        if self._chain is None:
            raise MapChanged(self._where, f"where model {model_id} is has to be found again")
        return next(f for f in self.found if f.id == model_id)

    # ── who answers, and where its models are ───────────────────────────────────────────────────────────────────────

    async def _find_models(self) -> None:
        self._walk_at_s = None
        chain = await self._walker.walk()
        choice = instances(chain.models, self._kinds)
        if self._instance > len(choice) > 0:
            what = f"has {len(choice)} of the SunSpec models of a {self._noun}, not {self._instance}"
            raise WrongDevice(self._where, what, f"set instance to 1..{len(choice)} in the site file")
        mine = choice[max(self._instance, 1) - 1] if len(choice) > 1 else chain.models
        if chain.open_end:
            end = f"the chain of SunSpec models has no proper end: {chain.open_end}, expected 0xFFFF 0x0000"
            self.notices.add("info", f"{end}; the {len(chain.models)} models up to there are used")
        if len(choice) > 1 and not self._instance:
            listed = "; ".join([f"{n} {await self._label(models)}" for n, models in enumerate(choice, start=1)])
            text = f"its map holds {len(choice)} of the models of a {self._noun}: {listed}; the first is read"
            self.notices.add("warning", f"{text}. Say which with the key instance in the site file")
        if self.found not in ((), mine):
            self.notices.add("info", f"its SunSpec models were found anew: {', '.join(str(f.id) for f in mine)}")
        identity = await self._read_identity(mine)
        if self._is_other(identity):
            was, now = (" ".join(str(text) for text in of.values()) for of in (self._identity, identity))
            self.notices.add("warning", f"another device answers: {now}, was {was}")
            self._max_read, self._longest = min(SIZES[0], self.link.max_registers), 0
        self._identity, self.found, self._chain = identity, mine, chain

    async def _label(self, models: tuple[FoundModel, ...]) -> str:
        """What a person recognises an instance by: its texts in model 1, and where it is."""
        place = next(f for f in models if f.id in self._kinds)
        common = next((f for f in models if f.id == 1), None)
        texts = await self._values(common, ("Md", "Opt", "SN")) if common else {}
        named = " ".join(f"'{texts[name]}'" for name in ("Md", "Opt", "SN") if texts.get(name))
        return f"{named or 'without a name'} (model {place.id}, register {place.address})"

    async def _same_identity(self) -> bool:
        """Whether manufacturer, model and serial number are those of before; False, too, when the map has changed."""
        try:
            identity = await self._read_identity(self.found)
        except MapChanged:
            return False
        if self._is_other(identity):
            return False
        self._identity = identity or self._identity
        return True

    def _is_other(self, identity: dict[str, Value | None]) -> bool:
        """Whether these texts and those of before are of two devices."""
        return {} not in (identity, self._identity) and identity != self._identity

    async def _read_identity(self, models: tuple[FoundModel, ...]) -> dict[str, Value | None]:
        """Texts of model 1; {} where they cannot be had, but the first model is where it was.

        Raises WrongDevice where they do not hold the serial number that it must have.
        """
        if models[0].id == 1:
            with contextlib.suppress(DeviceException):
                texts = await self._values(models[0], (*IDENTITY, FIRMWARE))
                check_serial(self._where, self._serial, _text(texts["SN"]))
                self._firmware = texts.pop(FIRMWARE)
                return texts
        await self._check_place(models[0])
        check_serial(self._where, self._serial, "")
        return {}

    # ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _values(self, found: FoundModel, names: tuple[str, ...]) -> dict[str, Value | None]:
        """Read points in requests as long as the device allows."""
        layout = plan(found.id, names, found.length, self._max_read)
        try:
            registers = await self._fetch(found, layout)
        except DeviceException as refused:
            if refused.code not in TOO_LONG:
                raise
            await self._check_place(found)
            layout, registers = await self._in_parts(found, names, layout, refused)
        return {**dict.fromkeys(names), **layout.decode(registers)}

    async def _in_parts(
        self, found: FoundModel, names: tuple[str, ...], layout: Layout, refused: DeviceException
    ) -> tuple[Layout, list[int]]:
        """Read in shorter and shorter requests what was refused, unless the device has given as much at once before."""
        for size in SIZES:
            asked = layout.longest
            if size >= asked or asked <= self._longest:
                continue
            layout = plan(found.id, names, found.length, size)
            try:
                registers = await self._fetch(found, layout)
            except DeviceException as again:
                if again.code not in TOO_LONG:
                    raise
            else:
                self._limit(size, f"refuses requests of {asked} registers")
                return layout, registers
        raise refused

    async def _fetch(self, found: FoundModel, layout: Layout) -> list[int]:
        """The registers that a layout needs, 0 where none was read. Nothing of them is used unless all fit together."""
        known, fixed = [0] * layout.end, dict[int, int]()
        read_twice = layout.fixed if len(layout.requests) > 1 else ()
        for offset, count in layout.requests:
            try:
                registers = await self.link.read(self.unit, found.address + offset, count)
            except Timeout:
                self._silent.append((found, count))
                raise
            if offset == 0:
                self._check(found, registers[:HEADER])
            for at in read_twice:
                if 0 <= at - offset < count and fixed.setdefault(at, word := registers[at - offset]) != word:
                    where = f"{self._where}, model {found.id}, register {found.address + at}"
                    raise BadReply(where, f"a scale factor changed from {fixed[at]} to {word} while it was read")
            known[offset : offset + count] = registers
            self._longest = max(self._longest, count)
        self._silent = [(model, count) for model, count in self._silent if model != found]
        return known

    async def _check_place(self, found: FoundModel) -> None:
        """Raises MapChanged if a model is not where it was found."""
        try:
            self._check(found, await self.link.read(self.unit, found.address, HEADER))
        except DeviceException as refused:
            if refused.code in TOO_LONG:
                self._moved(found, f"is refused with {refused.what}")
            raise

    def _check(self, found: FoundModel, header: list[int]) -> None:
        """Note that a model is in place, or raise MapChanged."""
        if header != [found.id, found.length]:
            self._moved(found, f"holds {header[0]} and length {header[1]}")
        self._seen_s[found.address] = asyncio.get_running_loop().time()

    def _moved(self, found: FoundModel, what: str) -> None:
        self._chain = None
        self._silent.clear()
        what = f"register {found.address} {what}, expected SunSpec model {found.id} with length {found.length}"
        self.notices.add("warning", f"its register map has changed: {what}; its models are looked for again")
        raise MapChanged(self._where, what)

    # ── what the device allows ──────────────────────────────────────────────────────────────────────────────────────

    def _limit(self, size: int, why: str) -> None:
        """Ask for no more than this from now on, and say so."""
        self._max_read = size
        self.notices.add("info", f"{why}: longer blocks are read in parts of at most {size}")

    async def _explain_silence(self) -> None:
        """After two blocks without an answer: has the model moved to where nothing answers, or was too much asked?"""
        found, count = self._silent[-1]
        self._silent.clear()
        try:
            await self._check_place(found)
        except MapChanged:
            return  # told; the models are looked for again
        except Timeout:
            self._chain = None
            raise
        if count > self._longest and (shorter := [size for size in SIZES if size < count]):
            self._limit(shorter[0], f"does not answer requests of {count} registers")


def _text(value: Value | None) -> str:
    return value if isinstance(value, str) else ""
