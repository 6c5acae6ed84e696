"""What a plan says of the jobs in the schedulers' queues."""

from __future__ import annotations

TEMPLATES = {
    "plan.jobs": "job queue: {said:comma}",
    "jobs.running": "{jobs:g} running, {power_w:kw} above idle",
    "jobs.suspended": "{jobs:g} suspended",
    "jobs.expected": (
        "{jobs:g} expected to start ({theirs:g} as their scheduler expects), {power_w:kw}, the first at {at}"
    ),
    "jobs.assumed": "power of {jobs:g} assumed: the GPUs of no such job have been measured",
    "jobs.doubted": (
        "{jobs:g} count for {power_w:kw} less: of those of their users that waited, some were never seen to run"
    ),
    "jobs.reserved": "{jobs:g} with a power reservation counted by that",
    "jobs.left_out": "not counted: {said:comma}",
    "jobs.later": "{jobs:g} expected after the plan",
    "jobs.held": "{jobs:g} held",
    "jobs.dependent": "{jobs:g} waiting for other jobs",
    "jobs.at_limit": "{jobs:g} at a limit",
    "jobs.unavailable": "{jobs:g} without an expected start",
    "jobs.too_large": "{jobs:g} for more than the site is known to have",
    "jobs.overdue": "{jobs:g} that seemed free to start and did not",
    "jobs.unlisted": "{jobs:g} behind the longest queue that is read",
    "jobs.not_learnt": "not in the forecast yet: {seen:g} of {needed:g} quarter hours observed with the queue",
    "jobs.share": "{share_pct:.0f} % of what they change within an hour is in the forecast",
    "plan.job_starts": (
        "starts against {by}: median {median_min:+.0f} min, four of five from {low_min:+.0f} to {high_min:+.0f} min, "
        "{jobs:g} jobs"
    ),
    "plan.few_job_starts": "starts against {by}: median {median_min:+.0f} min, of {jobs:g} so far",
    "starts.scheduler": "the scheduler's first estimate",
    "starts.queue": "first in, first out",
    "plan.queue_old": "queue of {scheduler} was read last {age_s:span} ago: its jobs are not in the forecast",
    "plan.jobs_old": "the job queues were last looked at {age_s:span} ago: their jobs are not in the forecast",
    "plan.queue_unread": "queue of {scheduler} has not been read: its jobs are not in the forecast",
    # why a step of the plan keeps energy or uses it
    "risk.peak_jobs": "{peak} {peak_w:kw} at risk at {at}: {waiting}",
    "step.below_peak_jobs": "keeps import below the {peak} {peak_w:kw}: {waiting}",
    "waiting.job": "job {job} is expected from {since}",
    "waiting.jobs": "jobs that wait are expected, the largest is {job} from {since}",
}
