"""Files that people write: site files, prices, traces, job logs, grid records, an earlier result."""

from __future__ import annotations

import contextlib
import functools
import gzip
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fuzzing import Feed, Parser, Session, simple

from console.cli.job_comparison import slurm_energies
from console.replay import job_file, output, traces
from console.tui import theme
from drivers import text_file
from drivers.meter_data.columns import Layout
from drivers.meter_data.file import MeterFileError
from drivers.meter_data.file import read as read_meter
from drivers.tariffs import csv_file
from drivers.twin import grid_record, trace
from gateway.site import loader, versions
from gateway.site.loader import SiteFileError

ROOT = Path(__file__).resolve().parents[2]
TEXT = ("drivers.text_file:text_of",)
EXPORTS = (
    "Datum von;Datum bis;Deutschland/Luxemburg [€/MWh]\n30.11.2025 00:00;30.11.2025 00:15;1.080,50\n".encode(),
    b'"MTU (CET/CEST)","Area","Sequence","Day-ahead Price (EUR/MWh)"\n'
    b'"01/12/2025 00:00:00 - 01/12/2025 00:15:00","BZN|DE-LU","Sequence Sequence 1","98.10"\n',
    b'"Date","Day Ahead"\n,"Price (EUR/MWh)"\n2025-10-26T02:45+02:00,60.5\n2025-10-26T02:00+01:00,-4.25\n',
    b"Delivery Start (CET);Delivery End (CET);SE3 Price (EUR)\n30.11.2026 00:00:00;30.11.2026 00:15:00;41.55\n",
)
PRICES = (
    b"# EUR\nstart_utc,price_eur_per_mwh\n2025-09-16T06:00:00Z,82.5\n2025-09-16T07:00:00Z,-3\n2025-09-16T08:00Z,1e2\n"
)
TRACE = b"start_utc,power_w\n2025-09-16T06:00:00Z,1000\n2025-09-16T06:15:00Z,2000.5\n2025-09-16T06:30:00Z,900\n"
JOBS = (
    b"job_id,reference_start_utc,submit_utc,duration_s,time_limit_s,power_w,gpus\n"
    b"1,2025-09-16T06:00:00Z,2025-09-16T05:00:00Z,3600,7200,1200,8\n2,2025-09-16T07:00:00Z,2025-09-16T05:30:00Z,60,,400,\n"
)
METER = (
    b"Kunde;1\nDatum;Von;Bis;Bezug [kWh];Einspeisung\n14.01.2026;00:00;00:15;12,5;0\n14.01.2026;00:15;00:30;13,5;0\n",
    b"start (UTC),kW\n2026-01-14T00:00:00Z,1.5\n2026-01-14T00:15:00Z,2.5\n",
    b"Fecha;Hora;Consumo_kWh\n2026/10/25;01:00;12,345\n2026/10/25;02:00;9,1\n2026/10/25;24:00;9,1\n",
    "Datum tot\tAfname (Wh)\n14-01-2026 00:15\t15\n14-01-2026 00:30\t25\n".encode("utf-16"),
)
RECORDS = (
    b"t_s,v,hz\n0,231,50\n0.4,226,49.7\n2,0,45\n",
    b"time;U_L1 [kV];U_L2 [kV];U_L3 [kV];f\n2025-09-16T06:00:00;0,23;0,23;0,23;50\n2025-09-16T06:00:01;0,1;0,2;0,2;\n",
    b"t v_pu hz\n0 1.0 60\n1 0.5 59.9\n",
)


def file_of(name: str, read: Callable[[Path], object]) -> Session:
    """Let a file of this name be read."""

    def feed(data: bytes, directory: Path) -> None:
        (directory / name).write_bytes(data)
        read(directory / name)

    return simple(feed)


def zipped_file(name: str, read: Callable[[Path], object]) -> Session:
    """The same, with a smaller limit on what a file may hold once it is unpacked."""

    @contextlib.contextmanager
    def session(directory: Path) -> Iterator[Feed]:
        with pytest.MonkeyPatch.context() as patch, file_of(name, read)(directory) as feed:
            patch.setattr(text_file, "MOST_BYTES", 8 << 20)
            yield feed

    return session


def zipped(examples: Sequence[bytes]) -> tuple[bytes, ...]:
    """Gzip files, and one that is a thousand times as long once it is unpacked."""
    return (*(gzip.compress(data, mtime=0) for data in examples), zipped_zeros())


@functools.cache
def zipped_zeros() -> bytes:
    return gzip.compress(bytes(64 << 20), mtime=0)


def site_files() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "sites").glob("*.toml"))]


