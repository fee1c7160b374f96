"""Command line of the laboratory."""

import argparse
import sys
from pathlib import Path

from benchmarks.lab.bases import base


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab")
    parser.add_argument("experiment", choices=["bases"])
    parser.add_argument("--work", type=Path, default=Path("mathmill-lab"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    for seed in options.seeds:
        print(base(options.work, seed), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
