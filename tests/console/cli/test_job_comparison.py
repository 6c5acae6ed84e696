"""`skerry jobs --compare`: what jobs drew by Skerry and by Slurm; sacct's text is composed as Slurm 22.05 prints it.

No machine of these tests has a RAPL or BMC that Slurm could read: the energies in the text are worked out.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from console.cli.job_comparison import Part, Told, compared, comparison_json, comparison_lines, slurm_energies
from dispatch.accounting.records import JobRecord

T0 = 1_758_016_800.0
HEAD = "JobID|Start|End|ConsumedEnergyRaw\n"


def a_run(id: str = "7", **more: Any) -> dict[str, Any]:
    given = {"host_wh": 300.0, "host_how": "measured", "gpu_wh": 700.0, "gpu_how": "measured", "covered_pct": 100.0}
    record = JobRecord(scheduler="slurm", id=id, started_utc_s=T0, ended_utc_s=T0 + 3600, user="anna", **(given | more))
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built | {"energy_wh": record.energy_wh, "how": record.how}


def sacct(*rows: tuple[str, float, object]) -> bytes:
    lines = [f"{id}|{start_s:.0f}|{start_s + 3600:.0f}|{energy}\n" for id, start_s, energy in rows]
    return (HEAD + "".join(lines)).encode()


def test_energies_of_jobs_are_read_and_what_is_none_is_not() -> None:
    data = (
        sacct(
            ("7", T0, 3600), ("7.batch", T0, 1800), ("8_2", T0, 0), ("9", T0, 18446744073709551614), ("9", T0 + 60, "")
        )
        + b"10_[1-99%4]|Unknown|Unknown|\n"
    )
    assert slurm_energies(data) == {
        "7": [Told(T0, 3600.0)],
        "8_2": [Told(T0, None)],
        "9": [Told(T0, None), Told(T0 + 60, None)],
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1: expected the columns JobID, Start, ConsumedEnergyRaw"),
        (b"JobID|Start|JobName\n", "line 1: expected the columns"),
        (HEAD.encode() + b"7|1|2|3|4\n", "line 2: 5 columns, expected 4: leave out what users name"),
        (HEAD.encode() + b"7|2025-09-16T06:00:00|2|3\n", "line 2: Start '2025-09-16T06:00:00': expected POSIX seconds"),
    ],
)
def test_other_text_is_refused_with_its_line(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        slurm_energies(data)


def test_only_whole_nodes_that_were_measured_are_judged() -> None:
    jobs = [
        a_run("1"),
        a_run("2"),
        a_run("3", host_how="apportioned"),
        a_run("4", host_how="estimated"),
        a_run("5", covered_pct=90.0),
        a_run("6"),
    ]
    told = slurm_energies(sacct(*((str(n), T0 + 2, 3600 * wh) for n, wh in enumerate((980, 800, 1900, 900, 900), 1))))
    rows, untold = compared(jobs, told, "all")
    assert [(row.id, not row.not_judged, row.beyond) for row in rows] == [
        ("1", True, False), ("2", True, True), ("3", False, False), ("4", False, False), ("5", False, False)
    ]  # fmt: skip
    assert untold == 1
    lines = list(comparison_lines(rows, untold))
    assert lines[1].split() == ["1", "anna", "1.000", "0.980", "+2.0", "%"]
    assert lines[2].endswith("+25.0 %  MORE THAN 5 % APART")
    assert lines[3].endswith("not judged: shared nodes: Slurm's is that of all jobs on them")
    assert lines[4].endswith("not judged: ours is estimated")
    assert lines[5].endswith("not judged: not seen all of its time")
    assert lines[6] == "2 had whole nodes: 1 of them are more than 5 % apart, the widest +25.0 %"
    assert lines[7].startswith("1 are not in sacct's output, or Slurm knows no energy of them")
    assert comparison_json(rows, untold)["compared"][1]["difference_pct"] == pytest.approx(25.0)


def test_a_plugin_that_measures_a_part_is_compared_with_that_part_and_another_start_is_another_run() -> None:
    told = {"7": [Told(T0 - 7200, 1.0), Told(T0, 300 * 3600.0)]}
    assert compared([a_run()], told, "host")[0][0].difference_pct == pytest.approx(0.0)
    assert compared([a_run()], told, "all")[0][0].beyond
    assert compared([a_run()], {"7": [Told(T0 - 7200, 1.0)]}, "all") == ([], 1)
    assert next(comparison_lines([], 1)).startswith("none had whole nodes")


def test_a_job_that_was_started_again_within_the_minute_is_compared_with_its_own_run() -> None:
    told = {"7": [Told(T0 - 20, 1.0), Told(T0, 1000 * 3600.0), Told(T0 + 40, None)]}
    assert compared([a_run()], told, "all")[0][0].difference_pct == pytest.approx(0.0)
    assert compared([a_run()], {"7": [*told["7"][:1], Told(T0 + 1, None)]}, "all") == ([], 1)


@pytest.mark.parametrize(
    ("part", "known", "why"),
    [
        ("gpu", {"gpu_wh": 0.0, "gpu_how": None, "node_wh": 700.0, "node_how": "measured"}, "ours of the GPUs alone"),
        (
            "host",
            {"host_wh": 0.0, "host_how": None, "node_wh": 300.0, "node_how": "measured"},
            "ours of the host alone",
        ),
        ("gpu", {"host_how": "estimated"}, "ours is estimated of the host, so that it may share its nodes"),
    ],
)
def test_a_part_that_is_not_known_is_not_judged(part: Part, known: dict[str, Any], why: str) -> None:
    """Its energy is in that of the whole node: none of it would look 100 % too low."""
    ((row,), _) = compared([a_run(**known)], {"7": [Told(T0, 700 * 3600.0)]}, part)
    assert (row.beyond, why in row.not_judged) == (False, True)
