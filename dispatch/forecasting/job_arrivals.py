"""Learns of how many of the jobs that a user announced or queued came, so that those that wait count for as much.

Some people announce, or queue, more than they run. A job that waited and is gone without having begun has not come.
Of a user of whom few jobs are known the share is near 1: `TAKEN_AS_COME` jobs that came stand beside those seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

REMEMBERED = 50  # jobs of each user
MOST_USERS = 2000
TAKEN_AS_COME = 5


class JobArrivals:
    """Shown what waits and what has begun, look by look; says what share of a user's jobs comes."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # job: user
        self._came: dict[str, deque[bool]] = {}  # by user

    def look(self, waiting: Mapping[str, str], begun: Collection[str], there: Collection[str] = ()) -> None:
        """Take in the jobs that wait, with their users, and the ids of those that have begun.

        `there`: ids of all jobs that the queue still lists; one that is held or waits for another has not gone.
        """
        kept = {}
        for job, user in self._waiting.items():
            if job in begun:
                self._learn(user, True)
            elif job in there:
                kept[job] = user
            elif job not in waiting:
                self._learn(user, False)
        self._waiting = kept | dict(waiting)

    def forget_waiting(self) -> None:
        """Not all was seen for a while: which of them came is not known."""
        self._waiting = {}

    def share(self, user: str) -> float:
        """The share of a user's waiting jobs that come, 0..1; 1 for one who is not named."""
        seen = self._came.get(user) if user else None
        if not seen:
            return 1.0
        return (sum(seen) + TAKEN_AS_COME) / (len(seen) + TAKEN_AS_COME)

    def _learn(self, user: str, came: bool) -> None:
        if not user:
            return
        seen = self._came.pop(user, None) or deque(maxlen=REMEMBERED)
        seen.append(came)
        self._came[user] = seen  # the users of late come last
        if len(self._came) > MOST_USERS:
            del self._came[next(iter(self._came))]
