"""Templates of codes that only records of earlier versions hold."""

from __future__ import annotations

TEMPLATES = {
    "fuse.operator": (
        "grid operator ({contacts}): import at most {import_w:kw}, export at most {export_w:kw}; otherwise {window}"
    ),
    "fuse.operator_charge": "{operator}; charge at most {charge_w:kw} from the grid",
}
