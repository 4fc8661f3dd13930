"""python -m fuzz [--seconds 600] [--seed 1] [--keep FOLDER]     (with the folder tests/ on PYTHONPATH; `make fuzz`)

Runs random cases (`making`), each in a process of its own with limits (`running`), and prints how many of each kind
there were, how they ended and what they needed. What went wrong is written into the folder `--keep`: once mended it
belongs into tests/fuzz/corpus, which `make test` runs. Exit code 1 when anything went wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fuzz.making import Maker
from fuzz.running import Case, Runner


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_found"))
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    codes: Counter[tuple[str, int]] = Counter()
    wrong = 0
    slowest, largest = (0.0, Case("", ())), 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        runner = Runner(Path(temporary))
        maker = Maker(random.Random(asked.seed), runner.begin)
        deadline = time.monotonic() + asked.seconds
        while time.monotonic() < deadline:
            case = maker.case()
            ended = runner.run(case)
            counts[case.kind] += 1
            codes[case.kind, ended.code] += 1
            largest = max(largest, ended.memory_mib)
            if ended.cpu_s > slowest[0]:
                slowest = (ended.cpu_s, case)
            if why := ended.wrong():
                wrong += 1
                asked.keep.mkdir(parents=True, exist_ok=True)
                file = asked.keep / f"{asked.seed}-{sum(counts.values())}.json"
                case.write(file)
                print(f"{file}: {why}\n  {[word[:200] for word in case.words]}\n  {ended.said[-600:]}", flush=True)
    for kind, count in sorted(counts.items()):
        print(
            f"{kind:<14} {count:6}  " + "  ".join(f"exit {c}: {n}" for (k, c), n in sorted(codes.items()) if k == kind)
        )
    print(
        f"seed {asked.seed}: {sum(counts.values())} cases in {asked.seconds:.0f} s, {wrong} wrong; "
        f"at most {largest:.0f} MiB "
        f"and {slowest[0]:.1f} s of CPU ({slowest[1].kind}: {' '.join(slowest[1].words)[:200]})"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
