"""A recorded scene with what a gateway on real devices knows of them: links, identities, registers."""

from __future__ import annotations

import msgspec
import scenes
from scenes import Scene
from sunspec_image import image, model_words

from dispatch.model.equipment import DeviceHealth, DeviceIdentity, LinkHealth
from drivers.modbus.traffic import Place
from drivers.register_view import RegisterValue
from drivers.sunspec.discovery import FoundModel
from drivers.sunspec.register_view import explain

BASE = 40_000
MADE = {
    "grid": DeviceIdentity("Janitza electronics", "UMG 96RM-E", "4800 1122", "5.016"),
    "load": DeviceIdentity("Eastron", "SDM630MCT V2", "", ""),
    "pcs1": DeviceIdentity("Stranger", "PCS 60", "4711", "3.51"),
    "pv1": DeviceIdentity("SMA", "STP 20000TL-30", "1913000421", "2.83"),
}
LOST = "grid at 10.0.3.11:502 unit 1: no answer within 80 ms; check the device's load, its unit id and the network"


def device_scene() -> Scene:
    """The scene `pulse`; the grid meter has just been lost, the second node never answered."""
    scene = scenes.read("pulse")
    snapshot = scene.published.snapshot
    devices = tuple(_linked(n, device) for n, device in enumerate(snapshot.devices))
    published = msgspec.structs.replace(scene.published, snapshot=msgspec.structs.replace(snapshot, devices=devices))
    answers = scene.answers | {"device.registers": msgspec.to_builtins(registers())}
    return msgspec.structs.replace(scene, published=published, answers=answers)


def _linked(n: int, device: DeviceHealth) -> DeviceHealth:
    link = LinkHealth(
        f"10.0.3.{11 + n}:502 unit 1",
        round_trip_ms=1.24 + 3.7 * (n % 4),
        round_trip_worst_ms=3.3 + 27.5 * (n % 5),
        connect_ms=2.0 + n,
        answers=3 * device.reads,
    )
    changed = msgspec.structs.replace(device, link=link, identity=MADE.get(device.id), failures=7 * n % 5)
    if device.id == "grid":
        return msgspec.structs.replace(changed, online=False, age_s=12.0, failures=60, error=LOST)
    if device.id == "gpu-02":
        line = "gpu-02 at 10.0.3.18:502: cannot connect; check power, cabling, url and how many clients it allows"
        return msgspec.structs.replace(changed, online=False, age_s=None, reads=0, failures=812, link=None, error=line)
    return changed


def registers() -> list[RegisterValue]:
    """What a SunSpec PCS holds, as a gateway would explain it."""
    running = {"InvSt": 3, "ConnSt": 1, "DERMode": 1, "Alrm": 0, "W": 500, "W_SF": 1, "LNV": 2301, "V_SF": -1}
    measured = {"Hz": 50012, "Hz_SF": -3, "TmpCab": 315, "Tmp_SF": -1}
    held = {"WSetEna": 1, "WSetMod": 1, "WSet": 500, "WSetRvrtTms": 60, "WSetRvrtRem": 41, "WSet_SF": 1}
    registers = image(
        model_words(1, Mn="Stranger", Md="PCS 60", Vr="3.51", SN="4711"),
        model_words(701, **running, **measured),
        model_words(704, **held),
    )
    words = {Place(1, 3, BASE + n): (word, 99.0 if n < 90 else 80.0) for n, word in enumerate(registers)}
    found, at = [], 2
    while registers[at] != 0xFFFF:
        found.append(FoundModel(registers[at], BASE + at, registers[at + 1]))
        at += 2 + registers[at + 1]
    rows = explain(found, 1, words, 100.0)
    return [RegisterValue(1, 3, BASE, (0x5375,), 1.0), *(row for row in rows if row.raw != (0xFFFF,))]
