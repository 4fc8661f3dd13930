"""One shard of a planned sweep, in a process of its own, as a Hydra launcher on a cluster would run it."""

from __future__ import annotations

import sys

from orchestrator.errors import UsageError
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import run_shard
from orchestrator.store import SweepFolder


def main() -> int:
    folder, shard, of = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        run_shard(folder, shard, of, Settings.of(SweepFolder(folder).read_sweep().points))
    except UsageError as error:
        print(f"shard {shard}: {error}", file=sys.stderr)
        return 2
    return 0
