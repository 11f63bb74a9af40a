"""All attacks, one after the other: `python tests/fuzz [SEED [COUNT]]`, which `make fuzz` runs with 2,000 of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ATTACKS = ("specs", "repeats", "settings", "data_sources", "run_folders")


def main(seed: str = "0", count: str = "2000") -> int:
    """Run each attack in a program of its own; 1 where one of them found something."""
    here = Path(__file__).resolve().parent
    ended = []
    for name in ATTACKS:
        print(f"== {name}", flush=True)
        ended.append(subprocess.run([sys.executable, str(here / f"{name}.py"), seed, count], check=False).returncode)
    return int(any(ended))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
