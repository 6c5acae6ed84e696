"""Power limits in BMCs: looked at, set and read back, given back; refused, changed by others, slow, locked up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_bmc import PASSWORD, USER, V1, FakeBmc, chassis, environment, power, server, system
from hypothesis import given
from hypothesis import strategies as st
from waiting import LIMIT_S

from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.bmc_limits import WRITES, BmcPower, KeptLimits
from drivers.nodes.errors import CannotObey
from drivers.nodes.observed import ObservedConfig, observed_nodes
from drivers.redfish.config import BmcDefaults
from drivers.redfish.documents import MOST_W, text
from drivers.redfish.limits import PowerLimit, of_control, of_environment, of_power
from drivers.redfish.node_bmc import NodeBmc
from drivers.redfish.pace import Pace

PATH = f"{V1}/Chassis/1/EnvironmentMetrics"
OWN = {"SetPoint": 1600, "ControlMode": "Automatic", "AllowableMin": 500, "AllowableMax": 1600}
Make = Callable[..., NodeBmc]


def machine(**limit: Any) -> dict[str, Any]:
    """A server with the limit of OpenBMC, and the harmless exception that it gives."""
    tree = server(1_400.0, "EP") | environment(1_400.0, PowerLimitWatts=OWN | limit)
    return tree | power(1_400.0, limit={"LimitInWatts": None, "LimitException": "NoAction"})


def older(watts: Any, exception: Any = "LogEventOnly") -> dict[str, Any]:
    """A server that has its limit in Power alone."""
    return (
        server(1_400.0)
        | chassis(kinds="P")
        | power(1_400.0, limit={"LimitInWatts": watts, "LimitException": exception})
    )


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    made = []
    monkeypatch.setattr("drivers.nodes.observed.Pace", lambda: Pace(1000.0))
    (tmp_path / "pw").write_text(PASSWORD)
    (tmp_path / "pw").chmod(0o600)

    def bmc(fake: FakeBmc, cap_by: Any = "redfish", **keys: Any) -> NodeBmc:
        defaults = BmcDefaults(id="b", user=USER, password_file="pw", may_cap=True, **keys)
        node = NodeDevice(id="gpu01", source="redfish", bmc=fake.url, cap_w=800, cap_by=cap_by)
        driver = observed_nodes(ObservedConfig((node,), bmcs=(defaults,), directory=str(tmp_path))).driver(node)
        made.append(driver)
        assert driver.bmc is not None
        return driver.bmc

    yield bmc
    for driver in made:
        await driver.close()


class Direct:
    """Asks the BMC in the test's own process."""

    def __init__(self, bmc: NodeBmc) -> None:
        self._bmc = bmc

    async def look(self, _: str) -> PowerLimit:
        return await self._bmc.limit_looked_at()

    async def set(self, _: str, w: float | None, mode: str) -> PowerLimit:
        return await self._bmc.limit_set(w, mode)


def capping(bmc: NodeBmc, kept: KeptLimits | None = None) -> BmcPower:
    return BmcPower("gpu01", Direct(bmc), kept or KeptLimits())


def held(fake: FakeBmc) -> Any:
    return fake.tree[PATH]["PowerLimitWatts"]


