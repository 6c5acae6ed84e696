"""Writes what the documentation takes from the code: command and site file references, man pages, shell completions.

`python docs/generate.py` writes the files, `--check` says which differ from the code (exit code 1). The command line
comes from click's commands, the site file (`site_file_page.py`) from the JSON Schema that its structs give.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]  # the code beside this file, not one that is installed

from page_parts import GENERATED, table_cell  # noqa: E402
from site_file_page import site_file_page  # noqa: E402

from console.cli.main import COMMANDS, skerry  # noqa: E402
from drivers.maps.loader import bundled, load  # noqa: E402
from drivers.maps.schema import DeviceMap  # noqa: E402
from drivers.maps.vocabulary import OWN, PV_POWER  # noqa: E402
from drivers.tariffs import price_sheets  # noqa: E402
from drivers.twin.mapped_pcs import FAMILIES  # noqa: E402
from gateway import exit_codes  # noqa: E402
from gateway.api.permissions import PERMISSIONS  # noqa: E402

ENVIRONMENT = (
    ("SKERRY_SITE", "The site file that commands mean when --site is not given."),
    ("SKERRY_LANG", "The language of what is shown, before `LC_ALL`, `LC_MESSAGES` and `LANG`: en, de, zh_CN."),
    ("SKERRY_DEBUG", "When set, an unexpected error is shown with its traceback."),
    ("NO_COLOR", "When set, the console uses no colour."),
)
ROLES = "<!-- roles: written by docs/generate.py from gateway/api/permissions.py -->\n"  # what follows is generated
MAPS = "<!-- devices: written by docs/generate.py from drivers/maps -->\n"  # what follows is generated
SHEETS = "<!-- sheets: written by docs/generate.py from drivers/tariffs/sheets -->\n"  # what follows is generated
VERIFIED = {
    "vectors": "registers worked out by hand from the sources",
    "unverified": "registers worked out by hand from sources that are not solid: writes are refused until "
    "`skerry devices prove` has passed",
}
ALIKE = "; another Modbus client reads every value of its simulated registers alike, by its own reading of the sources"
TWIN = "; a simulated device written by hand from the sources, which another Modbus client reads and commands alike"
PREFORMATTED = "\b"  # click's mark for a paragraph that is not to be wrapped


class Entry(NamedTuple):
    """One command as the reference shows it."""

    path: str  # "skerry drill start"
    usage: str  # what follows the path on the command line
    summary: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    children: tuple[Entry, ...]


def entries() -> list[Entry]:
    """Every command that is shown in the help, in its order."""
    parent = click.Context(skerry, info_name="skerry")
    return [
        _entry(skerry.get_command(parent, name), name, parent, line) for name, (_, line) in COMMANDS.items() if line
    ]


def _entry(command: click.Command | None, name: str, parent: click.Context, summary: str = "") -> Entry:
    assert command is not None, name
    context = click.Context(command, info_name=name, parent=parent)
    paragraphs = tuple(textwrap.dedent(part) for part in (command.help or "").strip().split("\n\n"))
    records = [p.get_help_record(context) for p in command.params if isinstance(p, click.Option)]
    group = command if isinstance(command, click.Group) else click.Group()
    children = [_entry(group.get_command(context, child), child, context) for child in group.list_commands(context)]
    return Entry(
        path=f"{parent.command_path} {name}",
        usage=" ".join(command.collect_usage_pieces(context)),
        summary=summary or " ".join(paragraphs[0].split()),
        paragraphs=paragraphs,
        options=tuple(record for record in records if record is not None),
        children=tuple(children),
    )


def commands_page() -> str:
    """docs/commands.md."""
    return "\n".join(_commands_page())


def _commands_page() -> Iterator[str]:
    found = entries()
    yield from (GENERATED, "", "# Commands", "")
    yield "`skerry SITE.toml` opens the console on a site: it attaches to the running gateway, or starts one that ends"
    yield "with the console. Where a gateway that it was attached to ends, it waits for that to start again."
    yield "All other functions are commands of their own. `-h` or `--help` shows the help of each."
    yield from ("", "| command | purpose |", "|---|---|", "| `skerry SITE.toml` | Open the console on a site. |")
    for entry in found:
        yield f"| [`{entry.path}`](#{entry.path.replace(' ', '-')}) | {table_cell(entry.summary)} |"
    yield from ("", "## Conventions", "")
    yield "Commands find the gateway by `--site`, by `$SKERRY_SITE`, or because it is the only one running. Without"
    yield "a running gateway `status`, `why`, `events`, `audit`, `iq`, `drill report` and `export` read the record."
    yield "Times are in the time zone of the site and show it; those of a record without a time zone are in UTC."
    yield "Powers need a unit (`20kW`, `850W`), and so do durations (`90s`, `15m`, `2h`). Battery power > 0 discharges,"
    yield "grid power > 0 imports."
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    for code, meaning in exit_codes.MEANINGS.items():
        yield f"| {code} | {meaning} |"
    yield from ("| 130 | interrupted by Ctrl-C |", "", "## Environment", "", "| variable | meaning |", "|---|---|")
    for name, meaning in ENVIRONMENT:
        yield f"| `{name}` | {meaning} |"
    for entry in found:
        yield from _command_section(entry, "##")
    yield ""


def _command_section(entry: Entry, mark: str) -> Iterator[str]:
    yield from ("", f"{mark} {entry.path}", "", "```text", f"{entry.path} {entry.usage}".rstrip(), "```")
    for paragraph in entry.paragraphs:
        lines = paragraph.splitlines()
        yield from ("", *(["```text", *lines[1:], "```"] if lines[0] == PREFORMATTED else lines))
    if entry.options:
        yield from ("", "| option | meaning |", "|---|---|")
        for names, meaning in entry.options:
            yield f"| `{table_cell(names)}` | {table_cell(meaning)} |"
    for child in entry.children:
        yield from _command_section(child, mark + "#")


def man_pages() -> dict[str, str]:
    """File name -> text: an overview and a page for each command."""
    found = entries()
    groups = [p for p in (skerry.help or "").strip().split("\n\n") if not p.startswith(PREFORMATTED)]
    overview = Entry(
        path="skerry",
        usage="SITE.toml | COMMAND [ARGS]...",
        summary=groups[0],
        paragraphs=tuple(groups),
        options=(("--version", "Show the version."), ("-h, --help", "Show the help.")),
        children=(),
    )
    listed = [".SH COMMANDS"]
    for entry in found:
        listed += [".TP", f"\\fB{_roff(entry.path.replace(' ', '-'))}\\fR(1)", _roff(entry.summary)]
    pages = {"skerry.1": _man_page(overview, listed)}
    for entry in found:
        pages[f"{entry.path.replace(' ', '-')}.1"] = _man_page(entry, [])
    return pages


def _man_page(entry: Entry, more: list[str]) -> str:
    name = entry.path.replace(" ", "-")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    lines = [f'.TH "{name.upper()}" "1" "" "skerry {version}" "Skerry"', ".SH NAME"]
    lines += [f"{_roff(name)} \\- {_roff(entry.summary.rstrip('.'))}", ".SH SYNOPSIS", *_synopsis(entry)]
    lines += [
        ".SH DESCRIPTION",
        *_roff_paragraphs(entry.paragraphs),
        *more,
        *_roff_options(entry.options, ".SH OPTIONS"),
    ]
    for child in entry.children:
        lines += [f'.SH "{_roff(child.path.upper())}"', *_synopsis(child), ".PP", *_roff_paragraphs(child.paragraphs)]
        lines += _roff_options(child.options, "")
    lines.append(".SH EXIT STATUS")
    for code, meaning in exit_codes.MEANINGS.items():
        lines += [".TP", str(code), _roff(meaning)]
    lines.append(".SH ENVIRONMENT")
    for variable, meaning in ENVIRONMENT:
        lines += [".TP", variable, _roff(meaning)]
    if entry.path != "skerry":
        lines += [".SH SEE ALSO", "\\fBskerry\\fR(1)"]
    return "\n".join(lines) + "\n"


def _synopsis(entry: Entry) -> list[str]:
    return [f"\\fB{_roff(entry.path)}\\fR {_roff(entry.usage)}".rstrip()]


def _roff_options(options: tuple[tuple[str, str], ...], heading: str) -> list[str]:
    lines = [heading] if heading and options else []
    for names, meaning in options:
        lines += [".TP", f"\\fB{_roff(names)}\\fR", _roff(meaning)]
    return lines


def _roff_paragraphs(paragraphs: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for n, paragraph in enumerate(paragraphs):
        text = paragraph.splitlines()
        kept = text[0] == PREFORMATTED
        lines += [".PP"] if n else []
        lines += [".nf", *map(_roff, text[1:]), ".fi"] if kept else [_roff(" ".join(text))]
    return lines


def _roff(text: str) -> str:
    """Text for troff: backslashes and dashes as characters; no line that reads as a request."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def completions() -> dict[str, str]:
    """Path below docs/completions -> script. Each asks `skerry` itself what fits, so it need not change with it."""
    return {
        "bash/skerry": _completion(BashComplete),
        "zsh/_skerry": _completion(ZshComplete),
        "fish/skerry.fish": _completion(FishComplete),
    }


