"""Chooses the source of answers: the running gateway, or, when none runs, the site's record on disk, read only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from console.cli.failures import Failure
from console.display.formats import zone_named
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from gateway.api.ask import Conversation
from gateway.api.discovery import find_socket, of_others
from gateway.errors import LinkLost, LinkRefused, NoAccess, NoGateway, NoSuchSite, RequestFailed, SeveralGateways
from gateway.site import file_access, paths
from storage.config import DISPATCH
from storage.drills import DrillRecord

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from storage.moment import Moment
    from storage.reader import Archive

_SYSTEM_STATE = "/var/lib/skerry"  # StateDirectory= of the systemd unit
_RECORD = "telemetry.db"
_TO_READ = "use: sudo -u {owner} skerry ...", "be put into group {group} and log in anew"


class Live:
    """Answers of a running gateway."""

    def __init__(self, link: Conversation) -> None:
        self.link = link
        self.zone: tzinfo = zone_named(link.welcome.timezone)

    def status(self) -> dict[str, Any]:
        """Everything a console draws, the site's identity, and the gateway's welcome under "welcome"."""
        welcome = msgspec.to_builtins(self.link.welcome)
        return {**self.link.request("status"), "identity": welcome["identity"], "welcome": welcome}

    def now_utc_s(self) -> float:
        """The site's clock; a simulated site has a calendar of its own."""
        return float(self.link.request("status")["snapshot"]["utc_s"])

    def why(self, at_utc_s: float | None) -> Decision | None:
        """The decision in force then, or now."""
        params = {} if at_utc_s is None else {"at_utc_s": at_utc_s}
        return msgspec.convert(self.link.request("why", **params), Decision | None)

    def month_end(self) -> Reason | None:
        """Where the plan in force expects the month's billed peak to end; None without such a plan."""
        try:
            return msgspec.convert(self.link.request("plan"), Plan).month_end
        except RequestFailed:  # no plan is in force
            return None

    def at(self, utc_s: float) -> Moment:
        """The site as it was at a moment."""
        from storage.moment import Moment

        return msgspec.convert(self.link.request("at", utc_s=utc_s), Moment)

    def events(
        self,
        limit: int,
        since_utc_s: float | None = None,
        before_utc_s: float | None = None,
        kinds: Sequence[str] = (),
    ) -> list[Event]:
        """The newest events, of those in [since, before) and of these kinds; all that an earlier gateway sends."""
        named = {"since_utc_s": since_utc_s, "before_utc_s": before_utc_s, "kinds": list(kinds) or None}
        asked = {name: value for name, value in named.items() if value is not None}
        return msgspec.convert(self.link.request("events", limit=limit, **asked), list[Event])

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """The newest rows of the audit, oldest first."""
        rows: list[dict[str, Any]] = self.link.request("audit", limit=limit)
        return rows

    def drills(self, limit: int, number: int | None = None) -> list[DrillRecord]:
        """Reports of drills, newest first; with `number`, that one."""
        found = self.link.request("drill.reports", limit=limit, number=number)
        return msgspec.convert(found, list[DrillRecord])


class Record:
    """Answers of the record that a gateway left."""

    def __init__(
        self, archive: Archive, directory: Path, zone: tzinfo, absent: Exception, guessed: bool = False
    ) -> None:
        self.archive, self.directory, self.zone = archive, directory, zone
        # neither a gateway nor a person names it
        self.shown = f"{directory}, the record written last: no gateway is running" if guessed else str(directory)
        hangs = isinstance(absent, LinkLost)  # it listens, or did a moment ago
        self.absent = f"The gateway does not answer ({absent})" if hangs else "No gateway is running"

    def now_utc_s(self) -> float:
        """Where the record ends: its last row of telemetry, decisions or events; this machine's time if it is empty."""
        ends = self.archive.ends_utc_s()
        return time.time() if ends is None else ends

    def why(self, at_utc_s: float | None) -> Decision | None:
        """The decision in force then, or the last one."""
        return self.archive.why(at_utc_s)

    def at(self, utc_s: float) -> Moment:
        """The site as it was at a moment."""
        return self.archive.at(utc_s)

    def events(
        self,
        limit: int,
        since_utc_s: float | None = None,
        before_utc_s: float | None = None,
        kinds: Sequence[str] = (),
    ) -> list[Event]:
        """The newest events, of those in [since, before) and of these kinds."""
        return self.archive.events(limit, before_utc_s=before_utc_s, since_utc_s=since_utc_s, kinds=kinds)

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """The newest rows of the audit, oldest first. Raises NoRecords."""
        from storage import audit_reader

        return audit_reader.rows(self.directory, limit)

    def drills(self, limit: int, number: int | None = None) -> list[DrillRecord]:
        """Reports of drills, newest first; with `number`, that one."""
        return self.archive.drills(limit, number)


