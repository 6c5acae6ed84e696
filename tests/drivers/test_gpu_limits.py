"""Power limits of GPUs: capped, lifted, lost in between, swapped; what is on disk before what is set."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pynvml
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nvml_stub import Killed, StubGpu, StubNvml, eight
from waiting import LIMIT_S

from drivers.config import NodeDevice
from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_limits import NvmlPower
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.nvml_calls import BoundedCalls
from drivers.nodes.nvml_node import NvmlNode


class Disk:
    """What is on disk; may be full."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.full = False

    def save(self, content: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "gpus.json")
        self.content = content

    def known(self) -> KnownGpus:
        """As the next gateway finds it."""
        return KnownGpus(self.content, self.save)


def limits(nvml: StubNvml) -> list[float | None]:
    return [None if gpu.limit is None else gpu.limit / 1000 for gpu in nvml.gpus]


def power(nvml: StubNvml, known: KnownGpus | None = None, gpus: int = 0, declared_w: float | None = None) -> NvmlPower:
    return NvmlPower("n", nvml, known, gpus=gpus, declared_w=declared_w, calls=BoundedCalls(LIMIT_S))


def test_a_cap_is_shared_and_each_gets_back_its_own() -> None:
    nvml = StubNvml(*eight())
    nvml.gpus[5].limit = 350_000
    one = power(nvml)
    assert one.limit(2000).startswith("GPU 0 (GPU-00000000) 250 W, GPU 1 ")
    assert limits(nvml) == [250] * 8
    assert one.limit(2000) == "", "nothing to do"
    assert one.limit(3200).count("400 W") == 7, "no GPU is raised above its own limit"
    assert limits(nvml) == [400] * 5 + [350] + [400] * 2
    one.limit(None)
    assert limits(nvml) == [500] * 5 + [350] + [500] * 2


@pytest.mark.parametrize("counted", [True, False])
def test_one_lost_while_capped_keeps_no_other_and_is_set_when_it_is_back(counted: bool) -> None:
    nvml = StubNvml(*eight())
    one = power(nvml)
    one.limit(2000)
    nvml.gpus[3].lost, nvml.gpus[3].counted = True, counted
    for _ in range(2):  # a retry changes nothing and says the same
        with pytest.raises(
            CannotObey, match=r"n: GPU 3 \(GPU-00000003\): .*; the others are set; look for Xid"
        ) as info:
            one.limit(None)
        assert "root" not in str(info.value)
        assert limits(nvml) == [500] * 3 + [250] + [500] * 4
    nvml.gpus[3].lost, nvml.gpus[3].counted = False, True
    assert one.limit(None) == "GPU 3 (GPU-00000003) 500 W"
    assert limits(nvml) == [500] * 8
    assert one.limit(None) == ""


def test_one_lost_before_the_cap_is_named_and_owed_nothing() -> None:
    nvml = StubNvml(*eight())
    nvml.gpus[3].lost = True
    one = power(nvml)
    with pytest.raises(CannotObey, match="GPU 3: GPU is lost; the others are set"):
        one.limit(2000)
    assert limits(nvml) == [250] * 3 + [500] + [250] * 4
    one.limit(None)
    assert limits(nvml) == [500] * 8


def test_a_lost_gpu_still_counts_in_the_share() -> None:
    nvml = StubNvml(*eight()[:7])
    power(nvml, gpus=8).limit(2000)
    assert limits(nvml) == [250] * 7, "the eighth may draw power"


def test_after_a_reset_a_gpu_is_capped_again_and_lifted_to_its_own_limit() -> None:
    nvml = StubNvml(*eight())
    one = power(nvml)
    one.limit(2000)
    nvml.gpus[3].limit = 700_000  # the driver was loaded anew
    assert one.limit(2000) == "GPU 3 (GPU-00000003) 250 W"
    nvml.gpus[3].limit = 700_000
    one.limit(None)
    assert limits(nvml) == [500] * 8


def test_the_next_gateway_lifts_what_was_capped() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    power(nvml, disk.known()).limit(2000)
    heir = power(nvml, disk.known())
    assert heir.capped
    heir.limit(1600)  # it may cap first
    power(nvml, disk.known()).limit(None)
    assert limits(nvml) == [500] * 8
    assert not disk.known().capped


