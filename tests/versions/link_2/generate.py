"""Made `frames.jsonl.xz`. Kept for the record: it runs only on the commit that README.md names.

`python generate.py CHECKOUT OUT`: the console's recorded scenes as a gateway of link version 2 sends them.
"""

from __future__ import annotations

import base64
import json
import lzma
import sys
from pathlib import Path

CHECKOUT, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "console" / "tui")]

import msgspec  # noqa: E402
import scenes  # noqa: E402

from gateway.api.protocol import EventMessage, PlanMessage, Response, encode  # noqa: E402

KEPT = ("order", "drill", "drilled", "outage")

lines = []
for name, scene in msgspec.json.decode(scenes.SCENES.read_bytes(), type=dict[str, scenes.Scene]).items():
    if name not in KEPT:
        continue
    said = [scene.welcome, scene.published, PlanMessage(scene.plan), EventMessage(scene.events[-1])]
    said += [Response(1, True, answer) for answer in scene.answers.values()]
    what = ["welcome", "published", "plan", "event", *scene.answers]
    lines += [
        json.dumps({"scene": name, "what": one, "frame": base64.b64encode(encode(message)).decode()})
        for one, message in zip(what, said, strict=True)
    ]
OUT.write_bytes(lzma.compress("\n".join(lines).encode()))
