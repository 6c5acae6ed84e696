"""Limits what each user may take of the link: connections, requests, requests under way, consoles.

The kernel names the user of a connection, so every account is per uid. Only the number of connections is limited for
all users together, too, because the process has a limit of open files; the first few of each user do not depend on it.
What does not raise risk (stop, hold, abort, ending an order) has a reserve of its own for each command: it
passes when everything else of its user is refused, and on a connection beyond the limit, too.
Plain bookkeeping: no socket, no event loop; the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class LinkLimits(msgspec.Struct, frozen=True):
    """Of each user. Chosen so that several consoles and scripts never meet them, and a flood costs little."""

    connects_per_s: float = 20.0  # beyond this, after a burst, the next connection is accepted after a pause
    connects_burst: float = 500.0
    connections: int = 512  # beyond this, a connection is taken for urgent commands only
    connections_of_all: int = 700  # stays below the usual limit of 1024 open files
    connections_always: int = 8  # within `connections`, however many other users have
    urgent_only: int = 32  # connections for urgent commands only, and as many with one under way; the oldest is dropped
    consoles: int = 32  # connections that want snapshots
    requests_per_s: float = 50.0
    requests_burst: float = 200.0
    under_way: int = 64
    refusals_per_s: float = 100.0  # beyond this, a connection that was told to wait is not read for a while
    refusals_burst: float = 400.0
    reserve_per_s: float = 10.0  # for each urgent command
    reserve_burst: float = 20.0


class TokenBucket:
    """Lets `burst` through at once and `rate_per_s` over time."""

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._tokens, self._at_s = burst, now_s

    def take(self, now_s: float) -> bool:
        """Take a token; whether there was one."""
        self._fill(now_s)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is a token."""
        self._fill(now_s)
        return max(0.0, (1.0 - self._tokens) / self._rate_per_s)

    def full(self, now_s: float) -> bool:
        """Nothing was taken lately."""
        self._fill(now_s)
        return self._tokens >= self._burst

    def _fill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self._rate_per_s
        self._tokens, self._at_s = min(self._burst, self._tokens + gained), now_s


class Busy(msgspec.Struct, frozen=True):
    """A refusal by these limits."""

    line: str
    wait_s: float  # until it is worth asking again


class Admitted:
    """A connection that was taken in. `urgent_only`: one too many, so it may only give urgent commands.

    `hurried`: it came faster than its user may connect.
    """

    def __init__(self, uid: int, urgent_only: bool, hurried: bool, evict: Callable[[], None]) -> None:
        self.uid, self.urgent_only, self.hurried, self.evict = uid, urgent_only, hurried, evict
        self.console = False
        self.under_way = 0  # requests

    def take(self, requests: int) -> None:
        """So many requests more are under way, or fewer."""
        self.under_way += requests

    def become_console(self) -> None:
        """It gets snapshots."""
        self.console = True

    def stay(self) -> None:
        """It may give any command from now on."""
        self.urgent_only = False


class _Account:
    """What one user has taken."""

    def __init__(self, limits: LinkLimits, now_s: float) -> None:
        self.connects = TokenBucket(limits.connects_per_s, limits.connects_burst, now_s)
        self.requests = TokenBucket(limits.requests_per_s, limits.requests_burst, now_s)
        self.refusals = TokenBucket(limits.refusals_per_s, limits.refusals_burst, now_s)
        self.reserves: dict[str, TokenBucket] = {}  # by urgent command
        self.connections = self.consoles = self.under_way = 0
        self.urgent_only: dict[Admitted, None] = {}  # the oldest first

    def take(self, *, connections: int = 0, consoles: int = 0, requests: int = 0) -> None:
        """The user has so many more, or fewer."""
        self.connections += connections
        self.consoles += consoles
        self.under_way += requests

    def idle(self, now_s: float) -> bool:
        """Nothing is left to remember."""
        taken = self.connections or self.under_way or self.urgent_only
        return not taken and self.connects.full(now_s) and self.requests.full(now_s)


