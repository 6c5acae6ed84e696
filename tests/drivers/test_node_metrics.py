"""What pages of exporters mean: GPUs counted once, the impossible missing with a reason, power by its best source."""

from __future__ import annotations

import math

import metrics_pages
import pytest
from metrics_pages import dcgm, node_exporter, uuid_of

from dispatch.model.equipment import Gpu, Node, NodePower
from dispatch.model.readings import Quality, Reading, reading
from drivers.node_config import NodeDevice
from drivers.nodes.metrics import Figures, pattern_of, understood
from drivers.nodes.metrics_text import pieces
from drivers.nodes.node_figures import NodeFigures
from drivers.nodes.power import CounterRate


def figures(page: str) -> Figures:
    (found,) = understood(pattern_of("").samples(page))
    return found


def watts(found: Figures) -> list[float | None]:
    return [gpu.values.get("w") for gpu in found.gpus]


# ── each exporter ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_dcgm_gives_each_gpu_by_uuid_and_says_how_old_its_figures_may_be() -> None:
    found = figures(dcgm("gpu01", [401.25, 75.0]))
    assert (found.exporter, found.period_s, found.host_names) == ("dcgm-exporter", 30.0, {"gpu01"})
    assert watts(found) == [401.25, 75.0]
    assert [gpu.uuid for gpu in found.gpus] == [uuid_of("gpu01", 0), uuid_of("gpu01", 1)]
    assert found.gpus[0].name == "NVIDIA H100 80GB HBM3"
    values = {"w": 401.25, "util_pct": 60.0, "temp_c": 41.0, "memory_used_mib": 1024.0, "energy_j": 0.007}
    assert found.gpus[0].values == values


def test_dcgm_exporter_after_4_5_3_writes_its_host_name_in_small_letters() -> None:
    """Found: another node at the address would not have been refused."""
    assert figures(dcgm("gpu01", [400.0]).replace("Hostname=", "hostname=")).host_names == {"gpu01"}


def test_a_gpu_divided_by_mig_is_one_gpu_whose_power_counts_once() -> None:
    found = figures(metrics_pages.dcgm_mig("gpu01", 212.0))
    (gpu,) = found.gpus
    assert (gpu.parts, gpu.values["w"], gpu.values["temp_c"]) == (2, 212.0, 40.0)
    assert not {"util_pct", "memory_used_mib"} & gpu.values.keys()  # those of a part are not those of the GPU
    assert "GPU 0 is divided into 2" in found.notes


def test_what_the_whole_gpu_says_goes_before_its_parts_in_any_order() -> None:
    part = f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="{uuid_of("n", 0)}",GPU_I_ID="3"}} 24\n'
    for page in (dcgm("n", [400.0]) + part, part + dcgm("n", [400.0])):
        assert watts(figures(page)) == [400.0]


def test_nvidia_gpu_exporter_has_other_units_and_uuids_without_their_head() -> None:
    found = figures(metrics_pages.nvidia_smi([28.07, 250.0]))
    assert [(g.index, g.uuid[:12]) for g in found.gpus] == [(0, "GPU-df6e7a7c"), (1, "GPU-df6e7a7c")]
    assert found.gpus[0].values["util_pct"] == pytest.approx(42.0)
    assert found.gpus[0].values["memory_used_mib"] == pytest.approx(674.0, abs=0.1)
    assert (found.gpus[0].values["limit_w"], found.gpus[0].name) == (300.0, "NVIDIA RTX 6000")


@pytest.mark.parametrize("prefix", ["", "amd_"])
def test_amd_counts_a_partitioned_gpu_once(prefix: str) -> None:
    found = figures(metrics_pages.amd("node-a", [748.0, 751.0], prefix))
    assert watts(found) == [748.0, 751.0]
    assert found.gpus[0].values["temp_c"] == 76.0
    assert [gpu.parts for gpu in found.gpus] == [2, 2]


def test_node_exporter_gives_counters_memory_name_and_power_meter() -> None:
    host = figures(node_exporter("gpu01", joules=(10.0, 20.0), meter_w=1234.5)).host
    assert host is not None
    assert (host.name, sorted(host.rapl_j.values()), host.memory_pct) == ("gpu01", [10.0, 20.0], 50.0)
    assert host.meter_w == 1234.5
    assert list(host.idle_s.values()) == [100.0] * 4


