"""Ctrl-C once: finish what runs, start nothing more. Twice, or SIGTERM, or SIGHUP: stop at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

NAMES = {"SIGINT": 1, "SIGTERM": 2, "SIGHUP": 2}
WEIGHTS = {number: NAMES[number.name] for number in signal.Signals if number.name in NAMES}


class Interrupts:
    """Counts the signals of `WEIGHTS` while entered, and writes a byte to the file descriptor `alarm` for each.

    In a thread other than the main one Python cannot handle signals: there it does nothing.
    """

    def __init__(self, alarm: int) -> None:
        self.count = 0
        self._alarm = alarm
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_alarm = -1

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in WEIGHTS if signal.getsignal(number) != signal.SIG_IGN]  # not after nohup
            self._previous = {number: signal.signal(number, self._handle) for number in heard}
            self._previous_alarm = signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.set_wakeup_fd(self._previous_alarm)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += WEIGHTS[signal.Signals(number)]