@contextlib.contextmanager
def gateway(site: str | None, timeout_s: float = 5.0) -> Iterator[Live]:
    """The running gateway; `timeout_s` holds for each answer. Raises NoGateway, LinkLost."""
    with Conversation(find_socket(site), timeout_s) as link:
        yield Live(link)


@contextlib.contextmanager
def gateway_or_record(site: str | None, timeout_s: float = 5.0) -> Iterator[Live | Record]:
    """The running gateway, else the record. Raises NoGateway (also of its kinds) when there is neither.

    Also LinkRefused, and NoAccess: a gateway or record that this user may not reach is not replaced by another one.
    """
    try:
        link = Conversation(find_socket(site), timeout_s)
    except (NoSuchSite, SeveralGateways, NoAccess, LinkRefused):
        raise
    except (NoGateway, LinkLost) as absent:
        with record(site, absent) as found:
            yield found
        return
    with link:
        yield Live(link)


@contextlib.contextmanager
def record_of_gateway(site: str | None) -> Iterator[Record]:
    """The record that the running gateway writes, found as by every command; when none runs, as `record`.

    Raises NoGateway (also of its kinds), NoAccess, LinkRefused.
    """
    place: tuple[Path, tzinfo | None] | None = None
    absent: Exception = NoGateway("no record")
    try:
        with Conversation(find_socket(site)) as link:
            if link.welcome.state_dir:
                place = Path(link.welcome.state_dir), zone_named(link.welcome.timezone)
    except (NoSuchSite, SeveralGateways, NoAccess, LinkRefused):
        raise
    except (NoGateway, LinkLost) as error:
        absent = error
    with record(site, absent, place) as found:
        yield found


@contextlib.contextmanager
def record(site: str | None, absent: Exception, place: tuple[Path, tzinfo | None] | None = None) -> Iterator[Record]:
    """The record of a site on disk; `place`: its directory and zone, where known.

    Raises NoGateway, with the words of `absent`, when there is none, Failure if a running gateway has none; NoAccess.
    """
    from storage.reader import Archive, NoRecords, QueryTimeout

    directory, zone = place or locate(site)
    named = site or os.environ.get("SKERRY_SITE", "")
    of_socket = named.endswith(".sock") and directory.name != Path(named).stem
    guessed = place is None and not os.environ.get("STATE_DIRECTORY") and (of_socket or not named)
    if file_access.closed(directory / _RECORD):
        raise file_access.no_access(directory, "a site's record is there", *_TO_READ)
    archive = Archive(directory)
    try:
        yield Record(archive, directory, zone or _zone_of(archive), absent, guessed)
    except NoRecords as error:
        if place is not None:
            raise Failure(f"the gateway runs, but its record cannot be read: {error}") from None
        raise NoGateway(f"{absent}; and {error}") from None
    except QueryTimeout as error:
        raise Failure(str(error)) from None
    finally:
        archive.close()


def locate(site: str | None) -> tuple[Path, tzinfo | None]:
    """The state directory meant and its site's time zone (None: the record must tell).

    Of the site named (also by $SKERRY_SITE, or by its socket where the record has that name), else of the record
    written last on this machine.
    Raises NoGateway, NoAccess, SiteFileError.
    """
    named = site or os.environ.get("SKERRY_SITE")
    if named and not named.endswith(".sock"):
        from gateway.site.loader import load

        loaded = load(Path(named))
        own = paths.state_dir(loaded)
        beside = loaded.path.resolve().parent  # a demo keeps its site file with its record
        directory = beside if not _there(own) and _there(beside) else own
        return directory, ZoneInfo(loaded.site.timezone)
    if named and _there(own := paths.state_root() / Path(named).stem):
        return own, None
    return _written_last(), None


def _written_last() -> Path:
    """The directory of the record written last on this machine. Raises NoGateway, NoAccess."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    root = paths.state_root()
    places = [Path(given)] if given else [paths.system_path(_SYSTEM_STATE), *root.glob("*"), *root.glob("demo/*")]
    written = {place: (place / _RECORD).stat().st_mtime for place in places if os.access(place / _RECORD, os.R_OK)}
    barred = [place for place in places if file_access.closed(place / _RECORD)]
    if not written and barred:
        raise file_access.no_access(barred[0], "no gateway is running; a site's record may be there", *_TO_READ)
    if not written:
        raise NoGateway(
            f"no gateway is running on this machine{of_others()}, and no record of one was found; "
            "name the site with --site"
        )
    return max(written, key=written.__getitem__)


def _zone_of(archive: Archive) -> tzinfo:
    """The site's time zone as the record keeps it; UTC when it does not say."""
    kept = archive.last_state(DISPATCH)
    return zone_named(str(kept["timezone"])) if isinstance(kept, dict) and "timezone" in kept else UTC


def _there(directory: Path) -> bool:
    """Whether a directory holds a record, or may: this user is not let in."""
    return file_access.closed(directory / _RECORD) or (directory / _RECORD).exists()
