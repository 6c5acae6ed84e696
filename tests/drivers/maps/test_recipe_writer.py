"""The writer of a recipe: enter, set, renew, heartbeat, foreign writes, refusals, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from drivers.maps.found_modes import FoundMode, FoundModes
from drivers.maps.recipe_writer import RecipeWriter
from drivers.modbus.errors import BadReply, DeviceException, ReadbackMismatch, Timeout
from tests.drivers.maps.recipes import map_with
from tests.drivers.maps.register_double import RegisterDouble

MODE, POWER, TIMEOUT = 100, 110, 120
BASE = {
    "renew_s": 20,
    "revert_s": 60,
    "revert_to": "self-consumption",
    "enter": [
        {"address": MODE, "memory": "flash", "values": [{"type": "u16", "is": 3}]},
        {"address": TIMEOUT, "function": 6, "values": [{"type": "u16", "terms": {"revert_s": 1}}]},
    ],
    "set": [{"address": POWER, "values": [{"type": "s32", "terms": {"want_w": 1}, "min": -50000, "max": 50000}]}],
    "leave": [{"address": MODE, "found": True, "values": [{"type": "u16", "is": 1}]}],
}


def made(device: RegisterDouble, revert_s: float = 60, **changes: Any) -> RecipeWriter:
    device_map, recipe = map_with({**BASE, **changes})
    return RecipeWriter(device_map, recipe, device, charge_rated_w=30000, discharge_rated_w=30000, revert_s=revert_s)


async def test_it_enters_once_then_sets_and_renews() -> None:
    device = RegisterDouble()
    writer = made(device)
    first = await writer.hold(5000, {}, 0.0)
    assert (first.action, first.w, first.held) == ("armed", 5000, True)
    assert device.taken() == [
        (16, "device", MODE, (3,)),
        (6, "device", TIMEOUT, (60,)),
        (16, "device", POWER, (0, 5000)),
    ]
    assert (await writer.hold(5000, {}, 1.0)).action == "nothing"
    assert (await writer.hold(-2, {}, 2.0)).action == "changed"
    assert device.taken() == [(16, "device", POWER, (0xFFFF, 0xFFFE))]
    assert (await writer.hold(-2, {}, 21.9)).action == "nothing"
    assert (await writer.hold(-2, {}, 22.0)).action == "renewed"
    assert device.taken() == [(16, "device", POWER, (0xFFFF, 0xFFFE))]


async def test_a_shorter_reversion_that_was_proven_is_renewed_at_half_of_it() -> None:
    writer = made(RegisterDouble())
    await writer.hold(100, {}, 0.0)
    writer.renew_within(12.0)
    assert (await writer.hold(100, {}, 5.9)).action == "nothing"
    assert (await writer.hold(100, {}, 6.0)).action == "renewed"


async def test_a_shorter_timeout_of_the_site_is_renewed_at_half_of_it() -> None:
    device = RegisterDouble()
    writer = made(device, revert_s=10)
    await writer.hold(100, {}, 0.0)
    assert device.held["device", TIMEOUT] == 10
    assert (await writer.hold(100, {}, 4.9)).action == "nothing"
    assert (await writer.hold(100, {}, 5.0)).action == "renewed"


async def test_flash_that_holds_the_value_already_is_not_written() -> None:
    device = RegisterDouble()
    device.held["device", MODE] = 3
    writer = made(device)
    for n in range(50):
        writer.reset()
        await writer.hold(n, {}, float(n))
    assert MODE not in {address for _, _, address, _ in device.log}


async def test_another_controller_is_told_and_overwritten() -> None:
    device = RegisterDouble()
    writer = made(device)
    await writer.hold(5000, {}, 0.0)
    device.held["device", MODE] = 1
    device.taken()
    await writer.look()
    result = await writer.hold(5000, {}, 1.0)
    assert result.action == "armed"
    assert result.note == "the device held 1 in register 100; ours was 5000 W: written again"
    assert [address for _, _, address, _ in device.taken()] == [MODE, POWER]


async def test_what_it_does_while_nothing_is_asked_is_nobodys_doing() -> None:
    device = RegisterDouble()
    writer = made(device)
    await writer.hold(5000, {}, 0.0)
    writer.release()
    device.held["device", MODE] = 1
    await writer.look()
    result = await writer.hold(5000, {}, 100.0)
    assert (result.action, result.note) == ("armed", "")


@pytest.mark.parametrize("code", [1, 2, 3, 4])
async def test_refused_is_refused_and_written_whole_again(code: int) -> None:
    device = RegisterDouble()
    device.refuse[POWER] = code
    writer = made(device)
    with pytest.raises(DeviceException):
        await writer.hold(5000, {}, 0.0)
    assert [(function, address) for function, _, address, _ in device.taken()] == [
        (16, MODE),
        (6, TIMEOUT),
        (16, POWER),
    ]
    assert not writer.commanding
    device.refuse.clear()
    assert (await writer.hold(5000, {}, 1.0)).action == "armed"


async def test_a_value_that_does_not_stick_is_told_and_not_hammered() -> None:
    device = RegisterDouble()
    device.deaf.add(POWER)
    writer = made(device)
    with pytest.raises(ReadbackMismatch, match="wrote 0 5000, reads back 0 0"):
        await writer.hold(5000, {}, 0.0)
    device.taken()
    assert (await writer.hold(5000, {}, 0.5)).note == "waiting: the device did not take this value"
    assert device.taken() == []
    with pytest.raises(ReadbackMismatch):
        await writer.hold(5000, {}, 1.0)
    device.deaf.clear()
    assert (await writer.hold(4000, {}, 1.1)).held


async def test_silence_during_a_write_leaves_nothing_believed() -> None:
    device = RegisterDouble()
    writer = made(device)
    await writer.hold(5000, {}, 0.0)
    device.silent = True
    with pytest.raises(Timeout):
        await writer.hold(-5000, {}, 1.0)
    device.silent = False
    assert (await writer.hold(-5000, {}, 2.0)).action == "armed"


async def test_a_missing_term_writes_nothing_and_tells_which() -> None:
    device = RegisterDouble()
    writer = made(device, set=[{"address": POWER, "values": [{"type": "s16", "terms": {"want_w": -1, "ac_out_w": 1}}]}])
    result = await writer.hold(1000, {"ac_out_w": None}, 0.0)
    assert device.taken() == []
    assert result.w is None
    assert result.note == "nothing is written: ac_out_w is not measured now, and its recipe needs it"


async def test_a_measured_term_is_followed_but_not_at_every_tick() -> None:
    device = RegisterDouble()
    writer = made(device, set=[{"address": POWER, "values": [{"type": "s16", "terms": {"want_w": -1, "ac_out_w": 1}}]}])
    await writer.hold(1000, {"ac_out_w": 300.0}, 0.0)
    device.taken()
    for n in range(1, 10):
        await writer.hold(1000, {"ac_out_w": 300.0 + n}, n / 10)
    assert device.taken() == []
    assert (await writer.hold(1000, {"ac_out_w": 400.0}, 1.0)).action == "changed"
    assert device.taken() == [(16, "device", POWER, (0x10000 - 600,))]


async def test_more_than_the_register_takes_is_clamped_and_told() -> None:
    writer = made(RegisterDouble())
    result = await writer.hold(70000, {}, 0.0)
    assert not result.held
    assert "more than its registers take" in result.note


async def test_a_device_that_shows_its_registers_late_is_read_back_later() -> None:
    device = RegisterDouble()
    writer = made(device, settle_s=2.0)
    first = await writer.hold(5000, {}, 0.0)
    assert first.w == 5000
    assert not first.held
    device.held["device", POWER + 1] = 7
    assert not (await writer.hold(5000, {}, 1.0)).held
    with pytest.raises(ReadbackMismatch):
        await writer.hold(5000, {}, 2.0)


class LateDouble(RegisterDouble):
    """Shows what it holds 1.5 s later, as a GX does; `now_s` is moved by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s, self.before = 0.0, [(float("-inf"), dict(self.held))]

    async def read(self, at: str, address: int, count: int, function: int | None = None) -> list[int]:
        shown = next(held for at_s, held in reversed(self.before) if at_s <= self.now_s - 1.5)
        return [shown.get((at, address + n), 0) for n in range(count)]

    async def write(self, at: str, address: int, words: Sequence[int], function: int) -> None:
        await super().write(at, address, words, function)
        self.before.append((self.now_s, dict(self.held)))


