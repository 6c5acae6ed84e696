"""What reserved jobs are of a load, and the book of what was promised."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_site import NOON, promised

from dispatch.model.forecast import Forecast
from dispatch.model.reservations import base_w, reserved_w
from dispatch.orders.reservation_book import ReservationBook, with_reserved


def test_a_quarter_holds_the_share_of_the_reservation_that_lies_in_it() -> None:
    there = [promised(NOON + 600), promised(NOON + 3600, id="r2")]
    assert reserved_w(there, NOON, NOON + 900) == pytest.approx(10_000)
    assert reserved_w(there, NOON + 3600, NOON + 4500) == pytest.approx(60_000)
    assert reserved_w(there, NOON + 600, NOON + 600) == 30_000
    assert reserved_w(there, NOON + 599, NOON + 599) == 0
    assert reserved_w(there, NOON + 600 + 7200, NOON + 600 + 7200) == 30_000, "the second runs on"


def test_the_base_is_neither_counted_twice_nor_taken_for_gone() -> None:
    assert base_w(20_000, 0, 25_000) == 20_000, "nothing is promised"
    assert base_w(50_000, 30_000, 20_000) == 20_000, "the job draws all of it"
    assert base_w(32_000, 30_000, 20_000) == 20_000, "the job draws less than it asked for"
    assert base_w(20_000, 30_000, 20_000) == 20_000, "the job has not begun"
    assert base_w(60_000, 30_000, 20_000) == 30_000, "something else has begun too"
    assert base_w(12_000, 30_000, 20_000) == 12_000, "something else has ended"
    assert base_w(50_000, 30_000, None) == 20_000, "nothing is known from before"
    assert base_w(10_000, 30_000, None) == 0


@given(st.floats(0, 2e5), st.floats(0, 2e5), st.none() | st.floats(0, 2e5))
def test_the_base_lies_between_nothing_and_the_load(load_w: float, promised_w: float, before_w: float | None) -> None:
    base = base_w(load_w, promised_w, before_w)
    assert 0 <= base <= load_w
    assert load_w - base <= promised_w + 1e-6, "reserved jobs draw no more than they asked for"


def test_of_the_running_quarter_only_the_rest_counts() -> None:
    flat = Forecast(NOON, (20e3,) * 12, (15e3,) * 12, (25e3,) * 12)
    told = with_reserved(flat, [promised(NOON + 600)], NOON + 700)
    assert told.load_w[0] == pytest.approx(50e3)
    assert told.load_w[8] == pytest.approx(20e3 + 30e3 * 600 / 900)
    assert told.load_w[9] == 20e3
    assert (told.low_w[1], told.high_w[1]) == (45e3, 55e3)
    assert with_reserved(flat, [], NOON) is flat


def test_the_book_tells_once_what_begins_and_ends_and_forgets_an_hour_later() -> None:
    book = ReservationBook()
    one, two = promised(NOON + 900, name="render-7"), promised(NOON, 0.25, id="r2")
    book.put(one)
    book.put(two)
    assert book.turn(NOON) == ((two,), ())
    assert book.turn(NOON + 900) == ((one,), (two,))
    assert book.turn(NOON + 901) == ((), ())
    assert book.standing(NOON + 901) == (one,)
    assert book.kept == (two, one), "the quarter it ended in is still to be learnt from"
    assert book.find("render-7", NOON) == book.find("r1", NOON) == one
    with pytest.raises(LookupError, match=r"no reservation 'r2' stands: r1 render-7"):
        book.find("r2", NOON + 901)
    book.turn(NOON + 900 + 3600)
    assert book.kept == (one,)


def test_withdrawn_before_it_begins_it_never_was_and_after_it_ends_then() -> None:
    book = ReservationBook()
    book.put(promised(NOON + 900))
    book.withdraw("r1", NOON)
    assert book.kept == ()
    book.put(promised(NOON + 900))
    book.turn(NOON + 900)
    before = book.withdraw("r1", NOON + 1800)
    assert before == promised(NOON + 900)
    assert book.kept == (msgspec.structs.replace(before, end_utc_s=NOON + 1800),)
    assert book.turn(NOON + 1800) == ((), ()), "whoever withdrew it has said so"
    with pytest.raises(LookupError, match="there is none"):
        book.withdraw("r1", NOON + 1800)


def test_what_a_run_before_saw_begin_is_no_news() -> None:
    book = ReservationBook()
    book.put(promised(NOON), NOON + 60)
    assert book.turn(NOON + 61) == ((), ())
