"""The pauses between tries of what fails."""

from __future__ import annotations

from drivers.back_off import BackOff


def test_pauses_double_up_to_the_longest() -> None:
    back_off, now_s, waits = BackOff(1.0), 100.0, []
    for _ in range(6):
        back_off.failed("no answer", now_s)
        waits.append(round(back_off.wait_s(now_s), 6))
        now_s += waits[-1]
        assert back_off.wait_s(now_s) <= 1e-6
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert (back_off.failing, back_off.why) == (True, "no answer")


def test_after_an_answer_the_next_failure_is_the_first_again() -> None:
    back_off = BackOff(60.0, least_s=2.0)
    back_off.failed("no answer", 0.0)
    back_off.failed("no answer", 2.0)
    back_off.answered()
    assert not back_off.failing
    assert back_off.wait_s(3.0) == 3.0  # the pause after the second failure goes on
    back_off.failed("no answer", 10.0)
    assert back_off.wait_s(10.0) == 2.0


def test_a_failure_that_may_be_tried_again_at_once_has_no_pause() -> None:
    back_off = BackOff(60.0)
    back_off.failed("closed", 5.0)
    back_off.failed("closed", 6.0, at_once=True)
    assert back_off.wait_s(6.0) == 0
    back_off.failed("closed", 7.0)
    assert round(back_off.wait_s(7.0), 6) == 0.1


def test_an_ended_pause_lets_the_next_try_go_out() -> None:
    back_off = BackOff(60.0, why="not connected yet")
    assert (back_off.why, back_off.wait_s(0.0) <= 0) == ("not connected yet", True)
    back_off.failed("busy", 0.0)
    back_off.end()
    assert back_off.wait_s(0.0) < 0