async def test_a_late_device_that_is_written_to_all_the_time_is_read_back_all_the_same() -> None:
    device = LateDouble()
    writer = made(device, settle_s=1.5)
    shown = []
    for n in range(40):
        device.now_s = n / 2
        await writer.hold(1000 + n, {}, device.now_s)
        shown.append(writer.held_w)
    assert shown[:3] == [None, None, None]
    assert None not in shown[3:]
    assert all(0 <= 1000 + n - w <= 7 for n, w in enumerate(shown) if w is not None)
    device.before.append((0.0, {("device", MODE): 1}))  # somebody else has written
    device.now_s = 22.0
    with pytest.raises(ReadbackMismatch):
        await writer.hold(1050, {}, 22.0)


async def test_a_late_device_that_keeps_the_value_before_is_told() -> None:
    device = RegisterDouble()
    writer = made(device, settle_s=1.5)
    for now_s in (0.0, 1.5):
        await writer.hold(1000, {}, now_s)
    assert writer.held_w == 1000
    device.deaf.add(POWER)
    for now_s in (2.0, 3.0):
        await writer.hold(-2000, {}, now_s)
    with pytest.raises(ReadbackMismatch):
        await writer.hold(-2000, {}, 3.5)


async def test_changes_all_the_time_do_not_keep_the_renewal_away() -> None:
    """The recipe renews by a register of its own: the set step alone does not start the timer anew."""
    device = RegisterDouble()
    renew = [{"address": TIMEOUT, "function": 6, "values": [{"type": "u16", "terms": {"revert_s": 1}}]}]
    writer = made(device, renew=renew)
    renewed = []
    for n in range(100):
        result = await writer.hold(1000 + n, {}, float(n))
        assert device.held["device", POWER + 1] == 1000 + n
        if TIMEOUT in {address for _, _, address, _ in device.taken()}:
            renewed.append((n, result.action))
    assert renewed == [(0, "armed"), (20, "renewed"), (40, "renewed"), (60, "renewed"), (80, "renewed")]


