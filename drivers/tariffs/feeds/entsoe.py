"""ENTSO-E Transparency Platform: day-ahead prices of a bidding zone, XML. Needs a token, which is free.

`GET https://web-api.tp.entsoe.eu/api?documentType=A44&in_Domain=EIC&out_Domain=EIC&periodStart=…&periodEnd=…` answers a
`Publication_MarketDocument` of IEC 62325-451-3. In a series of curve type A03 a position that is left out has the price
of the position before it; of A01 it has none. Where a zone has several auctions,
`classificationSequence_AttributeInstanceComponent.position` 1 is the coupled day-ahead auction (SDAC). Without data the
answer is an `Acknowledgement_MarketDocument` with a reason. Answers as recorded in the tests of JaccoR/hass-entso-e
(custom_components/entsoereloaded/test/datasets/DE_60M_15M_overlap.xml at d294c50).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from xml.etree import ElementTree

from drivers.http.page import Request
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow, beginning, instant
from drivers.tariffs.feeds.areas import EIC, named
from drivers.tariffs.feeds.config import PriceFeed

URL = "https://web-api.tp.entsoe.eu/api"
TYPES = ("text/xml", "application/xml")
DAY_AHEAD_PRICES = "A44"
DAILY = "A01"  # type of the agreement: day-ahead, not intraday
HOLDS = "A03"  # curve type: a position that is left out repeats the one before
STEPS_S = {"PT15M": 900, "PT30M": 1800, "PT60M": 3600, "PT1H": 3600}
NO_DATA = "No matching data found"
MOST_POSITIONS = 10_000  # a quarter of a year of quarter hours
NUMBER = re.compile(r"[0-9]{1,5}")

Element = ElementTree.Element


def ask(feed: PriceFeed, begin_s: int, end_s: int, token: str) -> Request:
    """The request for [begin, end). Without data some versions answer with status 400."""
    begin, end = (f"{datetime.fromtimestamp(s, UTC):%Y%m%d%H%M}" for s in (begin_s, end_s))
    area = EIC[feed.zone]
    query = (
        ("securityToken", token),
        ("documentType", DAY_AHEAD_PRICES),
        ("contract_MarketAgreement.type", DAILY),
        ("in_Domain", area),
        ("out_Domain", area),
        ("periodStart", begin),
        ("periodEnd", end),
    )
    return Request(feed.url or URL, query=query, accepted=(200, 400), types=TYPES)


def parse(body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> FeedAnswer:
    """The prices of an answer. Raises FeedError."""
    del begin_s, end_s
    root = _root(body)
    kind = _name(root)
    if kind == "Acknowledgement_MarketDocument":
        raise _refusal(root)
    if kind != "Publication_MarketDocument":
        raise FeedError(f"is a {kind[:60]}: expected a Publication_MarketDocument")
    series = [one for one in root if _name(one) == "TimeSeries"]
    for one in series:
        _check(one, feed.zone)
    sequence = "classificationSequence_AttributeInstanceComponent.position"
    first = [one for one in series if _text(one, sequence) in ("", "1")]
    if not first:
        raise NotPublished("has no price of the day-ahead auction")
    rows = (row for one in first for period in _children(one, "Period") for row in _rows(period, one))
    found = tuple(islice(rows, MOST_POSITIONS + 1))
    if len(found) > MOST_POSITIONS:
        raise FeedError(f"has more than {MOST_POSITIONS} prices")
    return FeedAnswer(found, _text(first[0], "currency_Unit.name"))


def _root(body: bytes) -> Element:
    """The document. One that declares entities is not read: they can grow without bounds."""
    try:
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise FeedError(f"declares a document type ({beginning(body)}): expected plain XML")
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError, LookupError) as error:
        if isinstance(error, FeedError):
            raise
        raise FeedError(f"expected XML, found {beginning(body)}: {error}") from None


def _refusal(root: Element) -> FeedError:
    """Why there is no data."""
    texts = [_text(reason, "text") for reason in root if _name(reason) == "Reason"]
    why = " ".join(texts)[:160] or "without a reason"
    return NotPublished(why) if NO_DATA in why else FeedError(f"refuses the question: {why}")


def _check(series: Element, zone: str) -> None:
    """Whether a series is of the zone that was asked for, and in a unit that is known. Raises FeedError."""
    area, unit = _text(series, "in_Domain.mRID"), _text(series, "price_Measure_Unit.name")
    if area != EIC[zone]:
        raise FeedError(f"has prices of {named(area)[:40]}: expected those of {zone}, which were asked for")
    if unit != "MWH":
        raise FeedError(f"has prices per {unit[:20]!r}: expected MWH")


def _rows(period: Element, series: Element) -> Iterator[PriceRow]:
    """The prices of one period. Raises FeedError."""
    interval = next(_children(period, "timeInterval"), period)
    begin_s, end_s = (instant(_text(interval, edge), edge) for edge in ("start", "end"))
    resolution = _text(period, "resolution")
    if (step_s := STEPS_S.get(resolution)) is None:
        raise FeedError(f"resolution = {resolution[:20]!r}: expected one of {', '.join(STEPS_S)}")
    count = (end_s - begin_s) // step_s
    if not 0 < count <= MOST_POSITIONS:
        raise FeedError(f"has a period from {_text(interval, 'start')} to {_text(interval, 'end')}")
    points = _points(period, count)
    if not points:
        return
    if (least := min(points)) > 1:
        raise FeedError(f"begins a period at position {least}: expected 1")
    holds = _text(series, "curveType") == HOLDS
    price = points[least]
    for position in range(1, count + 1):
        if position not in points and not holds:
            continue
        price = points.get(position, price)
        yield PriceRow(begin_s + (position - 1) * step_s, begin_s + position * step_s, price)


def _points(period: Element, count: int) -> dict[int, float]:
    """Prices by position. Raises FeedError."""
    points: dict[int, float] = {}
    for point in _children(period, "Point"):
        position, amount = _text(point, "position"), _text(point, "price.amount")
        if not NUMBER.fullmatch(position) or not 1 <= int(position) <= count:
            raise FeedError(f"position = {position[:20]!r}: expected 1 to {count}")
        try:
            price = float(amount)
        except ValueError:
            raise FeedError(f"price.amount = {amount[:20]!r}: expected a number") from None
        if points.setdefault(int(position), price) != price:
            raise FeedError(f"tells two prices of position {position}")
    return points


def _name(element: Element) -> str:
    """Without the namespace, which changes with the version of the schema."""
    return str(element.tag).rpartition("}")[2]


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _name(child) == name)


def _text(element: Element, name: str) -> str:
    """The text of the first child of that name; empty where there is none."""
    child = next(_children(element, name), None)
    return "" if child is None else (child.text or "").strip()
