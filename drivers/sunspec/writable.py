"""The points of SunSpec models that a person may write by hand. Every other point and register is refused.

Not in the list, and never to be: points that start, stop, connect, trip or protect (715.OpCtl, 123.Conn, 703, 705-712,
704.AntiIslEna), the address of the device (1.DA), curves.
"""

from __future__ import annotations

from drivers.modbus.errors import ReadbackMismatch
from drivers.register_view import WrittenValue
from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.model import Value, model, raw_scale

SETTINGS: dict[int, tuple[str, ...]] = {702: ("WMax", "WChaRteMax", "WDisChaRteMax")}
SETPOINTS: dict[int, tuple[str, ...]] = {  # what the gateway commands while it runs
    704: (
        *("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms"),
        *("WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms"),
    ),
    123: ("WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena"),
    124: ("MinRsvPct", "OutWRte", "InWRte", "InOutWRte_RvrtTms", "ChaGriSet"),
}


def writable(device: SunSpecDevice, *, setpoints: bool) -> list[str]:
    """The names, as "702.WMax", that this device may be written to. `setpoints`: those that a gateway commands, too."""
    lists = (SETTINGS, SETPOINTS) if setpoints else (SETTINGS,)
    return [f"{id}.{name}" for names in lists for id in names if device.has(id) for name in names[id]]


async def write_point(device: SunSpecDevice, name: str, value: float | str) -> WrittenValue:
    """Write one point of the list and read it back.

    Raises ValueError for what the point cannot hold, LookupError for a point that it does not implement, DeviceError,
    ReadbackMismatch among them.
    """
    model_id, _, point_name = name.partition(".")
    known = model(int(model_id))
    point = known.points[point_name]
    scale = known.scale_of(point)
    names = (point_name,) if scale is None else (point_name, scale.name)
    held = await device.read(known.id, names)
    before = held[point_name]
    if before is None:
        raise LookupError(f"{name} is not implemented by this device")
    scales = {} if scale is None else {point_name: raw_scale(held, scale.name)}
    await device.write(known.id, {point_name: value}, scales)
    after = (await device.read(known.id, names))[point_name]
    if not _same(value, after, scales.get(point_name)):
        raise ReadbackMismatch(device.where(known.id, point_name), f"wrote {value}, reads back {after}")
    return WrittenValue(name, _plain(before), _plain(after))


def _same(asked: float | str, held: Value | None, scale: int | None) -> bool:
    """Whether what reads back is what was asked, in the device's resolution."""
    if isinstance(asked, str) or not isinstance(held, (int, float)):
        return asked == held
    step: float = 10.0 ** (scale or 0)
    return abs(held - asked) <= step / 2 + 1e-9


def _plain(value: Value | None) -> float | str | None:
    return ", ".join(value) if isinstance(value, tuple) else value
