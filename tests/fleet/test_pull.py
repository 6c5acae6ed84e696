"""The hub has every block of every site exactly once, by hash against the site's own file, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner
from fleet_samples import FakeLink
from recorded_gateway import NODE, FakeGateway, change, copied, own, quarters, rewritten
from storage_samples import QUARTER, SOURCE, Site

from console.cli import fleet_pull
from console.cli.fleet import fleet
from fleet.pull import Pace, Pulled, SitePull
from fleet.pulling import FleetPull
from fleet.sites import SiteAddress
from fleet.store import FILE, HubFile, NotAHub
from gateway import exit_codes
from gateway.errors import LinkLost, RequestFailed
from storage.blocks import opened
from storage.identity import Identity
from storage.outgoing import QuarterPage

OTHER = UUID(int=99)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of four quarter hours."""
    directory = tmp_path_factory.mktemp("record")
    made = Site(directory)
    quarters(made, 4, {NODE: 7.0, "pcs1.w": 5.0})
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    made.file.abandon()
    return directory


class Hub:
    """A hub's file, opened for each pull as a process would."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def pull(self, gateway: FakeGateway, name: str = "fjord", **how: Any) -> Pulled:
        store = HubFile(self.directory)
        try:
            pull = SitePull(name, gateway, store, Pace(None), lambda: 1e9, hub="here")
            return await pull.run(how.pop("claimed", {}), **how)
        finally:
            store.close()

    def all(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.directory / FILE)) as con:
            return con.execute(sql).fetchall()

    def kinds(self) -> list[str]:
        return [kind for (kind,) in self.all("SELECT kind FROM trouble ORDER BY id")]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub")


KEPT = "SELECT seq, own_sha256 FROM block ORDER BY seq"


async def test_every_block_once_roll_ups_first_and_no_node(recorded: Path, hub: Hub) -> None:
    gateway = FakeGateway(recorded)
    first = await hub.pull(gateway)
    assert hub.all(KEPT) == own(recorded)
    assert (first.blocks, first.known, first.trouble) == (4, 0, "")
    assert [(first.quarters,)] == hub.all("SELECT count(*) FROM quarter"), "each comes once"
    assert gateway.held == [0, own(recorded)[-1][0]], "from the begin on, and up to what is here"
    assert gateway.asked.index("fleet.blocks") > max(n for n, m in enumerate(gateway.asked) if m == "fleet.quarters")
    again = await hub.pull(FakeGateway(recorded))
    assert (again.blocks, again.known, again.quarters, again.bytes) == (0, 0, 0, 0)
    assert {NODE, "grid.w"} & {name for (name,) in hub.all("SELECT name FROM signal")} == {"grid.w"}
    assert not any(NODE in text for (text,) in hub.all("SELECT signals FROM dictionary"))
    times = {t for (t,) in hub.all("SELECT t FROM quarter")}
    assert times == {QUARTER + 900 * n for n in range(4)}
    (mean,) = hub.all("SELECT mean FROM quarters WHERE signal = 'grid.w' AND t = (SELECT min(t) FROM quarters)")
    assert mean[0] == pytest.approx(sum((QUARTER + n) % 86_400 for n in range(60)) / 60, abs=1)
    for (v,) in hub.all("SELECT v FROM block"):
        assert len(opened(v).times_us()) > 0


@pytest.mark.parametrize("page", [900, 5_000, 10_000_000])
async def test_ended_after_any_answer_it_goes_on(recorded: Path, hub: Hub, page: int) -> None:
    """Also with blocks that are larger than a page and come in pieces."""
    whole = FakeGateway(recorded, page=page)
    await Hub(hub.directory.with_name("whole")).pull(whole)
    for answers in range(0, len(whole.asked), max(1, len(whole.asked) // 6)):
        gateway = FakeGateway(recorded, page=page)
        gateway.breaks_after = answers
        with contextlib.suppress(LinkLost):
            await hub.pull(gateway)
        assert hub.all(KEPT) == own(recorded)[: len(hub.all(KEPT))]
    await hub.pull(FakeGateway(recorded, page=page))
    assert hub.all(KEPT) == own(recorded)


async def test_a_block_that_arrives_damaged_is_asked_for_again(recorded: Path, hub: Hub) -> None:
    gateway = FakeGateway(recorded)
    spoilt = iter([True])
    gateway.spoil = lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] if next(spoilt, False) else data
    assert (await hub.pull(gateway)).blocks == 4
    gateway = FakeGateway(recorded)
    gateway.spoil = lambda data: data[:200] + data[201:]
    other = Hub(hub.directory.with_name("other"))
    stopped = await other.pull(gateway)
    assert stopped.kind == "damaged"
    assert "its checksum is another one" in stopped.trouble
    assert other.all(KEPT) == []
    assert (await other.pull(FakeGateway(recorded))).blocks == 4, "nothing was skipped"


async def test_what_is_damaged_or_deleted_at_the_site_is_noted_and_the_rest_comes(
    recorded: Path, hub: Hub, tmp_path: Path
) -> None:
    site = copied(recorded, tmp_path / "site")
    numbers = [seq for seq, _ in own(site)]
    change(site, "UPDATE block SET v = CAST(substr(v, 1, 120) AS BLOB) WHERE seq = ?", numbers[2])
    found = await hub.pull(FakeGateway(site))
    assert (found.blocks, found.lost, found.trouble) == (3, 1, "")
    assert hub.all("SELECT first_seq, last_seq FROM lost") == [(numbers[2], numbers[2])]


async def test_what_the_site_has_deleted_before_it_was_pulled_is_noted(
    recorded: Path, hub: Hub, tmp_path: Path
) -> None:
    numbers = [seq for seq, _ in own(recorded)]
    begun, later = copied(recorded, tmp_path / "begun"), copied(recorded, tmp_path / "later")
    change(begun, "DELETE FROM block WHERE seq > ?", numbers[0])
    change(later, "DELETE FROM block WHERE seq < ?", numbers[3])
    assert (await hub.pull(FakeGateway(begun))).blocks == 1
    found = await hub.pull(FakeGateway(later))
    assert (found.blocks, found.lost, found.trouble) == (1, 2, "")
    assert hub.all("SELECT first_seq, last_seq, why FROM lost") == [
        (numbers[1], numbers[2], "deleted at the site before it was pulled")
    ]


async def test_what_the_site_deletes_during_a_pull_is_noted(recorded: Path, hub: Hub, tmp_path: Path) -> None:
    site = copied(recorded, tmp_path / "site")
    numbers = [seq for seq, _ in own(site)]

    class Deleting(FakeGateway):
        async def request(self, method: str, **params: Any) -> Any:
            if method == "fleet.blocks" and params["after_seq"] == numbers[0]:
                change(site, "DELETE FROM block WHERE seq < ?", numbers[3])
            return await super().request(method, **params)

    found = await hub.pull(Deleting(site, page=250))
    assert hub.all("SELECT first_seq, last_seq FROM lost") == [(numbers[1], numbers[2])]
    assert (found.blocks, found.lost, found.trouble) == (2, 2, "")


async def test_a_site_that_always_has_more_ends_no_later_than_others(recorded: Path, hub: Hub) -> None:
    class Endless(FakeGateway):
        async def request(self, method: str, **params: Any) -> Any:
            await asyncio.sleep(0)
            if method == "fleet.quarters":
                return msgspec.to_builtins(QuarterPage(last_seq=1, next_t=params["after_t"] + 900))
            return await super().request(method, **params)

    async def opened_link() -> Any:
        return FakeLink(Endless(recorded))

    with closing(HubFile(hub.directory)) as store:
        found = await FleetPull(["fjord"], store, Pace(None), most_s=0.05).pull("fjord", opened_link)
    assert (found.kind, found.site) == ("time", str(SOURCE[0]))


def test_a_full_disk_is_said_and_nothing_that_is_there_is_touched(
    recorded: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page brought is rolled back as a whole."""

    async def opened_link(site: SiteAddress, ssh: Sequence[str]) -> Any:
        return FakeLink(FakeGateway(recorded))

    class Full(HubFile):
        def _read_up_to(self, *what: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(fleet_pull, "open_link", opened_link)
    monkeypatch.setattr(fleet_pull, "HubFile", Full)
    ran = CliRunner().invoke(fleet, ["pull", "x@fjord", "--hub", str(hub.directory)])
    assert ran.exit_code == exit_codes.FAILED
    assert f"{hub.directory / FILE}: database or disk is full" in str(ran.exception)
    assert [hub.all(f"SELECT * FROM {table}") for table in ("block", "quarter", "signal")] == [[], [], []]
    monkeypatch.undo()
    monkeypatch.setattr(fleet_pull, "open_link", opened_link)
    assert CliRunner().invoke(fleet, ["pull", "x@fjord", "--hub", str(hub.directory)]).exit_code == exit_codes.OK
    assert hub.all(KEPT) == own(recorded)


async def test_what_a_site_calls_itself_is_one_line(recorded: Path, hub: Hub) -> None:
    found = await hub.pull(FakeGateway(recorded, name="Fjord\n\x1b[2J| Delta | 700 |"))
    assert found.trouble == ""
    assert hub.all("SELECT name FROM site") == [("Fjord  [2J| Delta | 700 |",)]
    other = FakeGateway(recorded)
    other.welcome = msgspec.structs.replace(other.welcome, identity=Identity("a\nb", "c", "", kept=True))
    found = await hub.pull(other)
    assert (found.kind, found.trouble) == ("answer", "its identity is none")


async def test_a_site_restored_from_a_backup_goes_on_as_a_new_incarnation(
    recorded: Path, hub: Hub, tmp_path: Path
) -> None:
    """The same sequences with other content: both are kept, by incarnation."""
    await hub.pull(FakeGateway(recorded))
    site, last = copied(recorded, tmp_path / "restored"), own(recorded)[-1][0]
    rewritten(site, last, OTHER)
    found = await hub.pull(FakeGateway(site, OTHER))
    assert (found.trouble, found.blocks, found.known) == ("", 1, 3)
    assert found.remarks == [f"a new incarnation, {OTHER}: restored, moved or copied"]
    kept = hub.all("SELECT incarnation, seq FROM block ORDER BY seq, incarnation")
    assert kept[-2:] == sorted([(str(SOURCE[1]), last), (str(OTHER), last)])
    assert len(kept) == 5


async def test_a_record_set_back_without_a_new_incarnation_is_stopped_and_nothing_overwritten(
    recorded: Path, hub: Hub, tmp_path: Path
) -> None:
    await hub.pull(FakeGateway(recorded))
    before, last = hub.all(KEPT), own(recorded)[-1][0]
    site = copied(recorded, tmp_path / "set-back")
    change(site, "DELETE FROM block WHERE seq = ?", last)
    found = await hub.pull(FakeGateway(site))
    assert found.kind == "set-back"
    assert "Delete incarnation.json" in found.trouble
    (v,) = sqlite3.connect(site / "telemetry.db").execute("SELECT v FROM block ORDER BY seq LIMIT 1").fetchone()
    change(site, "INSERT INTO block SELECT ?, t0, step_us, n, dictionary, ? FROM block LIMIT 1", last, v)
    found = await hub.pull(FakeGateway(site))
    assert (found.kind, "is another one" in found.trouble) == ("set-back", True)
    assert hub.all(KEPT) == before
    assert hub.kinds() == ["set-back", "set-back"]
    again = await hub.pull(FakeGateway(site, OTHER))
    assert again.kind == "", "as a new incarnation it goes on"


async def test_two_gateways_claim_one_site(recorded: Path, hub: Hub) -> None:
    claimed: dict[str, str] = {}
    assert (await hub.pull(FakeGateway(recorded), "first", claimed=claimed)).kind == ""
    second = await hub.pull(FakeGateway(recorded, OTHER), "second", claimed=claimed)
    assert (second.kind, "first calls itself the same site" in second.trouble) == ("claimed-twice", True)
    assert (await hub.pull(FakeGateway(recorded, OTHER), "second")).remarks != []  # alone: moved, as far as one sees
    former = await hub.pull(FakeGateway(recorded), "first")
    assert (former.kind, former.blocks) == ("claimed-twice", 0)
    assert (await hub.pull(FakeGateway(recorded), "first", take_current=True)).kind == ""


async def test_a_copy_that_answers_faster_is_not_read_while_the_site_itself_answers(recorded: Path, hub: Hub) -> None:
    site, copy = FakeGateway(recorded), FakeGateway(recorded, OTHER)

    async def pull(*current: str) -> list[Pulled]:
        """The copy is listed first and answers at once, the site later."""
        copy_looked = asyncio.Event()

        async def open_copy() -> FakeLink:
            copy_looked.set()
            return FakeLink(copy)

        async def open_site() -> FakeLink:
            await copy_looked.wait()
            await asyncio.sleep(0)
            return FakeLink(site)

        with closing(HubFile(hub.directory)) as store:
            pulling = FleetPull(["copy", "site"], store, Pace(None), current=current, hub="here")
            return list(await asyncio.gather(pulling.pull("copy", open_copy), pulling.pull("site", open_site)))

    await hub.pull(FakeGateway(recorded), "site")
    for _ in range(2):
        refused, read = await pull()
        assert (refused.kind, read.kind) == ("claimed-twice", "")
        assert refused.trouble.startswith(
            f"site calls itself the same site, {SOURCE[0]}, and is read; nothing is pulled"
        )
        assert copy.held == [], "nothing is asked of it"
    read, refused = await pull("copy")
    assert (read.remarks, read.kind, refused.kind) == (
        [f"a new incarnation, {OTHER}: restored, moved or copied"],
        "",
        "claimed-twice",
    )


async def test_of_sites_that_the_hub_does_not_know_the_first_listed_is_read(recorded: Path, hub: Hub) -> None:
    async def late() -> FakeLink:
        await asyncio.sleep(0)
        return FakeLink(FakeGateway(recorded))

    async def at_once() -> FakeLink:
        return FakeLink(FakeGateway(recorded, OTHER))

    with closing(HubFile(hub.directory)) as store:
        pulling = FleetPull(["first", "second"], store, Pace(None))
        found = await asyncio.gather(pulling.pull("second", at_once), pulling.pull("first", late))
    assert [(each.name, each.kind) for each in found] == [("second", "claimed-twice"), ("first", "")]


async def test_a_site_that_holds_nothing_is_pulled_all_the_same(recorded: Path, hub: Hub) -> None:
    class Full(FakeGateway):
        async def request(self, method: str, **params: Any) -> Any:
            if method == "fleet.hold":
                raise RequestFailed("the hold is not on record: disk full", "refused")
            return await super().request(method, **params)

    found = await hub.pull(Full(recorded))
    assert (found.blocks, found.trouble) == (4, "")
    assert found.remarks[0] == "it keeps no blocks for this hub: the hold is not on record: disk full"


def test_the_command_pulls_and_says_what_came(
    recorded: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateways = {"near": FakeGateway(recorded), "gone": None}

    async def open_link(site: SiteAddress, ssh: Sequence[str]) -> FakeLink:
        gateway = gateways[site.name]
        if gateway is None:
            raise LinkLost("gone: Host key verification failed.")
        return FakeLink(gateway)

    monkeypatch.setattr(fleet_pull, "open_link", open_link)
    file = tmp_path / "fleet.toml"
    file.write_text('[[site]]\nname = "near"\n[[site]]\nname = "gone"\nhost = "gone"\n')
    command = ["pull", "--file", str(file), "--hub", str(hub.directory), "--mbit", "1000"]
    found = CliRunner().invoke(fleet, command, standalone_mode=False)
    assert found.exception is None
    assert found.return_value == exit_codes.FAILED
    near, gone = found.stdout.splitlines()[:1], found.stdout.splitlines()[-1:]
    assert near[0].startswith("near: 4 blocks, ")
    assert gone == ["gone: NOT all pulled: gone: Host key verification failed."]
    assert hub.all(KEPT) == own(recorded)
    found = CliRunner().invoke(fleet, [*command, "--json", "near"], standalone_mode=False)
    (said,) = json.loads(found.stdout)
    assert (found.return_value, said["blocks"], said["site"]) == (exit_codes.OK, 0, str(SOURCE[0]))


async def test_a_site_that_was_renamed_stays_the_same(recorded: Path, hub: Hub) -> None:
    await hub.pull(FakeGateway(recorded))
    found = await hub.pull(FakeGateway(recorded, name="Fjord North"), "another address")
    assert (found.remarks, found.known, found.blocks) == (["it calls itself Fjord North now, Fjord before"], 0, 0)
    assert hub.all("SELECT name FROM site") == [("Fjord North",)]


async def test_a_clock_that_was_two_days_ahead_hides_no_roll_up(hub: Hub, tmp_path: Path) -> None:
    made = Site(tmp_path)
    quarters(made, 1)
    made.now_s += 172_800
    quarters(made, 1)
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    await hub.pull(FakeGateway(tmp_path))
    made.now_s -= 172_800
    quarters(made, 2)
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    made.file.abandon()
    await hub.pull(FakeGateway(tmp_path))
    assert hub.all(KEPT) == own(tmp_path)
    with closing(sqlite3.connect(tmp_path / "telemetry.db")) as con:
        there = con.execute("SELECT DISTINCT t FROM r15 ORDER BY t").fetchall()
    assert hub.all("SELECT DISTINCT t FROM quarter ORDER BY t") == there
    assert len(there) >= 4


async def test_a_rewritten_audit_shows_at_the_next_pull(recorded: Path, hub: Hub) -> None:
    await hub.pull(FakeGateway(recorded))
    honest = FakeGateway(recorded)
    honest.rows[6] = bytes(32)
    assert (await hub.pull(honest)).remarks == []
    for rows in ({6: b"x" * 32}, {}):
        forged = FakeGateway(recorded)
        forged.rows |= rows
        (remark,) = (await hub.pull(forged)).remarks
        assert remark.startswith("row ")
    assert len(hub.all("SELECT * FROM head")) >= 3
    assert set(hub.kinds()) == {"audit"}


async def test_gateways_without_history_say_so(recorded: Path, hub: Hub) -> None:
    older = FakeGateway(recorded)
    older.welcome = msgspec.structs.replace(older.welcome, identity=None)
    assert (await hub.pull(older)).kind == "version"

    class Refusing(FakeGateway):
        async def request(self, method: str, **params: Any) -> Any:
            raise RequestFailed(f"unknown method '{method}'; known: at", "refused")

    assert (await hub.pull(Refusing(recorded))).kind == "version"


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as con:
        con.execute("CREATE TABLE t (a)")
    with pytest.raises(NotAHub, match="expected a fleet's file"):
        HubFile(tmp_path)


async def test_the_pace_is_kept() -> None:
    now_s = [0.0]

    async def sleep(seconds: float) -> None:
        now_s[0] += seconds

    pace = Pace(1000.0, lambda: now_s[0], sleep)
    for _ in range(5):
        asked_s = pace.now_s()
        now_s[0] += 0.2  # on their way
        await pace.came(500, asked_s)
    assert now_s[0] == pytest.approx(2.5)
    now_s[0] += 10.0
    asked_s = pace.now_s()
    now_s[0] += 2.0
    await pace.came(500, asked_s)
    assert now_s[0] == pytest.approx(14.5), "a link that is slower is not slowed down"
