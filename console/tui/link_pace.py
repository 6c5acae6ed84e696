"""How far the terminal is behind: how long it takes to answer a question that was sent behind a frame.

A write to a pty succeeds long before anything is seen: OpenSSH alone takes up to 1 MB (half of CHAN_SES_WINDOW_DEFAULT,
its channels.h and ssh.c), a quarter of an hour at 9600 baud. So behind a frame the terminal is asked for the cursor's
position (DSR 6, `ESC [ 6 n`), which a VT100 answers once it has taken all that came before. The cursor is put into a
column that names the question. A terminal that has never answered is taken to be fast. tmux, screen and mosh answer
in place of the terminal: a slow link behind them is not seen here.
"""

from __future__ import annotations

SLOW_S = 0.8  # an answer that takes so long means a slow link,
FAST_S = 0.4  # and several in less that it is not
FAST_ANSWERS = 3
HOLD_S = 0.5  # no further frame while a question waits for so long,
MOST_WAITING = 2048  # or with so many bytes on the way
SILENT_S = 5.0  # then a frame is sent all the same, and the terminal asked again
SLOW_FRAME_S = 1.4  # between frames on a slow link, unless a key was pressed
QUESTIONS = 9  # columns that name them in turn


class LinkPace:
    """Counts what is on its way; says when the next frame must wait, and whether the link is slow. Times in s."""

    def __init__(self) -> None:
        self.slow = False
        self._asked: dict[int, float] = {}  # column -> when
        self._last_column = 0
        self._answered = False  # ever
        self._fast = 0  # answers in a row
        self._unasked = self._waiting = 0  # bytes: since the last question; not known to have arrived
        self._frame_s = float("-inf")

    def sent(self, length: int, now_s: float) -> None:
        """So many bytes were sent."""
        self._unasked += length
        self._waiting += length
        self._frame_s = now_s

    def question(self, now_s: float) -> int | None:
        """The column of the question that is to be sent now; None: none."""
        if not self._unasked or (self._asked and now_s - min(self._asked.values()) < SILENT_S):
            return None
        if len(self._asked) == QUESTIONS:  # it does not answer
            return None
        self._last_column = self._last_column % QUESTIONS + 1
        self._asked[self._last_column] = now_s
        self._unasked = 0
        return self._last_column

    def answered(self, column: int, now_s: float) -> None:
        """An answer has come; one to no question, such as shift+F3 sends, says nothing."""
        asked_s = self._asked.get(column)
        if asked_s is None:
            return
        self._answered = True
        self._asked = {c: at for c, at in self._asked.items() if at > asked_s}
        self._waiting = self._unasked
        if now_s - asked_s >= SLOW_S:
            self.slow, self._fast = True, 0
        elif now_s - asked_s < FAST_S:
            self._fast += 1
            self.slow = self.slow and self._fast < FAST_ANSWERS

    def must_wait(self, now_s: float, key_s: float | None = None) -> bool:
        """Whether the next frame waits. key_s: when a key was pressed last."""
        if not self._answered:
            return False
        oldest_s = min(self._asked.values(), default=None)
        if oldest_s is not None and now_s - oldest_s < SILENT_S:
            if now_s - oldest_s >= SLOW_S:
                self.slow, self._fast = True, 0
            return now_s - oldest_s >= HOLD_S or self._waiting > MOST_WAITING
        pressed = key_s is not None and key_s >= self._frame_s
        return self.slow and not pressed and now_s - self._frame_s < SLOW_FRAME_S
