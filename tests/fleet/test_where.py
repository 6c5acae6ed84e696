"""`skerry fleet where`: sites that carry a power first, the others with the reason; a hanging one delays nobody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from fleet_samples import FakeClient, FakeLink

from console.cli import fleet_where
from console.cli.fleet import fleet
from dispatch.model.job_offer import JobOffer
from dispatch.model.reasons import Reason
from fleet.sites import SiteAddress
from fleet.where import OLDER, ask_all
from gateway import exit_codes
from gateway.errors import LinkLost, RequestFailed

NOW_S = time.time()


def says(**changes: Any) -> JobOffer:
    figures = JobOffer(utc_s=NOW_S, within_s=43_200.0, start_utc_s=NOW_S, level_w=30_000.0, energy_eur=9.0)
    return msgspec.structs.replace(figures, **changes)


ANSWERS: dict[str, Any] = {
    "dear": says(energy_eur=12.0),
    "cheap": says(
        energy_eur=8.0, rise_eur=1.5, rise_w=900.0, why=Reason("power.later", {"need_w": 5e4, "kept_w": 3e4})
    ),
    "late": says(start_utc_s=NOW_S + 7200, energy_eur=1.0, assumed=True),
    "full": says(start_utc_s=None, why=Reason("refused.above_fuse", {"power_w": 3e4, "fuse_w": 2e4})),
    "skewed": says(utc_s=NOW_S - 7200, start_utc_s=NOW_S - 7200, energy_eur=None),
    "older": RequestFailed("unknown method 'fleet.where'; known: at", "refused"),
    "lies": says(rise_eur=float("nan")),
    "gone": LinkLost("Host key verification failed."),
}
ORDER = ["cheap", "dear", "skewed", "late", "full", "gone", "hangs", "lies", "older"]


def from_now(offer: JobOffer) -> JobOffer:
    """The same, had this module been read now."""
    since_s, start_utc_s = time.time() - NOW_S, offer.start_utc_s
    start_utc_s = None if start_utc_s is None else start_utc_s + since_s
    return msgspec.structs.replace(offer, utc_s=offer.utc_s + since_s, start_utc_s=start_utc_s)


async def connect(site: SiteAddress) -> FakeLink:
    answer = ANSWERS.get(site.name)
    if isinstance(answer, LinkLost):
        raise answer
    ready = msgspec.to_builtins(from_now(answer)) if isinstance(answer, JobOffer) else answer
    return FakeLink(FakeClient(site.name, lambda method, params: ready))


async def test_those_that_carry_it_first_by_start_and_cost() -> None:
    sites = [SiteAddress(name) for name in sorted([*ANSWERS, "hangs"])]
    found = await ask_all(sites, connect, 30_000.0, 14_400.0, 43_200.0, answer_s=0.05)
    assert [each.address.name for each in found] == ORDER
    assert [each.carries for each in found] == [True] * 4 + [False] * 5
    trouble = {each.address.name: each.trouble for each in found}
    assert trouble["older"] == OLDER
    assert trouble["gone"] == "Host key verification failed."
    assert trouble["hangs"] == "no answer within 0.05 s"
    assert trouble["skewed"] == "its clock is 120 min behind"
    assert trouble["lies"] == "its answer is not one of a gateway's: a figure that no site can have"


@pytest.mark.parametrize("wrong", [{"start_utc_s": -1.0}, {"level_w": "30"}, {"utc_s": 1e12}, {"why": {"code": 7}}])
async def test_an_answer_that_is_none_is_told(wrong: dict[str, Any]) -> None:
    async def linked(site: SiteAddress) -> FakeLink:
        return FakeLink(FakeClient("a", lambda method, params: msgspec.to_builtins(says()) | wrong))

    (found,) = await ask_all([SiteAddress("a")], linked, 1.0, 60.0, 0.0)
    assert found.trouble.startswith("its answer is not one of a gateway's: ")


def test_as_text_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_link(site: SiteAddress, ssh: Sequence[str]) -> FakeLink:
        await asyncio.sleep(0)
        return await connect(SiteAddress(site.name.partition("@")[2]))

    monkeypatch.setattr(fleet_where, "open_link", open_link)
    names = [f"x@{name}" for name in ANSWERS]
    ran = CliRunner().invoke(fleet, ["where", "--kw", "30", "--for", "4h", *names], standalone_mode=False)
    assert (ran.exception, ran.return_value) == (None, exit_codes.OK)
    head, _, *lines = ran.stdout.splitlines()
    assert head == "30.0 kW for 4 h, to start within 12 h; nothing is reserved"
    assert lines[0].split() == ["x@cheap", "now", "30.0", "9.50", "8.00", "1.50"]
    assert any(line.startswith("x@full    cannot: ") for line in lines)
    assert any(line.startswith("x@gone    asked, no answer: Host key") for line in lines)
    assert any(line.strip() == "a price of these hours is not published yet: assumed" for line in lines)
    ran = CliRunner().invoke(
        fleet, ["where", "--kw", "30kW", "--for", "4h", "--json", "x@full", "x@gone"], standalone_mode=False
    )
    said = json.loads(ran.stdout)
    assert ran.return_value == exit_codes.FAILED
    assert [(site["name"], site["carries"]) for site in said["sites"]] == [("x@full", False), ("x@gone", False)]
    assert said["sites"][0]["offer"]["why"]["text"] == "fuse: 30.0 kW is more than the 20.0 kW that it carries"