@pytest.mark.parametrize("sets", [0, 1, 7])
def test_a_gateway_killed_between_disk_and_set_leaves_all_on_record(sets: int) -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    nvml.sets_left = sets
    with pytest.raises(Killed):
        power(nvml, disk.known()).limit(2000)
    assert len(disk.known().record.original_mw) == 8
    nvml.sets_left = None
    power(nvml, disk.known()).limit(None)
    assert limits(nvml) == [500] * 8


def test_no_cap_without_the_way_back_on_disk_but_in_ride_through() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    disk.full = True
    one = power(nvml, disk.known())
    with pytest.raises(CannotObey, match=r"no cap: power limits from before .* gpus\.json: No space left on device"):
        one.limit(2000)
    assert (limits(nvml), one.not_kept, one.capped) == ([500] * 8, "", False)
    one.limit(2000, ride_through=True)
    assert limits(nvml) == [250] * 8
    assert "No space left" in one.not_kept
    disk.full = False
    one.limit(2000, ride_through=True)
    assert (one.not_kept, len(disk.known().record.original_mw)) == ("", 8)
    disk.full = True
    one.limit(1600)  # the way back is on disk
    one.limit(None)
    assert limits(nvml) == [500] * 8, "lifting is always allowed"


def test_lifting_needs_no_disk() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    disk.full = True
    one = power(nvml, disk.known())
    one.limit(2000, ride_through=True)
    one.limit(None)
    assert (limits(nvml), one.not_kept) == ([500] * 8, "")


def test_a_swapped_gpu_gets_its_default_never_its_predecessors_limit() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    nvml.gpus[3].limit = 350_000
    power(nvml, disk.known()).limit(2000)
    nvml.gpus[3] = StubGpu("GPU-new", limit=700_000)
    assert power(nvml, disk.known()).limit(None).count(" 500 W") == 7
    assert limits(nvml) == [500] * 3 + [700] + [500] * 4


def test_a_swapped_gpu_that_holds_the_cap_gets_its_default() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    power(nvml, disk.known()).limit(2000)
    nvml.gpus[3] = StubGpu("GPU-new", limit=250_000)
    text = power(nvml, disk.known()).limit(None)
    assert limits(nvml) == [500] * 3 + [700] + [500] * 4
    assert text.endswith("GPU 3 (GPU-new): the limit from before the cap was not on record")


def test_the_sites_declared_limit_is_never_exceeded() -> None:
    nvml, disk = StubNvml(*eight(limit=700_000)), Disk()
    nvml.gpus[2].limit = 400_000
    power(nvml, disk.known(), declared_w=600).limit(2000)
    nvml.gpus[3] = StubGpu("GPU-new", limit=700_000)
    nvml.gpus[4] = StubGpu("GPU-newer", limit=250_000)
    power(nvml, disk.known(), declared_w=600).limit(None)
    assert limits(nvml) == [600, 600, 400, 600, 600, 600, 600, 600]


def test_a_damaged_record_lifts_to_the_default_or_the_declared_limit() -> None:
    nvml = StubNvml(*eight(limit=250_000))
    power(nvml, KnownGpus(b'{"original_mw": 7}'), declared_w=500).limit(None)
    assert limits(nvml) == [500] * 8
    nvml = StubNvml(*eight(limit=250_000))
    assert "was not on record" in power(nvml, KnownGpus(b"\xff")).limit(None)
    assert limits(nvml) == [700] * 8


def test_a_shift_of_the_index_takes_no_limit_along() -> None:
    nvml = StubNvml(*eight())
    nvml.gpus[0].limit = 350_000
    one = power(nvml)
    one.limit(2000)
    nvml.gpus[0].counted = False
    with pytest.raises(CannotObey, match=r"GPU 0 \(GPU-00000000\): is not there"):
        one.limit(None)
    assert limits(nvml) == [250] + [500] * 7
    nvml.gpus[0].counted = True
    one.limit(None)
    assert limits(nvml) == [350] + [500] * 7