def _completion(shell: type[ShellComplete]) -> str:
    complete = shell(skerry, {}, "skerry", "_SKERRY_COMPLETE")
    return (complete.source_template % complete.source_vars()).strip() + "\n"


def roles_table() -> str:
    """The end of docs/security.md: what each request takes."""
    lines = ["| request | role | raises risk |", "|---|---|---|"]
    lines += [f"| `{row}` | {p.role.word} | {'yes' if p.raises_risk else ''} |" for row, p in PERMISSIONS.items()]
    return "\n".join([ROLES, *lines, ""])


def devices_table() -> str:
    """The end of docs/devices.md: every device map that comes along, and what its simulated PCS do."""
    lines = ["| device | `map` | reads | writes | sources | verified |", "|---|---|---|---|---|---|"]
    for name in sorted(bundled(), key=lambda n: (load(n).info.kind, n)):
        one = load(name)
        cells = (one.info.title, f"`{name}`", _read(one), _writes(one), _sources(one), _verified(one))
        lines.append("| " + " | ".join(table_cell(cell) for cell in cells) + " |")
    lines += ["", "### What the simulated PCS do", ""]
    lines += ["| `map` | silence | value out of range | wrong mode | another firmware |", "|---|---|---|---|---|"]
    for name, family in FAMILIES.items():
        lines.append("| " + " | ".join(table_cell(cell) for cell in (f"`{name}`", *family.behaviour)) + " |")
    return "\n".join([MAPS, *lines, ""])


