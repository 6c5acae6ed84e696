"""The commands that set limits of OpenCue and Deadline, run against a manager on loopback.

The managers' answers are composed from their documents, as named in the commands; none was recorded.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farm_manager import FarmManager, farm_manager

ADAPTERS = Path(__file__).resolve().parents[3] / "deploy" / "adapters"


class Limited:
    """A farm with one limit, and a command for it."""

    def __init__(self, farm: FarmManager, command: str, place: Path) -> None:
        self.farm, self.command, self.place = farm, command, place
        self.value, self.used = 40, 9
        self.taken = True  # whether the manager takes a new value
        self.broken = False  # whether it takes it and does not say so
        if command == "opencue-limit":
            farm.pages["/limit.LimitInterface/Find"] = self._find
            farm.pages["/limit.LimitInterface/SetMaxValue"] = lambda body: self._set(body["maxValue"], {})
        else:
            farm.pages["/api/limitgroups"] = self._groups
            farm.pages["/api/jobs"] = lambda _: [
                {"RenderingChunks": self.used, "Props": {"Limits": ["power"]}},
                {"RenderingChunks": 5, "Props": {"Limits": ["nuke"]}},
                {"RenderingChunks": 5, "Props": {}},
            ]

    def _find(self, body: Any) -> Any:
        """limit.proto, LimitFindResponse."""
        assert body == {"name": "power"}
        return {"limit": {"id": "l1", "name": "power", "maxValue": self.value, "currentRunning": self.used}}

    def _groups(self, body: Any) -> Any:
        if body is None:
            return [{"Name": "power", "Props": {"Limit": self.value, "RelPer": -1.0}, "_id": "power"}]
        assert (body["Command"], body["Name"]) == ("set", "power")
        return self._set(body["Limit"], b"Success")

    def _set(self, value: int, answer: Any) -> Any:
        self.value = value if self.taken else self.value
        self.farm.status = 500 if self.broken else 200
        return answer

    def run(self, *words: str) -> tuple[int, str, str]:
        """Its exit code, and what it says on both outputs."""
        command = [str(ADAPTERS / self.command), self.farm.url, "power", "--state-dir", str(self.place), *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return ended.returncode, ended.stdout, ended.stderr.strip()

    def shown(self) -> dict[str, Any]:
        code, printed, _ = self.run("show")
        assert code == 0
        said: dict[str, Any] = json.loads(printed)
        return said

    @property
    def file(self) -> Path:
        return self.place / "power.json"

    @property
    def writes(self) -> int:
        return sum(target.endswith("SetMaxValue") or method == "PUT" for method, target in self.farm.asked)


@pytest.fixture(params=["opencue-limit", "deadline-limit"])
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Limited]:
    with farm_manager() as farm:
        yield Limited(farm, request.param, tmp_path)


def test_a_limit_is_set_and_put_back(limited: Limited) -> None:
    said = {"format": "skerry-limit/1", "limit": 40, "used": 9, "found": None, "changed": False}
    assert limited.shown() == said
    for count in ("12", "12", "20"):
        assert limited.run("set", count) == (0, "", "")
    assert (limited.value, limited.writes) == (20, 2), "written where it changes"
    assert limited.shown() == said | {"limit": 20, "found": 40}
    assert limited.run("set", "99")[0] == 0
    assert limited.value == 40, "never above what was found"
    assert limited.run("set", "5")[0] == limited.run("restore")[0] == 0
    assert (limited.value, limited.file.exists()) == (40, False)
    assert limited.run("restore") == (0, "", "")
    assert limited.shown() == said


def test_none_is_as_few_as_the_manager_can_be_told(limited: Limited) -> None:
    assert limited.run("set", "0")[0] == 0
    assert limited.value == (0 if limited.command == "opencue-limit" else 1)


def test_what_another_has_set_stays(limited: Limited) -> None:
    limited.run("set", "12")
    limited.value = 25
    assert limited.shown()["changed"] is True
    code, _, told = limited.run("set", "11")
    assert (code, told) == (1, "the limit was changed by another: 25, 12 was set; it stays")
    code, _, told = limited.run("restore")
    assert (code, "it stays" in told, limited.value) == (0, True, 25)
    assert (limited.shown()["found"], limited.shown()["changed"]) == (None, False), "from then on it is what was found"


def test_it_lapses_where_nobody_has_called_for_five_minutes(limited: Limited) -> None:
    """A gateway that was killed: the timer beside the manager puts the limit back."""
    limited.run("set", "12")
    assert limited.run("lapse") == (0, "", "")
    assert limited.value == 12
    now_s = time.time()
    os.utime(limited.file, (now_s - 280, now_s - 280))
    assert limited.run("set", "12")[0] == 0, "the same again: Skerry is alive"
    assert limited.run("lapse")[0] == 0
    assert limited.value == 12
    os.utime(limited.file, (now_s - 301, now_s - 301))
    code, _, told = limited.run("lapse")
    assert (code, limited.value, limited.file.exists()) == (0, 40, False)
    assert told.endswith("s: the limit is put back")
    assert limited.run("lapse") == (0, "", "")


def test_what_another_has_set_stays_when_it_lapses_and_until_somebody_restores(limited: Limited) -> None:
    """Skerry calls no `set` while that alarm is there, so that the timer comes."""
    limited.run("set", "12")
    limited.value = 25
    os.utime(limited.file, (time.time() - 301,) * 2)
    assert limited.run("lapse") == (0, "", "")
    assert (limited.value, limited.shown()["found"], limited.shown()["changed"]) == (25, 40, True)


def test_one_that_was_killed_while_it_set_the_limit_is_still_ours(limited: Limited) -> None:
    """The file is written first; it knows the value before and the one after."""
    limited.run("set", "12")
    limited.file.write_text(json.dumps({"found": 40, "wrote": [12, 7]}))
    assert limited.shown()["changed"] is False
    limited.value = 7
    assert limited.shown()["changed"] is False
    assert limited.run("restore")[0] == 0
    assert limited.value == 40


def test_one_that_was_killed_while_it_put_the_limit_back_goes_on_from_there(limited: Limited) -> None:
    limited.run("set", "12")
    long_ago_s = round(time.time()) - 400
    os.utime(limited.file, (long_ago_s, long_ago_s))
    limited.broken = True
    assert limited.run("restore")[0] == 1
    assert (limited.value, round(limited.file.stat().st_mtime)) == (40, long_ago_s), "it was put back all the same"
    limited.broken, limited.farm.status = False, 200
    assert limited.shown()["changed"] is False
    assert limited.run("set", "9") == (0, "", "")
    assert (limited.value, limited.shown()["found"]) == (9, 40)


def test_limits_of_the_same_name_of_two_managers_are_not_taken_for_one(limited: Limited) -> None:
    limited.run("set", "12")
    limited.file.write_text(limited.file.read_text().replace(limited.farm.url, "http://other:1"))
    for words in (("set", "9"), ("restore",), ("lapse",)):
        code, _, told = limited.run(*words)
        assert (code, limited.value) == (1, 12)
        assert "it is about a limit of http://other:1, not" in told
    assert limited.file.exists()


def test_what_is_not_taken_or_cannot_be_limited_is_told(limited: Limited) -> None:
    limited.taken = False
    code, _, told = limited.run("set", "12")
    assert (code, told) == (1, "the limit was not taken: 40, 12 was set: may this user change it?")
    limited.file.unlink()
    limited.value = 0
    code, _, told = limited.run("set", "12")
    assert (code, told) == (1, "the limit is 0: give it the number that may run without Skerry")
    assert not limited.file.exists()


def test_no_limit_of_that_name_and_no_answer(limited: Limited) -> None:
    for path in limited.farm.pages:
        limited.farm.pages[path] = {}
    code, _, told = limited.run("show")
    assert (code, "is there one of that name?" in told) == (1, True), told
    limited.farm.status = 401
    code, _, told = limited.run("set", "5")
    assert (code, "HTTP 401: the token is not accepted" in told) == (1, True), told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "expected show, set N, restore or lapse at the end"),
        (("set", "-1"), 2, "expected show, set N"),
        (("set", "many"), 2, "expected show, set N"),
        (("set", "5", "--state-dir", "/nowhere"), 1, "make the directory, and give it to the user"),
    ],
)
def test_what_it_is_told_wrongly(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    with farm_manager() as farm:
        limited = Limited(farm, "opencue-limit", tmp_path)
        ended = limited.run(*words)
        assert (ended[0], told in ended[2]) == (code, True), ended
        assert limited.value == 40


def test_a_file_that_is_not_its_own_is_told(tmp_path: Path) -> None:
    with farm_manager() as farm:
        limited = Limited(farm, "opencue-limit", tmp_path)
        limited.file.write_text("{}")
        code, _, told = limited.run("set", "5")
        assert (code, "not a file of this command" in told, limited.value) == (1, True, 40)


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        ("/opt/skerry/adapters/opencue-limit http://cue skerry_power --secret-file /etc/skerry/cue show", "show"),
        ("set 12", "set 12"), ("opencue-limit http://cue set 0", "set 0"), ("restore", "restore"),
        ("set 12;id", ""), ("set -1", ""), ("set", ""), ("lapse", ""), ("", ""), ("sh -c id", ""),
        ("set 1 --state-dir", ""), ("show; id", ""), ("set *", ""),
    ],
)  # fmt: skip
def test_the_key_of_the_gateway_is_good_for_its_limit_alone(tmp_path: Path, asked: str, done: str) -> None:
    """As sshd runs it for a key with a forced command."""
    script = tmp_path / "limit-for-skerry"
    ours = (ADAPTERS / script.name).read_text()
    script.write_text(re.sub('limit="[^"]*"', 'limit="echo ran"', ours))
    ended = subprocess.run(
        ["sh", str(script)], env={"SSH_ORIGINAL_COMMAND": asked}, capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == (f"ran {done}" if done else "")
    assert ended.returncode == (0 if done else 2)


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ADAPTERS))
    shared = importlib.import_module("manager_limit")
    monkeypatch.setattr(shared, "LOCK_S", 0.1)
    kept = shared.Kept(str(tmp_path), "power", "http://farm")
    with (tmp_path / "power.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Exception, match=r"held for more than 0\.1 s"), kept.locked():
            pytest.fail("it was held")
    with kept.locked():
        pass
