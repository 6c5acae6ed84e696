"""What Redfish documents say of a power, and which chassis is a node's."""

from __future__ import annotations

import asyncio
from typing import Any

import fake_bmc
import pytest
from fake_bmc import V1, Tree, chassis, enclosure, environment, hgx, members, power, ref, root, server, system

from drivers.http.errors import HttpError, NotTrusted
from drivers.modbus.errors import WrongDevice
from drivers.redfish.config import Account, pinned
from drivers.redfish.discovery import Machine, Wanted, discover, supplies
from drivers.redfish.documents import document, number_given, path_of, said, uuid_given
from drivers.redfish.power import Found, of_environment, of_power_control, of_supplies, of_supply_metrics, summed


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is null"),
        ("412", "is no number but '412'"),
        (True, "is no number but 'True'"),
        ({"Value": 3}, "is no number but"),
        (-3, "says -3 W, not believed"),
        (65535, "says 6.554e+04 W, not believed"),
        (1e300, "not believed"),
        (10**400, "is no number"),
        (float("nan"), "is no number"),
        (float("inf"), "is no number"),
    ],
)
def test_what_cannot_be_is_missing_with_a_reason(value: Any, why: str) -> None:
    for found in (
        of_environment({"PowerWatts": {"Reading": value}}),
        of_power_control({"PowerControl": [{"PowerConsumedWatts": value}]}),
        of_supply_metrics({"InputPowerWatts": {"Reading": value}}),
    ):
        assert found.w is None
        assert why in found.why
    assert of_supplies({"PowerSupplies": [{"PowerInputWatts": 200}, {"PowerInputWatts": value}]}).w is None


@pytest.mark.parametrize(
    "resource", [{}, {"PowerWatts": None}, {"PowerWatts": 5}, {"PowerWatts": {}}, {"PowerControl": []}]
)
def test_what_is_not_there_is_missing(resource: dict[str, Any]) -> None:
    for found in (of_environment(resource), of_power_control(resource), of_supplies(resource)):
        assert found.w is None
        assert "not there" in found.why or "no power supply" in found.why


def test_the_first_control_is_the_whole_and_its_capacity_a_bound() -> None:
    control: list[Any] = [{"PowerConsumedWatts": 263, "PowerCapacityWatts": 0}, {"PowerConsumedWatts": 155}]
    assert of_power_control({"PowerControl": control}) == Found(263.0, "PowerConsumedWatts")
    control[0] = {"PowerConsumedWatts": 9000, "PowerCapacityWatts": 1600}
    assert "its supplies can give 1600 W" in of_power_control({"PowerControl": control}).why


def test_power_supplies_count_all_or_not_at_all() -> None:
    empty = {"PowerInputWatts": None, "Status": {"State": "Absent"}}
    given = of_supplies({"PowerSupplies": [{"PowerInputWatts": 120}, {"PowerInputWatts": 109.5}, empty]})
    assert given == Found(229.5, "PowerInputWatts of 2 power supplies")
    assert summed([Found(50_000.0, ""), Found(50_000.0, "")], "x").w is None
    assert summed([], "x").why == "of no power supply"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "http://elsewhere/redfish/v1/Systems",
            "/redfish/v1/../etc",
            "//host/redfish/v1",
            "/redfish/v10",
            None,
            7,
            "",
        ),
        *("/redfish/v1/a b", "/redfish/v1/" + "a" * 500, "/redfish/v1/Systems?x=1", "/redfish/v1/Systems\r\nX: y"),
    ],
)
def test_a_token_goes_only_to_paths_of_the_bmc(value: Any) -> None:
    assert path_of(value) == ""


def test_paths_texts_and_numbers_as_bmcs_write_them() -> None:
    assert path_of("/redfish/v1/Chassis/chassis/Power#/PowerControl/0") == "/redfish/v1/Chassis/chassis/Power"
    assert path_of("/redfish/v1/Systems/(1)") == "/redfish/v1/Systems/(1)"
    assert (number_given("To be filled by O.E.M."), number_given("0000000"), number_given("J30XYZ")) == (
        "",
        "",
        "J30XYZ",
    )
    assert (
        uuid_given("03000200-0400-0500-0006-000700080009")
        == uuid_given("ffffffff" + "-ffff" * 3 + "-ffffffffffff")
        == ""
    )
    assert uuid_given(fake_bmc.UUID.upper()) == fake_bmc.UUID
    assert said(b'{"error":{"message":"no\\u001b[2J","@Message.ExtendedInfo":[null,{"Message":7}]}}') == "no [2J"
    assert said(b"[]") == said(b'{"error":[]}') == said(b"\xff") == ""
    with pytest.raises(HttpError, match="no JSON document"):
        document("b", b"<html>log in</html>")


def found(tree: Tree, **wanted: Any) -> Machine:
    async def get(path: str) -> Any:
        if path not in tree:
            raise HttpError(path, "answers HTTP 404", status=404)
        return tree[path]

    return asyncio.run(discover(tree[f"{V1}/"], get, Wanted("n, BMC at url", **wanted)))


def test_the_server_s_chassis_is_found_and_what_is_inside_is_not_added() -> None:
    machine = found(server(kinds="EPS"))
    assert (machine.system, machine.chassis) == (f"{V1}/Systems/1", f"{V1}/Chassis/1")
    assert (machine.environment, machine.power) == (f"{V1}/Chassis/1/EnvironmentMetrics", f"{V1}/Chassis/1/Power")
    assert (machine.identity.serial, machine.identity.uuid, machine.chassis_serial) == ("SN-1", fake_bmc.UUID, "CH-1")
    machine = found(hgx(), gpus=True)
    assert machine.environment == f"{V1}/Chassis/DGX/EnvironmentMetrics"
    assert [path.rpartition("/")[2] for path in machine.gpus] == [f"GPU_SXM_{n}" for n in range(1, 9)]
    assert found(hgx()).gpus == ()


