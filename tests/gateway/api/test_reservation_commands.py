"""Power reservations on a gateway with devices in memory: granted, kept, withdrawn, over; jobs that wait."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import warm_start
from commands import begin, ended
from small_gateway import ROOT, Running, as_words, running
from test_order_commands import ME, fill_the_disk, rows
from waiting import LIMIT_S

from console.cli import data_source
from console.cli.main import run
from console.cli.reservations import GRANT_S
from dispatch.control.contact_states import stop_reason
from dispatch.model.contacts import ContactView
from dispatch.model.job_offer import JobOffer
from dispatch.wording.catalogue import words
from gateway import exit_codes
from gateway.api import reservation_commands
from gateway.api.ask import Conversation
from gateway.api.client import GatewayClient
from gateway.api.peer import Peer
from gateway.api.roles import Role, Roles, Standing
from gateway.errors import RequestFailed
from storage import audit_reader

HOOKS = ROOT / "deploy" / "hooks"
NOW = {"power_w": 20_000.0, "for_s": 3600.0}  # 20 kW stand, 30 are allowed: 10 kWh of the 42 above the reserve
LATER = {"power_w": 30_000.0, "for_s": 3 * 3600.0, "within_s": 6 * 3600.0}  # 60 kWh above the contract: not at once


async def reserve(client: GatewayClient, there: Running, **params: Any) -> Any:
    return await client.request("reservation.ask", **({"seen_utc_s": there.clock.utc_s()} | params))


async def listed(client: GatewayClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.request("reservation.list"))["reservations"]
    return found


def texts(there: Running) -> list[str]:
    return [event.text for event in there.events if event.subject == "reservation"]


async def test_none_is_granted_and_none_is_ready_while_a_contact_stops_the_battery(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reserve(client, there, **NOW)
    stopped = ContactView("epo", "epo", "active", 0.0)
    monkeypatch.setattr(reservation_commands, "stop_reason", lambda contacts: stop_reason((*contacts, stopped)))
    with pytest.raises(RequestFailed, match="protection: battery to 0 kW: emergency stop epo is active; power is res"):
        await reserve(client, there, **NOW)
    (before,) = await listed(client)
    assert not before["ready"]
    assert as_words(before["why"]) == "battery to 0 kW: emergency stop epo is active"


async def test_granted_on_record_and_seen_by_everybody(there: Running, client: GatewayClient) -> None:
    before = there.clock.utc_s()
    answer = await reserve(client, there, **NOW, name="render-7")
    mine = answer["reservation"]
    assert before - 1 <= mine["start_utc_s"] <= there.clock.utc_s()
    assert mine["end_utc_s"] == mine["start_utc_s"] + 3600
    assert (mine["name"], mine["who"], answer["why"], answer["not_durable"]) == ("render-7", ME, None, "")
    published = await there.gateway.loop.next_tick()
    assert [r.id for r in published.reservations] == [mine["id"]]
    assert [(r["id"], r["ready"], r["why"]) for r in await listed(client)] == [(mine["id"], True, None)]
    intent, result = rows(there)[-2:]
    assert (intent["kind"], intent["command"], intent["who"], f"r{intent['seq']}") == (
        "intent", "reservation.ask", ME, mine["id"],
    )  # fmt: skip
    assert (result["of"], result["outcome"]) == (intent["seq"], "granted")
    assert any("begins: 20.0 kW for 1 h" in text for text in texts(there))
    later = await reserve(client, there, **LATER)
    assert later["reservation"]["start_utc_s"] > mine["end_utc_s"]
    assert as_words(later["why"]).startswith("started at once it would take an import of")
    waiting = (await listed(client))[1]
    assert not waiting["ready"]
    assert as_words(waiting["why"]).startswith("it starts at")


async def test_a_battery_that_was_stopped_is_promised_to_nobody(there: Running, client: GatewayClient) -> None:
    mine = (await reserve(client, there, **NOW))["reservation"]["id"]
    later = (await reserve(client, there, **LATER))["reservation"]["id"]
    await client.request("stop", reason="work on the busbar")
    held = rf"; order \w+ of {ME}, hold at 0 kW, has the battery until \d\d:\d\d"
    with pytest.raises(RequestFailed, match=f"contract: 20.0 kW for 1 h takes an import of .*{held}"):
        await reserve(client, there, **NOW)
    now, then = await listed(client)
    assert (now["id"], now["ready"], then["id"], then["ready"]) == (mine, False, later, False)
    short = "contract allows an import of 30.0 kW, it would take 40.0 kW"
    assert re.fullmatch(f"{short}{held}", as_words(now["why"])), now["why"]
    assert "; at risk: " not in as_words(then["why"]), "the stop is over by then"
    await client.request("order.end", id=there.gateway.orders.active[0].id)
    assert [r["ready"] for r in await listed(client)] == [True, False]


async def test_the_plan_has_the_energy_ready_and_says_for_whom(place: Path) -> None:
    async with running(place, place / "s.sock", plan={"enabled": True, "period_s": 3600}) as there:
        async with asyncio.timeout(LIMIT_S):
            while there.gateway.planner.plan is None:
                await there.gateway.loop.next_tick()
        client = await GatewayClient.connect(there.socket, 0)
        first = there.gateway.planner.plan
        assert max(step.load_w for step in first.steps) < 21_000
        later = (await reserve(client, there, **LATER, name="render-7"))["reservation"]
        start_s, id = later["start_utc_s"], later["id"]
        async with asyncio.timeout(LIMIT_S):  # at once, not when the hour is over
            while (plan := there.gateway.planner.plan) is first or plan is None:
                await there.gateway.loop.next_tick()
        during = plan.at(start_s + 1800)
        assert during is not None
        assert during.load_w == pytest.approx(50_000, abs=100)
        assert during.grid_w <= 30_050
        assert f"reservation {id} since" in words(during.reason)
        charging = [
            words(step.reason) for step in plan.steps if step.battery_w < -100 and step.start_utc_s < start_s - 900
        ]
        assert charging
        assert all(reason.startswith(f"reservation {id} at") for reason in charging), charging
        there.devices.soc_pct = 15.0  # something else has emptied the battery: hours of charging are missing
        async with asyncio.timeout(LIMIT_S):
            while (await there.gateway.loop.next_tick()).snapshot.batteries[0].soc_pct.good != 15.0:
                pass
            there.gateway.planner.reserve(there.gateway.reservations.kept)
            while not any(f"{id} at" in text and "is at risk: contract allows" in text for text in texts(there)):
                await there.gateway.loop.next_tick()
        assert "; at risk: contract allows an import of 30.0 kW, it would take" in as_words(
            (await listed(client))[0]["why"]
        )
        there.devices.soc_pct = 60.0
        plan = there.gateway.planner.plan
        await client.request("reservation.withdraw", id="render-7")
        async with asyncio.timeout(LIMIT_S):
            while there.gateway.planner.plan is plan:
                await there.gateway.loop.next_tick()
        assert max(step.load_w for step in there.gateway.planner.plan.steps) < 21_000
        await client.close()


async def test_where_says_what_a_job_would_be_granted_and_grants_nothing(there: Running, client: GatewayClient) -> None:
    found = msgspec.convert(await client.request("fleet.where", **NOW), JobOffer)
    assert found.start_utc_s == pytest.approx(there.clock.utc_s(), abs=2)
    assert found.rise_w == 0.0
    assert await listed(client) == []
    await client.request("order.set", kind="hold", reason="names a person")
    held = msgspec.convert(await client.request("fleet.where", **(NOW | {"within_s": 1e9})), JobOffer)
    assert held.start_utc_s is None or held.why is not None
    assert "an operator" in words(held.why)
    assert ME not in str(held)
    assert held.within_s == 35 * 3600.0, "the plan sees 36 h"
    with pytest.raises(RequestFailed, match="power_w"):
        await client.request("fleet.where", for_s=60)
    gone = msgspec.convert(await client.request("fleet.where", power_w=1e6, for_s=60), JobOffer)
    assert gone.start_utc_s is None
    assert "1000.0 kW" in words(gone.why)


async def test_kept_over_a_restart_unless_withdrawn_or_over(place: Path) -> None:
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0)
        kept = (await reserve(client, there, **LATER, name="render-7"))["reservation"]
        gone = (await reserve(client, there, power_w=100.0, for_s=600.0))["reservation"]
        short = (await reserve(client, there, power_w=100.0, for_s=60.0, name="short"))["reservation"]
        answer = await client.request("reservation.withdraw", id=gone["id"], reason="not needed")
        assert (answer["withdrawn"]["id"], answer["not_durable"]) == (gone["id"], "")
        there.clock.ahead_s = 90.0
        async with asyncio.timeout(LIMIT_S):
            while not any(f"{short['id']} is over" in text for text in texts(there)):
                await there.gateway.loop.next_tick()
        await client.close()
    async with running(place, place / "s.sock") as again:
        client = await GatewayClient.connect(again.socket, 0)
        # by this clock, set back by the 90 s, the short one would stand again: its end is on record
        assert [r["id"] for r in await listed(client)] == [kept["id"]]
        assert any(f"reservation {kept['id']}," in text and "kept over a restart" in text for text in texts(again))
        assert not any("render-7" in text for text in texts(again))
        renewed = await reserve(client, again, power_w=100.0, for_s=60.0, name="render-7")
        assert renewed["renews"] == kept["id"]
        await client.close()


async def test_kill_9_loses_nothing_that_was_answered(place: Path) -> None:
    small, environment = ROOT / "tests" / "gateway" / "small_gateway.py", {**os.environ, "PYTHONPATH": str(ROOT)}
    serve = [str(place), str(place / "s.sock")]

    async def start() -> tuple[asyncio.subprocess.Process, GatewayClient]:
        process = await warm_start.start(serve, environment, small, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
        return process, await GatewayClient.connect(place / "s.sock", 0)

    process, client = await start()
    now_s = (await client.request("status"))["snapshot"]["utc_s"]
    mine = (await client.request("reservation.ask", **NOW, seen_utc_s=now_s))["reservation"]
    process.kill()
    await process.communicate()
    await client.close()
    process, client = await start()
    assert [r["id"] for r in await listed(client)] == [mine["id"]]
    await client.close()
    process.kill()
    await process.communicate()


async def test_refused_with_rule_and_figure_and_on_record(there: Running, client: GatewayClient) -> None:
    for params, said in (
        ({"power_w": 0.0, "for_s": 60.0}, "power: 0.0 kW: a job asks for more than 0 kW"),
        ({"power_w": -3000.0, "for_s": 60.0}, "power: -3.0 kW"),
        ({"power_w": 2e5, "for_s": 60.0}, "fuse: 200.0 kW is more than the 110.4 kW that it carries"),
        ({"power_w": 1e3, "for_s": 60.0, "within_s": -60.0}, "in the past: a start 1 min ago cannot be granted"),
        ({"power_w": 1e3, "for_s": 40 * 3600.0}, "plan.horizon_h: 40 h from now to its end; the site plans 36 h ahead"),
        ({"power_w": 70e3, "for_s": 3600.0}, "contract: 70.0 kW for 1 h takes an import of 4"),
        ({**NOW, "seen_utc_s": 0.0}, "stale console: the newest state it has seen is"),
        ({**NOW, "seen_utc_s": None}, "stale console: expected seen_utc_s"),
        ({**NOW, "colour": "red"}, "bad parameters: unknown: colour"),
        ({"power_w": 1.0}, "bad parameters: Object missing required field `for_s`"),
    ):
        with pytest.raises(RequestFailed) as caught:
            await reserve(client, there, **params)
        assert caught.value.code == "refused"
        assert said in str(caught.value)
    assert await listed(client) == []
    with pytest.raises(RequestFailed, match="no reservation 'r99' stands: there is none"):
        await client.request("reservation.withdraw", id="r99")
    there.audit.write({"kind": "note"}).result(LIMIT_S)
    assert sum(row["kind"] == "refused" for row in rows(there)) == 9


class Onlookers(Roles):
    """Everybody only looks."""

    def without_lookup(self, peer: Peer) -> Standing:
        return Standing(Role.VIEWER, "as the test says")


class Schedulers(Roles):
    """Everybody is a job scheduler."""

    def without_lookup(self, peer: Peer) -> Standing:
        return Standing(Role.SCHEDULER, "as the test says")


async def test_a_scheduler_gives_back_its_own_and_nobody_elses(place: Path) -> None:
    async with running(place, place / "s.sock", Schedulers(None, 0)) as there:
        client = await GatewayClient.connect(there.socket, 0)
        mine = (await reserve(client, there, **NOW, cluster="c", job_id="1"))["reservation"]["id"]
        found = there.gateway.reservations.find(mine)
        there.gateway.reservations.grant(msgspec.structs.replace(found, id="r99", name="b", job_id="2", who="me"))
        named: dict[str, Any]
        for named in ({"id": "r99"}, {"id": "b"}, {"cluster": "c", "job_id": "2"}):
            with pytest.raises(RequestFailed, match="withdrawing a reservation of somebody else takes an operator"):
                await client.request("reservation.withdraw", **named)
        with pytest.raises(RequestFailed, match="r99"):
            await reserve(client, there, **NOW, cluster="c", job_id="2")  # nor is it renewed, which would end it
        await client.request("reservation.withdraw", cluster="c", job_id="1")
        assert [r["id"] for r in await listed(client)] == ["r99"]
        for method in ("stop", "order.end", "alarm.acknowledge", "prove.abort", "drill.abort"):
            with pytest.raises(RequestFailed, match=r"takes an operator; .* is a scheduler \(as the test says\)"):
                await client.request(method, id="*")
        await client.close()


async def test_refused_while_nothing_is_known_and_for_who_only_looks(place: Path) -> None:
    async with running(place, place / "s.sock", Onlookers(None, 0)) as there:
        client = await GatewayClient.connect(there.socket, 0)
        with pytest.raises(RequestFailed, match=r"reserving power takes a scheduler; .* is a viewer"):
            await reserve(client, there, **NOW)
        with pytest.raises(RequestFailed, match="withdrawing a reservation takes a scheduler"):
            await client.request("reservation.withdraw", id="r1")
        assert await listed(client) == []
        await client.close()
    async with running(place, place / "t.sock") as there:
        client = await GatewayClient.connect(there.socket, 0)
        there.devices.offline.add("pcs1")
        async with asyncio.timeout(LIMIT_S):
            while (await there.gateway.loop.next_tick()).snapshot.batteries[0].soc_pct.good is not None:
                pass
        with pytest.raises(RequestFailed, match="not ready: SoC, load or PV is not known now"):
            await reserve(client, there, **NOW)
        await client.close()


async def test_a_full_disk_grants_nothing_and_still_takes_a_withdrawal(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = (await reserve(client, there, **NOW))["reservation"]["id"]
    fill_the_disk(there, monkeypatch)
    line = ""
    for _ in range(40):  # first whatever room is left in the last page
        try:
            more = await reserve(client, there, power_w=100.0, for_s=60.0, name="x" * 32)
        except RequestFailed as error:
            line = str(error)
            break
        await client.request("reservation.withdraw", id=more["reservation"]["id"])
    assert line.startswith("audit: not on record, so not done")
    assert [r["id"] for r in await listed(client)] == [mine]
    answer = await client.request("reservation.withdraw", id=mine)
    assert "full" in answer["not_durable"]
    assert await listed(client) == []
    monkeypatch.undo()


# ── by the command line, and for jobs that wait ─────────────────────────────────────────────────────────────────────


async def waits(there: Running, process: asyncio.subprocess.Process) -> None:
    """Until the command has said that it waits."""
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), LIMIT_S)).decode()
    assert line.startswith("skerry: waiting: it starts at"), line


async def test_by_the_command_line(there: Running, shim: Path) -> None:
    skerry = str(shim)
    asked = (skerry, "reserve", "--kw", "20kW", "--for", "1h", "--name", "a")
    code, out, err = await ended(await begin(there, shim, *asked))
    assert code == exit_codes.OK, err
    assert out.startswith("r")
    assert ": 20.0 kW from" in out
    code, out, err = await ended(await begin(there, shim, skerry, "reserve", "--kw", "90", "--for", "1h"))
    assert (code, out) == (exit_codes.REFUSED, ""), err
    assert err.startswith("skerry: contract: 90.0 kW for 1 h takes an import of")
    code, out, _ = await ended(await begin(there, shim, skerry, "reservations"))
    assert len(out.splitlines()) == 1
    assert out.split()[1:3] == ["20.0", "kW"]
    assert out.split()[-1] == "ready"
    code, out, _ = await ended(await begin(there, shim, skerry, "status"))
    assert "Reserved  r" in out
    code, out, _ = await ended(await begin(there, shim, skerry, "withdraw", "a"))
    assert (code, out.split()[0]) == (exit_codes.OK, "withdrawn")
    code, out, _ = await ended(await begin(there, shim, skerry, "reservations"))
    assert out == "no power is reserved\n"


async def test_a_gateway_that_takes_long_to_find_a_start_is_waited_for(
    there: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found: on a busy machine the job was told that it failed, and its power was reserved all the same."""
    patience: list[float] = []

    class Noted(Conversation):
        def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
            patience.append(timeout_s)
            super().__init__(path, timeout_s)

    monkeypatch.setattr(data_source, "Conversation", Noted)
    asked = ["reserve", "--kw", "20kW", "--for", "1h", "--site", str(there.socket)]
    assert await asyncio.to_thread(run, asked) == exit_codes.OK
    assert patience == [GRANT_S]
    assert GRANT_S > 30


