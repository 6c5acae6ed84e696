"""Makes the report of finished jobs from the record: for the gateway's answer, and for a command without a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.accounting.costs import billed, peak_costs
from dispatch.accounting.records import JobRecord
from dispatch.config.demand_terms import DemandTerms
from storage.jobs import JobQuestion
from storage.reader import Archive

MOST_JOBS = 500  # in one answer: a message has 1 MiB


def job_report(
    archive: Archive,
    charges: Sequence[DemandTerms],
    asked: JobQuestion,
    by: str | None = None,
    limit: int = MOST_JOBS,
    before: tuple[float, int] | None = None,
) -> dict[str, Any]:
    """What is on record of finished runs, and the site's account of that time. Raises those of `Archive`.

    `charges`: on peaks, the main one first.
    """
    peaks = billed(archive.job_peaks(), charges)
    site = archive.job_quarters(asked.start_utc_s, asked.end_utc_s)
    told = [msgspec.to_builtins(msgspec.structs.replace(peak, shares=())) for peak in peaks]
    answer: dict[str, Any] = {"jobs": [], "groups": [], "peaks": told, "site": site or None}
    if by is not None:
        groups, caused = archive.job_groups(asked, by, [peak.account for peak in peaks])
        answer["groups"] = [msgspec.to_builtins(g) | {"peak_eur": caused.get(g.name, 0.0)} for g in groups]
        return answer
    costs = peak_costs(peaks)
    for kept in archive.jobs(asked, limit, before):
        more = {"number": kept.number, "pseudonym": kept.pseudonym, "peak_eur": costs.get(kept.record.key, 0.0)}
        answer["jobs"].append(shown_job(kept.record) | more)
    return answer


def shown_job(record: JobRecord) -> dict[str, Any]:
    """A run as it is told, with its energy and how that is known."""
    shown: dict[str, Any] = msgspec.to_builtins(record)
    return shown | {"energy_wh": record.energy_wh, "how": record.how}
