"""A slow link is one whose answers come late; then fewer frames are sent, and never one behind another."""

from __future__ import annotations

from console.tui.link_pace import FAST_ANSWERS, MOST_WAITING, QUESTIONS, LinkPace
from console.tui.output import Output


def frame(pace: LinkPace, now_s: float, length: int = 300) -> int:
    """Send a frame and the question behind it; its column."""
    pace.sent(length, now_s)
    column = pace.question(now_s)
    assert column is not None
    return column


def test_a_terminal_that_never_answers_is_taken_to_be_fast_and_asked_a_few_times() -> None:
    pace, asked = LinkPace(), 0
    for second in range(100):
        pace.sent(300, float(second))
        asked += pace.question(float(second)) is not None
        assert not pace.must_wait(second + 0.9)
    assert asked == QUESTIONS
    assert not pace.slow


def test_a_late_answer_means_slow_and_some_early_ones_fast_again() -> None:
    pace = LinkPace()
    pace.answered(frame(pace, 0.0), 1.2)
    assert pace.slow
    assert pace.must_wait(1.3, key_s=None)
    assert not pace.must_wait(1.3, key_s=1.25), "a key is answered at once"
    for n in range(1, FAST_ANSWERS + 1):
        assert pace.slow
        pace.answered(frame(pace, 10.0 * n), 10.0 * n + 0.1)
    assert not pace.slow
    assert not pace.must_wait(31.0)


def test_no_frame_follows_one_that_has_not_arrived() -> None:
    pace = LinkPace()
    pace.answered(frame(pace, 0.0), 0.1)
    frame(pace, 1.0)
    assert pace.question(1.1) is None, "one question at a time"
    assert not pace.must_wait(1.3), "a satellite takes as long"
    assert pace.must_wait(1.6)
    assert not pace.slow
    assert pace.must_wait(2.0)
    assert pace.slow, "without waiting for the answer"
    assert not pace.must_wait(6.5), "it may have been lost"


def test_much_that_has_not_arrived_holds_a_frame_too() -> None:
    pace = LinkPace()
    pace.answered(frame(pace, 0.0), 0.1)
    frame(pace, 1.0, length=MOST_WAITING + 1)
    assert pace.must_wait(1.05)


def test_the_answer_to_a_lost_question_does_not_count_for_a_later_one() -> None:
    pace = LinkPace()
    pace.answered(frame(pace, 0.0), 0.1)
    lost = frame(pace, 1.0)
    later = frame(pace, 7.0)
    pace.answered(later, 7.1)
    pace.answered(lost, 7.2)  # as shift+F3 would send it, too
    assert not pace.slow


def test_the_question_stands_behind_the_frame_and_names_itself_by_the_column() -> None:
    output = Output(early=False)
    output.forget(80, 24)
    assert output.question(0.0) == ""
    output.sent("\x1b[1;1Hab", 0.0)
    assert output.question(0.0) == "\x1b[1H\x1b[6n"
    output.pace.answered(1, 0.1)
    output.sent("\x1b[1;1Hac", 1.0)
    assert output.question(1.0) == "\x1b[1;2H\x1b[6n"


def test_an_early_terminal_is_sent_nothing_that_it_would_print() -> None:
    later = [
        "\x1b[>25u",
        "\x1b[<u",
        "\x1b[?2026$p",
        "\x1b[?2048$p",
        "\x1b[?2004h",
        "\x1b[?1004h",
        "\x1b]22;default\x1b\\",
    ]
    assert [Output(early=True).sent(sequence, 0.0) for sequence in later] == [""] * len(later)
    assert Output(early=True).sent("\x1b[?1049h", 0.0) == "\x1b[?1049h"
    assert Output(early=False).sent("\x1b[?2026$p", 0.0) == "\x1b[?2026$p"