@contextlib.contextmanager
def upgrade(directory: Path) -> Iterator[Feed]:
    """As if a key had been retired."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "RETIRED", (versions.Retired("meter", "url", "address", 1),))
        yield lambda data: versions.upgraded(data.decode("utf-8", "replace"))


def _theme_chosen(data: bytes, directory: Path) -> None:
    """As the file that says which theme a user chose, then as the theme itself."""
    folder = directory / "skerry"
    (folder / "themes").mkdir(parents=True, exist_ok=True)
    (folder / "theme").write_bytes(data)
    (folder / "themes" / "own.toml").write_bytes(data)
    environment = {"XDG_CONFIG_HOME": str(directory)}
    theme.chosen(None, environment, theme.DEFAULT)
    theme.chosen("own", environment, theme.DEFAULT)


PARSERS = (
    Parser(
        "site files",
        ("gateway.site.loader:read", "gateway.site.loader:parse", "gateway.site.loader:_value"),
        site_files,
        file_of("site.toml", loader.load),
        (SiteFileError,),
        share=0.5,
    ),
    Parser(
        "upgrade of site files",
        ("gateway.site.versions:upgraded", "gateway.site.versions:_parsed"),
        lambda: [path.read_bytes() for path in sorted((ROOT / "tests/versions/v0_1_0/sites").glob("*.toml"))],
        upgrade,
        (tomllib.TOMLDecodeError, versions.UnknownVersion, versions.NoUpgrade),
        share=0.5,
    ),
    Parser(
        "prices",
        ("drivers.tariffs.csv_file:_bytes", "drivers.tariffs.csv_file:_cells", *TEXT),
        lambda: [PRICES, *EXPORTS],
        file_of("prices.csv", lambda path: csv_file.load(path.name, path.parent)),
        (csv_file.TariffFileError,),
    ),
    Parser(
        "prices, zipped",
        ("drivers.tariffs.csv_file:_bytes", *TEXT, "drivers.text_file:_unpacked"),
        lambda: zipped([PRICES]),
        zipped_file("prices.csv.gz", lambda path: csv_file.load(path.name, path.parent)),
        (csv_file.TariffFileError,),
    ),
    Parser(
        "meter values of the utility",
        ("drivers.meter_data.file:_text", "drivers.meter_data.file:_cells", *TEXT),
        lambda: METER,
        file_of("meter.csv", lambda path: read_meter(path, "Europe/Berlin", Layout())),
        (MeterFileError,),
    ),
    Parser(
        "meter values of the utility, zipped",
        ("drivers.meter_data.file:_text", *TEXT, "drivers.text_file:_unpacked"),
        lambda: zipped(METER[:1]),
        zipped_file("meter.csv.gz", lambda path: read_meter(path, "Europe/Berlin", Layout())),
        (MeterFileError,),
    ),
    Parser(
        "traces of a replay",
        ("console.replay.traces:table",),
        lambda: [TRACE],
        file_of("load.csv", lambda path: traces.read_trace(path, ("power_w",))),
        (traces.TraceFileError,),
    ),
    Parser(
        "traces of a replay, zipped",
        ("console.replay.traces:table", *TEXT, "drivers.text_file:_unpacked"),
        lambda: zipped([TRACE]),
        zipped_file("load.csv.gz", lambda path: traces.read_trace(path, ("power_w",))),
        (traces.TraceFileError,),
    ),
    Parser(
        "job logs",
        ("console.replay.traces:table",),
        lambda: [JOBS],
        file_of("jobs.csv", job_file.read_jobs),
        (traces.TraceFileError,),
    ),
    Parser(
        "traces of the twin",
        ("drivers.twin.trace:read_trace",),
        lambda: [TRACE],
        file_of("trace.csv", trace.read_trace),
        (trace.TraceError,),
    ),
    Parser(
        "traces of the twin, zipped",
        ("drivers.twin.trace:read_trace", *TEXT, "drivers.text_file:_unpacked"),
        lambda: zipped([TRACE]),
        zipped_file("trace.csv.gz", trace.read_trace),
        (trace.TraceError,),
    ),
    Parser(
        "grid records",
        ("drivers.twin.grid_record:_lines", "drivers.twin.grid_record:_cells"),
        lambda: RECORDS,
        file_of("record.csv", lambda path: grid_record.read_record(path, 230.0)),
        (grid_record.RecordError,),
    ),
    Parser(
        "energies of sacct",
        ("console.cli.job_comparison:slurm_energies",),
        lambda: [b"JobID|Start|ConsumedEnergyRaw\n7|1758016800|3600\n7.batch|1758016800|0\n8_[1-9]|Unknown|\n"],
        simple(lambda data, _: slurm_energies(data)),
        (ValueError,),
        share=0.3,
    ),
    Parser(
        "a theme of the console",
        ("console.tui.theme:load", "console.tui.theme:parse", "console.tui.theme:_kept"),
        lambda: [path.read_bytes() for path in sorted(theme.BUNDLED.glob("*.toml"))],
        simple(_theme_chosen),
        (theme.ThemeError,),
    ),
    Parser(
        "an earlier result",
        ("console.replay.output:earlier_results",),
        lambda: [
            b'{"from_utc": "2025-09-16T00:00:00Z", "to_utc": "2025-09-17T00:00:00Z", "step_s": 900.0, "partial": true}'
        ],
        file_of("summary.json", lambda path: output.earlier_results(path.parent)),
        tree="json",
    ),
)
