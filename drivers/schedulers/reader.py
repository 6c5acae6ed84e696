"""Reads the queue of one scheduler: by its command, or from a cluster's API server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from drivers.http.turns import Turn
from drivers.kubernetes.config import KubernetesServer
from drivers.schedulers.command import Command
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.json_lines import JsonLines
from drivers.schedulers.kueue import KueueReader
from drivers.schedulers.slurm_text import ENVIRONMENT, SlurmText


class Answer(Protocol):
    """What a scheduler prints, taken as it comes."""

    @property
    def options(self) -> Sequence[str]: ...

    @property
    def read(self) -> QueueRead: ...

    def take(self, piece: bytes) -> Iterator[None]: ...

    def finish(self) -> Iterator[None]: ...


class ReadsQueue(Protocol):
    """Asks one scheduler for its jobs."""

    @property
    def config(self) -> Scheduler: ...

    async def read(self, turn: Turn) -> QueueRead: ...


def reader_of(config: Scheduler, servers: Sequence[KubernetesServer], directory: Path) -> ReadsQueue:
    """What reads a scheduler. `servers`: every `[[kubernetes]]`; `directory`: that of the site file."""
    if config.kind != "kueue":
        return QueueReader(config, directory)
    return KueueReader(config, next(server for server in servers if server.id == config.kubernetes), directory)


class QueueReader:
    """Asks one scheduler for its jobs by its command."""

    def __init__(self, config: Scheduler, directory: Path) -> None:
        """`directory`: that of the site file."""
        self.config = config
        arguments = config.arguments(directory)
        if config.kind == "slurm":
            arguments = with_environment(arguments)
        self._where = f"{arguments[-1]}: " if config.kind == "file" else ""  # put before what is wrong in it
        self._command = Command(arguments, ENVIRONMENT, config.deadline_s)

    async def read(self, turn: Turn) -> QueueRead:
        """Ask once. `turn` is waited for before each piece of work, half a millisecond long. Raises QueueNotRead."""
        answer: Answer = (SlurmText if self.config.kind == "slurm" else JsonLines)(self.config.id)

        refusal: QueueNotRead | None = None

        async def take(piece: bytes) -> None:
            nonlocal refusal
            try:
                for _ in answer.take(piece) if refusal is None else ():
                    await turn()
            except QueueNotRead as error:  # how the command ends, and what else it says, may tell why
                refusal = QueueNotRead(f"{self._where}{error}")

        await turn()
        try:
            await self._command.run(answer.options, take)
            if refusal is not None:
                raise refusal
            await self._finish(answer, turn)
        except QueueNotRead as error:
            text = f"{error}{self._command.complaint}"
            raise QueueNotRead(text if refusal in (None, error) else f"{refusal}; {text}") from None
        return answer.read

    async def _finish(self, answer: Answer, turn: Turn) -> None:
        try:
            for _ in answer.finish():
                await turn()
        except QueueNotRead as error:
            raise QueueNotRead(f"{self._where}{error}") from None


def with_environment(arguments: Sequence[str]) -> tuple[str, ...]:
    """The call of squeue with what it needs in its environment, also where ssh runs it on another machine.

    Before the word that names squeue; a wrapper that has another name must hand its own environment on.
    """
    at = next((n for n, word in enumerate(arguments) if word.rpartition("/")[2] == "squeue"), None)
    if not at:  # the first word: it has the environment of this process
        return tuple(arguments)
    settings = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return (*arguments[:at], "env", *settings, *arguments[at:])
