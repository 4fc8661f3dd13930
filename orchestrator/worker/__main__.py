"""The worker as a plain subprocess: `python -m orchestrator.worker <sweep folder> <job id>`.

The server (`orchestrator.worker.server`) starts it in a process that it has prepared. Started by hand it runs the job
in the foreground, its output in the terminal: the way to put a debugger or another tool around one job.
"""

from __future__ import annotations

import argparse

from orchestrator.worker.process import announce, perform


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.worker", description="Run one job of a sweep.")
    parser.add_argument("folder", help="the sweep folder")
    parser.add_argument("job", help="the job's id")
    parser.add_argument("--replies", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--entry", default="orchestrator.worker.run:run_job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replies is not None:
        announce(arguments.replies, arguments.job)
    perform(arguments.entry, arguments.folder, arguments.job)


if __name__ == "__main__":
    main()