async def test_wait_ends_when_the_power_is_ready_taken_back_or_given_up(there: Running, shim: Path) -> None:
    command = (str(shim), "reserve", "--kw", "30", "--for", "3h", "--within", "6h", "--wait")
    taken = await begin(there, shim, *command)
    await waits(there, taken)
    client = await GatewayClient.connect(there.socket, 0)
    await client.request("reservation.withdraw", id=there.gateway.reservations.kept[0].id)
    await client.close()
    code, _, err = await ended(taken)
    assert code == exit_codes.REFUSED
    assert "was withdrawn while the job waited" in err
    left = await begin(there, shim, *command)
    await waits(there, left)
    left.send_signal(signal.SIGTERM)
    code, _, _ = await ended(left)
    assert code == 130
    assert there.gateway.reservations.kept == ()
    assert "the job that waited for it was ended" in texts(there)[-1]
    ready = await begin(there, shim, *command)
    await waits(there, ready)
    mine = there.gateway.reservations.kept[0]
    there.devices.soc_pct = 90.0  # as the plan would have seen to
    there.clock.ahead_s = mine.start_utc_s - there.clock.utc_s() + 1
    code, out, err = await ended(ready)
    assert code == exit_codes.OK, err
    assert out.startswith(mine.id)


async def test_power_that_does_not_come_is_not_waited_for_for_ever(there: Running, shim: Path) -> None:
    process = await begin(there, shim, str(shim), "reserve", "--kw", "30", "--for", "3h", "--within", "3h", "--wait")
    await waits(there, process)
    mine = there.gateway.reservations.kept[0]
    there.clock.ahead_s = mine.latest_utc_s - there.clock.utc_s() + 90  # and nobody has charged the battery
    code, _, err = await ended(process)
    assert code == exit_codes.REFUSED
    assert "contract allows an import of 30.0 kW, it would take" in err
    assert "it is withdrawn" in err
    assert there.gateway.reservations.standing() == ()


