"""A render manager's HTTP interface on loopback, which answers what a test says and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Any], Any] | bytes | dict[str, Any] | list[Any]


class FarmManager:
    """`pages`: what is answered, by path without its query; a function gets the body of the request."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.status, self.headers = 200, dict[str, str]()
        self.asked: list[tuple[str, str]] = []  # method, target
        self.authorization: str | None = None  # of the last request
        self.hangs = threading.Event()
        self.released = threading.Event()
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    farm: FarmManager
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    do_PUT = do_PATCH = do_POST

    def _answer(self, body: Any) -> None:
        farm = self.farm
        farm.asked.append((self.command, self.path))
        farm.authorization = self.headers.get("Authorization")
        if farm.hangs.is_set():
            farm.released.wait(60)
        page = farm.pages.get(self.path.partition("?")[0])
        if callable(page):
            page = page(body)
        status = farm.status if page is not None else 404
        text = page if isinstance(page, bytes) else json.dumps(page).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **farm.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def farm_manager() -> Iterator[FarmManager]:
    """One that serves until the end of the test."""
    farm = FarmManager()
    handler = type("Handler", (_Handler,), {"farm": farm})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    farm.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield farm
    finally:
        farm.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
