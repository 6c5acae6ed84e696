"""What the owner of a job is told by its scheduler, and in the lists of jobs."""

from __future__ import annotations

TEMPLATES = {
    "told.waiting": "waits for power: needs {need_w:kw}, {free}; {start}{sooner}",
    "told.free": "{free_w:kw} free at {at}",
    "told.free_unknown": "how much is free is not known",
    "told.start_band": "start expected from {first_at} to {last_at} as things stand",
    "told.start_by": "start expected by {last_at} as things stand",
    "told.start_unknown": "when it starts is not known",
    "told.sooner_nodes": "; {nodes:g} of its {of:g} nodes would fit now",
    "told.sooner_gpus": "; {gpus:g} of its {of:g} GPUs would fit now, unless it takes whole nodes",
    "told.capped": "capped: {what}{gpus}{since}{until}, {why}{slower}",
    "told.one_node": "node {node} to {cap_w:kw}",
    "told.some_nodes": "{capped:g} of its {of:g} nodes, {node} the lowest to {cap_w:kw}",
    "told.gpu_limit": ", a GPU to {limit_w:.0f} W",
    "told.since": " since {at}",
    "told.until": " until {at}",
    "told.until_unknown": ", until when is not known",
    "told.by_order": "by an order of an operator",
    "told.for_peak": "for the month's peak",
    "told.for_limit": "to keep a limit of the site's import",
    "told.for_energy": "for energy that costs more than what is lost",
    "told.off_grid": "as the site is off the grid",
    "told.slower": "; about {slower_pct:.0f} % slower {by}, not measured on this job",
}