@pytest.mark.parametrize("raw", [0x8000, 0x7FFF, 11, 0x10000 - 11])
async def test_a_scale_that_cannot_be_one_is_not_used(raw: int) -> None:
    device = RegisterDouble()
    device.held["device", 300] = raw
    writer = made(
        device, set=[{"address": POWER, "values": [{"type": "s16", "terms": {"want_w": 1}, "scale_register": 300}]}]
    )
    with pytest.raises(BadReply, match=r"scale -?[0-9]+, expected -10\.\.10"):
        await writer.hold(5000, {}, 0.0)
    assert device.taken() == []
    device.held["device", 300] = 1
    assert (await writer.hold(5000, {}, 1.0)).held
    assert device.held["device", POWER] == 500


async def test_a_shorter_reversion_that_was_proven_hastens_the_heartbeat_too() -> None:
    device = RegisterDouble()
    writer = made(device, heartbeat={**HEARTBEAT, "every_s": 20})
    writer.renew_within(8.0)
    for n in range(13):
        await writer.hold(1000, {}, float(n))
    assert [address for _, _, address, _ in device.taken()].count(200) == 4


async def test_registers_that_cannot_be_read_are_not_read() -> None:
    device = RegisterDouble()
    writer = made(device, enter=[], check=[{"address": POWER, "measured_only": True}])
    result = await writer.hold(5000, {}, 0.0)
    assert (result.w, result.held, writer.held_w) == (5000, False, None)  # nothing shows what it holds
    assert writer.commanding
    await writer.look()
    assert device.reads == 0


async def test_the_heartbeat_counts_on_from_what_stands_there_and_wraps() -> None:
    device = RegisterDouble()
    device.held["device", 200] = 0xFFFE
    writer = made(device, heartbeat={"address": 200, "function": 6, "every_s": 2, "counts": True})
    for now_s in (0.0, 1.9, 2.0, 4.0):
        await writer.hold(100, {}, now_s)
    assert [r for r in device.taken() if r[2] == 200] == [(6, "device", 200, (word,)) for word in (0xFFFF, 0, 1)]