class Admission:
    """The accounts of all users."""

    def __init__(self, limits: LinkLimits, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._limits, self._clock = limits, clock
        self._accounts: dict[int, _Account] = {}

    def connect(self, uid: int, evict: Callable[[], None]) -> Admitted:
        """Take a connection in. `evict` is called when a later one of the same user takes its place."""
        now_s, account = self._clock(), self._account(uid)
        entry = Admitted(uid, not self._room(account), not account.connects.take(now_s), evict)
        if not entry.urgent_only:
            account.take(connections=1)
            return entry
        account.urgent_only[entry] = None
        self._drop_oldest(account)
        return entry

    def disconnect(self, entry: Admitted) -> None:
        """The connection is gone."""
        account = self._account(entry.uid)
        account.take(consoles=-int(entry.console))
        if entry.urgent_only:
            account.urgent_only.pop(entry, None)
        else:
            account.take(connections=-1)
        now_s = self._clock()
        for uid in [uid for uid, one in self._accounts.items() if one.idle(now_s)]:
            del self._accounts[uid]

    def console(self, entry: Admitted) -> Busy | None:
        """The connection wants snapshots; why not, if its user has as many as allowed."""
        account = self._account(entry.uid)
        if account.consoles >= self._limits.consoles:
            line = f"this user has {account.consoles} consoles open, at most {self._limits.consoles} are allowed; "
            return Busy(line + "close one", 1.0)
        account.take(consoles=1)
        entry.become_console()
        return None

    def request(self, entry: Admitted, urgent: str | None) -> Busy | None:
        """Count a request, `done` when it is answered; why it is refused, if it is. `urgent`: its command, if it is."""
        now_s, account = self._clock(), self._account(entry.uid)
        busy = self._refused(entry, account, now_s)
        if busy is not None:
            if urgent is None:
                return busy
            new = TokenBucket(self._limits.reserve_per_s, self._limits.reserve_burst, now_s)
            reserve = account.reserves.setdefault(urgent, new)
            if not reserve.take(now_s):
                return Busy(f"more than {self._limits.reserve_per_s:g} times {urgent} a second", reserve.wait_s(now_s))
        account.take(requests=1)
        entry.take(requests=1)
        return None

    def done(self, entry: Admitted) -> None:
        """A request that was not refused has been answered."""
        account = self._account(entry.uid)
        account.take(requests=-1)
        entry.take(requests=-1)
        if entry in account.urgent_only:  # from now on the newest of those that wait: its answer is still to be read
            account.urgent_only[entry] = account.urgent_only.pop(entry)
            self._drop_oldest(account)

    def refusal(self, entry: Admitted) -> bool:
        """Count a refusal; whether its user had few enough of them lately that the connection may be read on."""
        return self._account(entry.uid).refusals.take(self._clock())

    def _refused(self, entry: Admitted, account: _Account, now_s: float) -> Busy | None:
        if entry.urgent_only and not self._room(account):
            return Busy(self._too_many(account), 1.0)
        self._keep(entry, account)
        if account.under_way >= self._limits.under_way:
            return Busy(f"{account.under_way} requests of this user are under way", 0.1)
        if not account.requests.take(now_s):
            line = f"more than {self._limits.requests_per_s:g} requests a second of this user"
            return Busy(line, account.requests.wait_s(now_s))
        return None

    def _keep(self, entry: Admitted, account: _Account) -> None:
        """Count a connection as one that stays, and is not dropped for another."""
        if entry.urgent_only:
            entry.stay()
            account.urgent_only.pop(entry, None)
            account.take(connections=1)

    def _drop_oldest(self, account: _Account) -> None:
        """Drop a connection for urgent commands if there are too many; one whose command is under way comes last."""
        waiting = [entry for entry in account.urgent_only if not entry.under_way]
        if len(waiting) > self._limits.urgent_only:
            oldest = waiting[0]
        elif len(account.urgent_only) > 2 * self._limits.urgent_only:
            oldest = next(iter(account.urgent_only))
        else:
            return
        del account.urgent_only[oldest]
        oldest.evict()

    def _room(self, account: _Account) -> bool:
        """Whether one more connection of this user is within the limits."""
        if account.connections >= self._limits.connections:
            return False
        return account.connections < self._limits.connections_always or self._of_all() < self._limits.connections_of_all

    def _too_many(self, account: _Account) -> str:
        """Why there is no room for one more connection of this user."""
        if account.connections >= self._limits.connections:
            return f"too many connections: {account.connections} of this user are open"
        return f"too many connections: {self._of_all()} of all users are open, {account.connections} of this user"

    def _of_all(self) -> int:
        return sum(one.connections for one in self._accounts.values())

    def _account(self, uid: int) -> _Account:
        if uid not in self._accounts:
            self._accounts[uid] = _Account(self._limits, self._clock())
        return self._accounts[uid]