async def test_who_asks_again_for_a_job_renews_its_reservation(place: Path) -> None:
    """By the scheduler's id where there is one, else by name; another user's, and another cluster's, is another's."""
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0)
        small = {"power_w": 4_000.0, "for_s": 1200.0, "within_s": 600.0}
        first = await reserve(client, there, **small, name="slurm-77")
        second = await reserve(client, there, **(small | {"power_w": 3_000.0}), name="slurm-77")
        assert (first["renews"], second["renews"]) == ("", first["reservation"]["id"])
        assert [(r["id"], r["power_w"]) for r in await listed(client)] == [(second["reservation"]["id"], 3_000.0)]
        assert any(f"is granted and renews {first['reservation']['id']}" in text for text in texts(there))
        third = await reserve(client, there, **small, name="slurm-77", cluster="a", job_id="77")
        assert third["renews"] == second["reservation"]["id"], "one of an earlier version is known by its name"
        other = await reserve(client, there, **small, name="slurm-77", cluster="b", job_id="77")
        assert other["renews"] == ""
        with pytest.raises(RequestFailed, match=r"power: 0\.0 kW"):
            await reserve(client, there, power_w=0.0, for_s=60.0, cluster="a", job_id="77")
        with pytest.raises(RequestFailed, match=r"fuse: 200\.0 kW"):
            await reserve(client, there, power_w=2e5, for_s=60.0, cluster="a", job_id="77")
        standing = {r["id"] for r in await listed(client)}
        assert standing == {third["reservation"]["id"], other["reservation"]["id"]}, "a refusal takes nothing away"
        with pytest.raises(RequestFailed, match="no reservation of job 78 of a stands"):
            await client.request("reservation.withdraw", id="", cluster="a", job_id="78", restart=0)
        with pytest.raises(RequestFailed, match="expected id, or job_id"):
            await client.request("reservation.withdraw", reason="why")
        there.audit.write({"kind": "note"}).result(LIMIT_S)
        refused = [row["text"] for row in rows(there) if row.get("command") == "reservation.withdraw"]
        assert refused == ["no reservation of job 78 of a stands"], "a withdrawal of what nobody knows is on record"
        await client.close()
    async with running(place, place / "s.sock") as again:
        client = await GatewayClient.connect(again.socket, 0)
        assert {r["id"] for r in await listed(client)} == standing, "what was renewed is not there again"
        await client.close()


