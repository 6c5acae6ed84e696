"""Power limits of GPUs: capped, lifted, lost in between, swapped; what is on disk before what is set."""

from __future__ import annotations

import threading

import pynvml
import pytest
from nvml_stub import Disk, Killed, StubGpu, StubNvml, attempt, eight, limits, power

from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_limits import NvmlPower
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.nvml_calls import BoundedCalls


def test_a_cap_is_shared_and_each_gets_back_its_own() -> None:
    nvml = StubNvml(*eight())
    nvml.gpus[5].limit = 350_000
    one = power(nvml)
    assert one.limit(2000).startswith("GPU 0 (GPU-00000000) 250 W, GPU 1 ")
    assert limits(nvml) == [250] * 8
    assert one.limit(2000) == "", "nothing to do"
    assert one.limit(3200).count("350 W") == 8, "no GPU is raised above its own limit; the slowest sets the pace"
    assert limits(nvml) == [350] * 8
    one.limit(None)
    assert limits(nvml) == [500] * 5 + [350] + [500] * 2


def test_a_limit_that_another_program_has_set_is_left_and_told() -> None:
    nvml = StubNvml(*eight())
    one = power(nvml)
    one.limit(2000)
    nvml.gpus[3].limit = 450_000
    for _ in range(2):
        with pytest.raises(CannotObey, match=r"GPU 3 .*: is at 450 W, which another program .*; look for another pro"):
            one.limit(2000)
    assert one.changed_by_others == "GPU 3 (GPU-00000003) 450 W"
    with pytest.raises(CannotObey, match="GPU 3"):
        one.limit(1800)
    assert limits(nvml) == [225] * 3 + [450] + [225] * 4
    said = one.limit(None)
    assert "GPU 3 (GPU-00000003) stays at 450 W, which another program has set since the cap" in said
    assert limits(nvml) == [500] * 3 + [450] + [500] * 4
    assert one.limit(None) == ""
    one.limit(2000)
    assert one.changed_by_others == ""
    one.limit(None)
    assert limits(nvml) == [500] * 3 + [450] + [500] * 4, "what it was before this cap"


def test_a_limit_changed_by_another_before_a_cap_of_an_earlier_run_ends_is_left_too() -> None:
    nvml, disk = StubNvml(*eight()), Disk()
    power(nvml, disk.known()).limit(2000)
    nvml.gpus[0].limit, nvml.gpus[1].limit = 320_000, 700_000  # the second one was reset
    later = power(nvml, disk.known())
    assert "GPU 0 (GPU-00000000) stays at 320 W" in later.limit(None)
    assert limits(nvml) == [320] + [500] * 7
    assert later.changed_by_others == "GPU 0 (GPU-00000000) 320 W"
    assert not disk.known().record.original_mw


@pytest.mark.parametrize("default", [700_000, None])
def test_a_limit_lost_by_a_reset_is_set_again_and_given_back(default: int | None) -> None:
    nvml = StubNvml(*eight(default=default))
    one = power(nvml)
    one.limit(2000)
    for gpu in nvml.gpus:
        gpu.limit = 700_000  # the driver was loaded anew
    assert one.limit(2000).count("250 W") == 8
    nvml.gpus[2].limit = 700_000
    one.limit(None)
    assert (limits(nvml), one.changed_by_others) == ([500] * 8, "")


def test_a_board_that_rounds_is_no_other_program() -> None:
    class Rounds(StubNvml):
        def nvmlDeviceSetPowerManagementLimit(self, gpu: StubGpu, limit_mw: int) -> None:
            super().nvmlDeviceSetPowerManagementLimit(gpu, limit_mw - limit_mw % 1000)

    nvml = Rounds(*eight())
    one = power(nvml)
    assert one.limit(2002).count("250.25 W") == 8
    assert one.limit(2002) == ""
    one.limit(None)
    assert limits(nvml) == [500] * 8


def test_without_persistence_mode_only_ride_through_caps() -> None:
    nvml = StubNvml(*eight())
    nvml.gpus[1].persistence = nvml.gpus[6].persistence = 0
    one = power(nvml)
    with pytest.raises(
        CannotObey, match=r"no cap: GPU 1 .*, GPU 6 .*: persistence mode is off.*; .*nvidia-persistenced"
    ):
        one.limit(2000)
    assert nvml.sets == []
    one.limit(2000, ride_through=True)
    assert limits(nvml) == [250] * 8
    assert one.limit(1800).count("225 W") == 8, "it is in force already"
    one.limit(None)
    nvml.gpus[1].persistence = nvml.gpus[6].persistence = None
    assert one.limit(2000).count("250 W") == 8, "a driver that has no such mode"


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
    assert one.limit(2000) == "", "all of it is on disk"
    with pytest.raises(CannotObey, match="no cap: power limits from before the cap and of it cannot be put on disk"):
        one.limit(1600)  # the next gateway would take 200 W for another program's
    assert limits(nvml) == [250] * 8
    one.limit(1600, ride_through=True)
    assert "No space left" in one.not_kept
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
    """Where others tell that the earlier run had capped: the audit, the controller's memory."""
    for content, declared_w, lifted_w in ((b'{"original_mw": 7}', 500, 500), (b"\xff", None, 700)):
        nvml = StubNvml(*eight(limit=250_000))
        one = power(nvml, KnownGpus(content), declared_w=declared_w)
        one.limit(None)
        assert limits(nvml) == [250] * 8, "nobody says that this is a cap"
        one.suspect()
        assert "was not on record" in one.limit(None)
        assert limits(nvml) == [lifted_w] * 8
        nvml.gpus[0].limit = 350_000  # by the site, later
        one.limit(2000)
        one.limit(None)
        assert limits(nvml) == [350] + [lifted_w] * 7


@pytest.mark.parametrize("limit", [0xFFFFFFFF, 0x7FFFFFFFFFFFFFF0, 0])
def test_a_limit_that_cannot_be_is_neither_kept_nor_set(limit: int) -> None:
    nvml, disk = StubNvml(StubGpu("GPU-a"), StubGpu("GPU-b", limit=limit)), Disk()
    one = power(nvml, disk.known())
    with pytest.raises(CannotObey, match="GPU 1: says that its limit is"):
        one.limit(800)
    assert list(disk.known().record.original_mw) == ["GPU-a"]
    nvml.gpus[1].limit = 500_000
    one.limit(800)
    one.limit(None)
    assert limits(nvml) == [500, 500]
    odd = StubNvml(StubGpu("GPU-c", constraints=(0xFFFFFFFF, 0), default=0xFFFFFFFF))
    power(odd).limit(300)
    assert limits(odd) == [300]


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
        attempt(lambda: one.limit(None))