def test_the_power_of_another_chip_is_not_that_of_the_machine() -> None:
    page = node_exporter("n") + (
        'node_hwmon_chip_names{chip="pci0000:03",chip_name="amdgpu"} 1\n'
        'node_hwmon_power_average_watt{chip="pci0000:03",sensor="power1"} 88\n'
    )
    host = figures(page).host
    assert host is not None
    assert host.meter_w is None


@pytest.mark.parametrize("w", [-5.0, 0.0, 1e9])
def test_a_power_meter_that_is_not_believed_is_told(w: float) -> None:
    found = figures(node_exporter("n", meter_w=w))
    assert found.host is not None
    assert found.host.meter_w is None
    assert found.notes == (f"its ACPI power meter says {w:.4g} W, not believed",)


BLANK = ("NaN", "+Inf", "-3", "2147483632", "9223372036854775794", "1e12")  # dcgm_structs.h: DCGM_*_BLANK among them


@pytest.mark.parametrize("value", BLANK)
def test_a_power_that_cannot_be_is_missing_with_its_reason(value: str) -> None:
    found = figures(
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="2",UUID="GPU-a"}} {value}\nDCGM_FI_DEV_GPU_TEMP{{gpu="2",UUID="GPU-a"}} 40\n'
    )
    assert watts(found) == [None]
    assert any("GPU 2 says w = " in note for note in found.notes), found.notes
    assert "GPU 2 gives no power" in found.notes


def test_no_watts_at_full_use_is_missing() -> None:
    found = figures(dcgm("n", [0.0], util=97.0))
    assert watts(found) == [None]
    assert "GPU 0 says 0 W at 97 % use" in found.notes
    assert watts(figures(dcgm("n", [0.0], util=0.0))) == [0.0]


def test_a_renamed_metric_is_said_to_be_missing() -> None:
    found = figures(dcgm("n", [400.0]).replace("POWER_USAGE", "POWER_DRAW"))
    assert watts(found) == [None]
    assert "GPU 0 gives no power" in found.notes


def test_a_foreign_page_is_nobodys() -> None:
    assert understood(pattern_of("").samples("go_goroutines 8\nprocess_open_fds 3\n")) == []
    assert understood([]) == []


# ── counters ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_counters_that_overflow_or_begin_anew_give_no_power_for_that_time() -> None:
    rate = CounterRate()
    rate.take({"a": 1000.0, "b": 500.0}, 0.0)
    assert rate.w is None
    rate.take({"a": 2000.0, "b": 1000.0}, 10.0)
    assert (rate.w, rate.at_s) == (150.0, 10.0)
    rate.take({"a": 10.0, "b": 1500.0}, 20.0)  # one of them has overflown
    assert (rate.w, rate.at_s) == (150.0, 10.0)
    rate.take({"a": 1010.0, "b": 2000.0}, 30.0)
    assert (rate.w, rate.at_s) == (150.0, 30.0)


def test_the_same_sample_again_neither_halves_nor_ends_a_power() -> None:
    rate = CounterRate()
    for joules, at_s in ((0.0, 0.0), (1000.0, 10.0), (1000.0, 20.0), (1000.0, 25.0), (3000.0, 30.0)):
        rate.take({"a": joules}, at_s)
    assert (rate.w, rate.at_s) == (100.0, 30.0)


@pytest.mark.parametrize("joules", [1e9, math.inf])
def test_an_absurd_counter_is_not_believed(joules: float) -> None:
    rate = CounterRate()
    rate.take({"a": 0.0}, 0.0)
    rate.take({"a": joules}, 10.0)
    assert rate.w is None
    assert "not believed" in rate.note


def test_other_counters_than_before_start_anew() -> None:
    rate = CounterRate()
    rate.take({"a": 0.0}, 0.0)
    rate.take({"a": 500.0, "b": 90_000.0}, 10.0)
    assert rate.w is None
    rate.take({"a": 600.0, "b": 90_400.0}, 20.0)
    assert rate.w == 50.0


