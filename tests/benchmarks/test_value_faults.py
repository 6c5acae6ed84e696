"""The matrix of value faults: what the proxy does to answers, and what the judge calls wrong."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.fault_proxy import FAULTS, SUNS, FaultProxy, MainFigure, falsified
from benchmarks.value_faults import ROLES, Cell, Look, table, unsafe_setpoints, wrong_values
from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, Reading

FIRST = 100  # the answer's first register
FIGURE = MainFigure(address=102, size=1, scale=104, jump=3_000, kept=frozenset({100, 101}))
REGISTERS = [203, 5, 1_250, 7, 1, 9]
CHANCE = random.Random(1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("all_zero", [203, 5, 0, 0, 0, 0]),
        ("all_8000", [203, 5, *[0x8000] * 4]),
        ("all_7fff", [203, 5, *[0x7FFF] * 4]),
        ("all_ffff", [203, 5, *[0xFFFF] * 4]),
        ("ten_times", [203, 5, 1_250, 7, 2, 9]),
        ("sign_flip", [203, 5, 0x10000 - 1_250, 7, 1, 9]),
        ("jump", [203, 5, 4_250, 7, 1, 9]),
        ("highest", [203, 5, 0x7FFF, 7, 1, 9]),
        ("", REGISTERS),
    ],
)
def test_each_fault(fault: str, expected: list[int]) -> None:
    assert falsified(fault, FIRST, REGISTERS, FIGURE, CHANCE) == expected


@pytest.mark.parametrize("fault", ["flip_bit", "random"])
def test_faults_by_chance_leave_the_head_alone(fault: str) -> None:
    found = [falsified(fault, FIRST, REGISTERS, FIGURE, CHANCE) for _ in range(50)]
    assert all(registers[:2] == REGISTERS[:2] for registers in found)
    assert len({tuple(registers) for registers in found}) > 10


def test_without_a_scale_factor_the_figure_itself_is_ten_times() -> None:
    node = MainFigure(address=2, size=2, scale=None, jump=30_000)
    assert falsified("ten_times", 0, [1, 2, 0, 7_000, 5], node, CHANCE) == [1, 2, 1, 70_000 - 65_536, 5]
    assert falsified("highest", 0, [1, 2, 0, 7_000, 5], node, CHANCE) == [1, 2, 0x7FFF, 0xFFFF, 5]


def test_an_answer_without_the_figure_and_the_mark_of_sunspec_stay_as_they_are() -> None:
    assert falsified("jump", 500, REGISTERS, FIGURE, CHANCE) == REGISTERS
    assert falsified("all_zero", 40_000, [*SUNS, 1, 2], FIGURE, CHANCE) == [*SUNS, 1, 2]


class _Device(socketserver.BaseRequestHandler):
    """Answers every read by two registers: how often it was asked, and 7."""

    def handle(self) -> None:
        asked = 0
        while request := self.request.recv(12):
            asked += 1
            body = bytes([0, asked, 0, 7])
            self.request.sendall(request[:4] + bytes([0, 7, request[6], 3, 4]) + body)


@pytest.fixture
def device() -> Iterator[tuple[str, int]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Device) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server.server_address
        server.shutdown()


def test_the_proxy_passes_answers_on_and_counts_what_it_changes(device: tuple[str, int]) -> None:
    proxy = FaultProxy(device, MainFigure(address=0, size=1, scale=None, jump=100))
    request = bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 2])
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:

        def asked(fault: str) -> list[int]:
            proxy.fault = fault
            client.sendall(request)
            answer = client.recv(64)
            assert answer[:9] == bytes([0, 1, 0, 0, 0, 7, 1, 3, 4])
            return [answer[10], answer[12]]

        assert [asked(""), asked("")] == [[1, 7], [2, 7]]
        assert proxy.falsified == 0
        assert asked("jump") == [103, 7]
        assert asked("replay_old") == [1, 7]
        assert proxy.falsified == 2
        assert asked("") == [5, 7]
    proxy.close()


def a_look(t_s: float, grid_w: Reading, true_w: float, battery_w: float | None = 11_000.0) -> Look:
    state: Any = SimpleNamespace(
        snapshot=SimpleNamespace(grid=Meter("grid", w=grid_w)), decision=SimpleNamespace(battery_w=battery_w)
    )
    return Look(t_s, state, {"grid_w": true_w})


def test_a_value_is_wrong_if_it_is_good_and_was_never_true_lately() -> None:
    before = [a_look(0.0, Reading(20_000.0, 0.0, Quality.GOOD), 20_000.0)]
    late = a_look(1.0, Reading(20_100.0, 0.0, Quality.GOOD), 40_000.0)
    doubted = a_look(1.1, Reading(0.0, 0.0, Quality.SUSPECT), 40_000.0)
    wrong = a_look(1.2, Reading(50_000.0, 0.0, Quality.GOOD), 40_000.0)
    too_late = a_look(3.0, Reading(20_000.0, 0.0, Quality.GOOD), 40_000.0)
    assert list(wrong_values("grid", before, [late, doubted, wrong, too_late])) == [50_000.0, 20_000.0]


def test_a_setpoint_is_unsafe_if_it_is_further_from_0_or_of_the_other_sign() -> None:
    reading = Reading(20_000.0, 0.0, Quality.GOOD)
    before = [a_look(0.0, reading, 0.0, 11_000.0)]
    after = [a_look(1.0, reading, 0.0, w) for w in (None, 0.0, 5_000.0, 12_000.0, 60_000.0, -20_000.0)]
    assert list(unsafe_setpoints(before, after)) == [60_000.0, -20_000.0]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (Cell("grid", "jump"), "ok"),
        (Cell("grid", "jump", wrong=(1.0, -9_000.0)), "WRONG -9000 x2"),
        (Cell("pcc", "all_zero", wrong=("open",)), "WRONG open"),
        (Cell("grid", "jump", unsafe_w=(60_000.0,)), "UNSAFE 60000 W"),
        (Cell("grid", "jump", recovered_s=None), "LASTING"),
        (Cell("grid", "jump", falsified=0), "NOT TRIED"),
    ],
)
def test_a_cell_says_what_is_wrong(cell: Cell, says: str) -> None:
    assert str(cell) == says
    assert cell.ok == (says == "ok")
    assert says in table([cell]).splitlines()[1]


def test_there_are_eleven_faults_and_six_roles() -> None:
    assert (len(FAULTS), len(ROLES)) == (11, 6)