async def test_a_cap_is_set_read_back_and_given_back(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        one = capping(make(fake))
        assert await one.limit(900.4) == "its BMC 900 W"
        assert (held(fake)["SetPoint"], held(fake)["ControlMode"]) == (900, "Automatic")
        assert await one.limit(900.4) == "", "it is so already"
        assert len(fake.patches) == 1
        assert await one.limit(300) == "its BMC 500 W; 300 W were asked, below the least that it allows"
        assert await one.limit(9_000) == "its BMC 1600 W", "no cap is above what may be set"
        assert one.capped
        assert await one.limit(None) == "its BMC 1600 W again"
        assert (held(fake), one.capped, one.changed_by_others) == (OWN, False, "")
        asked = len(fake.asked)
        assert await one.limit(None) == ""
        assert len(fake.asked) == asked, "nothing of ours is in force: it is not even asked"


@pytest.mark.parametrize(
    ("words", "takes_null"), [((None, "Automatic", "Disabled"), False), ((None, "Manual", "Disabled"), True)]
)
async def test_limiting_that_was_off_is_switched_on_and_off_again_in_the_bmc_s_words(
    make: Make, words: Any, takes_null: bool
) -> None:
    async with FakeBmc(machine(SetPoint=None, ControlMode="Disabled")) as fake:
        fake.words, fake.takes_null = words, takes_null
        one = capping(make(fake))
        assert await one.limit(900) == "its BMC 900 W"
        assert held(fake)["ControlMode"] == words[1]
        assert await one.limit(None) == "its BMC no limit again"
        assert held(fake)["ControlMode"] == "Disabled"
        assert held(fake)["SetPoint"] == (None if takes_null else 900)


async def test_the_limit_of_an_older_bmc_stands_in_power(make: Make) -> None:
    async with FakeBmc(older(None)) as fake:
        one = capping(make(fake))
        await one.limit(900)
        assert fake.patches[-1][:2] == (
            f"{V1}/Chassis/1/Power",
            {"PowerControl": [{"PowerLimit": {"LimitInWatts": 900}}]},
        )
        await one.limit(None)
        assert fake.patches[-1][1] == {"PowerControl": [{"PowerLimit": {"LimitInWatts": None}}]}


async def test_a_limit_that_is_an_excerpt_is_changed_in_the_control_that_it_is_of(make: Make) -> None:
    control = f"{V1}/Chassis/1/Controls/PowerLimit"
    async with FakeBmc(machine(DataSourceUri=control)) as fake:
        fake.tree[control] = {**OWN, "ControlType": "Power", "SetPointUnits": "W", "@odata.etag": 'W/"7"'}
        await capping(make(fake)).limit(900)
        assert fake.patches == [(control, {"SetPoint": 900}, 'W/"7"')]


@pytest.mark.parametrize(("exception", "words"), [("HardPowerOff", "switches the node off"), ("Oem", "something else")])
async def test_refused_where_the_bmc_switches_off_or_nobody_knows_what_it_does(
    make: Make, exception: str, words: str
) -> None:
    async with FakeBmc(older(None, exception)) as fake:
        bmc = make(fake)
        with pytest.raises(CannotObey, match=f"not capped: its BMC .*{words}.*LimitException {exception}"):
            await capping(bmc).limit(900)
        assert fake.patches == []
        limit = bmc.limit()
        assert limit is not None
        assert words in limit.why
    async with FakeBmc(machine() | power(1, limit={"LimitException": exception})) as fake:
        with pytest.raises(CannotObey, match=words):
            await capping(make(fake)).limit(900)


async def test_a_cap_goes_as_soon_as_the_bmc_would_switch_off_for_it(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        one = capping(make(fake))
        await one.limit(900)
        fake.tree |= power(1_400.0, limit={"LimitException": "HardPowerOff"})
        with pytest.raises(CannotObey, match="switches the node off"):
            await one.limit(900)
        assert held(fake) == OWN


async def test_what_a_reset_has_put_back_is_set_again_and_what_another_has_set_is_left_and_told(make: Make) -> None:
    async with FakeBmc(machine(DefaultSetPoint=1550)) as fake:
        one = capping(make(fake))
        await one.limit(900)
        for lost in ({"SetPoint": 1550}, {"ControlMode": "Disabled"}, {"SetPoint": 1600}):
            fake.tree[PATH]["PowerLimitWatts"] = held(fake) | lost
            assert await one.limit(900) == "its BMC 900 W", lost
        fake.tree[PATH]["PowerLimitWatts"] = held(fake) | {"SetPoint": 700}
        for _ in range(2):
            with pytest.raises(
                CannotObey, match="its BMC is at 700 W, which another program has set since the cap; it is"
            ):
                await one.limit(900)
        assert one.changed_by_others == "its BMC 700 W"
        assert (
            await one.limit(None)
            == "its BMC stays at 700 W, which another program has set since the cap; it is left so"
        )
        assert (held(fake)["SetPoint"], one.capped) == (700, False)
        await one.limit(650)
        assert one.changed_by_others == ""
        assert await one.limit(None) == "its BMC 700 W again", "what it was before this cap"


async def test_an_etag_goes_along_and_readings_that_change_it_are_no_other_actor(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        fake.etags = True
        bmc = make(fake)
        one = capping(bmc)
        await one.limit(900)
        assert fake.patches[0][2].startswith('"')
        await bmc.limit_looked_at()
        fake.tree[PATH]["PowerWatts"] = {"Reading": 1_300.0}
        assert (await bmc.limit_set(800, "")).set_w == 800
        assert [match for _, _, match in fake.patches[-2:]][1] == "*"
        await bmc.limit_looked_at()
        fake.tree[PATH]["PowerLimitWatts"] = held(fake) | {"SetPoint": 700}
        with pytest.raises(DeviceError, match="its power limit has changed while it was to be set"):
            await bmc.limit_set(850, "")
        assert held(fake)["SetPoint"] == 700


async def test_a_bmc_that_takes_a_limit_and_holds_another_and_one_that_forbids_it(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        one = capping(make(fake))
        fake.deaf = True
        with pytest.raises(CannotObey, match="its BMC holds 1600 W, 900 W were set; look whether it needs a licence"):
            await one.limit(900)
        fake.deaf, fake.may_set = False, False
        with pytest.raises(DeviceError, match=r"refuses access.*insufficient privileges.*ConfigureManager"):
            await one.limit(900)
        fake.may_set = True
        assert await one.limit(900) == "its BMC 900 W", "a refusal is no failure: it is not left alone for it"


async def test_a_node_that_is_not_to_be_capped_is_not_asked_for_its_limit(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        bmc = make(fake, cap_by="")
        await bmc.first(LIMIT_S)
        assert fake.gets("/Power") == 0
        assert bmc.limit() is None
        with pytest.raises(DeviceError, match="is not to be set"):
            await bmc.limit_set(900, "")
    async with FakeBmc(server()) as fake:
        with pytest.raises(DeviceError, match="gives no power limit that could be set; give on_cap"):
            await capping(make(fake)).limit(900)


async def test_orders_go_before_readings_and_one_at_a_time(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        bmc = make(fake)
        await bmc.first(LIMIT_S)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(writer: asyncio.StreamWriter) -> None:
            begun.set()
            await go_on.wait()
            fake.faults.clear()
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        fake.faults[f"{V1}/slow"] = slow
        first = asyncio.create_task(bmc.link.get(f"{V1}/slow"))
        await asyncio.wait_for(begun.wait(), LIMIT_S)
        readings = [asyncio.create_task(bmc.link.get(f"{V1}/Systems/1")) for _ in range(3)]
        await asyncio.sleep(0)
        order = asyncio.create_task(bmc.link.change(PATH, {"PowerLimitWatts": {"SetPoint": 900}}, ""))
        await asyncio.sleep(0)
        asked = len(fake.asked)
        go_on.set()
        await asyncio.wait_for(asyncio.gather(first, *readings, order, return_exceptions=True), LIMIT_S)
        assert [line.partition(" ")[0] for line in fake.asked[asked:]] == ["PATCH", "GET", "GET", "GET"]
        assert fake.most_at_once == 1


async def test_a_bmc_that_locks_up_is_named_left_alone_and_keeps_the_record(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        kept, bmc = KeptLimits(), make(fake, deadline_s=0.2)
        one = capping(bmc, kept)
        await bmc.first(LIMIT_S)

        async def hangs(_: asyncio.StreamWriter) -> None:
            await asyncio.sleep(LIMIT_S)

        await one.limit(900)
        fake.faults["*"] = hangs
        with pytest.raises(DeviceError, match=f"{fake.url}.*no whole answer within 0.2 s"):
            await one.limit(None)
        asked = len(fake.asked)
        with pytest.raises(DeviceError, match=r"no whole answer within 0\.2 s; next try in"):
            await one.limit(None)
        assert len(fake.asked) == asked
        assert kept.own_limits() == {"gpu01": "1600 W"}


class Disk:
    def __init__(self) -> None:
        self.content: bytes | None = None
        self.full = False

    def save(self, content: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "bmc-limits.json")
        self.content = content


async def test_what_the_limit_was_is_on_disk_before_it_is_changed_and_the_next_run_gives_it_back(make: Make) -> None:
    disk = Disk()
    async with FakeBmc(machine()) as fake:
        bmc = make(fake)
        disk.full = True
        one = capping(bmc, KeptLimits(None, disk.save))
        with pytest.raises(CannotObey, match=r"no cap: the limit from before.*bmc-limits\.json: No space left"):
            await one.limit(900)
        assert (fake.patches, one.capped, one.not_kept) == ([], False, "")
        assert await one.limit(900, ride_through=True) == "its BMC 900 W"
        assert one.not_kept == "bmc-limits.json: No space left on device"
        disk.full = False
        await one.limit(800)
        assert one.not_kept == ""
        later = capping(bmc, KeptLimits(disk.content, disk.save))
        assert later.capped
        assert await later.limit(None) == "its BMC 1600 W again"
        assert KeptLimits(disk.content).own_limits() == {}
        assert KeptLimits(b"[]").damage


@pytest.mark.parametrize("limit", [{"SetPoint": None, "ControlMode": None}, {"SetPoint": 0, "ControlMode": None}])
async def test_where_a_bmc_takes_no_null_no_limit_is_the_most_that_it_allows(make: Make, limit: Any) -> None:
    async with FakeBmc(machine(**limit)) as fake:
        fake.takes_null = False
        one = capping(make(fake))
        await one.limit(900)
        said = "its BMC 1600 W, the most that it allows: it does not take that there is no limit"
        assert await one.limit(None) == said
        assert (held(fake)["SetPoint"], one.capped) == (1600, False)


async def test_another_machine_in_its_place_keeps_its_own_limit(make: Make) -> None:
    disk = Disk()
    async with FakeBmc(machine()) as fake:
        await capping(make(fake), KeptLimits(None, disk.save)).limit(900)
        fake.tree |= system("1", SerialNumber="SN-NEW") | environment(1_400.0, PowerLimitWatts=OWN | {"SetPoint": None})
        patches = len(fake.patches)
        for watts in (None, 800):
            later = capping(make(fake), KeptLimits(disk.content))
            await later.limit(watts)
            assert len(fake.patches) == patches + (watts is not None), "1600 W are not given to it"
        await later.limit(None)
        assert held(fake)["SetPoint"] is None


async def test_a_bmc_is_not_written_to_more_often_than_its_memory_bears(make: Make) -> None:
    async with FakeBmc(machine()) as fake:
        one = capping(make(fake))
        for n in range(WRITES):
            await one.limit(900 + 10 * (n % 2))
        errors = set()
        for watts in (900, 920, 900):
            with pytest.raises(CannotObey, match="no cap: 60 were set lately, and BMCs keep") as said:
                await one.limit(watts)
            errors.add(str(said.value))
        assert len(errors) == 1, "the same words, told once"
        assert len(fake.patches) == WRITES
        assert await one.limit(900, ride_through=True), "off the grid power goes before flash"
        assert await one.limit(None) == "its BMC 1600 W again"
        assert held(fake) == OWN


class Held:
    """A BMC that takes whatever it is told."""

    def __init__(self, limit: PowerLimit) -> None:
        self.limit = limit

    async def look(self, _: str) -> PowerLimit:
        return self.limit

    async def set(self, _: str, w: float | None, mode: str) -> PowerLimit:
        assert w is None or 0 < w <= MOST_W
        self.limit = msgspec.structs.replace(self.limit, set_w=w, mode=mode or self.limit.mode)
        return self.limit


numbers = st.one_of(st.none(), st.floats(), st.integers(), st.booleans(), st.text(max_size=5))


@given(numbers, numbers, numbers, st.floats(1, 60_000))
def test_whatever_a_bmc_says_no_limit_is_asked_beyond_what_it_allows(set_w: Any, low: Any, high: Any, w: float) -> None:
    said = {"SetPoint": set_w, "AllowableMin": low, "AllowableMax": high}
    found = of_environment({"PowerLimitWatts": said})
    assert found == of_control(said)
    assert found is not None
    asked_w = found.allowed(w)
    assert found.high_w is None or asked_w <= found.high_w
    assert found.low_w is None or asked_w >= found.low_w or asked_w == found.high_w
    other = of_power({"PowerControl": [{"PowerLimit": {"LimitInWatts": set_w}, "PowerCapacityWatts": high}]})
    assert other is not None
    assert other.in_force_w == (found.set_w if found.on else None)


@given(numbers, numbers, numbers, st.text(max_size=100), st.text(max_size=100), st.floats(0.01, 100_000))
def test_whatever_a_bmc_says_the_next_run_can_read_what_it_had(
    set_w: Any, low: Any, high: Any, mode: str, serial: str, w: float
) -> None:
    disk, said = Disk(), {"SetPoint": set_w, "AllowableMin": low, "AllowableMax": high, "ControlMode": mode}
    found = of_control(said)
    assert found is not None
    found = msgspec.structs.replace(found, serial=text({"s": serial}, "s"))
    power = BmcPower("n", Held(found), KeptLimits(None, disk.save))
    with contextlib.suppress(CannotObey):
        asyncio.run(power.limit(w))
    assert disk.content is None or not KeptLimits(disk.content).damage


def test_what_is_no_power_limit() -> None:
    for metrics in ({}, {"PowerLimitWatts": None}, {"PowerLimitWatts": {}}, {"PowerLimitWatts": 500}):
        assert of_environment(metrics) is None
    for other in ({}, {"PowerControl": []}, {"PowerControl": [None]}, {"PowerControl": [{"PowerLimit": None}]}):
        assert of_power(other) is None
    assert of_control({"SetPoint": 50, "SetPointUnits": "%"}) is None
    assert of_control({"SetPoint": 50, "ControlType": "Temperature"}) is None
