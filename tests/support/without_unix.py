"""The command where Python has only what it has on every system: `python without_unix.py '[["ls"], ["show", "x"]]'`.

Runs one command line after the other, and prints [exit code, stdout, stderr] of each as JSON.
Windows cannot be had in a test. What of Python is not there is taken away, and a text of ours that is read or written
in the system's own encoding, which is not UTF-8 there, is an error. The libraries are imported before: their builds
for Linux use what their builds for Windows do without.
"""

import contextlib
import io
import json
import multiprocessing  # noqa: F401
import os
import runpy
import signal
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
import warnings

import hydra  # noqa: F401
import numpy  # noqa: F401
import pandas  # noqa: F401
import psutil  # noqa: F401
import rich.console  # noqa: F401
import scipy.stats  # noqa: F401

MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2")
NAMES = (
    *("EX_TEMPFAIL", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "getegid", "geteuid", "getgid"),
    *("getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "nice", "pread", "pwrite", "sched_getaffinity"),
    *("sched_setaffinity", "setsid", "statvfs", "sysconf", "uname", "waitid"),
)


def told(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command line as `python -m orchestrator` does."""
    sys.argv[1:] = arguments
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module("orchestrator", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = int(ended.code or 0)
    said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
    return code, said, complained


if __name__ == "__main__":
    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment]  # so that its import fails
    for name in SIGNALS:
        delattr(signal, name)
    for name in NAMES:
        delattr(os, name)
    # `system` and `capacity` read files of Linux's kernel, where there are any
    warnings.filterwarnings("error", category=EncodingWarning, module=r"orchestrator\.(?!(?:system|capacity)$)")
    print(json.dumps([told(words) for words in json.loads(sys.argv[1])]))
