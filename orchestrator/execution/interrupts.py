"""Ctrl-C once: finish what runs, start nothing more. Twice, or SIGTERM, or SIGHUP: stop at once.

A file `stop` in a sweep's folder asks the same of all that run it, on whatever machine: at once, if it says `AT_ONCE`.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from orchestrator.files import read_bytes, write_text
from orchestrator.store import SweepFolder

NAMES = {"SIGINT": 1, "SIGTERM": 2, "SIGHUP": 2}
WEIGHTS = {number: NAMES[number.name] for number in signal.Signals if number.name in NAMES}
AT_ONCE = "now"
LOOK_S = 1.0
"""The file is looked for so often, which takes some 10 us."""


class Interrupts:
    """Counts the signals of `WEIGHTS` while entered, and writes a byte to the file descriptor `alarm` for each.

    In a thread other than the main one Python cannot handle signals: there it knows only of the file.
    """

    def __init__(self, alarm: int, store: SweepFolder) -> None:
        self._signals = 0
        self._store = store
        self._alarm = alarm
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_alarm = -1

    @property
    def count(self) -> int:
        """0: go on; 1: start nothing more; more: stop at once."""
        return max(self._signals, asked(self._store))

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            heard = {number: signal.getsignal(number) for number in WEIGHTS}
            # not after nohup
            self._previous = {number: what for number, what in heard.items() if what != signal.SIG_IGN}
            self.hear()
            self._previous_alarm = signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        return self

    def hear(self) -> None:
        """Handle the signals, again where something else in this process has taken them since."""
        for number in self._previous:
            signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.set_wakeup_fd(self._previous_alarm)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signals += WEIGHTS[signal.Signals(number)]


def ask(store: SweepFolder, *, at_once: bool) -> None:
    """Ask all that run the sweep to end. Raises OSError."""
    write_text(store.stop, f"{AT_ONCE if at_once else ''}\n")


def withdraw(store: SweepFolder) -> None:
    """Remove what was asked for before this run began. Raises OSError."""
    store.stop.unlink(missing_ok=True)


def asked(store: SweepFolder) -> int:
    """Return what the sweep's file `stop` asks for: 0 nothing, 1 to start nothing more, 2 to stop at once."""
    try:
        return 2 if read_bytes(store.stop).strip() == AT_ONCE.encode() else 1
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):  # whatever it holds, it is there
        return 1
