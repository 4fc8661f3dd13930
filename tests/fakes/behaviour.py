"""What a test-only job can be told to do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def behave(does: str) -> None:
    """Do what `does` says; return when it says "pass"."""
    if does == "environment":
        behave(os.environ.get("FAKES_DOES", "pass"))
    if does == "breakpoint":
        breakpoint()
    if does == "raise":
        raise ValueError("this compiler always raises")
    if does == "segfault":
        ctypes.string_at(0)
    if does == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "hang":
        subprocess.Popen(["sleep", "1000"])
        time.sleep(1000)
    if does == "allocate":
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))
    if does == "allocate_in_c":  # as C++ code does that has no handler for std::bad_alloc
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        while libc.malloc(64 << 20):
            pass
        print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr)
        os.abort()
    if does == "exit":
        os._exit(3)
    if does == "sys.exit":
        sys.exit(4)
    if does == "disk_full":
        raise OSError(28, "No space left on device")
    if does == "fill_disk":
        with open(os.environ["FAKES_DISK"], "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        raise ValueError("after the disk was filled")
    if does == "lose_cache":
        shutil.rmtree(os.environ["FAKES_CACHE"])
        open(os.path.join(os.environ["FAKES_CACHE"], "kernel.so")).close()
    if does == "leave_children":
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if does == "hang_detached":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        time.sleep(1000)
    if does == "spoil":
        spoil()
    if does.startswith("until "):  # a file is there
        while not os.path.exists(does.split(maxsplit=1)[1]):
            time.sleep(0.01)
    if does.startswith("sleep "):
        time.sleep(float(does.split()[1]))


def spoil() -> None:
    """Change all of this process that another could have inherited."""
    os.environ["SPOILED"] = "1"
    os.environ["HOME"] = "/spoiled"
    os.chdir("/")
    os.umask(0)
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"spoiled")
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(4711)
        torch.use_deterministic_algorithms(True)
