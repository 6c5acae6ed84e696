"""What a thousand compute nodes cost the gateway: `python -m benchmarks.nodes`.

Gateways without and with nodes run in turn, in one run. The nodes are pages of a server of its own
(benchmarks/exporter_farm.py), two each: a host and its 8 GPUs; 5 % hang, 1 % send garbage or 50 MB. What the process
that reads them takes is counted. `--parser` compares the cost of one page with prometheus_client's parser.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.exporter_farm import address, gpu_page, host_page
from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import Plant, running
from drivers.nodes.metrics import pattern_of, understood
from gateway.api.ask import ask

RATE_HZ = 5
SETTLE_S = 50.0  # every node was read four times, its pages are known; those that fail are left alone


def measure(
    nodes: int = 1000, fast: int = 64, seconds: float = 60.0, rounds: int = 2, parser: bool = False
) -> list[Figure]:
    """`seconds` of each phase, so many times; `fast` of the nodes are read every second, the others every 10 s."""
    return parsing() if parser else costs(nodes, fast, seconds, rounds)


def costs(nodes: int, fast: int, seconds: float, rounds: int) -> list[Figure]:
    """Share of a core, memory, lateness of ticks."""
    without, loaded = _Phase(), _Phase()
    with _farm(nodes) as port:
        for _ in range(rounds):
            for phase, groups in ((without, []), (loaded, _groups(port, nodes, fast))):
                with _gateway(groups) as (plant, late):
                    phase.watch(plant, late, seconds)
    extra_pct = loaded.cpu_pct - without.cpu_pct
    return [
        Figure(f"CPU of {nodes} nodes x 8 GPUs, {fast} at 1 Hz", extra_pct, "% of a core", 25.0),
        Figure("of it in the gateway's own process", loaded.own_cpu_pct - without.own_cpu_pct, "% of a core"),
        Figure("CPU of the gateway without nodes", without.cpu_pct, "% of a core"),
        Figure("memory with nodes, both processes", max(loaded.rss_mb), "MB", 300.0),
        Figure("of it the gateway's own", max(loaded.own_rss_mb), "MB"),
        Figure("memory without", max(without.rss_mb), "MB"),
        Figure("nodes read", loaded.read, "nodes"),
        Figure("good readings, of those due", 100 * loaded.reads_a_second / _due(nodes, fast), "%"),
        Figure("tick lateness p50, without", quantile(without.late_ms, 0.5), "ms"),
        Figure("tick lateness p50, with", quantile(loaded.late_ms, 0.5), "ms"),
        Figure("tick lateness p99, without", quantile(without.late_ms, 0.99), "ms"),
        Figure("tick lateness p99, with", quantile(loaded.late_ms, 0.99), "ms"),
        Figure(
            f"tick lateness p99, with to without, {len(loaded.late_ms)} ticks each",
            quantile(loaded.late_ms, 0.99) / quantile(without.late_ms, 0.99),
            "",
            1.1,
        ),
    ]


class _Phase:
    """What was seen of gateways of one kind."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.cpu_pcts: list[float] = []
        self.own_cpu_pcts: list[float] = []  # of the gateway's own process
        self.rss_mb: list[float] = []
        self.own_rss_mb: list[float] = []
        self.read, self.reads_a_second = 0, 0.0

    @property
    def cpu_pct(self) -> float:
        """Of one core, mean, with the process that reads nodes."""
        return sum(self.cpu_pcts) / len(self.cpu_pcts)

    @property
    def own_cpu_pct(self) -> float:
        """The gateway's own process."""
        return sum(self.own_cpu_pcts) / len(self.own_cpu_pcts)

    def watch(self, plant: Plant, late: Path, seconds: float) -> None:
        """One phase of a gateway that runs."""
        time.sleep(SETTLE_S)
        processes = [plant.gateway, *plant.gateway.children()]  # the one that reads nodes is its child
        before = sum(device["reads"] for device in _nodes(plant))
        began_s, used_s = time.monotonic(), [_cpu_s(process) for process in processes]
        time.sleep(seconds)
        ended_s, now_s = time.monotonic(), [_cpu_s(process) for process in processes]
        nodes = _nodes(plant)
        self.reads_a_second = (sum(device["reads"] for device in nodes) - before) / (ended_s - began_s)
        self.read = sum(device["online"] for device in nodes)
        shares = [100 * (now - used) / (ended_s - began_s) for now, used in zip(now_s, used_s, strict=True)]
        self.cpu_pcts.append(sum(shares))
        self.own_cpu_pcts.append(shares[0])
        self.rss_mb.append(sum(process.memory_info().rss for process in processes) / 1e6)
        self.own_rss_mb.append(plant.gateway.memory_info().rss / 1e6)
        self.late_ms += [ms for at_s, ms in _ticks(late) if began_s <= at_s <= ended_s]