async def test_another_users_job_of_the_same_name_is_not_renewed(there: Running, client: GatewayClient) -> None:
    mine = (await reserve(client, there, **NOW, name="render-7"))["reservation"]
    other = msgspec.structs.replace(there.gateway.reservations.kept[0], who="somebody")
    there.gateway.reservations.grant(other)
    with pytest.raises(
        RequestFailed, match=f"one reservation per job: render-7 has reservation {mine['id']} of somebody"
    ):
        await reserve(client, there, power_w=100.0, for_s=60.0, name="render-7")


async def test_a_render_manager_runs_its_command_with_power(there: Running, shim: Path) -> None:
    hook = str(HOOKS / "with-power")
    options = ("--kw", "20", "--for", "1h", "--name", "shot-0420", "--")
    command = ("sh", "-c", "$SKERRY reservations; exit 7")
    code, out, err = await ended(await begin(there, shim, hook, *options, *command))
    assert code == 7, err
    assert "shot-0420" in out.splitlines()[1], "it runs while the power is reserved"
    assert there.gateway.reservations.standing() == ()
    code, out, _ = await ended(await begin(there, shim, hook, "--kw", "500", *options[2:], "echo", "started"))
    assert (code, out) == (exit_codes.REFUSED, "")
    running_ = await begin(there, shim, hook, *options, "sh", "-c", "echo on >&2; exec sleep 60")
    assert running_.stderr is not None
    assert (await asyncio.wait_for(running_.stderr.readline(), LIMIT_S)) == b"on\n"
    running_.send_signal(signal.SIGTERM)
    code, _, _ = await ended(running_)
    assert code == 128 + signal.SIGTERM
    assert there.gateway.reservations.standing() == ()
    code, _, err = await ended(await begin(there, shim, hook, "--kw", "20", "--", "true"))
    assert code == exit_codes.USAGE
    assert err.startswith("usage: with-power")


