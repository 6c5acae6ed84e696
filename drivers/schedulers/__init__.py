"""Reads the queues of schedulers of compute jobs: which jobs run, where, and which wait.

In: what a command prints or a file holds. Out: `dispatch.model.jobs.Job`. Nothing here decides, and nothing is ever
changed in a scheduler. Parsers are fed with pieces and never wait.
"""
