"""Calls NVML so that one GPU in trouble delays neither the others nor the gateway, and says what an error means.

NVML calls can hang in the driver and cannot be cancelled. Each runs in a daemon thread; after a deadline it is left
alone, and nothing more is asked under its name until it has returned. What it returned late is not used.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

CALL_S = 2.0  # an NVML call takes milliseconds, up to about a second after the driver was loaded


class NvmlTrouble(Exception):
    """What is wrong beside the errors of NVML itself."""


class NoAnswer(NvmlTrouble):
    """A call has not returned within its deadline."""


class NotHeld(NvmlTrouble):
    """A GPU took a limit and holds another."""


class NotOurs(NvmlTrouble):
    """A GPU has a limit that another program has set."""


class Impossible(NvmlTrouble):
    """A GPU gives a figure that cannot be true."""


class NotThere(NvmlTrouble):
    """NVML does not count a GPU that was there before."""


class BoundedCalls:
    """Runs calls by name, each for `deadline_s` at most."""

    def __init__(self, deadline_s: float = CALL_S) -> None:
        self._deadline_s = deadline_s
        self._pending: dict[str, Future[Any]] = {}

    def run(self, name: str, call: Callable[[], Any]) -> Any:
        """What the call returns. Raises NoAnswer, and whatever the call raises."""
        return self.each({name: call})[name].result()

    def each(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, Future[Any]]:
        """Run all of them at once; each result as a future that is done: it has a value or raises, NoAnswer too."""
        until_s = time.monotonic() + self._deadline_s
        self._pending = {name: future for name, future in self._pending.items() if not future.done()}
        for name, call in calls.items():
            if name not in self._pending:
                self._pending[name] = _start(name, call)
        return {name: self._result(name, until_s) for name in calls}

    def _result(self, name: str, until_s: float) -> Future[Any]:
        future = self._pending[name]
        try:
            future.exception(max(until_s - time.monotonic(), 0.0))
        except TimeoutError:
            late: Future[Any] = Future()
            late.set_exception(NoAnswer(f"no answer within {self._deadline_s:g} s"))
            return late
        return self._pending.pop(name)


def _start(name: str, call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  whatever it is, whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=work, name=f"nvml {name}", daemon=True).start()
    return future


def asked(nvml: Any, name: str, *args: Any) -> tuple[Any, str]:
    """What NVML answers, or None and why not. A library or binding that lacks the function has no answer either."""
    function = getattr(nvml, name, None)
    if function is None:
        return None, "Function Not Found"
    try:
        return function(*args), ""
    except nvml.NVMLError as error:
        return None, str(error)


def uuid_of(nvml: Any, handle: Any) -> str:
    """The UUID that a GPU keeps wherever it is plugged in; empty where it cannot be read."""
    uuid, _ = asked(nvml, "nvmlDeviceGetUUID", handle)
    return uuid.decode(errors="replace") if isinstance(uuid, bytes) else str(uuid or "")


def key_of(uuid: str, index: int, count: int) -> str:
    """What a GPU is remembered by: its UUID; without one its index, as long as the number of GPUs is the same."""
    return uuid or f"index {index} of {count}"


def uuid_in(key: str) -> str:
    """The UUID of such a key; empty: it has none."""
    return "" if key.startswith("index ") else key


def label(index: int, uuid: str) -> str:
    """How a GPU is called: "GPU 3 (GPU-5f1c2a3b)". The index may be another one after the next start."""
    return f"GPU {index} ({uuid[:12]})" if uuid else f"GPU {index}"


ADVICE = {  # by nvmlReturn_t, nvml.h
    3: "this GPU has no power limit that can be set: give on_cap, or remove cap_w",
    4: "setting a power limit needs root",
    9: "load the NVIDIA driver: `modprobe nvidia`",
    12: "install the NVIDIA driver",
    15: "look for Xid errors in `dmesg`, then reset the GPU or reboot the node",
    16: "reset the GPU or reboot the node",
    18: "the driver was upgraded under the running kernel module: reboot the node",
}


def advice(error: Exception) -> str:
    """What to do about an error of NVML."""
    if isinstance(error, NotHeld | NotOurs):
        return "look for another program that sets limits"
    if isinstance(error, NvmlTrouble):
        return "look for Xid errors in `dmesg`; the node may need a reboot"
    return ADVICE.get(getattr(error, "value", 0), "compare with `nvidia-smi`")


def advices(errors: Iterable[Exception]) -> str:
    """What to do about all of them, each thing once."""
    return "; ".join(dict.fromkeys(advice(error) for error in errors))