async def test_a_job_withdrawn_while_its_request_is_computed_gets_nothing(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epilog has come and gone: nobody would withdraw what is granted afterwards."""
    really, begun, go_on = reservation_commands.grant, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(LIMIT_S)
        return really(*arguments)

    monkeypatch.setattr(reservation_commands, "grant", slowly)
    job = {"cluster": "c", "job_id": "7"}
    asked = asyncio.create_task(reserve(client, there, **NOW, **job, restart=1))
    assert await asyncio.to_thread(begun.wait, LIMIT_S)
    with pytest.raises(RequestFailed, match="no reservation of job 7"):  # of an earlier start of the job
        await client.request("reservation.withdraw", **job, restart=0)
    answer = await client.request("reservation.withdraw", **job, restart=1)
    assert (answer["withdrawn"], answer["kept"]) == (None, None)
    go_on.set()
    with pytest.raises(RequestFailed, match="withdrawn before its power was granted"):
        await asked
    assert await listed(client) == []
    assert (await reserve(client, there, **NOW, **job, restart=1))["reservation"]["job_id"] == "7", "it may ask again"


async def test_a_job_withdrawn_while_the_disk_writes_its_grant_gets_nothing(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, begun, go_on = there.gateway.log.record_intent, asyncio.Event(), asyncio.Event()

    async def slowly(command: Any, text: str = "", **more: Any) -> Any:
        found = await really(command, text, **more)
        if command.name == "reservation.ask":
            begun.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(there.gateway.log, "record_intent", slowly)
    asked = asyncio.create_task(reserve(client, there, **NOW, name="render-7"))
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    await client.request("reservation.withdraw", id="render-7")
    go_on.set()
    with pytest.raises(RequestFailed, match="withdrawn before its power was granted"):
        await asked
    assert await listed(client) == []
    assert audit_reader.reservations(there.directory, there.clock.utc_s()) == [], "nor after a restart"