def sheets_table() -> str:
    """The end of docs/tariffs.md: every price sheet that comes along, and how well it is known."""
    lines = ["| sheet | of | source, and what was read there | not verified |", "|---|---|---|---|"]
    for name in price_sheets.names():
        about = price_sheets.load(name).sheet
        link = f"[`{name}`](../drivers/tariffs/sheets/{name}.toml)"
        cells = (link, f"{about.operator}: {about.title}", f"{about.source}. {about.verified}", about.not_verified)
        lines.append("| " + " | ".join(table_cell(cell) for cell in cells) + " |")
    return "\n".join([SHEETS, *lines, ""])


def _verified(device_map: DeviceMap) -> str:
    """How its lines were checked."""
    info = device_map.info
    more = TWIN if info.name in FAMILIES else ALIKE if info.kind in ("meter", "battery") else ""
    return VERIFIED[info.verified] + more


def _read(device_map: DeviceMap) -> str:
    """What of a device is read; phases as one."""
    names = dict.fromkeys(name.removesuffix("_l1") for name in device_map.values if name[-3:] not in ("_l2", "_l3"))
    read = f"{device_map.info.kind}: " + ", ".join(name for name in names if not name.startswith(OWN))
    hybrid = device_map.info.kind == "pcs" and PV_POWER["pcs"] in device_map.values
    return read + ("; by a `[[pv]]`: pv_w" if hybrid else "")


def _writes(device_map: DeviceMap) -> str:
    """What is written to it, and what becomes of that when Skerry is silent."""
    if (recipe := device_map.recipe) is None:
        return ", ".join(device_map.writes) or "nothing"
    after = f"{recipe.revert_to} after {recipe.revert_s:g} s" if recipe.revert_s else "never reverts by itself"
    return f"power, renewed every {recipe.renew_s:g} s; {after}"


def _sources(device_map: DeviceMap) -> str:
    """Where its lines come from, and where these sources differ."""
    info = device_map.info
    parts = [*info.sources, *(f"*Disagreement:* {text}" for text in info.disagreements)]
    return "<br>".join((*parts, *(f"*At the device:* {text}" for text in info.ask)))


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    found = {DOCS / "commands.md": commands_page(), DOCS / "site-file.md": site_file_page()}
    ends = (
        ("security.md", ROLES, roles_table()),
        ("devices.md", MAPS, devices_table()),
        ("tariffs.md", SHEETS, sheets_table()),
    )
    for name, mark, table in ends:
        written = (ROOT / "docs" / name).read_text(encoding="utf-8").partition(mark)[0]  # by people, above the mark
        found[DOCS / name] = written + table
    found |= {DOCS / "man" / name: text for name, text in man_pages().items()}
    return found | {DOCS / "completions" / name: text for name, text in completions().items()}


def differing() -> list[Path]:
    """What is not as the code has it: other text, missing, or of a command that is gone."""
    wanted = files()
    there = {file for folder in ("man", "completions") for file in (DOCS / folder).rglob("*") if file.is_file()}
    changed = [file for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    return sorted({*changed, *(there - wanted.keys())})


def _written(file: Path, text: str | None) -> str:
    """Bring a file to its text, or remove it if there is none; returns what was done."""
    if text is None:
        file.unlink()
        return "removed"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return "written"


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    check = parser.parse_args().check
    wanted, found = files(), differing()
    for file in found:
        print(f"{file.relative_to(ROOT)}: {'differs from the code' if check else _written(file, wanted.get(file))}")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