HEARTBEAT = {"address": 200, "function": 6, "every_s": 2, "is": 60}


async def test_the_heartbeat_ends_while_a_term_is_missing() -> None:
    """It would keep alive a setpoint that nobody asks for any more."""
    device = RegisterDouble()
    term = [{"address": POWER, "values": [{"type": "s16", "terms": {"want_w": -1, "ac_out_w": 1}}]}]
    writer = made(device, heartbeat=HEARTBEAT, set=term)
    await writer.hold(1000, {"ac_out_w": 300.0}, 0.0)
    device.taken()
    for n in range(1, 10):
        assert (await writer.hold(1000, {}, 2.0 * n)).w is None
    assert device.taken() == []


async def test_the_heartbeat_is_not_sent_again_while_a_step_is_refused() -> None:
    device = RegisterDouble()
    writer = made(device, heartbeat=HEARTBEAT)
    device.refuse[POWER] = 3
    for n in range(5):
        with pytest.raises(DeviceException):
            await writer.hold(1000, {}, 2.0 * n)
    assert [address for _, _, address, _ in device.taken()].count(200) == 1


async def test_after_a_refused_step_the_device_is_left_for_longer_each_time() -> None:
    device = RegisterDouble()
    writer = made(device)
    device.held["device", MODE], device.refuse[POWER] = 2, 3
    tries = []
    for n in range(300):
        now_s = n / 10
        try:
            await writer.hold(1000 + n, {}, now_s)
        except DeviceException:
            tries.append(now_s)
            assert device.held["device", MODE] == 3
            await writer.give_up(FoundMode("some", "", {"device 100": (2,)}), now_s)
            assert device.held["device", MODE] == 2
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0, 25.0]
    device.refuse.clear()
    assert (await writer.hold(1000, {}, 35.0)).held
    device.refuse[POWER] = 3
    with pytest.raises(DeviceException):
        await writer.hold(2000, {}, 36.0)
    await writer.give_up(None, 36.0)
    device.refuse.clear()
    assert (await writer.hold(2000, {}, 37.0)).held  # the pause is short again


async def test_what_was_written_is_read_back_by_the_function_of_writable_registers() -> None:
    """Function 4 reads other registers, even where a map reads its values so."""
    device = RegisterDouble()
    device_map, recipe = map_with({**BASE, "heartbeat": {**HEARTBEAT, "counts": True, "is": None}}, function=4)
    writer = RecipeWriter(device_map, recipe, device, charge_rated_w=1e4, discharge_rated_w=1e4, revert_s=60)
    await writer.found()
    await writer.hold(1000, {}, 0.0)
    await writer.look()
    assert device.functions == {None}


@pytest.mark.parametrize(("kept", "word"), [(True, 2), (False, 1)])
async def test_it_is_left_as_it_was_found_else_as_the_map_says(kept: bool, word: int) -> None:
    device = RegisterDouble()
    device.held["device", MODE] = 2
    writer = made(device)
    found = FoundMode("test", registers=await writer.found())
    await writer.hold(5000, {}, 0.0)
    assert device.held["device", MODE] == 3
    await writer.leave(found if kept else None)
    assert device.held["device", MODE] == word
    assert not writer.commanding


async def test_what_was_found_outlives_the_process_and_is_not_replaced() -> None:
    disk: list[bytes] = []

    async def save(content: bytes) -> str:
        disk.append(content)
        return ""

    before = FoundModes(None, save)
    assert await before.keep("pcs", FoundMode("test", "S1", {"device 100": (2,)})) == ""
    after = FoundModes(disk[-1], save)  # of the gateway that starts after a kill
    await after.keep("pcs", FoundMode("test", "S1", {"device 100": (3,)}))
    kept = after.of("pcs")
    assert kept is not None
    assert kept.registers == {"device 100": (2,)}
    await after.forget("pcs")
    assert FoundModes(disk[-1]).devices == ()


def test_a_damaged_record_is_not_believed() -> None:
    for damaged in (b"", b"{", b'{"pcs":{"map":1}}', b'{"pcs":{"map":"m","registers":{"device 1":[70000]}}}'):
        assert FoundModes(damaged).unknown
        assert FoundModes(damaged).devices == ()
