"""Versions of the site file: older ones are read, newer ones refused, retired keys named, texts upgraded."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_site_file import MINIMAL

from gateway.site import versions
from gateway.site.loader import SiteFileError, load
from gateway.site.versions import NoUpgrade, Retired, UnknownVersion, upgraded

PEAK = Retired("grid", "peak_w", "contracted_peak_w", 1)
RATED = Retired("pcs", "discharge", "discharge_w", 1)
OLD = MINIMAL.replace("contracted_peak_w", "peak_w").replace("discharge_w", "discharge")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later Skerry: version 2 of the site file, in which two keys have other names."""
    monkeypatch.setattr(versions, "CURRENT", 2)
    monkeypatch.setattr(versions, "RETIRED", (PEAK, RATED))


def errors_of(tmp_path: Path, text: str) -> dict[str, str]:
    """Key -> whole line of a file that must be refused."""
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(SiteFileError) as caught:
        load(tmp_path / "site.toml")
    return {error.key: str(error) for error in caught.value.errors}


def test_a_file_without_a_version_is_version_1(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(MINIMAL)
    (tmp_path / "stated.toml").write_text("version = 1\n" + MINIMAL)
    first, second = (load(tmp_path / name) for name in ("site.toml", "stated.toml"))
    assert first.dispatch == second.dispatch
    assert first.version == 1


@pytest.mark.parametrize("stated", ["0", "-1", "1.0", '"1"', "true", "3", "999"])
def test_a_version_that_is_not_understood_is_the_only_error(tmp_path: Path, stated: str) -> None:
    found = errors_of(tmp_path, f"version = {stated}\n{OLD}")
    assert found.keys() == {"version"}
    if stated in ("3", "999"):
        expected = "at most 2: this Skerry understands versions 1 to 2 of the site file; update Skerry"
        assert found["version"] == f"version = {stated}: expected {expected}"


@pytest.mark.usefixtures("later")
def test_an_older_file_is_read_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(OLD)
    site = load(tmp_path / "site.toml")
    assert (site.grid.contracted_peak_w, site.pcs[0].discharge_w) == (30_000, 20_000)


@pytest.mark.usefixtures("later")
def test_a_retired_key_in_a_current_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    found = errors_of(tmp_path, f"version = 2\n{OLD}".replace('name = "Test site"', 'nam = "Test site"'))
    assert found.keys() == {"grid.peak_w", "pcs[0].discharge", "site.nam", "site.name"}
    assert found["grid.peak_w"] == (
        "grid.peak_w: expected line 7: grid.contracted_peak_w; peak_w was last read in site file version 1 "
        "(skerry config upgrade prints the file with it)"
    )
    assert found["pcs[0].discharge"].startswith("pcs[0].discharge: expected line 18: pcs[0].discharge_w;")


@pytest.mark.usefixtures("later")
def test_both_names_at_once_are_an_error_in_any_version(tmp_path: Path) -> None:
    text = OLD.replace("[grid]", "[grid]\ncontracted_peak_w = 1000")
    found = errors_of(tmp_path, text)
    assert found.keys() == {"grid.peak_w"}
    assert "line 7: grid.contracted_peak_w, which is there already" in found["grid.peak_w"]
    with pytest.raises(NoUpgrade, match=r"grid\.peak_w: expected line 7: .* write it by hand"):
        upgraded(text)


@pytest.mark.usefixtures("later")
def test_an_upgrade_keeps_everything_but_the_names() -> None:
    text = """# peak_w is agreed with the grid operator
[site]
name = "peak_w = 3"  # a name like a key
[grid]
fuse_a = 63
  peak_w   =   "30 kW"   # from the contract
note = '''
peak_w = 5
'''
[[pcs]]
id = "pcs1"
"discharge" = 1
[[pcs]]
id = "pcs2"
charge = { discharge = 3 }
discharge = 2
"""
    new = upgraded(text)
    assert new == (
        text.replace("[site]", "version = 2\n\n[site]", 1)
        .replace("  peak_w   =", "  contracted_peak_w   =")
        .replace('"discharge" = 1', '"discharge_w" = 1')
        .replace("\ndischarge = 2", "\ndischarge_w = 2")
    )
    assert upgraded(new) == new


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("version=1\n[grid]\npeak_w = 1\n", "version=2\n[grid]\ncontracted_peak_w = 1\n"),
        ("grid = {peak_w = 1, fuse_a = 1}\nversion = 1", "grid = {contracted_peak_w = 1, fuse_a = 1}\nversion = 2"),
        ("grid.peak_w = 1\n", "version = 2\ngrid.contracted_peak_w = 1\n"),
        ("# no more\r\n[grid]\r\n", "# no more\r\nversion = 2\r\n\r\n[grid]\r\n"),
        ("version = 2\n", "version = 2\n"),
        ("", "version = 2\n"),
    ],
)
def test_ways_to_write_it(text: str, new: str) -> None:
    assert upgraded(text) == new


def test_what_is_not_understood_is_not_upgraded() -> None:
    with pytest.raises(UnknownVersion, match="at most 2"):
        upgraded("version = 3\n")


KEYS = st.sampled_from(("peak_w", "contracted_peak_w", "fuse_a", "version", "discharge"))
VALUES = st.one_of(st.integers(0, 2), st.booleans(), st.text("# \"'=[]peak_w\n", max_size=12))
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


def written(name: str, table: dict[str, object]) -> str:
    """A table as TOML; strings as multi-line ones where they can be."""

    def value(item: object) -> str:
        if isinstance(item, str):
            escaped = item.replace("\\", "\\\\").replace('"', '\\"')
            return f'"""{escaped}"""'
        return str(item).lower()

    return f"[{name}]\n" + "".join(f"{key} = {value(item)} # {key}\n" for key, item in table.items())


@given(TABLES, st.lists(TABLES, max_size=3))
def test_an_upgrade_never_changes_what_a_file_says(grid: dict[str, object], pcs: list[dict[str, object]]) -> None:
    text = written("grid", grid) + "".join(written("[pcs]", table) for table in pcs)
    before = tomllib.loads(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "CURRENT", 2)
        patch.setattr(versions, "RETIRED", (PEAK, RATED))
        if "peak_w" in grid and "contracted_peak_w" in grid:
            with pytest.raises(NoUpgrade):
                upgraded(text)
            return
        new = upgraded(text)
        after = tomllib.loads(new)
        assert after.pop("version") == 2
        assert after == versions.modernised(before, versions.retired_in(before))
        assert new.count("#") == text.count("#")
