"""python -m chaos [--faults 200] [--seed 1] [--short]     (with the folder tests/ on PYTHONPATH; `make chaos`)

Prints a table of faults, their counts and outcomes. Exit code 1 when anything that must hold did not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos.campaign import Campaign, table
from chaos.injectors import possible
from chaos.schedule import Plan, schedule, short

IN_NAMESPACE = "CHAOS_NAMESPACE"
NAMESPACES = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a dozen faults in two small sweeps")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="kinds whose name begins so")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the campaign, and say where it is")
    asked = parser.parse_args()
    mounts = _enter_namespace()
    here = possible(mounts)
    if asked.only:
        here = [name for name in here if name.startswith(tuple(asked.only))]
    plans = short(here) if asked.short else schedule(asked.seed, asked.faults, here)
    return _run(plans, here, asked.seed, mounts, asked.keep)


def _run(plans: list[Plan], here: list[str], seed: int, mounts: bool, keep: bool) -> int:
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    began = time.monotonic()
    campaign = Campaign(base, seed, mounts)
    campaign.run(plans)
    planned = sum(len(plan.faults) for plan in plans)
    print()
    print(table(campaign.done, here))
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
