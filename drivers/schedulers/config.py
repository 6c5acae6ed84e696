"""Defines `[[scheduler]]`: a scheduler of compute jobs whose queue is read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.device_keys import Id

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
Argument = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
CommandLine = Annotated[tuple[Argument, ...], Meta(max_length=64)]  # a command and its arguments


class Scheduler(msgspec.Struct, frozen=True, kw_only=True):
    """`[[scheduler]]`: a scheduler of compute jobs. Its queue is read for forecasts, accounting and consoles.

    Reading changes nothing in it.
    """

    id: Annotated[Id, Meta(description="Name of the scheduler.")]
    kind: Annotated[
        Literal["slurm", "command", "file", "kueue"],
        Meta(
            description="`slurm`: squeue is called. `command`: a command prints jobs as JSON lines. `file`: such lines "
            "are in a file. `kueue`: workloads of Kueue, read from a cluster's API server. See "
            "[compute nodes](compute.md) for the lines."
        ),
    ]
    squeue: Annotated[
        CommandLine,
        Meta(
            min_length=1,
            description='With `slurm`: how squeue is called, `["squeue"]`, `["squeue", "-M", "alpha"]`, or on another '
            'machine `["ssh", "-o", "BatchMode=yes", "head01", "squeue"]`. Arguments are appended.',
        ),
    ] = ("squeue",)
    command: Annotated[
        CommandLine, Meta(description="With `command`: the command and its arguments; no shell takes them apart.")
    ] = ()
    file: Annotated[str, Meta(description="With `file`: the file, relative to the site file.")] = ""
    kubernetes: Annotated[str, Meta(description="With `kueue`: the `id` of the `[[kubernetes]]` it runs in.")] = ""
    gpu_resources: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_./-]{0,250}[A-Za-z0-9])?$")], ...],
        Meta(
            max_length=16,
            description="With `kueue`: the resources that pods ask for of which a unit is a GPU.",
            extra={"expected": "names of resources such as nvidia.com/gpu"},
        ),
    ] = GPU_RESOURCES
    user_label: Annotated[
        str,
        Meta(
            max_length=317,
            description="With `kueue`: the label of a workload that holds its user's name, `hpc.example.org/user`; "
            "Kueue copies labels of jobs that its `labelKeysToCopy` names. Empty: the users of jobs are not known.",
        ),
    ] = ""
    cluster: Annotated[
        str,
        Meta(
            max_length=64,
            description="Its name in power reservations of its jobs, and in what their nodes report. Empty: `id`.",
        ),
    ] = ""
    admit: Annotated[
        bool,
        Meta(
            description="Power that the site cannot give is kept back, so that jobs wait for it: with `slurm` as "
            "licences, else by `limit`. Without it, `tell_owners` and `tell` nothing is ever changed in a scheduler."
        ),
    ] = False
    scontrol: Annotated[
        CommandLine,
        Meta(
            min_length=1,
            description="With `slurm`, and `admit` or `tell_owners`: how scontrol is called, as an operator of Slurm, "
            "with `tell_owners` as an administrator; as `squeue`.",
        ),
    ] = ("scontrol",)
    license: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$",
            description="With `slurm` and `admit`: the name of the licence of 100 W.",
        ),
    ] = "skerry_kw10"
    limit: Annotated[
        CommandLine,
        Meta(
            description="With `admit`, of a render manager or Kueue: the command that shows and sets how many frames, "
            "or units of power, may run; `show`, `set N` or `restore` is appended. See [compute nodes](compute.md).",
        ),
    ] = ()
    limit_unit_w: Annotated[
        float, Meta(ge=0, le=100_000, description="With `limit`: what one frame, or unit, draws above an idle node, W.")
    ] = 0.0
    admit_to: Annotated[
        Literal["contract", "plan"],
        Meta(
            description="With `admit`: jobs start up to the contract, or the month's peak where it is higher; or only "
            "up to the peak that the plan keeps."
        ),
    ] = "contract"
    admit_for_h: Annotated[
        float,
        Meta(gt=0, le=24, description="With `admit`: for how long the site must be able to give a job its power, h."),
    ] = 4.0
    tell_owners: Annotated[
        bool,
        Meta(
            description="With `slurm`: owners are told in their job's AdminComment for which power it waits, or to "
            "what it is capped. A text of somebody else's there stays."
        ),
    ] = False
    tell: Annotated[
        CommandLine,
        Meta(
            description="With any kind but `slurm`: the command that tells an owner something. A job's id and a text "
            "are appended; an empty text: what was told before no longer holds. No shell takes them apart.",
        ),
    ] = ()
    period_s: Annotated[float, Meta(ge=10, le=600, description="How often it is read, real seconds.")] = 30.0
    deadline_s: Annotated[
        float,
        Meta(
            gt=0,
            le=120,
            description="Longest wait for the whole answer, real seconds, at most period_s; then it is ended.",
        ),
    ] = 20.0

    @property
    def known_as(self) -> str:
        """Its name in power reservations."""
        return self.cluster or self.id

    def arguments(self, directory: Path) -> tuple[str, ...]:
        """The command by which it is read, without what is appended. `directory`: that of the site file.

        Not with `kueue`, which is read by no command.
        """
        if self.kind == "file":
            return "cat", "--", str((directory / self.file).absolute())
        return self.squeue if self.kind == "slurm" else self.command

    def read_by(self, directory: Path) -> str:
        """By what it is read, for a person: the command, or the cluster."""
        if self.kind == "kueue":
            return f"the API server of [[kubernetes]] {self.kubernetes}"
        return shlex.join(self.arguments(directory))
