"""An API server on loopback: lists in pages with continue tokens, selectors, tokens, rights, errors as Status objects.

Made after the documents (Kubernetes API concepts; API conventions, "Response Status Kind"); no cluster was asked.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

from http_server import HttpServer, response

Object = dict[str, Any]
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/workloads"
KINDS = {"nodes": "NodeList", "pods": "PodList", "workloads": "WorkloadList"}
EXPIRED = "The provided continue parameter is too old to display a consistent list result."


def node(name: str, *, ready: str = "True", cordoned: bool = False, **labels: str) -> Object:
    """A node as `kubectl get nodes -o json` shows it, of which much is not read."""
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels, "managedFields": [{"manager": "kubelet"}]},
        "spec": {"podCIDR": "10.1.0.0/24"} | ({"unschedulable": True} if cordoned else {}),
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "lastTransitionTime": "2026-11-29T06:00:00Z"},
                {"type": "Ready", "status": ready, "reason": "Kubelet", "lastTransitionTime": "2026-11-29T06:00:00Z"},
            ],
            "images": None,
        },
    }


class FakeCluster:
    """`objects`: by path. `allowed`: rights, as (verb, group, resource); None: all."""

    def __init__(self, objects: Mapping[str, Iterable[Object]], context: ssl.SSLContext | None = None) -> None:
        self.objects = {path: list(items) for path, items in objects.items()}
        self.allowed: set[tuple[str, str, str]] | None = None
        self.token = ""
        self.seen = set[tuple[str, str, str]]()
        self.queries = list[dict[str, str]]()
        self.tokens_expire = 0  # so many continue tokens are too old
        self.instead: dict[str, bytes | Callable[[], bytes]] = {}  # what is answered in place of a list
        self.utc_s: float | None = None  # its clock; None: it sends no Date
        self.server = HttpServer({}, context)
        self.server._answer = self._answer  # type: ignore[method-assign]

    async def __aenter__(self) -> FakeCluster:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.__aexit__(*error)

    @property
    def url(self) -> str:
        return self.server.url("")

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        path, head = urlsplit(target).path, self.server.headers[-1]
        verb = "list" if head.startswith(b"GET ") else head.split(b" ")[0].decode()
        parts = path.strip("/").split("/")
        group, resource = ("", parts[-1]) if parts[0] == "api" else (parts[1], parts[-1])
        self.seen.add((verb, group, resource))
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}
        self.queries.append(query)
        if path in self.instead:
            made = self.instead[path]
            writer.write(made if isinstance(made, bytes) else made())
            await writer.drain()
            return
        writer.write(self._list(path, resource, (verb, group, resource), query, head))
        await writer.drain()

    def _list(self, path: str, resource: str, right: tuple[str, str, str], query: dict[str, str], head: bytes) -> bytes:
        if self.token and f"authorization: bearer {self.token}\r\n".encode() not in head.lower():
            return self._status(401, "Unauthorized", "Unauthorized")
        if self.allowed is not None and right not in self.allowed:
            who = 'User "system:serviceaccount:skerry:skerry"'
            text = f'{resource} is forbidden: {who} cannot list resource "{resource}" at the cluster scope'
            return self._status(403, "Forbidden", text)
        if path not in self.objects:
            return self._status(404, "NotFound", "the server could not find the requested resource")
        if "continue" in query and self.tokens_expire:
            self.tokens_expire -= 1
            return self._status(410, "Expired", EXPIRED)
        found = [item for item in self.objects[path] if selected(item, query.get("labelSelector", ""))]
        first = int(query["continue"].removeprefix("key+/=")) if "continue" in query else 0
        last = first + int(query["limit"])
        more = {"continue": f"key+/={last}", "remainingItemCount": len(found) - last} if last < len(found) else {}
        body = {
            "kind": KINDS[resource],
            "apiVersion": "v1" if right[1] == "" else "kueue.x-k8s.io/v1beta2",
            "metadata": {"resourceVersion": "4711", **more},
            "items": found[first:last],
        }
        return self.answer(json.dumps(body).encode())

    def answer(self, body: bytes, status: str = "200 OK") -> bytes:
        dates = {} if self.utc_s is None else {"Date": formatdate(self.utc_s, usegmt=True)}
        return response(body, status, "application/json", **dates)

    def _status(self, code: int, reason: str, message: str) -> bytes:
        status = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code}
        return self.answer(json.dumps(status | {"apiVersion": "v1", "metadata": {}}).encode(), f"{code} {reason}")


def selected(item: Object, selector: str) -> bool:
    """Equality and existence of labels (Kubernetes, "Labels and Selectors"); other selectors are not needed here."""
    labels = item["metadata"].get("labels") or {}
    return all(
        labels.get(name) == value if equals else name in labels
        for name, equals, value in (part.partition("=") for part in selector.split(",") if part)
    )
