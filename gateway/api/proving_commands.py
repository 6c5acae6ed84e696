"""Commands to prove a PCS: what speaks against it, begin, how it goes, abort; and what has been proven."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from dispatch.model.islanding import Check
from dispatch.model.proofs import ProofReport, Proofs
from dispatch.model.reasons import Reason
from dispatch.orders.refusal import OrderRefused
from dispatch.wording.catalogue import words
from gateway.api.command_log import Command, CommandLog, Handler, printable
from gateway.api.peer import Peer
from gateway.errors import CommandRefused


class Prover(Protocol):
    """The proof under way."""

    @property
    def report(self) -> ProofReport | None:
        """Of the proof under way, or the last one."""
        ...

    def checks(self, pcs_id: str, on_site: str) -> tuple[tuple[Check, ...], Reason | None]:
        """Every condition, and why a proof may not begin now."""
        ...

    def peak_risk(self, pcs_id: str) -> Reason | None:
        """By how much it may raise the billed peak; None: it does not."""
        ...

    def start(self, pcs_id: str, who: str, on_site: str) -> None:
        """Begin at the next tick."""
        ...

    def heard(self) -> None:
        """Somebody watches."""
        ...

    def abort(self, why: Reason) -> bool:
        """End it; False: none is under way."""
        ...


class Kept(Protocol):
    """What has been proven."""

    @property
    def kept(self) -> Proofs:
        """Everything known."""
        ...


class ProvingCommands:
    """Takes the commands about proofs. Only an engineer begins one; it is on record before the first step."""

    def __init__(self, *, log: CommandLog, prover: Prover, proofs: Kept) -> None:
        self._log, self._prover, self._proofs = log, prover, proofs
        self.handlers: dict[str, Handler] = {
            "prove.check": self._check,
            "prove.start": self._start,
            "prove.status": self._status,
            "prove.abort": self._abort,
            "prove.list": self._list,
        }

    async def _check(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Every condition for a proof now, and what it may cost. Params: `pcs`, `on_site`."""
        pcs_id = str(params["pcs"])
        found, why = self._prover.checks(pcs_id, printable(str(params.get("on_site") or "")))
        peak = None if why is not None else self._prover.peak_risk(pcs_id)
        return _answer(found, why) | {"peak": msgspec.to_builtins(peak)}

    async def _start(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Begin a proof. Params: `pcs`, `on_site` (who watches it there), `accept_peak`, `seen_utc_s`.

        Without `accept_peak` one that may raise the billed peak is refused. Raises CommandRefused.
        """
        accepted = params.get("accept_peak") is True
        pcs_id, on_site = str(params["pcs"]), printable(str(params.get("on_site") or ""))
        text = f"proof of {pcs_id}, watched by {on_site}"
        command = Command(peer=peer, name="prove.start", text=text, seen_utc_s=params.get("seen_utc_s"))

        def check() -> tuple[Check, ...]:
            found, why = self._prover.checks(pcs_id, on_site)
            if why is not None:
                raise OrderRefused(why)
            if not accepted and (peak := self._prover.peak_risk(pcs_id)) is not None:
                raise OrderRefused(Reason("prove.peak_not_accepted", {"peak": peak}))
            return found

        async with self._log.one_at_a_time:
            self._log.check(command, check)
            intent = await self._log.record_intent(command)
            found = self._log.check(command, check, intent)  # the disk may have taken its time
            self._prover.start(pcs_id, peer.who, on_site)
            trouble = await self._log.record_result(command, intent, "accepted", "begun", pcs=pcs_id, on_site=on_site)
        return _answer(found, None) | {"not_durable": trouble}

    async def _status(self, peer: Peer, params: dict[str, Any]) -> Any:
        """The proof under way, or the last one of this run. Param: `watch`: who began it is still there."""
        if params.get("watch") is True:
            self._prover.heard()
        report = self._prover.report
        if report is None:
            return None
        return msgspec.to_builtins(report) | {"texts": [words(line) for line in report.lines]}

    async def _abort(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End the proof under way; always runs."""
        command = Command(peer=peer, name="prove.abort", text="abort of the proof")
        ended = self._prover.abort(Reason("prove.aborted", {"who": peer.who}))
        intent = await self._log.record_intent(command)
        trouble = await self._log.record_result(command, intent, "accepted", "ended" if ended else "none was under way")
        if not ended:
            raise CommandRefused(words(Reason("prove.nothing")), Reason("prove.nothing"))
        return {"not_durable": trouble}

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Everything that has been proven."""
        return msgspec.to_builtins(self._proofs.kept)


def _answer(found: tuple[Check, ...], why: Reason | None) -> dict[str, Any]:
    return {
        "ok": why is None,
        "text": "" if why is None else words(why),
        "reason": msgspec.to_builtins(why),
        "checks": msgspec.to_builtins(found),
    }
