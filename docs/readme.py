"""Write the README's table of options again, from conf/: `make readme`. tests/test_options.py sees that it was done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
MARKED = re.compile(r"(<!-- options -->\n).*?(<!-- end of options -->)", re.DOTALL)


def main() -> int:
    command = [sys.executable, "-m", "orchestrator", "options", "--md"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    text, count = MARKED.subn(lambda found: found[1] + "\n".join(rows) + "\n" + found[2], README.read_text())
    if count != 1:
        sys.exit(f"{README} has {count} places marked <!-- options -->")
    README.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
