"""Several verbs in one process, with their exit codes: `python -m fakes.verbs '[["ls"], ["report", "latest"]]'`."""

from __future__ import annotations

import json
import sys

from orchestrator.__main__ import main


def run() -> None:
    for arguments in json.loads(sys.argv[1]):
        try:
            code = main(arguments)
        except SystemExit as error:  # argparse
            code = error.code
        print(f"\nexit code {code} of {' '.join(arguments)}", flush=True)


if __name__ == "__main__":
    run()
