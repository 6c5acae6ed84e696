"""What each price feed answers, read: the prices to the last digit, or by name what is wrong."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from feed_answers import (
    ANSWERS,
    AT,
    AWATTAR,
    BEGIN_S,
    END_S,
    ENERGY_CHARTS,
    ENERGY_CHARTS_ANSWER,
    ENTSOE,
    ENTSOE_ANSWER,
    HOURS,
    NO_DATA,
    OCTOPUS,
    OCTOPUS_ANSWER,
    QUARTER_HOURS,
    QUARTER_HOURS_S,
    QUARTERS,
    TIBBER,
    TIBBER_ANSWER,
    TIBBER_PRICES,
    awattar,
    energy_charts,
    home,
    octopus,
    publication,
    rate,
    series,
    stamp,
    tibber,
    utc,
)

from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow
from drivers.tariffs.feeds.config import PriceFeed
from drivers.tariffs.feeds.kinds import KINDS, title, wrong

DAY_S = 86_400


def parse(feed: PriceFeed, body: bytes, begin_s: int = BEGIN_S, end_s: int = END_S) -> FeedAnswer:
    return KINDS[feed.kind].parse(body, feed, begin_s, end_s)


def refused(feed: PriceFeed, body: bytes) -> str:
    with pytest.raises(FeedError) as found:
        parse(feed, body)
    return str(found.value)


def test_energy_charts() -> None:
    found = parse(ENERGY_CHARTS, ENERGY_CHARTS_ANSWER)
    assert found.currency == "EUR"
    assert found.rows == tuple(
        PriceRow(QUARTER_HOURS_S + 900 * n, None, price) for n, price in enumerate(QUARTER_HOURS)
    )


def test_energy_charts_has_a_gap_where_a_price_is_null() -> None:
    found = parse(ENERGY_CHARTS, energy_charts((1.5, None, 3.5), 0))
    assert found.rows == (PriceRow(0, 900, 1.5), PriceRow(1800, None, 3.5))


PACKED = gzip.compress(ENERGY_CHARTS_ANSWER, mtime=0)  # each process of the tests is to name them alike


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (energy_charts((1.0,), 0, unit="EUR/kWh"), "unit = 'EUR/kWh': expected EUR/MWh"),
        (b'{"unix_seconds":[1,2],"price":[1.0],"unit":"EUR/MWh"}', "has 2 times and 1 prices: expected as many"),
        (b'{"detail":"bzn not found"}', 'expected JSON, found \'{"detail":"bzn not found"}\': Object missing'),
        (ENERGY_CHARTS_ANSWER[:200], "Input data was truncated"),
        (PACKED, "content packed with gzip, which was not asked for"),
        (gzip.compress(PACKED, mtime=0), "content packed with gzip, which was not asked for"),
        (b"<!DOCTYPE html><html><body>Log in</body>", "a page of HTML"),
        (b"", "found nothing"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[" * 5000, "expected JSON"),
    ],
)
def test_what_is_no_answer_of_energy_charts(body: bytes, why: str) -> None:
    assert why in refused(ENERGY_CHARTS, body)


def test_entsoe_repeats_the_price_of_a_position_that_is_left_out() -> None:
    """Only the series of the coupled auction counts; its position 15 is not in the document."""
    found = parse(ENTSOE, ENTSOE_ANSWER)
    assert found.currency == "EUR"
    told = [price if price is not None else HOURS[n - 1] for n, price in enumerate(HOURS)]
    assert [row.per_mwh for row in found.rows] == told
    assert [row.start_s for row in found.rows] == [BEGIN_S + 3600 * n for n in range(24)]
    assert found.rows[-1].end_s == END_S


def test_entsoe_with_more_prices_than_a_year_has_is_not_unfolded() -> None:
    one = series((1.0,), BEGIN_S, 900).replace(stamp(BEGIN_S + 900), stamp(BEGIN_S + 900 * 9000))
    assert "has more than 10000 prices" in refused(ENTSOE, publication(one, one))


def test_entsoe_leaves_a_gap_in_a_curve_of_fixed_steps() -> None:
    found = parse(ENTSOE, publication(series((1.0, None, 3.0), curve="A01")))
    assert [(row.start_s - BEGIN_S, row.per_mwh) for row in found.rows] == [(0, 1.0), (7200, 3.0)]


def test_entsoe_holds_the_last_price_to_the_end_of_the_period() -> None:
    assert [row.per_mwh for row in parse(ENTSOE, publication(series((7.0, *[None] * 23)))).rows] == [7.0] * 24


def test_entsoe_takes_hours_and_quarter_hours_side_by_side() -> None:
    body = publication(series(HOURS), series(QUARTERS, END_S, 900, sequence=""))
    rows = parse(ENTSOE, body).rows
    assert [(row.end_s or 0) - row.start_s for row in rows] == [3600] * 24 + [900] * 8


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (publication(series(HOURS, area=AT)), "has prices of AT: expected those of DE-LU, which were asked for"),
        (publication(series(HOURS, area="10Y-OTHER")), "has prices of 10Y-OTHER: expected those of DE-LU"),
        (publication(series(HOURS, unit="KWH")), "has prices per 'KWH': expected MWH"),
        (publication(series(HOURS, step_s=300)), "resolution = 'PT5M': expected one of PT15M"),
        (publication(series((None, 2.0))), "begins a period at position 2: expected 1"),
        (ENTSOE_ANSWER.replace(b"<position>24<", b"<position>25<"), "position = '25': expected 1 to 24"),
        (ENTSOE_ANSWER.replace(b"<position>24<", b"<position>-4<"), "position = '-4': expected 1 to 24"),
        (ENTSOE_ANSWER.replace(b"<position>24<", b"<position>23<"), "tells two prices of position 23"),
        (ENTSOE_ANSWER.replace(b">51.71<", b">n/a<"), "price.amount = 'n/a': expected a number"),
        (
            ENTSOE_ANSWER.replace(b"<start>2024-10-05T22:00Z", b"<start>yesterday", 1),
            "start = 'yesterday': expected a time",
        ),
        (
            ENTSOE_ANSWER.replace(b"<end>2024-10-06T22:00Z", b"<end>2034-10-06T22:00Z", 1),
            "has a period from 2024-10-05",
        ),
        (ENTSOE_ANSWER[:900], "expected XML, found"),
        (b"<html><body>Log in</body></html>", "is a html: expected a Publication_MarketDocument"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares a document type"),
        (
            NO_DATA.replace(b"No matching data found", b"Invalid security token"),
            "refuses the question: Invalid security",
        ),
    ],
)
def test_what_is_no_answer_of_entsoe(body: bytes, why: str) -> None:
    assert why in refused(ENTSOE, body)


def test_the_answers_without_prices_say_that_there_are_none_yet() -> None:
    answers: list[tuple[PriceFeed, bytes]] = [
        (ENTSOE, NO_DATA),
        (ENTSOE, publication(series(QUARTERS, step_s=900, sequence="2"))),
        (ENERGY_CHARTS, energy_charts((), 0)),
        (ENERGY_CHARTS, energy_charts((None, None), 0)),
        (AWATTAR, awattar((), 0)),
        (OCTOPUS, octopus([])),
        (TIBBER, tibber([home("96a1")])),
    ]
    for feed, body in answers:
        with pytest.raises(NotPublished):
            parse(feed, body)


def test_awattar() -> None:
    found = parse(AWATTAR, awattar((42.09, -3.5), 1428591600))
    assert found == FeedAnswer((PriceRow(1428591600, 1428595200, 42.09), PriceRow(1428595200, 1428598800, -3.5)), "EUR")
    assert "unit = 'ct/kWh': expected Eur/MWh" in refused(AWATTAR, awattar((4.2,), 0, unit="ct/kWh"))


def test_octopus_without_vat_in_pounds_per_mwh() -> None:
    found = parse(OCTOPUS, OCTOPUS_ANSWER, utc("2022-10-22T21:00"), utc("2022-10-22T23:00"))
    assert found.currency == "GBP"
    assert sorted(found.rows)[0] == PriceRow(utc("2022-10-22T21:00"), utc("2022-10-22T21:30"), 244.2)
    assert [row.per_mwh for row in sorted(found.rows)] == [244.2, 220.3, 142.8, 153.3]


def test_octopus_holds_a_rate_without_an_end_as_far_as_was_asked() -> None:
    body = octopus(
        [
            rate(20.0, "2026-10-01T00:00:00Z", None, "DIRECT_DEBIT"),
            rate(21.0, "2026-10-01T00:00:00Z", None, "NON_DIRECT_DEBIT"),
        ]
    )
    begin_s, end_s = utc("2026-11-29T23:00"), utc("2026-12-01T23:00")
    assert parse(OCTOPUS, body, begin_s, end_s).rows == (PriceRow(begin_s, end_s, 200.0),)


def test_octopus_refuses_a_part_of_the_pages() -> None:
    body = octopus([rate(20.0, "2026-10-01T00:00:00Z", None)], "https://api.octopus.energy/v1/?page=2")
    assert "has more than 1 rates: expected one page" in refused(OCTOPUS, body)
    assert "valid_from = '2026-10-01'" in refused(OCTOPUS, octopus([rate(20.0, "2026-10-01", None)]))


def test_tibber_of_the_only_home_with_a_contract() -> None:
    found = parse(TIBBER, TIBBER_ANSWER)
    begin_s = utc("2026-11-29T23:00")
    assert found == FeedAnswer((PriceRow(begin_s, None, 83.7), PriceRow(begin_s + 900, None, 79.1)), "EUR")


def test_what_is_no_answer_of_tibber() -> None:
    other = PriceFeed(kind="tibber", zone="beef", token_credential="tibber")
    two = tibber([home("a", *TIBBER_PRICES), home("b", *TIBBER_PRICES)])
    assert "has no home beef with a contract" in refused(other, TIBBER_ANSWER)
    assert "has 2 homes with a contract: expected one, or zone to name it: a, b" in refused(TIBBER, two)
    assert "refuses the question: 'No valid access token'" in refused(
        TIBBER, json.dumps({"errors": [{"message": "No valid access token"}], "data": None}).encode()
    )
    assert "has neither data nor errors" in refused(TIBBER, b"{}")
    mixed = home("a", TIBBER_PRICES[0])
    contract: Any = mixed["currentSubscription"]
    contract["priceInfo"]["tomorrow"] = [{"energy": 1.0, "startsAt": TIBBER_PRICES[1][0], "currency": "NOK"}]
    assert "mixes currencies: EUR, NOK" in refused(TIBBER, tibber([mixed]))


def test_each_kind_of_feed_is_read() -> None:
    assert set(ANSWERS) == set(KINDS)
    for feed, body, begin_s in ANSWERS.values():
        rows = parse(feed, body, begin_s, begin_s + DAY_S).rows
        assert min(rows).start_s == begin_s


def test_questions_name_zone_and_time_and_show_no_token() -> None:
    begin_s, end_s = utc("2026-11-29T23:00"), utc("2026-12-01T23:00")
    asked = {feed.kind: KINDS[feed.kind].ask(feed, begin_s, end_s, "s3cret") for feed, _, _ in ANSWERS.values()}
    assert asked["energy-charts"].query == (("bzn", "DE-LU"), ("start", "2026-11-29"), ("end", "2026-12-01"))
    assert dict(asked["entsoe"].query)["periodStart"] == "202611292300"
    assert dict(asked["entsoe"].query)["in_Domain"] == "10Y1001A1001A82H"
    assert asked["awattar"].url == "https://api.awattar.at/v1/marketdata"
    assert dict(asked["awattar"].query) == {"start": str(1000 * begin_s), "end": str(1000 * end_s)}
    assert "/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/" in asked["octopus"].url
    assert asked["tibber"].headers["Authorization"] == "Bearer s3cret"
    assert not any("s3cret" in request.url for request in asked.values())


@pytest.mark.parametrize(
    ("feed", "key"),
    [
        (PriceFeed(kind="energy-charts", zone="DE"), "zone"),
        (PriceFeed(kind="entsoe", zone="DE-LU"), "token_credential"),
        (PriceFeed(kind="awattar", zone="CH"), "zone"),
        (PriceFeed(kind="octopus", zone="AGILE"), "zone"),
        (PriceFeed(kind="energy-charts", zone="DE-LU", token_credential="key"), "token_credential"),
        (ENTSOE, None),
        (TIBBER, None),
    ],
)
def test_keys_that_do_not_fit_the_kind(feed: PriceFeed, key: str | None) -> None:
    found = wrong(feed)
    assert (found[0] if found else None) == key
    assert title(ENERGY_CHARTS) == "Energy-Charts DE-LU"