def test_without_uuid_a_shift_of_the_index_sets_nothing_too_high() -> None:
    nvml = StubNvml(*eight())
    for gpu in nvml.gpus:
        gpu.uuid = None
    nvml.gpus[1].limit = 350_000
    one = power(nvml)
    one.limit(2000)
    nvml.gpus[0].counted = False
    with pytest.raises(CannotObey, match="is not there"):
        one.limit(None)
    assert limits(nvml)[1:] == [350] * 7


def test_a_cap_below_the_least_is_clamped_and_said_so() -> None:
    nvml = StubNvml(*eight())
    text = power(nvml).limit(800)
    assert limits(nvml) == [200] * 8
    assert text.endswith("100 W each were asked, below the least that 8 of them allow")


def test_a_gpu_without_a_limit_is_named_and_left_alone() -> None:
    nvml = StubNvml(StubGpu("GPU-a"), StubGpu("GPU-b", limit=None))
    one = power(nvml)
    with pytest.raises(CannotObey, match="GPU 1: Not Supported; the others are set; this GPU has no power limit"):
        one.limit(800)
    assert limits(nvml) == [400, None]
    assert one.limit(None) == "GPU 0 (GPU-a) 500 W"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (pynvml.NVML_ERROR_NO_PERMISSION, "setting a power limit needs root"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "reset the GPU or reboot"),
        (pynvml.NVML_ERROR_UNKNOWN, "nvidia-smi"),
    ],
)
def test_the_advice_is_that_of_the_error(code: int, advice: str) -> None:
    nvml = StubNvml(*eight(refuses=code))
    with pytest.raises(CannotObey, match=advice) as info:
        power(nvml).limit(2000)
    assert ("root" in str(info.value)) == (code == pynvml.NVML_ERROR_NO_PERMISSION)
    assert str(info.value).startswith("n: GPU 0 (GPU-00000000), GPU 1 (GPU-00000001), ")


def test_another_program_that_sets_limits_is_told() -> None:
    nvml = StubNvml(StubGpu("GPU-a"))
    nvml.nvmlDeviceSetPowerManagementLimit = lambda gpu, mw: None  # type: ignore[method-assign]
    with pytest.raises(CannotObey, match="holds 500 W, 400 W were set; look for another program"):
        power(nvml).limit(400)


def test_a_lower_limit_of_the_chassis_is_told() -> None:
    nvml = StubNvml(StubGpu("GPU-a", enforced=300_000))
    assert power(nvml).limit(400) == "GPU 0 (GPU-a) 400 W (enforced: 300 W)"


def test_a_driver_that_is_gone_is_told_with_its_cause() -> None:
    nvml = StubNvml(*eight())
    one = power(nvml)
    one.limit(2000)
    nvml.broken = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(CannotObey, match="the driver was upgraded under the running kernel module"):
        one.limit(None)
    nvml.broken = 0
    one.limit(None)
    assert limits(nvml) == [500] * 8
    with pytest.raises(CannotObey, match="no GPU; remove cap_w or give on_cap"):
        power(StubNvml()).limit(100)


def test_a_gpu_that_hangs_keeps_no_other_capped() -> None:
    nvml = StubNvml(*eight())
    one = NvmlPower("n", nvml, calls=BoundedCalls(1.0))
    one.limit(2000)
    nvml.gpus[3].hangs = threading.Event()
    for _ in range(2):
        with pytest.raises(CannotObey, match=r"GPU 3 \(GPU-00000003\): no answer within 1 s; the others are set"):
            one.limit(None)
        assert limits(nvml) == [500] * 3 + [250] + [500] * 4
    nvml.gpus[3].hangs.set()
    while limits(nvml) != [500] * 8:
        _attempt(lambda: one.limit(None))


def _attempt(call: Callable[[], object]) -> None:
    try:
        call()
    except (CannotObey, Killed):
        return


