"""Another process on a CUDA device, for `orchestrator.measures.gpu_checks`: run as a script, by its path.

    python neighbour.py UUID

It leaves its parent (so that it is nobody's compiler process), prints its process id, "busy" once matrix products run,
and after a line on its input "idle" once the device has done them all. It ends with its input, after another line,
or after `LIFETIME_S`.
"""

from __future__ import annotations

import os
import select
import sys
import time

LIFETIME_S = 60.0
WIDTH = 4096  # a matrix product of bfloat16 takes a fifth of a millisecond on an H100


def main() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    os.environ["CUDA_VISIBLE_DEVICES"] = sys.argv[1]
    print(os.getpid(), flush=True)
    import torch

    end = time.monotonic() + LIFETIME_S
    x = torch.randn(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
    torch.cuda.synchronize()
    print("busy", flush=True)
    while time.monotonic() < end and not _told(0):
        for _ in range(20):
            x @ x
        torch.cuda.synchronize()
    if not sys.stdin.readline():
        return
    print("idle", flush=True)
    _told(max(0.0, end - time.monotonic()))


def _told(seconds: float) -> bool:
    """Return whether there is a line, or the end, on the input within `seconds`."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    main()