def test_a_nested_chassis_that_the_system_names_too_is_not_taken() -> None:
    both = [ref(f"{V1}/Chassis/{name}") for name in ("Bay", "1")]
    tree = server() | system("1", Links={"Chassis": both}) | chassis("Bay", ("1",), "E")
    with pytest.raises(WrongDevice, match="several chassis with a power: Bay, 1; name one with bmc_chassis"):
        found(tree)
    assert found(tree, chassis="1").chassis == f"{V1}/Chassis/1"
    inside = {"ComputerSystems": [ref(f"{V1}/Systems/1")], "ContainedBy": ref(f"{V1}/Chassis/1/")}
    assert found(tree | chassis("Bay", ("1",), "E", Links=inside)).chassis == f"{V1}/Chassis/1"
    around = {"Contains": [ref(f"{V1}/Chassis/Bay")]}
    assert found(tree | chassis("1", kinds="E", Links=around)).chassis == f"{V1}/Chassis/1"


def test_a_system_without_links_is_in_the_chassis_that_is_there() -> None:
    tree = server() | system("1", Links={}) | chassis("2", (), "", ChassisType="Module")
    tree[f"{V1}/Chassis"] = members(f"{V1}/Chassis/1", f"{V1}/Chassis/2")
    assert found(tree).chassis == f"{V1}/Chassis/1"
    with pytest.raises(WrongDevice, match="none of its chassis gives a power: 1"):
        found(server(kinds=""))


def test_the_power_of_a_chassis_with_several_hosts_is_nobody_s() -> None:
    with pytest.raises(WrongDevice, match="has 4 systems: Node1, Node2, Node3, Node4; name the node's with bmc_system"):
        found(enclosure(shared=False))
    with pytest.raises(WrongDevice, match=r"Enclosure feeds Node1, Node2, Node4 as well: .* outlets of a \[\[pdu\]\]"):
        found(enclosure(shared=True), system="Node3")
    with pytest.raises(WrongDevice, match="feeds Node1, Node2, Node4 as well"):
        found(enclosure(shared=True), system="Node3", chassis="Enclosure")
    assert found(enclosure(shared=False), system="Node3").power == f"{V1}/Chassis/Node3/Power"
    assert found(enclosure(shared=False, count=20), system="Node7").power == f"{V1}/Chassis/Node7/Power"
    with pytest.raises(WrongDevice, match="very many systems"):
        found(enclosure(shared=False, count=20))
    with pytest.raises(WrongDevice, match="has no system Node9, but Node1"):
        found(enclosure(shared=False), system="Node9")
    with pytest.raises(WrongDevice, match="has no chassis Node9"):
        found(enclosure(shared=False), system="Node1", chassis="Node9")


def test_a_chassis_that_only_the_other_systems_name_is_shared_too() -> None:
    tree = server() | system("2", "1")
    tree[f"{V1}/Systems"] = members(f"{V1}/Systems/1", f"{V1}/Systems/2")
    with pytest.raises(WrongDevice, match="feeds 2 as well"):
        found(tree, system="1")


def test_a_service_that_starts_has_no_system() -> None:
    tree = root() | {f"{V1}/Systems": members(), f"{V1}/Chassis": members()}
    with pytest.raises(WrongDevice, match="has no system; wait if its firmware is being updated"):
        found(tree)


def test_metrics_of_supplies_are_found_unless_one_has_none() -> None:
    async def metrics(tree: Tree) -> tuple[str, ...]:
        async def get(path: str) -> Any:
            return tree[path]

        return await supplies(get, f"{V1}/Chassis/1/PowerSubsystem")

    tree = fake_bmc.supplies(300, 310, absent=1)
    assert len(asyncio.run(metrics(tree))) == 2
    tree[f"{V1}/Chassis/1/PowerSubsystem/PowerSupplies/1"] = {}
    assert asyncio.run(metrics(tree)) == ()


def test_a_fingerprint_is_that_of_the_bmc_s_host(tmp_path: Any) -> None:
    file, digits = tmp_path / "prints.txt", "ab" * 32
    colons = ":".join(["CD"] * 32)
    file.write_text(f"# rack 1\nGPU01-bmc {digits}\ngpu02-bmc {colons}  # new board\n")
    account = Account("u", tmp_path / "p", fingerprints=file)
    assert pinned("b", account, "https://gpu01-BMC:443") == digits
    assert pinned("b", account, "https://gpu02-bmc") == "cd" * 32
    assert pinned("b", account, "https://gpu03-bmc") == ""
    assert (
        pinned("b", Account("u", tmp_path / "p", fingerprints=file, fingerprint="1" * 64), "https://gpu01-bmc")
        == "1" * 64
    )
    for text, words in (
        (f"a {digits}\na {'0' * 64}", "line 2: a second"),
        ("a b", "line 1: 'a b'"),
        ("\xff", "not UTF-8"),
    ):
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(NotTrusted, match=words):
            pinned("b", account, "https://a")
    file.unlink()
    with pytest.raises(NotTrusted, match="No such file"):
        pinned("b", account, "https://a")


def test_environment_goes_before_power() -> None:
    tree = environment(420) | power(410)
    assert of_environment(tree[f"{V1}/Chassis/1/EnvironmentMetrics"]).w == 420.0
    assert of_power_control(tree[f"{V1}/Chassis/1/Power"]).w == 410.0