# ── the node ────────────────────────────────────────────────────────────────────────────────────────────────────────

CONFIG = NodeDevice(
    id="gpu01", source="exporters", exporters=("http://gpu01:9100/metrics",), idle_w=100.0, full_w=300.0
)


class Reads:
    """Pages of one node, read at times of the test."""

    def __init__(self, config: NodeDevice = CONFIG) -> None:
        self.figures = NodeFigures(config, 10.0)
        self.others: list[NodePower] = []

    def __call__(self, now_s: float, *pages: str) -> Node:
        for page in pages:
            for found in understood(pattern_of("").samples(page)):
                self.figures.take(found, now_s)
        return self.figures.node(now_s, self.others, [])


def test_the_best_witness_counts_and_all_are_shown() -> None:
    read = Reads()
    gpus = dcgm("gpu01", [400.0] * 2)
    node = read(0.0, node_exporter("gpu01", joules=(0.0, 0.0), idle_s=0.0), gpus)
    assert (node.w.value, node.source) == (None, "")  # no counter has a rate yet, and no CPU use
    node = read(10.0, node_exporter("gpu01", joules=(1000.0, 500.0), idle_s=5.0, meter_w=1500.0), gpus)
    assert [(p.source, p.w.value, p.period_s) for p in node.powers] == [
        ("ACPI power meter", 1500.0, 10.0),
        ("RAPL + 2 GPUs (dcgm-exporter)", 950.0, 30.0),
        ("estimate by CPU use + 2 GPUs (dcgm-exporter)", 1000.0, 30.0),
    ]
    assert (node.w.good, node.source, node.cpu_pct.value) == (1500.0, "ACPI power meter", 50.0)
    read.others = [NodePower("2 outlets", reading(1600.0), 10.0)]
    assert read(11.0).w.good == 1600.0
    read.others = [NodePower("2 outlets", Reading(1600.0, 31.0, Quality.GOOD), 10.0)]  # two of its periods and 10 s
    assert read(11.0).source == "ACPI power meter"


def test_figures_are_judged_by_the_period_of_their_own_source() -> None:
    read = Reads()
    read(0.0, node_exporter("gpu01", joules=(0.0,), idle_s=0.0), dcgm("gpu01", [400.0]))
    read(10.0, node_exporter("gpu01", joules=(1000.0,), idle_s=5.0), dcgm("gpu01", [400.0]))
    for now_s in (25.0, 70.0):  # dcgm-exporter has new figures every 30 s only: no age of its own is a fault
        node = read(now_s)
        assert (node.w.good, node.w.age_s) == (500.0, now_s - 10.0), now_s
    stale = read(81.0)
    assert stale.w.good is None
    assert stale.gpus[0].w.quality is Quality.STALE


def test_a_gpu_that_is_gone_leaves_the_power_missing_until_it_is_declared_gone() -> None:
    read = Reads()
    hosts = [node_exporter("gpu01", joules=(1000.0 * n,), idle_s=5.0 * n) for n in range(4)]
    read(0.0, hosts[0], dcgm("gpu01", [400.0] * 8))
    assert read(10.0, hosts[1], dcgm("gpu01", [400.0] * 8)).w.good == 3300.0
    node = read(20.0, hosts[2], dcgm("gpu01", [400.0] * 7))
    assert (node.w.value, len(node.gpus)) == (None, 8)
    assert "7 of 8 GPUs are there, missing: GPU 7" in node.note
    node = read(300.0, hosts[3])  # no page of GPUs at all: not a node without GPUs
    assert (node.w.value, len(node.gpus)) == (None, 8)
    declared = Reads(NodeDevice(id="gpu01", source="exporters", gpus=7))
    declared(0.0, hosts[0], dcgm("gpu01", [400.0] * 7))
    assert declared(10.0, hosts[1], dcgm("gpu01", [400.0] * 7)).w.good == 2900.0


