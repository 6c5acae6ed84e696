"""One mechanism for calls that may hang: no executor, which joins its threads at the end, and daemon threads only."""

from __future__ import annotations

import ast
import asyncio
import threading
from pathlib import Path

from waiting import LIMIT_S, until

from gateway.daemon_thread import DaemonExecutor, in_daemon_thread, may_hang, under_way

ROOT = Path(__file__).resolve().parents[2]
EXECUTORS = {"to_thread", "run_in_executor", "ThreadPoolExecutor", "ProcessPoolExecutor"}


def calls(package: str) -> list[tuple[str, str, ast.Call]]:
    """Where, what is called, the call; of every call in a package."""
    found = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", name, node))
    return found


def test_the_gateway_uses_no_executor() -> None:
    assert [where for where, name, _ in calls("gateway") if name in EXECUTORS] == []


def test_every_thread_is_a_daemon() -> None:
    threads = [(w, call) for p in ("gateway", "storage", "drivers") for w, name, call in calls(p) if name == "Thread"]
    assert len(threads) > 4, "the search finds them"
    kept = [
        w for w, call in threads if not any(k.arg == "daemon" and ast.unparse(k.value) == "True" for k in call.keywords)
    ]
    assert kept == []


async def test_what_asyncio_hands_to_its_executor_keeps_no_process() -> None:
    asyncio.get_running_loop().set_default_executor(DaemonExecutor())
    end = threading.Event()
    waiting = asyncio.create_task(asyncio.to_thread(end.wait, LIMIT_S))
    await until(lambda: "executor" in under_way())
    await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), LIMIT_S)
    assert not waiting.done(), "nobody waits for it"
    end.set()
    assert await waiting
    await until(lambda: "executor" not in under_way())


async def test_errors_and_results_arrive() -> None:
    assert await may_hang(max, 1, 2) == 2
    error = in_daemon_thread(lambda: int("x")).exception(LIMIT_S)
    assert isinstance(error, ValueError)
