"""Shifts the clock of every Python process that has this folder on its path, by the seconds in the file CHAOS_CLOCK.

What Python programs ask for the time of day is felt: `time.time` and `time.time_ns`. The kernel's own stamps on files
and `datetime.now` are not shifted; setting the clock of the machine would do that to everybody on it.
"""

import os
import time

_PATH = os.environ.get("CHAOS_CLOCK")
_time, _time_ns = time.time, time.time_ns


def _shift() -> float:
    try:
        with open(_PATH) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0


if _PATH:
    time.time = lambda: _time() + _shift()
    time.time_ns = lambda: _time_ns() + int(_shift() * 1e9)