def _nodes(plant: Plant) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = ask(plant.socket_path(), "status")["snapshot"]["devices"]
    return [device for device in devices if device["id"].startswith("127.")]


def _due(nodes: int, fast: int) -> float:
    """Readings a second of the nodes that answer: 94 of a hundred."""
    return 0.94 * (fast + (nodes - fast) / 10)


def _cpu_s(process: Any) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _ticks(file: Path) -> Iterator[tuple[float, float]]:
    for line in file.read_text(encoding="ascii").splitlines():
        with contextlib.suppress(ValueError):  # the last line may be half written
            at_s, ms = line.split()
            yield float(at_s), float(ms)


@contextlib.contextmanager
def _gateway(groups: list[dict[str, Any]]) -> Iterator[tuple[Plant, Path]]:
    late = Path(f"/tmp/ticks-{time.monotonic_ns()}")
    command = (sys.executable, "-m", "benchmarks.ticking_gateway", str(late))
    sections: dict[str, Any] = {"gateway": {"rate_hz": RATE_HZ}, "plan": {"enabled": False}}
    try:
        with running({**sections, **({"nodes": groups} if groups else {})}, command=command) as plant:
            yield plant, late
    finally:
        late.unlink(missing_ok=True)


def _groups(port: int, nodes: int, fast: int) -> list[dict[str, Any]]:
    pages = [f"http://{{name}}:{port}/{kind}/{{name}}" for kind in ("host", "gpu")]
    keys = {"source": "exporters", "exporters": pages}
    names = [address(number) for number in range(nodes)]
    groups = ((names[:fast], 1), (names[fast:], 10))
    return [{"names": some, "period_s": period_s, **keys} for some, period_s in groups if some]


@contextlib.contextmanager
def _farm(nodes: int) -> Iterator[int]:
    command = (sys.executable, "-m", "benchmarks.exporter_farm", str(nodes))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as farm:
        assert farm.stdout is not None
        assert farm.stdin is not None
        yield int(farm.stdout.readline())
        farm.stdin.close()


def parsing() -> list[Figure]:
    """A page of each kind: what it costs, and how many times as much prometheus_client takes for it."""
    from prometheus_client.parser import text_string_to_metric_families

    figures = []
    pages = (("dcgm-exporter", gpu_page("gpu0001")), ("node_exporter", host_page("gpu0001", collected=False)))
    for exporter, page in pages:
        text = page.decode()
        own_s = _cost_s([lambda: understood(pattern_of(exporter).samples(text))] * 20)  # noqa: B023  called at once
        whole_s = _cost_s([lambda: list(text_string_to_metric_families(text))] * 3)  # noqa: B023
        figures += [
            Figure(f"page of {exporter}, {len(page) // 1000} kB, read and understood", 1000 * own_s, "ms"),
            Figure("of what prometheus_client's parser takes", own_s / whole_s, "", 0.1),
        ]
    return figures


def _cost_s(calls: Sequence[Any]) -> float:
    """Processor time of one call: the least of them."""
    best = float("inf")
    for call in calls:
        began_s = time.thread_time()
        call()
        best = min(best, time.thread_time() - began_s)
    return best


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--fast", type=int, default=64, help="read every second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parser", action="store_true", help="the cost of one page only")


if __name__ == "__main__":
    main(__doc__, _options, measure)
