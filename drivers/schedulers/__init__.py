"""Reads the queues of schedulers of compute jobs: which jobs run, where, and which wait.

In: what a command prints or a file holds. Out: `dispatch.model.jobs.Job`. Nothing here decides. Parsers are fed
with pieces and never wait. Only `slurm_licences` has calls that change something, for sites that say so.
"""