class Limits(RuleBasedStateMachine):
    """GPUs get lost, come back, are swapped and reset while caps come and go and the gateway dies at any point.

    `own`: the limit of each GPU while nothing is capped: the site's, or the default after a swap.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk, self.nvml, self.patch = Disk(), StubNvml(), pytest.MonkeyPatch()
        self.own: dict[str | None, int] = {}
        self.swaps = 0

    @initialize(own_w=st.lists(st.sampled_from([350, 500, 700]), min_size=3, max_size=3))
    def start(self, own_w: list[int]) -> None:
        self.nvml.gpus = [StubGpu(f"GPU-{n}", limit=1000 * w) for n, w in enumerate(own_w)]
        self.own = {gpu.uuid: gpu.limit or 0 for gpu in self.nvml.gpus}
        self.nvml.install(self.patch)
        self.begin()

    def begin(self) -> None:
        """A gateway starts with what is on disk."""
        self.known = self.disk.known()
        self.power = power(self.nvml, self.known, gpus=3)
        self.node = NvmlNode(NodeDevice(id="n", source="nvml", gpus=3), None, self.known)

    @rule(n=st.integers(0, 2), counted=st.booleans())
    def lose(self, n: int, counted: bool) -> None:
        self.nvml.gpus[n].lost, self.nvml.gpus[n].counted = True, counted

    @rule(n=st.integers(0, 2))
    def come_back(self, n: int) -> None:
        self.nvml.gpus[n].lost, self.nvml.gpus[n].counted = False, True

    @rule(n=st.integers(0, 2), limit_w=st.sampled_from([250, 700]))
    def swap(self, n: int, limit_w: int) -> None:
        """The new GPU is at its default; or at the power limit that a cap may have set."""
        self.swaps += 1
        ours = 1000 * limit_w in self.known.record.caps_mw
        gpu = StubGpu(f"GPU-new-{self.swaps}", limit=1000 * limit_w)
        self.nvml.gpus[n] = gpu
        self.own[gpu.uuid] = 700_000 if ours else 1000 * limit_w

    @rule(watts=st.sampled_from([300.0, 750.0, 1200.0, 1800.0]), ride_through=st.booleans())
    def cap(self, watts: float, ride_through: bool) -> None:
        before = [gpu.limit for gpu in self.nvml.gpus]
        _attempt(lambda: self.power.limit(watts, ride_through))
        if self.disk.full and not ride_through and not self.on_disk():
            assert [gpu.limit for gpu in self.nvml.gpus] == before

    def on_disk(self) -> set[str]:
        return set(self.disk.known().record.original_mw)

    @rule()
    def uncap(self) -> None:
        _attempt(lambda: self.power.limit(None))
        for gpu in self.nvml.gpus:
            if not gpu.lost:
                assert gpu.limit == self.own[gpu.uuid]

    @precondition(lambda self: not self.power.not_kept)
    @rule()
    def restart(self) -> None:
        self.begin()

    @rule(sets=st.integers(0, 2), cap=st.booleans())
    def killed(self, sets: int, cap: bool) -> None:
        """Between disk and set, or between two sets."""
        if self.power.not_kept or self.disk.full:
            return
        self.nvml.sets_left = sets
        _attempt(lambda: self.power.limit(750.0 if cap else None))
        self.nvml.sets_left = None
        self.begin()

    @rule(full=st.booleans())
    def disk_is(self, full: bool) -> None:
        self.disk.full = full

    @invariant()
    def none_above_its_own_limit(self) -> None:
        for gpu in self.nvml.gpus:
            assert (gpu.limit or 0) <= self.own[gpu.uuid]

    @invariant()
    def no_sum_without_all(self) -> None:
        """The node is read at every step."""
        found = self.node.look()
        lost = sum(gpu.lost for gpu in self.nvml.gpus)
        assert sum(gpu.w.value is None for gpu in found.gpus) == lost
        assert len(found.gpus) == 3
        assert found.note or not lost

    def teardown(self) -> None:
        """Once all answer again, all are free."""
        self.patch.undo()
        for gpu in self.nvml.gpus:
            gpu.lost, gpu.counted = False, True
        if self.nvml.gpus:
            self.power.limit(None)
        assert [gpu.limit for gpu in self.nvml.gpus] == [self.own[gpu.uuid] for gpu in self.nvml.gpus]


EXAMPLES = 2000 if os.environ.get("SKERRY_SOAK") else 40
Limits.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)
TestLimits = pytest.mark.soak(Limits.TestCase)
