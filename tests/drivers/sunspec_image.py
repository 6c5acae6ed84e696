"""Register images of SunSpec devices for tests, laid out by pysunspec2: the standard's own reference, not our code."""

from __future__ import annotations

import struct
from typing import Any

import sunspec2.device as reference


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))


def model_words(model_id: int, **values: Any) -> list[int]:
    """One model's registers with raw values; every other point not implemented, scale factors 0."""
    template = reference.Model(model_id)
    size = sum(point.len for point in template.points.values()) + sum(
        point.len for group in template.groups.values() for point in group.points.values()
    )
    model = reference.Model(model_id, data=bytes(2 * size))
    for name, point in model.points.items():
        point.value = 0 if point.pdef["type"] == "sunssf" else None
        if name in values:
            point.value = values.pop(name)
    for group in model.groups.values():
        for point in group.points.values():
            point.value = None
    model.points["ID"].value, model.points["L"].value = model_id, size - 2
    if values:
        raise LookupError(f"model {model_id} has no {', '.join(values)}")
    return words(model.get_mb())


def image(*models: list[int]) -> list[int]:
    """A whole device: "SunS", the models, the end."""
    return [0x5375, 0x6E53, *(w for one in models for w in one), 0xFFFF, 0]


def address_of(registers: list[int], model_id: int, point: str, base: int = 40000) -> int:
    """Where a point lies in an image."""
    at = 2
    while registers[at] != model_id:
        at += 2 + registers[at + 1]
    offset = 0
    for name, p in reference.Model(model_id).points.items():
        if name == point:
            return base + at + offset
        offset += p.len
    raise LookupError(point)


COMMON = {"Mn": "Stranger", "Md": "PCS 60", "Vr": "1", "SN": "4711"}


def pcs_image(**changes: dict[str, Any]) -> list[int]:
    """A 60 kW PCS with a 100 kWh battery, running at 5 kW; `m704={...}` changes points of a model."""
    models: dict[int, dict[str, Any]] = {
        1: dict(COMMON),
        701: {
            "InvSt": 3, "ConnSt": 1, "DERMode": 1, "Alrm": 0, "W": 500, "W_SF": 1, "LNV": 2301, "V_SF": -1,
            "Hz": 50012, "Hz_SF": -3, "TmpCab": 315, "Tmp_SF": -1,
        },
        702: {"WMaxRtg": 600, "WMax": 600, "WChaRteMax": 550, "WDisChaRteMax": 600, "W_SF": 2},
        704: {
            "WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSetRvrt": 0, "WSetEnaRvrt": 0, "WSetRvrtTms": 0,
            "WSetRvrtRem": 0, "WSet_SF": 1,
        },
        713: {"WHRtg": 1000, "WHAvail": 550, "SoC": 5512, "SoH": 9900, "Sta": 0, "WH_SF": 2, "Pct_SF": -2},
        715: {"LocRemCtl": 0, "DERHb": 5, "ControllerHb": 41},
        802: {
            "WHRtg": 1000, "WHRtg_SF": 2, "WChaRteMax": 500, "WDisChaRteMax": 600, "WChaDisChaMax_SF": 2,
            "SoC": 551, "SoC_SF": -1, "State": 3, "Evt1": 4, "V": 7000, "V_SF": -1, "AChaMax": 60, "ADisChaMax": 100,
            "CellVMin": 3281, "CellVMax": 3342, "CellV_SF": -3,
        },
    }  # fmt: skip
    for key, points in changes.items():
        models[int(key[1:])].update(points)
    return image(*(model_words(model_id, **points) for model_id, points in models.items()))