def test_a_gpu_swapped_in_its_slot_is_told_and_counted() -> None:
    read = Reads()
    read(0.0, dcgm("gpu01", [400.0] * 4))
    node = read(10.0, dcgm("gpu01", [400.0] * 4, uuids={2: "GPU-new"}))
    assert len(node.gpus) == 4
    assert all(gpu.w.good == 400.0 for gpu in node.gpus)
    assert read.figures.swapped == f"GPU 2 (GPU-new) is new in place of {uuid_of('gpu01', 2)[:12]}"
    read(20.0, dcgm("gpu01", [400.0] * 4, uuids={2: "GPU-new"}))
    assert read.figures.swapped == ""
    read(30.0, dcgm("spare", [400.0] * 4))
    assert read.figures.swapped == "all 4 GPUs are other ones than before: another machine"


def test_two_exporters_of_one_machine_count_its_gpus_once() -> None:
    read = Reads()
    node = read(0.0, dcgm("gpu01", [400.0] * 2), metrics_pages.nvidia_smi([400.0] * 2))
    assert len(node.gpus) == 2
    assert "of 2 exporters" in node.note


def test_without_a_word_of_the_host_its_idle_power_is_assumed_and_said() -> None:
    node = Reads()(0.0, dcgm("gpu01", [400.0]))
    assert (node.w.good, node.source) == (500.0, "idle_w assumed for the host + 1 GPU (dcgm-exporter)")


def test_a_node_without_gpus_is_its_host() -> None:
    read = Reads()
    read(0.0, node_exporter("n", joules=(0.0,), idle_s=0.0))
    node = read(10.0, node_exporter("n", joules=(2000.0,), idle_s=2.5))
    assert (node.w.good, node.source, node.gpus) == (200.0, "RAPL", ())
    assert node.cpu_pct.value == 75.0


def test_cpus_that_never_rest_are_in_full_use() -> None:
    read = Reads()
    read(0.0, node_exporter("n", joules=(), idle_s=7.0))
    node = read(10.0, node_exporter("n", joules=(), idle_s=7.0))
    assert (node.cpu_pct.value, node.w.good, node.source) == (100.0, 300.0, "estimate by CPU use")


def test_a_gpu_without_readings_is_no_zero() -> None:
    node = Reads()(0.0, 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 40\n')
    assert node.gpus == (Gpu(0, "", temp_c=Reading(40.0, 0.0, Quality.GOOD), uuid="GPU-a"),)
    assert node.w.value is None


@pytest.mark.parametrize(
    "line",
    [
        "DCGM_FI_DEV_POWER_USAGE" + 200_000 * " " + "{",
        "DCGM_FI_DEV_POWER_USAGE 1" + 200_000 * " " + "x",
        'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 1 ' + 5000 * "9",
        'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 1 ' + 400 * "9",
    ],
)
def test_a_line_made_to_cost_time_or_to_break_the_reader_is_left_out(line: str) -> None:
    assert pattern_of("").samples(line) == []  # by its length squared it would take minutes


def test_a_page_is_read_in_pieces_of_whole_lines() -> None:
    lines = [f"line {n} " + n % 90 * "x" for n in range(3000)]
    assert "\n".join(pieces("\n".join(lines))).splitlines() == lines
    too_long = "\n".join(["a 1", 200_000 * "b", "c 1"])
    assert [line for piece in pieces(too_long) for line in piece.splitlines()] == ["a 1", "c 1"]


def test_counters_without_a_number_give_neither_power_nor_memory() -> None:
    known = NodeFigures(NodeDevice(id="n", source="exporters"), 10.0)
    for at_s, counter in ((0.0, "+Inf"), (10.0, "+Inf"), (20.0, "NaN")):
        page = "\n".join(
            (
                f'node_rapl_package_joules_total{{path="0"}} {counter}',
                f'node_rapl_package_joules_total{{path="1"}} {at_s}',
                "node_memory_MemTotal_bytes +Inf",
                "node_memory_MemAvailable_bytes +Inf",
            )
        )
        for found in understood(pattern_of("").samples(page)):
            known.take(found, at_s)
        node = known.node(at_s, (), ())
        assert node.memory_pct.value is None
        assert all(power.w.value is None or math.isfinite(power.w.value) for power in node.powers)
