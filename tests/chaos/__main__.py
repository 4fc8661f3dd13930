"""python -m chaos [--faults 300] [--seed 1] [--seconds S] [--short]     (with tests/ on PYTHONPATH; `make chaos`)

Prints a table of faults, their counts and outcomes; with --record FILE, of all campaigns that are recorded there. Exit
code 1 when anything that must hold did not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos import disk
from chaos.campaign import Campaign, table
from chaos.injectors import possible
from chaos.schedule import Plan, schedule, short

IN_NAMESPACE = "CHAOS_NAMESPACE"
NAMESPACES = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no sweep later than this")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add what became of each fault to this file")
    parser.add_argument("--short", action="store_true", help="a dozen faults in two small sweeps")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="kinds whose name begins so")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the campaign, and say where it is")
    asked = parser.parse_args()
    mounts = _enter_namespace()
    base = Path(tempfile.mkdtemp(prefix="chaos-")).resolve()
    library = disk.built(base)
    here = possible(mounts, library is not None)
    if asked.only:
        here = [name for name in here if name.startswith(tuple(asked.only))]
    plans = short(here) if asked.short else schedule(asked.seed, asked.faults, here)
    campaign = Campaign(base, asked.seed, mounts, library, asked.seconds, asked.record)
    return _run(campaign, plans, here, asked.keep)


def _run(campaign: Campaign, plans: list[Plan], here: list[str], keep: bool) -> int:
    base, seed = campaign.base, campaign.seed
    began = time.monotonic()
    campaign.run(plans)
    planned = sum(len(plan.faults) for plan in plans)
    done = [(one.fault.kind.name, one.outcome) for one in campaign.done]
    if campaign.record is not None and campaign.record.exists():
        done = [(name, outcome) for _, name, outcome in map(json.loads, campaign.record.read_text().splitlines())]
    print()
    print(table(done, here))
    print()
    print(
        f"seed {seed}: {len(campaign.done)} faults of {planned} planned, in {campaign.sweeps} sweeps, "
        f"{campaign.resumes} resumes, {campaign.asked_again} jobs asked again, "
        f"{len(campaign.violations)} violations, {time.monotonic() - began:.0f} s"
    )
    for violation in campaign.violations:
        print(f"VIOLATION {violation}")
    if campaign.violations or keep:
        print(f"kept: {base}")
    else:
        shutil.rmtree(base, ignore_errors=True)
    return int(bool(campaign.violations))


def _enter_namespace() -> bool:
    """Start again in a mount namespace, where what is mounted goes with the last process; return whether that went.

    Only there can a disk be made that is full, and a folder that is read-only even for root.
    """
    if os.environ.get(IN_NAMESPACE):
        return True
    for command in NAMESPACES:
        mount = [*command, "mount", "-t", "tmpfs", "x", "/mnt"]
        if shutil.which(command[0]) and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
            os.environ[IN_NAMESPACE] = "1"
            os.execvp(command[0], [*command, sys.executable, "-m", "chaos", *sys.argv[1:]])
    return False


if __name__ == "__main__":
    sys.exit(main())
